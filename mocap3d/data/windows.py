"""Clips -> a few tensors on one device -> shuffled batches of windows, without workers and without a loop over frames.

The frames of all clips are concatenated, (N, J, C). A window around frame i is the rows
i - R/2 .. i + R/2, and where that would leave its clip, the clip's first or last frame is repeated. So a batch
of windows is one gather, and any batch of any epoch can be made again from (seed, epoch, step) alone: that is
what makes a training run resumable, and a bad batch nameable.

    window     the plain form: any frames, any width
    batches    an epoch of windows, made the fast way: every clip is padded once, and every window is then one
               contiguous block of memory

For networks that predict a pose for every frame they see, `chunks` cuts clips into chunks of one length.
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from mocap3d.arguments import Device, check_arguments, rereadable
from mocap3d.camera import pixels_to_screen
from mocap3d.data.dataset import PoseDataset
from mocap3d.data.image_space import screen_targets
from mocap3d.missing import fill_missing
from mocap3d.models.lifter import Lifter
from mocap3d.normalise import normalise_points
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
        intrinsics: (K, 4) focal lengths and principal points, screen units, if not those of the clips' cameras.
        normalised: whether points2d are normalised for a model, and no longer in screen units.
        rotation: (N, 3, 3) virtual cameras of the frames, if points2d and pose3d are in their frames.
    """

    points2d: Tensor
    confidence: Tensor
    pose3d: Tensor
    clip: Tensor
    start: Tensor
    stop: Tensor
    clips: tuple[Clip, ...]
    name: str = ""
    intrinsics: Tensor | None = None
    normalised: bool = False
    rotation: Tensor | None = None

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
    """B windows: 2D of R frames each, and the 3D pose of one, the middle frame (causal: the last).

    Or B chunks of C frames: 2D of C + R - 1 frames, and the pose of C.

    Args:
        points2d: (B, R, J, 2) or (B, C + R - 1, J, 2) screen units.
        confidence: (B, R, J) or (B, C + R - 1, J); None unless asked for.
        pose3d: (B, 1, J, 3) or (B, C, J, 3) metres, camera frame, absolute.
        frames: (B,) or (B, C) int64, the frames with a pose: rows of the DeviceDataset.
    """

    points2d: Tensor
    confidence: Tensor | None
    pose3d: Tensor
    frames: Tensor

    def __len__(self) -> int:
        return len(self.points2d)

    def __getitem__(self, rows: slice) -> Batch:
        """Some of the windows."""
        seen = None if self.confidence is None else self.confidence[rows]
        return Batch(self.points2d[rows], seen, self.pose3d[rows], self.frames[rows])


def to_device(clips: Iterable[Clip], device: Device = "cpu") -> DeviceDataset:
    """Put all clips of a data set on a device, in the form batches are made from.

    Args:
        clips: a PoseDataset, or any clips, all on skeleton h36m17 and at one frame rate.
        device: where the tensors go.
    Raises:
        ValueError: for no clips, another skeleton, or mixed frame rates.
    """
    clips = rereadable(clips)
    check_arguments(to_device, locals())
    name, clips, _ = described(clips)
    _check(clips, name)
    lengths = np.array([len(clip) for clip in clips])
    stop = np.cumsum(lengths)
    screens = []
    for clip in clips:
        points = clip.pose2d.points
        if np.isnan(points).any():
            points = fill_missing(points, clip.pose2d.skeleton, clip.pose2d.fps)
            _check_somebody(clip, points)
        screens.append(pixels_to_screen(points, *clip.pose2d.image_size))

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


def described(clips: Iterable[Clip], name: str = "clips") -> tuple[str, tuple[Clip, ...], tuple[str, ...]]:
    """Name, clips and notes of a PoseDataset; of other clips, the name given here and no notes."""
    if isinstance(clips, PoseDataset):
        return clips.name, clips.clips, clips.notes
    return name, tuple(clips), ()


