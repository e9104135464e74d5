"""Assignments: own numbers for everybody, right answers are right, wrong ones are not, and grading survives."""

from __future__ import annotations

import csv
import runpy
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import nbformat
import numpy as np
import pytest
import torch

import mocap3d

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "notebooks" / "assignments"
ANSWERS = runpy.run_path(str(Path(__file__).with_name("right_answers.py")))["ANSWERS"]
NAMES = ("Ada Lovelace", "Noether")

# part -> what one replaces in the right answers, and by what
WRONG = {
    "1.1": [("@ axes.T", "@ axes"), ("@ axes.T", "@ axes.T * [1, -1, 1]"), ("points - position", "points")],
    "1.2": [("focal *", "focal[0] *"), ("points[..., 2:], np.nan", "points[..., 2:], 1"), ("+ centre", "- centre")],
    "1.3": [
        ("[..., order, :].copy()", ".copy()"),
        ("width - flipped", "-flipped"),
        ("flipped[..., 0] =", "flipped[..., 1] ="),
        ("flipped = pixels[..., order, :].copy()", "pixels[:] = pixels[..., order, :]; flipped = pixels"),
    ],
    "1.4": [("middle - square**0.5, middle", "middle + square**0.5, middle"), ("length**2", "length")],
    "1.5": [("depth = ", "depth = 1000 * "), ("depth = ", "depth = None # ")],
    "2.1": [("np.nanmean", "np.mean"), ("np.linalg.norm(prediction - truth, axis=-1)", "abs(prediction - truth)")],
    "2.2": [("np.sign(np.linalg.det(u @ vt))", "1"), ("(s * d).sum() / (a**2).sum() *", ""), ("np.mean([", "np.max([")],
    "2.3": [('"mirrored"', '"scaled"'), ("< 0.05", "< 1.00"), ('"fine"', "'good'")],
    "2.4": [("grouped(1), grouped(0)", "grouped(0), grouped(1)"), ("means = [", "means = ["[:-1] + "[0] + [")],
    "3.1": [("1 + sum", "sum"), ("(width - 1) * step", "width * step")],
    "3.2": [("int(seen[-1] - seen[0]) + 1", "len(seen)"), ("seen[0]) + 1", "seen[0])")],
    "3.3": [
        ("optimizer.zero_grad()", "pass"),
        ("model.train()", "pass"),
        ("model.eval()", "pass"),
        (".square().mean()", ".abs().mean()"),
        (".square().mean()", ".square().sum()"),
        ("torch.randperm(len(x), generator=generator)", "torch.arange(len(x))"),
        ("torch.randperm(len(x), generator=generator)", "torch.randperm(len(x))"),
        ("torch.randperm(len(x), generator=generator)", "torch.randint(len(x), (len(x),), generator=generator)"),
        ("optimizer.step()", "pass"),
        ("y[rows]", "y[: len(rows)]"),
        ("loss.item()", "loss"),
    ],
    "3.4": [("widths = [task.widest]", "widths = [task.widest] * 9"), ("while np", "while False and np")],
    "3.5": [('mode="edge"', 'mode="reflect"'), ("field // 2, field // 2", "field - 1, 0")],
}  # fmt: skip
TRIALS = [(part, *change) for part, changes in WRONG.items() for change in changes]


