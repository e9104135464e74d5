"""Right and wrong answers to the exercises of notebook 04."""

import math

import numpy as np


def product(widths):
    return math.prod(widths)


def steps(widths):
    return [math.prod(widths[:i]) for i in range(len(widths))]


def find_cuts(pose2d, over=np.median, limit=0.4):
    size = np.linalg.norm(pose2d.points - pose2d.points.mean(1, keepdims=True), axis=-1).mean(1)
    moved = np.linalg.norm(np.diff(pose2d.points, axis=0), axis=-1)
    return np.flatnonzero(over(moved, axis=1) / size[1:] > limit) + 1


ANSWERS = {
    "04.1": ([(product, steps)], [(sum, steps), (product, list), (product, None), 3, None, lambda widths: 27]),
    "04.2": ([63.0, 60.2], [54.0, 79.0, "63", None, True, float("nan"), []]),
    "04.4": (
        [find_cuts, lambda pose: find_cuts(pose).tolist()],
        [
            lambda pose: find_cuts(pose, np.max),  # one joint is enough
            lambda pose: find_cuts(pose, limit=0.01),
            lambda pose: find_cuts(pose) - 1,
            lambda pose: [75],
            lambda pose: [],
            [75],
            None,
        ],
    ),
}
