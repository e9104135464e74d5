"""Fixtures every test shares: the device under test, golden files, and the folder of real motion."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
import torch

GOLDEN = Path(__file__).parent / "golden"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests on recorded motion are left to `make test-all`."""
    for item in items:
        if "mocap_root" in getattr(item, "fixturenames", ()):
            item.add_marker("extended")


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> torch.device:
    """Each test that touches torch runs on the CPU, and on a CUDA device where there is one."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device here; runs on a machine with one")
    return torch.device(request.param)


@pytest.fixture(scope="session")
def mocap_root() -> Path:
    """The folder of real motion capture named by MOCAP3D_DATA."""
    root = os.environ.get("MOCAP3D_DATA")
    if not root:
        pytest.skip("real motion needed: set MOCAP3D_DATA to a folder made by data_scripts/fetch_open_mocap.py")
    path = Path(root)
    if not path.is_dir():
        pytest.fail(f"MOCAP3D_DATA={root} is not a folder")
    return path


@pytest.fixture(scope="session")
def golden():
    """golden("metrics") -> dict of the arrays in tests/golden/metrics.npz."""

    def load(name: str) -> dict[str, np.ndarray]:
        with np.load(GOLDEN / f"{name}.npz", allow_pickle=False) as file:
            return {key: file[key] for key in file.files}

    return load


@pytest.fixture(scope="session")
def formula():
    """The module that generated the golden weights and inputs."""
    spec = importlib.util.spec_from_file_location("golden_formula", GOLDEN / "formula.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
