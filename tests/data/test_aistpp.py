"""AIST++ in its published layout, synthesised here: axes, units, views, splits, and what is left out."""

from __future__ import annotations

import json
import os
import pickle

import numpy as np
import pytest

from mocap3d.data.aistpp import VIEWS, load_aistpp
from mocap3d.data.dataset import DatasetError
from mocap3d.data.loading import load_dataset
from mocap3d.evaluation.baselines import MeanPose
from mocap3d.evaluation.evaluate import evaluate
from mocap3d.formats.pickles import UnsafeFileError
from mocap3d.skeleton import COCO17, H36M17

TRAIN, TEST = "gBR_sBM_cAll_d04_mBR0_ch02", "gWA_sFM_cAll_d27_mWA2_ch21"
FRAMES = 12


def dancer(frames: int = FRAMES) -> np.ndarray:
    """(T, 17, 3) cm, y up: somebody 160 cm tall at the origin, who faces +z and raises the left hand."""
    heights = {"nose": 150, "eye": 153, "ear": 151, "shoulder": 130, "elbow": 105, "wrist": 85}
    heights |= {"hip": 85, "knee": 45, "ankle": 8}
    points = np.zeros((frames, 17, 3))
    for row, joint in enumerate(COCO17.joints):
        side, _, part = joint.rpartition("_")
        x = {"left": 15.0, "right": -15.0, "": 0.0}[side]  # facing +z with y up, the left is at +x
        points[:, row] = x, heights[part], 8.0 if part == "nose" else 0.0
    points[:, COCO17.index("left_wrist"), 1] += np.arange(frames)
    return points


def camera_matrix(angle: float) -> tuple[np.ndarray, np.ndarray]:
    """R and t (cm) of a camera 500 cm from the origin and 160 cm high, level; at 0 in front of the dancer."""
    forward = -np.array([np.sin(angle), 0, np.cos(angle)])
    down = np.array([0.0, -1.0, 0.0])
    rotation = np.stack([np.cross(down, forward), down, forward])
    return rotation, -rotation @ (np.array([0, 160, 0]) - 500 * forward)


def rotation_vector(matrix: np.ndarray) -> list[float]:
    """Of a rotation by any angle, from its real eigenvector."""
    values, vectors = np.linalg.eig(matrix)
    axis = np.real(vectors[:, np.argmin(abs(values - 1))])
    angle = np.arccos(np.clip((np.trace(matrix) - 1) / 2, -1, 1))
    skew = np.array([matrix[2, 1] - matrix[1, 2], matrix[0, 2] - matrix[2, 0], matrix[1, 0] - matrix[0, 1]])
    return (angle * axis * (np.sign(skew @ axis) or 1)).tolist()


def write_layout(root, names=((TRAIN, "train"), (TEST, "test"))) -> None:
    for folder in ("keypoints2d", "keypoints3d", "cameras", "splits"):
        (root / folder).mkdir(parents=True)
    entries, views = [], []
    points = dancer()
    for number, view in enumerate(VIEWS):
        rotation, translation = camera_matrix(2 * np.pi * number / 9)
        matrix = [[1600.0, 0, 960], [0, 1600.0, 540], [0, 0, 1]]
        entry = {"name": view, "size": [1920, 1080], "matrix": matrix, "rotation": rotation_vector(rotation)}
        entries.append(entry | {"translation": translation.tolist(), "distortions": [0.1, -0.02, 0.001, 0.002, 0.003]})
        seen = points @ rotation.T + translation
        x, y = (seen[..., :2] / seen[..., 2:]).transpose(2, 0, 1)
        r2 = x**2 + y**2  # OpenCV's model, written out
        radial = 1 + 0.1 * r2 - 0.02 * r2**2 + 0.003 * r2**3
        u = x * radial + 2 * 0.001 * x * y + 0.002 * (r2 + 2 * x**2)
        v = y * radial + 0.001 * (r2 + 2 * y**2) + 2 * 0.002 * x * y
        views.append(np.stack([1600 * u + 960, 1600 * v + 540, np.full(u.shape, 0.9)], -1))
    (root / "cameras" / "setting1.json").write_text(json.dumps(entries))
    (root / "cameras" / "mapping.txt").write_text("".join(f"{name} setting1\n" for name, _ in names))
    for split in ("train", "val", "test"):
        of_split = [name for name, wanted in names if wanted == split]
        (root / "splits" / f"pose_{split}.txt").write_text("\n".join(of_split))
    for name, _ in names:
        save(root, name, np.array(views, np.float32), points)


def save(root, name: str, views: np.ndarray, points: np.ndarray) -> None:
    times = np.arange(FRAMES) * 16667
    seen = {"keypoints2d": views, "det_scores": np.ones(views.shape[:2], np.float32), "timestamps": times}
    (root / "keypoints2d" / f"{name}.pkl").write_bytes(pickle.dumps(seen, protocol=pickle.HIGHEST_PROTOCOL))
    space = {"keypoints3d": points + 1, "keypoints3d_optim": points}
    (root / "keypoints3d" / f"{name}.pkl").write_bytes(pickle.dumps(space, protocol=pickle.HIGHEST_PROTOCOL))


