"""The folder for a class gives nothing away, is complete, and never overwrites a copy that was written in."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import mocap3d.course.check

ROOT = Path(__file__).resolve().parent.parent
NAMES = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
IN_CODE = re.compile(r'"(\.\./docs[^"]*)"')


def write(folder: Path) -> str:
    command = [sys.executable, "scripts/student.py", "--out", str(folder)]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("student")
    assert write(folder).count(": written") == len(NAMES)
    return folder


@pytest.fixture(params=NAMES, ids=lambda name: name[:2])
def pair(request, folder) -> tuple[nbformat.NotebookNode, nbformat.NotebookNode]:
    """A notebook and its copy, which is a valid one."""
    copy = nbformat.read(folder / "notebooks" / request.param, as_version=4)
    nbformat.validate(copy)
    return nbformat.read(ROOT / "notebooks" / request.param, as_version=4), copy


def test_outputs_and_answers_are_gone_and_the_rest_is_kept(pair):
    original, copy = pair
    assert not any(cell.outputs or cell.execution_count for cell in copy.cells if cell.cell_type == "code")
    text, before = ("\n".join(cell.source for cell in notebook.cells) for notebook in (copy, original))
    assert not re.search(r"<summary>[^<]*(answer|check)", text, re.I)
    answers = re.findall(r"<details><summary>(?:Answer[^<]*)</summary>(.*?)</details>", before, re.S)
    assert not [answer for answer in answers if answer in text]
    assert text.count("*Your answer:*") >= len(answers)
    assert text.count("<summary>Hint</summary>") == before.count("<summary>Hint</summary>")
    kept = {cell.id for cell in original.cells}
    assert [cell.id for cell in copy.cells if cell.id in kept] == [cell.id for cell in original.cells]
    checks = [cell for cell in original.cells if "mocap3d.check(" in cell.source]
    same = [cell.source for cell in original.cells if cell.cell_type == "code" and cell not in checks]
    assert set(same) <= {cell.source.removeprefix(load_student().CLICK + "\n") for cell in copy.cells}


def test_below_each_prediction_there_is_a_cell_to_write_it_in(pair):
    _, copy = pair
    asked = [i for i, cell in enumerate(copy.cells) if cell.cell_type == "markdown" and "**Predict" in cell.source]
    assert asked and all(copy.cells[i + 1].source.startswith("**My prediction:**") for i in asked)
    for i in asked:  # and the code that tests it is folded, up to the next text
        below = takewhile(lambda cell: cell.cell_type == "code", copy.cells[i + 2 :])
        for cell in (cell for cell in below if "nbgrader" not in cell.metadata):
            assert cell.metadata.jupyter.source_hidden and cell.source.startswith("# click here")


def test_only_the_first_paragraph_and_its_list_are_folded_away():
    text = "**What to see.** Three.\n\n- one\n- two\n\nBelow it, what is taught.\n\n## 2. Next"
    cells = [nbformat.v4.new_markdown_cell(text), nbformat.v4.new_code_cell("1")]
    copy = load_student().student_copy(nbformat.v4.new_notebook(cells=cells))
    folded, rest = copy.cells[0].source.split("</details>")
    assert folded.endswith("- one\n- two\n\n") and rest == "\n\nBelow it, what is taught.\n\n## 2. Next"
    assert "jupyter" not in copy.cells[1].metadata


def test_the_folder_is_complete_and_holds_no_answers(folder):
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    assert {"README.md", "Makefile", "scripts/setup.py", "mocap3d/shipped", "LICENSE", ".gitignore"} <= names
    assert not [name for name in names if re.search("TEACHING|solutions|assignments|right_answers|tests|pycache", name)]
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert "make lab" in readme and "make test" not in readme and "](docs" not in readme
    command = [sys.executable, "-m", "mocap3d", "doctor"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0 and "[OK]" in done.stdout


def test_what_to_see_is_folded_and_nothing_else(pair):
    _, copy = pair
    for source in (cell.source for cell in copy.cells if cell.cell_type == "markdown"):
        assert source.count("<details>") == source.count("</details>")
        unfolded = re.sub(r"<details>.*?</details>", "", source, flags=re.S)
        assert not re.search(r"^\*\*What to see", unfolded, re.M)
        folded = "".join(re.findall(r"<details>.*?</details>", source, re.S))
        assert "**Predict" not in folded and "\n#" not in folded


def test_links_and_records_are_inside_the_folder(pair, folder):
    _, copy = pair
    for cell in copy.cells:
        for target in LINK.findall(cell.source) if cell.cell_type == "markdown" else IN_CODE.findall(cell.source):
            assert target.startswith("https://") or (folder / "notebooks" / target).exists(), target


def test_checked_exercises_have_a_cell_for_the_answer_and_a_locked_one_with_points(pair):
    original, copy = pair
    checks = re.findall(r'^mocap3d\.check\("([\d.]+)"', "\n".join(cell.source for cell in original.cells), re.M)
    marked = [cell for cell in copy.cells if "nbgrader" in cell.metadata]
    assert len(marked) == 2 * len(checks)
    stars = dict(re.findall(r"^\*\*(\d) (★+)", "\n".join(cell.source for cell in original.cells), re.M))
    for exercise, answer, points in zip(checks, marked[::2], marked[1::2], strict=True):
        assert answer.metadata.nbgrader.solution and not answer.metadata.nbgrader.grade
        judged = points.metadata.nbgrader
        assert judged.grade and judged.locked and not judged.solution and judged.schema_version == 3
        assert judged.points == len(stars[exercise[-1]]) and f'"{exercise}"' in points.source
    names = [cell.metadata.nbgrader.grade_id for cell in marked]
    assert len(set(names)) == len(names)


def test_cells_with_points_run_and_earn_nothing_before_they_are_answered(folder, monkeypatch):
    """Of one notebook: a missing answer gives 0, a right one its points, and neither stops the notebook."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    copy = nbformat.read(folder / "notebooks" / NAMES[8], as_version=4)
    copy.cells = [cell for cell in copy.cells if "nbgrader" in cell.metadata]
    copy.cells.insert(0, nbformat.v4.new_code_cell("import mocap3d"))
    copy.cells[1].source = copy.cells[1].source.replace("= ...", "= 16_933_888")
    NotebookClient(copy, timeout=60, kernel_name="python3").execute()
    values = [out.data["text/plain"] for cell in copy.cells for out in cell.outputs if "data" in out]
    assert values[0] == "1" and set(values[1:]) == {"0"}


