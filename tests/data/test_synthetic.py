"""The procedural data set: bodies, joints, feet, sides, cameras, and its likeness to real motion."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mocap3d.camera import h36m_cameras
from mocap3d.data.dataset import DatasetError
from mocap3d.data.loading import load_dataset
from mocap3d.data.synthetic import ACTIONS
from mocap3d.data.synthetic.body import LIMITS, SIDES, SUBJECTS, pose_body, settle, subject_body
from mocap3d.data.synthetic.keyframes import SEGMENTS, centre_of_mass
from mocap3d.data.synthetic.limbs import smoothed, two_bone
from mocap3d.data.synthetic.primitives import FPS, GRAVITY, jump, path
from mocap3d.data.synthetic.recordings import TEST_SUBJECTS, make_synthetic, synthesize
from mocap3d.data.synthetic.wide import WIDE, perform_wide
from mocap3d.skeleton import H36M17

J = H36M17.index
WALKS = ("Walking", "WalkTogether")


@pytest.fixture(scope="module")
def takes() -> dict[tuple[str, str], np.ndarray]:
    """Every subject's every action, 3 s: (T, 17, 3) world, float64."""
    return {(s, a): synthesize(s, a, seconds=3.0).points.astype(np.float64) for s in SUBJECTS for a in ACTIONS}


def flexion(points: np.ndarray, upper: str, joint: str, lower: str) -> np.ndarray:
    """Degrees a limb is bent at a joint: 0 is straight."""
    a, b = points[:, J(joint)] - points[:, J(upper)], points[:, J(lower)] - points[:, J(joint)]
    cosine = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def facing(points: np.ndarray) -> np.ndarray:
    """(T, 2) unit vectors the pelvis faces: up cross (left from right)."""
    left = (points[:, J("left_hip")] - points[:, J("right_hip")])[:, :2]
    ahead = np.stack([left[:, 1], -left[:, 0]], -1)
    return ahead / np.linalg.norm(ahead, axis=-1, keepdims=True)


def test_data_set_is_shaped_like_human36m():
    data = make_synthetic(seconds=0.5)
    assert data.name == "synthetic" and set(data.subjects) == {"S1", "S5", "S6", "S7", "S8", "S9", "S11"}
    assert len(data.actions) == 15 and len(data) == 7 * 15 * 4 and data.frames == 7 * 15 * 4 * 25
    assert set(data.test.subjects) == set(TEST_SUBJECTS) == {"S9", "S11"}
    assert not set(data.train.takes) & set(data.test.takes)
    for clip in data:
        size = np.array(clip.pose2d.image_size)
        assert clip.pose3d.fps == 50 and clip.pose3d.skeleton is H36M17
        assert (clip.pose2d.points >= 0).all() and (clip.pose2d.points <= size).all()
        assert (clip.pose3d.points[..., 2] > 1.0).all()  # metres in front of the camera


def test_more_actions_come_on_request_only():
    wide = make_synthetic(seconds=0.2, subjects=["S1", "S9"], actions="wide")
    assert set(wide.actions) == set(WIDE) and len(wide) == 2 * 9 * 4 and not set(WIDE) & set(ACTIONS)
    assert {clip.subject for clip in wide.test} == {"S9"}
    every = make_synthetic(seconds=0.2, subjects=["S1"], actions="all")
    assert set(every.actions) == {*ACTIONS, *WIDE}
    with pytest.raises(ValueError, match="'Walking' is not one of h36m, wide, all"):
        make_synthetic(actions="Walking")


def test_load_dataset_passes_options_on():
    data = load_dataset("synthetic", subjects=["S1"], actions=["Photo"], seconds=0.5, takes=2)
    assert len(data.takes) == 2 and len(data) == 8
    first, second = (data.select(take=take)[0].pose3d.points for take in data.takes)
    assert not np.allclose(first, second, atol=0.01)


