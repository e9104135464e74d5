"""Every step of cleaning mends what it is for, and leaves the rest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mocap3d.camera import Camera
from mocap3d.data.loading import load_dataset
from mocap3d.lifting import cleanup
from mocap3d.lifting.cleanup import ANKLES, CleanupError
from mocap3d.poses import Pose2D, Pose3D
from mocap3d.skeleton import H36M17, root_relative

SIZE = (1920, 1080)


@pytest.fixture(scope="module")
def walk():
    """World truth of somebody who walks, and a camera that looks down by 15 degrees at it."""
    clip = next(clip for clip in load_dataset("synthetic").test if clip.action == "Walking")
    world = clip.camera.camera_to_world(clip.pose3d.points[:200].astype(float))
    middle = world.mean((0, 1))
    camera = Camera.look_at((middle[0], middle[1] - 5, 2.5), middle, width=1920, height=1080)
    return world, camera


@pytest.fixture(scope="module")
def seen(walk):
    """Pose and keypoints in that camera, without error."""
    world, camera = walk
    points = camera.world_to_camera(world)
    pixels = camera.project(points)
    return Pose3D(points, fps=50, frame="camera"), Pose2D(pixels, fps=50, image_size=SIZE)


def test_constant_bones_have_one_length_and_keep_directions(seen):
    rng = np.random.default_rng(0)
    pose = replace(seen[0], points=seen[0].points + rng.normal(0, 0.02, seen[0].points.shape))
    points = cleanup.constant_bones(pose).points.astype(float)
    for parent, child in H36M17.bones:
        bone, before = (p[:, child] - p[:, parent] for p in (points, pose.points.astype(float)))
        if "hip" in H36M17.joints[child]:  # both on one line
            left, right = H36M17.indices(["left_hip", "right_hip"])
            before = (pose.points[:, left] - pose.points[:, right]) * (1.0 if child == left else -1.0)
        length = np.linalg.norm(bone, axis=-1)
        assert np.ptp(length) < 1e-5
        other = points[:, H36M17.mirror[child]] - points[:, H36M17.mirror[parent]]
        np.testing.assert_allclose(np.linalg.norm(other, axis=-1), length, atol=1e-5)
        cosine = (bone * before).sum(-1) / length / np.linalg.norm(before, axis=-1)
        assert cosine.min() > 1 - 1e-6
    tall = cleanup.constant_bones(pose, height=1.9).points
    short = cleanup.constant_bones(pose, height=0.95).points
    np.testing.assert_allclose(root_relative(tall), 2 * root_relative(short), atol=1e-5)


def test_the_place_comes_back_from_the_image(seen, walk):
    pose, pose2d = seen
    nowhere = replace(pose, points=root_relative(pose.points), root="relative")
    placed = cleanup.place(nowhere, pose2d, walk[1], steady=0)
    np.testing.assert_allclose(placed.points, pose.points, atol=2e-3)
    assert placed.root == "estimated"
    smoothed = cleanup.place(nowhere, pose2d, walk[1])
    assert np.abs(walk[1].project(smoothed.points.astype(float))[:, 0] - pose2d.points[:, 0]).max() < 1


def test_frames_without_anybody_are_placed_between_their_neighbours(seen, walk):
    pose, pose2d = seen
    points, poses = pose2d.points.copy(), pose.points.copy()
    points[50:60], poses[50:60] = np.nan, np.nan
    with_gap = replace(pose2d, points=points, confidence=np.isfinite(points).all(-1).astype(np.float32))
    placed = cleanup.place(replace(pose, points=poses), with_gap, walk[1], steady=0).points
    assert np.isnan(placed[50:60]).all() and np.isfinite(placed[:50]).all()
    np.testing.assert_allclose(placed[60:], pose.points[60:], atol=2e-3)


def test_the_vertical_comes_from_the_camera_from_angles_or_from_standing(seen, walk):
    world, camera = walk
    pose = seen[0]
    known, note = cleanup.level(pose, camera)
    np.testing.assert_allclose(known.points, world, atol=1e-4)
    assert "from the camera" in note and known.frame == "world"
    down = np.degrees(np.arcsin(-camera.camera_to_world_direction(np.array([0.0, 0.0, 1.0]))[2]))
    for levelled, note in (cleanup.level(pose, pitch=down), cleanup.level(pose)):
        trunk, truth = (p[:, H36M17.index("thorax")] - p[:, H36M17.index("pelvis")] for p in (levelled.points, world))
        tilt = np.degrees(np.arccos(trunk[:, 2] / np.linalg.norm(trunk, axis=-1)))
        true = np.degrees(np.arccos(truth[:, 2] / np.linalg.norm(truth, axis=-1)))
        assert np.abs(tilt - true).mean() < (0.01 if "given" in note else 4), note
    assert down > 10  # else nothing is tested


def test_roll_by_hand_turns_the_body_upright():
    body = np.zeros((1, 17, 3)) + [0, 0, 4]
    angle = np.radians(20)
    body[0, H36M17.index("thorax")] += [0.5 * np.sin(angle), -0.5 * np.cos(angle), 0]  # leans to the right of the image
    upright = cleanup.level(Pose3D(body, frame="camera"), roll=-20)[0].points[0]
    bone = upright[H36M17.index("thorax")] - upright[H36M17.index("pelvis")]
    np.testing.assert_allclose(bone, [0, 0, 0.5], atol=1e-6)


def test_a_body_that_never_stands_leaves_the_camera_level(seen):
    points = seen[0].points.astype(float).copy()
    points[:, ANKLES] = points[:, [0]] + [0.3, 0, 0]  # sits
    levelled, note = cleanup.level(replace(seen[0], points=points))
    assert "unknown" in note
    np.testing.assert_allclose(levelled.points[..., 2], -points[..., 1], atol=1e-5)


@pytest.mark.parametrize("method", ["gaussian", "savgol", "butterworth", "one_euro"])
def test_smoothing_takes_noise_and_keeps_motion(seen, method):
    rng = np.random.default_rng(1)
    truth = seen[0].points.astype(float)
    noisy = replace(seen[0], points=truth + rng.normal(0, 0.01, truth.shape))
    jerk = lambda p: np.linalg.norm(np.diff(p.points.astype(float), 3, axis=0), axis=-1).mean()  # noqa: E731
    smoothed = cleanup.smooth(noisy, method)
    assert jerk(smoothed) < 0.5 * jerk(noisy)
    error = lambda p: np.linalg.norm(p.points - truth, axis=-1).mean()  # noqa: E731
    assert error(smoothed) < error(noisy) * (0.8 if method != "one_euro" else 2)  # it lags behind
    points = noisy.points.copy()
    points[20:25] = np.nan
    gap = cleanup.smooth(replace(noisy, points=points), method).points
    assert np.isnan(gap[20:25]).all() and np.isfinite(gap[25:]).all()
    assert len(cleanup.smooth(noisy.slice(0, 1), method)) == 1


def test_feet_that_rest_stay(walk, seen):
    world, camera = walk
    pose, pose2d = seen
    rests = cleanup.touching(pose, pose2d, camera)
    speed = np.linalg.norm(np.gradient(world[:, ANKLES], axis=0), axis=-1) * 50
    assert rests[speed < 0.15].mean() > 0.8 and rests[speed > 1].mean() < 0.05
    rng = np.random.default_rng(2)
    wobble = cleanup.gaussian(rng.normal(0, 0.2, (len(world), 1, 3)), 5)
    wrong = Pose3D(world + wobble, fps=50)
    planted = cleanup.plant_feet(wrong, rests)
    both = rests[1:] & rests[:-1]
    skate = lambda p: np.linalg.norm(np.diff(p[:, ANKLES], axis=0), axis=-1)[both].mean()  # noqa: E731
    assert skate(planted.points) < 0.2 * skate(wrong.points)
    for side in ("left", "right"):  # legs keep their length
        for a, b in (("hip", "knee"), ("knee", "foot")):
            bone = H36M17.indices([f"{side}_{a}", f"{side}_{b}"])
            lengths = [np.linalg.norm(p[:, bone[0]] - p[:, bone[1]], axis=-1) for p in (planted.points, world)]
            np.testing.assert_allclose(*lengths, atol=1e-3)
    assert planted.root == "floor-glued" and abs(np.median(planted.points[:, ANKLES][..., 2][rests])) < 1e-3


def test_frames_without_a_pose_stay_without(seen):
    pose, pose2d = seen
    points, pixels = pose.points.copy(), pose2d.points.copy()
    points[40:44], pixels[40:44] = np.nan, np.nan
    confidence = np.isfinite(pixels).all(-1).astype(np.float32)
    cleaned, _ = cleanup.clean(replace(pose, points=points), replace(pose2d, points=pixels, confidence=confidence))
    assert np.isnan(cleaned.points[40:44]).all() and np.isfinite(np.delete(cleaned.points, slice(40, 44), 0)).all()


def test_without_a_rest_only_the_ground_is_set(walk):
    world = Pose3D(walk[0], fps=50)
    planted = cleanup.plant_feet(world, np.zeros((200, 2), bool)).points
    assert planted[:, ANKLES, 2].min() == pytest.approx(0, abs=1e-5)
    np.testing.assert_allclose(root_relative(planted), root_relative(world.points), atol=1e-5)


def test_clean_says_what_it_did(seen):
    pose, pose2d = seen
    cleaned, remarks = cleanup.clean(
        replace(pose, points=root_relative(pose.points), root="relative"), pose2d, height=1.8
    )
    assert (cleaned.frame, cleaned.root, len(cleaned)) == ("world", "floor-glued", len(pose))
    text = " ".join(remarks)
    assert "1.8 m" in text and "standing" in text and "feet" in text


def test_clean_undoes_inversions_of_the_keypoints(seen):
    """`lift` undoes them, so that the pose has none; its keypoints still do."""
    pose, pose2d = seen
    points = pose2d.points.copy()
    points[40:80] = points[40:80, list(H36M17.mirror)]
    cleaned, inverted = (cleanup.clean(pose, seen2d)[0].points for seen2d in (pose2d, replace(pose2d, points=points)))
    np.testing.assert_allclose(inverted, cleaned, atol=1e-5)


def test_clean_drops_joints_that_were_not_seen_as_lift_does(seen):
    """Detectors put them at (0, 0), or say so by confidence 0: a foot there would be a foot at rest."""
    pose, pose2d = seen
    points, confidence = pose2d.points.copy(), pose2d.confidence.copy()
    points[40:80, ANKLES[0]], points[90:110, ANKLES[1]], confidence[90:110, ANKLES[1]] = 0, 55, 0
    zeros = replace(pose2d, points=points.copy(), confidence=confidence)
    points[40:80, ANKLES[0]] = points[90:110, ANKLES[1]] = np.nan
    there, missing = (cleanup.clean(pose, seen2d)[0].points for seen2d in (zeros, replace(pose2d, points=points)))
    np.testing.assert_allclose(there, missing, atol=1e-6)


def test_bones_are_constant_after_cleaning(seen):
    pose, pose2d = seen
    rng = np.random.default_rng(3)
    noisy = replace(pose, points=pose.points + rng.normal(0, 0.02, pose.points.shape))
    points = cleanup.clean(noisy, pose2d)[0].points.astype(float)
    for parent, child in (*H36M17.bones, H36M17.indices(["left_hip", "right_hip"])):
        assert np.ptp(np.linalg.norm(points[:, child] - points[:, parent], axis=-1)) < 1e-3


def test_wrong_input_gets_one_sentence(seen, walk):
    pose, pose2d = seen
    with pytest.raises(TypeError, match="place.. takes a Pose3D as pose, not a Pose2D"):
        cleanup.place(pose2d, pose2d, walk[1])
    with pytest.raises(CleanupError, match="camera frame, not the world frame"):
        cleanup.level(replace(pose, frame="world"))
    with pytest.raises(CleanupError, match="100 for 200"):
        cleanup.place(pose, pose2d.slice(0, 100), walk[1])
    with pytest.raises(CleanupError, match="not both"):
        cleanup.level(pose, walk[1], pitch=3)
    with pytest.raises(CleanupError, match="place"):
        cleanup.plant_feet(replace(pose, frame="world", root="relative"), np.zeros((200, 2), bool))
    with pytest.raises(CleanupError, match="method='mean'"):
        cleanup.smooth(pose, "mean")
    with pytest.raises(ValueError, match="175"):
        cleanup.constant_bones(pose, height=175)
    with pytest.raises(CleanupError, match="coco17"):
        cleanup.constant_bones(Pose3D(np.zeros((3, 17, 3)), "coco17"))
