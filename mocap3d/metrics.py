"""The standard error metrics of the field, as pure functions.

Every function takes (..., T, J, 3) positions in metres (arrays or tensors; a tensor stays differentiable),
and returns metres, a fraction, or (for acceleration) metres per second squared. Joints whose truth is NaN, or
whose `mask` is False, are excluded from every mean; a prediction that is NaN where the truth is not makes the mean NaN
(and counts as a miss for PCK and AUC). Metrics align only if their name says so: whether the root is
subtracted first is decided by the evaluation protocol, not by the metric.

    MPJPE    mean distance of joints
    P-MPJPE  the same after the best rotation, translation and scale of each frame (never a reflection)
    N-MPJPE  the same after the best scale of each frame
    MPJVE    mean distance of frame-to-frame differences
"""

from __future__ import annotations

import numpy as np
import torch

from mocap3d.arguments import Points, PositiveInt, check_arguments
from mocap3d.skeleton import H36M17, Skeleton, joints_of


class MetricError(ValueError):
    """Positions that cannot be compared."""


def _tensor(positions) -> torch.Tensor:
    """Convert an array, list or tensor to a floating-point tensor, without a copy where possible."""
    if not isinstance(positions, torch.Tensor):
        positions = np.asarray(positions)
        if not positions.flags.writeable or any(stride < 0 for stride in positions.strides):
            positions = positions.copy()  # a broadcast or reversed view, which torch does not accept
        positions = torch.as_tensor(positions)
    return positions if positions.is_floating_point() else positions.double()


def _prepare(prediction, truth, mask):
    """Tensors, the mask of joints that count, and whether to return numpy."""
    in_numpy = not isinstance(prediction, torch.Tensor) and not isinstance(truth, torch.Tensor)
    prediction, truth = _tensor(prediction), _tensor(truth)
    if prediction.shape != truth.shape or prediction.ndim < 2 or prediction.shape[-1] != 3:
        raise MetricError(
            f"prediction has shape {tuple(prediction.shape)}, truth {tuple(truth.shape)}; both must be (..., joints, 3)"
        )
    counted = torch.isfinite(truth).all(-1)
    if mask is not None:
        mask = _tensor(mask).to(truth.device).bool()
        try:
            counted = counted & mask
        except RuntimeError:
            raise MetricError(
                f"mask has shape {tuple(mask.shape)}; give {tuple(counted.shape)}, True where a joint counts"
            ) from None
    if not counted.any():
        raise MetricError("no joint counts: every truth is NaN or masked")
    return prediction, torch.where(counted[..., None], truth, 0), counted, in_numpy


def _answer(tensor: torch.Tensor, in_numpy: bool):
    if not in_numpy:
        return tensor
    return tensor.item() if tensor.ndim == 0 else tensor.numpy()


