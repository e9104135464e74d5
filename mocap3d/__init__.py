"""mocap3d: single-view 3D human pose estimation by 2D-to-3D lifting, as a course and a library.

ds     = mocap3d.load_dataset("synthetic")             # or "open-mocap"
model  = mocap3d.create_model("simple_baseline")       # a plain nn.Module
run    = mocap3d.fit(model, ds.train, mocap3d.RECIPES["quick"])
report = mocap3d.evaluate(model, ds.test, protocol="videopose3d")
pose3d = mocap3d.lift(ds.test[0].pose2d, model)        # any length, any known skeleton
fig    = mocap3d.show(pose3d, ds.test[0].pose3d)
mocap3d.doctor()                                       # is everything here that is needed?
"""

from mocap3d.bench import zoo
from mocap3d.camera import Camera, h36m_cameras
from mocap3d.data.dataset import PoseDataset, film
from mocap3d.data.detector import detect
from mocap3d.data.loading import load_dataset
from mocap3d.data.synthetic import synthesize
from mocap3d.data.windows import to_device
from mocap3d.device import choose_device, profile
from mocap3d.diagnostics import doctor
from mocap3d.evaluation.baselines import MeanPose, NearestNeighbour
from mocap3d.evaluation.comparison import compare, table
from mocap3d.evaluation.evaluate import evaluate
from mocap3d.evaluation.predict import predict, predict_clips
from mocap3d.evaluation.protocol import PROTOCOLS, EvalProtocol
from mocap3d.evaluation.report import Report
from mocap3d.evaluation.trajectory import evaluate_with_trajectory
from mocap3d.figures.attention import show_attention, show_gates
from mocap3d.figures.cameras import show_cameras
from mocap3d.figures.errors import show_errors, show_history
from mocap3d.figures.live import live_history
from mocap3d.figures.receptive_field import show_receptive_field
from mocap3d.figures.skeleton2d import show_2d
from mocap3d.figures.skeleton3d import show
from mocap3d.formats.asf_amc import read_amc
from mocap3d.formats.bvh import read_bvh
from mocap3d.lifting.lift import lift
from mocap3d.models.create import create_model, list_models
from mocap3d.models.videopose3d import PoseAndTrajectory
from mocap3d.poses import Clip, Pose2D, Pose3D
from mocap3d.skeleton import H36M17, Skeleton, get_skeleton, provenance
from mocap3d.training.fit import fit
from mocap3d.training.pretraining import pretrain
from mocap3d.training.recipe import RECIPES, Recipe
from mocap3d.training.run import Run
from mocap3d.training.semi_supervised import SemiSupervised, fit_semi_supervised, label_subset
from mocap3d.weights import export_weights, load_shipped, load_weights, save_weights

__version__ = "0.1.0"

__all__ = [
    "Camera",
    "Clip",
    "EvalProtocol",
    "H36M17",
    "MeanPose",
    "NearestNeighbour",
    "PROTOCOLS",
    "Pose2D",
    "Pose3D",
    "PoseAndTrajectory",
    "PoseDataset",
    "RECIPES",
    "Recipe",
    "Report",
    "Run",
    "SemiSupervised",
    "Skeleton",
    "choose_device",
    "compare",
    "create_model",
    "detect",
    "doctor",
    "evaluate",
    "evaluate_with_trajectory",
    "export_weights",
    "film",
    "fit",
    "fit_semi_supervised",
    "get_skeleton",
    "h36m_cameras",
    "label_subset",
    "lift",
    "list_models",
    "live_history",
    "load_dataset",
    "load_shipped",
    "load_weights",
    "predict",
    "predict_clips",
    "pretrain",
    "profile",
    "provenance",
    "read_amc",
    "read_bvh",
    "save_weights",
    "show",
    "show_2d",
    "show_attention",
    "show_cameras",
    "show_errors",
    "show_gates",
    "show_history",
    "show_receptive_field",
    "synthesize",
    "table",
    "to_device",
    "zoo",
]