def in_image_space(data: DeviceDataset) -> DeviceDataset:
    """The same frames, with what MotionBERT learns in place of metres: (N, J, 3) screen units, root at the origin."""
    targets = [screen_targets(clip.pose3d.points.astype(np.float64), clip.camera) for clip in data.clips]
    targets = np.concatenate(targets).astype(np.float32)
    return replace(data, pose3d=torch.from_numpy(targets).to(data.device))


def normalised(data: DeviceDataset, model: Lifter) -> DeviceDataset:
    """The same frames with their 2D as the model reads it (`mocap3d.normalise`); the data itself if it is already.

    With "ray", poses are in the frames of the virtual cameras too: `pose3d @ rotation` are those in the camera frame.
    """
    return data if model.normalise == "published" or data.normalised else _normalise(data, model)


def _normalise(data: DeviceDataset, model: Lifter) -> DeviceDataset:
    intrinsics = data.intrinsics
    if intrinsics is None:
        cameras = np.stack([clip.camera.screen_intrinsics()[:4] for clip in data.clips])
        intrinsics = torch.from_numpy(cameras).to(data.device)
    lengths, window = data.stop - data.start, (model.receptive_field, model.causal)
    points, rotation = normalise_points(data.points2d, lengths, model.normalise, *window, intrinsics=intrinsics)
    pose = data.pose3d if rotation is None else data.pose3d @ rotation.mT
    return replace(data, points2d=points, pose3d=pose, rotation=rotation, normalised=True)


