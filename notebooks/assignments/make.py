"""Write assignments for each student, with numbers of their own: the name is the seed.

    python notebooks/assignments/make.py --student "Ada Lovelace" --out handed_out
    python notebooks/assignments/make.py --list names.txt --out handed_out_1 --only 1      one name a line

A student gets the folder of that name: the notebooks, and checks.py to check oneself. It comes back as it is, and
`grade.py` finds the seed by the folder's name. Folders that exist are left as they are: add latecomers to the list.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterable
from pathlib import Path

import checks
import nbformat

HERE = Path(__file__).resolve().parent
BLANK = 'STUDENT, SEED = "nobody", 0'  # the line of each notebook that is filled in


def make(student: str, out: Path, course: str = "", only: Iterable[int] = checks.NOTEBOOKS) -> Path:
    """Write one student's folder.

    Args:
        student: a name that is a valid name of a folder. out: where the folder goes.
        course: see `checks.seed_of`. only: numbers of assignments.
    Returns:
        The folder.
    Raises:
        ValueError: for a name that is no name of a folder.
        FileExistsError: if the folder is there already: it may hold a student's work.
    """
    if not student.strip() or student.startswith(".") or set(student) & set('/\\:"\n'):
        raise ValueError(f"{student!r} is no name of a folder: leave out slashes, colons, quotes and a leading dot")
    folder = out / student
    folder.mkdir(parents=True)
    shutil.copy(HERE / "checks.py", folder)
    for name in (checks.NOTEBOOKS[number] for number in only):
        notebook = nbformat.read(HERE / name, as_version=4)
        line = f'STUDENT, SEED = "{student}", {checks.seed_of(student, course)}'
        for cell in notebook.cells:
            cell.source = cell.source.replace(BLANK, line)
        nbformat.write(notebook, folder / name)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--student", help="a name")
    who.add_argument("--list", type=Path, help="file of names, one a line")
    parser.add_argument("--out", type=Path, required=True, help="folder for the students' folders")
    parser.add_argument("--course", default="", help="such as a year: other numbers for the same name")
    numbers = {"type": int, "nargs": "+", "choices": checks.NOTEBOOKS, "default": [*checks.NOTEBOOKS]}
    parser.add_argument("--only", **numbers, help="numbers of assignments (default: all)")
    options = parser.parse_args()
    names = [options.student] if options.student else options.list.read_text(encoding="utf-8").splitlines()
    for name in filter(None, map(str.strip, names)):
        try:
            print(make(name, options.out, options.course, options.only))
        except FileExistsError:
            print(f"{options.out / name}: exists, left as it is")


if __name__ == "__main__":
    main()
