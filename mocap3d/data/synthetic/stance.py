"""Acting on the spot: postures joined by steps, jumps and sittings-down.

Between two postures the pelvis and trunk follow minimum-jerk paths, and each foot stays where it is on the floor until
it is lifted and set down anew.
"""

from __future__ import annotations

import numpy as np

from mocap3d.data.synthetic.body import Body, Motion
from mocap3d.data.synthetic.postures import KNEELING, SEATED, STANDING, Posture, random_posture
from mocap3d.data.synthetic.primitives import bump, drift, jump, min_jerk, path


def act(
    rng: np.random.Generator,
    body: Body,
    time: np.ndarray,
    kinds: list[str],
    chances: list[float],
    tempo: float = 1.0,
    jumps: float = 0.0,
    roam: float = 1.0,
) -> Motion:
    """Go through random postures on the spot, stepping, turning and jumping between them.

    Args:
        body: segment lengths, metres. time: (T,) seconds. kinds, chances: postures and their relative frequency.
        tempo: 1 is unhurried, 3 sports-like. jumps: chance that a change between standing postures is a jump.
        roam: how far the place moves between postures, 1 = about 0.2 m and 30 degrees.
    Returns:
        A Motion about the origin with arms hanging, world frame z up.
    Source: own.
    """
    chances = np.array(chances, dtype=float) / np.sum(chances)
    place = np.zeros(3)  # x, y, heading
    kind = str(rng.choice(kinds, p=chances))
    score = _Score(random_posture(rng, body, kind), place)
    clock = rng.uniform(0.1, 0.8)
    while clock < time[-1] + 0.2:
        before, kind = kind, str(rng.choice(kinds, p=chances))
        if {before, kind} & KNEELING and {before, kind} & SEATED:
            kind = "squat"  # no foot passes under a seat
        upright = {before, kind} <= STANDING
        drift_by = np.append(rng.normal(0, 0.14, 2).clip(-0.3, 0.3), rng.normal(0, 0.5))
        place = place * [0.9, 0.9, 1.0] + drift_by * roam * (1.0 if upright else 0.4)
        duration = rng.uniform(0.6, 1.3) / tempo if upright else max(rng.uniform(0.6, 1.3) / tempo, 1.1)
        then = random_posture(rng, body, kind)
        if upright and rng.random() < jumps:
            crouch, flight = rng.uniform(0.28, 0.5), rng.uniform(0.22, 0.5)
            duration = 2 * crouch + flight
            score.lifts.append((clock, crouch, flight, rng.uniform(0.0, 0.15)))
            steps = [(clock + crouch, flight)] * 2
        else:
            first = int(rng.integers(2))
            steps = [(clock + (0.0 if side == first else 0.42 * duration), 0.58 * duration) for side in range(2)]
        if (before in STANDING) != (kind in STANDING):
            score.stoops.append((clock, duration, rng.uniform(0.3, 0.6)))
        score.move(then, place, clock, duration, steps)
        clock += duration + rng.exponential(0.55) / tempo
    return _assemble(rng, body, time, score)


class _Score:
    """The keys of a take so far: pelvis and trunk, feet, their loads, and what happens in between."""

    def __init__(self, posture: Posture, place: np.ndarray) -> None:
        self.now, self.feet_at = posture, placed(posture.feet, place)
        self.pelvis = [(0.0, 1.0, _body_values(posture, place))]
        self.feet = [[(0.0, 1.0, self.feet_at[side].copy())] for side in range(2)]
        self.loads = [[(0.0, 1.0, _load(posture, self.feet_at[side]))] for side in range(2)]
        self.arcs, self.lifts, self.stoops = [], [], []

    def move(self, then: Posture, place: np.ndarray, clock: float, duration: float, steps) -> None:
        """Go to a posture at a place; each foot that has to move does so in its step (start, length)."""
        goal = placed(then.feet, place)
        self.pelvis.append((clock, duration, _body_values(then, place)))
        for side, (start, length) in enumerate(steps):
            far = np.linalg.norm(goal[side] - self.feet_at[side])
            if far < 0.03 and not (self.now.light or then.light):
                goal[side] = self.feet_at[side]  # leave it
            else:
                self.arcs.append((side, start, length, min(0.03 + 0.16 * far, 0.14)))
            self.feet[side].append((start, length, goal[side].copy()))
            self.loads[side].append((start, length, _load(then, goal[side])))
        self.feet_at, self.now = goal, then


def placed(points: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Return (..., 3) points of a place in the world; the place is (x, y, heading). Source: own."""
    cos, sin = np.cos(frame[2]), np.sin(frame[2])
    moved = points.copy()
    moved[..., 0] = frame[0] + cos * points[..., 0] - sin * points[..., 1]
    moved[..., 1] = frame[1] + sin * points[..., 0] + cos * points[..., 1]
    return moved


def _load(posture: Posture, foot: np.ndarray) -> np.ndarray:
    return np.array([float(not posture.light and foot[2] < 0.03)])


def _body_values(posture: Posture, frame: np.ndarray) -> np.ndarray:
    root = placed(posture.root, frame)
    return np.concatenate([root, [frame[2]], posture.tilt, posture.trunk, posture.knee_out])


def _assemble(rng: np.random.Generator, body: Body, time: np.ndarray, score: _Score) -> Motion:
    values = path(score.pelvis, time)  # (T, 11)
    noise = drift(rng, time, 12)
    ankle = np.stack([path(keys, time) for keys in score.feet], 1)
    planted = np.concatenate([path(keys, time) for keys in score.loads], 1)
    for side, start, length, height in score.arcs:
        progress = (time - start) / length
        ankle[:, side, 2] += height * bump(progress) ** 0.75
        planted[:, side] *= 1 - min_jerk(progress / 0.2) * min_jerk((1 - progress) / 0.2)
    for start, crouch, flight, tuck in score.lifts:
        whole, air = jump(time, start, crouch, flight)
        values[:, 2] += whole
        ankle[:, :, 2] += (air + tuck * bump((time - start - crouch) / flight))[:, None]
        score.stoops.append((start, crouch + flight * 0.4, 0.4))
    ankle[:, :, 2] += body.ankle
    for start, length, angle in score.stoops:
        values[:, 4] += 0.6 * angle * bump((time - start) / length)
        values[:, 6] += 0.5 * angle * bump((time - start) / length)
    values[:, :3] += 0.009 * noise[:, :3]
    trunk = values[:, 6:9] + np.array([0.03, 0.025, 0.035]) * noise[:, 6:9]
    neck = np.array([0.07, 0.05, 0.12]) * noise[:, 9:12] - np.array([0.3, 0.0, 0.0]) * trunk
    angles = values[:, [3, 4, 5]] + np.array([0.02, 0.015, 0.012]) * noise[:, 3:6]
    flat = np.zeros((len(time), 2))
    hang = np.tile(np.array([0.07, 0.12, -0.95]), (len(time), 2, 1))
    return Motion(
        values[:, :3],
        angles,
        trunk,
        neck,
        ankle,
        planted.clip(0, 1),
        values[:, 9:11],
        hang,
        flat.copy(),
        flat.copy(),
        np.zeros((len(time), 2, 2)),
    )
