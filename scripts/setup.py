"""Make .venv, install mocap3d into it, and start JupyterLab or the tests. Standard library only.

    python scripts/setup.py          make .venv and install, or do nothing when it is up to date
    python scripts/setup.py lab      ... then check the machine and open JupyterLab on the first notebook
    python scripts/setup.py test     ... then lint, pytest and the notebooks, on built-in motion
    python scripts/setup.py test-all ... then what takes longer or needs more: recorded motion, a browser
    python scripts/setup.py site     ... then the notebooks, guides and API reference as a site, in build/site
    python scripts/setup.py slides   ... then a slide deck for each notebook, in build/slides
    python scripts/setup.py student  ... then the folder for a class, without answers, in build/student

The make targets of the same names call this file; on Windows, where there is usually no make, call it.
What is written stays in the checkout (.venv and the tools' caches), besides pip's own download cache.
Settings, all optional: TORCH_INDEX=URL takes torch from that wheel index (a CPU-only or a CUDA build);
MOCAP3D_DATA=FOLDER is the folder of recorded motion that notebooks and test-all then use.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "mocap3d-installed.txt"
JUPYTER = VENV / "jupyter"
FIRST_NOTEBOOK = "notebooks/00_start_here.ipynb"
OLDEST, NEWEST = (3, 11), (3, 13)


def python_in(venv: Path = VENV) -> Path:
    """The interpreter of a virtual environment on this system."""
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


# loadfile: the cells of one notebook belong to one worker.
PYTEST = (python_in(), "-m", "pytest", "-n", "2", "--dist", "loadfile", "--durations=15")
ELSEWHERE = ("--ignore=notebooks/solutions", "--ignore=notebooks/assignments")  # not part of the course's own run
NBVAL = ("--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=120", "--nbval-sanitize-with=tests/sanitize.cfg")


def run(*command: object, **options) -> int:
    """Run a command in the checkout, shown as it is; return its exit status."""
    return subprocess.run([str(part) for part in command], cwd=ROOT, **options).returncode


def base_python() -> str:
    """This interpreter where its version fits, else the newest fitting one on the path."""
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        return sys.executable
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        if found := shutil.which(f"python3.{minor}"):
            return found
    sys.exit(
        f"mocap3d needs Python 3.{OLDEST[1]} to 3.{NEWEST[1]}; this is {sys.version.split()[0]} and no other "
        "was found. Install one (python.org, your package manager, or conda with environment.yml)."
    )


def make_venv() -> None:
    """Make .venv where there is none that runs."""
    if python_in().exists() and run(python_in(), "-c", "pass", stderr=subprocess.DEVNULL) == 0:
        return
    print(f"Making {VENV.name} ...", flush=True)
    if run(base_python(), "-m", "venv", "--clear", VENV):
        sys.exit(
            "Python could not make a virtual environment. On Debian and Ubuntu: "
            "sudo apt install python3-venv, then try again."
        )


def installed_torch() -> str | None:
    """The version of the torch that imports in .venv, without its +cpu or +cu suffix; None without one."""
    code = "import torch; print(torch.__version__.split('+')[0])"
    found = subprocess.run([python_in(), "-c", code], capture_output=True, text=True, cwd=ROOT)
    return found.stdout.strip() if found.returncode == 0 else None


def constraints_keeping(torch_version: str) -> Path:
    """constraints.txt with its torch line set to a version that is already there and is to stay."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    kept = [f"torch=={torch_version}" if line.startswith("torch==") else line for line in lines]
    path = VENV / "constraints.txt"
    path.write_text("\n".join(kept) + "\n", encoding="utf-8")
    return path


def fingerprint() -> str:
    """What the installation depends on: when it changes, install again."""
    digest = hashlib.sha256(str(ROOT).encode())
    for name in ("pyproject.toml", "constraints.txt", "scripts/setup.py"):
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def install(site: bool = False) -> None:
    """Install the pinned environment into .venv: torch first, everything else after.

    Args:
        site: also what only the site and the slides need.
    """
    make_venv()
    stamp = STAMP.read_text(encoding="utf-8").split() if STAMP.exists() else []
    if fingerprint() in stamp and (not site or "site" in stamp):
        return
    pip = (python_in(), "-m", "pip", "install", "--disable-pip-version-check")
    version = installed_torch()
    if version is None:
        # First and pinned: an unpinned torch would be chosen by whatever else is installed with it.
        index = ["--index-url", os.environ["TORCH_INDEX"]] if os.environ.get("TORCH_INDEX") else []
        must_work(run(*pip, "-c", "constraints.txt", *index, "torch"))
        constraints = "constraints.txt"
    else:
        print(f"Keeping the torch {version} found in .venv.", flush=True)
        constraints = constraints_keeping(version)
    must_work(run(*pip, "-c", constraints, "-e", ".[course,test,video,site]" if site else ".[course,test,video]"))
    STAMP.write_text(fingerprint() + " site" * site, encoding="utf-8")


def must_work(status: int) -> None:
    """Stop with advice after a failed installation step."""
    if status:
        sys.exit(
            "pip could not install (its reason is above). Behind a proxy set HTTPS_PROXY; offline, point pip at "
            "a folder of wheels with PIP_FIND_LINKS. Then run the same command again."
        )


