"""What stands in for 2D joints that a detector did not see: one rule for training, evaluation, lifting and streams.

1. A gap of at most `SHORT` seconds is interpolated.
2. In a longer one a joint keeps its last offset from its parent, scaled as the body grows or shrinks in the image; over
   the last `SHORT` seconds it moves to the offset it is seen with next, so that there is no jump.
3. A joint that is never seen takes a place that other joints imply (`STAND_INS`): the other ear for an ear, the other
   leg's offset for a leg, or the mean proportions of a body.

A network cannot read NaN, and one joint in an absurd place moves all others: the middle of the body, say, costs 200 mm.
Confidence stays 0. A frame in which nobody is seen stays NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mocap3d.arguments import check_arguments
from mocap3d.skeleton import H36M17, Skeleton, get_skeleton

SHORT = 0.25  # seconds
# Kind of joint -> weighted sums of joints, the best first; the joint's own side is left out, "other" is the opposite
# one. Mirrored offsets first, then proportions of a standing body (own estimates).
STAND_INS: Mapping[str, tuple[Mapping[str, float], ...]] = {
    "ear": ({"other_ear": 1}, {"eye": 1}, {"nose": 1}),
    "eye": ({"other_eye": 1}, {"nose": 1}, {"ear": 1}),
    "nose": ({"left_ear": 0.5, "right_ear": 0.5}, {"left_eye": 0.5, "right_eye": 0.5}, {"thorax": 0.5, "head": 0.5}),
    "head": ({"nose": 2, "thorax": -1}, {"nose": 2, "neck": -1}),
    "neck": ({"left_shoulder": 0.5, "right_shoulder": 0.5},),
    "thorax": ({"left_shoulder": 0.5, "right_shoulder": 0.5},),
    "spine": ({"pelvis": 0.5, "thorax": 0.5},),
    "pelvis": ({"left_hip": 0.5, "right_hip": 0.5},),
    "mid_hip": ({"left_hip": 0.5, "right_hip": 0.5},),
    "shoulder": ({"thorax": 2, "other_shoulder": -1}, {"other_shoulder": 1, "hip": 1.3, "other_hip": -1.3}),
    "hip": (
        {"pelvis": 2, "other_hip": -1},
        {"shoulder": 1, "other_hip": 1, "other_shoulder": -1},
        {"shoulder": 2, "other_shoulder": 1, "nose": -2},
        {"left_hip": 0.5, "right_hip": 0.5},  # Halpe-26 calls the pelvis so
    ),
    "knee": ({"hip": 1, "other_knee": 1, "other_hip": -1}, {"hip": 1.85, "shoulder": -0.85}),
    "ankle": ({"knee": 1, "other_ankle": 1, "other_knee": -1}, {"knee": 2, "hip": -1}),
    "foot": ({"knee": 1, "other_foot": 1, "other_knee": -1}, {"knee": 2, "hip": -1}),
    "elbow": ({"shoulder": 1, "other_elbow": 1, "other_shoulder": -1}, {"shoulder": 0.45, "hip": 0.55}),
    "wrist": ({"elbow": 1, "other_wrist": 1, "other_elbow": -1}, {"elbow": 1.9, "shoulder": -0.9}),
}


class _Frames(NamedTuple):
    """Frames of several clips, one after the other; `points` and `missing` are changed in place."""

    points: Tensor  # (J, N, 2), NaN where missing
    missing: Tensor  # (J, N) bool
    clip: Tensor  # (N,)
    first: Tensor  # (C,) of each clip: its first frame
    last: Tensor  # (C,)


def fill_missing(
    points: np.ndarray | Tensor,
    skeleton: str | Skeleton = H36M17,
    fps: float = 50.0,
    past_only: bool = False,
    clip: np.ndarray | Tensor | None = None,
) -> np.ndarray | Tensor:
    """Give missing 2D joints a place.

    Args:
        points: (N, J, 2), any unit; NaN where missing. An array, or a float32 or float64 tensor on any device.
        skeleton: of the points; fill before `convert`, which needs all the joints that another is made of.
        fps: frames per second.
        past_only: a frame depends on earlier frames alone, as in a stream.
        clip: (N,) int64, the clip of each frame, ascending from 0 without gaps. Each clip is filled by itself; by
            default all frames are one.
    Returns:
        (N, J, 2) of the same type; NaN only in frames without any joint. The input itself if nothing was missing.
    Source: own.
    """
    check_arguments(fill_missing, locals())
    skeleton = get_skeleton(skeleton)
    if not isinstance(points, Tensor):
        if np.isfinite(points).all():
            return points
        clip = clip if clip is None else torch.from_numpy(np.array(clip))
        tensor = torch.from_numpy(np.array(points, np.float64, order="C"))
        return fill_missing(tensor, skeleton, fps, past_only, clip).numpy().astype(points.dtype)
    finite = points.isfinite()
    if finite.all():
        return points
    missing = ~(finite[..., 0] & finite[..., 1]).T.contiguous()
    placed = points.transpose(0, 1).clone(memory_format=torch.contiguous_format)
    placed[missing] = torch.nan
    clip = torch.zeros_like(missing[0], dtype=torch.int64) if clip is None else clip
    last = torch.bincount(clip).cumsum(0) - 1
    frames = _Frames(placed, missing, clip, torch.cat((last.new_zeros(1), last[:-1] + 1)), last)
    never = _count(~missing, frames, past_only) == 0  # (J, N) until now, or (J, C) in the clip
    never = never if past_only else never[:, clip]
    short = max(round(SHORT * fps), 1)
    if not past_only:
        _interpolate(frames, short)
    nobody = missing.all(0)
    size = _sizes(frames, skeleton, past_only)
    _stand_in(frames, never, skeleton)
    for joint in _from_the_root(skeleton):
        _keep_offset(frames, joint, skeleton.parents[joint], size, 0 if past_only else short)
    _stand_in(frames, torch.ones_like(missing), skeleton)
    placed[:, nobody], missing[:, nobody] = torch.nan, True
    _nearest(frames, skeleton)
    return placed.transpose(0, 1).contiguous()


def _count(known: Tensor, frames: _Frames, running: bool) -> Tensor:
    """How often `known` (K, N) is true: (K, N) in the clip up to each frame if `running`, else (K, C) in each clip."""
    total = known.cumsum(1)
    before = total[:, frames.first] - known[:, frames.first].long()  # (K, C)
    return total - before[:, frames.clip] if running else total[:, frames.last] - before


def _around(at: Tensor, rows: Tensor, clip: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of `rows` (R,): the frames before and after in `at` (ascending, not empty); whether each is of the same clip.

    A frame that is not is replaced by the other one.
    """
    after = torch.searchsorted(at, rows)
    before, following = at[(after - 1).clamp(min=0)], at[after.clamp(max=len(at) - 1)]
    started, ends = (before < rows) & (clip[before] == clip[rows]), (following > rows) & (clip[following] == clip[rows])
    return torch.where(started, before, following), torch.where(ends, following, before), started, ends


