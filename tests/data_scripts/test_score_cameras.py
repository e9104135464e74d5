"""score_cameras.py: triangulation from files, on simulated cameras and on four real webcams."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import mocap3d
from mocap3d.camera import rotation_matrix
from mocap3d.data.phone import coco_from_h36m

SCRIPT = Path(__file__).parents[2] / "data_scripts" / "score_cameras.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("score_cameras", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def walk():
    """(T, 17, 3) coco17 in the world, and three cameras."""
    motion = mocap3d.synthesize("S9", "Walking", seconds=1)
    return coco_from_h36m(torch.from_numpy(motion.points)).numpy().astype(np.float64), mocap3d.h36m_cameras("S9")[:3]


def see(camera, world):
    return camera.project(camera.world_to_camera(world))


def entry(camera) -> dict:
    """A camera in OpenCV's terms, without its distortion."""
    rotation = rotation_matrix(camera.rotation).T
    (fx, fy), (cx, cy) = camera.focal, camera.centre
    return {
        "size": [camera.width, camera.height],
        "K": [[fx, 0, cx], [0, fy, cy], [0, 0, 1]],
        "R": rotation.tolist(),
        "t": (-rotation @ np.array(camera.translation)).tolist(),
    }


def folder_of(tmp_path, world, cameras, spoil=None):
    """Keypoint files of cameras without distortion, and their calibration."""
    calibration = {camera.name: entry(camera) for camera in cameras}
    (tmp_path / "calibration.json").write_text(json.dumps(calibration))
    for camera in cameras:
        pinhole = mocap3d.Camera(camera.focal, camera.centre, camera.width, camera.height, rotation=camera.rotation,
                                 translation=camera.translation)  # fmt: skip
        points = see(pinhole, world)
        if spoil:
            spoil(camera.name, points)
        size = camera.width, camera.height
        mocap3d.write(
            mocap3d.Pose2D(points.astype(np.float32), None, "coco17", 50, size), tmp_path / f"{camera.name}.json"
        )
    return tmp_path


def test_exact_keypoints_give_the_exact_pose(script, walk, tmp_path):
    world, cameras = walk
    folder_of(tmp_path, world, cameras)
    read, turns = script.read_cameras(tmp_path / "calibration.json")
    assert set(turns.values()) == {0}
    points = np.stack([see(read[camera.name], world) for camera in cameras])
    points[0, :, 5] = np.nan  # two cameras are enough
    points[:2, :10, 6] = np.nan  # one is not
    found, errors = script.triangulate(points, list(read.values()))
    assert np.isnan(found[:10, 6]).all() and np.isnan(errors[:, :10, 6]).all()
    known = np.isfinite(found).all(-1)
    assert known.sum() == known.size - 10
    assert np.abs(found - world)[known].max() < 1e-5 and np.nanmax(errors) < 1e-2


def test_one_bad_camera_is_left_out(script, walk):
    world, cameras = walk
    points = np.stack([see(camera, world) for camera in cameras])
    points[2, :, 9, 1] += 300  # px down, away from what the others allow
    found, errors = script.triangulate(points, list(cameras))
    assert np.abs(found - world).max() < 1e-4
    assert np.isnan(errors[2, :, 9]).all() and np.isfinite(errors[:2, :, 9]).all()
    two, off = script.triangulate(points[1:], list(cameras[1:]))  # of two, nobody knows which one is wrong
    lost = np.isnan(two[:, 9]).all(-1)
    assert lost.any() and (off[:, ~lost, 9] <= script.WORST).all() and np.abs(two - world)[:, 8].max() < 1e-4


def test_noise_of_pixels_is_noise_of_millimetres(script, walk):
    world, cameras = walk
    rng = np.random.default_rng(0)
    points = np.stack([see(camera, world) for camera in cameras]) + rng.normal(0, 2, (3, *world.shape[:2], 2))
    found, errors = script.triangulate(points, list(cameras))
    off = 1000 * np.linalg.norm(found - world, axis=-1).mean()
    assert 2 < off < 20 and 1 < np.nanmedian(errors) < 3


def test_the_command_scores_each_camera(script, walk, tmp_path, capsys):
    world, cameras = walk
    folder_of(tmp_path, world, cameras)
    assert script.main([str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line.split() for line in lines if line.split()[0] in {camera.name for camera in cameras}}
    assert len(rows) == 3
    for cells in rows.values():
        assert float(cells[2]) < 0.1 and cells[3] == "100%" and 10 < float(cells[4]) < 120
    assert "not comparable" in lines[-1]


def test_what_is_wrong_is_said_in_one_line(script, walk, tmp_path, capsys):
    world, cameras = walk
    folder_of(tmp_path, world, cameras)
    (tmp_path / f"{cameras[0].name}.json").unlink(), (tmp_path / f"{cameras[1].name}.json").unlink()
    assert script.main([str(tmp_path)]) == 2
    assert "give two or more" in capsys.readouterr().err
    (tmp_path / "calibration.json").write_text(json.dumps({"a": {"size": [10, 10]}}))
    assert script.main([str(tmp_path)]) == 2
    assert "camera 'a' lacks or has wrong: 'K'" in capsys.readouterr().err


def test_a_turned_picture_is_turned_as_a_whole(script):
    points = np.array([[[0.0, 0.0], [99.0, 0.0], [0.0, 49.0]]] * 2, np.float32)
    pose = mocap3d.Pose2D(np.repeat(points, 6, 1)[:, :17], None, "coco17", 30, (100, 50))
    left = script.turned(pose, 90)
    assert left.image_size == (50, 100)
    assert left.points[0, 0].tolist() == [0, 100] and left.points[0, 6].tolist() == [0, 1]  # the right edge is the top
    assert np.allclose(script.turned(pose, 360).points, pose.points)


def test_four_real_webcams(script, mocap_root, tmp_path, capsys):
    path = mocap_root / "real" / "webcam_seated.npz"
    if not path.is_file():
        pytest.skip("needs real/webcam_seated.npz in MOCAP3D_DATA")
    with np.load(path) as real:
        calibration = {}
        for i, size in enumerate(real["sizes"]):
            of = {"size": size, "K": real["K"][i], "distortion": np.ravel(real["distortion"][i]), "R": real["R"][i],
                  "t": np.ravel(real["t"][i]), "turn": real["turn"][i]}  # fmt: skip
            calibration[f"cam{i}"] = {key: np.asarray(value).tolist() for key, value in of.items()}
            pose = mocap3d.Pose2D(real["detections"][i], None, "mediapipe33", float(real["fps"]), tuple(map(int, size)))
            mocap3d.write(pose, tmp_path / f"cam{i}.json")
        (tmp_path / "calibration.json").write_text(json.dumps(calibration))
        cameras, _ = script.read_cameras(tmp_path / "calibration.json")
        world, errors = script.triangulate(real["detections"].astype(np.float64), list(cameras.values()))
        truth = real["truth"]  # in the frame of camera 1
    ours = cameras["cam1"].world_to_camera(world)
    both = np.isfinite(ours).all(-1) & np.isfinite(truth).all(-1)
    assert both.mean() > 0.5 and np.median(np.linalg.norm(ours - truth, axis=-1)[both]) < 0.03
    assert np.nanmedian(errors) < 20
    assert script.main([str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    print(printed)
    values = [float(line.split()[-2]) for line in printed.splitlines() if line[:4] in calibration]
    assert len(values) == 4 and max(values) < 90
