"""The official files: world and camera frames, distorted 2D, names; and the h5 files of the 3D-pose-baseline."""

from __future__ import annotations

import os
import random
import sys

import numpy as np
import pytest

from mocap3d.camera import h36m_cameras
from mocap3d.data.h36m import official
from mocap3d.data.h36m.facts import CAMERAS, KEPT_JOINTS, H36MError
from mocap3d.data.h36m.load import load_h36m
from tests.toys import body

CASES = int(os.environ.get("MOCAP3D_FUZZ", "60"))


def thirty_two(points: np.ndarray) -> np.ndarray:
    """(T, 17, C) -> (T, 32, C); the joints that are dropped hold what must not come back."""
    full = np.full((len(points), 32, points.shape[-1]), 12345.0)
    full[:, KEPT_JOINTS] = points
    return full


def write_cdf(path, values, name="Pose"):
    """A `.cdf` like the official ones: variable Pose, (1, T, 32 C)."""
    cdfwrite = pytest.importorskip("cdflib.cdfwrite", reason="pip install cdflib to test the official files")
    path.parent.mkdir(parents=True, exist_ok=True)
    flat = values.reshape(len(values), -1).astype(np.float32)
    with cdfwrite.CDF(path, cdf_spec={"rDim_sizes": []}, delete=True) as file:
        spec = {"Variable": name, "Data_Type": 44, "Num_Elements": 1, "Rec_Vary": True, "Dim_Sizes": list(flat.shape)}
        file.write_var(spec, var_data=flat[None])


@pytest.fixture
def world() -> np.ndarray:
    return body(7, seed=3).astype(np.float64)


def test_world_positions_of_a_take_become_four_clips(tmp_path, world):
    write_cdf(tmp_path / "S1/MyPoseFeatures/D3_Positions/TakingPhoto 1.cdf", thirty_two(world * 1000))
    write_cdf(tmp_path / "S9/MyPoseFeatures/D3_Positions/Greeting.cdf", thirty_two(world * 1000))
    notes = []
    clips = official.read(tmp_path, notes=notes)
    assert [clip.take for clip in clips] == ["S1/Photo 1"] * 4 + ["S9/Greeting"] * 4
    assert [clip.split for clip in clips[::4]] == ["train", "test"] and clips[0].action == "Photo"
    for clip, camera in zip(clips[4:], h36m_cameras("S9"), strict=True):
        np.testing.assert_allclose(clip.pose3d.points, camera.world_to_camera(world), atol=1e-5)
        np.testing.assert_allclose(clip.pose2d.points, camera.project(camera.world_to_camera(world)), atol=2e-3)
        assert clip.camera == camera and clip.pose3d.fps == 50
    assert len(notes) == 2 and "projected" in notes[0]
    assert len(official.read(tmp_path, subjects=["S9"])) == 4


def test_the_files_own_pixels_are_used_where_they_are(tmp_path, world):
    write_cdf(tmp_path / "S9/MyPoseFeatures/D3_Positions/Greeting.cdf", thirty_two(world * 1000))
    pixels = np.random.default_rng(0).uniform(100, 900, (7, 17, 2))
    write_cdf(tmp_path / "S9/MyPoseFeatures/D2_Positions/Greeting.58860488.cdf", thirty_two(pixels))
    clips = {clip.camera.name: clip for clip in official.read(tmp_path)}
    np.testing.assert_allclose(clips["58860488"].pose2d.points, pixels, atol=1e-4)
    assert np.abs(clips["54138969"].pose2d.points - pixels).max() > 1
    write_cdf(tmp_path / "S9/MyPoseFeatures/D2_Positions/Greeting.58860488.cdf", thirty_two(pixels[:5]))
    with pytest.raises(H36MError, match="5 frames, but .* has 7"):
        official.read(tmp_path)


