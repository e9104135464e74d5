"""The names people type: what `mocap3d` offers at the top, what notebooks import, and how a room opens.

Three promises are kept here. A dotted name means one thing (no function hides a module). The top offers what the
notebooks use and little more, each name documented. And what a model can do is in its contract (models/lifter.py): no
code that handles a model guesses by `getattr` with a default, `hasattr` or `except AttributeError`.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import pkgutil
import re
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

import mocap3d

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "mocap3d"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MODULES = sorted(module.name for module in pkgutil.walk_packages([str(PACKAGE)], "mocap3d."))

# Names at the top that no notebook types yet, and who needs them.
MORE_NAMES = {
    "Clip": "type of what a data set holds; needed to build one from recordings of one's own",
    "EvalProtocol": "type of PROTOCOLS' values; a protocol of one's own is one",
    "Lifter": "the contract, for type hints of models of one's own",
    "Report": "type of what `evaluate` returns; Report.from_json reads a stored one",
    "Run": "type of what `fit` returns",
    "Skeleton": "a skeleton of one's own, for files in another joint order",
    "evaluate_with_trajectory": "the poses and where the person went, of a PoseAndTrajectory",
    "film": "clips of motion of one's own, through any cameras",
    "list_models": "what `create_model` takes",
    "load_weights": "published and own weights",
    "read_amc": "motion capture files",
    "show_history": "curves of a run that is over; `live_history` draws them while it trains",
    "read_pose": "reads back what `write` wrote",
    "save_weights": "own weights",
}

# What a lesson that takes a module apart imports from inside it: notebook -> module -> names.
TAKEN_APART = {
    "01": {  # conversions between frames and skeletons, written by hand and compared
        "mocap3d.camera": {"rotation_matrix"},
        "mocap3d.skeleton": {"convert"},
    },
    "02": {  # a protocol switch by switch, and the 2.5D and the chunks of the published evaluators
        "mocap3d.data.image_space": {"mm_factor", "scale_by_factor", "to_image_space"},
        "mocap3d.data.chunks": {"published_chunks"},
        "mocap3d.evaluation.protocol": {
            "BOTH_CENTRED",
            "CAMERA_FACTOR",
            "CLIPS_RESAMPLED",
            "IMAGE_SPACE",
            "ROOT_COPIED",
            "TARGET_ADDED",
        },
        "mocap3d.evaluation.report": {"METRICS"},
    },
    "03": {"mocap3d.data.windows": {"epoch_generator"}},  # the training loop by hand, in the order of `fit`
    "04": {  # slower and faster detectors, and windows frozen and reversed
        "mocap3d.data.detector": {"DETECTORS"},
        "mocap3d.data.windows": {"normalised", "window"},
    },
    "05": {  # the losses by hand, and one step of semi-supervised training
        "mocap3d.camera": {"project"},
        "mocap3d.data.windows": {"batches"},
        "mocap3d.training.losses": {"bone_length", "mpjpe", "reprojection", "trajectory"},
        "mocap3d.training.semi_supervised": {"losses", "unlabelled_video"},
    },
    "06": {  # 2.5D by hand, points as the network reads them, and the blending of overlapping chunks
        "mocap3d.data": {"image_space"},
        "mocap3d.data.chunks": {"overlapping_chunks"},
        "mocap3d.data.windows": {"normalised"},
    },
    "07": {  # masks, both losses and the schedule of pretraining by hand
        "mocap3d.data.chunks": {"cut_chunks"},
        "mocap3d.data.windows": {"batches", "normalised"},
        "mocap3d.training.fit": {"mask", "supervised"},
        "mocap3d.training.losses": {"weighted_2d"},
        "mocap3d.training.pretraining": {"Pretraining", "seen_in_2d"},
    },
    "09": {  # a simulated detector, its failures, and the steps of cleaning one by one
        "mocap3d.camera": {"screen_to_pixels"},
        "mocap3d.data.failures": {"Failures", "detect_with_failures"},
        "mocap3d.data.phone": {"coco_from_h36m"},
        "mocap3d.formats.animation_files": {"joint_angles"},
        "mocap3d.lifting": {"cleanup"},
        "mocap3d.skeleton": {"root_relative"},
    },
    "10": {"mocap3d.models.simple_baseline": {"SimpleBaseline3D"}},  # an idea that starts from it
}

OPEN_ROOMS = "bench course data data/h36m evaluation figures formats lifting models training".split()
SEALED_ROOMS = {"data/synthetic": 3, "figures/player": 3}  # names it may export, at most

# Where models are handled.
MODEL_CODE = [
    *(
        path
        for room in "models training evaluation lifting figures bench".split()
        for path in sorted((PACKAGE / room).rglob("*.py"))
    ),
    PACKAGE / "data" / "windows.py",
    PACKAGE / "weights.py",
]
GUESSES = {
    "models/cpu.py": {"except AttributeError"}  # asks this torch for an operator, not a model for an attribute
}


# A dotted name means one thing


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
def test_a_dotted_name_is_its_module(name):
    """`mocap3d.training.fit` is the module, both by import and by attribute: no name hides it."""
    module = importlib.import_module(name)
    assert isinstance(module, ModuleType) and sys.modules[name] is module
    found = mocap3d
    for part in name.split(".")[1:]:
        found = getattr(found, part)
    assert found is module, f"{name} by attribute is {found!r}"


@pytest.mark.parametrize("room", OPEN_ROOMS)
def test_an_open_room_opens_with_a_docstring_and_nothing_else(room):
    tree = ast.parse((PACKAGE / room / "__init__.py").read_text(encoding="utf-8"))
    assert ast.get_docstring(tree) and len(tree.body) == 1


@pytest.mark.parametrize("room", SEALED_ROOMS)
def test_a_sealed_room_has_one_door(room):
    module = importlib.import_module("mocap3d." + room.replace("/", "."))
    assert module.__doc__ and len(module.__all__) <= SEALED_ROOMS[room]


# What the top offers


@cache
def cells(path: Path, kind: str) -> list[str]:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


def nodes(path: Path) -> list[ast.AST]:
    return [node for source in cells(path, "code") for node in ast.walk(ast.parse(source))]


def names_from_the_top(path: Path) -> set[str]:
    """X of every `mocap3d.X` and `from mocap3d import X` in a notebook's code, and of `mocap3d.X` in its text."""
    found = set()
    for node in nodes(path):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "mocap3d":
            found.add(node.attr)
        if isinstance(node, ast.ImportFrom) and node.module == "mocap3d":
            found |= {alias.name for alias in node.names}
    return found.union(*(re.findall(r"\bmocap3d\.([A-Za-z]\w*)", text) for text in cells(path, "markdown")))


