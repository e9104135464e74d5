"""Checks of the exercises of notebook 04; each returns what is wrong, or None."""

from __future__ import annotations

from mocap3d.course.check import near


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


CHECKS = {"1": fields, "2": scaling}
