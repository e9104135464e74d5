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


def two_bone(start, goal, upper, lower, frame, rest, pole, turn, flexion):
    """Solve a two-bone limb: where the middle joint and the end lie when the end reaches for a goal.

    Args:
        start, goal: (T, 3) world, metres. upper, lower: bone lengths, metres.
        frame: (T, 3, 3) in which `rest` (limb direction) and `pole` (where the middle joint points) are given.
        turn: (T,) radians about the limb's axis, added to the pole.
        flexion: allowed (min, max) at the middle joint, degrees.
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
    a = (upper**2 - lower**2 + distance**2) / (2 * distance)
    height = np.sqrt(np.maximum(upper**2 - a**2, 1e-9))
    side = _above_floor(side, along, (FLOOR - start[:, 2:] - a * along[:, 2:]) / height)
    return start + a * along + height * side, start + distance * along


def _above_floor(side: np.ndarray, along: np.ndarray, least: np.ndarray) -> np.ndarray:
    """Turn unit vectors `side` about `along` about as far as their z needs to be at least `least` (T, 1)."""
    up = np.array([0.0, 0.0, 1.0]) - along[:, 2:] * along
    steep = np.linalg.norm(up, axis=-1, keepdims=True)  # the largest z a side can have
    up = up / np.maximum(steep, 1e-6)
    angle = np.arctan2(np.sum(side * np.cross(along, up), -1, keepdims=True), np.sum(side * up, -1, keepdims=True))
    most = np.arccos(np.clip(least / np.maximum(steep, 1e-6), -1.0, 1.0))
    turn = smoothed(np.clip(angle, -most, most) - angle, 3.0)  # a limb swings aside, it does not snap
    return np.cos(turn) * side + np.sin(turn) * np.cross(along, side)


def smoothed(values: np.ndarray, sigma: float) -> np.ndarray:
    """Smooth (T, 1) values over time with a Gaussian of `sigma` frames; the ends are held. Source: own."""
    if not values.any():
        return values
    reach = int(3 * sigma)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return np.convolve(np.pad(values[:, 0], reach, mode="edge"), kernel / kernel.sum(), mode="valid")[:, None]


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
