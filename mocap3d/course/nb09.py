"""Checks of the exercises of notebook 09; each returns what is wrong, or None."""

from __future__ import annotations

import math

import numpy as np

from mocap3d.course.check import near


def two_mistakes(answer: object) -> str | None:
    """mend(points, size): (T, J, 2) in 0..1 with y upwards -> pixels with y downwards."""
    for size in ((1920, 1080), (640, 480)):
        pixels = np.random.default_rng(0).uniform(0, size, (5, 17, 2))
        pixels[2, 3] = np.nan
        mended = np.asarray(answer(pixels / size * [1, -1] + [0, 1], size))
        if mended.shape != pixels.shape or (np.isnan(mended) != np.isnan(pixels)).any():
            return (
                f"{pixels.shape} points, one of them NaN, become {mended.shape}, {np.isnan(mended[..., 0]).sum()} NaN"
            )
        for axis, wrong in zip("xy", np.nanmax(abs(mended - pixels), (0, 1)), strict=True):
            if wrong > 1e-6:
                return f"in a picture of {size} pixels {axis} is wrong by up to {wrong:.4g}"
    return None


def taller(answer: object) -> str | None:
    """How many times further away the person is with height=1.9 than with height=1.5."""
    return near(answer, 1.9 / 1.5, 0.02, "times as far away")


def longer_lens(answer: object) -> str | None:
    """How many times further away the person is through a lens of 50 degrees than through one of 70."""
    return near(answer, math.tan(math.radians(35)) / math.tan(math.radians(25)), 0.03, "times as far away")


CHECKS = {"1": two_mistakes, "2": taller, "3": longer_lens}