def test_same_seed_same_bits():
    for action in ("Posing", "Walking", *WIDE):
        again = [synthesize("S5", action, seed=3, seconds=2).points for _ in range(2)]
        assert again[0].tobytes() == again[1].tobytes()
        other = synthesize("S5", action, seed=4, seconds=2).points
        assert np.abs(other - again[0]).max() > 0.1
        assert np.abs(synthesize("S7", action, seed=3, seconds=2).points - again[0]).max() > 0.1


DIGESTS = {  # sha256 of 2 s, seed 0, by (subject, action, take), from before there were more than fifteen actions
    ("S1", "Walking", 0): "e43bd97b1513309b",
    ("S9", "Posing", 1): "60478ae7abf8a5dc",
    ("S11", "SittingDown", 0): "910dc6cb2579e9be",
    ("S6", "WalkDog", 2): "dae941c4ec8fbbb3",
    ("S5", "Sitting", 0): "9a461de94bd1529f",
    ("S7", "Photo", 1): "b8cd526a36676710",
}


@pytest.mark.parametrize("subject, action, take", DIGESTS)
def test_clips_keep_their_bits_from_version_to_version(subject, action, take):
    points = synthesize(subject, action, seconds=2.0, take=take).points
    assert hashlib.sha256(points.tobytes()).hexdigest()[:16] == DIGESTS[subject, action, take]


@pytest.mark.parametrize(
    "arguments", [("S2", "Walking"), ("S1", "Flying"), ("S1", "Walking", 0, 0.0), ("S1", "Walking", 0, 1e9)]
)
def test_bad_requests_name_the_value(arguments):
    with pytest.raises(ValueError, match="S2|Flying|seconds"):
        synthesize(*arguments)


@settings(max_examples=24, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.sampled_from(sorted(SUBJECTS)), st.sampled_from(ACTIONS + WIDE), st.floats(0.2, 6.0)
)
def test_any_seed_gives_a_body_all_cameras_see(seed, subject, action, seconds):
    points = synthesize(subject, action, seed, seconds).points
    assert np.isfinite(points).all() and len(points) == round(seconds * FPS)
    assert all(camera.sees(points).all() for camera in h36m_cameras(subject))
    lengths = bone_lengths(points.astype(np.float64))
    assert np.ptp(lengths, axis=0).max() < 1e-4
    assert points[..., 2].min() > 0.0  # nothing below the floor


def bone_lengths(points: np.ndarray) -> np.ndarray:
    return np.stack([np.linalg.norm(points[:, a] - points[:, b], axis=-1) for a, b in H36M17.bones], -1)


def test_bones_are_constant_symmetric_and_human(takes):
    for subject in SUBJECTS:
        lengths = np.concatenate([bone_lengths(p) for (s, _), p in takes.items() if s == subject])
        assert np.ptp(lengths, axis=0).max() < 1e-4  # 0.1 mm over every action
        mean = dict(zip([H36M17.joints[child] for _, child in H36M17.bones], lengths.mean(0), strict=True))
        for name in ("hip", "knee", "foot", "shoulder", "elbow", "wrist"):
            assert abs(mean[f"left_{name}"] - mean[f"right_{name}"]) < 1e-5
        stature = subject_body(subject).stature
        # Winter's table of segment lengths by stature: thigh 0.245, shank 0.246, forearm 0.146
        assert abs(mean["left_knee"] / stature - 0.245) < 0.015
        assert abs(mean["left_foot"] / stature - 0.246) < 0.015
        assert abs(mean["left_wrist"] / stature - 0.146) < 0.015


def test_joints_stay_within_their_limits(takes):
    for points in takes.values():
        for side in ("left", "right"):
            knee = flexion(points, f"{side}_hip", f"{side}_knee", f"{side}_foot")
            elbow = flexion(points, f"{side}_shoulder", f"{side}_elbow", f"{side}_wrist")
            for angle, name in ((knee, "knee_flexion"), (elbow, "elbow_flexion")):
                low, high = LIMITS[name]
                assert low - 0.1 < angle.min() and angle.max() < high + 0.1


