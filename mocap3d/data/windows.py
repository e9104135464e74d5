"""Clips -> a few tensors on one device -> shuffled batches of windows, without workers and without a loop over frames.

All frames of a data set lie one behind the other, (N, J, C). A window around frame i is the rows
i - R/2 .. i + R/2, and where that would leave its clip, the clip's first or last frame is repeated. So a batch
of windows is one gather, and any batch of any epoch can be made again from (seed, epoch, step) alone: that is
what makes a training run resumable, and a bad batch nameable.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mocap3d.camera import pixels_to_screen
from mocap3d.poses import Clip
from mocap3d.skeleton import H36M17, flip


@dataclass(frozen=True, eq=False)
class DeviceDataset:
    """Every frame of every clip, in contiguous tensors on one device.

    Args:
        points2d: (N, J, 2) screen units, no NaN: missing joints are filled (`fill_missing`), their confidence is 0.
        confidence: (N, J).
        pose3d: (N, J, 3) metres, camera frame, absolute; NaN where the truth is missing.
        clip: (N,) int64, which clip a frame belongs to.
        start, stop: (K,) int64, clip k holds the frames start[k] .. stop[k] - 1.
        clips: the K clips themselves, for their labels.
        name: of the data set.
    """

    points2d: Tensor
    confidence: Tensor
    pose3d: Tensor
    clip: Tensor
    start: Tensor
    stop: Tensor
    clips: tuple[Clip, ...]
    name: str = ""

    def __len__(self) -> int:
        return len(self.points2d)

    @property
    def device(self) -> torch.device:
        return self.points2d.device

    def label(self, frame: int) -> str:
        """Where a row comes from, in words: take, performer's camera, and frame within the clip."""
        clip = int(self.clip[frame])
        at = frame - int(self.start[clip])
        return f"{self.clips[clip].take} ({self.clips[clip].action}, camera {self.clips[clip].camera.name}) frame {at}"

    def digest(self) -> str:
        """A short hash of the contents, to tell two data sets apart."""
        sha = hashlib.sha256()
        for tensor in (self.points2d, self.confidence, self.pose3d, self.start):
            sha.update(np.ascontiguousarray(tensor.cpu().numpy()))
        return sha.hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class Batch:
    """B windows: 2D of R frames each, and the 3D pose of the middle frame.

    Args:
        points2d: (B, R, J, 2) screen units.
        confidence: (B, R, J).
        pose3d: (B, 1, J, 3) metres, camera frame, absolute.
        frames: (B,) int64, the middle frames: rows of the DeviceDataset.
    """

    points2d: Tensor
    confidence: Tensor
    pose3d: Tensor
    frames: Tensor

    def __len__(self) -> int:
        return len(self.points2d)


def to_device(clips: Iterable[Clip], device: torch.device | str = "cpu") -> DeviceDataset:
    """Put all clips of a data set on a device, in the form batches are made from.

    Args:
        clips: a PoseDataset, or any clips, all on skeleton h36m17 and at one frame rate.
        device: where the tensors go.
    Raises:
        ValueError: for no clips, another skeleton, or mixed frame rates; the text says what to do.
    """
    name = str(getattr(clips, "name", "clips"))
    clips = tuple(clips)
    _check(clips, name)
    lengths = np.array([len(clip) for clip in clips])
    stop = np.cumsum(lengths)
    screens = []
    for clip in clips:
        filled = fill_missing(clip.pose2d.points)
        screens.append(pixels_to_screen(filled, *clip.pose2d.image_size))

    def put(array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)

    return DeviceDataset(
        points2d=put(np.concatenate(screens).astype(np.float32)),  # (N, J, 2)
        confidence=put(np.concatenate([clip.pose2d.confidence for clip in clips])),  # (N, J)
        pose3d=put(np.concatenate([clip.pose3d.points for clip in clips])),  # (N, J, 3)
        clip=put(np.repeat(np.arange(len(clips)), lengths)),
        start=put(stop - lengths),
        stop=put(stop),
        clips=clips,
        name=name,
    )


def _check(clips: tuple[Clip, ...], name: str) -> None:
    if not clips:
        raise ValueError(f"data set {name!r} holds no clips; check the split or selection that made it")
    for clip in clips:
        if clip.pose2d.skeleton.name != H36M17.name:
            raise ValueError(
                f"clip {clip.take!r} has skeleton {clip.pose2d.skeleton.name!r}; models here read {H36M17.name!r}: "
                "use .convert('h36m17') on its poses first"
            )
        if clip.pose3d.root == "relative":
            raise ValueError(
                f"clip {clip.take!r} has root-relative 3D; training and evaluation need the absolute pose"
            )
    rates = sorted({clip.pose2d.fps for clip in clips})
    if len(rates) > 1:
        raise ValueError(
            f"data set {name!r} mixes {', '.join(f'{x:g}' for x in rates)} fps; .resample() to one rate first"
        )


