"""Where hands go: goals in the frame of thorax or head, and minimum-jerk paths from one to the next.

A goal is (x, y, z, at head, elbow): x forward, y outward, z up from the shoulder (or, where at head is 1, from the nose
in the head's frame), in arm lengths; elbow turns the elbow outward, radians. Rotations of the elbow and the trunk's
clearance are left to the body's inverse kinematics.
"""

from __future__ import annotations

import numpy as np

from mocap3d.data.synthetic.limbs import unit
from mocap3d.data.synthetic.primitives import bump, drift, path

GOALS = {  # name: (mean, spread); own, by eye
    "hang": ((0.07, 0.12, -0.95, 0, 0.0), (0.06, 0.06, 0.03, 0, 0.25)),
    "hip": ((0.03, 0.12, -0.60, 0, 0.9), (0.05, 0.05, 0.05, 0, 0.25)),
    "pocket": ((0.10, 0.05, -0.74, 0, 0.4), (0.05, 0.04, 0.06, 0, 0.2)),
    "belly": ((0.34, -0.22, -0.52, 0, 0.2), (0.10, 0.10, 0.12, 0, 0.3)),
    "fold": ((0.34, -0.40, -0.36, 0, 0.3), (0.05, 0.08, 0.08, 0, 0.2)),
    "lap": ((0.48, -0.05, -0.58, 0, 0.1), (0.12, 0.10, 0.10, 0, 0.2)),
    "front": ((0.66, -0.10, -0.25, 0, 0.1), (0.18, 0.18, 0.25, 0, 0.3)),
    "low": ((0.45, 0.05, -0.70, 0, 0.1), (0.20, 0.15, 0.15, 0, 0.3)),
    "back": ((-0.24, -0.12, -0.66, 0, 0.1), (0.06, 0.08, 0.08, 0, 0.2)),
    "side": ((0.15, 0.85, -0.05, 0, 0.0), (0.2, 0.12, 0.3, 0, 0.3)),
    "overhead": ((0.15, 0.15, 0.82, 0, 0.1), (0.2, 0.2, 0.15, 0, 0.4)),
    "across": ((0.52, -0.55, -0.05, 0, 0.2), (0.12, 0.12, 0.25, 0, 0.3)),
    "ear": ((0.02, 0.24, -0.06, 1, 0.1), (0.04, 0.04, 0.06, 0, 0.3)),
    "mouth": ((0.26, 0.06, -0.10, 1, 0.0), (0.06, 0.05, 0.06, 0, 0.3)),
    "camera": ((0.34, 0.14, 0.04, 1, 0.2), (0.08, 0.05, 0.08, 0, 0.3)),
    "brow": ((0.22, 0.10, 0.18, 1, 0.5), (0.06, 0.06, 0.06, 0, 0.3)),
    "nape": ((-0.12, 0.14, 0.08, 1, 0.9), (0.05, 0.06, 0.08, 0, 0.3)),
    "hail": ((0.30, 0.30, 0.55, 0, 0.1), (0.2, 0.2, 0.2, 0, 0.4)),
}


def draw_goal(rng: np.random.Generator, name: str) -> np.ndarray:
    """Draw a (5,) hand goal: one of `GOALS`, or "anywhere" within a shoulder's comfortable reach. Source: own."""
    if name in GOALS:
        mean, spread = np.array(GOALS[name], dtype=float)
        return mean + spread * rng.uniform(-1.4, 1.4, 5)
    while True:
        x, y, z = direction = unit(*rng.normal(size=3))
        if x > -0.55 and y > -0.75 and not (x < -0.1 and (z > 0.0 or y < -0.1)) and not (y < -0.4 and x < 0.35):
            break  # not behind and above, not through the chest
    return np.concatenate([direction * rng.uniform(0.12, 1.0) ** 0.35, [0.0, rng.uniform(-0.4, 0.6)]])


