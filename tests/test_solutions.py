"""Solutions answer each exercise of their lesson, and were executed; `make test-all` runs them with nbval."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SOLUTIONS = sorted((ROOT / "notebooks" / "solutions").glob("*.ipynb"))
EXERCISE = re.compile(r"^\*\*(\d) (★{1,3}) (?:\([^)]*\) )?(.+?[.?!])\*\*", re.M)
CHECK = re.compile(r'mocap3d\.check\("(\d\d\.\d)"')

every_solution = pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem[:2])


def cells(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def text(path: Path, kind: str) -> str:
    return "\n\n".join("".join(cell["source"]) for cell in cells(path) if cell["cell_type"] == kind)


def printed(cell: dict) -> str:
    return "".join("".join(output.get("text", "")) for output in cell["outputs"])


def test_each_lesson_has_solutions():
    assert [path.name for path in SOLUTIONS] == [path.name for path in LESSONS]


@every_solution
def test_each_exercise_is_answered_under_its_title(path):
    lesson = ROOT / "notebooks" / path.name
    asked = EXERCISE.findall(text(lesson, "markdown"))
    answered = EXERCISE.findall(text(path, "markdown"))
    assert asked == answered
    assert f"](../{path.name})" in text(path, "markdown")


@every_solution
def test_each_check_said_right_when_it_was_stored(path):
    asked = CHECK.findall(text(ROOT / "notebooks" / path.name, "code"))
    said = {}
    for cell in (cell for cell in cells(path) if cell["cell_type"] == "code"):
        assert cell["execution_count"] and not any(output["output_type"] == "error" for output in cell["outputs"])
        for exercise in CHECK.findall("".join(cell["source"])):
            said[exercise] = f"{exercise}: right" in printed(cell)
            # answers that need no training are compared by nbval, at every profile
            assert "tags" in cell["metadata"]
    assert said == dict.fromkeys(asked, True)


@every_solution
def test_cells_that_are_run_from_the_lesson_exist(path):
    ids = {cell["id"] for cell in cells(ROOT / "notebooks" / path.name)}
    for call in re.findall(r"^lesson\(([^)]+)\)", text(path, "code"), re.M):
        name, *named = re.findall(r'"([^"]+)"', call)
        assert name == path.stem and set(named) <= ids


def test_most_answers_are_compared_by_nbval():
    compared = [
        cell
        for path in SOLUTIONS
        for cell in cells(path)
        if "nbval-check-output" in cell["metadata"].get("tags", []) and CHECK.search("".join(cell["source"]))
    ]
    assert len(compared) >= 2 * len(SOLUTIONS)


def test_what_is_printed_in_solutions_is_small():
    assert all(path.stat().st_size < 100_000 for path in SOLUTIONS)
