"""Checks of the exercises of notebook 05; each returns what is wrong, or None."""

from __future__ import annotations

import math

import numpy as np

from mocap3d.course.check import near
from mocap3d.data.loading import load_dataset
from mocap3d.skeleton import ROOT


def by_hand(answer: object) -> str | None:
    """(trajectory loss, px of the projection, metres at which the person is placed)."""
    trajectory, px, metres = answer
    focal = [1 / math.tan(math.radians(degrees / 2)) for degrees in (70, 50)]
    return (
        near(trajectory, math.hypot(0.6, 0.8) / 6, 0.001, "the trajectory loss")
        or near(px, 500 * (2 * 1 / 4 - 2 * 1 / 5), 0.1, "the distance in px")
        or near(metres, 4 * focal[1] / focal[0], 0.05, "metres at which the person is placed")
    )


def placed(answer: object) -> str | None:
    """place(pose, points2d, focal) -> roots."""
    (clip, *_) = load_dataset("synthetic", subjects=["S9"], actions=["Walking"], seconds=1)
    body = clip.pose3d.points.astype(np.float64)  # (T, 17, 3)
    root = body[:, ROOT]
    for focal in (2.3, 1.2):
        seen = focal * body[..., :2] / body[..., 2:]
        for size in (1.0, 1.2):
            found = np.asarray(answer(size * (body - root[:, None]), seen, focal))
            if found.shape != root.shape:
                return f"it returns shape {found.shape}; one root for each of {len(root)} frames is {root.shape}"
            gap = 1000 * np.linalg.norm(found - size * root, axis=-1).max()
            if not gap < 5:
                who = "a true pose" if size == 1 else "a pose 20 % too large, with the 2D of the true one,"
                return f"{who} is placed up to {gap:.0f} mm from where it projects onto its 2D (focal length {focal})"
    return None


CHECKS = {"1": by_hand, "2": placed}
