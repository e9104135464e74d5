"""Lift one person's 2D joints to 3D: the call that people who only want the answer make."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from mocap3d.camera import pixels_to_screen
from mocap3d.data.windows import fill_missing
from mocap3d.evaluation import model_device
from mocap3d.poses import Pose2D, Pose3D
from mocap3d.skeleton import H36M17

MODEL_FPS = 50.0  # what every model here is trained at
BATCH = 4096  # windows at once


@torch.no_grad()
def lift(pose2d: Pose2D, model: nn.Module) -> Pose3D:
    """Lift a 2D pose with a trained model.

    Args:
        pose2d: pixels, any known skeleton (converted to h36m17, see `provenance`), any length; missing joints are
            filled as in training and evaluation (`fill_missing`). Its frames are taken at their own rate by a
            single-frame model, and resampled to 50 fps for one that looks at several frames: the rate of the result
            says which.
        model: satisfies the model contract and is trained.
    Returns:
        Pose3D on h36m17, camera frame, metres, the pelvis at the origin (root "relative").
    Raises:
        SkeletonError: if the skeleton has no conversion.
        TypeError: if something other than a Pose2D is given.
    """
    if not isinstance(pose2d, Pose2D):
        raise TypeError(f"lift() takes a Pose2D, not a {type(pose2d).__name__}; of a clip, give clip.pose2d")
    pose2d = pose2d.convert("h36m17")
    width = model.receptive_field
    if width > 1:
        pose2d = pose2d.resample(MODEL_FPS)
    device = model_device(model)
    screen = pixels_to_screen(
        torch.from_numpy(fill_missing(pose2d.points)).to(device), *pose2d.image_size
    )  # (T, J, 2)
    padding = width // 2
    padded = torch.cat([screen[:1].expand(padding, -1, -1), screen, screen[-1:].expand(padding, -1, -1)])
    windows = padded.unfold(0, width, 1).movedim(-1, 1)  # (T + R - 1, J, 2) -> (T, R, J, 2)
    was_training = model.training
    model.eval()
    try:
        parts = [model.decode_3d(model(model.encode_2d(part)))[:, 0] for part in windows.split(BATCH)]
    finally:
        model.train(was_training)
    points = torch.cat(parts).cpu().numpy()  # (T, J, 3)
    return Pose3D(np.asarray(points), H36M17, pose2d.fps, frame="camera", root="relative")