def jupyter_environment(folder: Path = JUPYTER) -> dict[str, str]:
    """The environment that keeps JupyterLab, IPython and their kernels inside one folder.

    Args:
        folder: where settings, run-time files and IPython's history go; made here.
    Returns:
        A copy of os.environ with the folders set.
    """
    overrides = folder / "config" / "labconfig" / "default_setting_overrides.json"
    overrides.parent.mkdir(parents=True, exist_ok=True)
    quiet = {"fetchNews": "false", "checkForUpdates": False}
    overrides.write_text(json.dumps({"@jupyterlab/apputils-extension:notification": quiet}), encoding="utf-8")
    server = f"import sys\n\nsys.path.insert(0, {str(ROOT / 'scripts')!r})\nfrom unmodified import keep_stored\n\n"
    (folder / "config" / "jupyter_server_config.py").write_text(
        server + "c.ContentsManager.pre_save_hook = keep_stored\n", encoding="utf-8"
    )
    style = folder / "config" / "custom" / "custom.css"
    style.parent.mkdir(exist_ok=True)
    style.write_text(".jp-RenderedPlotly img { max-width: 100%; height: auto }\n", encoding="utf-8")
    folders = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
    }
    return os.environ | {name: str(folder / part) for name, part in folders.items()}


def has_display() -> bool:
    """Whether a browser window can be expected to open here."""
    return sys.platform in ("win32", "darwin") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))


def lab_command(notebook: str | None, *options: str, root: Path = ROOT) -> list[str]:
    """The command that starts JupyterLab on a folder, opened at a notebook where one is named."""
    command = [str(python_in()), "-m", "jupyterlab", f"--ServerApp.root_dir={root}", "--log-level=WARN"]
    # Neither news from the network, nor a search for language servers (which starts npm where there is one).
    command += ["--LabApp.news_url=None", "--LanguageServerManager.autodetect=False"]
    command.append("--LabApp.custom_css=True")  # pictures of figures no wider than the notebook
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")  # as root (a container) the server refuses to start without it
    if notebook:  # in the printed address too, for those who have to open it themselves
        command.append(f"--LabApp.default_url=/lab/tree/{notebook}")
    return command + list(options)


def lab() -> int:
    """Check the machine, then serve the notebooks until Ctrl-C."""
    run(python_in(), "-m", "mocap3d", "doctor")
    notebook = FIRST_NOTEBOOK if (ROOT / FIRST_NOTEBOOK).exists() else None
    options = ["-y"] if has_display() else ["-y", "--no-browser"]
    print("\nStarting JupyterLab; its address is printed below. Ctrl-C stops it.", flush=True)
    server = subprocess.Popen(lab_command(notebook, *options), cwd=ROOT, env=jupyter_environment())
    while True:
        try:
            return server.wait()
        except KeyboardInterrupt:  # the server received it too, and shuts its kernels down
            continue


def test() -> int:
    """Lint, then pytest over the tests and the notebooks in one run, so that its summary comes last."""
    lint_imports = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    for check in (["-m", "ruff", "check"], ["-m", "ruff", "format", "--check"], ["-c", lint_imports]):
        if status := run(python_in(), *check):
            return status
    environment = test_environment()
    environment.pop("MOCAP3D_DATA", None)
    return run(*PYTEST, "-m", "not extended", *NBVAL, *ELSEWHERE, "tests", "notebooks", env=environment)


def test_all() -> int:
    """What `test` leaves out: tests marked `extended`, solutions of exercises, and the notebooks on the other data.

    Those are Human3.6M's layout, which built-in motion stands in for, and recorded motion where there is some.
    """
    environment = test_environment()
    recorded = environment.get("MOCAP3D_DATA")
    status = run(*PYTEST, "-m", "extended", "tests", env=environment)
    built_in = environment | {"MOCAP3D_DATA": "", "MOCAP3D_H36M": ""}
    status = status or run(*PYTEST, *NBVAL, "notebooks/solutions", env=built_in)
    with tempfile.TemporaryDirectory() as folder:
        layout = ("--layouts", "videopose3d")
        status = status or run(python_in(), "data_scripts/export_layouts.py", folder, *layout)
        stand_in = environment | {"MOCAP3D_H36M": str(Path(folder) / "videopose3d")}
        status = status or run(*PYTEST, *NBVAL, *ELSEWHERE, "notebooks", env=stand_in)
    return status or (run(*PYTEST, *NBVAL, *ELSEWHERE, "notebooks", env=environment) if recorded else 0)


def test_environment() -> dict[str, str]:
    """Two workers: with more than one thread each, torch would have them fight over the cores."""
    return jupyter_environment() | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "MOCAP3D_PROFILE": "ci"}


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    choices = ["lab", "test", "test-all", "student", "site", "slides"]
    parser.add_argument("then", nargs="?", choices=choices, help="what to do once installed")
    then = parser.parse_args().then
    install(site=then in ("test-all", "site", "slides"))
    if then == "lab":
        return lab()
    if then == "test":
        return test()
    if then == "test-all":
        return test_all()
    if then in ("site", "slides"):
        return run(python_in(), "scripts/publish.py", then)
    if then == "student":
        return run(python_in(), "scripts/student.py")
    print(f"Installed. Start with: {Path(sys.executable).name} scripts/setup.py lab")
    return 0


if __name__ == "__main__":
    sys.exit(main())
