"""Every notebook has one format: what a reader finds where, how long it may be, and that its links lead somewhere."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
WORDS, LINES = 4000, 350
EXERCISE = re.compile(r"^\*\*(\d) (★{1,3}) \((\d+|an|two) (?:minutes?|hours?)\) .+?[.?!]\*\* .+", re.M)
CHECK = re.compile(r'^mocap3d\.check\("(\d\d\.\d)", \.\.\.\)', re.M)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@cache
def cells(path: Path) -> list[tuple[str, str]]:
    """(kind, source) of each cell."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return [(cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]]


def prose(path: Path) -> str:
    return "\n\n".join(source for kind, source in cells(path) if kind == "markdown")


@every_notebook
def test_it_fits_into_an_hour(path):
    assert len(prose(path).split()) <= WORDS
    code = "\n".join(source for kind, source in cells(path) if kind == "code")
    assert sum(1 for line in code.split("\n") if line.strip()) <= LINES


@every_notebook
def test_the_title_is_a_question_and_a_box_says_what_to_expect(path):
    (_, title), (_, box) = cells(path)[:2]
    assert re.match(rf"# {path.stem[:2]} · .+\?\n\n\S", title)
    assert all(line.startswith(">") for line in box.strip().split("\n"))
    assert box.startswith("> **When you have finished you can**\n")
    assert 3 <= len(re.findall(r"^> \d\. ", box, re.M)) <= 5
    for what in (r"\*\*Time\*\* .+ to read", "on two cores", "GPU", r"\*\*Trains\*\* ", r"\*\*Data\*\* ",
                 r"\*\*You need\*\* ", rf"\*\*You are here:\*\* .*\*\*[^*]+\({path.stem[:2]}\)\*\*"):  # fmt: skip
        assert re.search(what, box), f"the box does not say: {what}"
    number = int(path.stem[:2])
    assert number == 0 or re.search(r"\*\*You need\*\* .*\]\(\d\d_", box), "prerequisites are links"


@every_notebook
def test_questions_come_before_what_answers_them(path):
    text = prose(path)
    assert text.count("**Predict") >= 2 and text.count("**What to see") >= 2
    assert len(re.findall("<summary>Answer</summary>", text)) >= 3, "checkpoint questions with folded answers"


@every_notebook
def test_each_exercise_has_minutes_stars_and_a_cell_that_checks_the_answer(path):
    found = [(i, match) for i, (_, source) in enumerate(cells(path)) for match in EXERCISE.finditer(source)]
    assert [match[1] for _, match in found] == [str(n) for n in range(1, len(found) + 1)] and len(found) >= 3
    checked = 0
    for i, match in found:
        kind, source = cells(path)[i + 1]
        assert kind == "code", f"exercise {match[1]} has no cell for the answer"
        names = CHECK.findall(source)
        assert not names or names == [f"{path.stem[:2]}.{match[1]}"]
        assert names or source.strip().startswith("# "), "a cell without a check says what to look at instead"
        checked += len(names)
    assert checked >= 2, "at least two exercises can be checked"


@every_notebook
def test_it_ends_with_summary_limits_sources_and_links_to_its_neighbours(path):
    end = prose(path)[prose(path).index("## Summary") :]
    assert "**Limits.**" in end and "**Sources.**" in end
    at = NOTEBOOKS.index(path)
    for word, neighbour in (("Before", at - 1), ("Next", at + 1)):
        if 0 <= neighbour < len(NOTEBOOKS):
            assert re.search(rf"\*\*{word}:\*\* \[[^\]]+\?\]\({NOTEBOOKS[neighbour].name}\)", end)


@every_notebook
def test_links_lead_somewhere(path):
    for target in LINK.findall(prose(path)):
        assert target.startswith("https://") or (path.parent / target).exists(), target


@every_notebook
def test_one_line_chooses_the_data(path):
    code = "\n".join(source for kind, source in cells(path) if kind == "code")
    assert code.count("mocap3d.choose_data()") <= 1 and "MOCAP3D_DATA" not in code
