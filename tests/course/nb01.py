"""Right and wrong answers to the exercises of notebook 01."""

import numpy as np

from mocap3d import H36M17, metrics

CHILDREN = [child for _, child in H36M17.bones]


def ratios(points, over):
    lengths = dict(zip(CHILDREN, metrics.bone_lengths(points), strict=True))
    return [lengths[j] / lengths[H36M17.mirror[j]] for j in over]


def asymmetry(points):
    return max(ratios(points, CHILDREN))


def left_over_right(points):
    return max(ratios(points, H36M17.left))


def on_average(points):
    return float(np.mean(ratios(points, CHILDREN)))


def level(points, degrees, sign=1, axes=(1, 2)):
    c, s = np.cos(np.radians(degrees)), sign * np.sin(np.radians(degrees))
    turned = points.copy()
    a, b = axes
    turned[..., a], turned[..., b] = c * points[..., a] + s * points[..., b], c * points[..., b] - s * points[..., a]
    return turned


ANSWERS = {
    "01.1": ([5, 5.0, np.float64(5.01)], [2.0, 4.9, 0.2, 500, "5", None, [5]]),
    "01.2": (
        [asymmetry, lambda points: float(asymmetry(points))],
        [left_over_right, on_average, lambda points: 1.0, lambda points: ratios(points, CHILDREN), 4.9, None],
    ),
    "01.3": ([0.5625, 9 / 16, 0.56], [16 / 9, 1.0, 0.75, None, "9/16"]),
    "01.4": (
        [level, lambda points, degrees: level(points, degrees).tolist()],
        [
            lambda points, degrees: level(points, degrees, sign=-1),
            lambda points, degrees: level(points, degrees, axes=(0, 1)),
            lambda points, degrees: level(points, degrees) * [-1, 1, 1],
            lambda points, degrees: level(points, 12.7),
            lambda points, degrees: level(points, np.degrees(degrees)),
            lambda points, degrees: points,
            lambda points, degrees: points * [1, 1, 0],
            lambda points, degrees: points[0],
            None,
        ],
    ),
}
