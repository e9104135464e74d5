"""Lift one person's 2D joints to 3D: the call that people who only want the answer make."""

from __future__ import annotations

import torch
from torch import nn

from mocap3d.camera import pixels_to_screen
from mocap3d.data.windows import fill_missing
from mocap3d.evaluation import model_device, predict_clips
from mocap3d.poses import Pose2D, Pose3D
from mocap3d.skeleton import H36M17
from mocap3d.weights import load_shipped

MODEL_FPS = 50.0  # what every model here is trained at


def lift(pose2d: Pose2D, model: nn.Module | None = None, flip_test: bool = False) -> Pose3D:
    """Lift a 2D pose with a trained model.

    Args:
        pose2d: pixels, any known skeleton (converted to h36m17, see `provenance`), any length; missing joints are
            filled as in training and evaluation (`fill_missing`). Its frames are taken at their own rate by a
            single-frame model, and resampled to 50 fps for one that looks at several frames: the rate of the result
            says which.
        model: satisfies the model contract and is trained. By default the small one that comes with the package
            (`load_shipped`).
        flip_test: average with the un-mirrored pose of the mirrored input, as some protocols do; takes twice as long.
    Returns:
        Pose3D on h36m17, camera frame, metres, the pelvis at the origin (root "relative"), or where a model with a
        trajectory says it is ("estimated").
    Raises:
        SkeletonError: if the skeleton has no conversion.
        TypeError: if something other than a Pose2D is given.
    """
    if not isinstance(pose2d, Pose2D):
        raise TypeError(f"lift() takes a Pose2D, not a {type(pose2d).__name__}; of a clip, give clip.pose2d")
    model = load_shipped() if model is None else model
    pose2d = pose2d.convert("h36m17")
    if model.receptive_field > 1:
        pose2d = pose2d.resample(MODEL_FPS)
    device = model_device(model)
    screen = pixels_to_screen(
        torch.from_numpy(fill_missing(pose2d.points)).to(device), *pose2d.image_size
    )  # (T, J, 2)
    points = predict_clips(model, screen, torch.tensor([len(screen)], device=device), flip_test=flip_test)
    return Pose3D(
        points.cpu().numpy(), H36M17, pose2d.fps, frame="camera", root=getattr(model, "root", "relative")
    )
