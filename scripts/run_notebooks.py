"""Execute notebooks in place and store their outputs, as they are committed.

    python scripts/run_notebooks.py                     every notebook
    python scripts/run_notebooks.py notebooks/03*.ipynb some

Runs on the built-in synthetic motion whatever MOCAP3D_DATA says: stored figures hold coordinates, and recorded motion
must not get into the repository. Widget state (megabytes of JavaScript) is left out.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
LARGEST = 1_000_000  # bytes of a notebook file
TIMEOUT = 1200  # seconds of a cell
WIDGET = "application/vnd.jupyter.widget-view+json"


def execute(path: Path) -> None:
    """Run one notebook from top to bottom and write it back with its outputs."""
    notebook = nbformat.read(path, as_version=4)
    started = time.monotonic()
    NotebookClient(
        notebook, timeout=TIMEOUT, resources={"metadata": {"path": str(path.parent)}}, store_widget_state=False
    ).execute()
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        cell.metadata.pop("execution", None)  # wall-clock times of the run: noise in every diff
        # a progress bar or slider without its kernel is an error message: leave it out
        cell["outputs"] = [o for o in cell.outputs if WIDGET not in o.get("data", {})]
    notebook.metadata.pop("widgets", None)
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata["language_info"] = {"name": "python"}
    temporary = path.with_suffix(".part")
    nbformat.write(notebook, temporary)
    os.replace(temporary, path)
    size = path.stat().st_size
    print(f"{path.name}: {time.monotonic() - started:.0f} s, {size / 1e6:.2f} MB", flush=True)
    if size > LARGEST:
        sys.exit(f"{path} is {size / 1e6:.2f} MB; show fewer frames (max_frames=60) to stay under 1 MB")


def main() -> None:
    paths = [Path(name).resolve() for name in sys.argv[1:]] or sorted((ROOT / "notebooks").glob("*.ipynb"))
    os.environ.pop("MOCAP3D_DATA", None)
    os.environ["MOCAP3D_PROFILE"] = "laptop"
    for path in paths:
        execute(path)


if __name__ == "__main__":
    main()
