"""Motion from whole-body keyframes: feet and hands that rest somewhere stay there until they are lifted.

Between two keyframes everything follows minimum-jerk paths. Wherever feet carry the body, the pelvis is shifted so that
the centre of mass stays over the feet that are on the floor.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from mocap3d.data.synthetic.body import SIDES, Body, Motion, pose_body, settle
from mocap3d.data.synthetic.limbs import smoothed
from mocap3d.data.synthetic.primitives import FPS, bump, drift, min_jerk, path
from mocap3d.data.synthetic.reach import detour
from mocap3d.data.synthetic.stance import placed
from mocap3d.skeleton import H36M17

# Winter, "Biomechanics and Motor Control of Human Movement", table 4.1: from joint, to joint, share of the body's mass,
# where along the segment its centre lies. Hands belong to forearms, feet to shanks.
SEGMENTS = (
    ("pelvis", "thorax", 0.497, 0.50), ("thorax", "head", 0.081, 0.70),
    *((f"{side}_{a}", f"{side}_{b}", mass, at) for side in ("left", "right") for a, b, mass, at in (
        ("shoulder", "elbow", 0.028, 0.436), ("elbow", "wrist", 0.022, 0.682),
        ("hip", "knee", 0.100, 0.433), ("knee", "foot", 0.061, 0.606))),
)  # fmt: skip


STRAIGHT = 15.0  # degrees, the least a loaded knee is bent: nearer to straight, small movements make it snap


def _zeros(*shape: int):
    return field(default_factory=lambda: np.zeros(shape))


@dataclass
class Keyframe:
    """One whole-body posture relative to a place on the floor (x forward, y left; metres, radians).

    Attributes:
        pelvis: (3,). angles: (3,) heading off the place's, pitch forward, roll to the right. trunk, neck: (3,) flexion,
        lateral, twist. feet: (2, 3) ankles, z above a flat foot. load: (2,) 1 = the foot rests on something.
        weight: (2,) how much of the body each foot carries; zeros where it rests on something else.
        knee_out: (2,). hands: (2, 5) goals as in `reach`. palm, grip: where wrists rest, (2, 3), and whether, (2,).
        free: size of the small involuntary movements, 1 = standing.
    """

    pelvis: np.ndarray = _zeros(3)
    angles: np.ndarray = _zeros(3)
    trunk: np.ndarray = _zeros(3)
    neck: np.ndarray = _zeros(3)
    feet: np.ndarray = _zeros(2, 3)
    load: np.ndarray = field(default_factory=lambda: np.ones(2))
    weight: np.ndarray = field(default_factory=lambda: np.ones(2))
    knee_out: np.ndarray = _zeros(2)
    hands: np.ndarray = _zeros(2, 5)
    palm: np.ndarray = _zeros(2, 3)
    grip: np.ndarray = _zeros(2)
    free: float = 1.0

    def at(self, place: np.ndarray) -> Keyframe:
        """Return it in the world, its place being (x, y, heading)."""
        there = copy.deepcopy(self)
        there.pelvis, there.feet, there.palm = (placed(p, place) for p in (self.pelvis, self.feet, self.palm))
        there.angles[0] += place[2]
        return there


class Move(NamedTuple):
    """Go to a keyframe at a place (x, y, heading) in `duration` s, then stay for `hold` s (under 0: go on sooner)."""

    then: Keyframe
    place: np.ndarray
    duration: float
    hold: float


Score = list[tuple[float, float, Keyframe]]  # start s, duration s, where to, in the world


def play(
    rng: np.random.Generator, body: Body, time: np.ndarray, moves: Iterator[Move], lead: float, fall: float
) -> Motion:
    """Go through keyframes.

    Args:
        body: segment lengths, metres. time: (T,) seconds. moves: without end; the first only says where to begin.
        lead: at most this many seconds have passed before time 0. fall: how far a step is a fall onto the foot that
            steps (1) rather than a shift of the body over the other foot first (0).
    Returns:
        A Motion in the world frame z up, hands included, girdle at rest.
    Source: own.
    """
    clock, score = -rng.uniform(0.0, lead), []
    while clock < time[-1] + 0.2:
        then, place, duration, hold = next(moves)
        _settle(body, then)
        score.append((clock, duration, then.at(place)))
        clock += duration + max(hold, -0.25 * duration)
    values = path(
        [
            (
                start,
                duration,
                np.concatenate([k.pelvis, k.angles, k.trunk, k.neck, k.knee_out, k.weight, k.load, [k.free]]),
            )
            for start, duration, k in score
        ],
        time,
    )
    pelvis, angles, trunk, neck, knee_out, weight, load, free = np.split(values, [3, 6, 9, 12, 14, 16, 18], axis=1)
    steps = [_steps(before, after) for (_, _, before), (_, _, after) in pairwise(score)]
    feet = [_foot(time, score, [step[side] for step in steps], side) for side in range(2)]
    ankle, planted = (np.stack(parts, 1) for parts in zip(*feet, strict=True))
    ankle[..., 2] += body.ankle
    hand = _hands(rng, time, score)
    palm, grip = (np.stack(parts, 1) for parts in zip(*(_palm(time, score, s) for s in range(2)), strict=True))
    noise = drift(rng, time, 12) * free
    pelvis += (0.0012 + 0.0068 * np.minimum(weight.sum(1, keepdims=True), 1.0)) * noise[:, :3]
    angles += np.array([0.02, 0.015, 0.012]) * noise[:, 3:6]
    trunk += np.array([0.03, 0.025, 0.035]) * noise[:, 6:9]
    neck += np.array([0.05, 0.04, 0.09]) * noise[:, 9:12]
    motion = Motion(pelvis, angles, trunk, neck, ankle, planted, knee_out, hand[..., :3], hand[..., 3], hand[..., 4],
                    np.zeros((len(time), 2, 2)), palm, grip)  # fmt: skip
    _balance(body, motion, weight, 1 - load, fall)
    return _lowered(body, motion)


def _settle(body: Body, key: Keyframe) -> None:
    """Balance a keyframe, bend its knees a little, and rest or hold its hands no farther away than the arms reach."""
    if not (key.weight.any() or key.grip.any()):
        return
    row = lambda values: np.array(values, dtype=float)[None]  # noqa: E731
    still = Motion(*map(row, (key.pelvis, key.angles, key.trunk, key.neck, key.feet + [0.0, 0.0, body.ankle], key.load,
                              key.knee_out, key.hands[:, :3], key.hands[:, 3], key.hands[:, 4],
                              np.zeros((2, 2)), key.palm, key.grip)))  # fmt: skip
    _balance(body, still, row(key.weight), row(1 - key.load), 0.0, rounds=2)
    if key.weight.any():
        _lowered(body, still)
        key.pelvis = still.pelvis[0]
    points = pose_body(body, still)[0]
    far = 0.92 * body.arm
    for side, name in enumerate(SIDES):
        shoulder = points[H36M17.index(f"{name}_shoulder")]
        away = key.palm[side] - shoulder
        away[2] = np.clip(away[2], -0.98 * far, 0.98 * far)
        level = np.sqrt(np.maximum([(0.6 * body.arm) ** 2 - away[2] ** 2, far**2 - away[2] ** 2], 0.0))
        away[:2] *= np.clip(np.linalg.norm(away[:2]), *level) / max(np.linalg.norm(away[:2]), 1e-6)
        key.palm[side] = shoulder + away


def _steps(before: Keyframe, after: Keyframe) -> list[tuple[float, float] | None]:
    """Return for each foot when it moves, from and to as shares of the move, or None where it stays or only its heel
    rises."""
    away = after.feet - before.feet
    flat = np.maximum(before.feet, after.feet)[:, 2] < 0.02
    far = np.linalg.norm(away[:, :2], axis=-1)
    moved = (far > 0.05) | (flat & (far > 0.003)) | (before.load * after.load == 0)
    if not moved.all() or not (before.weight.any() and after.weight.any()):
        return [(0.05, 0.95) if m else None for m in moved]
    first = int(before.weight[1] < before.weight[0])  # the foot that carries less
    return [(0.0, 0.52) if side == first else (0.48, 1.0) for side in range(2)]


def _foot(time: np.ndarray, score: Score, steps: list, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ankle goals (T, 3), z above a flat foot, and load (T,)."""
    start, duration, first = score[0]
    goals, loads, dips = [(start, duration, first.feet[side])], [(start, 1.0, first.load[[side]])], []
    for ((_, _, before), (start, duration, after)), step in zip(pairwise(score), steps, strict=True):
        begin, end = step or (0.0, 1.0)
        start, length = start + begin * duration, (end - begin) * duration
        goals.append((start, length, after.feet[side]))
        if step:
            far = np.linalg.norm(after.feet[side, :2] - before.feet[side, :2])
            dips.append((start, length, min(0.03 + 0.16 * far, 0.14)))
        late = after.load[side] > before.load[side]
        loads.append((start + (0.75 * length if late else 0.0), 0.25 * length, after.load[[side]]))
    ankle, load = path(goals, time), path(loads, time)[:, 0]
    for start, length, height in dips:
        progress = (time - start) / length
        ankle[:, 2] += height * bump(progress) ** 0.75
        load *= 1 - min_jerk(progress / 0.2) * min_jerk((1 - progress) / 0.2)
    return ankle, load.clip(0.0, 1.0)


