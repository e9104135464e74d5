"""`check` says "right" only of right answers, says what is wrong, and never raises for an answer."""

from __future__ import annotations

import importlib
import runpy
from pathlib import Path

import pytest

import mocap3d
from mocap3d.course.check import NOTEBOOKS

# exercise -> right answers, and wrong ones; those of notebook NN stand in nbNN.py beside this file
ANSWERS = {}
for number in NOTEBOOKS:
    ANSWERS |= runpy.run_path(str(Path(__file__).with_name(f"nb{number}.py")))["ANSWERS"]


def said(capsys, exercise: str, answer: object = ...) -> str:
    assert mocap3d.check(exercise, answer) is None
    return capsys.readouterr().out.strip()


@pytest.mark.parametrize("exercise", ANSWERS)
def test_right_answers_are_right_and_wrong_ones_are_told_why(capsys, exercise):
    right, wrong = ANSWERS[exercise]
    for answer in right:
        assert said(capsys, exercise, answer) == f"{exercise}: right"
    for answer in wrong:
        line = said(capsys, exercise, answer)
        assert line.startswith(f"{exercise}: not yet. ") and len(line) > len(exercise) + 20
    assert "not answered yet" in said(capsys, exercise)


def test_every_check_is_tried_here():
    assert set(ANSWERS) == {
        f"{number}.{which}"
        for number in NOTEBOOKS
        for which in importlib.import_module(f"mocap3d.course.nb{number}").CHECKS
    }


@pytest.mark.parametrize("exercise", ["04.99", "99.1", "", "4"])
def test_an_exercise_that_does_not_exist(exercise):
    with pytest.raises(ValueError, match="exercise|no check"):
        mocap3d.check(exercise, 1)
