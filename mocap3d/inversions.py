"""Left/right inversions within a person: found by continuity, and undone.

A detector that takes the front of a person for the back exchanges all left and right joints, for one frame or for
seconds; some exchange the legs or the arms alone. The vector from the right to the left joint of each pair then changes
its sign from one frame to the next and keeps its length, which no motion does. The most probable sequence of states,
one for each frame (`_states`), is found by dynamic programming over pairs of frames (Viterbi). Its costs:

    jump      the second difference of each pair's vector: where arms or legs really cross, it is small
    change    a constant for each change of state
    hold      grows with the time in which something is inverted

A sequence and its mirror image are equally smooth. The state that holds for longer is taken for the right one, with
further evidence: for the whole body, that feet point to the front (skeletons with heels and toes, seen from above the
ground); for a part, that the bones to the rest of the body do not cross. Where all of this is even, nothing is changed.
"""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np

from mocap3d.arguments import check_arguments
from mocap3d.poses import Pose2D
from mocap3d.skeleton import Skeleton

LEGS = ("hip", "knee", "ankle", "foot", "heel", "toe")
ARMS = ("shoulder", "elbow", "wrist", "pinky", "index", "thumb")
CROSSING = {  # bones that cross if only this is inverted
    "legs": ("shoulder", "hip"),
    "arms": ("shoulder", "hip"),
    "lower legs": ("hip", "knee"),
    "lower arms": ("shoulder", "elbow"),
}
# Costs, as natural logarithms of likelihoods; chosen on training recordings of open-mocap, filmed by simulated phones
# with a simulated detector (`data/failures.py`).
CHANGE = 8.0, 28.0  # of the whole body; of a part: the least at which no part was exchanged wrongly is 24
PAIR = 10.0  # of a part of few pairs, for each
HOLD = 2.0, 4.0  # for each second, of the whole body and of a part
LONGEST = 20.0  # at most so much in the whole clip
EDGE = 1.0  # inverted in the first or the last frame
EVIDENCE, MARGIN = 20.0, 1.0  # of feet or bones if all frames agree; the least advantage that decides
NOISE = 0.004  # scale of jumps, at least, relative to the body's size
CUT, GAP = 0.5, 0.5  # no continuity across jumps of the body (its sizes), or seconds without anybody
CHUNK = 4096  # frames whose costs are in memory


def undo_inversions(pose2d: Pose2D) -> Pose2D:
    """Exchange left and right where a detector has inverted them.

    Args:
        pose2d: any skeleton with left and right joints; NaN where missing.
    Returns:
        The pose with left and right exchanged in the frames that a warning names; the pose itself if there are none,
        or if the warning says that it cannot be decided which frames are inverted.
    Source: own.

    >>> pose = Pose2D(np.random.default_rng(0).uniform(0, 1000, (1, 17, 2)), image_size=(1920, 1080))
    >>> undo_inversions(pose) is pose
    True
    """
    check_arguments(undo_inversions, locals())
    inverted, text = find_inversions(pose2d)
    if text:
        warnings.warn(text, stacklevel=2)
    return exchange_sides(pose2d, inverted)


def exchange_sides(pose2d: Pose2D, inverted: np.ndarray) -> Pose2D:
    """Exchange joints with those of the other side.

    Args:
        pose2d: any skeleton.
        inverted: (T, J) bool, the same for both joints of a pair.
    Returns:
        The pose with points and confidence exchanged; the pose itself if nothing is.

    >>> pose = Pose2D(np.arange(34).reshape(1, 17, 2), image_size=(1920, 1080))
    >>> exchange_sides(pose, np.ones((1, 17), bool)).points[0, 1].tolist()  # the left hip
    [8.0, 9.0]
    """
    if not inverted.any():
        return pose2d
    mirror = list(pose2d.skeleton.mirror)
    points = np.where(inverted[..., None], pose2d.points[:, mirror], pose2d.points)
    confidence = np.where(inverted, pose2d.confidence[:, mirror], pose2d.confidence)
    return replace(pose2d, points=points, confidence=confidence)


