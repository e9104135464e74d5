"""Right and wrong answers to the exercises of notebook 09."""

import numpy as np


def mend(points, size):
    return points * size * (1, -1) + (0, size[1])


def upside_down(points, size):
    return points * size


def flipped_first(points, size):
    return (points * (1, -1) + (0, size[1])) * size


def fixed_size(points, size):
    return mend(points, (1920, 1080))


def filled(points, size):
    return np.nan_to_num(mend(points, size))


ANSWERS = {
    "09.1": (
        [mend, lambda p, s: (p * [1, -1] + [0, 1]) * s],
        [upside_down, flipped_first, fixed_size, filled, None, 3],
    ),
    "09.2": ([1.9 / 1.5, np.float32(1.2671)], [1.5 / 1.9, 1.44, None, "1.27"]),
    "09.3": ([1.5016, 1.5], [1.4, 0.666, 2.144, None]),
}
