"""ONNX Runtime computes what torch computes, at every length."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

import mocap3d
from mocap3d.models.onnx import export_onnx

KINDS = {
    "simple_baseline": ("simple_baseline", {}, (1,)),
    "videopose3d_27": ("videopose3d_27", {"channels": 64}, (28, 40, 300)),
    "causal, ray, confidence": (
        "videopose3d",
        {"filter_widths": (3, 3), "channels": 32, "causal": True, "normalise": "ray", "confidence": True}, (10, 33),
    ),
    "motionbert_tiny": ("motionbert_tiny", {}, (1, 27, 81)),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.extended
@pytest.mark.parametrize("kind", KINDS)
def test_the_runtime_agrees_with_torch(kind, tmp_path):
    runtime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    name, options, lengths = KINDS[kind]
    torch.manual_seed(0)
    model = mocap3d.create_model(name, **options)
    model.fit_normalisation(torch.randn(50, 17, 2), torch.randn(50, 17, 3))
    model.train()
    path = export_onnx(model, tmp_path / "model.onnx")
    assert model.training and [p.name for p in tmp_path.iterdir()] == ["model.onnx"]
    model.eval()
    session = runtime.InferenceSession(str(path))
    inputs = {put.name for put in session.get_inputs()}
    for frames in lengths:
        for batch in (1, 3):
            points, confidence = torch.randn(batch, frames, 17, 2), torch.rand(batch, frames, 17)
            with torch.no_grad():
                expected = model.decode(model(model.encode(points, confidence))).numpy()
            given = {"points2d": points.numpy(), "confidence": confidence.numpy()}
            (found,) = session.run(["poses"], {key: value for key, value in given.items() if key in inputs})
            assert found.shape == expected.shape
            assert np.abs(found - expected).max() < 1e-5 * max(1, np.abs(expected).max())


def test_without_its_packages_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ImportError, match=r"mocap3d\[video\]"):
        export_onnx(mocap3d.create_model("simple_baseline"), tmp_path / "model.onnx")
