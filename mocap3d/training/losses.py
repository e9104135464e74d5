"""Losses as pure functions; targets that are NaN (joints nobody measured) count for nothing."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mocap3d.camera import project
from mocap3d.metrics import bone_lengths
from mocap3d.skeleton import ROOT


def mse(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean squared difference over all known numbers.

    Args:
        prediction, target: any one shape, the network's own units.
    Returns:
        scalar; 0 if no target is known.
    """
    known = ~torch.isnan(target)
    difference = prediction - torch.where(known, target, prediction.detach())
    return difference.square().sum() / known.sum().clamp_min(1)


def mpjpe(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean distance over all known joints.

    Args:
        prediction, target: (..., J, 3), one unit, one frame.
    Returns:
        scalar in that unit; 0 if no joint is known.
    Source: Pavllo et al. 2019, section 4.
    """
    known = ~torch.isnan(target).any(-1)  # (..., J)
    difference = prediction - torch.where(known[..., None], target, prediction.detach())
    return torch.linalg.vector_norm(difference, dim=-1).sum() / known.sum().clamp_min(1)


def trajectory(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean distance of the root as a share of its depth: what is far away is seen small, and may be further off.

    Args:
        prediction, target: (..., 3) metres, camera frame; a target without known depth counts for nothing.
    Returns:
        scalar, metres per metre; 0 if no target is known.
    Source: Pavllo et al. 2019, section 4.1: weighted MPJPE with weight 1 / y_z, y_z the true depth.
    """
    known = ~torch.isnan(target).any(-1)  # (...)
    target = torch.where(known[..., None], target, 1.0)
    difference = prediction - torch.where(known[..., None], target, prediction.detach())
    return (torch.linalg.vector_norm(difference, dim=-1) / target[..., 2]).sum() / known.sum().clamp_min(1)


def reprojection(
    points: Tensor, points2d: Tensor, intrinsics: Tensor, lens: str = "videopose3d", linear: bool = False
) -> Tensor:
    """Mean distance in the image between predicted joints, projected, and the 2D joints they were lifted from.

    Args:
        points: (B, T, J, 3) metres, camera frame, absolute.
        points2d: (B, T, J, 2) screen units; NaN where nobody saw the joint.
        intrinsics: (B, 9) screen units, `Camera.screen_intrinsics()`: focal (2), centre (2), distortion (5).
        lens: the distortion model, see `camera`.
        linear: leave the lens out.
    Returns:
        scalar, screen units; 0 if no joint was seen.
    Source: Pavllo et al. 2019, section 4. Rays over 45 degrees off the axis are held there, as published: a body
        that training has put behind the camera for now gives no NaN.
    """
    rays = (points[..., :2] / points[..., 2:]).clamp(-1, 1)
    rays = torch.cat([rays, torch.ones_like(rays[..., :1])], -1)
    focal, centre, distortion = intrinsics[:, None, None].split((2, 2, 5), -1)  # (B, 1, 1, .)
    return mpjpe(project(rays, focal, centre, None if linear else distortion, lens), points2d)


def bone_length(labelled: Tensor, unlabelled: Tensor) -> Tensor:
    """How far mean bone lengths over labelled and over unlabelled frames are apart, averaged over the bones.

    Args:
        labelled, unlabelled: (..., 17, 3) metres, predicted poses of the two halves of a batch, any numbers of them.
    Returns:
        scalar, metres. The gradient flows into both.
    Source: Pavllo et al. 2019, section 4 ("bone length L2 loss"; the code takes the absolute difference).
    """
    a, b = (bone_lengths(pose).flatten(0, -2).mean(0) for pose in (labelled, unlabelled))  # (16,) each
    return (a - b).abs().mean()


def pose_loss(name: str, model: nn.Module, output: Tensor, pose3d: Tensor) -> Tensor:
    """A recipe's loss of what the network put out.

    Args:
        name: "mse" (network units, against `model.encode_3d`) or "mpjpe" (metres, `model.decode_3d` against the
            pose with its root moved to the origin; the prediction is not re-centred).
        model: satisfies the model contract.
        output: of `model`.
        pose3d: (B, T, J, 3) metres, camera frame, absolute.
    """
    if name == "mse":
        return mse(output, model.encode_3d(pose3d).reshape(output.shape))
    if name == "mpjpe":
        return mpjpe(model.decode_3d(output), pose3d - pose3d[..., ROOT : ROOT + 1, :])
    raise ValueError(f"no loss {name!r}; there are: mse, mpjpe")