def test_right_is_right_and_walkers_face_where_they_go(takes):
    for (_, action), points in takes.items():
        if action not in WALKS:
            continue
        speed = np.gradient(points[:, 0, :2], axis=0) * FPS
        going = speed / np.linalg.norm(speed, axis=-1, keepdims=True)
        right_of_way = np.stack([going[:, 1], -going[:, 0]], -1)  # going x up
        for joint in ("hip", "shoulder"):
            across = (points[:, J(f"right_{joint}")] - points[:, J(f"left_{joint}")])[:, :2]
            assert np.median((across * right_of_way).sum(-1)) > 0.1
        assert np.median((facing(points) * going).sum(-1)) > 0.85


def test_knees_bend_forward_and_elbows_back_in_gait(takes):
    for (_, action), points in takes.items():
        if action != "Walking":
            continue
        ahead = facing(points)
        for side in ("left", "right"):
            for upper, middle, lower, sign in (("hip", "knee", "foot", 1.0), ("shoulder", "elbow", "wrist", -1.0)):
                a, b, c = (points[:, J(f"{side}_{name}")] for name in (upper, middle, lower))
                out = ((b - (a + c) / 2)[:, :2] * ahead).sum(-1) * sign
                assert np.mean(out > 0) > 0.95


def test_toes_lead_the_body_forward_not_backward(takes):
    """The swing foot overtakes the stance foot: at most times one foot is ahead and it alternates."""
    points = takes["S9", "Walking"]
    lead = ((points[:, J("left_foot")] - points[:, J("right_foot")])[:, :2] * facing(points)).sum(-1)
    assert np.sum(np.diff(np.sign(lead)) != 0) >= 4 and lead.max() > 0.05 and lead.min() < -0.05


def test_loaded_feet_do_not_slide(takes):
    for (_, action), points in takes.items():
        if action not in WALKS:
            continue
        rested = 0
        for joint in ("left_foot", "right_foot"):
            foot = points[:, J(joint)]
            down = foot[:, 2] < foot[:, 2].min() + 0.003
            speed = np.linalg.norm(np.diff(foot[:, :2], axis=0), axis=-1) * FPS  # (T-1,) m/s
            held = np.convolve(down, np.ones(5), mode="same")[1:] == 5  # on the floor two frames before and after
            rested += held.mean()
            assert speed[held].max(initial=0.0) < 0.05
        assert rested > 0.2  # both feet together; running feet rest little
        assert np.linalg.norm(np.diff(points[:, 0, :2], axis=0), axis=-1).sum() > 0.7  # and the body does move


def test_standing_feet_do_not_slide():
    points = synthesize("S9", "Directions", seconds=8).points.astype(np.float64)
    for joint in ("left_foot", "right_foot"):
        foot = points[:, J(joint)]
        speed = np.linalg.norm(np.diff(foot, axis=0), axis=-1) * FPS
        assert np.median(speed) < 0.01


def test_poses_are_varied(takes):
    every = np.concatenate([p[::5] for p in takes.values()])
    ahead = facing(every)
    octant = np.floor((np.arctan2(ahead[:, 1], ahead[:, 0]) + np.pi) / (np.pi / 4)).astype(int) % 8
    assert (np.bincount(octant, minlength=8) / len(octant)).min() > 0.04
    wrist = every[:, [J("left_wrist"), J("right_wrist")], 2] - every[:, J("thorax"), None, 2]
    assert (wrist > 0.2).mean() > 0.04 and (wrist < -0.3).mean() > 0.25  # overhead; hanging
    assert (every[:, 0, 2] < 0.4).mean() > 0.02 and (every[:, 0, 2] > 0.8).mean() > 0.4  # on the floor; upright
    place = every[:, 0, :2]
    assert (place.std(0) > 0.25).all()
    lowest = every[:, [J("left_foot"), J("right_foot")], 2].min(1)
    assert (lowest > 0.2).any()  # somebody is in the air


def test_motion_is_smooth(takes):
    """No joint snaps: accelerations stay below what sprinting wrists and kicking feet reach."""
    acceleration = np.concatenate(
        [np.linalg.norm(np.diff(p, 2, axis=0), axis=-1).ravel() * FPS**2 for p in takes.values()]
    )
    assert np.percentile(acceleration, 99.9) < 250 and np.median(acceleration) > 0.5
    speed = np.concatenate([np.linalg.norm(np.diff(p, axis=0), axis=-1).ravel() * FPS for p in takes.values()])
    assert speed.max() < 15


