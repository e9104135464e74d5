"""mocap3d: single-view 3D human pose estimation by 2D-to-3D lifting, as a course and a library.

ds     = mocap3d.load_dataset("synthetic")             # or "open-mocap"
model  = mocap3d.create_model("simple_baseline")       # a plain nn.Module
run    = mocap3d.fit(model, ds.train, mocap3d.RECIPES["quick"])
report = mocap3d.evaluate(model, ds.test, protocol="videopose3d")
pose3d = mocap3d.lift(ds.test[0].pose2d, model)        # any length, any known skeleton
fig    = mocap3d.show(pose3d, ds.test[0].pose3d)
mocap3d.doctor()                                       # is everything here that is needed?
"""

from mocap3d import zoo
from mocap3d.baselines import MeanPose, NearestNeighbour
from mocap3d.camera import Camera, h36m_cameras
from mocap3d.comparison import compare, table
from mocap3d.data.asf_amc import read_amc
from mocap3d.data.bvh import read_bvh
from mocap3d.data.dataset import PoseDataset, film
from mocap3d.data.detector import detect
from mocap3d.data.loading import load_dataset
from mocap3d.doctor import doctor
from mocap3d.evaluation import PROTOCOLS, EvalProtocol, evaluate
from mocap3d.lifting import lift
from mocap3d.models import create_model, list_models
from mocap3d.poses import Clip, Pose2D, Pose3D
from mocap3d.profile import profile
from mocap3d.report import Report
from mocap3d.show import live_history, show, show_2d, show_cameras, show_errors, show_history
from mocap3d.skeleton import Skeleton, get_skeleton, provenance
from mocap3d.training import RECIPES, Recipe, Run, fit
from mocap3d.weights import export_weights, load_shipped, load_weights, save_weights

__version__ = "0.1.0"

__all__ = [
    "PROTOCOLS",
    "RECIPES",
    "Camera",
    "Clip",
    "EvalProtocol",
    "MeanPose",
    "NearestNeighbour",
    "Pose2D",
    "Pose3D",
    "PoseDataset",
    "Recipe",
    "Report",
    "Run",
    "Skeleton",
    "compare",
    "create_model",
    "detect",
    "doctor",
    "evaluate",
    "export_weights",
    "film",
    "fit",
    "get_skeleton",
    "h36m_cameras",
    "lift",
    "list_models",
    "live_history",
    "load_dataset",
    "load_shipped",
    "load_weights",
    "profile",
    "provenance",
    "read_amc",
    "read_bvh",
    "save_weights",
    "show",
    "show_2d",
    "show_cameras",
    "show_errors",
    "show_history",
    "table",
    "zoo",
]
