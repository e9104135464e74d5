"""Checks of the exercises of notebook 00; each returns what is wrong, or None."""

from __future__ import annotations

import numpy as np

from mocap3d import metrics
from mocap3d.camera import Camera
from mocap3d.course.check import near
from mocap3d.data.synthetic import synthesize


def lost(answer: object) -> str | None:
    """How many numbers the projection of the whole walk throws away."""
    frames, joints, _ = synthesize("S9", "Walking", seconds=4).points.shape
    return near(answer, frames * joints, 0, "numbers, in all frames together")


def stand_back(answer: object) -> str | None:
    """Metres to add to y so that the phone sees every joint in every frame."""
    walk, phone = synthesize("S9", "Walking", seconds=4).points, Camera.phone(fov_degrees=70)
    tenths = range(100)
    inside = (phone.project(phone.world_to_camera(walk + [0, tenth / 10, 0])) for tenth in tenths)
    size = [phone.width, phone.height]
    first = next(i for i, pixels in zip(tenths, inside, strict=True) if ((0 <= pixels) & (pixels <= size)).all())
    return near(answer, first / 10, 0.051, "metres")


def share(answer: object) -> str | None:
    """pck(prediction, truth), (T, J, 3) metres each -> percent of joints within 150 mm, both relative to the root."""
    truth = np.random.default_rng(0).normal(0, 0.3, (20, 17, 3))
    off = np.random.default_rng(1).normal(0, 0.1, truth.shape)
    cases = {"a perfect prediction": truth, "a perfect one that is 1 m too far away": truth + [0, 0, 1]}
    for what, guess in (cases | {"a noisy prediction": truth + off, "a body of half the size": truth / 2}).items():
        expected = 100 * float(metrics.pck(guess - guess[:, :1], truth - truth[:, :1]))
        if wrong := near(answer(guess.copy(), truth.copy()), expected, 1e-6, f"percent, for {what}"):
            return wrong
    return None


CHECKS = {"1": lost, "3": stand_back, "4": share}
