"""Checks of the exercises of notebook 04; each returns what is wrong, or None."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mocap3d.course.check import near
from mocap3d.data.loading import load_dataset


def fields(answer: object) -> str | None:
    """(receptive_field, dilations), both functions of the filter widths."""
    receptive_field, dilations = answer
    for widths in ((3, 5, 3), (1, 1), (3, 3, 3, 3, 3), (7,)):
        seen, step = 1, []
        for width in widths:
            step.append(seen)
            seen *= width
        if (said := receptive_field(widths)) != seen:
            return f"receptive_field({widths}) is {said}: with how many frames does one output of each level begin?"
        if (said := list(dilations(widths))) != step:
            return f"dilations({widths}) is {said}: how far apart must inputs lie so that none is seen twice?"
    return None


def scaling(answer: object) -> str | None:
    """MPJPE in mm of the network trained with normalise="root", on built-in motion at the laptop's size."""
    return near(answer, 63.0, 6.0, "mm MPJPE from true 2D, built-in motion, laptop profile")


def scenes(answer: object) -> str | None:
    """find_cuts(pose2d) -> frames at which a new scene starts."""
    walks = load_dataset("synthetic", subjects=["S9", "S11"], actions=["WalkDog"], seconds=3)
    first, second = (clip.pose2d for clip in walks.select(camera="55011271"))
    jumping = first.points.copy()
    jumping[40:45, 16] += 300  # px, one wrist
    videos = {"cut once": ([first.points[:60], second.points[60:]], [60]), "without a cut": ([second.points], [])}
    videos["cut twice"] = ([first.points[:40], second.points[40:90], first.points[90:]], [40, 90])
    videos["without a cut, in which a wrist jumps"] = ([jumping], [])
    for what, (parts, cuts) in videos.items():
        found = [int(frame) for frame in answer(replace(first, points=np.concatenate(parts)))]
        if found != cuts:
            return f"in a video {what} it finds {found}; a new scene starts at {cuts}"
    return None


CHECKS = {"1": fields, "2": scaling, "4": scenes}
