"""Trajectory error: what it sees, what alignment takes away, and that reports carry it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mocap3d.data.windows import to_device
from mocap3d.evaluation.comparison import compare, table
from mocap3d.evaluation.evaluate import evaluate
from mocap3d.evaluation.protocol import PROTOCOLS, ReportError
from mocap3d.evaluation.report import METRICS, Report
from mocap3d.evaluation.trajectory import _path_errors, evaluate_with_trajectory, predict_root
from mocap3d.models.videopose3d import PoseAndTrajectory, VideoPose3D
from tests.toys import sticks


@pytest.fixture(scope="module")
def dataset():
    return sticks(takes=2, frames=30, views=2, split="test")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return PoseAndTrajectory(VideoPose3D((3,), 8)).eval()


def test_alignment_forgives_place_heading_and_scale_of_the_whole_path():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(50, 3)).cumsum(0)
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    q *= np.linalg.det(q)  # a rotation
    errors = _path_errors(1.3 * truth @ q.T + [0, 0, 2], truth)
    assert errors["trajectory_mm"] > 1000 and errors["trajectory_aligned_mm"] < 1e-6
    shifted = _path_errors(truth + [0.3, 0, 0.4], truth)
    assert shifted["trajectory_mm"] == pytest.approx(500) and shifted["trajectory_aligned_mm"] < 1e-6
    wobble = truth + 0.1 * rng.normal(size=truth.shape)
    assert 50 < _path_errors(wobble, truth)["trajectory_aligned_mm"] < 200
    mirrored = _path_errors(truth * [-1, 1, 1], truth)
    assert mirrored["trajectory_aligned_mm"] > 100  # a mirror is no alignment
    truth[3] = np.nan
    assert _path_errors(truth + [0.3, 0, 0.4], truth)["trajectory_mm"] == pytest.approx(500)
    assert math.isnan(_path_errors(truth, np.full_like(truth, np.nan))["trajectory_mm"])


def test_the_report_holds_the_poses_as_ever_and_the_path(dataset, model, device):
    model.to(device)
    plain, report = (evaluate(model, dataset, "videopose3d"), evaluate_with_trajectory(model, dataset, "videopose3d"))
    assert all(report.mean(metric) == plain.mean(metric) for metric in METRICS)
    data = to_device(dataset, device)
    flip = PROTOCOLS["videopose3d"].flip_test
    off = torch.linalg.vector_norm(predict_root(model, data, flip) - data.pose3d[:, 0], dim=-1)
    mean = float(off.mean())
    assert report.mean("trajectory_mm") == pytest.approx(1000 * mean, rel=0.2)  # averaged by action there
    first = report.clips[0]
    assert first.values["trajectory_mm"] == pytest.approx(1000 * float(off[: len(dataset[0])].mean()), rel=1e-4)


def test_roots_are_those_of_the_trajectory_network(dataset, model):
    model.cpu()
    data = to_device(dataset)
    with torch.no_grad():
        alone = model.trajectory(model.encode(data.points2d[None, 3:6]))[0, 0]
    torch.testing.assert_close(predict_root(model, data)[4], alone, atol=1e-5, rtol=1e-4)


def test_reports_with_and_without_a_path(dataset, model, tmp_path):
    model.cpu()
    plain, report = evaluate(model, dataset), evaluate_with_trajectory(model, dataset)
    assert "aligned trajectory mm" in str(report) and "trajectory mm" not in str(plain)
    again = Report.from_json(report.to_json(tmp_path / "report.json"))
    assert str(again) == str(report) and again.clips == report.clips
    both = str(table({"with": report, "without": plain}))
    assert "aligned trajectory mm" in both
    assert compare(report, report, "trajectory_mm").difference == 0
    with pytest.raises(ReportError, match="no metric 'trajectory_mm' in both reports"):
        compare(report, plain, "trajectory_mm")
    assert math.isnan(plain.mean("trajectory_mm"))
