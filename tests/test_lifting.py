"""`lift`: any length, any known skeleton, the same answer as the evaluation gives."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mocap3d.data.windows import to_device
from mocap3d.evaluation import predict
from mocap3d.lifting import lift
from mocap3d.models import create_model
from mocap3d.poses import Pose2D
from mocap3d.skeleton import HALPE26, Skeleton, SkeletonError, convert
from tests.toys import ToyLifter, sticks

HAND = Skeleton("hand", tuple(f"finger_{i}" for i in range(21)), (-1,) + (0,) * 20)


class WideToy(ToyLifter):
    """Looks at nine frames: lifts their mean."""

    receptive_field = 9

    def encode_2d(self, points):
        return super().encode_2d(points.mean(1, keepdim=True))


@pytest.fixture(scope="module")
def dataset():
    return sticks(takes=2, frames=30, split="test", views=1)


def trained(model, dataset, device):
    data = to_device(dataset, device)
    model.to(device).fit_normalisation(data.points2d, data.pose3d)
    return model, data


@pytest.mark.parametrize("make", [lambda: create_model("simple_baseline", channels=16), WideToy])
def test_lifting_a_clip_is_what_evaluation_predicts(make, dataset, device):
    model, data = trained(make(), dataset, device)
    model.train()
    expected = predict(model, data)[: len(dataset[0])]
    lifted = lift(dataset[0].pose2d, model)
    np.testing.assert_allclose(lifted.points, expected.cpu().numpy(), atol=1e-5)
    assert (lifted.frame, lifted.root, lifted.fps) == ("camera", "relative", 50)
    assert model.training


def test_one_frame_other_skeletons_and_other_rates(dataset):
    model, _ = trained(create_model("simple_baseline", channels=16), dataset, torch.device("cpu"))
    points = np.random.default_rng(0).uniform(300, 700, size=(1, len(HALPE26), 2)).astype(np.float32)
    lifted = lift(Pose2D(points, skeleton=HALPE26, fps=25), model)
    same = lift(Pose2D(convert(points, "halpe26"), fps=25), model)
    assert len(lifted) == 1 and lifted.fps == 25
    np.testing.assert_array_equal(lifted.points, same.points)
    wide, _ = trained(WideToy(), dataset, torch.device("cpu"))
    slow = lift(dataset[0].pose2d.resample(25), wide)
    assert slow.fps == 50 and len(slow) == 29
    with pytest.raises(SkeletonError, match="no conversion"):
        lift(Pose2D(np.zeros((3, 21, 2)), skeleton=HAND), model)


def test_missing_joints_are_filled_as_evaluation_fills_them(dataset, device):
    model, _ = trained(create_model("simple_baseline", channels=16), dataset, device)
    clip = dataset[0]
    points = clip.pose2d.points.copy()
    points[3:9, 5:9] = np.nan
    holed = replace(clip, pose2d=Pose2D(points, image_size=clip.pose2d.image_size))
    expected = predict(model, to_device([holed], device)).cpu().numpy()
    np.testing.assert_allclose(lift(holed.pose2d, model).points, expected, atol=1e-5)
    with pytest.raises(TypeError, match="clip.pose2d"):
        lift(clip, model)
