"""The examples in docstrings: there, and right."""

from __future__ import annotations

import ast
import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent / "mocap3d"
MODULES = [ROOT / f"{name}.py" for name in ("skeleton", "camera", "poses", "metrics")]
MODULES += [ROOT / "formats" / f"{name}.py" for name in ("bvh", "asf_amc", "motion_file", "safe_files")]
# What takes the parsed form of a file is shown by the function that reads the file.
SHOWN_BY_READERS = {"find_skeleton", "local_transforms", "parse_asf", "parse_amc", "parse_bvh", "scale", "fps"}


def public_functions(tree: ast.Module):
    for node in tree.body:
        inside = node.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_") else [node]
        for function in inside:
            if isinstance(function, ast.FunctionDef) and not function.name.startswith("_"):
                yield function


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_every_public_function_has_an_example(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    lacking = [node.name for node in public_functions(tree) if ">>> " not in (ast.get_docstring(node) or "")]
    assert not set(lacking) - SHOWN_BY_READERS


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_the_examples_are_right(path):
    name = ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)
    result = doctest.testmod(importlib.import_module(name))
    assert not result.failed and (result.attempted or "+SKIP" in path.read_text(encoding="utf-8"))