# The nine wide actions. `Moved` is (body, Motion, points (T, 17, 3)) of one recording, 8 s.


@pytest.fixture(scope="module")
def moved() -> dict[tuple[str, int], tuple]:
    """Every wide action by every subject, one seed each: 8 s, and what drove it."""
    time, made = np.arange(400) / FPS, {}
    for action in WIDE:
        for seed, subject in enumerate(SUBJECTS):
            body = subject_body(subject)
            motion = settle(body, perform_wide(np.random.default_rng((seed, 7)), body, action, time))
            made[action, seed] = body, motion, pose_body(body, motion)
    return made


def of(moved, action: str) -> list[tuple]:
    return [made for (name, _), made in moved.items() if name == action]


def trunk(points: np.ndarray) -> np.ndarray:
    """(T, 3) unit vectors up the trunk."""
    up = points[:, J("thorax")] - points[:, J("pelvis")]
    return up / np.linalg.norm(up, axis=-1, keepdims=True)


def resting(goal: np.ndarray, weight: np.ndarray) -> list[slice]:
    """Frames during which a contact bears and stays where it is, at least a tenth of a second."""
    still = np.append(True, np.linalg.norm(np.diff(goal, axis=0), axis=-1) < 1e-6) & (weight > 0.999)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], still.astype(int), [0]])))
    return [slice(a, b) for a, b in edges.reshape(-1, 2) if b - a >= 5]


def test_wide_bones_are_constant_and_nothing_is_below_the_floor(moved):
    for (action, _), (body, _, points) in moved.items():
        lengths = bone_lengths(points)
        assert np.ptp(lengths, axis=0).max() < 1e-4
        assert abs(lengths[0].sum() - bone_lengths(pose_body(body, of(moved, "Balancing")[0][1]))[0].sum()) < 1e-6
        assert points[..., 2].min() > 0.0, action  # 2 cm below would still pass for skin and soles
        assert points[..., 2].max() < 2.6


def test_wide_contacts_stay_where_they_are(moved):
    """Feet, wrists and knees move less than 1 cm while they rest; every action often rests on something."""
    for (action, seed), (_, motion, points) in moved.items():
        contacts = [("foot", motion.ankle, motion.planted)]
        if action != "Reaching":  # whose hands rest on nothing
            contacts.append(("wrist", motion.palm, motion.grip))
        if motion.kneel is not None:
            contacts.append(("knee", motion.knee, motion.kneel))
        rested = np.zeros(len(points), dtype=bool)
        for joint, goal, weight in contacts:
            for side, name in enumerate(SIDES):
                for when in resting(goal[:, side], weight[:, side]):
                    place = points[when, J(f"{name}_{joint}")]
                    assert np.linalg.norm(place - place[0], axis=-1).max() < 0.01, (action, seed, joint)
                    rested[when] = True
        assert rested.mean() > 0.25, action


def test_wide_feet_on_the_floor_do_not_slide(moved):
    """The same from the joints alone: an ankle as low as that of a flat foot stands still."""
    for action in ("Balancing", "Reaching", "Lunging", "Squatting", "TurningBent"):
        rested = []
        for body, _, points in of(moved, action):
            for name in SIDES:
                foot = points[:, J(f"{name}_foot")]
                down = np.convolve(foot[:, 2] < body.ankle + 0.002, np.ones(5), mode="same")[1:] == 5
                speed = np.linalg.norm(np.diff(foot[:, :2], axis=0), axis=-1) * FPS
                assert speed[down].max(initial=0.0) < 0.1, action
                rested.append(down.mean())
        assert np.mean(rested) > 0.3, action


def test_wide_seats_stay_on_their_place(moved):
    for action, low, high in (("SittingAtDesk", 0.42, 0.68), ("SittingOnFloor", 0.08, 0.15)):
        for _, _, points in of(moved, action):
            pelvis = points[:, J("pelvis")]
            assert np.linalg.norm(pelvis - pelvis.mean(0), axis=-1).max() < 0.01
            assert low < pelvis[:, 2].min() and pelvis[:, 2].max() < high