def test_points():
    points = mocap3d.course.check.points
    assert (points("09.2", 1.9 / 1.5, 3), points("09.2", 2.0, 3), points("09.2", ..., 3)) == (3, 0, 0)
    with pytest.raises(ValueError, match="no check"):
        points("09.9", 1, 1)


def test_a_copy_that_was_written_in_is_kept_and_an_untouched_one_replaced(tmp_path):
    write(tmp_path)
    written, untouched, old = (tmp_path / "notebooks" / name for name in NAMES[:3])
    notebook = json.loads(written.read_text(encoding="utf-8"))
    notebook["cells"][2]["source"] = ["my own text"]
    written.write_text(json.dumps(notebook), encoding="utf-8")
    mine = written.read_bytes()
    new = untouched.read_bytes()
    student = load_student()
    older = nbformat.read(old, as_version=4)
    older.cells = older.cells[:-1]  # as if a later version had one cell more
    older.metadata["student_copy"] = student.digest(older)
    nbformat.write(older, old)
    said = write(tmp_path)
    assert "stays" in said.split("\n")[0] and said.count("stays") == 1
    assert written.read_bytes() == mine and untouched.read_bytes() == new
    assert len(nbformat.read(old, as_version=4).cells) == len(older.cells) + 1


def load_student():
    spec = importlib.util.spec_from_file_location("project_student", ROOT / "scripts" / "student.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_git_ignores_the_folder():
    student = load_student()
    assert student.OUT.is_relative_to(ROOT)
    done = subprocess.run(["git", "check-ignore", str(student.OUT)], cwd=ROOT, capture_output=True)
    assert done.returncode in (0, 128) and (done.returncode == 0 or not os.path.exists(ROOT / ".git"))