@pytest.fixture
def root(tmp_path):
    write_layout(tmp_path)
    return tmp_path


def test_axes_units_and_projection(root) -> None:
    dataset = load_dataset("aistpp", root=root)
    assert len(dataset) == 9 and dataset.subjects == ("d27",) and dataset.actions == ("gWA",)
    assert "CC BY 4.0" in dataset.notes[0] and dataset.test.sources == ("aistpp",)
    front = dataset.select(camera="c01")[0]
    assert front.pose2d.fps == front.pose3d.fps == 50 and front.pose2d.skeleton == H36M17
    assert front.camera.translation == pytest.approx((0, -5, 1.6), abs=1e-6)  # in front is -y in our world
    world = front.pose3d.in_world(front.camera).points
    nose, pelvis = (world[:, H36M17.index(joint)] for joint in ("nose", "pelvis"))
    assert pelvis[0] == pytest.approx((0, 0, 0.85), abs=1e-5) and nose[0, 1] < -0.03 and nose[0, 2] > 1.4
    left, right = (world[0, H36M17.index(f"{side}_shoulder")] for side in ("left", "right"))
    assert left[0] > 0 > right[0]  # facing -y with z up: not mirrored
    for clip in dataset:
        off = clip.pose3d.project(clip.camera).points - clip.pose2d.points
        assert np.abs(off).max() < 2  # pixels: joints made of others are not projected exactly
        limb = [H36M17.index("left_knee"), H36M17.index("right_wrist")]
        assert np.abs(off[:, limb]).max() < 0.02
        assert clip.pose2d.confidence.max() == pytest.approx(0.9) and clip.performer == "d27"


def test_splits_and_views(root) -> None:
    both = load_aistpp(root, splits=("train", "test"), views=("c01", "c05"))
    assert len(both) == 4 and both.train.subjects == ("d04",) and both.test.subjects == ("d27",)
    (root / "splits" / "pose_test.txt").write_text(TEST.replace("cAll", "c03") + "\n" + TEST.replace("cAll", "c04"))
    assert len(load_aistpp(root)) == 9  # lists of views name recordings
    report = evaluate(MeanPose().fit(both.train), both.test, "open-mocap")
    assert 50 < report.mean("mpjpe_mm") < 150  # the mean of two views is wrong by their turn of 160 degrees, for each


def test_what_is_left_out(root) -> None:
    with open(root / "keypoints2d" / f"{TEST}.pkl", "rb") as file:
        views = pickle.load(file)["keypoints2d"]
    views[2, 4] = np.nan  # nobody
    views[3, 5, COCO17.index("left_wrist")] = np.nan
    save(root, TEST, views, dancer())
    dataset = load_aistpp(root)
    assert len(dataset) == 8 and "1 views show nobody" in dataset.notes[1]
    gap = dataset.select(camera="c04")[0].pose2d
    wrist = H36M17.index("left_wrist")
    missing = np.isnan(gap.points[:, wrist]).any(-1)
    assert missing.any() and not missing.all() and (gap.confidence[missing, wrist] == 0).all()
    (root / "ignore_list.txt").write_text(f"{TEST}\n")
    with pytest.raises(DatasetError, match="no recording of the lists test"):
        load_aistpp(root)
    assert len(load_aistpp(root, splits=("train", "test"))) == 9
    write_layout(root / "bad", names=(("gBR_sBM_cAll_d04_mBR0_ch01", "test"),))
    assert "c05" not in {clip.camera.name for clip in load_aistpp(root / "bad")}


class Harmful:
    def __reduce__(self):
        return os.system, ("false",)


def test_wrong_files(root) -> None:
    with pytest.raises(DatasetError, match="fetch_aistpp"):
        load_aistpp(root / "nowhere")
    with pytest.raises(DatasetError, match="no 'c10'"):
        load_aistpp(root, views=("c10",))
    with pytest.raises(DatasetError, match="own detections"):
        load_dataset("aistpp", root=root, pose2d="gt")
    save(root, TEST, np.zeros((9, FRAMES, 25, 3), np.float32), dancer())
    with pytest.raises(DatasetError, match=r"\(9, 12, 25, 3\)"):
        load_aistpp(root)
    (root / "keypoints3d" / f"{TEST}.pkl").write_bytes(pickle.dumps({"keypoints3d": 1}))
    with pytest.raises(DatasetError, match="lacks keypoints2d or keypoints3d_optim"):
        load_aistpp(root)
    (root / "keypoints2d" / f"{TEST}.pkl").write_bytes(pickle.dumps(Harmful()))
    with pytest.raises(UnsafeFileError):
        load_aistpp(root)
