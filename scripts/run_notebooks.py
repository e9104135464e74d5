"""Execute notebooks in place and store their outputs, as they are committed.

    python scripts/run_notebooks.py                                every notebook
    python scripts/run_notebooks.py notebooks/03*.ipynb            some
    python scripts/run_notebooks.py --pictures notebooks/*.ipynb   execute nothing: add the pictures that are missing
    python scripts/run_notebooks.py --restyle notebooks/*.ipynb    ... and lay stored figures out by today's rules

Runs on the built-in synthetic motion whatever MOCAP3D_DATA says: stored figures hold coordinates, and recorded motion
must not get into the repository. Widget state (megabytes of JavaScript) is left out. Every figure is stored with a PNG
and an alt text (see pictures.py), which needs an installed Chromium or Chrome; without one no notebook is changed.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from pictures import PLOTLY, PictureError, add_pictures, figures, plotly_page, restyle

ROOT = Path(__file__).resolve().parent.parent
LARGEST = 1_000_000  # bytes of a notebook file
TIMEOUT = 1200  # seconds of a cell
WIDGET = "application/vnd.jupyter.widget-view+json"


def execute(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Run one notebook from top to bottom."""
    NotebookClient(
        notebook, timeout=TIMEOUT, resources={"metadata": {"path": str(path.parent)}}, store_widget_state=False
    ).execute()
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        cell.metadata.pop("execution", None)  # wall-clock times of the run: noise in every diff
        # without its kernel a widget is an error message: of an explorer its still is kept, of a progress bar nothing
        live = [o for o in cell.outputs if o.get("data", {}).pop(WIDGET, None)]
        cell["outputs"] = [o for o in cell.outputs if o not in live or {"image/png", PLOTLY} & o["data"].keys()]
    notebook.metadata.pop("widgets", None)
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata["language_info"] = {"name": "python"}


def whole(value: object) -> object:
    """Whole numbers without a decimal point, as a browser writes them."""
    if isinstance(value, dict):
        return {name: whole(part) for name, part in value.items()}
    if isinstance(value, list):
        return [whole(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def store(notebook: nbformat.NotebookNode, path: Path) -> int:
    """Write one notebook in the form in which JupyterLab saves it; returns its bytes."""
    for output in figures(notebook):
        output["data"][PLOTLY] = whole(output["data"][PLOTLY])
    temporary = path.with_suffix(".part")
    nbformat.write(notebook, temporary)
    size = temporary.stat().st_size
    if size > LARGEST:
        temporary.unlink()
        sys.exit(f"{path} would be {size / 1e6:.2f} MB; show fewer frames (max_frames=60) to stay under 1 MB")
    os.replace(temporary, path)
    return size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", type=Path, help="notebooks; all where none is named")
    parser.add_argument("--pictures", action="store_true", help="execute nothing, add missing pictures")
    parser.add_argument("--restyle", action="store_true", help="execute nothing, lay figures out anew and redraw them")
    options = parser.parse_args()
    paths = [path.resolve() for path in options.paths] or sorted((ROOT / "notebooks").glob("*.ipynb"))
    for variable in ("MOCAP3D_DATA", "MOCAP3D_H36M"):
        os.environ.pop(variable, None)
    os.environ["MOCAP3D_PROFILE"] = "laptop"
    try:
        with plotly_page() as page:
            for path in paths:
                store_with_pictures(path, page, options)
    except PictureError as problem:
        sys.exit(str(problem))


def store_with_pictures(path: Path, page, options: argparse.Namespace) -> None:
    """Execute one notebook unless told otherwise, add its pictures and write it back."""
    notebook, started = nbformat.read(path, as_version=4), time.monotonic()
    if not (options.restyle or options.pictures):
        execute(notebook, path)
    if not options.pictures:
        restyle(notebook)
    drawn = add_pictures(notebook, page, redraw=options.restyle)
    size = store(notebook, path)
    print(f"{path.name}: {time.monotonic() - started:.0f} s, {drawn} pictures, {size / 1e6:.2f} MB", flush=True)


if __name__ == "__main__":
    main()