def test_wide_joints_stay_within_their_limits(moved):
    for (action, _), (_, _, points) in moved.items():
        for side in SIDES:
            knee = flexion(points, f"{side}_hip", f"{side}_knee", f"{side}_foot")
            elbow = flexion(points, f"{side}_shoulder", f"{side}_elbow", f"{side}_wrist")
            for angle, name in ((knee, "knee_flexion"), (elbow, "elbow_flexion")):
                low, high = LIMITS[name]
                assert low - 0.1 < angle.min() and angle.max() < high + 0.1
            thigh = points[:, J(f"{side}_knee")] - points[:, J(f"{side}_hip")]
            folded = np.degrees(np.arccos(np.clip((thigh * -trunk(points)).sum(-1) / np.linalg.norm(thigh[0]), -1, 1)))
            assert folded.max() < 178, action  # hip and spine together: the chest on the thigh


def test_wide_motion_is_smooth(moved):
    for (action, seed), (_, _, points) in moved.items():
        speed = np.linalg.norm(np.diff(points, axis=0), axis=-1) * FPS
        assert speed.max() < 6.0, (action, seed)
        acceleration = np.linalg.norm(np.diff(points, 2, axis=0), axis=-1) * FPS**2
        assert np.percentile(acceleration, 99.9) < 120 and acceleration.max() < 250, (action, seed)
        assert np.percentile(speed, 90) > 0.05  # it does move


def test_wide_bodies_are_balanced_on_one_leg():
    """At rest on one foot, the centre of mass lies over that foot."""
    assert abs(sum(mass for *_, mass, _ in SEGMENTS) - 1) < 1e-9
    time, apart = np.arange(400) / FPS, []
    for seed in range(4):
        body = subject_body("S6")
        motion = settle(body, perform_wide(np.random.default_rng(seed), body, "Balancing", time))
        centre = centre_of_mass(pose_body(body, motion))[:, :2]
        for side in range(2):
            alone = np.convolve(motion.planted[:, 1 - side] < 0.01, np.ones(41), mode="same") == 41
            apart += list(np.linalg.norm(centre - motion.ankle[:, side, :2], axis=-1)[alone])
    assert len(apart) > 200 and max(apart) < 0.12  # m from the ankle; a foot reaches 0.2 m in front of it


def test_wide_actions_do_what_they_are_called(moved):
    for _, motion, _ in of(moved, "Balancing"):
        assert (motion.planted.min(1) < 0.01).mean() > 0.3
    wrists = [points[:, [J("left_wrist"), J("right_wrist")], 2] / b.stature for b, _, points in of(moved, "Reaching")]
    assert max(w.max() for w in wrists) > 1.05 and min(w.min() for w in wrists) < 0.25
    for body, _, points in of(moved, "Lunging"):
        apart = np.linalg.norm(points[:, J("left_foot"), :2] - points[:, J("right_foot"), :2], axis=-1)
        assert apart.max() > 0.6 * body.leg
    assert min(points[:, J("pelvis"), 2].min() / body.leg for body, _, points in of(moved, "Squatting")) < 0.6
    for _, _, points in of(moved, "Crawling"):
        assert np.abs(trunk(points)[:, 2]).max() < 0.6  # within 37 degrees of level
        assert (points[:, [J("left_knee"), J("right_knee")], 2] < 0.12).all()
    for _, _, points in of(moved, "SittingAtDesk"):
        assert (trunk(points)[:, 2] > 0.5).all()
    turns = []
    for _, _, points in of(moved, "TurningBent"):
        bent = trunk(points)[:, 2] < np.cos(np.radians(40))
        ahead = facing(points)
        heading = np.unwrap(np.arctan2(ahead[:, 1], ahead[:, 0]))
        turns.append(np.ptp(heading[bent]) if bent.any() else 0.0)
    assert np.median(turns) > 1.5 and len(turns) == 7  # radians, bent