def test_positions_in_camera_frames(tmp_path, world):
    for camera in h36m_cameras("S11")[:2]:
        path = tmp_path / "extracted/S11/MyPoseFeatures/D3_Positions_mono" / f"WalkDog 1.{camera.name}.cdf"
        write_cdf(path, thirty_two(camera.world_to_camera(world) * 1000))
    clips = official.read(tmp_path)
    assert [(clip.take, clip.camera.name) for clip in clips] == [("S11/WalkDog 1", name) for name in CAMERAS[:2]]
    for clip in clips:
        np.testing.assert_allclose(clip.camera.camera_to_world(clip.pose3d.points), world, atol=1e-5)
    write_cdf(path.with_name("WalkDog 1.99.cdf"), thirty_two(world))
    with pytest.raises(H36MError, match="no camera '99'"):
        official.read(tmp_path)


def test_h5_files_of_the_pose_baseline(tmp_path, world):
    h5py = pytest.importorskip("h5py", reason="pip install h5py to test the 3D-pose-baseline's files")
    path = tmp_path / "h36m/S5/MyPoses/3D_positions/Photo.h5"
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w") as file:
        file["3D_positions"] = thirty_two(world * 1000).reshape(-1, 96).T
    dataset = load_h36m(tmp_path)
    assert dataset.takes == ("S5/Photo",) and len(dataset) == 4
    clip = dataset[2]
    np.testing.assert_allclose(clip.camera.camera_to_world(clip.pose3d.points), world, atol=1e-5)
    for content in (np.zeros((96, 0)), np.zeros((90, 4)), np.full((96, 2), np.nan)):
        with h5py.File(path, "w") as file:
            file["3D_positions"] = content
        with pytest.raises(H36MError, match="Photo.h5"):
            official.read(tmp_path)
    with h5py.File(path, "w") as file:
        file.create_dataset("3D_positions", (96, 10**12), "f8", chunks=(96, 100))  # 768 TB that are not there
    with pytest.raises(H36MError, match="it must be"):
        official.read(tmp_path)
    path.write_bytes(b"not h5")
    with pytest.raises(H36MError, match="cannot be read"):
        official.read(tmp_path)


def test_what_is_wrong_is_said(tmp_path, world):
    assert official.find(tmp_path) is None
    with pytest.raises(H36MError, match="has no S1/MyPoseFeatures"):
        official.read(tmp_path)
    path = tmp_path / "S9/MyPoseFeatures/D3_Positions/Greeting.cdf"
    for values, name, says in (
        (thirty_two(world)[:, :20], "Pose", "it must be"),
        (thirty_two(world), "Poses", "cannot be read"),
        (thirty_two(world * np.nan), "Pose", "not numbers"),
        (thirty_two(world * 1e6), "Pose", "metres"),
    ):
        write_cdf(path, values, name)
        with pytest.raises(H36MError, match=says):
            official.read(tmp_path)
    write_cdf(path, thirty_two(world * 1000))
    for options, says in (({"pose2d": "cpn"}, "'gt' only"), ({"subjects": ["S1"]}, "has no S1; it has S9")):
        with pytest.raises(H36MError, match=says):
            official.read(tmp_path, **options)


@pytest.mark.parametrize(("package", "name"), [("cdflib", "D3_Positions/x.cdf"), ("h5py", "3D_positions/x.h5")])
def test_a_missing_package_is_named_with_the_fix(tmp_path, monkeypatch, package, name):
    path = tmp_path / "S9" / name
    path.parent.mkdir(parents=True)
    path.touch()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(H36MError, match=f"pip install {package}"):
        official.read(tmp_path)


def test_damaged_files_raise_documented_errors_only(tmp_path, world):
    path = tmp_path / "S9/MyPoseFeatures/D3_Positions/Greeting.cdf"
    write_cdf(path, thirty_two(world[:2] * 1000))
    whole, rng = path.read_bytes(), random.Random(0)
    for case in range(CASES):  # a few in a thousand are slow: see the module
        content = bytearray(whole)
        for _ in range(rng.randint(1, 6)):
            content[rng.randrange(len(content) if case % 2 else 600)] = rng.randrange(256)
        path.write_bytes(content[: rng.randrange(len(content)) if case % 5 == 0 else None])
        try:
            official.read(tmp_path)
        except H36MError:
            pass
