"""Open motion capture: nothing leaks between splits, nothing leaves the images, nothing is bent to fit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mocap3d.camera import h36m_cameras
from mocap3d.data import open_mocap
from mocap3d.data.dataset import DatasetError
from mocap3d.data.loading import load_dataset
from mocap3d.data.open_mocap import (
    HELD_OUT_CONTENTS,
    TRAIN_SUBJECTS,
    capture_area,
    fit_into,
    quiet_stretches,
    read_take,
    turn,
)
from mocap3d.formats.motion_file import MotionFileError
from mocap3d.metrics import bone_lengths, joint_errors, p_mpjpe
from mocap3d.poses import Pose3D
from mocap3d.skeleton import BANDAI

# a standing Bandai body: offsets in cm, x to its left, y up, z forward; head axes x up and y forward
OFFSETS = {
    "Hips": (0, 90, 0),
    "Spine": (0, 8, 0),
    "Chest": (0, 12, 0),
    "Neck": (0, 22, 0),
    "Head": (0, 9, 0),
    "Shoulder_L": (4, 18, 0),
    "UpperArm_L": (10, 0, 0),
    "LowerArm_L": (25, 0, 0),
    "Hand_L": (22, 0, 0),
    "Shoulder_R": (-4, 18, 0),
    "UpperArm_R": (-10, 0, 0),
    "LowerArm_R": (-25, 0, 0),
    "Hand_R": (-22, 0, 0),
    "UpperLeg_L": (7, 0, 0),
    "LowerLeg_L": (0, -39, 0),
    "Foot_L": (0, -41, 0),
    "Toes_L": (0, -9, 12),
    "UpperLeg_R": (-7, 0, 0),
    "LowerLeg_R": (0, -39, 0),
    "Foot_R": (0, -41, 0),
    "Toes_R": (0, -9, 12),
}


def write_bandai(path, walked_cm):
    """A BVH that glides along z by `walked_cm` (one value a frame, at 30 fps) with its arms out."""

    def joint(name, depth):
        children = [
            j for j, p in zip(BANDAI.joints, BANDAI.parents, strict=True) if p >= 0 and BANDAI.joints[p] == name
        ]
        children = [child for child in children if child in OFFSETS]
        lines = [
            f"{'ROOT' if depth == 0 else 'JOINT'} {name}",
            "{",
            "OFFSET {} {} {}".format(*OFFSETS.get(name, (0, 0, 0))),
            "CHANNELS " + ("6 Xposition Yposition Zposition" if depth == 0 else "3") + " Zrotation Xrotation Yrotation",
        ]
        for child in children:
            lines += joint(child, depth + 1)
        if not children:
            lines += ["End Site", "{", "OFFSET 0 0 1", "}"]
        return [*lines, "}"]

    names = [name for name in BANDAI.joints if name in OFFSETS]
    head = ["HIERARCHY", *joint("joint_Root", 0), "MOTION", f"Frames: {len(walked_cm)}", "Frame Time: 0.0333333"]
    order = [line.split()[1] for line in head if line.startswith("JOINT")]
    rows = [
        " ".join(map(str, [0, 0, z, 0, 0, 0, *sum(([90, 0, 90] if n == "Head" else [0, 0, 0] for n in order), [])]))
        for z in walked_cm
    ]
    assert sorted(order) == sorted(names)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*head, *rows]) + "\n")


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "motion" / "bandai" / "dataset-1"
    write_bandai(folder / "dataset-1_walk_normal_001.bvh", np.linspace(0, 900, 240))
    write_bandai(folder / "dataset-1_kick_normal_001.bvh", np.zeros(60))
    pops = np.zeros(90)
    pops[45] = 200.0
    write_bandai(folder / "dataset-1_wave-left-hand_normal_001.bvh", pops)
    return tmp_path / "motion"


def load(root, tmp_path, **options):
    return load_dataset("open-mocap", root, cache=tmp_path / "cache", **options)


def test_a_small_folder_becomes_a_dataset(root, tmp_path):
    dataset = load(root, tmp_path)
    assert dataset.train.sources == ("bandai",) and dataset.test.sources == ("bandai-held-out",)
    assert set(dataset.train.subjects) <= {"S1", "S5", "S6", "S7", "S8"} and set(dataset.test.subjects) <= {"S9", "S11"}
    assert {len(dataset.select(take=take)) for take in dataset.takes} == {4}
    assert all(clip.pose3d.fps == 50 for clip in dataset)
    assert "CC BY-NC" in dataset[0].licence
    assert any("absent" in note for note in dataset.notes)
    walk = [len(dataset.select(take=take)[0]) / 50 for take in dataset.takes if "walk" in take]
    assert len(walk) >= 2 and sum(walk) == pytest.approx(240 / 30, abs=0.6)  # nine metres do not fit, nothing is lost
    wave = [take for take in dataset.takes if "wave" in take]
    assert len(wave) == 2 and any("around marker pops" in note for note in dataset.notes)


@pytest.mark.parametrize(
    ("hold_out", "split", "held_out"),
    [("recordings", "known", {"youthful"}), ("bandai", "left-out", {"youthful", "normal"})],
)
def test_training_clips_are_held_out_by_name(root, tmp_path, hold_out, split, held_out):
    write_bandai(root / "bandai/dataset-2/dataset-2_walk_youthful_003.bvh", np.zeros(60))
    write_bandai(root / "bandai/dataset-2/dataset-2_kick_youthful_003.bvh", np.zeros(60))
    plain, held = load(root, tmp_path), load(root, tmp_path, hold_out=hold_out)
    for before, after in zip(plain, held, strict=True):
        style = before.recording.split("_")[2]
        assert after.split == (split if before.split == "train" and style in held_out else before.split)
        assert after.take == before.take and after.subject == before.subject
        assert (after.pose2d.points == before.pose2d.points).all()
    assert plain.train.frames == held.train.frames + held.select(split=split).frames
    assert held.notes[-1].startswith(f"hold_out='{hold_out}'") and held.notes[:-1] == plain.notes
    assert len(held.known if split == "known" else held.left_out) > 0
    with pytest.raises(DatasetError, match="no split.*known"):
        plain.known  # noqa: B018


def test_what_cannot_be_held_out_is_refused(root, tmp_path):
    with pytest.raises(
        DatasetError, match="hold_out is 'takes'; give one of 'recordings', 'bandai', 'cc', 'cmu', or None"
    ):
        load(root, tmp_path, hold_out="takes")
    with pytest.raises(DatasetError, match="'cc' finds no training clip.*absent: .*cmu-cc-005"):
        load(root, tmp_path, hold_out="cc")


def test_tables_of_several_sources_count_persons(root, tmp_path):
    dataset = load(root, tmp_path)
    assert {row["persons"] for row in dataset.table()} == {"<=3"}
    assert "persons" in repr(dataset) and "<=3" in repr(dataset)
    assert "persons" not in repr(dataset.train)  # one source alone


def test_every_joint_stays_inside_all_four_images(root, tmp_path):
    for clip in load(root, tmp_path):
        points = clip.pose2d.points
        assert (
            points.min() > 3
            and points[..., 0].max() < clip.camera.width - 3
            and points[..., 1].max() < clip.camera.height - 3
        )


def test_pieces_are_rigid_copies_of_the_motion(root, tmp_path):
    dataset = load(root, tmp_path)
    original = read_take(root / "bandai/dataset-1/dataset-1_walk_normal_001.bvh").resample(50)
    lengths = bone_lengths(original.points[0])
    for take in (take for take in dataset.takes if "walk" in take):
        clip = dataset.select(take=take)[0]
        world = clip.pose3d.in_world(clip.camera).points
        np.testing.assert_allclose(bone_lengths(world), np.tile(lengths, (len(world), 1)), atol=2e-5)
        np.testing.assert_allclose(world[..., 2], np.tile(original.points[0, :, 2], (len(world), 1)), atol=1e-5)
        speed = np.linalg.norm(np.diff(world[:, 0], axis=0), axis=-1) * 50
        np.testing.assert_allclose(speed, 9 / (239 / 30), atol=2e-2)


def test_building_twice_and_from_cache_gives_the_same_bits(root, tmp_path):
    first, again = load(root, tmp_path), load(root, tmp_path)
    other = load_dataset("open-mocap", root, cache=tmp_path / "elsewhere")
    for a, b, c in zip(first, again, other, strict=True):
        assert a.take == b.take == c.take
        assert (a.pose2d.points == b.pose2d.points).all() and (a.pose2d.points == c.pose2d.points).all()
    assert load(root, tmp_path, seed=1)[0].pose3d.points[0, 0, 2] != first[0].pose3d.points[0, 0, 2]
    (root / "bandai/dataset-1/dataset-1_kick_normal_001.bvh").unlink()
    assert load(root, tmp_path).test.clips == ()  # a changed folder is another key


def test_a_damaged_file_is_named(root, tmp_path):
    path = root / "bandai/dataset-1/dataset-1_kick_normal_001.bvh"
    path.write_text(path.read_text()[:-400])
    with pytest.raises(MotionFileError, match="kick_normal_001"):
        load(root, tmp_path)


def test_files_that_do_not_belong_are_named(root, tmp_path):
    amc = root / "cmu/asfamc/02/02_01.amc"
    amc.parent.mkdir(parents=True)
    amc.write_text("1\nroot 0 0 0 0 0 0\n")
    with pytest.raises(MotionFileError, match=r"02_01.amc.*\.asf"):
        load(root, tmp_path)
    amc.unlink()
    (root / "bandai/dataset-1/mine.bvh").write_text("")
    with pytest.raises(DatasetError, match="mine.bvh is not named"):
        load(root, tmp_path)


def test_nothing_left_says_why(tmp_path):
    write_bandai(tmp_path / "motion/bandai/dataset-1/dataset-1_walk_normal_001.bvh", np.zeros(5))
    with pytest.raises(DatasetError, match="no motion is left.*pieces under 0.5 s"):
        load(tmp_path / "motion", tmp_path)


@pytest.mark.parametrize(
    ("name", "action"),
    [
        ("02_03.amc", "run"),
        ("002_10.bvh", "wash"),
        ("02_11.amc", "unlisted"),
        ("02_00.amc", "unlisted"),
        ("99_01.amc", "unlisted"),
        ("walk.amc", "unlisted"),
        ("dataset-1_dance-short_normal_001.bvh", "dance"),
    ],
)
def test_actions_of_files(name, action):
    assert open_mocap._action(open_mocap.Path(name)) == action


def test_another_skeleton_beside_the_same_motion_is_another_key(tmp_path, monkeypatch):
    folder, keys = tmp_path / "motion/cmu/asfamc/02", []
    folder.mkdir(parents=True)
    (folder / "02_01.amc").write_text("1\n")
    monkeypatch.setattr(
        open_mocap, "cached", lambda name, key, build, cache: (np.zeros((0, 17, 3)), [], [keys.append(key)])
    )
    for skeleton in ("one", "another"):
        (folder / "02.asf").write_text(skeleton)
        load(tmp_path / "motion", tmp_path)
    assert keys[0] != keys[1]


def test_no_files_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.delenv("MOCAP3D_DATA", raising=False)
    with pytest.raises(DatasetError, match="fetch_open_mocap"):
        load_dataset("open-mocap")
    with pytest.raises(DatasetError, match="neither cmu/ nor bandai/"):
        load_dataset("open-mocap", tmp_path)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["S1", "S9", "S11"]))
def test_fitting_cuts_random_walks_without_touching_them(seed, subject):
    rng = np.random.default_rng(seed)
    body = rng.uniform([-0.4, -0.4, 0.0], [0.4, 0.4, 1.8], size=(1, 17, 3))
    path = rng.normal(scale=0.05, size=(150, 1, 3)).cumsum(0) * [1, 1, 0]
    points = body + path
    cameras = h36m_cameras(subject)
    reached = 0
    for start, stop, placed in fit_into(capture_area(cameras), points, rng):
        assert reached <= start < stop and len(placed) == stop - start
        reached = stop
        for camera in cameras:
            assert camera.sees(placed, margin=2.0).all()
        relative, there = (x - x[:1, :1] * [1, 1, 0] for x in (points[start:stop], placed))
        span = relative[-1, 0, :2] if np.linalg.norm(relative[-1, 0, :2]) > 1e-6 else relative[0, 1, :2]
        moved = there[-1, 0, :2] if np.linalg.norm(relative[-1, 0, :2]) > 1e-6 else there[0, 1, :2]
        angle = np.arctan2(moved[1], moved[0]) - np.arctan2(span[1], span[0])
        np.testing.assert_allclose(turn(relative, angle), there, atol=1e-6)
    assert reached == 150


def test_pops_are_cut_and_sprints_are_not():
    still = np.zeros((200, 17, 3)) + [0, 0, 1]
    sprint = still + np.linspace(0, 200 / 50 * 11, 200)[:, None, None] * [1, 0, 0]
    assert quiet_stretches(Pose3D(sprint, fps=50)) == [(0, 200)]
    popped = still.copy()
    popped[100:104, 3] += [0.3, 0, 0]  # a knee that jumps away, and back
    (a, b), (c, d) = quiet_stretches(Pose3D(popped, fps=50))
    assert a == 0 and d == 200 and b < 100 and c > 104 and c - b < 12


# ------------------------------------------------------------------ on the real recordings


@pytest.fixture(scope="module")
def real(mocap_root):
    return load_dataset("open-mocap", mocap_root)


def test_real_split_has_no_leaks(real):
    for split in ("train", "test", "check"):
        assert len(getattr(real, split)) > 0
    files = {s: {t.split("/")[1].split(":")[0] for t in getattr(real, s).takes} for s in ("train", "test", "check")}
    assert (
        not files["train"] & files["test"]
        and not files["train"] & files["check"]
        and not files["test"] & files["check"]
    )
    contents = {open_mocap._content(open_mocap.Path(f"{f}.bvh")) for f in files["train"] if f.startswith("dataset")}
    assert not contents & set(HELD_OUT_CONTENTS) and "walk" in contents
    numbers = {s: {f.split("_")[0].lstrip("0") for f in files[s] if not f.startswith("dataset")} for s in files}
    assert numbers == {"train": {"1", "5"}, "test": {"2", "7"}, "check": {"1", "2"}}
    assert set(real.train.select(source=["cmu-asfamc-01", "cmu-cc-005"]).subjects) <= set(open_mocap.TRAIN_SUBJECTS)
    assert set(real.test.subjects) <= set(open_mocap.TEST_SUBJECTS)


def test_real_known_motion_is_an_eighth_of_each_source(mocap_root):
    held = load_dataset("open-mocap", mocap_root, hold_out="recordings")
    assert set(held.known.sources) == set(held.train.sources) and set(held.known.subjects) <= set(TRAIN_SUBJECTS)
    assert not {clip.recording for clip in held.known} & {clip.recording for clip in held.train}
    for source in held.known.sources:
        known, train = held.known.select(source=source), held.train.select(source=source)
        assert set(known.actions) == set(train.actions)
        assert 0.10 < known.frames / (known.frames + train.frames) < 0.15
        recordings = [len({clip.recording for clip in part}) for part in (known, train)]
        assert 0.10 < recordings[0] / sum(recordings) <= 0.15


@pytest.mark.parametrize(("hold_out", "source"), [("bandai", "bandai"), ("cc", "cmu-cc-005"), ("cmu", "cmu-asfamc-01")])
def test_real_skeletons_can_be_left_out(mocap_root, real, hold_out, source):
    held = load_dataset("open-mocap", mocap_root, hold_out=hold_out)
    assert held.left_out.sources == (source,) and held.left_out.takes == real.train.select(source=source).takes
    assert source not in held.train.sources and len(held.train.sources) == 2
    assert held.test.takes == real.test.takes and held.check.takes == real.check.takes


def test_real_bodies_are_upright_right_handed_and_of_human_size(real):
    for source in real.sources:
        clip = real.select(source=source)[0]
        world = clip.pose3d.in_world(clip.camera)
        joint = {name: world.points[:, i] for i, name in enumerate(world.skeleton.joints)}
        above = joint["head"][:, 2] - joint["pelvis"][:, 2]
        assert np.median(above) > 0.4
        # left to right across the hips, up the trunk: their product points forwards, where knees bend and toes go
        across, up = joint["right_hip"] - joint["left_hip"], joint["thorax"] - joint["pelvis"]
        forward = np.cross(up, across)
        forward /= np.linalg.norm(forward, axis=-1, keepdims=True)
        knee = joint["left_knee"] - (joint["left_hip"] + joint["left_foot"]) / 2
        assert np.mean((knee * forward).sum(-1) > -0.02) > 0.9
        assert 1.3 < bone_lengths(world.points)[:, [0, 1, 2, 6, 7, 8, 9]].sum(-1).mean() < 2.1
        assert -0.2 < world.points[..., 2].min() < 0.3


def test_real_joints_stay_inside_all_four_images(real):
    for clip in real.test:
        points = clip.pose2d.points
        assert (
            points.min() > 2
            and points[..., 0].max() < clip.camera.width - 2
            and points[..., 1].max() < clip.camera.height - 2
        )


def test_the_same_capture_in_two_formats_differs_only_by_what_joints_mean(mocap_root):
    """data: CMU 02_01 as ASF/AMC and as BVH, 36 to 44 mm apart after similarity alignment in a trial."""
    a = read_take(mocap_root / "cmu/asfamc/02/02_01.amc").resample(50).points
    b = read_take(mocap_root / "cmu/bvh_cc/002/002_01.bvh").resample(50).points
    frames = min(len(a), len(b))
    gap = p_mpjpe(a[:frames], b[:frames])
    assert 0.025 < gap < 0.050
    shifted = p_mpjpe(a[25:frames], b[: frames - 25])
    assert shifted > gap + 0.02  # so the agreement is of the motion, not of any two walks


def test_real_recordings_stand_still_when_converted(mocap_root):
    pose = read_take(mocap_root / "cmu/asfamc/02/02_05.amc")
    lengths = bone_lengths(pose.points)
    assert (lengths.std(0) < 0.02).all()
    assert joint_errors(pose.points[1:], pose.points[:-1]).max() * pose.fps < 12