def test_wide_sides_are_right(moved):
    """A crawler's face looks down and its left is left of where the head points; lying bodies lie on back and sides."""
    for _, _, points in of(moved, "Crawling"):
        left = points[:, J("left_shoulder")] - points[:, J("right_shoulder")]
        assert (np.cross(left, trunk(points))[:, 2] < -0.1).all()  # the chest's normal
    faces = []
    for _, _, points in of(moved, "LyingDown"):
        flat = (points[:, J("thorax"), 2] < 0.35) & (points[:, J("pelvis"), 2] < 0.3)
        across = points[:, J("left_shoulder")] - points[:, J("right_shoulder")]
        chest = np.cross(across, trunk(points))
        faces += list(np.degrees(np.arctan2(across[:, 2], chest[:, 2]))[flat])  # 0 on the back, 90 on the right side
    faces = np.array(faces)
    assert (np.abs(faces) < 20).mean() > 0.2 and (faces > 60).mean() > 0.02 and (faces < -60).mean() > 0.02
    assert np.abs(faces).max() < 120
    raised = [motion.planted.argmin(1)[motion.planted.min(1) < 0.01] for _, motion, _ in of(moved, "Balancing")]
    assert 0.2 < np.concatenate(raised).mean() < 0.8  # either leg
    for _, _, points in of(moved, "Squatting"):  # knees in front of the line from hip to ankle
        deep = points[:, J("pelvis"), 2] < 0.6
        for side in SIDES:
            hip, knee, foot = (points[:, J(f"{side}_{name}")] for name in ("hip", "knee", "foot"))
            assert (((knee - (hip + foot) / 2)[:, :2] * facing(points)).sum(-1)[deep] > 0).all()


finite = st.floats(-3, 3)


@settings(max_examples=60, deadline=None)
@given(st.tuples(finite, finite, finite), st.floats(-3, 3), st.floats(0.2, 0.5), st.floats(0.2, 0.5))
def test_two_bone_limbs_keep_their_length_and_reach_what_they_can(goal, turn, upper, lower):
    start, goal = np.array([[0.0, 0.0, 5.0]]), np.array([goal]) + [[0.0, 0.0, 5.0]]
    frame = np.eye(3)[None]
    middle, end = two_bone(
        start, goal, upper, lower, frame, [0.0, 0.0, -1.0], [1.0, 0.0, 0.0], np.array([turn]), (5, 150)
    )
    assert np.isfinite(middle).all()
    assert abs(np.linalg.norm(middle - start) - upper) < 1e-6
    assert abs(np.linalg.norm(end - middle) - lower) < 1e-6
    distance = np.linalg.norm(goal - start)
    near, far = (np.sqrt(upper**2 + lower**2 + 2 * upper * lower * np.cos(np.radians(f))) for f in (150, 5))
    if near <= distance <= far:
        assert np.abs(end - goal).max() < 1e-6


def test_knee_of_a_sitting_leg_points_up():
    start, goal = np.array([[0.0, 0.0, 0.5]]), np.array([[0.7, 0.0, 0.5]])
    middle, _ = two_bone(start, goal, 0.45, 0.45, np.eye(3)[None], [0, 0, -1.0], [1.0, 0, 0], np.zeros(1), (3, 150))
    assert middle[0, 2] > 0.6


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(0.2, 1.0), st.floats(-1, 1)), min_size=2, max_size=6))
def test_paths_rest_at_their_keys(moves):
    """Minimum-jerk moves one after another start and end at rest, at the values asked for."""
    keys, clock = [], 0.0
    for duration, value in moves:
        keys.append((clock, duration, np.array([value])))
        clock += duration
    for start, duration, value in keys[1:]:
        end = start + duration
        around = path(keys, np.array([end - 1e-3, end, end + 1e-3]))[:, 0]
        assert abs(around[1] - value[0]) < 1e-6 and np.abs(np.diff(around)).max() < 1e-4