def _check_somebody(clip: Clip, points: np.ndarray) -> None:
    empty = np.isnan(points).any((1, 2))
    if empty.any():
        raise ValueError(
            f"clip {clip.take!r}, camera {clip.camera.name}: nobody is seen in {empty.sum():,} of {len(empty):,} "
            f"frames, from frame {empty.argmax()} on; leave them out (.slice) or give 2D there"
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
            raise ValueError(f"clip {clip.take!r} has root-relative 3D; training and evaluation need the absolute pose")
    rates = sorted({clip.pose2d.fps for clip in clips})
    if len(rates) > 1:
        raise ValueError(f"data set {name!r} mixes {', '.join(f'{x:g}' for x in rates)} fps; .resample() to one rate")


def window(
    data: DeviceDataset, frames: Tensor, width: int = 1, causal: bool = False, confidence: bool = False
) -> Batch:
    """The windows around some frames, or chunks of clips with the frames that their poses are made from.

    Args:
        data: the frames.
        frames: (B,) int64 rows of `data`: the middle frame of each window. Or (B, C): chunks, see `cut_chunks`; each is
            given the frames that the windows of its first and of its last frame reach to.
        width: R, an odd number of frames; beyond a clip's ends its first and last frame are repeated.
        causal: the windows end at `frames` instead.
        confidence: gather that too.
    Source: Pavllo et al. 2019 (edge padding by repetition).
    """
    _check_width(width)
    rows = targets = frames if frames.ndim == 2 else frames[:, None]  # (B, C), C = 1 for windows
    if width > 1:
        before = width - 1 if causal else width // 2
        offsets = torch.arange(width, device=data.device) - before  # (R,)
        clip = data.clip[targets[:, 0]]
        rows = torch.cat([targets[:, :1] + offsets[:before], targets, targets[:, -1:] + offsets[before + 1 :]], 1)
        rows = rows.clamp(data.start[clip, None], data.stop[clip, None] - 1)  # (B, C + R - 1)
    seen = data.confidence[rows] if confidence else None
    return Batch(data.points2d[rows], seen, data.pose3d[targets], frames)


def mirrored(batch: Batch, count: int | None = None) -> Batch:
    """The first `count` windows (default: all) seen in a mirror: x negated, left and right joints swapped.

    In the screen frame and in the camera frame alike; an absolute pose is mirrored in the plane x = 0.
    """
    count = len(batch) if count is None else count
    seen = batch.confidence
    if seen is not None:
        seen = torch.cat([seen[:count][..., list(H36M17.mirror)], seen[count:]])
    return Batch(
        torch.cat([flip(batch.points2d[:count], H36M17), batch.points2d[count:]]),
        seen,
        torch.cat([flip(batch.pose3d[:count], H36M17), batch.pose3d[count:]]),
        batch.frames,
    )


def _check_width(width: int) -> None:
    if width < 1 or width % 2 == 0:
        raise ValueError(f"window width {width} must be odd, so that it has a middle frame")


def padded_rows(lengths: Tensor, width: int, causal: bool = False) -> tuple[Tensor, Tensor]:
    """Pad concatenated clips for windows of `width`, by repeating their first and last frames.

    Args:
        lengths: (K,) int64, of the clips, in frames; N in all.
        width, causal: see `window`.
    Returns:
        (N + K (R - 1),) int64, which frame lies in each place; and (N,) int64, the place where the window of each
        frame begins, to go on for R places.
    """
    _check_width(width)
    padded, stop = lengths + width - 1, lengths.cumsum(0)  # (K,)
    clip = torch.repeat_interleave(padded)  # (N + K (R - 1),)
    at = torch.arange(len(clip), device=lengths.device) - (padded.cumsum(0) - padded)[clip]  # within its clip
    rows = (stop - lengths)[clip] + at - (width - 1 if causal else width // 2)
    clip_of_frame = torch.repeat_interleave(lengths)  # (N,)
    starts = torch.arange(len(clip_of_frame), device=lengths.device) + clip_of_frame * (width - 1)
    return rows.clamp((stop - lengths)[clip], stop[clip] - 1), starts


def epoch_generator(seed: int, epoch: int) -> torch.Generator:
    """The CPU generator that shuffles one epoch: the same numbers on every device.

    Args:
        seed: of the run, 0 or above.
        epoch: counted from 1.
    """
    if seed < 0 or epoch < 1:
        raise ValueError(f"seed {seed} must be 0 or above, and epoch {epoch} 1 or above")
    return torch.Generator().manual_seed(1_000_003 * seed + epoch)


def epoch_order(
    data: DeviceDataset, seed: int, epoch: int, chunks: Tensor | None = None, balance: float = 1.0
) -> Tensor:
    """The order in which an epoch shows its examples, frames or chunks.

    Args:
        data: the frames.
        seed, epoch: decide the order; nothing else does.
        chunks: (P, C) rows, if those are the examples.
        balance: a source with n examples is shown in proportion to n ** balance: 1 shows each example once, 0.5 keeps a
            large source from drowning small ones, 0 shows all sources alike. The length of the epoch stays.
    Returns:
        (N,) int64 on the CPU, numbers of examples. Within a source none comes a second time before all came once.
    Source: own.
    """
    count = len(data) if chunks is None else len(chunks)
    generator = epoch_generator(seed, epoch)
    if balance == 1:
        return torch.randperm(count, generator=generator)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(clip.source for clip in data.clips))}
    of_clip = torch.tensor([numbers[clip.source] for clip in data.clips])
    source = of_clip[(data.clip if chunks is None else data.clip[chunks[:, 0]]).cpu()]  # (N,)
    share = torch.bincount(source).double() ** balance
    exact = share / share.sum() * count
    wanted = exact.long()
    wanted[(exact - wanted).argsort(descending=True)[: count - int(wanted.sum())]] += 1
    parts = []
    for number, most in enumerate(wanted.tolist()):
        members = (source == number).nonzero()[:, 0]
        rounds = [members[torch.randperm(len(members), generator=generator)] for _ in range(-(-most // len(members)))]
        parts += [drawn[: most - k * len(members)] for k, drawn in enumerate(rounds)]
    return torch.cat(parts)[torch.randperm(count, generator=generator)]


def steps_in_epoch(frames: int, batch_size: int) -> int:
    """Batches in one pass: the last is smaller, and is left out only if it would hold a single window."""
    full, rest = divmod(frames, batch_size)
    return full + (rest > 1)  # batch normalisation has no variance over one sample


def batches(
    data: DeviceDataset,
    batch_size: int,
    *,
    width: int = 1,
    causal: bool = False,
    seed: int = 0,
    epoch: int = 1,
    first: int = 0,
    mirror: bool = False,
    confidence: bool = False,
    chunks: Tensor | None = None,
    balance: float = 1.0,
) -> Iterator[Batch]:
    """One epoch: every frame once, shuffled, in batches of windows.

    Args:
        data: the frames. For the time of the epoch their 2D is held again, padded, and once more if `mirror`.
        batch_size: windows per batch.
        width, causal: see `window`.
        seed, epoch: decide the order; nothing else does.
        first: start at this batch of the epoch (0-based), as if the earlier ones had been drawn.
        mirror: flip the first half of every batch. The order is random, so is the half.
        confidence: gather that too.
        chunks: (P, C) rows: an epoch of these instead, e.g. `cut_chunks(data)`.
        balance: see `epoch_order`; below 1 some frames come several times, and others not in every epoch.
    """
    if balance == 1 and chunks is None:
        order = torch.randperm(len(data), generator=epoch_generator(seed, epoch)).to(data.device)
    else:
        order = epoch_order(data, seed, epoch, chunks, balance).to(data.device)
    if chunks is not None:
        yield from _chunk_batches(data, batch_size, chunks[order], width, causal, first, mirror, confidence)
        return
    swap = torch.tensor(H36M17.mirror, device=data.device)
    sign = torch.tensor([-1.0, 1.0, 1.0], device=data.device)
    rows, starts = padded_rows(data.stop - data.start, width, causal)
    points2d, seen = data.points2d[rows], data.confidence[rows] if confidence else None
    if mirror:  # appended, so that mirroring costs no time
        points2d = torch.cat([points2d, flip(points2d, H36M17)])
        seen = torch.cat([seen, seen[:, swap]]) if confidence else None
    points2d, seen = _Tape(points2d, width), _Tape(seen, width) if confidence else None
    starts = starts[order]  # (N,) where windows begin
    for step in range(first, steps_in_epoch(len(data), batch_size)):
        part = slice(step * batch_size, (step + 1) * batch_size)
        frames, at = order[part], starts[part]
        pose3d = data.pose3d.index_select(0, frames)[:, None]  # (B, 1, J, 3)
        if mirror:
            half = len(frames) // 2
            at[:half] += len(rows)
            pose3d[:half] = pose3d[:half].index_select(2, swap) * sign
        yield Batch(points2d.windows(at), seen.windows(at) if confidence else None, pose3d, frames)


def _chunk_batches(
    data: DeviceDataset, size: int, chunks: Tensor, width: int, causal: bool, first: int, mirror: bool, confidence: bool
) -> Iterator[Batch]:
    """`batches` of chunks, which are in the order of the epoch already."""
    for step in range(first, steps_in_epoch(len(chunks), size)):
        batch = window(data, chunks[step * size : (step + 1) * size], width, causal, confidence)
        yield mirrored(batch, len(batch) // 2) if mirror else batch


class _Tape:
    """Concatenated frames, (M, ...), of which any R in a row are one block of memory: a window."""

    def __init__(self, frames: Tensor, width: int) -> None:
        on_cpu = frames.device.type == "cpu"
        # numpy, unlike torch, asks for large memory pages: random access is up to a fifth faster
        self.frames = torch.from_numpy(frames.numpy().copy()) if on_cpu else frames
        self.width, size = width, frames[0].numel()
        shape = (len(frames) - width + 1, width * size)
        self.every = self.frames.as_strided(shape, (size, 1)) if on_cpu else None  # all windows, overlapping
        self.free = []  # buffers that no batch uses any more

    def windows(self, starts: Tensor) -> Tensor:
        """(B, R, ...): the windows that begin at these (B,) frames."""
        if self.every is None:
            return self.frames[starts[:, None] + torch.arange(self.width, device=starts.device)]
        found = torch.index_select(self.every, 0, starts, out=self._buffer(len(starts)))
        return found.view(-1, self.width, *self.frames.shape[1:])

    def _buffer(self, count: int) -> Tensor:
        """Memory for a batch, of an earlier one that is gone: touching fresh memory takes longer than filling it."""
        size = self.every.shape[1]
        buffer = self.free.pop() if self.free else np.empty((count, size), self.frames.numpy().dtype)
        lent = buffer[:count]
        weakref.finalize(lent, self.free.append, buffer)  # when the last tensor that shares it is gone
        return torch.from_numpy(lent)
