"""Running a model over clips: every frame of any video, by whatever way of looking the model has.

single frames       a pose for each frame by itself
windows             VideoPose3D: a pose for each frame that has R frames around it; ends are repeated
whole clips         MotionBERT: a pose for every frame of a clip of at most R; longer video is cut, and blended
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from mocap3d.data.image_space import screen_to_metres
from mocap3d.data.windows import DeviceDataset, padded_rows, window
from mocap3d.evaluation.protocol import ReportError
from mocap3d.skeleton import H36M17, ROOT, flip

FRAMES_AT_ONCE = 4096
FRAMES_ON_CPU = 256  # of models that lift whole clips: MotionBERT-Lite is a quarter faster than with 4096
OVERLAP = 27  # frames that neighbouring pieces share, at least


def model_device(model: nn.Module) -> torch.device:
    """Where a model's tensors are; the CPU for a model without any."""
    for tensor in (*model.parameters(), *model.buffers()):
        return tensor.device
    return torch.device("cpu")


@torch.no_grad()
def predict(
    model: nn.Module,
    data: DeviceDataset,
    *,
    frames: Tensor | None = None,
    flip_test: bool = False,
    batch_size: int = FRAMES_AT_ONCE,
) -> Tensor:
    """What a model says of each frame.

    Args:
        model: satisfies the model contract; must be on the device of `data`.
        data: the clips; beyond its ends, the first and last frame of a clip are repeated.
        frames: (M,) rows of `data`, each given to the model as a window of its own (default: all, by `predict_clips`).
        flip_test: average with the un-mirrored prediction of the mirrored input.
        batch_size: frames at once; changes memory and speed, and results by rounding at most.
    Returns:
        (M, J, 3) metres, camera frame, root-relative (the root is where the model puts it); of a model that says image
        space, that (see `say_metres`).
    """
    if frames is None or getattr(model, "clipwise", False):
        every = predict_clips(
            model, data.points2d, data.stop - data.start, confidence=data.confidence, flip_test=flip_test,
            batch_size=batch_size,
        )  # fmt: skip
        return every if frames is None else every[frames]
    width, causal = model.receptive_field, getattr(model, "causal", False)
    with _in_evaluation_mode(model):
        parts = [
            _lift(model, window(data, rows, width, causal).points2d, flip_test)[:, 0]
            for rows in frames.split(max(batch_size // width, 1))
        ]
    return torch.cat(parts)


@torch.no_grad()
def predict_clips(
    model: nn.Module,
    points2d: Tensor,
    lengths: Tensor,
    *,
    confidence: Tensor | None = None,
    flip_test: bool = False,
    batch_size: int = FRAMES_AT_ONCE,
) -> Tensor:
    """What a model says of every frame of some clips, of any length, in memory that does not grow with it.

    A model of R frames is given long stretches, T frames for T - R + 1 poses, because neighbouring windows share most
    of their work. Padded clips lie behind one another; the poses made of frames of two clips are dropped. A model that
    lifts whole clips is given overlapping pieces of them, which are blended (`overlapping_pieces`).

    Args:
        model: satisfies the model contract; must be on the device of the tensors.
        points2d: (N, J, 2) screen units, no NaN: the clips one behind the other.
        lengths: (K,) int64, of the clips, in frames.
        confidence: (N, J), for models that ask for it; None: sure of all.
        flip_test, batch_size: see `predict`.
    Returns:
        (N, J, 3) metres, camera frame, root-relative; or image space, see `predict`.
    Source: Pavllo et al. 2019 (padding by repetition, flip test); stretches of several clips are ours.
    """
    width, parts = model.receptive_field, []
    if getattr(model, "clipwise", False):
        return _blended(model, points2d, lengths, confidence, flip_test, batch_size)
    with _in_evaluation_mode(model):
        if width == 1:
            for part in points2d.split(batch_size):
                parts.append(_lift(model, part[:, None], flip_test)[:, 0])  # (B, 1, J, 3) -> (B, J, 3)
        else:
            rows, starts = padded_rows(lengths, width, getattr(model, "causal", False))
            of_one_clip = torch.zeros(len(rows) - width + 1, dtype=torch.bool, device=rows.device)
            of_one_clip[starts] = True
            for first in range(0, len(of_one_clip), batch_size):
                stretch = points2d[rows[first : first + batch_size + width - 1]]  # (T, J, 2)
                pose = _lift(model, stretch[None], flip_test)[0]  # (T - R + 1, J, 3)
                parts.append(pose[of_one_clip[first : first + batch_size]])
    return torch.cat(parts)


def overlapping_pieces(length: int, frames: int, overlap: int = OVERLAP) -> list[range]:
    """The fewest pieces of a clip that share `overlap` frames with their neighbours, evenly spread.

    Args:
        length: of the clip, in frames.
        frames: of a piece; a shorter clip is one piece.
        overlap: at least so many, and at most half a piece.
    Source: own.
    """
    if length <= frames:
        return [range(length)]
    overlap = min(overlap, frames // 2)
    last = -(-(length - frames) // (frames - overlap))  # pieces beside the first
    starts = [(length - frames) * number // last for number in range(last + 1)]
    return [range(start, start + frames) for start in starts]


def _blended(
    model: nn.Module, points2d: Tensor, lengths: Tensor, confidence: Tensor | None, flip_test: bool, batch_size: int
) -> Tensor:  # fmt: skip
    """Every frame of every clip, by a model that lifts whole clips: (N, J, 3).

    Where pieces overlap, each counts by how far the frame is from the piece's end, up to the least overlap: there
    is no seam, and a frame far from both ends is not touched by the neighbour.
    """
    frames, device = model.receptive_field, points2d.device
    by_length: dict[int, list[int]] = {}  # pieces of one length can go through the network together
    for start, length in zip((lengths.cumsum(0) - lengths).tolist(), lengths.tolist(), strict=True):
        for piece in overlapping_pieces(length, frames):
            by_length.setdefault(len(piece), []).append(start + piece.start)
    total = points2d.new_zeros(len(points2d), points2d.shape[1], 3)
    weights = points2d.new_zeros(len(points2d), 1, 1)
    with _in_evaluation_mode(model):
        for length, firsts in by_length.items():
            at = torch.arange(length, device=device)
            ramp = torch.minimum(at + 1, length - at).clamp_max(OVERLAP)  # (T,)
            ramp = ramp.to(total.dtype)[:, None, None]  # (T, 1, 1)
            rows = torch.tensor(firsts, device=device)[:, None] + at  # (P, T)
            for some in rows.split(_clips_at_once(length, batch_size, device)):
                seen = None if confidence is None else confidence[some]
                said = _lift(model, points2d[some], flip_test, seen)  # (B, T, J, 3)
                total.index_add_(0, some.flatten(), (said * ramp).flatten(0, 1))
                weights.index_add_(0, some.flatten(), ramp.expand(len(some), -1, -1, -1).flatten(0, 1))
    return total / weights


def _clips_at_once(length: int, batch_size: int, device: torch.device) -> int:
    """How many clips go through the network together: on a CPU, what its caches hold."""
    frames = min(batch_size, FRAMES_ON_CPU) if device.type == "cpu" else batch_size
    return max(frames // length, 1)


@torch.no_grad()
def predict_pieces(
    model: nn.Module,
    data: DeviceDataset,
    pieces: Tensor,
    *,
    flip_test: bool = False,
    batch_size: int = FRAMES_AT_ONCE,
) -> Tensor:
    """What a model that lifts whole clips says of some pieces, each by itself.

    Args:
        model: clipwise; must be on the device of `data`.
        data: the clips.
        pieces: (P, C) rows of `data`, as `cut_pieces` or the published slicing makes them.
        flip_test, batch_size: see `predict`.
    Returns:
        (P, C, J, 3), as of `predict`.
    """
    with _in_evaluation_mode(model):
        return torch.cat([
            _lift(model, data.points2d[rows], flip_test, data.confidence[rows])
            for rows in pieces.split(_clips_at_once(pieces.shape[1], batch_size, pieces.device))
        ])  # fmt: skip


def say_metres(model: nn.Module, said: Tensor, data: DeviceDataset, frames: Tensor) -> Tensor:
    """Predictions in metres: those in image space need the camera and the true place of the root.

    Args:
        model: that said them.
        said: (..., J, 3) of `predict` or `predict_pieces`.
        data: the clips, in metres.
        frames: (...) rows of `data`.
    Returns:
        (..., J, 3) metres, camera frame, root-relative.
    """
    if not getattr(model, "image_space", False):
        return said
    found = np.empty(said.shape, dtype=np.float32)
    clips, roots = data.clip[frames].cpu().numpy(), data.pose3d[frames][..., ROOT, :].cpu().numpy()
    values = said.cpu().numpy()
    for clip in np.unique(clips):
        rows = clips == clip
        found[rows] = screen_to_metres(values[rows], data.clips[clip].camera, roots[rows])
    return torch.from_numpy(found).to(said.device)


@contextmanager
def _in_evaluation_mode(model: nn.Module) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def _lift(model: nn.Module, points2d: Tensor, flip_test: bool, confidence: Tensor | None = None) -> Tensor:
    """(B, T, J, 2) screen -> (B, T - R + 1, J, 3) metres; a clipwise model's (B, T, J, 3), perhaps in image space."""
    if getattr(model, "clipwise", False):
        said = model(model.encode_2d(points2d, confidence))
        pose, frames = said if model.image_space else model.decode_3d(said), points2d.shape[1]
    else:
        pose = model.decode_3d(model(model.encode_2d(points2d)))
        frames = points2d.shape[1] - model.receptive_field + 1
    expected = (len(points2d), frames, len(H36M17), 3)
    if pose.shape != expected:
        raise ReportError(
            f"model {model.name!r} decodes {tuple(points2d.shape)} to {tuple(pose.shape)}; with a receptive field of "
            f"{model.receptive_field} it must be {expected}: a pose for every frame that has a whole window"
        )
    if flip_test:
        if confidence is not None:
            confidence = confidence[..., list(H36M17.mirror)]
        pose = (pose + flip(_lift(model, flip(points2d, H36M17), False, confidence), H36M17)) / 2
    return pose