@settings(max_examples=40, deadline=None)
@given(st.floats(0.2, 0.5), st.floats(0.2, 0.6))
def test_flight_is_ballistic(crouch, flight):
    time = np.arange(0, 2.5, 0.001)
    pelvis, feet = jump(time, 0.3, crouch, flight)
    air = (time > 0.3 + crouch + 0.01) & (time < 0.3 + crouch + flight - 0.01)
    fall = np.diff(pelvis, 2)[air[1:-1]] / 1e-6
    assert np.allclose(fall, -GRAVITY, atol=1e-3)
    assert pelvis.min() < -0.01 and feet.min() == 0.0 and np.abs(np.diff(pelvis)).max() < 0.004


def test_smoothing_keeps_a_constant_and_the_mean():
    assert np.allclose(smoothed(np.full((30, 1), 2.5), 3.0), 2.5)
    spike = np.zeros((61, 1))
    spike[30] = 1.0
    assert abs(smoothed(spike, 3.0).sum() - 1) < 1e-9 and smoothed(spike, 3.0).max() < 0.2


def test_bones_and_speeds_are_like_real_ones(mocap_root, takes):
    """Summary numbers of synthetic motion lie in the range of real motion, within stated factors."""
    from mocap3d.formats.asf_amc import read_amc

    folder = mocap_root / "cmu" / "asfamc" / "02"
    if not folder.is_dir():
        pytest.skip("cmu/asfamc/02 is not in MOCAP3D_DATA")
    real = [
        read_amc(folder / "02.asf", folder / f"02_{n:02d}.amc").convert("h36m17").resample(FPS).points
        for n in (1, 3, 4, 5)
    ]

    def shape(points):
        lengths = bone_lengths(points.astype(np.float64)).mean(0)
        return lengths / lengths.sum()

    def speed(several):
        inner = [np.diff(points - points[:, :1], axis=0) for points in several]
        return np.concatenate([np.linalg.norm(step, axis=-1).ravel() * FPS for step in inner])

    made = np.stack([shape(p) for p in takes.values()])
    share = shape(real[0])
    assert np.abs(made.mean(0) - share).max() < 0.02  # of the sum of all bones
    for percentile in (50, 90, 99):
        ratio = np.percentile(speed(takes.values()), percentile) / np.percentile(speed(real), percentile)
        assert 0.2 < ratio < 3.0


@pytest.fixture(scope="module")
def real_worlds(mocap_root):
    from benchmarks.synthetic_realism import worlds

    return worlds(load_dataset("open-mocap", mocap_root).train)


def test_joint_angles_cover_those_of_real_motion(takes, real_worlds):
    """The middle eight tenths of every real angle lie in the synthetic range, to 15 degrees (its elbows bend more)."""
    from benchmarks.synthetic_realism import joint_angles

    made, real = (
        {name: np.concatenate([angles[name] for angles in several]) for name in several[0]}
        for several in (
            [joint_angles(p.astype(np.float64)) for p in takes.values()],
            [joint_angles(p) for p in real_worlds],
        )
    )
    for name in real:
        low, high = np.percentile(real[name], [10, 90])
        assert np.percentile(made[name], 1) < low + 15 and np.percentile(made[name], 99) > high - 15, name


def test_acceleration_spectrum_is_between_a_pendulum_and_marker_noise(takes, real_worlds):
    """Power of accelerations by frequency: spread over the bands as in real motion, none empty, none everything."""
    from benchmarks.synthetic_realism import spectrum

    made = sum(spectrum(p.astype(np.float64)) for p in takes.values() if len(p) > 100)
    real = sum(spectrum(p) for p in real_worlds if len(p) > 100)
    made, real = made / made.sum(), real / real.sum()
    assert made[1:].min() > 0.05 and made.max() < 0.75
    assert made[-1] < real[-1] + 0.25  # 8 to 20 Hz: jerks that no body makes would show here


def test_names_are_one_or_several_and_never_none():
    one = make_synthetic(seconds=1, subjects="S9", actions=["Walking"])
    assert one.subjects == ("S9",) and one.actions == ("Walking",)
    for wrong in ({"subjects": []}, {"actions": ()}):
        with pytest.raises(DatasetError, match=f"{next(iter(wrong))} is empty, so nothing would be loaded"):
            make_synthetic(seconds=1, **wrong)
