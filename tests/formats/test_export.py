"""Poses come back from what `write` wrote."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mocap3d
from mocap3d import Pose2D, Pose3D
from mocap3d.formats.export import ExportError, read_pose, write
from mocap3d.formats.keypoints import read_keypoints
from mocap3d.skeleton import H36M17, SKELETONS, Skeleton

ENDINGS = (".npz", ".csv", ".json")
KNOWN = ("h36m17", "coco17", "halpe26", "body25", "mediapipe33")


def pose3d(seed: int = 0, frames: int = 5, skeleton=H36M17, fps=30.0) -> Pose3D:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(frames, len(skeleton), 3)).astype(np.float32)
    points[rng.random((frames, len(skeleton))) < 0.1] = np.nan
    return Pose3D(points, skeleton, fps, "camera", "relative")


def pose2d(seed: int = 0, frames: int = 5, skeleton="coco17", fps=30.0) -> Pose2D:
    rng = np.random.default_rng(seed)
    shape = frames, len(SKELETONS[skeleton])
    points = rng.uniform(1, 1000, (*shape, 2))
    points[rng.random(shape) < 0.1] = np.nan
    points[0, :5] = 500  # nobody would be no clip
    return Pose2D(points, rng.uniform(0.1, 1, shape), skeleton, fps, (1920, 1080))


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(ENDINGS), st.integers(0, 9999), st.integers(1, 6), st.sampled_from((25.0, 30000 / 1001, 240.0)))
def test_a_pose_in_space_comes_back(tmp_path_factory, ending, seed, frames, fps):
    pose = pose3d(seed, frames, fps=fps)
    found = read_pose(write(pose, tmp_path_factory.mktemp("write") / f"pose{ending}"))
    np.testing.assert_allclose(found.points, pose.points, atol=1e-5 if ending != ".npz" else 0)
    assert (found.fps, found.frame, found.root) == (fps, "camera", "relative") and found.skeleton is H36M17


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(ENDINGS), st.integers(0, 9999), st.integers(1, 6), st.sampled_from(KNOWN))
def test_keypoints_come_back(tmp_path_factory, ending, seed, frames, skeleton):
    pose = pose2d(seed, frames, skeleton)
    found = read_keypoints(write(pose, tmp_path_factory.mktemp("write") / f"pose{ending}"))
    np.testing.assert_allclose(found.points, pose.points, atol=1e-4)
    np.testing.assert_allclose(found.confidence, pose.confidence, atol=1e-5)
    assert (found.fps, found.image_size, found.skeleton) == (pose.fps, pose.image_size, pose.skeleton)


@pytest.mark.parametrize("ending", ENDINGS)
def test_times_and_filled_joints_come_back(ending, tmp_path):
    times = 7 + np.array([0, 0.03, 0.07, 0.13, 0.16])
    flat = read_keypoints(write(replace(pose2d(), timestamps=times), tmp_path / f"flat{ending}"))
    pose = replace(pose3d(), timestamps=times, filled=np.random.default_rng(0).random((5, 17)) < 0.5)
    found = read_pose(write(pose, tmp_path / f"pose{ending}"))
    for one in (flat, found):
        np.testing.assert_allclose(one.timestamps, times, atol=1e-5)
        assert one.fps == 30
    if ending != ".csv":
        np.testing.assert_array_equal(found.filled, pose.filled)
    assert read_pose(write(pose3d(), tmp_path / f"steady{ending}")).timestamps is None


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_skeleton_of_ones_own_comes_back(ending, tmp_path):
    arm = Skeleton("arm", ("shoulder, left", "elbow", "hand"), (-1, 0, 1), ("elbow",), ("hand",))
    pose = pose3d(skeleton=arm)
    assert read_pose(write(pose, tmp_path / f"arm{ending}")).skeleton == arm


def test_other_programs_can_read_the_files(tmp_path):
    pose = pose3d()
    with open(write(pose, tmp_path / "pose.csv"), encoding="utf-8") as file:
        assert json.loads(file.readline()[2:])["unit"] == "metres"
        rows = list(csv.DictReader(file))
    assert len(rows) == 5 and rows[1]["time"] == "0.033333"
    assert float(rows[2]["head_z"] or "nan") == pytest.approx(
        pose.points[2, H36M17.index("head"), 2], abs=1e-5, nan_ok=True
    )
    found = json.loads(write(pose, tmp_path / "pose.json").read_text())
    assert found["joints"] == list(H36M17.joints) and (np.array(found["points"], float).shape == (5, 17, 3))
    with np.load(write(pose, tmp_path / "pose.npz"), allow_pickle=False) as arrays:
        assert arrays["frame"] == "camera" and arrays["points"].dtype == np.float32


def test_errors(tmp_path):
    with pytest.raises(ExportError, match=r"ends in .npz, .csv, .json"):
        write(pose3d(), tmp_path / "pose.fbx")
    with pytest.raises(TypeError, match="a Pose2D or a Pose3D as pose, not an array"):
        write(np.zeros((3, 17, 3)), tmp_path / "pose.npz")
    with pytest.raises(ExportError, match="read_keypoints"):
        read_pose(write(pose2d(), tmp_path / "flat.json"))
    with pytest.raises(mocap3d.formats.keypoint_files.KeypointError, match="read_pose"):
        read_keypoints(write(pose3d(), tmp_path / "space.json"))
    with pytest.raises(ExportError, match="No such file"):
        read_pose(tmp_path / "none.npz")


@pytest.mark.parametrize("ending", ENDINGS)
def test_damaged_files(ending, tmp_path):
    rng, path = np.random.default_rng(0), write(pose3d(), tmp_path / f"pose{ending}")
    data = path.read_bytes()
    for _ in range(60):
        at = int(rng.integers(len(data)))
        path.write_bytes(data[:at] + (bytes([data[at] ^ 4]) + data[at + 1 :] if rng.random() < 0.5 else b""))
        try:
            assert isinstance(read_pose(path), Pose3D)
        except ExportError as error:
            assert str(error).startswith(str(path))
