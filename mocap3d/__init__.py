"""mocap3d: single-view 3D human pose estimation by 2D-to-3D lifting, as a course and a library.

ds     = mocap3d.load_dataset("synthetic")             # or "open-mocap"
model  = mocap3d.create_model("simple_baseline")       # a plain nn.Module
run    = mocap3d.fit(model, ds.train, mocap3d.RECIPES["quick"])
report = mocap3d.evaluate(model, ds.test, protocol="videopose3d")
pose3d = mocap3d.lift(ds.test[0].pose2d, model)        # any length, any known skeleton
player = mocap3d.show(pose3d, ds.test[0].pose3d)       # moves in a notebook; .figure() is the plotly Figure
mocap3d.doctor()                                       # is everything here that is needed?
"""

from mocap3d import metrics
from mocap3d.bench import zoo
from mocap3d.bench.benchmark import benchmark
from mocap3d.camera import Camera, h36m_cameras, pixels_to_screen
from mocap3d.course.check import check
from mocap3d.data.dataset import PoseDataset, film
from mocap3d.data.detector import detect
from mocap3d.data.loading import choose_data, load_dataset
from mocap3d.data.synthetic import synthesize
from mocap3d.data.windows import to_device
from mocap3d.device import choose_device, profile
from mocap3d.diagnostics import doctor
from mocap3d.evaluation.baselines import MeanPose, NearestNeighbour
from mocap3d.evaluation.comparison import compare, table
from mocap3d.evaluation.evaluate import evaluate, measure
from mocap3d.evaluation.predict import predict
from mocap3d.evaluation.protocol import PROTOCOLS, EvalProtocol
from mocap3d.evaluation.report import Report
from mocap3d.evaluation.trajectory import evaluate_with_trajectory
from mocap3d.figures.attention import show_attention, show_gates
from mocap3d.figures.cameras import show_cameras
from mocap3d.figures.errors import show_errors, show_history
from mocap3d.figures.explore_damage import what_if
from mocap3d.figures.explore_geometry import explore_dataset, explore_metrics, explore_projection
from mocap3d.figures.explore_models import explore_model, explore_receptive_field
from mocap3d.figures.live import live_history
from mocap3d.figures.notebook import chart, count_parameters, first_frames, thin
from mocap3d.figures.player import show
from mocap3d.figures.receptive_field import show_receptive_field
from mocap3d.figures.skeleton2d import show_2d
from mocap3d.figures.style import CENTRE, LEFT, OTHER_COLOURS, RIGHT
from mocap3d.formats.asf_amc import read_amc
from mocap3d.formats.bvh import read_bvh
from mocap3d.formats.check_keypoints import check_keypoints
from mocap3d.formats.export import read_pose, write
from mocap3d.formats.keypoints import read_keypoints
from mocap3d.inversions import undo_inversions
from mocap3d.lifting.cleanup import clean
from mocap3d.lifting.lift import lift
from mocap3d.missing import fill_missing
from mocap3d.models.create import create_model, list_models
from mocap3d.models.lifter import Lifter, as_lifter
from mocap3d.models.videopose3d import PoseAndTrajectory
from mocap3d.poses import Clip, Pose2D, Pose3D
from mocap3d.skeleton import H36M17, Skeleton, flip, get_skeleton, provenance
from mocap3d.training.fit import fit
from mocap3d.training.pretraining import pretrain
from mocap3d.training.recipe import RECIPES, Recipe
from mocap3d.training.run import Run
from mocap3d.training.semi_supervised import SemiSupervised, fit_semi_supervised, label_subset
from mocap3d.weights import export_weights, load_shipped, load_weights, save_weights

__version__ = "0.1.0"

# What the notebooks use, and a few names more; tests/test_public_names.py compares the two.
__all__ = [
    # skeletons, cameras, poses
    "Camera",
    "Clip",
    "H36M17",
    "Pose2D",
    "Pose3D",
    "Skeleton",
    "fill_missing",
    "flip",
    "get_skeleton",
    "h36m_cameras",
    "pixels_to_screen",
    "provenance",
    "undo_inversions",
    # data sets and files
    "PoseDataset",
    "check_keypoints",
    "choose_data",
    "detect",
    "film",
    "first_frames",
    "load_dataset",
    "read_amc",
    "read_bvh",
    "read_keypoints",
    "read_pose",
    "synthesize",
    "thin",
    "to_device",
    "write",
    # models and weights
    "Lifter",
    "PoseAndTrajectory",
    "as_lifter",
    "count_parameters",
    "create_model",
    "export_weights",
    "list_models",
    "load_shipped",
    "load_weights",
    "save_weights",
    # training
    "RECIPES",
    "Recipe",
    "Run",
    "SemiSupervised",
    "fit",
    "fit_semi_supervised",
    "label_subset",
    "pretrain",
    # lifting, prediction, evaluation
    "EvalProtocol",
    "MeanPose",
    "NearestNeighbour",
    "PROTOCOLS",
    "Report",
    "benchmark",
    "clean",
    "compare",
    "evaluate",
    "evaluate_with_trajectory",
    "lift",
    "measure",
    "metrics",
    "predict",
    "table",
    "zoo",
    # figures
    "CENTRE",
    "LEFT",
    "OTHER_COLOURS",
    "RIGHT",
    "chart",
    "explore_dataset",
    "explore_metrics",
    "explore_model",
    "explore_projection",
    "explore_receptive_field",
    "live_history",
    "show",
    "show_2d",
    "show_attention",
    "show_cameras",
    "show_errors",
    "show_gates",
    "show_history",
    "show_receptive_field",
    "what_if",
    # the course, this machine
    "check",
    "choose_device",
    "doctor",
    "profile",
]
