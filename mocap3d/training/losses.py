"""Losses as pure functions; targets that are NaN (joints nobody measured) count for nothing."""

from __future__ import annotations

import torch
from torch import Tensor, nn

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
