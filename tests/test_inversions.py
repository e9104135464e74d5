"""Left/right inversions: simulated ones are undone, motion that crosses arms and legs or turns around is left."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from mocap3d.data.phone import coco_from_h36m
from mocap3d.data.synthetic import make_synthetic
from mocap3d.inversions import exchange_sides, find_inversions, undo_inversions
from mocap3d.lifting.lift import lift
from mocap3d.poses import Pose2D
from mocap3d.skeleton import COCO17, SKELETONS, Skeleton

SIZE = (1000, 1000)
IMAGE = ("coco17", "halpe26", "body25", "mediapipe33", "h36m17")


@pytest.fixture(scope="module")
def clips():
    return make_synthetic(seconds=6, actions=("Walking", "Eating", "Greeting")).test[:12:2]


def detections(clip, noise: float = 2.0, seed: int = 0) -> Pose2D:
    points = coco_from_h36m(torch.from_numpy(clip.pose3d.points)).numpy()
    pixels = clip.camera.project(points) + noise * np.random.default_rng(seed).normal(size=(len(clip), 17, 2))
    return Pose2D(pixels, None, COCO17, 50, clip.pose2d.image_size)


def facing(frames: int, skeleton: str = "coco17", fps: float = 50.0, noise: float = 1.0) -> Pose2D:
    """A person who faces the camera and swings arms and legs."""
    target, rng = SKELETONS[skeleton], np.random.default_rng(0)
    height = {"shoulder": 300, "elbow": 420, "wrist": 520, "pinky": 540, "thumb": 530, "hip": 550, "knee": 720,
              "ankle": 880, "foot": 880, "heel": 890, "toe": 905, "foot_index": 905}  # fmt: skip
    time = np.arange(frames) / fps
    points = np.empty((frames, len(target), 2))
    for j, name in enumerate(target.joints):
        kind = name.replace("left", "").replace("right", "").strip("_")
        kind = "toe" if kind.endswith("toe") else kind
        wide = 90 if kind in ("shoulder", "elbow", "wrist", "pinky", "thumb", "index") else 60 if kind in height else 20
        side = {"left": 1, "right": -1, "centre": 0}[target.side(name)]
        sway = 15 * np.sin(2 * np.pi * 0.8 * time + j) if kind in ("knee", "ankle", "wrist") else 0
        points[:, j, 0] = 500 + side * wide + sway
        points[:, j, 1] = height.get(kind, 530 if kind == "index" else 200)
    return Pose2D(points + noise * rng.normal(size=points.shape), None, skeleton, fps, SIZE)


def inverted(pose2d: Pose2D, frames: slice, kinds: tuple[str, ...] = ("",)) -> tuple[Pose2D, np.ndarray]:
    mask = np.zeros(pose2d.confidence.shape, dtype=bool)
    skeleton = pose2d.skeleton
    pairs = [j for j, m in enumerate(skeleton.mirror) if m != j]
    mask[frames] = [j in pairs and any(kind in name for kind in kinds) for j, name in enumerate(skeleton.joints)]
    return exchange_sides(pose2d, mask), mask


@pytest.mark.parametrize("skeleton", IMAGE)
@pytest.mark.parametrize("frames", [slice(50, 51), slice(80, 95), slice(0, 1), slice(0, 40), slice(100, 190)])
def test_an_inverted_body_is_found_and_undone(skeleton, frames):
    pose2d = facing(200, skeleton)
    broken, mask = inverted(pose2d, frames)
    found, text = find_inversions(broken)
    np.testing.assert_array_equal(found, mask)
    assert "whole body: left and right exchanged" in text
    with pytest.warns(UserWarning, match="whole body") as told:
        repaired = undo_inversions(broken)
    assert len(told) == 1 and told[0].filename == __file__
    np.testing.assert_array_equal(repaired.points, pose2d.points)
    assert find_inversions(repaired)[1] == ""


@pytest.mark.parametrize("skeleton", IMAGE)
@pytest.mark.parametrize("frames", [slice(50, 51), slice(80, 95), slice(0, 40), slice(100, 180)])
@pytest.mark.parametrize("part", ["legs", "lower legs", "arms"])
def test_inverted_legs_and_arms_are_found_and_undone(skeleton, frames, part):
    pose2d = facing(200, skeleton)
    legs = ("knee", "ankle", "foot", "heel", "toe") + ("hip",) * (part == "legs")
    kinds = ("shoulder", "elbow", "wrist", "pinky", "thumb", "left_index", "right_index") if part == "arms" else legs
    broken, mask = inverted(pose2d, frames, kinds)
    found, text = find_inversions(broken)
    np.testing.assert_array_equal(found, mask)
    assert f"{part}: left and right exchanged in {mask.any(1).sum()} frames" in text


def test_half_a_clip_cannot_be_decided_without_feet():
    for skeleton, decided in (("coco17", False), ("halpe26", True), ("body25", True), ("mediapipe33", True)):
        pose2d = facing(200, skeleton)
        for frames in (slice(0, 100), slice(100, 200)):
            broken, mask = inverted(pose2d, frames)
            found, text = find_inversions(broken)
            np.testing.assert_array_equal(found, mask & decided)
            if not decided:
                assert "which is right is unclear" in text and "100" in text
                with pytest.warns(UserWarning, match="unclear"):
                    assert undo_inversions(broken) is broken


def test_gaps_and_several_inversions():
    pose2d = facing(300)
    rng, points = np.random.default_rng(1), pose2d.points.copy()
    points[rng.random(points.shape[:2]) < 0.1] = np.nan
    points[100:106] = np.nan  # nobody
    points[:, COCO17.index("left_ear")] = np.nan
    mask = np.zeros((300, 17), dtype=bool)
    for frames in (slice(20, 23), slice(60, 90), slice(106, 140), slice(200, 260)):
        mask[frames, 1:] = True
    broken = exchange_sides(replace(pose2d, points=points), mask)
    found, _ = find_inversions(broken)
    seen = np.isfinite(points).all(-1).any(1)
    np.testing.assert_array_equal(found[seen], mask[seen])


@pytest.mark.parametrize("step", [1, 2, 3])
def test_real_motion_is_not_touched(clips, step):
    """Walking in circles, turning around, arms and legs that cross: 50, 25 and 17 fps."""
    for i, clip in enumerate(clips):
        pose2d = detections(clip, seed=i)
        slow = replace(pose2d, points=pose2d.points[::step], confidence=pose2d.confidence[::step], fps=50 / step)
        for pose in (slow, replace(clip.pose2d, points=clip.pose2d.points[::step], confidence=None, fps=50 / step)):
            assert undo_inversions(pose) is pose


def test_a_person_who_turns_around_is_not_touched():
    pose2d = facing(200, noise=2.0)
    turn = np.cos(np.linspace(0, 6 * np.pi, 200))[:, None]  # three times in four seconds
    points = pose2d.points.copy()
    points[..., 0] = 500 + (points[..., 0] - 500) * turn
    turning = replace(pose2d, points=points)
    assert undo_inversions(turning) is turning


def test_a_cut_to_another_person_is_no_inversion():
    pose2d = facing(200)
    points = pose2d.points.copy()
    points[100:] = points[100:, COCO17.mirror] / 2 + [700, 500]
    jumped = replace(pose2d, points=points)
    found, text = find_inversions(jumped)
    assert not found.any() and not text


def test_simulated_inversions_of_real_motion(clips):
    for i, clip in enumerate(clips):
        pose2d = detections(clip, seed=i)
        for frames in (slice(0, 30), slice(120, 121), slice(100, 160)):
            broken, mask = inverted(pose2d, frames)
            found, _ = find_inversions(broken)
            assert (found == mask).mean() > 0.995


def test_short_clips_and_skeletons_without_sides():
    for frames in (1, 2, 3):
        assert undo_inversions(pose := facing(frames)) is pose
    line = Skeleton("line", ("a", "b"), (-1, 0))
    assert undo_inversions(pose := Pose2D(np.zeros((9, 2, 2)), None, line, image_size=SIZE)) is pose
    assert undo_inversions(pose := Pose2D(np.full((9, 17, 2), np.nan), image_size=SIZE)) is pose


def test_lift_undoes_inversions_first(clips):
    pose2d = detections(clips[0])
    broken, _ = inverted(pose2d, slice(100, 140))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expected = lift(pose2d)
        raw = lift(broken, undo_inversions=False)
    with pytest.warns(UserWarning, match=r"whole body.*in 40 frames \(100-139\)") as told:
        np.testing.assert_array_equal(lift(broken).points, expected.points)
    assert len(told) == 1 and told[0].filename == __file__
    assert np.abs(raw.points - expected.points).max() > 0.05
