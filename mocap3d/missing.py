"""What stands in for 2D joints that nobody saw."""

from __future__ import annotations

import numpy as np


def fill_missing(points: np.ndarray) -> np.ndarray:
    """Give missing 2D joints a place, because a network cannot read NaN; their confidence stays 0.

    A gap in time is bridged linearly (ends: the nearest seen frame). A joint never seen in the clip is put at the
    middle of the joints seen in that frame. A clip with nothing seen at all is put in the image origin.

    Args:
        points: (T, J, 2), NaN where missing.
    Returns:
        (T, J, 2) without NaN; the input itself if nothing was missing.
    Source: own.
    """
    seen = np.isfinite(points).all(-1)  # (T, J)
    if seen.all():
        return points
    points, time = points.copy(), np.arange(len(points))
    for joint in np.flatnonzero(~seen.all(0) & seen.any(0)):
        at = np.flatnonzero(seen[:, joint])
        for axis in range(points.shape[-1]):
            points[:, joint, axis] = np.interp(time, at, points[at, joint, axis])
    never = ~seen.any(0)
    if never.any():
        middle = points[:, ~never].mean(1, keepdims=True) if not never.all() else np.zeros_like(points[:, :1])
        points[:, never] = middle  # (T, 1, 2) over the joints never seen
    return points
