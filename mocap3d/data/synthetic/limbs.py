"""Rotations, and two-bone limbs that reach for goals without snapping."""

from __future__ import annotations

import numpy as np

FLOOR = 0.05  # m, the lowest centre of a knee, elbow or wrist


def rotation(axis: int, angle: np.ndarray) -> np.ndarray:
    """Return (..., 3, 3) right-handed rotations by `angle` radians about x (0), y (1) or z (2). Source: own."""
    cos, sin = np.cos(angle), np.sin(angle)
    out = np.zeros(np.shape(angle) + (3, 3))
    i, j = (axis + 1) % 3, (axis + 2) % 3
    out[..., axis, axis] = 1.0
    out[..., i, i] = out[..., j, j] = cos
    out[..., i, j], out[..., j, i] = -sin, sin
    return out


def bend(flexion: np.ndarray, lateral: np.ndarray, twist: np.ndarray) -> np.ndarray:
    """Return (..., 3, 3) rotations that twist, then bend forward, then lean to the right. Source: own."""
    return rotation(0, lateral) @ rotation(1, flexion) @ rotation(2, twist)


def apply(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Rotate (..., 3) vectors by (..., 3, 3) matrices. Source: own."""
    return (matrix @ np.asarray(vector)[..., None])[..., 0]


def two_bone(start, goal, upper, lower, frame, rest, pole, turn, flexion, middle=None, lying=False):
    """Solve a two-bone limb: where the middle joint and the end lie when the end reaches for a goal.

    Args:
        start, goal: (T, 3) world, metres. upper, lower: bone lengths, metres.
        frame: (T, 3, 3) in which `rest` (limb direction) and `pole` (where the middle joint points) are given.
        turn: (T,) radians about the limb's axis, added to the pole.
        flexion: allowed (min, max) at the middle joint, degrees.
        middle: where the middle joint should be turned to, (T, 3), and how far, weight (T, 1) in 0..1.
        lying: whether the limb may lie on the floor, where turning the shortest way would lead through it.
    Returns:
        (middle, end), each (T, 3); the end is short of the goal where the limits demand it.
    Source: law of cosines; the pole is carried by the shortest rotation from `rest`, own choice.
    """
    low, high = (np.sqrt(upper**2 + lower**2 + 2 * upper * lower * np.cos(np.radians(f))) for f in flexion[::-1])
    offset = goal - start
    distance = np.linalg.norm(offset, axis=-1, keepdims=True)
    rest, pole = apply(frame, rest), apply(frame, pole)
    along = np.where(distance > 1e-6, offset / np.maximum(distance, 1e-6), rest)
    distance = np.clip(distance, low, high)
    axis = np.cross(rest, along)
    cosine = np.maximum(np.sum(rest * along, -1, keepdims=True), -0.98)
    side = pole + np.cross(axis, pole) + np.cross(axis, np.cross(axis, pole)) / (1 + cosine)
    side = side - np.sum(side * along, -1, keepdims=True) * along
    side = side / np.linalg.norm(side, axis=-1, keepdims=True)
    side = np.cos(turn)[:, None] * side + np.sin(turn)[:, None] * np.cross(along, side)
    if middle is not None:
        place, weight = middle
        wanted = place - start
        wanted = wanted - np.sum(wanted * along, -1, keepdims=True) * along
        wanted = wanted / np.maximum(np.linalg.norm(wanted, axis=-1, keepdims=True), 1e-6)
        side = side + weight * (wanted - side)
        side = side / np.linalg.norm(side, axis=-1, keepdims=True)
    a = (upper**2 - lower**2 + distance**2) / (2 * distance)
    height = np.sqrt(np.maximum(upper**2 - a**2, 1e-9))
    least = (FLOOR - start[:, 2:] - a * along[:, 2:]) / height
    side = _over_floor(side, along, least) if lying else _above_floor(side, along, least)
    return start + a * along + height * side, start + distance * along


def _above_floor(side: np.ndarray, along: np.ndarray, least: np.ndarray) -> np.ndarray:
    """Turn unit vectors `side` about `along` about as far as their z needs to be at least `least` (T, 1)."""
    angle, most, _ = _from_up(side, along, least)
    turn = smoothed(np.clip(angle, -most, most) - angle, 3.0)  # a limb swings aside, it does not snap
    return np.cos(turn) * side + np.sin(turn) * np.cross(along, side)


def _over_floor(side: np.ndarray, along: np.ndarray, least: np.ndarray) -> np.ndarray:
    """Do as `_above_floor`, but near the floor go from one side of `along` to the other over the top; never snap."""
    angle, most, up = _from_up(side, along, least)
    most = np.where(most > 2.2, np.minimum(2.2 + (most - 2.2) * (np.pi - 2.2) / 0.4, np.pi), most)
    angle = np.clip(angle, -most, most)
    carried = up[:-1] - np.sum(up[:-1] * along[1:], -1, keepdims=True) * along[1:]
    # how the highest direction turns from frame to frame
    swing = np.concatenate([[[0.0]], _angle(carried, up[1:], along[1:])])
    step = np.diff(angle, axis=0, prepend=angle[:1]) + swing
    free = (most == np.pi) & (np.roll(most, 1) == np.pi)
    step = np.where(free, (step + np.pi) % (2 * np.pi) - np.pi, step)  # the shortest way, under it too
    turn = smoothed(angle[:1] + np.cumsum(step, axis=0), 4.0) - np.cumsum(swing, axis=0)
    turn = np.clip((turn + np.pi) % (2 * np.pi) - np.pi, -most, most)
    return np.cos(turn) * up + np.sin(turn) * np.cross(along, up)


def _from_up(side: np.ndarray, along: np.ndarray, least: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the turn (T, 1) about `along` from the highest direction to `side`, the most allowed, that direction."""
    up = np.array([0.0, 0.0, 1.0]) - along[:, 2:] * along
    steep = np.linalg.norm(up, axis=-1, keepdims=True)  # the largest z a side can have
    up = up / np.maximum(steep, 1e-6)
    angle = _angle(up, side, along)
    return angle, np.arccos(np.clip(least / np.maximum(steep, 1e-6), -1.0, 1.0)), up


def _angle(start: np.ndarray, end: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """Return the turn (T, 1) about unit vectors `axis` that leads from `start` to `end`, which are normal to it."""
    return np.arctan2(np.sum(end * np.cross(axis, start), -1, keepdims=True), np.sum(end * start, -1, keepdims=True))


def smoothed(values: np.ndarray, sigma: float) -> np.ndarray:
    """Smooth (T, 1) values over time with a Gaussian of `sigma` frames; the ends are held. Source: own."""
    if not values.any():
        return values
    reach = int(3 * sigma)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return np.convolve(np.pad(values[:, 0], reach, mode="edge"), kernel / kernel.sum(), mode="valid")[:, None]


def covering(need: np.ndarray) -> np.ndarray:
    """Return a smooth curve (T,) that is nowhere below the needs (T,), from 9 frames around each. Source: own."""
    reach, sigma = 9, 3.0  # the largest need within reach, then smoothed no wider, is never too little
    held = np.lib.stride_tricks.sliding_window_view(np.pad(need, reach, mode="edge"), 2 * reach + 1).max(-1)
    return smoothed(held[:, None], sigma)[:, 0]


def in_front(offset: np.ndarray, width: float, front: list[float]) -> np.ndarray:
    """Return the detour, towards `front`, of a limb's end that passes within about `width` of its root. Source: own."""
    return 1.4 * width * np.exp(-np.sum(offset**2, -1, keepdims=True) / width**2) * unit(*front)


def within(goal: np.ndarray, centre: np.ndarray, near: float, far: float) -> np.ndarray:
    """Bring goals nearer to a centre than `near`, or beyond `far`, back there without a kink. Source: own."""
    offset = goal - centre
    distance = np.maximum(np.linalg.norm(offset, axis=-1, keepdims=True), 1e-3)
    kept = distance - np.logaddexp(0.0, (distance - far) * 70) / 70
    kept = near + np.logaddexp(0.0, (kept - near) * 30) / 30
    return centre + offset * kept / distance


def unit(*vector: float) -> np.ndarray:
    """Return the vector with these coordinates scaled to length 1. Source: own."""
    return np.array(vector) / np.linalg.norm(vector)
