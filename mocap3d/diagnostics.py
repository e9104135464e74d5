"""Is this machine ready? One line per check, with a fix for every [FAIL].

At the top it imports only the standard library, so that it can also report problems if torch or
the rest of mocap3d cannot be imported: `python -P mocap3d/diagnostics.py`.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

OLDEST, NEWEST = (3, 11), (3, 13)
MIN_FREE_GB = 1.0
INSTALL = "run `python scripts/setup.py` in the checkout (or `make lab`)"
FETCH = "python data_scripts/fetch_open_mocap.py --root data, then set MOCAP3D_DATA to that folder"
# What load_dataset("open-mocap") looks for under MOCAP3D_DATA, and the motion files counted there.
DATA_FOLDERS = {"cmu/asfamc": "*.amc", "cmu/bvh_cc": "*.bvh", "bandai": "*.bvh"}


@dataclass(frozen=True)
class Check:
    """The result of one check: status "OK", "FAIL" (must be fixed) or "--" (optional and absent)."""

    status: str
    name: str
    found: str
    fix: str = ""

    def __str__(self) -> str:
        mark = f"[{self.status}]".ljust(7)
        return f"{mark}{self.name}: {self.found}" + (f"\n       fix: {self.fix}" if self.fix else "")


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """All checks; true if none failed."""

    checks: tuple[Check, ...]

    def __bool__(self) -> bool:
        return not self.failed

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that must be fixed."""
        return tuple(check for check in self.checks if check.status == "FAIL")

    def __str__(self) -> str:
        return "\n".join(map(str, self.checks)) + f"\n{self!r}"

    def __repr__(self) -> str:
        absent = sum(check.status == "--" for check in self.checks)
        note = f"; {absent} optional absent" if absent else ""
        if self:
            return f"Ready: {len(self.checks) - absent} of {len(self.checks)} checks OK{note}."
        return f"Not ready: mend {', '.join(check.name for check in self.failed)}{note}."


def doctor() -> Diagnosis:
    """Check Python, torch, plotly, widgets, JupyterLab, data and disk; print a line for each with its fix.

    Returns:
        the checks as a Diagnosis, which is true if none failed.
    Source: own.
    """
    steps: tuple[tuple[str, Callable[[], Check]], ...] = (
        ("Python", check_python),
        ("numpy", check_numpy),
        ("torch", check_torch),
        ("plotly", check_plotly),
        ("widgets", check_widgets),
        ("JupyterLab", check_jupyterlab),
        ("real motion", check_data),
        ("free disk", check_disk),
    )
    diagnosis = Diagnosis(tuple(_guarded(name, step) for name, step in steps))
    print(diagnosis, flush=True)
    return diagnosis


def _guarded(name: str, step: Callable[[], Check]) -> Check:
    """Run a check; a broken installation may raise anything on import, which is reported as a failure."""
    try:
        return step()
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        return Check("FAIL", name, f"{type(error).__name__}: {reason}", INSTALL)


def check_python() -> Check:
    """The interpreter's version, compared with the range that mocap3d is tested on."""
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        return Check("OK", "Python", found)
    wanted = f"{OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}"
    return Check("FAIL", "Python", found, f"use Python {wanted}; `python scripts/setup.py` looks for one")


def check_numpy() -> Check:
    """numpy imports."""
    return Check("OK", "numpy", importlib.import_module("numpy").__version__)


def check_torch() -> Check:
    """torch can be imported and multiplies correctly on its default device; reports the device and CPU threads."""
    torch = importlib.import_module("torch")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    where = torch.cuda.get_device_name() if device == "cuda" else "CPU, no CUDA device"
    ones = torch.ones(8, 8, device=device)
    if (ones @ ones).sum().item() != 8**3:
        return Check("FAIL", "torch", f"{torch.__version__} multiplies wrongly on {where}", INSTALL)
    return Check("OK", "torch", f"{torch.__version__}, {where}, {torch.get_num_threads()} CPU threads")


def check_plotly() -> Check:
    """plotly can make a 3D figure, and a renderer is available that can rotate and play it."""
    version = importlib.import_module("plotly").__version__
    graphs = importlib.import_module("plotly.graph_objects")
    graphs.Figure(graphs.Scatter3d(x=[0], y=[0], z=[0])).to_json()
    renderer = os.environ.get("PLOTLY_RENDERER", "")
    if "IPython" in sys.modules:  # in a notebook; elsewhere, asking plotly takes seconds and shows nothing
        renderer = importlib.import_module("plotly.io").renderers.default
    if renderer in ("png", "svg", "jpeg", "pdf"):
        fix = "unset PLOTLY_RENDERER: a still picture can neither turn nor play"
        return Check("FAIL", "plotly", f"{version}, renderer {renderer}", fix)
    if renderer:
        return Check("OK", "plotly", f"{version}, renderer {renderer}")
    drawn_by = Path(sys.prefix) / "share" / "jupyter" / "labextensions" / "jupyterlab-plotly"
    note = "renderer for JupyterLab" if drawn_by.is_dir() else "renderer chosen by the notebook"
    return Check("OK", "plotly", f"{version}, {note}")


def check_widgets() -> Check:
    """ipywidgets, its JupyterLab extension, and anywidget, which interactive explorers need."""
    needed = ("ipywidgets", "jupyterlab_widgets", "anywidget")
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if not missing:
        versions = (f"{name} {importlib.metadata.version(name)}" for name in ("ipywidgets", "anywidget"))
        return Check("OK", "widgets", ", ".join(versions))
    status = "FAIL" if importlib.util.find_spec("jupyterlab") else "--"
    return Check(status, "widgets", f"{', '.join(missing)} missing: no sliders that call Python", INSTALL)


def check_jupyterlab() -> Check:
    """JupyterLab 4, for users who take the course in it."""
    if importlib.util.find_spec("jupyterlab") is None:
        return Check("--", "JupyterLab", "not installed (the library works without it)", INSTALL)
    version = importlib.metadata.version("jupyterlab")
    if int(version.split(".")[0]) < 4:
        return Check("FAIL", "JupyterLab", f"{version} is too old for these widgets", INSTALL)
    return Check("OK", "JupyterLab", version)


def check_data() -> Check:
    """The folder in MOCAP3D_DATA, with the number of motion files in each part."""
    named = os.environ.get("MOCAP3D_DATA")
    if not named:
        return Check("--", "real motion", "MOCAP3D_DATA is not set; synthetic motion is built in", FETCH)
    root = Path(named).expanduser()
    if not root.is_dir():
        fix = f"unset it, name a folder that exists, or: {FETCH}"
        return Check("FAIL", "real motion", f"MOCAP3D_DATA={named} is not a folder", fix)
    counts = {part: sum(1 for _ in (root / part).rglob(pattern)) for part, pattern in DATA_FOLDERS.items()}
    found = f"{root}: " + ", ".join(f"{part} {count} files" for part, count in counts.items())
    if all(counts.values()):
        return Check("OK", "real motion", found)
    return Check("--" if any(counts.values()) else "FAIL", "real motion", found, FETCH)


def check_disk() -> Check:
    """Free disk space where the notebooks run, for caches and checkpoints."""
    free_gb = shutil.disk_usage(Path.cwd()).free / 1e9
    found = f"{free_gb:.0f} GB where the notebooks run"
    if free_gb < MIN_FREE_GB:
        return Check("FAIL", "free disk", found, f"free {MIN_FREE_GB:.0f} GB for caches and checkpoints")
    return Check("OK", "free disk", found)


if __name__ == "__main__":
    sys.exit(0 if doctor() else 1)
