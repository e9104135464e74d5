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

import numpy as np

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


def fill_missing(
    points: np.ndarray, skeleton: str | Skeleton = H36M17, fps: float = 50.0, past_only: bool = False
) -> np.ndarray:
    """Give missing 2D joints a place.

    Args:
        points: (T, J, 2), any unit; NaN where missing.
        skeleton: of the points; fill before `convert`, which needs all the joints that another is made of.
        fps: frames per second.
        past_only: a frame depends on earlier frames alone, as in a stream.
    Returns:
        (T, J, 2) of the same type; NaN only in frames without any joint. The input itself if nothing was missing.
    Source: own.
    """
    skeleton = get_skeleton(skeleton)
    seen = np.isfinite(points).all(-1)  # (T, J)
    if seen.all():
        return points
    filled = np.where(seen[..., None], points, np.nan).astype(np.float64)
    short = max(round(SHORT * fps), 1)
    if not past_only:
        _interpolate(filled, short)
    nobody = ~np.isfinite(filled).all(-1).any(1)
    size = _sizes(filled, skeleton)
    ever = np.logical_or.accumulate(seen) if past_only else np.broadcast_to(seen.any(0), seen.shape)
    _stand_in(filled, ~ever, skeleton)
    for joint in _from_the_root(skeleton):
        _keep_offset(filled, joint, skeleton.parents[joint], size, 0 if past_only else short)
    _stand_in(filled, np.ones_like(seen), skeleton)
    _nearest(filled, skeleton)
    filled[nobody] = np.nan
    return filled.astype(points.dtype)


def _interpolate(points: np.ndarray, longest: int) -> None:
    """Bridge gaps of at most `longest` frames between two frames that are seen, in place."""
    for joint in range(points.shape[1]):
        at = np.flatnonzero(np.isfinite(points[:, joint, 0]))
        for before, after in zip(at[:-1][np.diff(at) > 1], at[1:][np.diff(at) > 1], strict=True):
            if after - before - 1 <= longest:
                share = np.arange(1, after - before)[:, None] / (after - before)
                points[before + 1 : after, joint] = (1 - share) * points[before, joint] + share * points[after, joint]


def _sizes(points: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """(T,) size of the body in the image against its usual one, from the bones that are seen; 1 where none is."""
    parents, children = (list(ends) for ends in zip(*skeleton.bones, strict=True))
    lengths = np.linalg.norm(points[:, children] - points[:, parents], axis=-1)  # (T, bones)
    known = np.isfinite(lengths)
    usual = np.array(
        [np.median(column[there]) if there.any() else 0.0 for column, there in zip(lengths.T, known.T, strict=True)]
    )
    expected = (known * usual).sum(1)
    return np.where(expected > 0, np.where(known, lengths, 0).sum(1) / np.where(expected > 0, expected, 1), 1.0)


def _from_the_root(skeleton: Skeleton) -> list[int]:
    """Joints in an order in which parents come before their children."""
    order = [joint for joint, parent in enumerate(skeleton.parents) if parent < 0]
    for joint in order:  # grows while it is read
        order += [child for child, parent in enumerate(skeleton.parents) if parent == joint]
    return order


def _stand_in(points: np.ndarray, wanted: np.ndarray, skeleton: Skeleton) -> None:
    """Place joints in frames where they are `wanted` (T, J) by the best rule whose joints are there, in place."""
    for joint in _from_the_root(skeleton):
        name = skeleton.joints[joint]
        side = name.split("_")[0] if name.startswith(("left_", "right_")) else ""
        kind = name.removeprefix("left_").removeprefix("right_")
        best = np.full_like(points[:, joint], np.nan)
        for rule in reversed(STAND_INS.get(kind, ())):
            terms = {_named(other, side, skeleton): weight for other, weight in rule.items()}
            if not set(terms) <= set(skeleton.joints):
                continue
            place = sum(weight * points[:, skeleton.index(other)] for other, weight in terms.items())
            best = np.where(np.isfinite(place), place, best)
        rows = wanted[:, joint] & ~np.isfinite(points[:, joint]).all(-1)
        points[rows, joint] = best[rows]


def _named(other: str, side: str, skeleton: Skeleton) -> str:
    """The full name of a joint in a rule for a joint of one side ("" for the middle)."""
    if not side or other in skeleton.joints:
        return other
    opposite = {"left": "right", "right": "left"}[side]
    return f"{opposite}_{other.removeprefix('other_')}" if other.startswith("other_") else f"{side}_{other}"


def _keep_offset(points: np.ndarray, joint: int, parent: int, size: np.ndarray, blend: int) -> None:
    """Fill the gaps of a joint by its last offset from its parent, in place; without a parent, by its last place.

    blend: frames before the end of a gap in which the offset changes to the next one; 0 looks at the past alone.
    """
    there = np.isfinite(points[:, joint]).all(-1)  # (T,)
    if there.all() or not there.any():
        return
    anchor, scale = (0.0, np.ones_like(size)) if parent < 0 else (points[:, parent], size)
    offset = (points[:, joint] - anchor) / scale[:, None]  # (T, 2)
    at, frames = np.flatnonzero(np.isfinite(offset).all(-1)), np.arange(len(points))
    if len(at) == 0:
        return
    after = np.searchsorted(at, frames)  # of each frame: the next one seen, in `at`
    last, following = at[np.maximum(after - 1, 0)], at[np.minimum(after, len(at) - 1)]
    started = after > 0
    if blend:
        share = np.where(started & (after < len(at)), np.clip(1 - (following - frames) / (blend + 1), 0, 1), 0)
        kept = (1 - share[:, None]) * offset[last] + share[:, None] * offset[following]
    else:
        kept = np.where(started[:, None], offset[last], np.nan)
    place = anchor + kept * scale[:, None]
    points[~there, joint] = place[~there]


def _nearest(points: np.ndarray, skeleton: Skeleton) -> None:
    """What is left takes the place of its nearest relative in the tree, in place."""
    neighbours = [*skeleton.bones, *(bone[::-1] for bone in reversed(skeleton.bones))]
    for _ in range(len(skeleton)):
        for near, joint in neighbours:
            rows = np.isnan(points[:, joint]).any(-1) & np.isfinite(points[:, near]).all(-1)
            points[rows, joint] = points[rows, near]
        if np.isfinite(points).all():
            return