@pytest.fixture(scope="module")
def tools() -> dict[str, ModuleType]:
    """The modules checks, make and grade, as their folder's scripts import each other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        import checks
        import grade
        import make
    return {"checks": checks, "make": make, "grade": grade}


def answered(checks: ModuleType, number: int, source: str, seed: int) -> dict[str, str | None]:
    """What is wrong with each part, of answers given as source."""
    task = checks.TASKS[number](seed)
    names = {"np": np, "torch": torch, "mocap3d": mocap3d, "task": task}
    exec(source, names)
    parts = {part: name for part, (name, *_) in checks.CHECKS.items() if part[0] == str(number)}
    return {part: checks.judge(part, names[name], task) for part, name in parts.items()}


@pytest.mark.parametrize("number", ANSWERS)
def test_right_answers_are_right_for_everybody(tools, number):
    for name in ("", *NAMES):
        assert set(answered(tools["checks"], number, ANSWERS[number], tools["checks"].seed_of(name)).values()) == {None}


@pytest.mark.parametrize(("part", "right", "wrong"), TRIALS, ids=[f"{part}-{i}" for i, (part, *_) in enumerate(TRIALS)])
def test_a_mistake_is_noticed_in_its_part_and_its_dependants_only(tools, part, right, wrong):
    number = int(part[0])
    before = ANSWERS[number]
    assert right in before
    start = before.index(right) if part != "2.2" or right != "np.mean([" else before.index("return np.mean([mpjpe")
    source = before[:start] + before[start:].replace(right, wrong, 1)
    said = answered(tools["checks"], number, source, 7)
    assert said[part] and {other for other, what in said.items() if what} <= {part, "2.2", "2.3"}


def test_an_answer_that_is_missing_raises_or_is_of_another_kind(tools):
    checks = tools["checks"]
    for number, make_task in checks.TASKS.items():
        task = make_task(3)
        for part in (part for part in checks.CHECKS if part[0] == str(number)):
            assert checks.judge(part, ..., task) == "not answered"
            for answer in (None, "x", lambda *_, **__: None, lambda *_, **__: 1 / 0, lambda: 0):
                assert checks.judge(part, answer, task)


def test_numbers_differ_from_student_to_student_and_from_course_to_course(tools):
    checks = tools["checks"]
    seeds = {checks.seed_of(name, course) for name in NAMES for course in ("", "2027")}
    assert len(seeds) == 4 and checks.seed_of(NAMES[0]) == checks.seed_of(NAMES[0], "")
    assert len({checks.person(seed).bone * checks.person(seed).pixels for seed in seeds}) == 4
    assert len({str(checks.results(seed).table) for seed in seeds}) == 4
    assert checks.seed_of("Jos\u00e9") == checks.seed_of("Jose\u0301")  # composed or not


def test_points_add_up_to_ten_each_and_parts_stand_in_their_notebooks(tools):
    checks = tools["checks"]
    for number, name in checks.NOTEBOOKS.items():
        text = "\n".join(cell.source for cell in nbformat.read(FOLDER / name, as_version=4).cells)
        parts = {part: entry for part, entry in checks.CHECKS.items() if part[0] == str(number)}
        assert sum(points for _, points, _ in parts.values()) == 10
        for part, (answer, points, _) in parts.items():
            assert f'check("{part}", {answer})' in text
            assert f"## {part} " in text and f"({points} point{'s' * (points > 1)})" in text
        assert tools["make"].BLANK in text


def test_make_fills_in_name_and_seed_and_never_overwrites(tools, tmp_path):
    make, checks = tools["make"], tools["checks"]
    folder = make.make(NAMES[0], tmp_path)
    files = {path.name for path in folder.iterdir()}
    assert folder.name == NAMES[0] and files == {"checks.py", *checks.NOTEBOOKS.values()}
    for name in checks.NOTEBOOKS.values():
        notebook = nbformat.read(folder / name, as_version=4)
        nbformat.validate(notebook)
        assert f'STUDENT, SEED = "{NAMES[0]}", {checks.seed_of(NAMES[0])}' in notebook.cells[2 - 1].source
        assert not any(cell.get("outputs") for cell in notebook.cells)
    with pytest.raises(FileExistsError):
        make.make(NAMES[0], tmp_path)
    for name in ("", "a/b", "..", 'x"y', "a\nb"):
        with pytest.raises(ValueError, match="no name of a folder"):
            make.make(name, tmp_path)


def test_a_list_of_names(tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("Ada\n\n  Émilie du Châtelet \n", encoding="utf-8")
    command = [sys.executable, str(FOLDER / "make.py"), "--list", str(names), "--out", str(tmp_path / "out")]
    subprocess.run([*command, "--only", "1"], check=True, cwd=ROOT)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"Ada", "Émilie du Châtelet"}
    assert [path.name[0] for path in (tmp_path / "out").rglob("*.ipynb")] == ["1", "1"]
    names.write_text("Ada\nEmmy\n", encoding="utf-8")  # a latecomer
    (tmp_path / "out" / "Ada" / "checks.py").write_text("# mine", encoding="utf-8")
    said = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True).stdout
    assert "Ada: exists, left as it is" in said and len(list((tmp_path / "out" / "Emmy").iterdir())) == 4
    assert (tmp_path / "out" / "Ada" / "checks.py").read_text(encoding="utf-8") == "# mine"


def test_folders_are_found_as_zips_unpack_them(tools, tmp_path):
    name = tools["checks"].NOTEBOOKS[1]
    for path in ("Ada", "B_123_file/Bo", "Cy/Cy", "__MACOSX/Ada", "Cy/__MACOSX", "Eve/runs"):
        (tmp_path / path).mkdir(parents=True, exist_ok=True)
    for path in ("Ada", "B_123_file/Bo", "Cy/Cy", "Eve"):
        (tmp_path / path / name).touch()
    (tmp_path / "Nobody").mkdir()
    found = tools["grade"].handed_in(tmp_path)
    assert [path.name for path in found] == ["Ada", "Bo", "Cy", "Eve", "Nobody"]


def test_only_what_was_handed_out_is_graded(tools, tmp_path):
    (tmp_path / "Ada").mkdir()
    (row,) = tools["grade"].grade_all(tmp_path, only=[1])
    assert list(row) == ["student", "1.1", "1.2", "1.3", "1.4", "1.5", "total", "notes"]
    assert row["notes"] == f"{tools['checks'].NOTEBOOKS[1]}: not handed in"


# Grading, in processes


def hand_in(tools, out: Path, student: str, number: int, source: str, split: str | None = None) -> Path:
    """A student's folder in which the cell before the last of one notebook is the source; split: a cell after it."""
    folder = tools["make"].make(student, out)
    path = folder / tools["checks"].NOTEBOOKS[number]
    notebook = nbformat.read(path, as_version=4)
    names = [name for name, *_ in tools["checks"].CHECKS.values()]
    kept = [cell for cell in notebook.cells if not any(f"def {name}(" in cell.source for name in names)]
    kept = [cell for cell in kept if not any(f"\n{name} = ..." in f"\n{cell.source}" for name in names)]
    added = [nbformat.v4.new_code_cell(text) for text in (source, split) if text]
    notebook.cells = [*kept, *added, nbformat.v4.new_code_cell('check("1.1", ...)')]
    nbformat.write(notebook, path)
    for other in set(tools["checks"].NOTEBOOKS.values()) - {path.name}:
        (folder / other).unlink()
    return folder