def find_inversions(pose2d: Pose2D) -> tuple[np.ndarray, str]:
    """Find where left and right are inverted.

    Args:
        pose2d: any skeleton with left and right joints; NaN where missing.
    Returns:
        (T, J) bool, joints to exchange with those of the other side; and a sentence that names the frames, or says
        what cannot be decided. It is empty if nothing is found.
    Source: own.

    >>> inverted, text = find_inversions(Pose2D(np.ones((9, 17, 2)), image_size=(1920, 1080)))
    >>> inverted.any(), text
    (np.False_, '')
    """
    skeleton, points = pose2d.skeleton, pose2d.points.astype(np.float64)
    left, right = skeleton.indices(skeleton.left), skeleton.indices(skeleton.right)
    inverted = np.zeros(points.shape[:2], dtype=bool)
    apart = points[:, left] - points[:, right]  # (T, P, 2)
    rows = np.flatnonzero(np.isfinite(apart).all(-1).any(1))
    if len(rows) < 3:
        return inverted, ""
    names, states = _states(skeleton)
    points, apart = points[rows], apart[rows]
    size = _size(points)
    cut = _cuts(points, pose2d.times[rows], size)
    rate = [min(per_second / pose2d.fps, LONGEST / len(rows)) for per_second in HOLD]
    path = _viterbi(_jumps(apart, cut, size), states, rate)
    told = []
    for state in np.unique(path[path > 0]):
        side = np.where(path == state, -1, 1)
        held = rate[0] * side.sum() + EDGE * (side[0] + side[-1])
        score = held + EVIDENCE * (side * _evidence(names[state], points, skeleton, size)).mean()
        frames = _ranges(rows[1:][np.diff(path == state)])
        if score < -MARGIN:
            path = np.where(path == state, 0, np.where(path == 0, state, path))
        elif score < MARGIN:
            path[path == state] = 0
            told.append(f"{names[state]}: left and right change places in frames {frames}; which is right is unclear")
            continue
        frames = rows[path == state]
        told.append(f"{names[state]}: left and right exchanged in {len(frames):,} frames ({_ranges(frames)})")
    inverted[np.ix_(rows, left)] = inverted[np.ix_(rows, right)] = states[path]
    return inverted, f"inversions in {len(pose2d):,} frames; " + "; ".join(told) if told else ""


def _states(skeleton: Skeleton) -> tuple[list[str], np.ndarray]:
    """What can be inverted, and which pairs are exchanged then: (S, P) bool. In the first state nothing is."""
    kinds = [joint.replace("left", "").strip("_") for joint in skeleton.left]
    legs = np.array([any(word in kind for word in LEGS) for kind in kinds])
    arms = np.array([any(word in kind for word in ARMS) for kind in kinds]) & ~legs
    lower = np.array([kind not in ("hip", "shoulder") for kind in kinds])
    parts = {"legs": legs, "arms": arms, "lower legs": legs & lower, "lower arms": arms & lower}
    parts = {"": legs & False, "whole body": legs | True} | {name: part for name, part in parts.items() if part.any()}
    return list(parts), np.array(list(parts.values()))


def _size(points: np.ndarray) -> float:
    """Median diagonal of the box around the body."""
    corners = np.fmax.reduce(points, 1) - np.fmin.reduce(points, 1)
    return max(float(np.median(np.linalg.norm(corners, axis=-1))), 1e-9)


def _cuts(points: np.ndarray, times: np.ndarray, size: float) -> np.ndarray:
    """(T-1,) bool: no continuity to the next frame, since nobody was seen for long or all joints have jumped."""
    step = np.linalg.norm(np.diff(points, axis=0), axis=-1)
    return (np.fmin.reduce(step, 1) > CUT * size) | (np.diff(times) > GAP)


