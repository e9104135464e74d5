"""Losses as pure functions; NaN targets (joints that were not measured) are ignored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from mocap3d import metrics
from mocap3d.camera import project
from mocap3d.metrics import bone_lengths
from mocap3d.models.lifter import Lifter
from mocap3d.skeleton import H36M17, root_relative

# all pairs of bones that meet in a joint, (19, 2) bone indices
BONE_PAIRS = [
    (a, b)
    for a in range(len(H36M17.bones))
    for b in range(a + 1, len(H36M17.bones))
    if set(H36M17.bones[a]) & set(H36M17.bones[b])
]


class TrainingObjective(Protocol):
    """A training objective of one's own, see `fit`."""

    def __call__(self, model, batch, recipe, step: int, steps: int) -> Tensor:
        """The loss, a scalar."""

    def describe(self) -> dict:
        """Anything else that determines the run's numbers."""


def mse(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean squared difference over all known numbers.

    Args:
        prediction, target: same shape, the network's own units.
    Returns:
        scalar; 0 if no target is known.
    """
    known = ~torch.isnan(target)
    difference = prediction - torch.where(known, target, prediction.detach())
    return difference.square().sum() / known.sum().clamp_min(1)


def mpjpe(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean distance over all known joints.

    Args:
        prediction, target: (..., J, 3), same unit, same frame.
    Returns:
        scalar in that unit; 0 if no joint is known.
    Source: Pavllo et al. 2019, section 4.
    """
    known = ~torch.isnan(target).any(-1)  # (..., J)
    return metrics.mean_distance(prediction, torch.where(known[..., None], target, 0), known)


def trajectory(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean error of the root divided by its depth: a distant person appears small, and a larger error is accepted.

    Args:
        prediction, target: (..., 3) metres, camera frame; a target without known depth is ignored.
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
    """Mean distance in the image between projected predicted joints and the 2D joints they were lifted from.

    Args:
        points: (B, T, J, 3) metres, camera frame, absolute.
        points2d: (B, T, J, 2) screen units; NaN where the joint was not detected.
        intrinsics: (B, 9) screen units, `Camera.screen_intrinsics()`: focal (2), centre (2), distortion (5).
        lens: the distortion model, see `camera`.
        linear: ignore lens distortion.
    Returns:
        scalar, screen units; 0 if no joint was detected.
    Source: Pavllo et al. 2019, section 4. Rays over 45 degrees off the axis are clamped there, as published: a body
        that is predicted behind the camera during training gives no NaN.
    """
    rays = (points[..., :2] / points[..., 2:]).clamp(-1, 1)
    rays = torch.cat([rays, torch.ones_like(rays[..., :1])], -1)
    focal, centre, distortion = intrinsics[:, None, None].split((2, 2, 5), -1)  # (B, 1, 1, .)
    return mpjpe(project(rays, focal, centre, None if linear else distortion, lens), points2d)


def bone_length(labelled: Tensor, unlabelled: Tensor, groups: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Absolute difference between mean bone lengths over labelled and over unlabelled frames, averaged over bones.

    Args:
        labelled, unlabelled: (B, ..., 17, 3) metres, predicted poses of the two halves of a batch; counts may differ.
        groups: (B,) and (B',) int64, such as numbers of data sources: lengths are compared within each group, weighted
            by its unlabelled frames; those of a group without labelled ones are ignored. None: all are one group.
    Returns:
        scalar, metres. The gradient flows into both.
    Source: Pavllo et al. 2019, section 4 ("bone length L2 loss"; the code takes the absolute difference); groups: own.
    """
    lengths = [bone_lengths(pose).reshape(len(pose), -1, 16).mean(1) for pose in (labelled, unlabelled)]  # (B, 16) each
    if groups is None:
        a, b = (length.mean(0) for length in lengths)  # (16,) each
        return (a - b).abs().mean()
    of = torch.cat(groups).unique()  # (K,)
    one_hot = [(group == of[:, None]).to(labelled.dtype) for group in groups]  # (K, B), (K, B')
    counts = [rows.sum(1) for rows in one_hot]  # (K,) each
    a, b = (
        rows @ length / count.clamp_min(1)[:, None]
        for rows, length, count in zip(one_hot, lengths, counts, strict=True)
    )  # (K, 16) each
    weights = counts[1] * (counts[0] > 0)
    return ((a - b).abs().mean(1) * weights).sum() / weights.sum().clamp_min(1)


def n_mpjpe(prediction: Tensor, target: Tensor) -> Tensor:
    """`mpjpe` after scaling each frame to fit best; same arguments.

    Source: Rhodin et al. 2018, section 4.2; Zhu et al. 2023 use it as a loss. The gradient flows through the scale.
    """
    known = ~torch.isnan(target).any(-1)  # (..., J)
    truth = torch.where(known[..., None], target, 0)
    return metrics.mean_distance(metrics.best_scale(prediction, truth, known), truth, known)


def velocity(prediction: Tensor, target: Tensor) -> Tensor:
    """`mpjpe` of the differences between frames, unit per frame; (..., T, J, 3), 0 for a single frame.

    Source: Zhu et al. 2023, equation 5.
    """
    return mpjpe(prediction.diff(dim=-3), target.diff(dim=-3))


def limb_variance(prediction: Tensor, target: Tensor) -> Tensor:
    """Variance of each bone's length over a clip, averaged over bones and clips; the target is not used.

    Args, Returns: (..., T, 17, 3) each; scalar, unit squared; 0 for a single frame.
    Source: MotionBERT's code, where its weight is 0.
    """
    if prediction.shape[-3] < 2:
        return prediction.new_zeros(())
    return bone_lengths(prediction).var(-2).mean()


def limb_length(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of bone lengths; (..., T, 17, 3), scalar. Source: MotionBERT's code (weight 0)."""
    return _absolute(bone_lengths(prediction), bone_lengths(target))


def angle(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of the angles between bones that meet, radians; (..., T, 17, 3), scalar.

    Source: MotionBERT's code (weight 0), which leaves out the pair thorax-nose and thorax-left_shoulder.
    """
    return _absolute(_angles(prediction), _angles(target))


def angle_velocity(prediction: Tensor, target: Tensor) -> Tensor:
    """`angle` of the differences between frames, radians per frame. Source: MotionBERT's code (weight 0)."""
    return _absolute(_angles(prediction).diff(dim=-2), _angles(target).diff(dim=-2))


def _angles(pose: Tensor) -> Tensor:
    """(..., 17, 3) -> (..., 19) radians."""
    parents, children = (list(ends) for ends in zip(*H36M17.bones, strict=True))
    bones = nn.functional.normalize(pose[..., children, :] - pose[..., parents, :], dim=-1)  # (..., 16, 3)
    a, b = (list(side) for side in zip(*BONE_PAIRS, strict=True))
    cosine = (bones[..., a, :] * bones[..., b, :]).sum(-1)
    return cosine.clamp(-1 + 1e-6, 1 - 1e-6).acos()  # at +-1 its slope is infinite


def _absolute(prediction: Tensor, target: Tensor) -> Tensor:
    known = ~torch.isnan(target)
    difference = prediction - torch.where(known, target, prediction.detach())
    return difference.abs().sum() / known.sum().clamp_min(1)


# terms that a recipe may add to its loss
TERMS = {
    "n_mpjpe": n_mpjpe, "velocity": velocity, "limb_variance": limb_variance, "limb_length": limb_length,
    "angle": angle, "angle_velocity": angle_velocity,
}  # fmt: skip


def weighted_2d(prediction: Tensor, target: Tensor, confidence: Tensor) -> Tensor:
    """Mean distance in the image, each joint weighted by the detector's confidence: supervision by 2D alone.

    Args:
        prediction: (..., J, 3) image space; only x and y are used.
        target: (..., J, 2) the same unit and origin; NaN is ignored.
        confidence: (..., J) in [0, 1].
    Returns:
        scalar.
    Source: Zhu et al. 2023, equation 6.
    """
    known = ~torch.isnan(target).any(-1, keepdim=True)
    difference = torch.where(known, prediction[..., :2] - target, 0.0)
    return (torch.linalg.vector_norm(difference, dim=-1) * confidence).sum() / known.sum().clamp_min(1)


def pose_loss(
    name: str, model: Lifter, output: Tensor, pose3d: Tensor, terms: Mapping[str, float] | None = None
) -> Tensor:
    """A recipe's loss for a network's output.

    Args:
        name: "mse" (network units, against `model.targets`) or "mpjpe" (`model.decode` against the pose with its root
            moved to the origin; the prediction is not re-centred).
        model: fulfils `Lifter`.
        output: of `model`.
        pose3d: (B, T, J, 3) in the model's space; metres are absolute, in the camera frame.
        terms: weights of further losses, see `TERMS`.
    """
    if name not in ("mse", "mpjpe"):
        raise ValueError(f"no loss {name!r}; there are: mse, mpjpe")
    loss = 0.0
    if name == "mse":
        loss = mse(output, model.targets(pose3d).reshape(output.shape))
    if name == "mpjpe" or terms:
        pose = model.decode(output)
        target = pose3d if model.space == "metric absolute" else root_relative(pose3d)
        if name == "mpjpe":
            loss = mpjpe(pose, target)
        loss = loss + sum(weight * TERMS[term](pose, target) for term, weight in (terms or {}).items() if weight)
    return loss
