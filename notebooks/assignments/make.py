"""Write the three assignments for one student, with numbers of their own: the name is the seed.

    python notebooks/assignments/make.py --student "Ada Lovelace" --out handed_out
    python notebooks/assignments/make.py --list names.txt --out handed_out      one name a line

A student gets the folder of that name: three notebooks, and checks.py to check oneself. It comes back as it is, and
`grade.py` finds the seed by the folder's name.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import checks
import nbformat

HERE = Path(__file__).resolve().parent
BLANK = 'STUDENT, SEED = "nobody", 0'  # the line of each notebook that is filled in


def make(student: str, out: Path, course: str = "") -> Path:
    """Write one student's folder.

    Args:
        student: a name that is a valid name of a folder. out: where the folder goes.
        course: see `checks.seed_of`.
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
    for name in checks.NOTEBOOKS.values():
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
    options = parser.parse_args()
    names = [options.student] if options.student else options.list.read_text(encoding="utf-8").splitlines()
    for name in filter(None, map(str.strip, names)):
        print(make(name, options.out, options.course))


if __name__ == "__main__":
    main()