def _jumps(apart: np.ndarray, cut: np.ndarray, size: float) -> np.ndarray:
    """(T-2, 4 P) cost of the second difference at three frames, if a pair is exchanged in none of them, the last, the
    first, or the middle one; relative to none. 0 where a joint is missing.
    """
    before, here, after = apart[:-2], apart[1:-1], apart[2:]
    squared = [((a * after - 2 * here + b * before) ** 2).sum(-1) for b in (1, -1) for a in (1, -1)]
    squared = np.stack(squared, -1)  # (T-2, P, 4)
    least = squared.min(-1)
    known = [column[np.isfinite(column)] for column in least.T]
    usual = [np.median(column) if len(column) else 0.0 for column in known]
    cost = np.log(squared + np.array(usual)[:, None] + (NOISE * size) ** 2)
    cost = np.nan_to_num(cost - cost[..., :1])
    cost[cut[:-1] | cut[1:]] = 0
    return cost.reshape(len(cost), -1).astype(np.float32)


def _viterbi(jumps: np.ndarray, states: np.ndarray, rate: list[float]) -> np.ndarray:
    """(T,) the sequence of states of least cost; rate: of holding the whole body, a part."""
    count, frames = len(states), len(jumps) + 2
    changed = states[:, None] ^ states  # (S, S, P)
    kind = 2 * changed[:, :, None].astype(np.int64) + changed  # (S, S, S, P): states in three frames -> which jump
    pick = np.eye(4, dtype=np.float32)[kind].reshape(count**3, -1).T
    part = np.arange(count) > 1
    price = np.where(part, np.minimum(CHANGE[1], PAIR * states.sum(1)), CHANGE[0])
    step = np.maximum(price[:, None], price) * (1 - np.eye(count))
    hold = np.where(part, rate[1], rate[0]) * (np.arange(count) > 0)
    edge = EDGE * (np.arange(count) > 0)
    best = (hold + edge)[:, None] + step + hold  # (S, S): states of the last two frames
    origin = np.empty((len(jumps), count, count), dtype=np.int8)
    for first in range(0, len(jumps), CHUNK):
        costs = (jumps[first : first + CHUNK] @ pick).reshape(-1, count, count, count)
        for t, cost in enumerate(costs, first):
            total = best[:, :, None] + cost
            origin[t] = total.argmin(0)
            best = total.min(0) + step + hold
    path = np.empty(frames, dtype=np.int64)
    path[-2:] = np.unravel_index((best + edge).argmin(), best.shape)
    for t in reversed(range(len(jumps))):
        path[t] = origin[t, path[t + 1], path[t + 2]]
    return path


def _evidence(state: str, points: np.ndarray, skeleton: Skeleton, size: float) -> np.ndarray:
    """(T,) in [-1, 1] above 0 if nothing is inverted, below if `state` is; 0 if unknown."""

    def apart(kind: str) -> np.ndarray:
        ends = [f"left_{kind}", f"right_{kind}"]
        left, right = points[:, skeleton.indices(ends)].swapaxes(0, 1) if ends[0] in skeleton.joints else 2 * [zero]
        return left - right

    zero = np.zeros_like(points[:, 0])
    if state in CROSSING:  # the crossing bones together are longer by this
        a, b = map(apart, CROSSING[state])
        return np.clip(np.nan_to_num((a * b).sum(-1)) / (0.05 * size) ** 2, -1, 1)
    toe = "foot_index" if "left_foot_index" in skeleton.joints else "big_toe"
    if not {f"left_{toe}", "left_heel"} <= set(skeleton.joints):
        return zero[:, 0]
    across, total = apart("hip") + apart("ankle"), zero[:, 0]
    for side in ("left", "right"):
        foot = points[:, skeleton.index(f"{side}_{toe}")] - points[:, skeleton.index(f"{side}_heel")]
        lengths = np.linalg.norm(foot, axis=-1) * np.linalg.norm(across, axis=-1)
        turn = foot[:, 1] * across[:, 0] - foot[:, 0] * across[:, 1]  # toes in front of heels are lower in the image
        total = total + np.nan_to_num(turn / np.maximum(lengths, 1e-9)) / 2
    return total


def _ranges(frames: np.ndarray, most: int = 5) -> str:
    """ "3-5, 9": which frames, at most so many ranges."""
    parts = np.split(frames, np.flatnonzero(np.diff(frames) > 1) + 1)
    texts = [f"{part[0]}-{part[-1]}" if len(part) > 1 else f"{part[0]}" for part in parts[:most]]
    return ", ".join(texts) + ", ..." * (len(parts) > most)
