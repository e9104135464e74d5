"""Checks of exercises: `check("04.1", answer)` says what is wrong with an answer, and does not give it away."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from numbers import Real
from pathlib import Path

from mocap3d.arguments import check_arguments

NOTEBOOKS = tuple(sorted(path.stem[2:] for path in Path(__file__).parent.glob("nb??.py")))


def check(exercise: str, answer: object = ...) -> None:
    """Print whether an answer to an exercise is right and, if not, what is wrong with it.

    Args:
        exercise: notebook and number, such as "04.1".
        answer: what the exercise asks for: a number, an array, a function. `...`, as the cell stands at first, is not
            answered yet.
    Raises:
        ValueError: for an exercise that does not exist or has no check.
    Source: own; the checks of notebook NN stand in mocap3d/course/nbNN.py.
    """
    check_arguments(check, locals())
    if answer is ...:
        _checks(exercise)
        print(f"{exercise}: not answered yet; put your answer in place of the three dots")
        return
    said = _wrong(exercise, answer)
    print(f"{exercise}: right" if said is None else f"{exercise}: not yet. {said}")


def points(exercise: str, answer: object, most: float) -> float:
    """What an answer earns: all points if it is right, else 0, also where it is missing.

    Args:
        exercise, answer: as for `check`.
        most: points of the exercise.
    Raises:
        ValueError: for an exercise that does not exist or has no check.
    Source: own; nbgrader takes the value of a cell for its points.
    """
    return most if _wrong(exercise, answer) is None else 0


def near(answer: object, expected: float, tolerance: float, what: str) -> str | None:
    """What is wrong with a number: nothing if it lies within the tolerance of the expected one."""
    if isinstance(answer, bool) or not isinstance(answer, Real):  # numpy's numbers are Real, too
        return f"{what}: give one number, not {type(answer).__name__}"
    if not abs(answer - expected) <= tolerance:  # NaN is not near anything
        return f"{what}: {answer:.6g} is too {'large' if answer > expected else 'small'}"
    return None


def _wrong(exercise: str, answer: object) -> str | None:
    """What is wrong with an answer, or None."""
    wrong = _checks(exercise)
    try:
        return wrong(answer)
    except Exception as error:  # whatever an answer raises is what is wrong with it
        return f"it raised {type(error).__name__}: {error}"


def _checks(exercise: str) -> Callable[[object], str | None]:
    number, _, which = str(exercise).partition(".")
    if number not in NOTEBOOKS:
        raise ValueError(f"exercise is {exercise!r}: give notebook and number, such as '04.1'")
    checks = importlib.import_module(f"mocap3d.course.nb{number}").CHECKS
    if which not in checks:
        raise ValueError(f"no check {exercise!r}; notebook {number} has {', '.join(f'{number}.{n}' for n in checks)}")
    return checks[which]
