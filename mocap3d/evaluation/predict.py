"""Run a model over clips: a pose for every frame of any video.

single frames       a pose from each frame by itself
windows             VideoPose3D: a pose for each frame from the R frames around it; end frames are repeated
whole clips         MotionBERT: poses for all frames of a clip of at most R; longer video in overlapping chunks
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from mocap3d import metrics
from mocap3d.arguments import PositiveInt, Rows, check_arguments
from mocap3d.data.chunks import OVERLAP, cut_chunks, overlapping_chunks
from mocap3d.data.image_space import screen_to_metres
from mocap3d.data.windows import DeviceDataset, normalised, padded_rows, window
from mocap3d.evaluation.protocol import ReportError
from mocap3d.models.lifter import Lifter
from mocap3d.normalise import normalise_points
from mocap3d.skeleton import H36M17, ROOT, flip, root_relative

FRAMES_AT_ONCE = 4096
FRAMES_ON_CPU = 256  # of models that lift whole clips: MotionBERT-Lite is a quarter faster than with 4096
VALIDATION_FRAMES = 8192


@torch.no_grad()
def predict(
    model: Lifter,
    data: DeviceDataset,
    *,
    frames: Rows | None = None,
    flip_test: bool = False,
    batch_size: PositiveInt = FRAMES_AT_ONCE,
) -> Tensor:
    """Predict a pose for each frame.

    Args:
        model: fulfils `Lifter`; must be on the device of `data`.
        data: the clips; beyond the ends of a clip, its first and last frame are repeated.
        frames: (M,) rows of `data`, each given to the model as a separate window (default: all, by `predict_clips`).
        flip_test: average with the un-mirrored prediction of the mirrored input.
        batch_size: frames per batch; affects memory and speed, and results only by rounding.
    Returns:
        (M, J, 3) in the model's space: metres, camera frame, root-relative (the root is where the model puts it), or
        image space (see `to_metric`).
    """
    check_arguments(predict, locals())
    data = normalised(data, model)
    if frames is None or model.clipwise:
        every = _predict_every(model, data.points2d, data.stop - data.start, data.confidence, flip_test, batch_size)
        poses = every if frames is None else every[frames]
    else:
        poses = _predict_windows(model, data, frames, flip_test, batch_size)
    return poses if data.rotation is None else poses @ (data.rotation if frames is None else data.rotation[frames])


@torch.no_grad()
def _predict_windows(
    model: Lifter, data: DeviceDataset, frames: Tensor, flip_test: bool = False, batch_size: int = FRAMES_AT_ONCE
) -> Tensor:
    """(M,) rows of `data`, each the target of its own window -> (M, J, 3)."""
    width, parts = model.receptive_field, []
    with _in_evaluation_mode(model):
        for rows in frames.split(max(batch_size // width, 1)):
            batch = window(data, rows, width, model.causal, confidence=True)
            parts.append(_lift(model, batch.points2d, batch.confidence, flip_test)[:, 0])
    return torch.cat(parts)


@torch.no_grad()
def predict_clips(
    model: Lifter,
    points2d: Tensor,
    lengths: Rows,
    *,
    confidence: Tensor | None = None,
    intrinsics: Tensor | None = None,
    flip_test: bool = False,
    batch_size: PositiveInt = FRAMES_AT_ONCE,
    progress: bool = False,
) -> Tensor:
    """Predict a pose for every frame of clips of any length; memory does not grow with the length.

    A model with receptive field R gets T frames at a time for T - R + 1 poses, because neighbouring windows share most
    of their work. Padded clips are concatenated; poses computed from frames of two clips are dropped. A model that
    lifts whole clips gets overlapping chunks of them, which are blended (`overlapping_chunks`).

    Args:
        model: fulfils `Lifter`; must be on the device of the tensors.
        points2d: (N, J, 2) screen units, no NaN: the clips, concatenated.
        lengths: (K,) int64, of the clips, in frames.
        confidence: (N, J); None stands for 1 everywhere.
        intrinsics: (K, 4), see `normalise_points`.
        flip_test, batch_size: see `predict`.
        progress: show a progress bar.
    Returns:
        (N, J, 3) metres, camera frame, root-relative; or image space, see `predict`.
    Source: Pavllo et al. 2019 (padding by repetition, flip test); concatenated clips are ours.
    """
    check_arguments(predict_clips, locals())
    if points2d.shape[1:] != (len(H36M17), 2) or len(points2d) != lengths.sum():
        raise ReportError(
            f"points2d has shape {tuple(points2d.shape)}; give (N, {len(H36M17)}, 2), N being the sum of lengths"
        )
    confidence = torch.ones_like(points2d[..., 0]) if confidence is None else confidence
    points, rotation = normalise_points(
        points2d, lengths, model.normalise, model.receptive_field, model.causal, intrinsics
    )
    poses = _predict_every(model, points, lengths, confidence, flip_test, batch_size, progress)
    return poses if rotation is None else poses @ rotation


def _predict_every(
    model: Lifter,
    points2d: Tensor,
    lengths: Tensor,
    confidence: Tensor,
    flip_test: bool,
    batch_size: int,
    progress: bool = False,
) -> Tensor:
    """`predict_clips` of points as the model reads them."""
    if model.clipwise:
        return _blended(model, points2d, lengths, confidence, flip_test, batch_size, progress)
    width, parts = model.receptive_field, []
    with _in_evaluation_mode(model):
        if width == 1:
            for part, seen in zip(points2d.split(batch_size), confidence.split(batch_size), strict=True):
                parts.append(_lift(model, part[:, None], seen[:, None], flip_test)[:, 0])  # (B, 1, J, 3) -> (B, J, 3)
        else:
            rows, starts = padded_rows(lengths, width, model.causal)
            of_one_clip = torch.zeros(len(rows) - width + 1, dtype=torch.bool, device=rows.device)
            of_one_clip[starts] = True
            for first in tqdm(range(0, len(of_one_clip), batch_size), disable=not progress):
                at = rows[first : first + batch_size + width - 1]
                (pose,) = _lift(model, points2d[at][None], confidence[at][None], flip_test)  # (T - R + 1, J, 3)
                parts.append(pose[of_one_clip[first : first + batch_size]])
    return torch.cat(parts)


def _blended(
    model: Lifter,
    points2d: Tensor,
    lengths: Tensor,
    confidence: Tensor,
    flip_test: bool,
    batch_size: int,
    progress: bool,
) -> Tensor:
    """Predictions of a model that lifts whole clips, for every frame of every clip: (N, J, 3).

    Where chunks overlap, each is weighted by the frame's distance from the chunk's end, up to the least overlap: there
    is no seam, and a frame far from both ends is not affected by the neighbouring chunk.
    """
    frames, device = model.receptive_field, points2d.device
    by_length: dict[int, list[int]] = {}  # chunks of equal length can go through the network together
    for start, length in zip((lengths.cumsum(0) - lengths).tolist(), lengths.tolist(), strict=True):
        for chunk in overlapping_chunks(length, frames):
            by_length.setdefault(len(chunk), []).append(start + chunk.start)
    total = points2d.new_zeros(len(points2d), points2d.shape[1], 3)
    weights = points2d.new_zeros(len(points2d), 1, 1)
    with _in_evaluation_mode(model):
        for length, firsts in by_length.items():
            at = torch.arange(length, device=device)
            ramp = torch.minimum(at + 1, length - at).clamp_max(OVERLAP)  # (T,)
            ramp = ramp.to(total.dtype)[:, None, None]  # (T, 1, 1)
            rows = torch.tensor(firsts, device=device)[:, None] + at  # (P, T)
            batches = rows.split(_clips_at_once(length, batch_size, device))
            for some in tqdm(batches, disable=not progress or len(batches) == 1):
                pose = _lift(model, points2d[some], confidence[some], flip_test)  # (B, T, J, 3)
                total.index_add_(0, some.flatten(), (pose * ramp).flatten(0, 1))
                weights.index_add_(0, some.flatten(), ramp.expand(len(some), -1, -1, -1).flatten(0, 1))
    return total / weights


def _clips_at_once(length: int, batch_size: int, device: torch.device) -> int:
    """How many clips go through the network together: on a CPU, as many as fit its caches."""
    frames = min(batch_size, FRAMES_ON_CPU) if device.type == "cpu" else batch_size
    return max(frames // length, 1)


@torch.no_grad()
def predict_chunks(
    model: Lifter, data: DeviceDataset, chunks: Tensor, *, flip_test: bool = False, batch_size: int = FRAMES_AT_ONCE
) -> Tensor:
    """Predict chunks, each by itself, with a model that lifts whole clips.

    Args:
        model: clipwise; must be on the device of `data`.
        data: the clips.
        chunks: (P, C) rows of `data`, as returned by `cut_chunks` or `published_chunks`.
        flip_test, batch_size: see `predict`.
    Returns:
        (P, C, J, 3), same as in `predict`.
    """
    data = normalised(data, model)
    poses = _predict_chunks(model, data, chunks, flip_test, batch_size)
    return poses if data.rotation is None else poses @ data.rotation[chunks]


def _predict_chunks(
    model: Lifter, data: DeviceDataset, chunks: Tensor, flip_test: bool = False, batch_size: int = FRAMES_AT_ONCE
) -> Tensor:
    """`predict_chunks` of normalised data, in virtual cameras if it has them."""
    with _in_evaluation_mode(model):
        return torch.cat(
            [
                _lift(model, data.points2d[rows], data.confidence[rows], flip_test)
                for rows in chunks.split(_clips_at_once(chunks.shape[1], batch_size, chunks.device))
            ]
        )


def to_metric(model: Lifter, poses: Tensor, data: DeviceDataset, frames: Rows) -> Tensor:
    """Convert predictions to metres: those in image space need the camera and the true root position.

    Args:
        model: the model that made them.
        poses: (..., J, 3), from `predict` or `predict_chunks`.
        data: the clips, in metres.
        frames: (...) rows of `data`.
    Returns:
        (..., J, 3) metres, camera frame, root-relative.
    """
    check_arguments(to_metric, locals())
    if poses.shape[-3:-1] != (*frames.shape[-1:], len(H36M17)):
        raise ReportError(f"poses have shape {tuple(poses.shape)} and frames {tuple(frames.shape)}; give one for each")
    if model.space != "image":
        return poses
    found = np.empty(poses.shape, dtype=np.float32)
    clips, roots = data.clip[frames].cpu().numpy(), data.pose3d[frames][..., ROOT, :].cpu().numpy()
    values = poses.cpu().numpy()
    for clip in np.unique(clips):
        rows = clips == clip
        found[rows] = screen_to_metres(values[rows], data.clips[clip].camera, roots[rows])
    return torch.from_numpy(found).to(poses.device)


@contextmanager
def _in_evaluation_mode(model: Lifter) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def _lift(model: Lifter, points2d: Tensor, confidence: Tensor, flip_test: bool) -> Tensor:
    """(B, T, J, 2) screen units -> poses in the model's space, (B, T - R + 1, J, 3); clipwise (B, T, J, 3)."""
    pose = model.decode(model(model.encode(points2d, confidence)))
    frames = points2d.shape[1] - (0 if model.clipwise else model.receptive_field - 1)
    expected = (len(points2d), frames, len(H36M17), 3)
    if pose.shape != expected:
        raise ReportError(
            f"model {model.name!r} decodes {tuple(points2d.shape)} to {tuple(pose.shape)}; with a receptive field of "
            f"{model.receptive_field} it must be {expected}: a pose for every frame that has a whole window"
        )
    if flip_test:
        confidence = confidence[..., list(H36M17.mirror)]
        pose = (pose + flip(_lift(model, flip(points2d, H36M17), confidence, False), H36M17)) / 2
    return pose


@torch.no_grad()
def validation_error(model: Lifter, data: DeviceDataset, most: int = VALIDATION_FRAMES) -> float:
    """MPJPE in mm over at most `most` evenly spaced frames, with the "videopose3d" root rule and without flip test."""
    data = normalised(data, model)  # in virtual cameras, errors are as large
    chunks = cut_chunks(data, model.receptive_field, model.receptive_field) if model.clipwise else None
    rows = len(data) if chunks is None else len(chunks)
    most = most if chunks is None else max(most // model.receptive_field, 1)
    chosen = torch.linspace(0, rows - 1, min(most, rows), dtype=torch.float64).round().long().to(data.device)
    if chunks is None:
        poses, frames = _predict_windows(model, data, chosen), chosen
    else:
        frames = chunks[chosen]  # (P, C)
        poses = to_metric(model, _predict_chunks(model, data, frames), data, frames)
    truth = root_relative(data.pose3d[frames])
    known = torch.isfinite(truth).all(-1)
    return 1000 * float(metrics.mean_distance(poses, torch.where(known[..., None], truth, 0), known))
