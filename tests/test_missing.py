"""What stands in for joints nobody saw: seen ones stay, nothing jumps, and one joint does not move the others."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mocap3d.data.phone import coco_from_h36m
from mocap3d.data.synthetic import make_synthetic
from mocap3d.lifting.lift import lift
from mocap3d.missing import SHORT, fill_missing
from mocap3d.poses import Pose2D
from mocap3d.skeleton import COCO17, H36M17, SKELETONS

IMAGE = ("coco17", "halpe26", "body25", "mediapipe33", "h36m17")


def walk(frames: int = 100, skeleton: str = "coco17", seed: int = 0) -> np.ndarray:
    """(T, J, 2) pixels: joints on a body of 400 px that walks through the image and sways."""
    rng, joints = np.random.default_rng(seed), len(SKELETONS[skeleton])
    time = np.arange(frames)[:, None, None] / 50
    sway = 10 * np.sin(2 * np.pi * (rng.uniform(0.2, 1, (joints, 2)) * time + rng.uniform(size=(joints, 2))))
    return rng.uniform(-200, 200, (joints, 2)) + [900, 500] + [60, 0] * time + sway


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.integers(1, 60), st.floats(0, 1), st.sampled_from(IMAGE), st.booleans(), st.booleans()
)
def test_seen_joints_are_kept_and_only_empty_frames_stay_empty(seed, frames, share, skeleton, past_only, whole):
    rng, points = np.random.default_rng(seed), walk(frames, skeleton, seed).astype(np.float32)
    gone = rng.random((1 if whole else frames, points.shape[1])) < share  # for the whole clip, or here and there
    gone = np.broadcast_to(gone, points.shape[:2])
    filled = fill_missing(np.where(gone[..., None], np.nan, points), skeleton, 50, past_only)
    assert filled.dtype == np.float32
    np.testing.assert_array_equal(filled[~gone], points[~gone])
    empty = np.isnan(filled).any((1, 2))
    assert np.isnan(filled[empty]).all() and gone[empty].all()
    if past_only:
        np.testing.assert_array_equal(empty, gone.all(1))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(1, 60), min_size=1, max_size=6),
    st.floats(0, 1),
    st.sampled_from(IMAGE),
    st.booleans(),
    st.sampled_from(["here and there", "clip", "gap"]),
    st.sampled_from([np.float32, np.float64]),
)
def test_each_clip_is_filled_as_if_it_were_alone(device, seed, lengths, share, skeleton, past_only, gone, dtype):
    rng, clip = np.random.default_rng(seed), np.repeat(np.arange(len(lengths)), lengths)
    points = np.concatenate([walk(length, skeleton, seed + i) for i, length in enumerate(lengths)]).astype(dtype)
    points *= (10.0 ** rng.integers(-3, 4, len(lengths)))[clip, None, None].astype(dtype)  # in different units
    if gone == "gap":  # across the border of clips, too
        start = rng.integers(len(clip))
        points[start : start + 30, rng.random(points.shape[1]) < share] = np.nan
    else:
        missing = rng.random((len(lengths) if gone == "clip" else len(clip), points.shape[1])) < share
        points[missing[clip] if gone == "clip" else missing] = np.nan
    alone = np.concatenate([fill_missing(points[clip == i], skeleton, 50, past_only) for i in range(len(lengths))])
    together = fill_missing(points, skeleton, 50, past_only, clip)
    assert isinstance(together, np.ndarray) and together.dtype == dtype
    tensor, labels = torch.from_numpy(points).to(device), torch.from_numpy(clip).to(device)
    before = tensor.clone()
    on_device = fill_missing(tensor, skeleton, 50, past_only, labels)
    torch.testing.assert_close(tensor, before, rtol=0, atol=0, equal_nan=True)
    assert on_device.device == tensor.device and on_device.dtype == tensor.dtype
    if not np.isnan(points).any():
        assert together is points and on_device is tensor
    for i in range(len(lengths)):
        error = (1e-9 if dtype == np.float64 else 1e-6) * np.nanmax(np.abs(alone[clip == i]), initial=1e-9)
        np.testing.assert_allclose(together[clip == i], alone[clip == i], rtol=0, atol=error)
        if dtype == np.float64:
            np.testing.assert_allclose(on_device[labels == i].cpu(), alone[clip == i], rtol=0, atol=error)


def test_float32_tensors_are_filled_in_float32(device):
    points = walk(200).astype(np.float32)
    points[np.random.default_rng(0).random(points.shape[:2]) < 0.3] = np.nan
    filled = fill_missing(torch.from_numpy(points).to(device), "coco17")
    np.testing.assert_allclose(filled.cpu().numpy(), fill_missing(points, "coco17"), atol=0.01)


@pytest.mark.parametrize("skeleton", IMAGE)
def test_a_stream_of_frames_looks_at_the_past_alone(skeleton):
    points = walk(60, skeleton)
    points[np.random.default_rng(1).random(points.shape[:2]) < 0.4] = np.nan
    whole = fill_missing(points, skeleton, past_only=True)
    changed = points.copy()
    changed[40:] *= 3  # also the usual size of the body must not know
    np.testing.assert_allclose(fill_missing(changed, skeleton, past_only=True)[:40], whole[:40])


def test_a_short_gap_is_bridged_in_a_straight_line():
    points = np.arange(40, dtype=np.float32).reshape(20, 1, 2) + np.zeros((20, 17, 2), np.float32)
    holed = points.copy()
    holed[4:16, 3] = np.nan  # 12 frames are 0.24 s
    np.testing.assert_allclose(fill_missing(holed), points, atol=1e-5)
    holed[4:16] = np.nan  # also where nobody is seen
    np.testing.assert_allclose(fill_missing(holed), points, atol=1e-5)
    holed[3:16] = holed[16:17] = np.nan
    assert np.isnan(fill_missing(holed)[3:17]).all()


def test_a_long_gap_keeps_the_offset_from_the_parent_and_does_not_jump():
    points, wrist, elbow = walk(), COCO17.index("left_wrist"), COCO17.index("left_elbow")
    holed = points.copy()
    holed[30:70, wrist] = np.nan
    filled = fill_missing(holed, "coco17")
    offset = filled[:, wrist] - filled[:, elbow]
    kept = int(70 - SHORT * 50) - 1
    assert np.abs(offset[30:kept] - offset[29]).max() < 12  # scaled by a body that changes by a few per cent
    steps = np.linalg.norm(np.diff(filled[:, wrist], axis=0), axis=-1)
    assert steps.max() < 1.5 * np.linalg.norm(np.diff(points[:, wrist], axis=0), axis=-1).max() + 3


def test_an_offset_grows_with_the_body():
    points, ankle, knee = walk(80), COCO17.index("left_ankle"), COCO17.index("left_knee")
    scale = np.linspace(1, 2, 80)[:, None, None]
    holed = (points - points[:, :1]) * scale
    holed[30:, ankle] = np.nan
    filled = fill_missing(holed, "coco17")
    offset = np.linalg.norm(filled[:, ankle] - filled[:, knee], axis=-1)
    assert offset[-1] / offset[29] == pytest.approx(2 / scale[29, 0, 0], rel=0.1)


def test_what_stands_for_a_joint_never_seen():
    points = walk(5)
    for name, expected in (
        ("left_ear", ["right_ear"]),
        ("nose", ["left_ear", "right_ear"]),
        ("left_eye", ["right_eye"]),
    ):
        holed = points.copy()
        holed[:, COCO17.index(name)] = np.nan
        filled = fill_missing(holed, "coco17")
        np.testing.assert_allclose(filled[:, COCO17.index(name)], points[:, COCO17.indices(expected)].mean(1))
    pelvis = H36M17.index("pelvis")
    holed = walk(5, "h36m17")
    holed[:, pelvis] = np.nan
    hips = holed[:, H36M17.indices(["left_hip", "right_hip"])].mean(1)
    np.testing.assert_allclose(fill_missing(holed)[:, pelvis], hips)


@pytest.fixture(scope="module")
def coco_clips():
    pairs = []
    for clip in list(make_synthetic().test)[:24:3]:
        points = coco_from_h36m(torch.from_numpy(clip.pose3d.points)).numpy()
        pairs.append((clip, Pose2D(clip.camera.project(points), None, "coco17", 50, clip.pose2d.image_size)))
    return pairs


def error_without(joints: tuple[str, ...], coco_clips, single: bool) -> float:
    """Mean error in mm of `lift` on COCO keypoints without some joints, over the joints that are there."""
    errors = []
    others = [joint for joint, name in enumerate(H36M17.joints) if name.replace("foot", "ankle") not in joints]
    for clip, pose2d in coco_clips:
        truth = clip.pose3d.root_relative().points
        if single:
            middle = len(clip) // 2
            pose2d, truth = pose2d.slice(middle, middle + 1), truth[middle : middle + 1]
        points = pose2d.points.copy()
        points[:, COCO17.indices(list(joints))] = np.nan
        pose = lift(replace(pose2d, points=points)).points
        errors.append(1000 * np.linalg.norm(pose - truth, axis=-1)[:, others].mean())
    return float(np.mean(errors))


@pytest.mark.parametrize(
    ("joints", "single", "most"),
    [
        (("right_ear",), False, 5),
        (("nose", "left_eye", "right_eye"), False, 3),
        (("left_shoulder",), False, 5),
        (("right_ear",), True, 12),
        (("left_ankle",), True, 25),
        (("left_wrist",), True, 12),
    ],
)
def test_one_joint_never_seen_costs_little(coco_clips, joints, single, most):
    cost = error_without(joints, coco_clips, single) - error_without((), coco_clips, single)
    assert cost <= most


def test_frames_without_anybody_are_nan_and_told(coco_clips):
    _, pose2d = coco_clips[0]
    points = pose2d.points.copy()
    points[50:100] = np.nan
    with pytest.warns(UserWarning, match="nobody is seen in 50 of 400 frames") as told:
        pose = lift(replace(pose2d, points=points))
    assert len(told) == 1
    np.testing.assert_array_equal(np.isnan(pose.points).any((1, 2)), np.isnan(points).any((1, 2)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lift(pose2d)