def imports_from_inside(path: Path) -> dict[str, set[str]]:
    """Module of the package -> names that a notebook takes from it."""
    found = {}
    for node in nodes(path):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("mocap3d."):
            found.setdefault(node.module, set()).update(alias.name for alias in node.names)
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("mocap3d."):
                    found.setdefault(alias.name, set()).add("*")
    return found


def test_the_top_offers_what_the_notebooks_use_and_a_few_names_more():
    used = set().union(*map(names_from_the_top, NOTEBOOKS))
    offered = mocap3d.__all__
    assert len(set(offered)) == len(offered)
    assert not used - set(offered), "used in a notebook, but not in mocap3d.__all__"
    assert not used & set(MORE_NAMES), "a notebook uses these now: take them off MORE_NAMES"
    assert set(offered) == used | set(MORE_NAMES)


def test_nothing_else_is_at_the_top():
    public = {name for name in vars(mocap3d) if not name.startswith("_")}
    rest = {name for name in public - set(mocap3d.__all__) if not isinstance(vars(mocap3d)[name], ModuleType)}
    assert not rest


def home(name: str) -> tuple[ModuleType, ast.Module]:
    """The module that a name at the top comes from, and its code."""
    for node in ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and name in {alias.name for alias in node.names}:
            module = sys.modules[node.module]
            return module, ast.parse(inspect.getsource(module))
    raise AssertionError(f"{name} is not imported in mocap3d/__init__.py")


@pytest.mark.parametrize("name", mocap3d.__all__)
def test_a_public_name_exists_and_is_documented(name):
    """Functions, classes and modules by a docstring; constants by a comment, or in the docstring of their module."""
    value = getattr(mocap3d, name)
    if isinstance(value, ModuleType) or inspect.isroutine(value) or inspect.isclass(value):
        summary = (value.__doc__ or "").partition("\n")[0]
        assert len(summary) > 10 and not summary.startswith(f"{name}("), f"{name} needs a docstring"
        return
    module, tree = home(name)
    lines = inspect.getsource(module).splitlines()
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if name in {part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)}:
            above, line = lines[node.lineno - 2], lines[node.lineno - 1]
            assert (
                above.startswith("#")
                or "  # " in line
                or f"`{name}`" in module.__doc__
                or re.search(rf"\b{name}\[", module.__doc__)
            ), f"{name} needs a comment that says what it is"
            return
    raise AssertionError(f"{name} is not defined in {module.__name__}")


# What notebooks import


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_imports_from_the_top(path):
    """Else a lesson would teach the library's inside; those that mean to are listed in TAKEN_APART, name by name."""
    assert imports_from_inside(path) == TAKEN_APART.get(path.stem[:2], {})


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_files_that_a_notebook_names_are_there(path):
    text = "\n".join(cells(path, "markdown") + cells(path, "code"))
    named = set(re.findall(r"\b(?:mocap3d|data_scripts|benchmarks|scripts)/[\w/]+\.py\b", text))
    assert not [name for name in named if not (ROOT / name).is_file()]


def test_no_function_is_defined_alike_in_two_notebooks():
    """What two lessons need stands once, in mocap3d/figures/notebook.py."""
    seen, twice = {}, []
    for path in NOTEBOOKS:
        for source in cells(path, "code"):
            for node in ast.parse(source).body:
                if isinstance(node, ast.FunctionDef) and seen.setdefault(ast.dump(node), path) != path:
                    twice.append((node.name, path.stem))
    assert not twice


# What a model can do is in its contract


def guesses(path: Path) -> set[str]:
    """The ways in which a file asks an object whether it has an attribute."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id == "getattr" and len(node.args) + len(node.keywords) > 2:
                found.add("getattr with a default")
            if node.func.id == "hasattr":
                found.add("hasattr")
        if isinstance(node, ast.ExceptHandler) and node.type is not None:
            if "AttributeError" in {part.id for part in ast.walk(node.type) if isinstance(part, ast.Name)}:
                found.add("except AttributeError")
    return found


@pytest.mark.parametrize("path", MODEL_CODE, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_model_is_asked_what_it_has(path):
    assert guesses(path) == GUESSES.get(path.relative_to(PACKAGE).as_posix(), set())


def test_a_guess_is_found(tmp_path):
    path = tmp_path / "guesses.py"
    for code, found in {
        "getattr(model, 'form', None)": "getattr with a default",
        "hasattr(model, 'form')": "hasattr",
        "try:\n    model.form\nexcept (TypeError, AttributeError):\n    pass": "except AttributeError",
    }.items():
        path.write_text(code)
        assert guesses(path) == {found}
    path.write_text("getattr(recipe, name)")
    assert guesses(path) == set()
