"""What the bodies and the 2D view share: capsules between joints, and coordinates as text."""

from __future__ import annotations

import base64
import zlib

import numpy as np

from mocap3d.figures.body import polyline
from mocap3d.skeleton import Skeleton

MISSING = -(2**15)  # of a quantised coordinate


def encoded(points: np.ndarray, step: float) -> dict:
    """Coordinates (T, N, P, C) in a text: int16, second differences in time, zigzag, two bytes apart, deflate, base64.

    A step is `step`, or more where the coordinates extend over more than 64,000 of them.
    """
    low, high = (reduce(points, axis=(0, 1, 2)) for reduce in (np.nanmin, np.nanmax))
    low, step = np.round(low, 4), max(step, float((high - low).max()) / 64_000)
    steps = np.round((points - low) / step - 32_000)
    whole = np.where(np.isfinite(steps), steps, MISSING).astype(np.int64)
    series = whole.reshape(len(whole), -1).T  # (N * P * C, T)
    for _ in range(2):
        series = np.diff(series, axis=1, prepend=0)
    signed = series.astype(np.int16).astype(np.int32)  # the differences wrap, as their sums do
    zigzag = ((signed << 1) ^ (signed >> 15)).astype(np.uint16)
    planes = np.concatenate([(zigzag >> 8).astype(np.uint8).ravel(), (zigzag & 255).astype(np.uint8).ravel()])
    data = base64.b64encode(zlib.compress(planes.tobytes(), 9)).decode("ascii")
    return {"data": data, "low": low.tolist(), "step": step, "points": points.shape[2]}


def reach(points: np.ndarray) -> float:
    """Distance from the middle of a body (T, J, C) to its farthest joint, about 1 for an adult in metres."""
    present = np.isfinite(points).all(-1)
    middle = np.where(present[..., None], points, 0).sum(1) / np.maximum(present.sum(1), 1)[:, None]
    distance = np.where(present, np.linalg.norm(points - middle[:, None], axis=-1), 0).max(1)
    return float(np.percentile(distance[present.any(1)], 90)) / 0.9


def parts_of(
    skeleton: Skeleton, points: np.ndarray, size: float, head: bool
) -> list[tuple[int, int, float, float, str]]:
    """Capsules of a body (T, J, C): thick along long bones, thin along short ones; joints without a bone are dots."""
    line = polyline(skeleton)
    ends = (-1, *line.vertices, -1)
    parts = []
    for before, joint, after, side in zip(ends[:-2], line.vertices, ends[2:], line.sides, strict=True):
        if joint >= 0 and after >= 0:
            lengths = np.linalg.norm(points[:, joint] - points[:, after], axis=-1)
            length = float(np.nanmedian(lengths)) / size if np.isfinite(lengths).any() else 0.1
            thick = np.clip(0.24 * length, 0.014, 0.056 if side == "centre" else 0.046)
            thin = thick if side == "centre" else 0.8 * thick
            parts.append((joint, after, float(thick), float(thin), side))
        elif joint >= 0 and before < 0:
            parts.append((joint, joint, 0.01, 0.01, side))
    if head:
        parts.append((len(skeleton), len(skeleton), 0.098, 0.098, "centre"))
    return parts
