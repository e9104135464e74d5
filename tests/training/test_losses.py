"""Losses: values by hand, gaps in the truth, gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mocap3d import metrics
from mocap3d.training.losses import mpjpe, mse, pose_loss
from tests.toys import ToyLifter


def test_values_by_hand(device):
    prediction = torch.zeros(2, 1, 2, 3, device=device)
    target = prediction.clone()
    target[0, 0, 0] = torch.tensor([3.0, 4.0, 0.0])  # 5 away, one joint of four
    assert float(mpjpe(prediction, target)) == pytest.approx(5 / 4)
    assert float(mse(prediction, target)) == pytest.approx(25 / 12)


def test_mpjpe_is_the_metric(device):
    torch.manual_seed(0)
    a, b = torch.randn(2, 5, 17, 3, device=device)
    assert float(mpjpe(a, b)) == pytest.approx(float(metrics.mpjpe(a, b)), rel=1e-6)
    b[0, 3] = torch.nan
    assert float(mpjpe(a, b)) == pytest.approx(float(metrics.mpjpe(a, b)), rel=1e-6)


@pytest.mark.parametrize("loss", [mse, mpjpe])
def test_unknown_targets_count_for_nothing(device, loss):
    torch.manual_seed(0)
    target = torch.randn(4, 17, 3, device=device)
    target[:, 5] = torch.nan
    target[2] = torch.nan
    prediction = torch.randn(4, 17, 3, device=device, requires_grad=True)
    value = loss(prediction, target)
    value.backward()
    assert torch.isfinite(value) and torch.isfinite(prediction.grad).all()
    assert (prediction.grad[:, 5] == 0).all() and (prediction.grad[2] == 0).all()
    keep = [j for j in range(17) if j != 5]
    assert float(value.detach()) == pytest.approx(
        float(loss(prediction[[0, 1, 3]][:, keep], target[[0, 1, 3]][:, keep]).detach())
    )


@pytest.mark.parametrize("loss", [mse, mpjpe])
def test_nothing_known_is_no_loss_and_a_perfect_joint_has_a_gradient(device, loss):
    prediction = torch.zeros(1, 2, 3, device=device, requires_grad=True)
    loss(prediction, torch.full((1, 2, 3), torch.nan, device=device)).backward()
    assert (prediction.grad == 0).all()
    prediction.grad = None
    loss(prediction, torch.zeros(1, 2, 3, device=device)).backward()  # the norm's slope at 0 must not be NaN
    assert torch.isfinite(prediction.grad).all()


def test_pose_losses_speak_the_models_units(device):
    model = ToyLifter().to(device)
    torch.manual_seed(0)
    pose = torch.randn(8, 1, 17, 3, device=device) + torch.tensor([0, 0, 5.0], device=device)
    model.fit_normalisation(torch.randn(8, 17, 2, device=device), pose[:, 0])
    perfect = model.encode_3d(pose)
    assert float(pose_loss("mse", model, perfect, pose)) == pytest.approx(0, abs=1e-10)
    assert float(pose_loss("mpjpe", model, perfect, pose)) == pytest.approx(0, abs=1e-5)
    off = perfect + torch.tensor([0, 0, 0.1], device=device).repeat(17) / model.std3d  # 0.1 m, in z-scores
    assert float(pose_loss("mpjpe", model, off, pose)) == pytest.approx(0.1, rel=1e-4)
    expected = np.mean((np.tile([0, 0, 0.1], 17) / model.std3d.cpu().numpy()) ** 2)
    assert float(pose_loss("mse", model, off, pose)) == pytest.approx(expected, rel=1e-4)
    with pytest.raises(ValueError, match="mse, mpjpe"):
        pose_loss("huber", model, off, pose)
