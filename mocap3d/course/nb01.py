"""Checks of the exercises of notebook 01; each returns what is wrong, or None."""

from __future__ import annotations

import numpy as np

from mocap3d import metrics
from mocap3d.camera import Camera
from mocap3d.course.check import near
from mocap3d.skeleton import H36M17, flip


def how_far(answer: object) -> str | None:
    """Metres to a person of 1.75 m who is 350 px high before a camera with f = 1000 px."""
    return near(answer, 1000 * 1.75 / 350, 0.05, "metres")


def symmetry(answer: object) -> str | None:
    """asymmetry(points), (17, 3) -> how many times longer a bone is than its twin, at worst."""
    children = [child for _, child in H36M17.bones]
    for points in np.random.default_rng(0).normal(size=(3, 17, 3)):
        length = dict(zip(children, metrics.bone_lengths(points), strict=True))
        expected = max(length[j] / length[H36M17.mirror[j]] for j in children)
        for what, body in {"random points": points, "the same points, flipped": flip(points)}.items():
            if wrong := near(answer(body.copy()), expected, 1e-6 * expected, what):
                return wrong
    return None


def two_sticks(answer: object) -> str | None:
    """Standing over lying stick in screen units with a factor for each axis, on an upright phone."""
    phone = Camera.phone(width=1080, height=1920)
    return near(answer, phone.width / phone.height, 0.005, "times as long")


def straighten(answer: object) -> str | None:
    """level(points, degrees): (..., 3) in the camera frame, turned about x so that the lean is gone."""
    upright = np.random.default_rng(0).normal(size=(4, 17, 3))
    for degrees in (12.7, 30.0, -10.0):
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        leaning = upright @ np.array([[1, 0, 0], [0, c, s], [0, -s, c]])  # up, (0, -1, 0), becomes (0, -c, -s)
        turned = np.asarray(answer(leaning.copy(), degrees), dtype=float)
        if turned.shape != upright.shape:
            return f"points of shape {upright.shape} become {turned.shape}"
        if not np.allclose(metrics.bone_lengths(turned), metrics.bone_lengths(upright)):
            return f"for {degrees} degrees the bones change their lengths"
        if (gap := np.linalg.norm(turned - upright, axis=-1).max()) > 1e-6:
            return (
                f"for {degrees} degrees a joint is still {gap:.2g} m from its place: about which axis, which way round?"
            )
    return None


CHECKS = {"1": how_far, "2": symmetry, "3": two_sticks, "4": straighten}
