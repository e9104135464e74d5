"""Losses: values by hand, gaps in the truth, gradients."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mocap3d import metrics
from mocap3d.camera import h36m_cameras, pixels_to_screen, rotation_matrix
from mocap3d.metrics import bone_lengths
from mocap3d.skeleton import H36M17
from mocap3d.training.losses import (
    BONE_PAIRS,
    TERMS,
    angle,
    angle_velocity,
    bone_length,
    limb_length,
    limb_variance,
    mpjpe,
    mse,
    n_mpjpe,
    pose_loss,
    reprojection,
    trajectory,
    velocity,
    weighted_2d,
)
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
    perfect = model.targets(pose)
    assert float(pose_loss("mse", model, perfect, pose)) == pytest.approx(0, abs=1e-10)
    assert float(pose_loss("mpjpe", model, perfect, pose)) == pytest.approx(0, abs=1e-5)
    off = perfect + torch.tensor([0, 0, 0.1], device=device).repeat(17) / model.std3d  # 0.1 m, in z-scores
    assert float(pose_loss("mpjpe", model, off, pose)) == pytest.approx(0.1, rel=1e-4)
    expected = np.mean((np.tile([0, 0, 0.1], 17) / model.std3d.cpu().numpy()) ** 2)
    assert float(pose_loss("mse", model, off, pose)) == pytest.approx(expected, rel=1e-4)
    with pytest.raises(ValueError, match="mse, mpjpe"):
        pose_loss("huber", model, off, pose)


def test_trajectory_by_hand(device):
    prediction = torch.tensor([[3.0, 4.0, 5.0], [0.0, 0.0, 9.0], [1.0, 2.0, 3.0]], device=device, requires_grad=True)
    target = torch.tensor([[0.0, 0.0, 5.0], [0.0, 0.0, 10.0], [torch.nan] * 3], device=device)
    loss = trajectory(prediction, target)  # 5 m at 5 m, 1 m at 10 m, and one nobody knows
    loss.backward()
    assert float(loss.detach()) == pytest.approx((1 + 0.1) / 2)
    assert torch.isfinite(prediction.grad).all() and (prediction.grad[2] == 0).all()
    assert float(trajectory(prediction, torch.full_like(target, torch.nan)).detach()) == 0


def test_trajectory_is_the_published_weighted_error(golden, device):
    case = golden("metrics")
    depth = torch.from_numpy(case["w"]).double()[..., None].reciprocal().to(device)  # (3, 12, 1, 1)
    a, b = (torch.from_numpy(case[name]).double().to(device) for name in ("pred", "gt"))
    a, b = (torch.cat([x[..., :2], x[..., 2:] - b[..., 2:] + depth], -1) for x in (a, b))  # truth at that depth
    assert float(trajectory(a, b)) == pytest.approx(float(case["vp_weighted_mpjpe"]), rel=1e-5)


def test_a_pose_that_projects_onto_its_2d_has_no_error(golden, formula, device):
    case = golden("camera")
    put = lambda x: torch.as_tensor(x, dtype=torch.float64, device=device)  # noqa: E731
    points, intrinsics = put(case["X"]), put(case["cam"])
    for name, linear in (("project_to_2d", False), ("project_to_2d_linear", True)):
        image = put(case[name])
        assert float(reprojection(points, image, intrinsics, linear=linear)) < 1e-6
        assert float(reprojection(points, image, intrinsics, linear=not linear)) > 1e-4
        off = image + torch.tensor([3.0, 4.0], device=device)
        assert float(reprojection(points, off, intrinsics, linear=linear)) == pytest.approx(5, abs=1e-6)
    near = formula.pose3d("cam/x", (3, 6, 17, 3)) + formula.root3d("cam/root", 3, 6)
    near[0, 0, :, 2] = 0.1
    assert float(reprojection(put(near), put(case["project_to_2d_clamped"]), intrinsics)) < 1e-6


@pytest.mark.parametrize("lens", ["none", "videopose3d", "opencv"])
def test_behind_the_camera_is_no_nan_and_unseen_joints_count_for_nothing(lens, device):
    torch.manual_seed(0)
    points = torch.randn(4, 1, 17, 3, device=device, requires_grad=True)  # half of them behind
    points2d = torch.randn(4, 1, 17, 2, device=device)
    points2d[1, :, 3] = torch.nan
    intrinsics = torch.tensor([2.3, 2.3, 0.02, 0.03, -0.2, 0.2, 0.0, 0.001, -0.001], device=device).expand(4, 9)
    intrinsics = intrinsics if lens != "none" else intrinsics * (torch.arange(9, device=device) < 4)
    loss = reprojection(points, points2d, intrinsics, lens)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(points.grad).all() and (points.grad[1, :, 3] == 0).all()


def test_reprojection_is_what_the_camera_sees(device):
    camera = replace(h36m_cameras("S1")[0], distortion_model="opencv")
    points = np.random.default_rng(0).uniform([-1, -1, 3], [1, 1, 6], (5, 1, 17, 3))
    image = pixels_to_screen(camera.project(points), camera.width, camera.height)
    put = lambda x: torch.as_tensor(x, dtype=torch.float64, device=device)  # noqa: E731
    intrinsics = put(camera.screen_intrinsics()).expand(5, 9)
    assert float(reprojection(put(points), put(image), intrinsics, "opencv")) < 1e-6


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.5, 2.0))
def test_bone_length_sees_lengths_and_nothing_else(seed, scale):
    rng = np.random.default_rng(seed)
    pose = torch.from_numpy(rng.normal(size=(6, 1, 17, 3)))
    turn = torch.from_numpy(rotation_matrix(quaternion(rng)))
    moved = pose.flip(0) @ turn.T + torch.from_numpy(rng.normal(size=(6, 1, 1, 3)))
    assert float(bone_length(pose, torch.cat([moved, moved]))) < 1e-12
    mean = float(bone_lengths(pose).mean())
    assert float(bone_length(pose, scale * moved)) == pytest.approx(abs(scale - 1) * mean, abs=1e-9)


def quaternion(rng: np.random.Generator) -> np.ndarray:
    q = rng.normal(size=4)
    return q / np.linalg.norm(q)


def test_bone_length_pulls_at_both_halves(device):
    torch.manual_seed(0)
    a, b = (torch.randn(n, 1, 17, 3, device=device, requires_grad=True) for n in (3, 5))
    bone_length(a, b).backward()
    assert a.grad.abs().sum() > 0 and b.grad.abs().sum() > 0


def test_bone_length_of_groups_compares_like_with_like(device):
    torch.manual_seed(0)
    child, adult = (size * torch.randn(5, 1, 17, 3, device=device) for size in (1.0, 2.0))
    labelled, unlabelled = torch.cat([child, adult[:2]]), torch.cat([adult[:2], child, 3 * child])
    groups = [torch.tensor(values, device=device) for values in ([0] * 5 + [7] * 2, [7] * 2 + [0] * 5 + [3] * 5)]
    assert float(bone_length(labelled, unlabelled)) > 0.1
    assert float(bone_length(labelled, unlabelled, groups)) < 1e-6  # nobody labelled is in group 3
    unlabelled[2:7] *= 1.1
    of_children = 0.1 * float(bone_lengths(child).mean())
    assert float(bone_length(labelled, unlabelled, groups)) == pytest.approx(of_children * 5 / 7, rel=1e-5)
    assert float(bone_length(child, adult, [groups[0][:5], groups[0][5:6].expand(5)])) == 0


# Losses of whole clips


def test_terms_are_the_metrics(device):
    torch.manual_seed(0)
    a, b = torch.randn(2, 3, 6, 17, 3, device=device)
    assert float(n_mpjpe(3 * b, b)) < 1e-5 < float(mpjpe(3 * b, b))
    for holes in (False, True):
        if holes:
            b[0, 2, 4], b[1, 3] = torch.nan, torch.nan
        assert float(velocity(a, b)) == pytest.approx(float(metrics.mpjve(a, b)), rel=1e-5)
        assert float(n_mpjpe(a, b)) == pytest.approx(float(metrics.n_mpjpe(a, b)), rel=1e-5)
    assert float(velocity(a[:, :1], b[:, :1])) == 0


def arm(degrees: float, length: float = 1.0) -> torch.Tensor:
    """(17, 3): every bone straight down, but the right forearm turned by so many degrees."""
    pose = torch.zeros(17, 3)
    for joint, parent in enumerate((-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15)):
        if joint:
            pose[joint] = pose[parent] + torch.tensor([0.0, 0.0, -1.0])
    turn = torch.tensor(degrees * torch.pi / 180)
    pose[16] = pose[15] + length * torch.stack([turn.sin(), torch.tensor(0.0), -turn.cos()])
    return pose


def test_bones_and_angles_by_hand(device):
    straight, bent, long = (x.to(device)[None, None] for x in (arm(0), arm(90), arm(0, 3.0)))
    assert len(BONE_PAIRS) == 19 and all(len({*a} & {*b}) == 1 for a, b in _bones(BONE_PAIRS))
    assert float(limb_length(straight, long)) == pytest.approx(2 / 16)
    assert float(limb_length(straight, bent)) == pytest.approx(0, abs=1e-6)
    assert float(angle(straight, bent)) == pytest.approx((torch.pi / 2) / 19, rel=2e-3)  # one pair: at the elbow
    assert float(angle(bent, bent)) == 0
    clip, still = torch.cat([straight, bent], 1), torch.cat([straight, straight], 1)
    assert float(angle_velocity(clip, still)) == pytest.approx((torch.pi / 2) / 19, rel=2e-3)
    growing = torch.cat([straight, long], 1)
    assert float(limb_variance(growing, still)) == pytest.approx(2.0 / 16)  # of 1 and 3
    assert float(limb_variance(clip, still)) == pytest.approx(0, abs=1e-6)
    assert float(limb_variance(straight, bent)) == 0


def _bones(pairs):
    return [(H36M17.bones[a], H36M17.bones[b]) for a, b in pairs]


@pytest.mark.parametrize("name", TERMS)
def test_terms_have_finite_gradients(device, name):
    """Also where joints coincide, bones are straight, and truth is missing; and a perfect pose has none to speak of."""
    torch.manual_seed(0)
    target = torch.randn(2, 5, 17, 3, device=device)
    target[0, 1, 3] = torch.nan
    for start in (torch.randn_like(target), torch.zeros_like(target), arm(0).to(device).expand(2, 5, 17, 3).clone()):
        prediction = start.requires_grad_()
        value = TERMS[name](prediction, target)
        value.backward()
        assert value.ndim == 0 and torch.isfinite(value) and torch.isfinite(prediction.grad).all()


def test_2d_teaches_x_and_y_by_confidence(device):
    prediction = torch.zeros(1, 1, 2, 3, device=device, requires_grad=True)
    target = torch.tensor([[[[3.0, 4.0], [0.0, 1.0]]]], device=device)
    confidence = torch.tensor([[[0.5, 1.0]]], device=device)
    loss = weighted_2d(prediction, target, confidence)
    assert loss.item() == pytest.approx((2.5 + 1.0) / 2)
    loss.backward()
    assert (prediction.grad[..., 2] == 0).all() and (prediction.grad[..., 1] < 0).all()
    target[0, 0, 1] = torch.nan
    assert weighted_2d(prediction, target, confidence).item() == pytest.approx(2.5)


def test_a_recipes_terms_are_added(device):
    torch.manual_seed(0)
    model = ToyLifter().to(device)
    model.decode = lambda output: output
    said, truth = torch.randn(2, 2, 4, 17, 3, device=device)
    target = truth - truth[..., :1, :]
    terms = {"n_mpjpe": 0.5, "velocity": 20.0, "angle": 0.0}
    expected = mpjpe(said, target) + 0.5 * n_mpjpe(said, target) + 20 * velocity(said, target)
    assert float(pose_loss("mpjpe", model, said, truth, terms)) == pytest.approx(float(expected), rel=1e-6)
    model.targets = lambda pose3d: pose3d - pose3d[..., :1, :]
    assert float(pose_loss("mpjpe", model, said, truth, terms)) == pytest.approx(float(expected), rel=1e-6)
    assert float(pose_loss("mse", model, said, truth)) == pytest.approx(float(mse(said, target)), rel=1e-6)
