"""Detections in pixels, frame by frame: what `lift` gives for the whole clip, if nothing is missing."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from mocap3d.camera import Camera
from mocap3d.data.phone import coco_from_h36m
from mocap3d.data.synthetic import make_synthetic
from mocap3d.lifting.lift import lift
from mocap3d.lifting.stream import KeypointStream
from mocap3d.poses import Pose2D
from mocap3d.skeleton import COCO17
from mocap3d.weights import load_shipped

SIZE = (1000, 1000)


@pytest.fixture(scope="module")
def keypoints() -> Pose2D:
    clip = make_synthetic(seconds=2).test[0]
    points = coco_from_h36m(torch.from_numpy(clip.pose3d.points)).numpy()
    return Pose2D(clip.camera.project(points), None, "coco17", 50, clip.pose2d.image_size)


def streamed(stream: KeypointStream, pose2d: Pose2D) -> np.ndarray:
    return np.stack([stream(points, scores) for points, scores in zip(pose2d.points, pose2d.confidence, strict=True)])


def test_a_stream_gives_what_lift_gives(keypoints) -> None:
    model = load_shipped("causal")
    stream = KeypointStream(keypoints.image_size, "coco17")
    np.testing.assert_allclose(streamed(stream, keypoints), lift(keypoints, model).points, atol=1e-4)
    stream.reset()
    np.testing.assert_allclose(streamed(stream, keypoints)[:5], lift(keypoints, model).points[:5], atol=1e-4)


def test_missing_joints_and_empty_frames_never_give_nan(keypoints) -> None:
    rng = np.random.default_rng(0)
    points = keypoints.points.copy()
    points[rng.random(points.shape[:2]) < 0.2] = np.nan
    points[40:50] = np.nan
    points[:, COCO17.index("left_ear")] = np.nan
    stream, whole = KeypointStream(keypoints.image_size), KeypointStream(keypoints.image_size)
    poses = np.stack([stream(frame) for frame in points])
    assert np.isfinite(poses).all()
    error = np.linalg.norm(poses - streamed(whole, keypoints), axis=-1).mean()
    assert error < 0.15  # metres


def test_joints_without_confidence_count_as_missing(keypoints) -> None:
    """Detectors write an unseen joint as (0, 0) with confidence 0."""
    gone = np.random.default_rng(0).random(keypoints.points.shape[:2]) < 0.2
    zeros, nan = (np.where(gone[..., None], value, keypoints.points) for value in (0, np.nan))
    stream, other = KeypointStream(keypoints.image_size), KeypointStream(keypoints.image_size)
    for frame, seen, expected in zip(zeros, ~gone, nan, strict=True):
        np.testing.assert_array_equal(stream(frame, seen), other(expected))


def test_an_ear_never_seen_is_filled_on_the_source_skeleton(keypoints) -> None:
    points = keypoints.points.copy()
    points[:, COCO17.index("right_ear")] = np.nan
    stream, whole = KeypointStream(keypoints.image_size), KeypointStream(keypoints.image_size)
    moved = np.stack([stream(frame) for frame in points]) - streamed(whole, keypoints)
    assert np.linalg.norm(moved, axis=-1).mean() < 0.03


def test_several_persons_at_once(keypoints) -> None:
    both = np.stack([keypoints.points, keypoints.points[::-1]], 1)  # (T, 2, 17, 2)
    stream, alone = KeypointStream(keypoints.image_size), KeypointStream(keypoints.image_size)
    poses = np.stack([stream(frame) for frame in both])
    assert poses.shape == (100, 2, 17, 3)
    np.testing.assert_allclose(poses[:, 0], streamed(alone, keypoints), atol=1e-4)
    with pytest.raises(ValueError, match="1 persons after 2"):
        stream(both[0, :1])


def test_what_it_is_given_is_checked(keypoints) -> None:
    with pytest.raises(ValueError, match="needs one frame on halpe26"):
        KeypointStream(SIZE, "halpe26")(np.zeros((17, 2)))
    with pytest.raises(ValueError, match="causal=True"):
        KeypointStream(SIZE, model=load_shipped("centred"))
    with pytest.raises(ValueError, match="1920x1080, not 1000x1000"):
        KeypointStream(SIZE, camera=Camera.phone())
    with pytest.warns(UserWarning, match="30 fps.*1.7 times as fast"):
        KeypointStream(SIZE, fps=30)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        KeypointStream(SIZE, fps=52)