def marks(result: dict) -> list[int]:
    return list(result["marks"].values())


extended = pytest.mark.extended


@extended
@pytest.mark.parametrize("number", ANSWERS)
def test_a_right_submission_earns_all_points(tools, tmp_path, number):
    result = tools["grade"].grade(hand_in(tools, tmp_path, NAMES[0], number, ANSWERS[number]), number)
    assert sum(marks(result)) == 10 and result["notes"] == []


@extended
def test_wrong_results_and_errors_cost_their_part_only(tools, tmp_path):
    source = ANSWERS[2].replace("np.sign(np.linalg.det(u @ vt))", "1")  # mirrors
    source = source.replace('return "shuffled"', "1 / 0").replace('else "shuffled"', "else 1 / 0")
    folder = hand_in(tools, tmp_path, NAMES[0], 2, source, "this is no Python\n")
    result = tools["grade"].grade(folder, 2)
    assert marks(result) == [2, 0, 0, 1]
    notes = "; ".join(result["notes"])
    assert "raised SyntaxError" in notes and "2.2: metres, mirrored" in notes and "ZeroDivisionError" in notes


@extended
def test_the_numbers_of_somebody_else_earn_nothing(tools, tmp_path):
    folder = hand_in(tools, tmp_path, NAMES[0], 2, ANSWERS[2])
    path = folder / tools["checks"].NOTEBOOKS[2]
    theirs = path.read_text(encoding="utf-8").replace(str(tools["checks"].seed_of(NAMES[0])), "12345")
    path.write_text(theirs, encoding="utf-8")
    result = tools["grade"].grade(folder, 2)
    assert marks(result) == [2, 3, 4, 0] and "SEED was changed" in result["notes"][0]


