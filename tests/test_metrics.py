"""Metrics against published implementations, closed forms and their invariances."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mocap3d import metrics
from mocap3d.camera import rotate
from mocap3d.metrics import MetricError


@pytest.fixture(scope="module")
def case(golden):
    return golden("metrics")


def test_equal_to_published_implementations_in_float64(case, device):
    pred, truth = (torch.as_tensor(case[k], dtype=torch.float64, device=device) for k in ("pred", "gt"))
    assert float(metrics.mpjpe(pred, truth)) == pytest.approx(float(case["vp_mpjpe_f64"]), abs=1e-9)
    assert float(metrics.p_mpjpe(pred, truth)) == pytest.approx(float(case["vp_p_mpjpe_f64"]), abs=1e-9)
    assert float(metrics.n_mpjpe(pred, truth)) == pytest.approx(float(case["vp_n_mpjpe_f64"]), abs=1e-9)


def test_equal_to_published_implementations_per_frame_and_masked(case):
    pred, truth = case["pred"].astype(np.float64), case["gt"].astype(np.float64)
    frames = metrics.joint_errors(pred, truth).mean(-1).reshape(-1)
    np.testing.assert_allclose(frames, case["mb_mpjpe_perframe"], atol=1e-6)
    aligned = metrics.procrustes_align(pred, truth)
    np.testing.assert_allclose(
        np.linalg.norm(aligned - truth, axis=-1).mean(-1).reshape(-1), case["mb_p_mpjpe_perframe"], atol=1e-6
    )
    np.testing.assert_allclose(aligned.reshape(-1, 17, 3)[0], case["mm_aligned_frame0"], atol=1e-6)
    flat_pred, flat_truth, mask = pred.reshape(-1, 17, 3), truth.reshape(-1, 17, 3), case["mask"]
    assert metrics.mpjpe(flat_pred, flat_truth, mask) == pytest.approx(float(case["mm_none_masked"]), abs=1e-6)


def test_masked_alignment_ignores_masked_joints(case):
    """MMPose aligns with all joints and masks afterwards; here a masked joint has no say in the alignment."""
    pred, truth = (case[k].astype(np.float64).reshape(-1, 17, 3) for k in ("pred", "gt"))
    mask = case["mask"]
    ruined = np.where(mask[..., None], pred, 99.0)
    for metric in (metrics.p_mpjpe, metrics.n_mpjpe):
        assert metric(ruined, truth, mask) == pytest.approx(metric(pred, truth, mask), abs=1e-9)
    after = np.linalg.norm(metrics.procrustes_align(pred, truth) - truth, axis=-1)[mask].mean()
    assert after == pytest.approx(float(case["mm_procrustes_masked"]), abs=1e-6)


def test_velocity_equals_published_over_the_time_axis(case):
    pred, truth = case["pred"].astype(np.float64), case["gt"].astype(np.float64)
    assert metrics.mpjve(pred, truth) == pytest.approx(float(case["mb_loss_velocity"]), abs=1e-6)
    # VideoPose3D's evaluation differences a (T, J, 3) clip along its first axis
    clip_pred, clip_truth = (x.reshape(-1, 17, 3) for x in (pred, truth))
    assert metrics.mpjve(clip_pred, clip_truth) == pytest.approx(float(case["vp_velocity"]), abs=1e-6)


def test_closed_forms():
    truth = np.random.default_rng(0).normal(size=(5, 17, 3))
    shifted = truth + [0.003, 0.004, 0.0]
    assert metrics.mpjpe(shifted, truth) == pytest.approx(0.005)
    assert metrics.mpjve(shifted, truth) == pytest.approx(0.0, abs=1e-12)
    assert metrics.p_mpjpe(shifted, truth) == pytest.approx(0.0, abs=1e-9)
    assert metrics.pck(shifted, truth, threshold=0.006) == 1.0
    assert metrics.pck(shifted, truth, threshold=0.004) == 0.0
    # thresholds 0, 5, 10, ... 150 mm: the first two are not above the error of 5 mm
    assert metrics.auc(truth + [0.0051, 0, 0], truth) == pytest.approx(29 / 31)
    drift = np.arange(5)[:, None, None] ** 2 * np.array([0.01, 0, 0])
    assert metrics.acceleration_error(truth + drift, truth, fps=50) == pytest.approx(0.02 * 2500)
    assert metrics.bone_length_error(truth * 1.1, truth) == pytest.approx(0.1 * metrics.bone_lengths(truth).mean())
    assert metrics.per_joint_error(shifted, truth) == pytest.approx([0.005] * 17)


poses = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).normal(size=(3, 17, 3)))


@settings(max_examples=60, deadline=None)
@given(poses, poses, st.integers(0, 2**32 - 1))
def test_invariances(pred, truth, seed):
    rng = np.random.default_rng(seed)
    q = rng.normal(size=4)
    moved = rng.uniform(0.3, 3) * rotate(q / np.linalg.norm(q), pred) + rng.normal(size=3)
    assert metrics.p_mpjpe(moved, truth) == pytest.approx(metrics.p_mpjpe(pred, truth), abs=1e-9)
    assert metrics.n_mpjpe(pred * rng.uniform(0.3, 3), truth) == pytest.approx(metrics.n_mpjpe(pred, truth), abs=1e-9)
    assert metrics.mpjpe(rotate(q / np.linalg.norm(q), pred), rotate(q / np.linalg.norm(q), truth)) == pytest.approx(
        metrics.mpjpe(pred, truth)
    )
    assert metrics.mpjpe(pred, pred) == 0


def test_a_reflection_is_not_free():
    truth = np.random.default_rng(1).normal(size=(2, 17, 3))
    mirrored = truth * [-1, 1, 1]
    assert metrics.p_mpjpe(mirrored, truth) > 0.1


@pytest.mark.parametrize("pose", [np.zeros((2, 17, 3)), np.arange(17.0)[None, :, None] * np.ones((2, 17, 3))])
def test_rank_deficient_poses_give_finite_errors(pose):
    truth = np.random.default_rng(2).normal(size=(2, 17, 3))
    for pred, target in ((pose, truth), (truth, pose), (pose, pose)):
        assert np.isfinite(metrics.p_mpjpe(pred, target))
        assert np.isfinite(metrics.n_mpjpe(pred, target))


def test_missing_joints_are_left_out():
    rng = np.random.default_rng(3)
    truth = rng.normal(size=(4, 17, 3))
    pred = truth + 0.01 * rng.normal(size=truth.shape)
    mask = rng.random((4, 17)) > 0.3
    gappy = np.where(mask[..., None], truth, np.nan)
    for metric in (metrics.mpjpe, metrics.p_mpjpe, metrics.n_mpjpe, metrics.mpjve, metrics.pck, metrics.auc):
        assert metric(pred, gappy) == pytest.approx(metric(pred, truth, mask=mask))
    assert metrics.mpjpe(pred, truth, mask) == pytest.approx(np.linalg.norm(pred - truth, axis=-1)[mask].mean())
    assert np.isnan(metrics.joint_errors(pred, gappy)[~mask]).all()


def test_tensors_stay_differentiable(device):
    truth = torch.randn(2, 5, 17, 3, dtype=torch.float64, device=device)
    pred = truth.roll(1, 0).requires_grad_()
    for metric in (metrics.mpjpe, metrics.n_mpjpe, metrics.p_mpjpe, metrics.mpjve):
        (grad,) = torch.autograd.grad(metric(pred, truth), pred)
        assert torch.isfinite(grad).all() and grad.abs().sum() > 0


def test_whole_numbers_lists_and_odd_arrays_are_measured_too():
    whole = np.zeros((2, 17, 3), int)
    assert metrics.mpjpe(whole, whole + [3, 4, 0]) == metrics.mpjpe(whole.tolist(), whole + [3, 4, 0]) == 5
    assert metrics.p_mpjpe(whole, whole + [3, 4, 0]) == 0
    truth = np.random.default_rng(4).normal(size=(5, 17, 3))
    assert metrics.mpjpe(truth[::-1], truth[::-1]) == 0  # a reversed view
    assert metrics.mpjpe(np.broadcast_to(truth[0], truth.shape), truth) > 0  # a read-only one


@pytest.mark.parametrize("metric", [metrics.mpjpe, metrics.p_mpjpe, metrics.n_mpjpe, metrics.mpjve])
def test_a_prediction_that_is_nan_makes_the_mean_nan_and_no_other_frame(metric):
    truth = np.random.default_rng(5).normal(size=(6, 17, 3))
    wrong = truth[::-1].copy()
    wrong[2, 4] = np.nan
    assert np.isnan(metric(wrong, truth))
    spared = np.ones((6, 17), bool)
    spared[2] = False
    clean = truth[::-1]
    assert metric(wrong, truth, spared) == pytest.approx(metric(clean, truth, spared), abs=1e-9)


@pytest.mark.parametrize(
    "call, word",
    [
        (lambda x: metrics.mpjpe(x, x[:, :16]), "shape"),
        (lambda x: metrics.mpjpe(x[..., :2], x[..., :2]), "joints, 3"),
        (lambda x: metrics.mpjpe(x, x * np.nan), "no joint counts"),
        (lambda x: metrics.mpjpe(x, x, mask=np.ones((2, 5))), "mask"),
        (lambda x: metrics.mpjve(x[:1], x[:1]), "frames"),
    ],
)
def test_bad_input_says_what_is_wrong(call, word):
    with pytest.raises(MetricError, match=word):
        call(np.ones((2, 17, 3)))
