"""Execute notebooks in place and store their outputs, as they are committed.

    python scripts/run_notebooks.py                                every notebook
    python scripts/run_notebooks.py notebooks/03*.ipynb            some
    python scripts/run_notebooks.py --pictures notebooks/*.ipynb   execute nothing: add the pictures that are missing
    python scripts/run_notebooks.py --restyle notebooks/*.ipynb    ... and lay stored figures out by today's rules
    python scripts/run_notebooks.py --profile gpu --out DIR        copies at full size, and results.json: times, text

Runs on the built-in synthetic motion whatever MOCAP3D_DATA says: stored figures hold coordinates, and recorded motion
must not get into the repository. Widget state (megabytes of JavaScript) is left out. Every figure is stored with a PNG
and an alt text (see pictures.py), which needs an installed Chromium or Chrome; without one no notebook is changed.

With --out nothing here is changed: copies are executed and written to DIR, on the motion that MOCAP3D_DATA or
MOCAP3D_H36M name, which they then hold; a notebook that fails is recorded, and the next one runs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from datetime import datetime
from pathlib import Path

import nbformat
import torch
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from pictures import PLOTLY, PictureError, add_pictures, figures, plotly_page, restyle

ROOT = Path(__file__).resolve().parent.parent
LARGEST = 1_000_000  # bytes of a notebook file
TIMEOUT = 1200  # seconds of a cell
WIDGET = "application/vnd.jupyter.widget-view+json"


def execute(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Run one notebook from top to bottom, and keep of its outputs what is committed."""
    run(notebook, path.parent)
    tidy(notebook)


def run(notebook: nbformat.NotebookNode, folder: Path, timeout: int | None = TIMEOUT) -> None:
    """Run one notebook from top to bottom, in a folder; timeout: seconds of a cell."""
    options = {"resources": {"metadata": {"path": str(folder)}}, "store_widget_state": False}
    NotebookClient(notebook, timeout=timeout, **options).execute()


def tidy(notebook: nbformat.NotebookNode) -> None:
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
    parser.add_argument("--profile", choices=("ci", "laptop", "gpu"), default="laptop", help="size (default laptop)")
    parser.add_argument("--out", type=Path, help="folder for executed copies and results.json")
    options = parser.parse_args()
    if options.profile != "laptop" and options.out is None:
        parser.error("notebooks are committed as the laptop profile runs them: give --out DIR for copies at another")
    if options.out and (options.pictures or options.restyle):
        parser.error("--out executes copies; --pictures and --restyle execute nothing")
    paths = [path.resolve() for path in options.paths] or sorted((ROOT / "notebooks").glob("*.ipynb"))
    os.environ["MOCAP3D_PROFILE"] = options.profile
    if options.out:
        sys.exit(run_copies(paths, options.out))
    for variable in ("MOCAP3D_DATA", "MOCAP3D_H36M"):
        os.environ.pop(variable, None)
    try:
        with plotly_page() as page:
            for path in paths:
                store_with_pictures(path, page, options)
    except PictureError as problem:
        sys.exit(str(problem))


def run_copies(paths: list[Path], out: Path) -> int:
    """Execute copies of notebooks into a folder, and record times and results there; returns how many failed."""
    out.mkdir(parents=True, exist_ok=True)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    head = {"profile": os.environ["MOCAP3D_PROFILE"], "device": device, "threads": torch.get_num_threads()}
    data = {name: bool(os.environ.get(name)) for name in ("MOCAP3D_DATA", "MOCAP3D_H36M")}
    head |= {"torch": torch.__version__, "recorded motion": data}
    done = []
    for path in paths:
        notebook, started, error = nbformat.read(path, as_version=4), time.monotonic(), None
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        try:
            run(notebook, path.parent, timeout=None)
        except CellExecutionError as failure:
            error = f"{failure.ename}: {failure.evalue}"
        seconds, cells = time.monotonic() - started, [result(i, cell) for i, cell in enumerate(notebook.cells)]
        tidy(notebook)
        nbformat.write(notebook, out / path.name)
        entry = {"notebook": path.name, "seconds": round(seconds, 1), "error": error}
        done.append(entry | {"cells": [cell for cell in cells if cell]})
        text = json.dumps(head | {"notebooks": done}, indent=1)
        (out / "results.json").write_text(text + "\n", encoding="utf-8")
        print(f"{path.name}: {seconds:.0f} s, {error or 'no error'}", flush=True)
    return sum(entry["error"] is not None for entry in done)


def result(number: int, cell: nbformat.NotebookNode) -> dict | None:
    """Seconds of a code cell, and the text that it put out."""
    times = cell.get("metadata", {}).get("execution", {})
    if "shell.execute_reply" not in times:
        return None
    first, last = (datetime.fromisoformat(times[key]) for key in ("iopub.execute_input", "shell.execute_reply"))
    texts = ["".join(o.get("text", "") or o.get("data", {}).get("text/plain", "")) for o in cell.outputs]
    seconds = round((last - first).total_seconds(), 2)
    return {"cell": number, "seconds": seconds, "text": "\n".join(text.strip() for text in texts if text.strip())}


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
