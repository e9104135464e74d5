"""What `make lab` adds to JupyterLab: saving a notebook that was only read changes no byte of its file.

JupyterLab writes the kernel's name and Python version into every notebook it opens, and plotly's renderer puts a new
PNG into each figure that the pointer has entered. Both would make every `git pull` a conflict.
"""

from __future__ import annotations

import json
from pathlib import Path

PLOTLY = "application/vnd.plotly.v1+json"
STAMPS = ("kernelspec", "language_info")


def keep_stored(model: dict, path: str, contents_manager, **_: object) -> None:
    """Before a notebook is saved, put back what its file holds of the kernel and of figures that were not run again."""
    file = Path(contents_manager.root_dir) / path.lstrip("/")
    if model["type"] != "notebook" or not file.is_file():
        return
    new = model["content"]
    try:
        old = json.loads(file.read_text(encoding="utf-8"))
        figures = {cell["id"]: _figures(cell) for cell in old["cells"]}
    except (ValueError, KeyError):
        return  # damaged, or of an old format: save what the browser sent
    for stamp in STAMPS:
        before, now = (notebook["metadata"].get(stamp, {}) for notebook in (old, new))
        if before and before.get("name") == now.get("name"):
            new["metadata"][stamp] = before
    for cell in new["cells"]:
        here, there = _figures(cell), figures.get(cell.get("id"), [])
        if len(here) == len(there):
            for output, stored in zip(here, there, strict=True):
                output["data"] = {kind: _joined(kind, value) for kind, value in stored["data"].items()}


def _figures(cell: dict) -> list[dict]:
    """A cell's stored figures; their alt text tells them from those of a new run."""
    outputs = cell.get("outputs", [])
    return [o for o in outputs if PLOTLY in o.get("data", {}) and "alt" in o["metadata"].get("image/png", {})]


def _joined(kind: str, value: object) -> object:
    """Text is stored as a list of lines, and sent as one string."""
    return "".join(value) if isinstance(value, list) and not kind.endswith("json") else value
