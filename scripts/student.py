"""Write the folder for a class: the course without outputs and answers. In it, `make lab` opens the first notebook.

    python scripts/student.py               into build/student/, which git ignores: a pull never meets a student's work
    python scripts/student.py --out FOLDER  elsewhere, such as a folder to hand out

In the copy of a notebook, outputs are cleared; below each "Predict" there is a cell to write the prediction in, and the
code that tests it is folded; folded answers are replaced by a line for one's own; "What to see" is folded, with its
list. Exercises that `mocap3d.check` judges carry the metadata of nbgrader: a cell for the answer, and a locked one that
gives points (one a star). With the notebooks go the library, what installs it, and docs/, which the notebooks link to
and read records in; tests, solutions, assignments and the instructor's guide stay behind. Written again, copies are
replaced by newer ones, but never a copy that a student has written in.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "build" / "student"
FOR_STUDENTS = ("mocap3d", "data_scripts", "docs", "scripts/setup.py", "scripts/unmodified.py", "Makefile", "LICENSE")
FOR_STUDENTS += ("pyproject.toml", "constraints.txt", "environment.yml", "CITATION.cff", ".gitignore", ".gitattributes")
NOT_FOR_STUDENTS = ("TEACHING.md", "__pycache__", ".ipynb_checkpoints")  # in these folders
ANSWER = re.compile(r"<details>\s*<summary>[^<]*(?:answer|check)[^<]*</summary>.*?</details>", re.I | re.S)
STARS = re.compile(r"^\*\*(\d) (★+)", re.M)
CHECK = re.compile(r'^mocap3d\.check\("(\d\d)\.(\d)", \.\.\.\)(.*)$', re.M)
SEE = re.compile(r"^\*\*What to see\b.*?(?=\n\n(?!- )|\Z)", re.M | re.S)  # a paragraph, and the list below it
FOLDED = "<details><summary>Open when you have run the cell above</summary>\n\n{}\n\n</details>"
PREDICTION = "**My prediction:** *double-click here, write it down, then run the next cell.*"
CLICK = "# click here to see the code"  # JupyterLab shows the first line of a folded cell


def student_copy(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A notebook for students, made of an executed one.

    Args:
        notebook: in the format that tests/test_notebooks.py describes; it is left as it is.
    Returns:
        The copy; `written_in` can tell later whether somebody has changed it.
    """
    copy = nbformat.from_dict({**notebook, "metadata": dict(notebook.metadata), "cells": []})
    stars, predicted = {}, False
    for cell in notebook.cells:
        if cell.cell_type == "code":
            plain = code(cell.source, cell.id, cell.metadata)
            copy.cells += exercise(cell, stars) or [folded(plain) if predicted else plain]
            continue
        stars |= {number: len(marks) for number, marks in STARS.findall(cell.source)}
        source = ANSWER.sub("*Your answer:*", cell.source)
        source = SEE.sub(lambda seen: FOLDED.format(seen[0].strip()), source).rstrip()
        copy.cells.append(new_markdown_cell(source, id=cell.id, metadata=cell.metadata))
        if predicted := "**Predict" in source:
            copy.cells.append(new_markdown_cell(PREDICTION, id=f"{cell.id}-mine"[-64:]))
    copy.metadata["student_copy"] = digest(copy)
    return copy


def exercise(cell: nbformat.NotebookNode, stars: dict[str, int]) -> list[nbformat.NotebookNode] | None:
    """The cell for an answer and the locked cell with its points; None for a cell without a check."""
    found = CHECK.search(cell.source)
    if not found:
        return None
    notebook, number, comment = found.groups()
    name, answer, points = f"{notebook}.{number}", f"answer_{notebook}_{number}", stars[number]
    asked = CHECK.sub(f'{answer} = ...{comment}\nmocap3d.check("{name}", {answer})', cell.source)
    judged = f'mocap3d.course.check.points("{name}", {answer}, {points})  # of {points}'
    solution = graded(f"exercise-{notebook}-{number}", solution=True)
    points_cell = graded(f"points-{notebook}-{number}", grade=True, locked=True, points=points)
    return [code(asked, cell.id, cell.metadata | solution), code(judged, f"{cell.id}-points"[-64:], points_cell)]


def graded(name: str, **flags: object) -> dict:
    """Metadata of a cell, as nbgrader reads it (its schema 3)."""
    nothing = {"grade": False, "solution": False, "locked": False, "task": False}
    return {"nbgrader": nothing | flags | {"grade_id": name, "schema_version": 3}}


def code(source: str, cell_id: str, metadata: dict) -> nbformat.NotebookNode:
    return new_code_cell(source, id=cell_id, metadata=metadata)  # without outputs


def folded(cell: nbformat.NotebookNode) -> nbformat.NotebookNode:
    return code(f"{CLICK}\n{cell.source}", cell.id, cell.metadata | {"jupyter": {"source_hidden": True}})


def digest(notebook: nbformat.NotebookNode) -> str:
    """What somebody can have written: the sources of all cells."""
    text = "\0".join(cell.source for cell in notebook.cells)
    return hashlib.sha256(text.encode()).hexdigest()


def written_in(path: Path) -> bool:
    """Whether a file is no copy of ours, or one in which a cell was changed, added or removed."""
    try:
        notebook = nbformat.read(path, as_version=4)
    except (ValueError, nbformat.ValidationError):
        return True
    return notebook.metadata.get("student_copy") != digest(notebook)


def copy_library(out: Path) -> None:
    """Write all that is not a notebook: what `make lab` needs, guides, and how to start, from the README."""
    for name in FOR_STUDENTS:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns(*NOT_FOR_STUDENTS)
            shutil.copytree(ROOT / name, out / name, dirs_exist_ok=True, ignore=ignored)
        else:
            shutil.copy(ROOT / name, out / name)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    start = readme[readme.index("## Start") : readme.index("`make test`")]
    (out / "README.md").write_text(f"# mocap3d\n\n{start.rstrip()}\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT, help="folder to write (default: build/student)")
    out = parser.parse_args().out
    copy_library(out)
    (out / "notebooks").mkdir(exist_ok=True)
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        target = out / "notebooks" / path.name
        if target.exists() and written_in(target):
            print(f"{path.name}: somebody has written in it, so it stays; rename it to get a new copy beside it")
            continue
        nbformat.write(student_copy(nbformat.read(path, as_version=4)), target)
        print(f"{path.name}: written")
    print(f"Open {out / 'notebooks'} in JupyterLab, or hand out {out}: `make lab` in it starts the course.")


if __name__ == "__main__":
    main()
