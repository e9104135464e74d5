"""Write copies of the notebooks for students: nothing that is stored in them gives an answer away.

    python scripts/student.py               into build/student/, which git ignores: a pull never meets a student's work
    python scripts/student.py --out FOLDER  elsewhere, such as a folder to hand out

In a copy, outputs are cleared; below each "Predict" there is a cell to write the prediction in; folded answers are
replaced by a line for one's own; "What to see" is folded. Exercises that `mocap3d.check` judges carry the metadata of
nbgrader: a cell for the answer, and a locked one that gives points (one a star). docs/ comes along, because the
notebooks link to it and read records in it; the instructor's guide does not. Written again, copies are replaced by
newer ones, but never a copy that a student has written in.
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
NOT_FOR_STUDENTS = "TEACHING.md"
ANSWER = re.compile(r"<details>\s*<summary>[^<]*(?:answer|check)[^<]*</summary>.*?</details>", re.I | re.S)
STARS = re.compile(r"^\*\*(\d) (★+)", re.M)
CHECK = re.compile(r'^mocap3d\.check\("(\d\d)\.(\d)", \.\.\.\)(.*)$', re.M)
SEE = re.compile(r"^\*\*What to see\b.*?(?=^#|^\*\*Predict|^> \*\*Checkpoint|\n\n[^\n]*\*\*Predict|\Z)", re.M | re.S)
FOLDED = "<details><summary>Open when you have run the cell above</summary>\n\n{}\n\n</details>\n\n"
PREDICTION = "**My prediction:** *double-click here, write it down, then run the next cell.*"


def student_copy(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A notebook for students, made of an executed one.

    Args:
        notebook: in the format that tests/test_notebooks.py describes; it is left as it is.
    Returns:
        The copy; `written_in` can tell later whether somebody has changed it.
    """
    copy = nbformat.from_dict({**notebook, "metadata": dict(notebook.metadata), "cells": []})
    stars = {}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            copy.cells += exercise(cell, stars) or [code(cell.source, cell.id, cell.metadata)]
            continue
        stars |= {number: len(marks) for number, marks in STARS.findall(cell.source)}
        source = ANSWER.sub("*Your answer:*", cell.source)
        source = SEE.sub(lambda seen: FOLDED.format(seen[0].strip()), source).rstrip()
        copy.cells.append(new_markdown_cell(source, id=cell.id, metadata=cell.metadata))
        if "**Predict" in source:
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT, help="folder to write (default: build/student)")
    out = parser.parse_args().out
    (out / "notebooks").mkdir(parents=True, exist_ok=True)
    ignored = shutil.ignore_patterns(NOT_FOR_STUDENTS)
    shutil.copytree(ROOT / "docs", out / "docs", dirs_exist_ok=True, ignore=ignored)
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        target = out / "notebooks" / path.name
        if target.exists() and written_in(target):
            print(f"{path.name}: somebody has written in it, so it stays; rename it to get a new copy beside it")
            continue
        nbformat.write(student_copy(nbformat.read(path, as_version=4)), target)
        print(f"{path.name}: written")
    print(f"Open {out / 'notebooks'} in JupyterLab.")


if __name__ == "__main__":
    main()