def hand_paths(
    rng: np.random.Generator,
    time: np.ndarray,
    goals: tuple[dict[str, float], dict[str, float]],
    tempo: float = 1.0,
    together: float = 0.2,
    wave: float = 0.0,
    beat: float = 0.0,
) -> np.ndarray:
    """Let each hand go from goal to goal on minimum-jerk paths.

    Args:
        time: (T,) seconds. goals: for each side, goal name -> relative frequency. tempo: 1 unhurried, 3 sports-like.
        together: chance that both hands take mirrored goals. wave: chance of waving while a hand is held up.
        beat: size of small rhythmic gestures, arm lengths.
    Returns:
        (T, 2, 5) goals over time.
    Source: minimum-jerk point-to-point reaching, Flash and Hogan (1985); the choice of goals own.
    """
    names = [(list(side), np.array(list(side.values()), dtype=float) / sum(side.values())) for side in goals]
    keys: list[list] = [[], []]
    clock = [0.0, 0.0]
    first = True
    mirrored = rng.random() < together
    while min(clock) < time[-1]:
        side = int(clock[1] < clock[0])
        name = str(rng.choice(names[side][0], p=names[side][1]))
        goal = draw_goal(rng, name)
        length = rng.uniform(0.45, 1.0) / tempo
        pause = rng.exponential(0.6) / tempo
        if mirrored:
            start = max(clock)
            keys[side].append((start, length, goal))
            keys[1 - side].append((start, length, goal + rng.normal(0, 0.03, 5) * [1, 1, 1, 0, 1]))
            clock = [start + length + pause] * 2
        else:
            keys[side].append((clock[side], length, goal))
            clock[side] += length + pause
        if first and not (keys[0] and keys[1]):
            continue
        first = False
        mirrored = rng.random() < together
    hands = np.zeros((len(time), 2, 5))
    for side in range(2):
        row = sorted(keys[side], key=lambda key: key[0])
        hands[:, side] = path(row, time)
        for (_, _, old), (start, length, new) in zip(row[:-1], row[1:], strict=True):
            hands[:, side, :3] += detour(old, new) * bump((time[:, None] - start) / length) ** 0.7
    noise = drift(rng, time, 8).reshape(-1, 2, 4)
    hands[..., :3] += 0.022 * noise[..., :3] + beat * 0.6 * drift(rng, time, 6, 0.6, 3.0, 0.3).reshape(-1, 2, 3)
    hands[..., 4] += 0.06 * noise[..., 3]
    if wave:
        up = 1 / (1 + np.exp(-(hands[..., 2] - 0.15) / 0.08))  # (T, 2) held up
        up = up * (1 - hands[..., 3])  # away from the head
        rate, size = rng.uniform(1.2, 2.8), rng.uniform(0.12, 0.3) * (rng.random(2) < wave)
        swing = np.sin(2 * np.pi * rate * time + rng.uniform(0, 6.28))[:, None]
        hands[..., 1] += up * size * swing
        hands[..., 2] -= up * size * 0.3 * swing**2
    return hands


def detour(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Return how far (3,), in arm lengths, a move from goal to goal swings out in front of the shoulder it passes."""
    head = np.array([0.10, -0.28, 0.33])  # about where the nose is from the shoulder
    a, b = (goal[:3] + goal[3] * head for goal in (old, new))
    along = b - a
    nearest = a + along * np.clip(-a @ along / max(along @ along, 1e-9), 0.0, 1.0)
    ends = min(np.linalg.norm(a), np.linalg.norm(b))
    return max(0.0, min(0.65, ends) - np.linalg.norm(nearest)) * unit(0.75, 0.45, -0.35)


def shoulder_girdle(hands: np.ndarray) -> np.ndarray:
    """Return (T, 2, 2) shoulder raised and brought forward, radians, that goes with (T, 2, 5) hand goals.

    Source: scapulohumeral rhythm, the girdle takes about a third of an elevation (Inman et al. 1944), rounded.
    """
    x, y, z = np.moveaxis(hands[..., :3], -1, 0)
    z = z + 0.35 * hands[..., 3]
    raised = 0.04 + 0.42 * _ramp(z + 0.35) + 0.06 * np.maximum(y, 0)
    forward = 0.30 * (x - 0.1) - 0.25 * np.minimum(y, 0)
    return np.stack([raised.clip(-0.15, 0.6), forward.clip(-0.3, 0.45)], -1)


def glances(rng: np.random.Generator, time: np.ndarray, size: float) -> np.ndarray:
    """Return (T, 3) glances: head flexion, lateral and twist, of about `size` radians. Source: own."""
    keys, clock = [], 0.0
    while clock < time[-1]:
        keys.append((clock, rng.uniform(0.25, 0.7), rng.normal(0, 1, 3) * [0.5 * size, 0.25 * size, size]))
        clock += rng.uniform(0.6, 2.5)
    return path(keys, time)


def _ramp(z: np.ndarray) -> np.ndarray:
    """Return a smooth ramp: 0 below 0, z above. Source: own."""
    return np.logaddexp(0.0, z * 10) / 10