def _interpolate(frames: _Frames, longest: int) -> None:
    """Bridge gaps of at most `longest` frames between two frames that are seen, in place."""
    for place, gone in zip(frames.points, frames.missing, strict=True):  # (N, 2), (N,)
        rows, at = gone.nonzero()[:, 0], (~gone).nonzero()[:, 0]
        if len(rows) and len(at):
            before, following, started, ends = _around(at, rows, frames.clip)
            short = started & ends & (following - before <= longest + 1)
            rows, before, following = rows[short], before[short], following[short]
            share = (rows - before).to(place) / (following - before)
            place[rows], gone[rows] = torch.lerp(place[before], place[following], share[:, None]), False


def _sizes(frames: _Frames, skeleton: Skeleton, past_only: bool) -> Tensor:
    """(N,) size of the body in the image against its usual one, from the bones that are seen; 1 where none is.

    The usual length of a bone is its median in the clip; with `past_only`, its mean up to each frame.
    """
    parents, children = (list(ends) for ends in zip(*skeleton.bones, strict=True))
    known = ~(frames.missing[parents] | frames.missing[children])  # (bones, N)
    lengths = torch.linalg.vector_norm(frames.points[children] - frames.points[parents], dim=-1)
    usual = (_running_mean if past_only else _median)(lengths, known, frames)
    expected = (usual * known).sum(0)
    return torch.where(expected > 0, lengths.nansum(0) / expected, 1)


def _running_mean(values: Tensor, known: Tensor, frames: _Frames) -> Tensor:
    """(K, N) mean of the values (K, N) known up to each frame of the clip; 0 before the first."""
    position = torch.arange(len(frames.clip), device=values.device) - frames.first[frames.clip]
    # a row for each clip: the rounding of one long sum would carry over
    rows = values.new_zeros(len(values), len(frames.last), int(position.max()) + 1)
    rows[:, frames.clip, position] = torch.where(known, values, 0)
    return rows.cumsum(-1)[:, frames.clip, position] / _count(known, frames, running=True).clamp(min=1)


