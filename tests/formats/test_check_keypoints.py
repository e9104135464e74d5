"""`check_keypoints` names what is wrong with keypoints, and is silent where nothing is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import mocap3d
from mocap3d import Pose2D
from mocap3d.data.phone import coco_from_h36m
from mocap3d.formats.check_keypoints import check_keypoints
from mocap3d.skeleton import COCO17, H36M17

W, H = 1920, 1080
LEGS = [COCO17.index(f"{side}_{joint}") for side in ("left", "right") for joint in ("hip", "knee", "ankle")]


def filmed(action: str) -> Pose2D:
    """A person who faces the camera, 5 m away, in COCO's joints at 50 fps."""
    points = mocap3d.synthesize("S9", action, seconds=3).points.astype(np.float64)
    left = (points[:, H36M17.index("left_hip")] - points[:, H36M17.index("right_hip")])[:, :2].mean(0)
    x = np.array([*left / np.linalg.norm(left), 0])
    y = np.array([0, 0, -1.0])
    points = (points - points[:, :1].mean(0)) @ np.stack([x, y, np.cross(x, y)], -1) + (0, 0, 5)
    points = coco_from_h36m(torch.from_numpy(points)).numpy()
    return Pose2D(points[..., :2] / points[..., 2:] * 1400 + (W / 2, H / 2), None, "coco17", 50, (W, H))


@pytest.fixture(scope="module")
def clip() -> Pose2D:
    return filmed("Greeting")


def array(clip: Pose2D, points=None, **changed) -> tuple[str, ...]:
    about = {"skeleton": clip.skeleton, "fps": clip.fps, "image_size": clip.image_size}
    return check_keypoints(clip.points if points is None else points, **(about | changed))