def fill_missing(points: np.ndarray) -> np.ndarray:
    """Give missing 2D joints a place, because a network cannot read NaN; their confidence stays 0.

    A gap in time is bridged linearly (ends: the nearest seen frame). A joint never seen in the clip is put at the
    middle of the joints seen in that frame. A clip with nothing seen at all is put in the image origin.

    Args:
        points: (T, J, 2), NaN where missing.
    Returns:
        (T, J, 2) without NaN; the input itself if nothing was missing.
    Source: own.
    """
    seen = np.isfinite(points).all(-1)  # (T, J)
    if seen.all():
        return points
    points, time = points.copy(), np.arange(len(points))
    for joint in np.flatnonzero(~seen.all(0) & seen.any(0)):
        at = np.flatnonzero(seen[:, joint])
        for axis in range(points.shape[-1]):
            points[:, joint, axis] = np.interp(time, at, points[at, joint, axis])
    never = ~seen.any(0)
    if never.any():
        middle = points[:, ~never].mean(1, keepdims=True) if not never.all() else np.zeros_like(points[:, :1])
        points[:, never] = middle  # (T, 1, 2) over the joints never seen
    return points


def window(data: DeviceDataset, frames: Tensor, width: int = 1) -> Batch:
    """The windows around some frames: one gather each for 2D, confidence and 3D.

    Args:
        data: the frames.
        frames: (B,) int64 rows of `data`: the middle frame of each window.
        width: R, an odd number of frames; beyond a clip's ends its first and last frame are repeated.
    Source: Pavllo et al. 2019 (edge padding by repetition).
    """
    if width < 1 or width % 2 == 0:
        raise ValueError(f"window width {width} must be odd, so that it has a middle frame")
    if width == 1:
        rows = frames[:, None]  # (B, 1)
    else:
        clip = data.clip[frames]
        offsets = torch.arange(width, device=data.device) - width // 2
        rows = frames[:, None] + offsets  # (B, R)
        rows = rows.clamp(data.start[clip, None], data.stop[clip, None] - 1)
    return Batch(data.points2d[rows], data.confidence[rows], data.pose3d[frames[:, None]], frames)


def mirrored(batch: Batch, count: int | None = None) -> Batch:
    """The first `count` windows (default: all) seen in a mirror: x negated, left and right joints swapped.

    In the screen frame and in the camera frame alike; an absolute pose is mirrored in the plane x = 0.
    """
    count = len(batch) if count is None else count
    swap = list(H36M17.mirror)
    return Batch(
        torch.cat([flip(batch.points2d[:count], H36M17), batch.points2d[count:]]),
        torch.cat([batch.confidence[:count][..., swap], batch.confidence[count:]]),
        torch.cat([flip(batch.pose3d[:count], H36M17), batch.pose3d[count:]]),
        batch.frames,
    )


def epoch_generator(seed: int, epoch: int) -> torch.Generator:
    """The CPU generator that shuffles one epoch: the same numbers on every device.

    Args:
        seed: of the run, 0 or above.
        epoch: counted from 1.
    """
    if seed < 0 or epoch < 1:
        raise ValueError(f"seed {seed} must be 0 or above, and epoch {epoch} 1 or above")
    return torch.Generator().manual_seed(1_000_003 * seed + epoch)


def steps_in_epoch(frames: int, batch_size: int) -> int:
    """Batches in one pass: the last is smaller, and is left out only if it would hold a single window."""
    full, rest = divmod(frames, batch_size)
    return full + (rest > 1)  # batch normalisation has no variance over one sample


def batches(
    data: DeviceDataset,
    batch_size: int,
    *,
    width: int = 1,
    seed: int = 0,
    epoch: int = 1,
    first: int = 0,
    mirror: bool = False,
) -> Iterator[Batch]:
    """One epoch: every frame once, shuffled, in batches of windows.

    Args:
        data: the frames.
        batch_size: windows per batch.
        width: frames per window, odd.
        seed, epoch: decide the order; nothing else does.
        first: start at this batch of the epoch (0-based), as if the earlier ones had been drawn.
        mirror: flip the first half of every batch. The order is random, so is the half.
    """
    order = torch.randperm(len(data), generator=epoch_generator(seed, epoch)).to(data.device)
    for step in range(first, steps_in_epoch(len(data), batch_size)):
        batch = window(data, order[step * batch_size : (step + 1) * batch_size], width)
        # further augmentation (detector noise, masks) belongs here, drawn from its own generator of (seed, epoch, step)
        yield mirrored(batch, len(batch) // 2) if mirror else batch
