"""Bones that turn put every joint back where the positions had it, without twisting or mirroring the body."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mocap3d.data.loading import load_dataset
from mocap3d.formats.animation import animate, least_rotation, y_up
from mocap3d.formats.motion_file import forward_kinematics
from mocap3d.poses import Pose3D
from mocap3d.skeleton import H36M17, flip

AT = {  # where joints of an animation belong
    "Hips": "pelvis", "Spine1": "spine", "Neck": "thorax", "Head": "nose",
    **{f"{side.title()}{theirs}": f"{side}_{ours}" for side in ("left", "right") for theirs, ours in (
        ("Arm", "shoulder"), ("ForeArm", "elbow"), ("Hand", "wrist"),
        ("UpLeg", "hip"), ("Leg", "knee"), ("Foot", "foot"))},
}  # fmt: skip


@pytest.fixture(scope="module")
def clips():
    return load_dataset("synthetic").test[::5]


def rebuilt(motion):
    """(T, J, 3) metres, y up."""
    offsets = np.repeat(motion.offsets[None], len(motion.root), axis=0)
    offsets[:, 0] = motion.root
    return forward_kinematics(motion.parents, motion.rotations, offsets)[0]


def largest_turn(motion):
    """Degrees from frame to frame, (T - 1, J)."""
    trace = np.einsum("tjab,tjab->tj", motion.rotations[1:], motion.rotations[:-1])
    return np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1)))


def test_every_joint_is_where_it_was(clips):
    for clip in clips:
        motion, truth = animate(clip.pose3d), y_up(clip.pose3d)
        points = rebuilt(motion)
        for name, joint in AT.items():
            error = np.linalg.norm(points[:, motion.joints.index(name)] - truth[:, H36M17.index(joint)], axis=-1)
            assert error.max() < 1e-4, (clip.action, name)
        np.testing.assert_allclose(np.linalg.det(motion.rotations), 1, atol=1e-9)


def test_smooth_motion_turns_smoothly(clips):
    smooth = 0
    for clip in clips:
        points, bones = clip.pose3d.points.astype(float), np.array(H36M17.bones)
        bones = points[:, bones[:, 1]] - points[:, bones[:, 0]]
        bones /= np.linalg.norm(bones, axis=-1, keepdims=True)
        input_turn = np.degrees(np.arccos(np.clip((bones[1:] * bones[:-1]).sum(-1), -1, 1))).max()
        if input_turn < 15:
            smooth += 1
            assert largest_turn(animate(clip.pose3d)).max() < 30, clip.action
    assert smooth >= 5


def test_the_rest_is_a_t_pose_with_the_left_to_the_left(clips):
    motion = animate(clips[0].pose3d)
    still = replace(motion, root=motion.root[:1] * 0, rotations=np.eye(3)[None, None].repeat(len(motion.joints), 1))
    place = dict(zip(motion.joints, rebuilt(still)[0], strict=True))
    assert place["LeftHand"][0] > 0.5 and place["RightHand"][0] < -0.5 and place["Head"][1] > 0.4
    assert place["LeftFoot"][1] < -0.6 and abs(place["LeftHand"][2]) < 1e-9 and motion.ends["LeftFoot"][2] > 0


def test_a_mirrored_motion_gives_the_mirrored_animation(clips):
    pose = clips[0].pose3d
    mirrored = replace(pose, points=flip(pose.points))
    here, there = (rebuilt(animate(p)) for p in (pose, mirrored))
    joints = animate(pose).joints
    np.testing.assert_allclose(
        there[:, joints.index("LeftHand")] * [-1, 1, 1], here[:, joints.index("RightHand")], atol=1e-4
    )


def arm(flexion: float, roll: float, frames: int = 20) -> Pose3D:
    """A T-pose whose left elbow is bent by `flexion` in the plane turned by `roll` about the upper arm; degrees."""
    points = {joint: (0.0, 0.0, 0.0) for joint in H36M17.joints}  # y up, facing +z, left at +x
    points |= {"spine": (0, 0.25, 0), "thorax": (0, 0.5, 0), "nose": (0, 0.6, 0), "head": (0, 0.75, 0)}
    for side, sign in (("left", 1), ("right", -1)):
        points |= {f"{side}_{joint}": (sign * x, y, 0.0) for joint, x, y in (
            ("hip", 0.1, 0), ("knee", 0.1, -0.4), ("foot", 0.1, -0.8),
            ("shoulder", 0.2, 0.5), ("elbow", 0.5, 0.5), ("wrist", 0.75, 0.5))}  # fmt: skip
    bend, turn = np.radians([flexion, roll])
    ahead = np.array([0, np.sin(turn), np.cos(turn)])
    points["left_wrist"] = points["left_elbow"] + 0.25 * (np.cos(bend) * np.array([1, 0, 0]) + np.sin(bend) * ahead)
    x, y, z = np.array([points[joint] for joint in H36M17.joints]).T
    return Pose3D(np.stack([x, -y, -z], -1)[None].repeat(frames, 0), fps=50, frame="camera")


@given(st.floats(25, 140), st.floats(-85, 85))
@settings(max_examples=30, deadline=None)
def test_the_plane_of_the_elbow_twists_the_upper_arm(flexion, roll):
    motion = animate(arm(flexion, roll))
    turn = motion.rotations[0, motion.joints.index("LeftArm")]
    np.testing.assert_allclose(turn @ [1, 0, 0], [1, 0, 0], atol=1e-6)  # the direction stays
    np.testing.assert_allclose(turn @ [0, 0, 1], [0, np.sin(np.radians(roll)), np.cos(np.radians(roll))], atol=1e-5)
    bent = motion.rotations[0, motion.joints.index("LeftForeArm")] @ [1, 0, 0]
    np.testing.assert_allclose(bent, [np.cos(np.radians(flexion)), 0, np.sin(np.radians(flexion))], atol=1e-5)
    assert motion.twist_known.all(0).tolist() == [True, False, False, False]


def test_the_twist_of_a_straight_arm_is_unknown_and_comes_from_the_nearest_bent_frames():
    pose = replace(arm(60, 40, 100), points=arm(60, 40, 100).points.copy())
    pose.points[30:70] = arm(5, -80, 40).points  # nearly straight: its plane means nothing
    motion = animate(pose)
    assert motion.twist_known[:, 0].tolist() == [True] * 30 + [False] * 40 + [True] * 30
    turns = motion.rotations[:, motion.joints.index("LeftArm")]
    np.testing.assert_allclose(turns, turns[:1].repeat(100, 0), atol=1e-6)


def test_missing_joints_are_interpolated_with_a_warning(clips):
    pose = clips[0].pose3d
    points = pose.points.copy()
    points[10:14, H36M17.index("left_wrist")] = np.nan
    with pytest.warns(UserWarning, match="missing in 4 of"):
        motion = animate(replace(pose, points=points))
    error = rebuilt(motion)[8:16] - rebuilt(animate(pose))[8:16]
    assert np.abs(error[:, motion.joints.index("LeftHand")]).max() < 0.03
    points[:, H36M17.index("left_wrist")] = np.nan
    with pytest.raises(ValueError, match="left_wrist missing in all frames"):
        animate(replace(pose, points=points))


def test_a_pose_without_a_place_stands_on_the_ground(clips):
    pose = clips[0].pose3d
    points = rebuilt(animate(replace(pose, points=pose.points - pose.points[:, :1], root="relative")))
    joints = animate(pose).joints
    feet = points[:, [joints.index("LeftFoot"), joints.index("RightFoot")], 1]
    assert feet.min() == pytest.approx(0, abs=1e-4)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_least_rotation_turns_one_direction_to_the_other(seed):
    rng = np.random.default_rng(seed)
    start, end = (v / np.linalg.norm(v, axis=-1, keepdims=True) for v in rng.normal(size=(2, 20, 3)))
    end[0] = -start[0]  # the way round is free
    turn = least_rotation(start, end)
    np.testing.assert_allclose((turn @ start[..., None])[..., 0], end, atol=1e-6)
    np.testing.assert_allclose(np.linalg.det(turn), 1, atol=1e-9)
    angle = np.arccos(np.clip((np.trace(turn, axis1=1, axis2=2) - 1) / 2, -1, 1))
    np.testing.assert_allclose(angle, np.arccos(np.clip((start * end).sum(-1), -1, 1)), atol=1e-6)