def shifted(points: np.ndarray) -> np.ndarray:
    """Another person from the middle of the clip on."""
    points = points.copy()
    points[len(points) // 2 :] += (700, 0)
    return points


def exclusive_ears(clip: Pose2D) -> Pose2D:
    """The person looks to one side and then the other, and only the near ear is found."""
    points = clip.points.copy()
    names = COCO17.indices(["nose", "left_ear", "right_ear"])
    half = len(points) // 2
    middle = points[:, names[1:]].mean(1)
    points[:half, names[0]], points[half:, names[0]] = middle[:half] + (40, 0), middle[half:] - (40, 0)
    points[:half, names[1]], points[half:, names[2]] = np.nan, np.nan  # to the image's right: the right ear is near
    return replace(clip, points=points, confidence=None)


WRONG = {
    "lie in 0..1": lambda c: array(c, c.points / (W, H)),
    "lie in -1..1": lambda c: array(c, c.points * 2 / W - (1, H / W)),
    "y grows upwards": lambda c: array(c, c.points * (1, -1) + (0, H)),
    "x and y are swapped": lambda c: array(c, c.points[..., ::-1], image_size=(H, W)),
    "head to the right: turn it by 90 degrees counter-clockwise": lambda c: array(
        c, np.stack([H - c.points[..., 1], c.points[..., 0]], -1), image_size=(H, W)),
    "head to the left: turn it by 90 degrees clockwise": lambda c: array(
        c, np.stack([c.points[..., 1], W - c.points[..., 0]], -1), image_size=(H, W)),
    "in the order of coco17, not of h36m17: pass skeleton='coco17'": lambda c: array(c, skeleton="h36m17"),
    "in the order of h36m17, not of coco17": lambda c: check_keypoints(
        mocap3d.synthesize("S9", "Walking", seconds=2).project(mocap3d.h36m_cameras("S9")[0]).points, "coco17"),
    "exchanged in the arms or in the legs": lambda c: array(
        c, c.points[:, [COCO17.mirror[i] if i in LEGS else i for i in range(17)]]),
    "exchanged in all joints": lambda c: array(c, exclusive_ears(c).points[:, list(COCO17.mirror)]),
    "width and height are swapped": lambda c: array(c, c.points + (500, -100), image_size=(H, W)),
    "of the joints lie outside the 1000x1000 image": lambda c: array(c, c.points + (500, 0), image_size=(1000, 1000)),
    "fps=3000 is too high": lambda c: array(c, np.concatenate([c.points, c.points[::-1], c.points])[::6], fps=3000),
    "50% of the frames repeat the one before": lambda c: array(c, np.repeat(c.points, 2, 0)),
    "several people are in one track": lambda c: array(c, shifted(c.points)),
    "Confidence goes up to 1.4: clip": lambda c: array(c, confidence=np.full(c.confidence.shape, 1.4)),
    "Confidence goes up to 98: divide percent": lambda c: array(
        c, np.concatenate([c.points, np.full((*c.points.shape[:2], 1), 98)], -1)),
    "Nobody is in the clip": lambda c: array(c, c.points * np.nan),
    "at (0, 0) or has confidence 0": lambda c: array(c, c.points * 0),
    "150 joints lie at (0, 0), with confidence": lambda c: array(
        c, np.where(np.arange(17)[:, None] == LEGS[2], 0, c.points)),
    "The rate varies, by up to 150%": lambda c: array(
        c, timestamps=np.arange(len(c)) / 50 + (np.arange(len(c)) > 70) * 0.03),
    "fps is 50, but the timestamps are those of 30": lambda c: array(c, timestamps=np.arange(len(c)) / 30),
    "timestamps do not rise": lambda c: array(c, timestamps=np.zeros(len(c))),
    "17 joints, skeleton 'body25' has 25: pass skeleton='h36m17' or 'coco17'": lambda c: array(c, skeleton="body25"),
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_named(text, clip):
    found = WRONG[text](clip)
    assert len(found) == 1 and text in found[0], found
    assert str(found) == found[0] and found[0].endswith(".")


@pytest.mark.parametrize("action", ["Greeting", "Walking", "Sitting", "TurningBent", "SittingAtDesk", "Purchases"])
def test_nothing_is_wrong(action):
    clip = filmed(action)
    assert not check_keypoints(clip) and repr(check_keypoints(clip)) == "Nothing looks wrong."
    assert not array(clip, timestamps=np.arange(len(clip)) / 50)


@pytest.mark.parametrize("metres", [0.5, 1.5])
def test_identity_jumps_name_their_frames(metres, clip):
    """A track goes over to the person beside and comes back, and then for one frame."""
    there = np.zeros(len(clip), bool)
    there[40:80] = there[110] = True
    beside = clip.points[::-1] + (metres / 5 * 1400, 0)
    points = np.where(there[:, None, None], beside, clip.points)
    points[60:63] = np.nan  # nobody is found: no jump
    (found,) = check_keypoints(replace(clip, points=points, confidence=None))
    assert "The body jumps in 4 frames (40, 80, 110, 111): several people are in one track" in found
    points = np.concatenate([clip.points[:40], beside[40:]])
    (found,) = check_keypoints(replace(clip, points=points, confidence=None))
    assert "The body jumps in 1 frame (40): several people are in one track" in found


def test_ears_that_are_right(clip):
    assert not check_keypoints(exclusive_ears(clip))


def test_hardly_anything_to_see(clip):
    """One frame, one joint, missing joints: no evidence, no finding, no error and no warning."""
    rng = np.random.default_rng(0)
    assert not check_keypoints(clip.slice(0, 1))
    for share in (0.2, 0.5, 0.9, 0.999):
        points = clip.points.copy()
        points[rng.random(points.shape[:2]) < share] = np.nan
        points[0, 0] = W / 2
        assert not check_keypoints(replace(clip, points=points, confidence=None)), share
    assert not check_keypoints(clip.points, "coco17")


def test_arrays_of_another_shape():
    with pytest.raises(ValueError, match=r"shape \(17, 2\)"):
        check_keypoints(np.zeros((17, 2)))


def test_two_things_at_once(clip):
    found = array(clip, np.repeat(clip.points * (1, -1) + (0, H), 2, 0), confidence=np.full((2 * len(clip), 17), 1.2))
    assert [sentence.split()[0] for sentence in found] == ["Confidence", "The", "50%"]
    assert str(found).count("\n") == 2


def test_simulated_detections_give_no_false_alarm(mocap_root):
    clips = mocap3d.load_dataset("open-mocap", cameras="phone-v1", root=mocap_root)
    found = [clip.take for clip in clips if check_keypoints(clip.pose2d)]
    assert len(found) <= 0.01 * len(list(clips))


def test_real_webcams_on_their_side(mocap_root):
    path = mocap_root / "real" / "webcam_seated.npz"
    if not path.is_file():
        pytest.skip("needs real/webcam_seated.npz in MOCAP3D_DATA")
    with np.load(path) as real:
        sizes, turns = real["sizes"], real["turn"]
        poses = [Pose2D(points, None, "mediapipe33", float(real["fps"]), size)
                 for points, size in zip(real["detections"], sizes, strict=True)]  # fmt: skip
    for pose, turn in zip(poses, turns, strict=True):
        found = check_keypoints(pose)
        if turn == 0:
            assert not found
        else:
            way = "counter-clockwise" if turn > 0 else "degrees clockwise"
            assert len(found) == 1 and "lies on its side" in found[0] and way in found[0]
            x, y = np.moveaxis(pose.points, -1, 0)
            width, height = pose.image_size
            upright = np.stack([y, width - x] if turn > 0 else [height - y, x], -1)
            assert not check_keypoints(Pose2D(upright, None, "mediapipe33", pose.fps, (height, width)))
