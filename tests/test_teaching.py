"""The instructor's guide adds up: sessions of 90 minutes, sections, exercises and files that exist."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
GUIDE = (ROOT / "docs" / "TEACHING.md").read_text(encoding="utf-8")
BRIEF = (ROOT / "notebooks" / "assignments" / "PROJECT.md").read_text(encoding="utf-8")
OLD = {"05", "10"}  # lessons that came last
ROW = re.compile(r"^\| (\d[ab]|lab|) ?\| (\d+) \| (.+?) \|", re.M)


@cache
def prose(number: str) -> str:
    (path,) = (ROOT / "notebooks").glob(f"{number}_*.ipynb")
    cells = nbformat.read(path, as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def test_each_session_has_ninety_minutes():
    sessions = []
    for name, minutes, what in ROW.findall(GUIDE):
        if name:
            sessions.append([name, 0])
        sessions[-1][1] += int(minutes)
        if name == "lab":
            assert sum(int(part) for part in re.findall(r"\((\d+)\)", what)) == 90
    assert sessions == [[name, 90] for name in ("1a", "1b", "lab", "2a", "2b", "lab", "3a", "3b", "lab")]


def test_sections_exist():
    named = re.findall(r"^\| (\d\d), (\d+)(?: to (\d+))? \|", GUIDE, re.M)  # of the table of predictions
    for name, minutes, what in ROW.findall(GUIDE):
        for number, rest in re.findall(r"\b(\d\d), ([\d, toand]+)", what) if name != "lab" and minutes else ():
            named += [(number, section, "") for section in re.findall(r"\d+", rest)]
    assert len(named) > 50
    for number, *sections in named:
        for section in filter(None, sections):
            assert number in OLD or f"\n## {section}. " in prose(number), f"{number} has no section {section}"


def test_exercises_exist():
    named = re.findall(r"\b(\d\d)\.(\d)\b", " ".join(what for name, _, what in ROW.findall(GUIDE) if name == "lab"))
    assert len(named) >= 12
    for number, exercise in named:
        assert number in OLD or re.search(rf"^\*\*{exercise} ★", prose(number), re.M), f"{number}.{exercise}"


def test_there_is_a_line_of_misconceptions_for_each_notebook():
    part = GUIDE[GUIDE.index("### Misconceptions") : GUIDE.index("## Assignments")]
    numbers = {path.stem[:2] for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert numbers <= set(re.findall(r"^- \*\*(\d\d)\*\* ", part, re.M))


@pytest.mark.parametrize(("text", "folder"), [(GUIDE, "docs"), (BRIEF, "notebooks/assignments")])
def test_links_lead_somewhere(text, folder):
    headings = {
        re.sub(r"[^\w -]", "", h).strip().lower().replace(" ", "-") for h in re.findall(r"^#+ (.+)", text, re.M)
    }
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)]*))?\)", text):
        assert target.startswith("https://") or (ROOT / folder / target).exists(), target
        assert target or anchor in headings, anchor


def test_the_environment_check_works(capsys):
    (code,) = re.findall(r"```python\n(.+?)```", GUIDE, re.S)
    exec(code, {})
    assert "[OK]" in capsys.readouterr().out


def test_the_rubric_adds_up():
    table = re.findall(r"^\| \*\*(.+?)\*\* \|", BRIEF, re.M)
    assert f"Rubric ({6 * len(table)} points)" in BRIEF and f"| {6 * len(table)} | two weeks later" in GUIDE
