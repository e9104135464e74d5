"""Clips cut into chunks of one length, for networks that predict a pose for every frame they see."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mocap3d.data.windows import DeviceDataset

OVERLAP = 27  # frames that neighbouring chunks share, at least


def cut_chunks(data: DeviceDataset, length: int = 243, stride: int = 81, step: int = 1) -> Tensor:
    """Cut clips into chunks of one length, leaving out no frame.

    The last chunk of a clip ends where the clip ends, however much it overlaps the one before. A clip shorter than a
    chunk is one chunk, which repeats its last frame. Published slicing leaves frames out: that is
    `torch.from_numpy(np.stack(published_chunks([len(clip) for clip in data.clips])))`, which fits wherever these do.

    Args:
        data: the clips.
        length: of a chunk, in frames.
        stride: from the start of a chunk to the start of the next, in frames; at most a chunk's extent.
        step: from frame to frame within a chunk: it extends over (length - 1) step + 1 frames of the clip.
    Returns:
        (P, length) int64 rows of `data`, clip by clip. A frame may be in several chunks, or repeated in one.
    Source: own.
    """
    extent = (length - 1) * step + 1
    if not 1 <= stride <= extent:
        raise ValueError(f"stride {stride} must be 1 to {extent}, the length of a chunk, or frames are lost")
    rows = []
    for start, stop in zip(data.start.tolist(), data.stop.tolist(), strict=True):
        last = max(stop - extent, start)
        first = torch.tensor([*range(start, last, stride), last])
        rows.append((first[:, None] + step * torch.arange(length)).clamp(max=stop - 1))
    return torch.cat(rows).to(data.device)


def overlapping_chunks(length: int, frames: int, overlap: int = OVERLAP) -> list[range]:
    """The fewest chunks of a clip that share `overlap` frames with their neighbours, evenly spread.

    Args:
        length: of the clip, in frames.
        frames: of a chunk; a shorter clip is one chunk.
        overlap: at least so many, and at most half a chunk.
    Source: own.
    """
    if length <= frames:
        return [range(length)]
    overlap = min(overlap, frames // 2)
    last = -(-(length - frames) // (frames - overlap))  # chunks beside the first
    starts = [(length - frames) * number // last for number in range(last + 1)]
    return [range(start, start + frames) for start in starts]


def resample_frames(
    length: int, frames: int, how: str = "jitter", rng: np.random.RandomState | None = None
) -> np.ndarray:
    """Stretch a short clip: which of its frames to show, (frames,) int64 in 0 .. length - 1.

    Args:
        length: of the clip, at most `frames` for "jitter".
        frames: wanted.
        how: "jitter" (evenly, each up or down by chance, as in MotionBERT's data), "even", or "repeat" (from the
            start again).
        rng: for "jitter".
    Source: MotionBERT's resample.
    """
    if length < 1 or (how == "jitter" and length > frames):
        raise ValueError(f"cannot stretch {length} frames to {frames}")
    if how == "repeat":
        return np.arange(frames) % length
    even = np.linspace(0, length, num=frames, endpoint=False)
    if how == "even":
        return even.astype(np.int64)
    if how != "jitter":
        raise ValueError(f"how is {how!r}; give 'jitter', 'even' or 'repeat'")
    rng = np.random.RandomState(0) if rng is None else rng
    down = rng.randint(2, size=frames)
    picked = np.sort(np.where(down == 1, np.floor(even), np.ceil(even)))
    return np.minimum(picked, length - 1).astype(np.int64)


def published_chunks(
    lengths: Sequence[int], frames: int = 243, stride: int = 81, short: str = "resample", seed: int = 0
) -> list[np.ndarray]:
    """Cut concatenated clips into chunks of one length as published: what is left at an end is not used.

    Args:
        lengths: of the clips, in frames.
        frames: of a chunk.
        stride: from the start of a chunk to the start of the next; MotionBERT's is 81 in training, 243 in testing.
        short: what becomes of a clip shorter than a chunk: "resample" (MotionBERT: stretched by chance, except the
            last clip, which is lost) or "drop" (MMPose).
        seed: of the chance; the generator is numpy's old one, as published.
    Returns:
        one (frames,) int64 array a chunk: rows of the frames of all clips.
    Source: MotionBERT's published_chunks, MMPose's Human36mDataset.
    """
    if short not in ("resample", "drop"):
        raise ValueError(f"short is {short!r}; give 'resample' or 'drop'")
    if frames < 1 or stride < 1 or min(lengths, default=1) < 1:
        raise ValueError(f"frames {frames}, stride {stride} and all lengths must be 1 or above")
    rng, chunks, start = np.random.RandomState(seed), [], 0
    for clip, length in enumerate(lengths):
        for first in range(0, length - frames + 1, stride):
            chunks.append(start + np.arange(first, first + frames))
        if length < frames and short == "resample" and clip < len(lengths) - 1:
            chunks.append(start + resample_frames(length, frames, rng=rng))
        start += length
    return chunks