@extended
@pytest.mark.parametrize(
    "end", ["import os; os._exit(3)", "import ctypes; ctypes.string_at(0)", "raise SystemExit", "1 / 0"]
)
def test_a_crash_is_survived(tools, tmp_path, end):
    result = tools["grade"].grade(hand_in(tools, tmp_path, NAMES[0], 3, ANSWERS[3], end), 3)
    notes = "; ".join(result["notes"])
    if "os" in end or "ctypes" in end:
        assert sum(marks(result)) == 0 and "ended with status" in notes and "3.1: the notebook ended" in notes
    else:
        assert sum(marks(result)) == 10 and "code cell 3 raised" in notes


@extended
def test_an_endless_loop_is_survived_and_costs_its_part_only(tools, tmp_path):
    source = ANSWERS[3].replace("    model.eval()\n", "    while True: pass\n")
    folder = hand_in(tools, tmp_path, NAMES[0], 3, source, "while True:\n    pass")
    result = tools["grade"].grade(folder, 3, seconds=16, clock=30)
    notes = "; ".join(result["notes"])
    assert marks(result) == [2, 2, 0, 1, 1], notes
    assert "ran for more than 4 s" in notes and "3.3: it took more than 4 s" in notes


@extended
@pytest.mark.parametrize("wait", ["while True: pass", "import time; time.sleep(10**6)"])
def test_what_no_alarm_interrupts_is_ended_from_outside(tools, tmp_path, wait):
    stubborn = f"import signal; signal.setitimer(signal.ITIMER_PROF, 0)\n{wait}"
    folder = hand_in(tools, tmp_path, NAMES[0], 1, ANSWERS[1], stubborn)
    result = tools["grade"].grade(folder, 1, seconds=5, clock=2 if "sleep" in wait else 30)
    assert sum(marks(result)) == 0
    assert "ended with status" in result["notes"][0] or "stopped, it ran for more than 10 s" in result["notes"][0]


@extended
@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux only")
def test_much_memory_is_refused(tools, tmp_path):
    source = ANSWERS[1].replace("ray = ray / ", "np.ones(10**10)\n    ray = ray / ")
    folder = hand_in(tools, tmp_path, NAMES[0], 1, source, "much = [np.ones(10**6) for _ in range(10**4)]")
    result = tools["grade"].grade(folder, 1, memory=500)
    assert marks(result) == [2, 2, 2, 0, 1]
    notes = "; ".join(result["notes"])
    assert "MemoryError" in notes and "1.4: it raised" in notes


@extended
def test_an_edited_check_is_noted_and_changes_no_mark(tools, tmp_path):
    cheat = "import checks\nchecks.near = checks.differs = lambda *_, **__: None\ncheck = lambda *_: print('right')"
    wrong = ANSWERS[1].replace("points - position", "points")
    folder = hand_in(tools, tmp_path, NAMES[0], 1, wrong, cheat)
    copy = folder / "checks.py"
    copy.write_text(copy.read_text(encoding="utf-8").replace("if wrong:", "if False:"), encoding="utf-8")
    with copy.open("a", encoding="utf-8") as file:
        file.write("\n\ndef judge(*_):\n    return None\n")
    (tmp_path / "Nobody").mkdir()
    broken = tmp_path / "Zoe"
    broken.mkdir()
    (broken / tools["checks"].NOTEBOOKS[2]).write_text("{", encoding="utf-8")
    table = tmp_path / "marks.csv"
    command = [sys.executable, str(FOLDER / "grade.py"), str(tmp_path), "--out", str(table)]
    subprocess.run(command, check=True, cwd=ROOT)
    with table.open(encoding="utf-8-sig") as file:
        ada, nobody, zoe = csv.DictReader(file)
    assert ada["student"] == NAMES[0] and ada["1.1"] == "0" and ada["1.2"] == "2" and ada["total"] == "8"
    assert "checks.py was edited" in ada["notes"] and "checks were changed while it ran" in ada["notes"]
    assert nobody["total"] == "0" and nobody["notes"].count("not handed in") == 3
    assert zoe["total"] == "0" and "no notebook can be read" in zoe["notes"]


def test_grading_says_that_it_does_not_isolate(tools):
    said = tools["grade"].__doc__
    assert "does NOT isolate hostile code" in said and "container" in said
    assert "--network none" in (ROOT / "docs" / "TEACHING.md").read_text(encoding="utf-8")