def _hands(rng: np.random.Generator, time: np.ndarray, score: Score) -> np.ndarray:
    """Return (T, 2, 5) hand goals, a little before or after the rest of the body."""
    hands = np.zeros((len(time), 2, 5))
    for side in range(2):
        keys = [(start + rng.uniform(-0.1, 0.15) * duration, duration, k.hands[side]) for start, duration, k in score]
        hands[:, side] = path(keys, time)
        for (_, _, old), (start, duration, new) in pairwise(keys):
            hands[:, side, :3] += detour(old, new) * bump((time[:, None] - start) / duration) ** 0.7
    noise = drift(rng, time, 8).reshape(-1, 2, 4)
    hands[..., :3] += 0.02 * noise[..., :3]
    hands[..., 4] += 0.06 * noise[..., 3]
    return hands


def _palm(time: np.ndarray, score: Score, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where a hand rests (T, 3) and by which weight (T,); it is lifted to rest elsewhere."""
    start, _, first = score[0]
    where, lifts = first.palm[side], []
    goals, weights = [(start, 1.0, where)], [(start, 1.0, first.grip[[side]])]
    for (_, _, before), (start, duration, after) in pairwise(score):
        late, new = after.grip[side] > before.grip[side], after.palm[side]
        if late:  # unseen, at no weight, it goes where it will be put down
            goals.append((start, 1e-3, new))
        elif after.grip[side] and np.linalg.norm(new - where) > 0.01:
            goals.append((start, duration, new))
            lifts.append((start, duration, np.linalg.norm(new - where) > 0.35))
        where = new if after.grip[side] else where
        weights.append((start + 0.2 * late * duration, (0.8 if late else 0.75) * duration, after.grip[[side]]))
    goal, weight = path(goals, time), path(weights, time)[:, 0]
    for start, duration, far in lifts:
        hill = bump((time - start) / duration) ** 0.75
        goal[:, 2] += 0.06 * hill
        weight *= 1 - far * hill  # a long way leads by where the free hand is
    return goal, weight.clip(0.0, 1.0)


def centre_of_mass(points: np.ndarray) -> np.ndarray:
    """Return the (T, 3) centre of mass of (T, 17, 3) joints. Source: segments' shares after Winter, `SEGMENTS`."""
    joint = {name: points[:, i] for i, name in enumerate(H36M17.joints)}
    return sum(mass * (joint[a] + at * (joint[b] - joint[a])) for a, b, mass, at in SEGMENTS)


def _widened(values: np.ndarray, reach: int) -> np.ndarray:
    """Return the largest of (T, N) values within `reach` frames."""
    padded = np.pad(values, ((reach, reach), (0, 0)), mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=0).max(-1)


def _lowered(body: Body, motion: Motion) -> Motion:
    """Lower the pelvis so that legs reach feet on the floor, just lifted or about to land, with bent knees."""
    loaded = (_widened(motion.planted, 4) > 0.02).astype(float)
    settle(body, replace(motion, planted=loaded), STRAIGHT)
    return motion


def _balance(body: Body, motion: Motion, weight: np.ndarray, raised: np.ndarray, fall: float, rounds: int = 3) -> None:
    """Shift the pelvis and raised feet so that the centre of mass is over the feet that carry the body."""
    if not weight.any():
        return
    ahead = np.stack([np.cos(motion.angles[:, 0]), np.sin(motion.angles[:, 0])], -1)  # (T, 2)
    low = -_widened(-motion.planted, round(0.12 * FPS))  # the body moves before a foot is lifted
    share = weight * (low + fall * (1 - low)) + 0.02
    share = share / share.sum(1, keepdims=True)
    share = smoothed(share[:, :1], 0.12 * FPS)
    share = np.concatenate([share, 1 - share], 1)
    target = np.einsum("ts,tsc->tc", share, motion.ankle[..., :2]) + 0.05 * ahead
    carried = np.minimum(weight.sum(1, keepdims=True), 1.0)
    height = motion.pelvis[:, 2].copy()
    for _ in range(rounds):
        motion.pelvis[:, 2] = height
        shift = carried * (target - centre_of_mass(pose_body(body, _lowered(body, motion)))[:, :2])
        motion.pelvis[:, :2] += shift
        motion.ankle[..., :2] += (raised * (1 - motion.planted))[..., None] * shift[:, None]
    motion.pelvis[:, 2] = height
