"""The project's files agree with each other, and hold nothing that must not be in them."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@cache
def project_files() -> list[Path]:
    """What is, or would be, committed; without git, all that is neither hidden, generated nor fetched."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode == 0:
        return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    generated = re.compile(r"^(\.(?!ci/)[^/]+|runs|data|build|dist|[^/]*\.egg-info)/|__pycache__|\.ipynb_checkpoints")
    files = (path for path in ROOT.rglob("*") if path.is_file())
    return [path for path in files if not generated.search(path.relative_to(ROOT).as_posix())]


@cache
def text_files() -> list[tuple[Path, str]]:
    found = []
    for path in project_files():
        try:
            found.append((path.relative_to(ROOT), path.read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            continue  # arrays and pictures
    return found


def pins() -> dict[str, str]:
    """Package name, normalised -> pinned version, from constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert all(len(r.specifier) == 1 and str(r.specifier).startswith("==") for r in requirements)
    return {plain(r.name): str(r.specifier).removeprefix("==") for r in requirements}


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"].values()
    return [Requirement(text) for group in (PROJECT["dependencies"], *extras) for text in group]


# The three descriptions of the environment agree


def test_every_dependency_is_pinned_to_a_version_it_allows():
    lock = pins()
    for requirement in declared():
        assert lock[plain(requirement.name)] in requirement.specifier, requirement
    assert lock["torch"] == "2.13.0"


def test_the_lock_is_complete_and_holds_for_every_machine():
    """Everything installed here for our extras is pinned, without a local build or path."""
    from importlib.metadata import PackageNotFoundError, requires

    lock, todo, seen = pins(), [plain(r.name) for r in declared()], set()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        assert name in lock, f"{name} is needed but not in constraints.txt"
        try:
            needed = [Requirement(text) for text in requires(name) or []]
        except PackageNotFoundError:
            continue  # of another system
        active = (r for r in needed if r.marker is None or r.marker.evaluate({"extra": ""}))
        # a CUDA build of torch pins its own libraries exactly
        todo += [plain(r.name) for r in active if not r.name.startswith(("nvidia-", "cuda-", "triton"))]
    assert not any("+" in version for version in lock.values())


def test_what_is_installed_is_what_is_pinned():
    from importlib.metadata import distributions, version

    lock = pins()
    extras = PROJECT["optional-dependencies"]
    optional = {Requirement(text).name for text in extras["detect"] + extras["site"]} - {"nbconvert"}
    optional -= {plain(found.name) for found in distributions()}
    here = {r.name for r in declared()} - optional
    differing = {name for name in here if version(name).split("+")[0] != lock[plain(name)]}
    assert not differing - {"torch"}  # a torch that was there before is kept


def test_conda_environment_agrees_with_pyproject_and_the_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert environment["channels"][0] == "conda-forge"
    conda = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    (pip,) = (entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert "pip" in conda
    (python,) = (entry.split("=")[1] for entry in conda if entry.startswith("python="))
    assert f"{python}.0" in SpecifierSet(PROJECT["requires-python"])
    assert pip[0] == "--constraint constraints.txt"
    lock = pins()
    for text in pip[1:]:
        if text.startswith("--editable "):
            extras = Requirement("x" + text.removeprefix("--editable .")).extras
            assert extras == {"course", "test", "video"} <= set(PROJECT["optional-dependencies"])
        else:
            requirement = Requirement(text)
            assert str(requirement.specifier) == f"=={lock[plain(requirement.name)]}"
    assert pip[-1].startswith("--editable ")


def test_python_versions_agree_everywhere():
    doctoring = importlib.import_module("mocap3d.diagnostics")
    setup = load_setup()
    assert (setup.OLDEST, setup.NEWEST) == (doctoring.OLDEST, doctoring.NEWEST)
    (_, oldest), (_, newest) = setup.OLDEST, setup.NEWEST
    assert PROJECT["requires-python"] == f">=3.{oldest},<3.{newest + 1}"


def test_versions_agree():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == PROJECT["version"] and citation["license"] == PROJECT["license"]


# scripts/setup.py


def load_setup():
    spec = importlib.util.spec_from_file_location("project_setup", ROOT / "scripts" / "setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_setup_needs_only_the_standard_library():
    done = subprocess.run(
        [sys.executable, "-I", "-S", "scripts/setup.py", "--help"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0 and "make .venv" in done.stdout, done.stderr


def test_a_torch_that_is_there_is_kept(tmp_path, monkeypatch):
    setup = load_setup()
    monkeypatch.setattr(setup, "VENV", tmp_path)
    kept = setup.constraints_keeping("2.9.1").read_text().splitlines()
    locked = (ROOT / "constraints.txt").read_text().splitlines()
    assert "torch==2.9.1" in kept and "torch==2.13.0" in locked
    assert [a for a in kept if "torch" not in a] == [a for a in locked if "torch" not in a]


def test_packages_of_the_site_are_installed_when_they_are_needed(tmp_path, monkeypatch):
    setup, commands = load_setup(), []
    monkeypatch.setattr(setup, "VENV", tmp_path)
    monkeypatch.setattr(setup, "STAMP", tmp_path / "stamp")
    monkeypatch.setattr(setup, "make_venv", lambda: None)
    monkeypatch.setattr(setup, "installed_torch", lambda: "2.13.0")
    monkeypatch.setattr(setup, "run", lambda *command: commands.append(command[-1]) or 0)
    for site in (False, False, True, False, True):
        setup.install(site=site)
    assert commands == [".[course,test,video]", ".[course,test,video,site]"]


def test_jupyter_writes_only_inside_the_checkout(tmp_path):
    setup = load_setup()
    assert setup.JUPYTER.is_relative_to(ROOT)
    environment = setup.jupyter_environment(tmp_path / "jupyter")
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        assert Path(environment[name]).is_relative_to(tmp_path)


# What is in the files


def test_no_file_names_a_place_of_one_machine():
    # A path under a home, a mount or a scratch folder means nothing on the next machine.
    machine = re.compile(r"(?<![\w.:/~-])/(?:home|Users|root|work|mnt|tmp|opt|srv|workspace|content)/[\w.]")
    hits = [f"{path}: {m[0]}" for path, text in text_files() for m in machine.finditer(text)]
    assert not hits


def test_files_are_in_plain_english():
    """Words of a dialect the code once had; here they are divided, so that this file does not find itself."""
    parts = (
        "say_|metres",
        "thri|ft",
        "fare|well",
        "spo|ilt",
        "calm| body",
        "one behind| the other",
        "on the way| back",
    )
    parts += ("hangs| on", "as of `|fit`", "as_|seen", "as_|trained")
    dialect = re.compile("|".join(part.replace("|", "") for part in parts), re.IGNORECASE)
    assert not [f"{path}: {match[0]}" for path, text in text_files() for match in dialect.finditer(text)]


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 100


def test_the_readme_opens_with_a_small_moving_image():
    from PIL import Image

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    name = re.search(r"^# mocap3d\n\n!\[.+\]\((.+\.gif)\)", text)[1]
    assert (ROOT / name).stat().st_size < 1_000_000
    with Image.open(ROOT / name) as image:
        assert image.n_frames > 20


def test_no_file_needs_the_packages_that_break():
    """The published repositories' frameworks are never imported: reading their files needs none of them."""
    banned = "|".join(("mmcv", "mmengine", "mmpose", "chumpy", "mmdet"))
    importing = re.compile(rf"^\W*(?:from|import)\s+(?:{banned})\b", re.MULTILINE)
    assert not [path for path, text in text_files() if path.suffix in (".py", ".ipynb") and importing.search(text)]


def test_scipy_and_others_stay_out_of_the_library():
    """The library imports what its core dependencies and the standard library give, and nothing else."""
    allowed = {"numpy", "torch", "plotly", "PIL", "tqdm", "safetensors", "filelock", "mocap3d"} | set(
        sys.stdlib_module_names
    )
    # inside functions: in a notebook; for videos; for H36M's own files; for animation
    interactive = {"IPython", "ipywidgets", "anywidget", "traitlets", "imageio_ffmpeg", "cdflib", "h5py"}
    interactive |= {"scipy", "pygltflib", "onnxscript"}
    for path in (ROOT / "mocap3d").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            assert {name.split(".")[0] for name in names} <= allowed | interactive, path


def test_no_motion_data_is_in_the_project():
    motion = {".bvh", ".amc", ".asf", ".c3d", ".trc", ".pth", ".pt", ".pkl", ".cdf", ".h5"}
    assert not [path for path in project_files() if path.suffix in motion]
    large = [path for path in project_files() if path.stat().st_size > 1_500_000]
    assert {path.parent.name for path in large} <= {"shipped"}  # weights trained on the built-in and on CMU motion
    assert all(path.stat().st_size < 10_000_000 for path in large)


def test_imports_keep_to_their_floors():
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


# Notebooks


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_small_executed_and_without_widget_state(path):
    assert path.stat().st_size < 1_000_000
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert "widgets" not in notebook["metadata"]
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code" and "".join(cell["source"]).strip()]
    assert code and all(cell["execution_count"] for cell in code)
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    expected = [cell for cell in code if "raises-exception" in cell["metadata"].get("tags", [])]
    errors = [cell for cell in code if any(out["output_type"] == "error" for out in cell["outputs"])]
    assert all(cell in expected for cell in errors)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_has_cells_whose_output_is_compared(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    checked = [cell for cell in cells if "nbval-check-output" in cell["metadata"].get("tags", [])]
    assert len(checked) >= 5 and all(cell["outputs"] for cell in checked)


def test_the_readme_lists_every_notebook():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(f"notebooks/{path.name}" in readme for path in NOTEBOOKS)
