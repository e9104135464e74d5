"""Right and wrong answers to the exercises of notebook 05."""

import numpy as np


def place(pose, points2d, focal):
    roots = []
    for body, seen in zip(pose, points2d, strict=True):
        rows, right = [], []
        for axis in (0, 1):
            row = np.zeros((17, 3))
            row[:, axis], row[:, 2] = focal, -seen[:, axis]
            rows.append(row)
            right.append(seen[:, axis] * body[:, 2] - focal * body[:, axis])
        roots.append(np.linalg.lstsq(np.concatenate(rows), np.concatenate(right), rcond=None)[0])
    return np.array(roots)


def by_size(pose, points2d, focal):  # as if all joints were equally far away
    spread = [np.linalg.norm(x - x.mean(1, keepdims=True), axis=-1).mean(1) for x in (pose[..., :2], points2d)]
    depth = focal * spread[0] / spread[1]
    return np.concatenate([points2d[:, 0] * depth[:, None] / focal, depth[:, None]], -1)


ANSWERS = {
    "05.1": (
        [(1 / 6, 50.0, 6.006), (0.167, 50, 6.0)],
        [(1.0, 50, 6.0), (1 / 6, 0.1, 6.0), (1 / 6, 50, 2.66), (1 / 6, 50), 3, None, (None, 50, 6.0)],
    ),
    "05.2": (
        [place, lambda *given: place(*given).tolist()],
        [
            by_size,
            lambda pose, points2d, focal: place(pose, points2d, 2.3),
            lambda pose, points2d, focal: place(pose, points2d, focal)[0],
            lambda pose, points2d, focal: np.full((len(pose), 3), np.nan),
            lambda pose: pose,
            3,
            None,
        ],
    ),
}
