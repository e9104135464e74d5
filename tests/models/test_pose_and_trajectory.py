"""Pose and trajectory networks as one model: nothing is computed that the two alone would not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mocap3d.data.windows import to_device
from mocap3d.evaluation.predict import predict
from mocap3d.lifting.lift import lift
from mocap3d.models.videopose3d import PoseAndTrajectory, VideoPose3D
from mocap3d.poses import Pose2D
from tests.toys import sticks


def both(**options) -> PoseAndTrajectory:
    torch.manual_seed(0)
    return PoseAndTrajectory(VideoPose3D(**{"filter_widths": (3, 3), "channels": 12} | options)).eval()


def test_it_is_the_two_networks_side_by_side(device):
    model = both().to(device)
    x = torch.randn(2, 13, 34, device=device)
    output = model(x)
    assert output.shape == (2, 5, 54)
    assert torch.equal(model.decode(output), model.pose.decode(model.pose(x)))
    assert torch.equal(model.decode_root(output)[:, :, 0], model.trajectory(x))
    torch.testing.assert_close(model.run(x[:, :9], strided=True), output[:, :1])
    placed = model.absolute()
    assert (model.space, placed.space) == ("metric", "metric absolute")
    torch.testing.assert_close(placed.decode(placed(x)), model.decode(output) + model.decode_root(output))
    assert placed.pose is model.pose and not placed.training


def test_targets_come_back(device):
    model = both()
    pose = torch.randn(2, 3, 17, 3, device=device)
    torch.testing.assert_close(model.absolute().decode(model.targets(pose)), pose)


def test_the_twin_is_built_alike():
    model = both(filter_widths=(3, 5), causal=True, dropout=0.125)
    twin = model.trajectory
    assert (twin.filter_widths, twin.channels, twin.joints_out) == ((3, 5), 12, 1)
    assert twin.causal and model.causal and twin.stem.dropout == 0.125 and model.receptive_field == 15


def test_networks_that_do_not_go_together():
    with pytest.raises(ValueError, match="17 and 17 joints"):
        PoseAndTrajectory(VideoPose3D((3,), 8), VideoPose3D((3,), 8))
    for options in ({"filter_widths": (3, 3)}, {"filter_widths": (3,), "causal": True}):
        with pytest.raises(ValueError, match="use different windows"):
            PoseAndTrajectory(VideoPose3D((3,), 8), VideoPose3D(channels=8, joints_out=1, **options))


def test_lifting_says_where_the_body_is(device):
    """Root "relative" from the model, "estimated" from its absolute view; both agree with `predict`."""
    clip, model = sticks(takes=1, views=1)[0], both().to(device)
    relative, placed = lift(clip.pose2d, model), lift(clip.pose2d, model.absolute())
    assert (relative.root, placed.root) == ("relative", "estimated") and isinstance(clip.pose2d, Pose2D)
    roots = placed.points - relative.points
    np.testing.assert_allclose(roots, roots[:, :1].repeat(17, 1), atol=1e-5)
    np.testing.assert_allclose(placed.points, predict(model.absolute(), to_device([clip], device)).cpu(), atol=1e-5)