def _mean(errors: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """Mean over the joints that count; 0 if none does."""
    return torch.where(counted, errors, 0).sum() / counted.sum().clamp_min(1)


def mean_distance(prediction: torch.Tensor, truth: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """MPJPE of tensors without checks, differentiable; shared by metrics and losses.

    Args:
        prediction, truth: (..., J, 3), same unit; truth without NaN.
        counted: (..., J) bool.
    Returns:
        scalar; 0 if no joint counts.

    >>> mean_distance(torch.ones(2, 17, 3), torch.zeros(2, 17, 3), torch.ones(2, 17, dtype=torch.bool))
    tensor(1.7321)
    """
    return _mean(torch.linalg.vector_norm(prediction - truth, dim=-1), counted)


def best_scale(prediction: torch.Tensor, truth: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """Scale each frame of the prediction to fit best (see `scale_align`); arguments as in `mean_distance`.

    >>> truth = torch.rand(2, 17, 3)
    >>> torch.allclose(best_scale(2 * truth, truth, torch.ones(2, 17, dtype=torch.bool)), truth)
    True
    """
    seen = torch.where(counted[..., None], prediction, 0)
    own = seen.square().sum((-2, -1), keepdim=True)
    scale = (seen * truth).sum((-2, -1), keepdim=True) / own.clamp_min(1e-30)
    return prediction * torch.where(own > 0, scale, 1)


def joint_errors(prediction: Points, truth: Points, mask: Points | None = None):
    """Distance between prediction and truth for every joint.

    Args:
        prediction, truth: (..., J, 3) metres, same frame and root.
        mask: (..., J) bool, True where a joint counts.
    Returns:
        (..., J) metres, NaN where a joint does not count.
    Raises:
        MetricError: if shapes differ or nothing counts.

    >>> joint_errors(np.ones((2, 17, 3)), np.zeros((2, 17, 3))).shape
    (2, 17)
    """
    check_arguments(joint_errors, locals())
    prediction, truth, counted, in_numpy = _prepare(prediction, truth, mask)
    errors = torch.linalg.vector_norm(prediction - truth, dim=-1)
    return _answer(torch.where(counted, errors, torch.nan), in_numpy)


def mpjpe(prediction: Points, truth: Points, mask: Points | None = None):
    """Mean per-joint position error, metres.

    Args:
        prediction, truth: (..., J, 3) metres, same frame and root.
        mask: (..., J) bool, True where a joint counts.
    Returns:
        scalar: float for arrays, 0-d tensor for tensors.
    Source: Ionescu et al. 2014, equation 8.

    >>> truth = np.zeros((10, 17, 3))
    >>> round(mpjpe(truth + [0.03, 0.04, 0.0], truth), 6)
    0.05
    """
    check_arguments(mpjpe, locals())
    prediction, truth, counted, in_numpy = _prepare(prediction, truth, mask)
    return _answer(mean_distance(prediction, truth, counted), in_numpy)


def scale_align(prediction: Points, truth: Points, mask: Points | None = None):
    """Multiply each frame of the prediction by the scale that fits the truth best.

    Args, Raises: same as in `joint_errors`.
    Returns:
        (..., J, 3) metres: s * prediction with s = <prediction, truth> / <prediction, prediction>.
    Source: Rhodin et al. 2018, section 4.2 (N-MPJPE).

    >>> truth = np.random.default_rng(0).normal(size=(10, 17, 3))
    >>> np.allclose(scale_align(2 * truth, truth), truth)
    True
    """
    check_arguments(scale_align, locals())
    prediction, truth, counted, in_numpy = _prepare(prediction, truth, mask)
    return _answer(best_scale(prediction, truth, counted), in_numpy)


def n_mpjpe(prediction: Points, truth: Points, mask: Points | None = None):
    """MPJPE after scaling each frame (see `scale_align`), metres.

    >>> truth = np.random.default_rng(0).normal(size=(10, 17, 3))
    >>> round(n_mpjpe(2 * truth, truth), 6)
    0.0
    """
    check_arguments(n_mpjpe, locals())
    prediction, truth, counted, in_numpy = _prepare(prediction, truth, mask)
    return _answer(mean_distance(best_scale(prediction, truth, counted), truth, counted), in_numpy)


def procrustes_align(prediction: Points, truth: Points, mask: Points | None = None):
    """Align each frame of the prediction with the truth by the best similarity: rotation, scale, translation.

    A reflection is never used. A frame whose joints all coincide (or lie on a line) has no unique rotation; the
    identity completes it, so the result is finite. Computed in float64.

    Args, Raises: same as in `joint_errors`.
    Returns:
        (..., J, 3) metres, aligned with the truth.
    Source: Umeyama 1991, equations 40 to 42, unweighted; joints that do not count have weight 0.

    >>> truth = np.random.default_rng(0).normal(size=(10, 17, 3))
    >>> turned = truth[..., [1, 0, 2]] * [-1, 1, 1] + 5
    >>> np.allclose(procrustes_align(turned, truth), truth)
    True
    """
    check_arguments(procrustes_align, locals())
    prediction, truth, counted, in_numpy = _prepare(prediction, truth, mask)
    return _answer(_similar(prediction, truth, counted), in_numpy)


def _similar(prediction: torch.Tensor, truth: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    weight = counted[..., None].to(torch.float64)
    total = weight.sum(-2, keepdim=True).clamp_min(1)
    x, y = prediction.double(), truth.double()
    x = torch.where(counted[..., None], x, 0)
    known = torch.isfinite(x).all(-1, keepdim=True).all(-2, keepdim=True)  # (..., 1, 1); an SVD of NaN would raise
    x = torch.where(known, x, 0)
    centre_x, centre_y = x.sum(-2, keepdim=True) / total, y.sum(-2, keepdim=True) / total
    x0, y0 = (x - centre_x) * weight, (y - centre_y) * weight
    u, s, vh = torch.linalg.svd(x0.mT @ y0)  # (..., 3, 3)
    sign = torch.linalg.det(u @ vh).sign()
    d = torch.stack([torch.ones_like(sign), torch.ones_like(sign), sign], -1)  # the weakest axis is flipped
    rotation = (u * d[..., None, :]) @ vh  # x @ rotation ~ y
    spread = (x0 * x0).sum((-2, -1))
    scale = torch.where(spread > 1e-12, (s * d).sum(-1) / spread.clamp_min(1e-12), 1)
    aligned = scale[..., None, None] * (prediction.double() - centre_x) @ rotation + centre_y
    return torch.where(known, aligned, torch.nan).to(prediction.dtype)


def p_mpjpe(prediction: Points, truth: Points, mask: Points | None = None):
    """MPJPE after Procrustes alignment of each frame (see `procrustes_align`), metres.

    >>> truth = np.random.default_rng(0).normal(size=(10, 17, 3))
    >>> round(p_mpjpe(3 * truth + 5, truth), 6)
    0.0
    """
    check_arguments(p_mpjpe, locals())
    prediction, truth, counted, in_numpy = _prepare(prediction, truth, mask)
    return _answer(mean_distance(_similar(prediction, truth, counted), truth, counted), in_numpy)


def _differences(prediction, truth, mask, order: int):
    prediction, truth, counted, in_numpy = _prepare(prediction, truth, mask)
    if prediction.ndim < 3 or prediction.shape[-3] <= order:
        raise MetricError(f"{order + 1} frames are needed, shape is {tuple(prediction.shape)}; give (..., T, J, 3)")
    for _ in range(order):
        prediction, truth = prediction.diff(dim=-3), truth.diff(dim=-3)
        counted = counted[..., 1:, :] & counted[..., :-1, :]
    if not counted.any():
        raise MetricError("no joint counts: every truth is NaN or masked in one of two neighbouring frames")
    return torch.linalg.vector_norm(prediction - truth, dim=-1), counted, in_numpy


def mpjve(prediction: Points, truth: Points, mask: Points | None = None):
    """Mean per-joint velocity error: MPJPE of frame-to-frame differences.

    Args:
        prediction, truth: (..., T, J, 3) metres, one clip (or a batch), T >= 2.
        mask: (..., T, J) bool.
    Returns:
        scalar, metres per FRAME, as published (multiply by fps for metres per second).
    Source: Pavllo et al. 2019, section 5.

    >>> truth = np.zeros((10, 17, 3))
    >>> round(mpjve(truth + 0.1, truth), 6)  # a constant error has no velocity
    0.0
    """
    check_arguments(mpjve, locals())
    errors, counted, in_numpy = _differences(prediction, truth, mask, 1)
    return _answer(_mean(errors, counted), in_numpy)


def acceleration_error(prediction: Points, truth: Points, fps: float, mask: Points | None = None):
    """Mean distance of second differences, metres per second squared.

    Args:
        prediction, truth: (..., T, J, 3) metres, T >= 3.
        fps: frames per second.
    Source: Kanazawa et al. 2019, section 4 (acceleration error), there in mm/s^2.

    >>> truth = np.zeros((10, 17, 3))
    >>> round(acceleration_error(truth + 0.1, truth, fps=50), 6)
    0.0
    """
    check_arguments(acceleration_error, locals())
    errors, counted, in_numpy = _differences(prediction, truth, mask, 2)
    return _answer(_mean(errors, counted) * fps**2, in_numpy)


def pck(prediction: Points, truth: Points, threshold: float = 0.150, mask: Points | None = None):
    """Fraction of joints with an error below `threshold` metres (PCK@150mm by default).

    Source: Mehta et al. 2017 (3DPCK).

    >>> truth = np.zeros((10, 17, 3))
    >>> round(pck(truth + [0.1, 0.0, 0.0], truth), 6), round(pck(truth + [0.2, 0.0, 0.0], truth), 6)
    (1.0, 0.0)
    """
    check_arguments(pck, locals())
    prediction, truth, counted, in_numpy = _prepare(prediction, truth, mask)
    near = torch.linalg.vector_norm(prediction - truth, dim=-1) < threshold
    return _answer(_mean(near.to(prediction.dtype), counted), in_numpy)


def auc(prediction: Points, truth: Points, highest: float = 0.150, steps: PositiveInt = 31, mask: Points | None = None):
    """Area under the PCK curve: mean PCK over `steps` thresholds from 0 to `highest` metres.

    Source: Mehta et al. 2017: 31 thresholds, 0 to 150 mm.

    >>> truth = np.zeros((10, 17, 3))
    >>> round(auc(truth + [0.0751, 0.0, 0.0], truth), 2)
    0.48
    """
    check_arguments(auc, locals())
    prediction, truth, counted, in_numpy = _prepare(prediction, truth, mask)
    errors = torch.linalg.vector_norm(prediction - truth, dim=-1)
    thresholds = torch.linspace(0, highest, steps, dtype=errors.dtype, device=errors.device)
    ordered = errors[counted].sort().values
    fractions = torch.searchsorted(ordered, thresholds, right=False).to(errors.dtype) / len(ordered)
    return _answer(fractions.mean(), in_numpy)


def per_joint_error(prediction: Points, truth: Points, mask: Points | None = None):
    """MPJPE of each joint: (..., J, 3) -> (J,) metres, NaN for a joint that never counts.

    >>> per_joint_error(np.ones((10, 17, 3)), np.zeros((10, 17, 3))).shape
    (17,)
    """
    check_arguments(per_joint_error, locals())
    prediction, truth, counted, in_numpy = _prepare(prediction, truth, mask)
    errors = torch.where(counted, torch.linalg.vector_norm(prediction - truth, dim=-1), 0)
    joints = errors.shape[-1]
    return _answer(errors.reshape(-1, joints).sum(0) / counted.reshape(-1, joints).sum(0), in_numpy)


def bone_lengths(points: Points, skeleton: Skeleton = H36M17):
    """(..., J, 3) metres -> (..., bones) metres, in the order of `skeleton.bones`.

    >>> bone_lengths(np.zeros((10, 17, 3))).shape
    (10, 16)
    """
    check_arguments(bone_lengths, locals())
    points = joints_of(points, skeleton, axis=-2)
    parents, children = (list(ends) for ends in zip(*skeleton.bones, strict=True))
    difference = points[..., children, :] - points[..., parents, :]
    if isinstance(points, torch.Tensor):
        return torch.linalg.vector_norm(difference, dim=-1)
    return np.linalg.norm(difference, axis=-1)


def bone_length_error(prediction: Points, truth: Points, skeleton: Skeleton = H36M17, mask: Points | None = None):
    """Mean absolute difference of bone lengths, metres; a bone counts where both its joints do.

    >>> truth = np.random.default_rng(0).normal(size=(10, 17, 3))
    >>> round(bone_length_error(truth + 1, truth), 6)
    0.0
    """
    check_arguments(bone_length_error, locals())
    prediction, truth, counted, in_numpy = _prepare(prediction, truth, mask)
    parents, children = (list(ends) for ends in zip(*skeleton.bones, strict=True))
    both = counted[..., parents] & counted[..., children]
    if not both.any():
        raise MetricError("no bone counts: every bone has a joint whose truth is NaN or masked")
    return _answer(_mean((bone_lengths(prediction, skeleton) - bone_lengths(truth, skeleton)).abs(), both), in_numpy)
