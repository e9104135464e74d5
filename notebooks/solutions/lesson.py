"""Run cells of a lesson in its notebook of solutions, so that this one holds nothing but answers."""

from __future__ import annotations

import json
import os
from pathlib import Path

from IPython import get_ipython
from IPython.utils.capture import capture_output

NOTEBOOKS = Path(__file__).resolve().parent.parent


def lesson(name: str, *cells: str) -> None:
    """Run code cells of notebooks/<name>.ipynb here, in the lesson's folder, without showing what they put out.

    Args:
        cells: their ids (JupyterLab shows a cell's id in the property inspector).
    Raises:
        ValueError: for an id that the lesson does not have. Errors of a cell are raised, too.
    """
    os.chdir(NOTEBOOKS)  # a lesson's paths start at its folder
    stored = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    source = {cell["id"]: "".join(cell["source"]) for cell in stored}
    if missing := set(cells) - set(source):
        raise ValueError(f"{name} has no cells {sorted(missing)}: give ids of its cells")
    with capture_output():
        for cell in cells:
            get_ipython().run_cell(source[cell]).raise_error()
