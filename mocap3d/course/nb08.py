"""Checks of the exercises of notebook 08; each returns what is wrong, or None."""

from __future__ import annotations

import numpy as np

from mocap3d.course.check import near


def work(answer: object) -> str | None:
    """Multiply-adds of VideoPose3D-243 for one pose of an endless video: each weight once."""
    exact = 2 * 17 * 3 * 1024 + 4 * (3 * 1024**2 + 1024**2) + 1024 * 3 * 17
    return near(answer, exact, 0.02 * exact, "multiply-adds a pose")


def averages(answer: object) -> str | None:
    """A function of errors (F,) and actions (F,): the mean over frames, and the mean over actions."""
    for errors, actions in (([10, 20, 60], "aab"), ([1, 2, 3, 4], "wwww"), ([5, 7, 9, 50, 4], "zyzxy")):
        errors, actions = np.array(errors, dtype=float), np.array(list(actions))
        said = [float(value) for value in answer(errors, actions)]
        by_action = [errors[actions == action].mean() for action in set(actions.tolist())]
        for value, expected, what in zip(said, (errors.mean(), np.mean(by_action)), ("frames", "actions"), strict=True):
            if wrong := near(value, float(expected), 1e-6, f"mean over {what} of {errors} with actions {actions}"):
                return wrong
    return None


CHECKS = {"1": work, "2": averages}
