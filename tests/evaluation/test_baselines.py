"""Baselines: the mean is the mean, the neighbour is the nearest, and both can be evaluated like any model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mocap3d.data.windows import to_device
from mocap3d.evaluation import baselines
from mocap3d.evaluation.baselines import BaselineError, MeanPose, NearestNeighbour
from mocap3d.evaluation.evaluate import evaluate
from mocap3d.evaluation.predict import predict
from tests.toys import sticks


@pytest.fixture(scope="module")
def train():
    return sticks(takes=3, frames=30, views=2)


@pytest.fixture(scope="module")
def test():
    return sticks(takes=2, frames=20, seed=1, split="test", views=2)


def relative(dataset) -> np.ndarray:
    points = np.concatenate([clip.pose3d.points for clip in dataset]).astype(np.float64)
    return points - points[:, :1]


def test_mean_pose_is_the_mean(train, test, device):
    model = MeanPose().to(device).fit(train)
    poses = predict(model, to_device(test, device)).cpu().numpy()
    np.testing.assert_allclose(poses, np.broadcast_to(relative(train).mean(0), poses.shape), atol=1e-5)
    expected = np.linalg.norm(relative(test) - relative(train).mean(0), axis=-1).mean() * 1000
    assert evaluate(model, test, "mmpose").mpjpe_mm == pytest.approx(expected, rel=1e-5)


def test_neighbour_is_the_nearest(train, test, device):
    model = NearestNeighbour().to(device).fit(train)
    poses = predict(model, to_device(test, device)).cpu().numpy()

    def looks(dataset):
        points = to_device(dataset).points2d.numpy().astype(np.float64)
        points = (points - points[:, :1]).reshape(len(points), -1)
        return points / np.linalg.norm(points, axis=1, keepdims=True)

    distance = np.linalg.norm(looks(test)[:, None] - looks(train)[None], axis=-1)  # (frames, training frames)
    given = np.linalg.norm(poses[:, None] - relative(train)[None], axis=(-1, -2)).argmin(1)
    np.testing.assert_allclose(distance[np.arange(len(given)), given], distance.min(1), atol=1e-5)


def test_neighbour_knows_its_own_and_ignores_place_and_size(train, device):
    model = NearestNeighbour().to(device).fit(train)
    assert evaluate(model, train, "mmpose").mpjpe_mm < 1e-3
    points = to_device(train, device).points2d[:50, None]
    a, b = (model.decode(model(model.encode(x))) for x in (points, 0.5 * points + 0.2))
    torch.testing.assert_close(a, b)


def test_memory_is_bounded_without_changing_the_answer(train, test, device, monkeypatch):
    model, data = NearestNeighbour().to(device).fit(train), to_device(test, device)
    whole = predict(model, data)
    monkeypatch.setattr(baselines, "LARGEST_PRODUCT", 3 * len(model.looks))
    torch.testing.assert_close(predict(model, data), whole)


def test_subsample_is_seeded(train, test, device):
    few = [NearestNeighbour(most=20, seed=seed).to(device).fit(train) for seed in (0, 0, 1)]
    assert all(len(model.looks) == 20 for model in few) and "20 training poses" in repr(few[0])
    assert torch.equal(few[0].looks, few[1].looks) and not torch.equal(few[0].looks, few[2].looks)
    assert (
        evaluate(few[0], test, "mmpose").mpjpe_mm
        > evaluate(NearestNeighbour(None).fit(train), test, "mmpose").mpjpe_mm * 0.9
    )


def test_missing_truth_is_passed_over(train):
    clip = train[0]
    points = clip.pose3d.points.copy()
    points[:10, 4] = np.nan
    holed = [replace(clip, pose3d=replace(clip.pose3d, points=points)), *train.clips[1:]]
    assert len(NearestNeighbour().fit(holed).looks) == train.frames - 10
    assert torch.isfinite(MeanPose().fit(holed).mean).all()
    gone = [
        replace(
            clip, pose3d=replace(clip.pose3d, points=np.where(np.arange(17)[:, None] == 4, np.nan, clip.pose3d.points))
        )
    ]
    with pytest.raises(BaselineError, match="all its joints"):
        NearestNeighbour().fit(gone)


@pytest.mark.parametrize("kind", [MeanPose, NearestNeighbour])
def test_use_before_fit_is_refused(kind, test):
    with pytest.raises(BaselineError, match=r"\.fit\(train\)"):
        evaluate(kind(), test)


def test_a_senseless_size_is_refused():
    with pytest.raises(BaselineError, match="at least 1"):
        NearestNeighbour(most=0)
