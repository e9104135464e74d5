"""Feet point to the toes that were seen, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mocap3d.formats.animation import animate, unit
from mocap3d.formats.animation_files import joint_angles
from mocap3d.lifting.cleanup import clean
from mocap3d.lifting.feet import LENGTH, toe_directions, with_toes
from mocap3d.lifting.lift import BONES_PER_HEIGHT
from mocap3d.metrics import bone_lengths
from mocap3d.poses import Pose2D
from mocap3d.skeleton import H36M17, H36M19, Skeleton
from tests.lifting.test_cleanup import SIZE, seen, walk  # noqa: F401  fixtures

ANKLES = H36M17.indices(["left_foot", "right_foot"])
WITH_TOES = Skeleton(
    "h36m17 with toes",
    (*H36M17.joints, "left_big_toe", "right_big_toe"),
    (*H36M17.parents, *ANKLES),
    (*H36M17.left, "left_big_toe"),
    (*H36M17.right, "right_big_toe"),
)


@pytest.fixture
def filmed(walk, seen):  # noqa: F811
    """Somebody who walks, with toes turned out and down by angles that change, and the keypoints."""
    pose, pose2d = seen
    points = pose.points.astype(float)
    height = float(np.median(bone_lengths(points).sum(-1))) / BONES_PER_HEIGHT
    bare = Pose2D(pose2d.points, np.zeros(pose2d.points.shape[:2]), fps=50, image_size=SIZE)
    ahead = toe_directions(pose, bare, walk[1], height)[0]
    shin = unit(points[:, ANKLES] - points[:, H36M17.indices(["left_knee", "right_knee"])])
    aside = np.cross(ahead, shin)
    wave = np.sin(np.arange(len(pose)) / 20)[:, None, None]
    directions = unit(ahead + 0.3 * (1 + wave) * shin + 0.2 * wave * aside)
    toes = walk[1].project(points[:, ANKLES] + LENGTH * height * directions)
    pixels = np.concatenate([pose2d.points, toes], 1)
    return pose, Pose2D(pixels, None, WITH_TOES, 50, SIZE), directions, height


def degrees(a, b):
    return np.degrees(np.arccos(np.clip((a * b).sum(-1), -1, 1)))


def test_directions_come_back_from_the_image(filmed, walk):  # noqa: F811
    pose, pose2d, directions, height = filmed
    found, known = toe_directions(pose, pose2d, walk[1], height)
    assert known.all() and np.median(degrees(found, directions)) < 1
    assert np.percentile(degrees(found, directions), 90) < 10  # where the ray only touches the sphere around the ankle


def test_toes_that_are_not_seen_are_at_a_right_angle_to_the_shin(filmed, walk):  # noqa: F811
    pose, pose2d, _, height = filmed
    points, sure = pose2d.points.copy(), pose2d.confidence.copy()
    points[:30, 17], sure[:30, 17], sure[:, 18] = np.nan, 0, 0.1
    found, known = toe_directions(pose, replace(pose2d, points=points, confidence=sure), walk[1], height)
    assert known[:, 0].tolist() == [False] * 30 + [True] * (len(pose) - 30) and not known[:, 1].any()
    shin = pose.points[:, ANKLES[1]] - pose.points[:, H36M17.index("right_knee")]
    np.testing.assert_allclose((found[:, 1] * unit(shin.astype(float))).sum(-1), 0, atol=1e-4)


def test_clean_adds_toes_and_moves_nothing_else(filmed, walk):  # noqa: F811
    pose, pose2d, directions, _ = filmed
    cleaned, remarks = clean(pose, pose2d, walk[1])
    without, _ = clean(pose, pose2d.convert("h36m17"), walk[1])
    assert (cleaned.skeleton, without.skeleton) == (H36M19, H36M17)
    assert remarks[-1] == "toes: seen in 100% of the frames"
    np.testing.assert_array_equal(cleaned.points[:, :17], without.points)
    foot = unit(cleaned.points[:, 17:].astype(float) - cleaned.points[:, ANKLES])
    assert np.median(degrees(foot, walk[1].camera_to_world_direction(directions))) < 6


def test_feet_of_an_animation_point_to_the_toes(filmed):
    pose, _, directions, height = filmed
    feet = with_toes(replace(pose, frame="world"), directions, height)
    assert feet.points.shape == (len(pose), 19, 3) and feet.convert("h36m17").points.tolist() == pose.points.tolist()
    motion, angles = animate(feet), joint_angles(feet)
    world: list[np.ndarray] = []
    for joint, parent in enumerate(motion.parents):
        turned = motion.rotations[:, joint]
        world.append(turned if parent < 0 else world[parent] @ turned)
    for side, name in enumerate(("Left", "Right")):
        end = motion.ends[f"{name}Foot"]
        assert np.isclose(np.linalg.norm(end), LENGTH * height, atol=1e-4)
        x, y, z = (world[motion.joints.index(f"{name}Foot")] @ end / np.linalg.norm(end)).T
        assert degrees(np.stack([x, -z, y], -1), directions[:, side]).max() < 0.1
        knee = unit(pose.points[:, H36M17.index(f"{name.lower()}_knee")].astype(float) - pose.points[:, ANKLES[side]])
        expected = 90 - degrees(knee, directions[:, side])
        np.testing.assert_allclose(angles[f"{name.lower()}_ankle_flexion"], expected, atol=0.1)