def _median(values: Tensor, known: Tensor, frames: _Frames) -> Tensor:
    """(K, N) median over the clip of the values (K, N) >= 0 that are known; 0 without any."""
    # The bits of floats >= 0 are ordered as the floats are. With the clip above them one sort is enough, for which
    # float64 gives up its last bits: 12 of 52 for 4,000 clips.
    whole, width = (torch.int64, 63) if values.dtype == torch.float64 else (torch.int32, 31)
    drop = max((len(frames.last) - 1).bit_length() + width - 63, 0)
    bits = torch.where(known, values, torch.inf).view(whole).long() >> drop
    ordered = bits.add_(frames.clip << (width - drop)).sort(1).values
    count = _count(known, frames, running=False)  # (K, C)
    middle = [ordered.gather(1, frames.first + at // 2) for at in ((count - 1).clamp(min=0), count)]
    low, high = (((key & (1 << (width - drop)) - 1) << drop).to(whole).view(values.dtype) for key in middle)
    return torch.where(count > 0, (low + high) / 2, 0)[:, frames.clip]


def _from_the_root(skeleton: Skeleton) -> list[int]:
    """Joints in an order in which parents come before their children."""
    order = [joint for joint, parent in enumerate(skeleton.parents) if parent < 0]
    for joint in order:  # grows while it is read
        order += [child for child, parent in enumerate(skeleton.parents) if parent == joint]
    return order


def _stand_in(frames: _Frames, wanted: Tensor, skeleton: Skeleton) -> None:
    """Place joints in frames where they are `wanted` (J, N) by the best rule whose joints are there, in place."""
    points, missing = frames.points, frames.missing
    for joint in _from_the_root(skeleton):
        rows = (missing[joint] & wanted[joint]).nonzero()[:, 0]
        if len(rows) == 0:
            continue
        name = skeleton.joints[joint]
        side = name.split("_")[0] if name.startswith(("left_", "right_")) else ""
        kind = name.removeprefix("left_").removeprefix("right_")
        best = points.new_full((len(rows), 2), torch.nan)
        for rule in reversed(STAND_INS.get(kind, ())):
            terms = {_named(other, side, skeleton): weight for other, weight in rule.items()}
            if set(terms) <= set(skeleton.joints):
                place = sum(weight * points[skeleton.index(other), rows] for other, weight in terms.items())
                best = torch.where(place.isfinite(), place, best)
        points[joint, rows], missing[joint, rows] = best, best.isnan().any(-1)


def _named(other: str, side: str, skeleton: Skeleton) -> str:
    """The full name of a joint in a rule for a joint of one side ("" for the middle)."""
    if not side or other in skeleton.joints:
        return other
    opposite = {"left": "right", "right": "left"}[side]
    return f"{opposite}_{other.removeprefix('other_')}" if other.startswith("other_") else f"{side}_{other}"


def _keep_offset(frames: _Frames, joint: int, parent: int, size: Tensor, blend: int) -> None:
    """Fill the gaps of a joint by its last offset from its parent, in place; without a parent, by its last place.

    blend: frames before the end of a gap in which the offset changes to the next one; 0 looks at the past alone.
    """
    place, gone = frames.points[joint], frames.missing[joint]  # (N, 2), (N,)
    rows = gone.nonzero()[:, 0]
    if len(rows) == 0:
        return
    root = torch.zeros_like(place), torch.ones_like(size)
    anchor, scale = root if parent < 0 else (frames.points[parent], size)
    at = (~gone & anchor[:, 0].isfinite() & (scale != 0)).nonzero()[:, 0]
    if len(at) == 0:
        return
    before, following, started, ends = _around(at, rows, frames.clip)
    kept, later = ((place[there] - anchor[there]) / scale[there, None] for there in (before, following))  # (R, 2)
    if blend:
        share = (1 - (following - rows).to(kept) / (blend + 1)).clamp(0, 1)
        kept, started = torch.lerp(kept, later, share[:, None]), started | ends
    rows, kept = rows[started], kept[started]
    place[rows] = anchor[rows] + kept * scale[rows, None]
    gone[rows] = place[rows, 0].isnan()


def _nearest(frames: _Frames, skeleton: Skeleton) -> None:
    """What is left takes the place of its nearest relative in the tree, in place."""
    rows = (frames.missing.any(0) & ~frames.missing.all(0)).nonzero()[:, 0]
    points, gone = frames.points[:, rows], frames.missing[:, rows]
    neighbours = [*skeleton.bones, *(bone[::-1] for bone in reversed(skeleton.bones))]
    for near, joint in neighbours * len(skeleton) if len(rows) else ():
        points[joint] = torch.where(gone[joint, :, None], points[near], points[joint])
        gone[joint] &= gone[near]
    frames.points[:, rows] = points


def fill_next(before: Tensor | None, frame: Tensor, skeleton: str | Skeleton = H36M17) -> Tensor:
    """Fill the next frame of a stream from the frame before.

    Args:
        before: (B, J, 2) the result for the frame before; None at the beginning.
        frame: (B, J, 2), any unit; NaN where missing.
        skeleton: of the points.
    Returns:
        (B, J, 2) without NaN: of a person without any joint the frame before is returned, at the beginning zeros.
    Source: own; `fill_missing` with past_only, whose usual bone lengths are here those of the frame before.
    """
    if frame.isfinite().all():
        return frame
    pairs = frame[:, None] if before is None else torch.stack([before, frame], 1)  # (B, 1 or 2, J, 2)
    clip = torch.arange(len(frame), device=frame.device).repeat_interleave(pairs.shape[1])
    filled = fill_missing(pairs.flatten(0, 1), skeleton, past_only=True, clip=clip).view_as(pairs)[:, -1]
    empty = filled.isnan().flatten(1).any(1)[:, None, None]
    return torch.where(empty, torch.zeros_like(frame) if before is None else before, filled)
