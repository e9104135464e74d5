"""BVH: hand-computed poses, a naive reader on random files, every way to spoil a file, and real motion."""

from __future__ import annotations

import math
import os
import re
import time
import tracemalloc
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mocap3d.formats.bvh import local_transforms, parse_bvh, read_bvh
from mocap3d.formats.motion_file import MotionFileError, forward_kinematics, side_pairs, to_z_up
from mocap3d.skeleton import SkeletonError

ARM = """HIERARCHY
ROOT Shoulder
{
    OFFSET 0 0 0
    CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
    JOINT Elbow
    {
        OFFSET 30 0 0
        CHANNELS 3 Zrotation Xrotation Yrotation
        End Site
        {
            OFFSET 25 0 0
        }
    }
}
MOTION
Frames: 2
Frame Time: 0.02
0 100 0 0 0 0 0 0 0
0 100 0 90 0 0 90 0 0
"""


@pytest.fixture
def write(tmp_path):
    def _write(text: str | bytes, name: str = "arm.bvh") -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return _write


def at(pose, joint: str) -> np.ndarray:
    return pose.points[:, pose.skeleton.index(joint)]


# ---------------------------------------------------------------- what a file means


def test_an_arm_bends_as_computed_by_hand(write):
    pose = read_bvh(write(ARM))
    assert pose.skeleton.joints == ("Shoulder", "Elbow", "Elbow_end") and pose.skeleton.parents == (-1, 0, 1)
    assert (pose.fps, pose.frame, pose.root, pose.skeleton.name) == (50.0, "world", "absolute", "arm")
    # y up in the file: 100 cm high, straight along x; then 90 degrees about the file's z twice: up, then back
    np.testing.assert_allclose(at(pose, "Elbow"), [[0.3, 0, 1], [0, 0, 1.3]], atol=1e-6)
    np.testing.assert_allclose(at(pose, "Elbow_end"), [[0.55, 0, 1], [-0.25, 0, 1.3]], atol=1e-6)


def test_rotations_apply_in_channel_order(write):
    turned = ARM.replace("0 100 0 90 0 0 90 0 0", "0 0 0 90 90 0 0 0 0")  # R = Rz(90) Rx(90)
    np.testing.assert_allclose(read_bvh(write(turned), up="z").points[1, 1], [0, 0.3, 0], atol=1e-6)
    other = turned.replace("Zposition Zrotation Xrotation Yrotation", "Zposition Yrotation Zrotation Xrotation", 1)
    np.testing.assert_allclose(read_bvh(write(other), up="z").points[1, 1], [0, 0.3, 0], atol=1e-6)  # Ry(90) Rz(90)


def test_position_channels_of_a_joint_replace_its_offset(write):
    text = ARM.replace("CHANNELS 3 Z", "CHANNELS 4 Xposition Z").replace("0 0 0\n0 100", "7 0 0 0\n0 100")
    text = text.replace("0 100 0 90 0 0 90 0 0", "0 100 0 0 0 0 8 0 0 0")
    np.testing.assert_allclose(at(read_bvh(write(text)), "Elbow"), [[0.07, 0, 1], [0.08, 0, 1]], atol=1e-6)


@pytest.mark.parametrize(
    ("height", "mode", "expected"), [(0, "auto", 1.0), (100, "auto", 1.0), (0, "ignore", 0.0), (100, "add", 2.0)]
)
def test_root_offset_counts_once(write, height, mode, expected):
    """Some files move the root from its OFFSET, others repeat the position there; feet on the floor tell which."""
    leg = ARM.replace("OFFSET 0 0 0", "OFFSET 0 100 0", 1).replace("OFFSET 30 0 0", "OFFSET 0 -50 0")
    leg = leg.replace("OFFSET 25 0 0", "OFFSET 0 -50 0")
    leg = leg[: leg.index("0 100 0 0 0 0 0 0 0")] + f"0 {height} 0 0 0 0 0 0 0\n" * 2
    np.testing.assert_allclose(at(read_bvh(write(leg), root_offset=mode), "Shoulder")[0, 2], expected, atol=1e-6)


def test_markers_ride_on_a_joint(write):
    pose = read_bvh(write(ARM), markers={"Watch": ("Elbow", (20, 5, 0)), "Badge": ("Shoulder", (0, 0, 3))})
    assert pose.skeleton.joints[-2:] == ("Watch", "Badge") and pose.skeleton.parents[-2:] == (1, 0)
    np.testing.assert_allclose(at(pose, "Watch"), [[0.5, 0, 1.05], [-0.2, 0, 1.25]], atol=1e-6)
    np.testing.assert_allclose(at(pose, "Badge"), [[0, -0.03, 1], [0, -0.03, 1]], atol=1e-6)
    with pytest.raises(ValueError, match="Wrist.*lacks"):
        read_bvh(write(ARM), markers={"Watch": ("Wrist", (0, 0, 0))})
    with pytest.raises(ValueError, match="already has"):
        read_bvh(write(ARM), markers={"Elbow": ("Elbow", (0, 0, 0))})


def test_several_roots_and_many_end_sites(write):
    pair = ARM.split("MOTION")[0]
    second = pair.split("HIERARCHY\n")[1].replace("Shoulder", "Other").replace("Elbow", "Elbow_end")
    forked = pair.replace("        End Site", "        End Site\n{\nOFFSET 1 1 1\n}\n        End Site", 1)
    pose = read_bvh(write(forked + second + "MOTION\nFrames: 1\nFrame Time: 0.01\n" + "0 " * 18))
    assert pose.skeleton.joints == (
        "Shoulder",
        "Elbow",
        "Elbow_end2",
        "Elbow_end3",
        "Other",
        "Elbow_end",
        "Elbow_end_end",
    )
    assert pose.skeleton.parents == (-1, 0, 1, 1, -1, 4, 5)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.replace("\n", "\r\n"),
        lambda t: t.replace("\n", "\r"),
        lambda t: "\ufeff" + t,
        lambda t: t.replace("    ", "\t").replace("Frames: ", "Frames:\t"),
        lambda t: t.replace("Xposition", "XPOSITION").replace("Zrotation", "zrotation").replace("End Site", "End site"),
        lambda t: t.replace("\n{", " {").replace("\n        {", "{"),
        lambda t: " ".join(t.split("MOTION")[0].split()) + "\nMOTION" + t.split("MOTION")[1],
        lambda t: t + "\n\n  \n",
        lambda t: t.rstrip("\n"),
        lambda t: t.replace("End Site", "End Site tip"),
    ],
)
def test_harmless_spellings_read_the_same(write, change):
    np.testing.assert_array_equal(read_bvh(write(change(ARM))).points, read_bvh(write(ARM)).points)


def test_names_may_hold_spaces_and_any_script(write):
    pose = read_bvh(write(ARM.replace("Elbow", "Bip01 左ひじ")))
    assert pose.skeleton.joints[1:] == ("Bip01 左ひじ", "Bip01 左ひじ_end")


@pytest.mark.parametrize(
    ("text", "fps"), [("0.0333333", 30), ("0.016667", 60), ("0.008333", 120), ("0.0333667", 1 / 0.0333667)]
)
def test_frame_time_gives_the_rate_it_was_rounded_from(write, text, fps):
    assert read_bvh(write(ARM.replace("0.02", text))).fps == pytest.approx(fps, rel=1e-12)


def test_sides_are_told_by_names():
    joints = ("Hips", "LeftArm", "RightArm", "Hand_L", "Hand_R", "CC_L_Toe", "CC_R_Toe", "LThigh", "RThigh")
    left, right = side_pairs((*joints, "lfemur", "rfemur", "lowerback", "left_eye", "right_eye", "Leg", "LeftTail"))
    assert left == ("LeftArm", "Hand_L", "CC_L_Toe", "LThigh", "lfemur", "left_eye")
    assert right == ("RightArm", "Hand_R", "CC_R_Toe", "RThigh", "rfemur", "right_eye")
    assert side_pairs(("Hips", "Spine")) == ((), ())


@given(st.lists(st.floats(-10, 10), min_size=9, max_size=9))
def test_turning_the_world_up_is_no_mirror(numbers):
    triad = np.array(numbers).reshape(3, 3)
    for up in "yz":
        np.testing.assert_allclose(np.linalg.det(to_z_up(triad, up)), np.linalg.det(triad), atol=1e-9)
        assert np.linalg.det(to_z_up(np.eye(3), up)) == pytest.approx(1)
    np.testing.assert_array_equal(to_z_up(np.array([1.0, 2, 3]), "y"), [1, -3, 2])
    with pytest.raises(ValueError, match="vertical"):
        to_z_up(triad, "x")


# ---------------------------------------------------------------- against a naive reader


def naive_turn(axis: str, degrees: float) -> np.ndarray:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    about = {
        "X": [[1, 0, 0], [0, c, -s], [0, s, c]],
        "Y": [[c, 0, s], [0, 1, 0], [-s, 0, c]],
        "Z": [[c, -s, 0], [s, c, 0], [0, 0, 1]],
    }
    return np.array(about[axis])


class Body:
    """A random hierarchy with random motion, its BVH text, and its positions one frame and one joint at a time."""

    def __init__(self, seed: int) -> None:
        draw = np.random.default_rng(seed)
        self.parents = [-1] + [
            int(draw.integers(-1 if draw.random() < 0.1 else 0, i)) for i in range(1, draw.integers(2, 12))
        ]
        self.offsets = draw.uniform(-40, 40, (len(self.parents), 3)).round(4)
        self.channels = []
        for _ in self.parents:
            places = [f"{axis}position" for axis in draw.permutation(list("XYZ"))[: draw.integers(0, 4)]]
            turns = [f"{axis}rotation" for axis in draw.permutation(list("XYZ"))[: draw.integers(0, 4)]]
            self.channels.append(list(draw.permutation(places + turns)) if draw.random() < 0.5 else places + turns)
        self.channels[0] = self.channels[0] or ["Zrotation"]
        self.values = draw.uniform(-180, 180, (int(draw.integers(1, 6)), sum(map(len, self.channels)))).round(5)
        self.order: list[int] = []  # file order: depth first

    def text(self) -> str:
        lines, self.order = ["HIERARCHY"], []

        def write(joint: int) -> None:
            self.order.append(joint)
            lines.append(f"{'ROOT' if self.parents[joint] < 0 else 'JOINT'} j{joint}\n{{")
            lines.append("OFFSET " + " ".join(map(repr, self.offsets[joint].tolist())))
            lines.append(f"CHANNELS {len(self.channels[joint])} {' '.join(self.channels[joint])}")
            children = [child for child, parent in enumerate(self.parents) if parent == joint]
            for child in children:
                write(child)
            if not children:
                lines.append("End Site\n{\nOFFSET 1 2 3\n}")
            lines.append("}")

        for joint, parent in enumerate(self.parents):
            if parent < 0:
                write(joint)
        starts = np.cumsum([0, *map(len, self.channels)])
        lines += ["MOTION", f"Frames: {len(self.values)}", "Frame Time: 0.01"]
        for row in self.values:
            lines.append(" ".join(repr(float(v)) for j in self.order for v in row[starts[j] : starts[j + 1]]))
        return "\n".join(lines) + "\n"

    def positions(self) -> np.ndarray:
        starts = np.cumsum([0, *map(len, self.channels)])
        frames = []
        for row in self.values:
            worlds = []
            for joint, parent in enumerate(self.parents):
                local = np.eye(4)
                local[:3, 3] = self.offsets[joint]
                for name, value in zip(self.channels[joint], row[starts[joint] : starts[joint + 1]], strict=True):
                    if name.endswith("rotation"):
                        local[:3, :3] = local[:3, :3] @ naive_turn(name[0], value)
                    elif parent < 0:
                        local["XYZ".index(name[0]), 3] += value
                    else:
                        local["XYZ".index(name[0]), 3] = value
                worlds.append(local if parent < 0 else worlds[parent] @ local)
            frames.append([world[:3, 3] for world in worlds])
        return np.array(frames)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_random_hierarchies_match_a_naive_reader(tmp_path_factory, seed):
    body = Body(seed)
    path = tmp_path_factory.mktemp("bvh") / "body.bvh"
    path.write_text(body.text())
    bvh = parse_bvh(path)
    positions, turns = forward_kinematics(bvh.parents, *local_transforms(bvh, root_offset="add"))
    mine = positions[:, [bvh.joints.index(f"j{j}") for j in range(len(body.parents))]]
    np.testing.assert_allclose(mine, body.positions(), atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(turns), 1, atol=1e-9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # bodies of any size
        pose = read_bvh(path, root_offset="add", scale=0.001)
    np.testing.assert_allclose(pose.points, to_z_up(positions * 0.001, "y"), atol=1e-6)


# ---------------------------------------------------------------- damaged files


BROKEN = {
    "empty": ("", None, "empty"),
    "blank": ("  \n\n", None, "empty"),
    "other format": ("# hello\n", 1, "not a BVH"),
    "binary": (ARM[:60].encode() + b"\0\xff\x00", 5, "binary"),
    "utf-16": (ARM.encode("utf-16"), 1, "UTF-16"),
    "latin-1 name": (ARM.replace("Elbow", "Coud\xe9").encode("latin-1"), 6, "UTF-8"),
    "no motion": (ARM.split("MOTION")[0], 16, "truncated"),
    "unclosed": (ARM.replace("}\nMOTION", "MOTION"), None, "unclosed"),
    "closed twice": (ARM.replace("}\nMOTION", "}\n}\nMOTION"), 16, "unexpected '}'"),
    "no brace": (ARM.replace("ROOT Shoulder\n{", "ROOT Shoulder"), 3, "'{' expected"),
    "nameless": (ARM.replace("ROOT Shoulder", "ROOT"), 2, "without a name"),
    "no offset": (ARM.replace("        OFFSET 30 0 0\n", ""), 13, "without OFFSET"),
    "short offset": (ARM.replace("OFFSET 30 0 0", "OFFSET 30 0"), 8, "'CHANNELS', not a number"),
    "nan offset": (ARM.replace("OFFSET 30 0 0", "OFFSET nan 0 0"), 8, "finite"),
    "underscored": (ARM.replace("OFFSET 30 0 0", "OFFSET 3_0 0 0"), 8, "not a number"),
    "duplicate": (ARM.replace("JOINT Elbow", "JOINT Shoulder"), 6, "two joints"),
    "unknown channel": (ARM.replace("CHANNELS 3 Z", "CHANNELS 3 W"), 9, "unknown channel 'Wrotation'"),
    "channel count": (ARM.replace("CHANNELS 3", "CHANNELS 4"), 9, "unknown channel 'End'"),
    "negative channels": (ARM.replace("CHANNELS 3", "CHANNELS -3"), 9, "0 to 6"),
    "no channels": (ARM.replace("CHANNELS 6", "#").replace("CHANNELS 3", "CHANNELS 0"), 5, "unexpected '#'"),
    "end in end": (ARM.replace("OFFSET 25 0 0", "OFFSET 25 0 0 End Site { OFFSET 0 0 0 }"), 12, "inside an End"),
    "frames negative": (ARM.replace("Frames: 2", "Frames: -2"), 17, "positive whole"),
    "frames zero": (ARM.replace("Frames: 2", "Frames: 0"), 17, "positive whole"),
    "frames gigantic": (ARM.replace("Frames: 2", "Frames: " + "9" * 5000), 17, "positive whole"),
    "frames missing": (ARM.replace("Frames: 2\n", ""), 17, "'Frames:' expected"),
    "no rows": (ARM.split("0 100 0")[0], 19, "no row of numbers"),
    "first row cut": (ARM.split("0 0 0 0 0 0\n")[0], 19, "frame 1 has 3 numbers"),
    "time zero": (ARM.replace("0.02", "0"), 18, "above 0"),
    "time negative": (ARM.replace("0.02", "-0.02"), 18, "above 0"),
    "time nan": (ARM.replace("0.02", "nan"), 18, "finite"),
    "time missing": (ARM.split("Frame Time")[0], 18, "'Frame Time:' expected"),
    "short row": (ARM.replace("90 0 0 90 0 0", "90 0 0 90 0"), 20, "frame 2 has 8 numbers"),
    "long row": (ARM.replace("90 0 0 90 0 0", "90 0 0 90 0 0 1"), 20, "frame 2 has 10 numbers"),
    "words": (ARM.replace("90 0 0 90", "90 0 x 90"), 20, "'x', not a number"),
    "nan": (ARM.replace("90 0 0 90", "90 0 nan 90"), 20, "finite"),
    "infinite": (ARM.replace("90 0 0 90", "90 0 1e999 90"), 20, "finite"),
    "one giant line": (ARM.replace("0 100 0 0 0 0 0 0 0\n", "1 " * 200_000), 19, "bytes"),
    "too tall": (ARM.replace("OFFSET 30 0 0", "OFFSET 90000 0 0"), None, "unit"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_gives_one_clear_error(write, case):
    text, line, reason = BROKEN[case]
    with pytest.raises(MotionFileError) as caught:
        read_bvh(write(text))
    error = caught.value
    assert error.file.endswith("arm.bvh") and reason in error.reason and len(str(error)) < 600
    if line is not None:
        assert error.line == line, str(error)


def test_paths_that_are_no_files(tmp_path):
    for path, reason in ((tmp_path / "gone.bvh", "no such file"), (tmp_path, "folder")):
        with pytest.raises(MotionFileError, match=reason):
            read_bvh(path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(MotionFileError, match="not a file"):  # and not wait for a writer for ever
            read_bvh(tmp_path / "pipe")


def test_bad_arguments_are_not_the_files_fault(write):
    for bad in ({"scale": 0}, {"scale": math.nan}, {"up": "x"}, {"root_offset": "never"}):
        with pytest.raises(ValueError) as caught:
            read_bvh(write(ARM), **bad)
        assert not isinstance(caught.value, MotionFileError)


def test_large_claims_cost_nothing(write):
    nested = "HIERARCHY\nROOT a\n{\nOFFSET 0 0 0\n" + "".join(f"JOINT j{i}\n{{\nOFFSET 0 0 0\n" for i in range(100_000))
    endless = ARM.split("MOTION")[0] + "MOTION\nFrames: 9999999999\nFrame Time: 0.01\n" + "0 100 0 0 0 0 0 0 0\n" * 2000
    still = ARM.split("ROOT")[0] + "ROOT a\n{\nOFFSET 0 0 0\nCHANNELS 1 Xposition\n"
    still += "".join(f"JOINT j{i}\n{{\nOFFSET 0 0 0\n}}\n" for i in range(4000))
    many = still + "}\nMOTION\nFrames: 100000\nFrame Time: 0.01\n" + "0\n" * 100_000
    tracemalloc.start()
    refused, read = partial(pytest.raises, MotionFileError), partial(pytest.warns, UserWarning)
    cases = ((nested + "MOTION\n", refused, "more than 4096"), (endless, read, "promises more"))
    for text, outcome, reason in (*cases, (many, refused, "cut the file")):
        path = write(text)
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        with outcome(match=reason):
            read_bvh(path)
        assert tracemalloc.get_traced_memory()[1] - before < 20 * len(text) + 2**20
    tracemalloc.stop()
    with pytest.raises(MotionFileError, match="larger than"):
        read_bvh(write(ARM), max_bytes=100)


def test_two_thousand_frames_take_well_under_a_second(write):
    frames, joints = 2000, 60
    chain = "".join(f"JOINT j{i}\n{{\nOFFSET 0 1 0\nCHANNELS 3 Zrotation Xrotation Yrotation\n" for i in range(joints))
    head = (
        "HIERARCHY\nROOT r\n{\nOFFSET 0 0 0\nCHANNELS 3 Xposition Yposition Zposition\n" + chain + "}\n" * (joints + 1)
    )
    rows = "\n".join(
        " ".join(f"{v:.6f}" for v in row) for row in np.random.default_rng(0).normal(size=(frames, 3 + 3 * joints))
    )
    path = write(f"{head}MOTION\nFrames: {frames}\nFrame Time: 0.01\n{rows}\n")
    spent = []
    for _ in range(3):
        start = time.process_time()
        read_bvh(path)
        spent.append(time.process_time() - start)
    assert min(spent) < 1.0


# ---------------------------------------------------------------- real motion


def real_files(root: Path) -> list[Path]:
    """A few of each kind; all 603 with MOCAP3D_ALL_FILES=1."""
    cc, bandai = sorted(root.glob("cmu/bvh_cc/*/*.bvh")), sorted(root.glob("bandai/*/*.bvh"))
    files = cc + bandai if os.environ.get("MOCAP3D_ALL_FILES") == "1" else cc[1::7] + bandai[::60]
    if not files:
        pytest.fail(f"no BVH files under {root}")
    return files


def test_real_people_stand_upright_on_the_floor_with_rigid_bones(mocap_root):
    for path in real_files(mocap_root):
        pose = read_bvh(path)
        points, joints = pose.points.astype(np.float64), pose.skeleton.joints
        bandai = "joint_Root" in joints
        lengths = np.array(
            [
                np.ptp(np.linalg.norm(points[:, parent] - points[:, child], axis=-1))
                for parent, child in pose.skeleton.bones
                if joints[parent] not in ("joint_Root", "RL_BoneRoot")  # the room's origin, which people leave
            ]
        )
        assert lengths.max() < 1e-5, path.name
        head = at(pose, "Head" if bandai else "CC_Base_Head")[:, 2]
        feet = pose.skeleton.indices(["Foot_L", "Foot_R"] if bandai else ["CC_Base_L_Foot", "CC_Base_R_Foot"])
        assert np.mean(head > points[:, feet, 2].max(axis=1)) > 0.9, path.name  # dancers bend
        assert 1.1 < np.percentile(head - points[:, feet, 2].min(axis=1), 95) < 1.8, path.name
        floor = np.percentile(points[:, feet, 2].min(axis=1), 1)
        assert -0.02 < floor < 0.25, f"{path.name}: lowest ankle at {floor:.2f} m"
        assert len(pose.skeleton.left) == len(set(pose.skeleton.right)) >= 8
        assert pose.fps == (30 if bandai else 60)


# ---------------------------------------------------------------- files as people have them


@pytest.mark.parametrize(
    ("text", "frames", "warning"),
    [
        (ARM.replace("Frames: 2", "Frames: 1"), 1, "line 20: more rows than 'Frames: 1' promises; 1 frames"),
        (ARM.replace("Frames: 2", "Frames: 3"), 2, "line 20: 2 rows where 'Frames: 3' promises more"),
        (ARM.replace("Frames: 2", "Frames: 99999999999"), 2, "promises more"),
        (ARM[:-6], 1, "line 20: the file is cut off in frame 2 of 2; 1 frames"),
        (ARM.rstrip(), 2, None),
        (ARM.replace("Frames: 2", "Frames: 3").rstrip(), 1, "cut off in frame 2 of 3"),  # its last number may be cut
    ],
)
def test_a_wrong_count_or_a_cut_end_is_read_up_to_there(write, text, frames, warning):
    path = write(text)
    if warning is None:
        assert len(read_bvh(path)) == frames
        return
    with pytest.warns(UserWarning, match=re.escape(warning)):
        pose = read_bvh(path)
    np.testing.assert_array_equal(pose.points, read_bvh(write(ARM)).points[:frames])


T_POSE = {  # centimetres, y up, facing +z
    "Hips": (None, 0, 0, 0), "LeftUpLeg": ("Hips", 10, 0, 0), "LeftLeg": ("LeftUpLeg", 0, -42, 0),
    "LeftFoot": ("LeftLeg", 0, -42, 0), "RightUpLeg": ("Hips", -10, 0, 0), "RightLeg": ("RightUpLeg", 0, -42, 0),
    "RightFoot": ("RightLeg", 0, -42, 0), "Spine": ("Hips", 0, 12, 0), "Spine1": ("Spine", 0, 12, 0),
    "Neck": ("Spine1", 0, 27, 0), "Head": ("Neck", 0, 10, 0), "LeftShoulder": ("Spine1", 5, 22, 0),
    "LeftArm": ("LeftShoulder", 17, 0, 0), "LeftForeArm": ("LeftArm", 27, 0, 0), "LeftHand": ("LeftForeArm", 25, 0, 0),
    "RightShoulder": ("Spine1", -5, 22, 0), "RightArm": ("RightShoulder", -17, 0, 0),
    "RightForeArm": ("RightArm", -27, 0, 0), "RightHand": ("RightForeArm", -25, 0, 0),
}  # fmt: skip


def t_pose(unit=1.0, turn=lambda x, y, z: (x, y, z), prefix=""):
    """A person of 1.69 m as BVH text, in other units, axes and names."""

    def node(name):
        parent, *offset = T_POSE[name]
        word = f"ROOT {prefix}{name}" if parent is None else f"JOINT {prefix}{name}"
        place = " ".join(f"{value * unit:.6g}" for value in turn(*offset))
        channels = "6 Xposition Yposition Zposition " if parent is None else "3 "
        inner = "".join(node(child) for child in T_POSE if T_POSE[child][0] == name)
        end = " ".join(f"{value * unit:.6g}" for value in turn(0, 18, 0) if name == "Head")
        inner = inner or f"End Site {{ OFFSET {end or '0 0 0'} }} "
        return f"{word} {{ OFFSET {place} CHANNELS {channels}Zrotation Yrotation Xrotation {inner}}} "

    root = " ".join(f"{value * unit:.6g}" for value in turn(0, 84, 0))
    return f"HIERARCHY\n{node('Hips')}\nMOTION\nFrames: 1\nFrame Time: 0.04\n{root}{' 0' * 3 * len(T_POSE)}\n"


@pytest.mark.parametrize(
    ("unit", "name"), [(0.01, "metres"), (10, "millimetres"), (1 / 2.54, "inches"), (0.45 / 2.54, "CMU inches / 0.45")]
)
def test_the_unit_is_named_and_guessed(write, unit, name):
    path = write(t_pose(unit))
    with pytest.warns(UserWarning, match=f"unit seems to be {re.escape(name)}"):
        read_bvh(path)
    height = np.ptp(read_bvh(path, scale="auto").points[0, :, 2])
    assert height == pytest.approx(1.63, abs=1e-3)


def test_a_body_on_its_side_is_named(write):
    path = write(t_pose(turn=lambda x, y, z: (x, -z, y)))
    with pytest.warns(UserWarning, match='give up="z"'):
        read_bvh(path)
    pose, standing = read_bvh(path, up="z"), read_bvh(write(t_pose()))
    np.testing.assert_allclose(pose.points, standing.points, atol=1e-6)


def test_a_body_of_no_unit_is_refused_by_auto(write):
    with pytest.raises(MotionFileError, match="489 units|489 metres"):
        read_bvh(write(t_pose(3)), scale="auto")


@pytest.mark.parametrize("prefix", ["", "mixamorig:"])
def test_the_usual_names_convert(write, prefix):
    pose = read_bvh(write(t_pose(prefix=prefix))).convert("h36m17")
    place = dict(zip(pose.skeleton.joints, np.round(pose.points[0].astype(float), 3).tolist(), strict=True))
    assert place["left_hip"] == [0.1, 0, 0.84] and place["right_foot"] == [-0.1, 0, 0]
    assert place["left_wrist"] == [0.74, 0, 1.3] and place["thorax"] == [0, 0, 1.35] and place["head"] == [0, 0, 1.63]


def test_other_names_convert_by_a_mapping(write):
    pose = read_bvh(write(t_pose(prefix="bone ").replace("Leg", "Bein")))
    with pytest.raises(SkeletonError, match="mapping="):
        pose.convert("h36m17")
    limbs = {"hip": "UpBein", "knee": "Bein", "foot": "Foot", "shoulder": "Arm", "elbow": "ForeArm", "wrist": "Hand"}
    mapping = {f"{s}_{ours}": f"bone {s.title()}{theirs}" for s in ("left", "right") for ours, theirs in limbs.items()}
    mapping |= {"pelvis": ["bone LeftUpBein", "bone RightUpBein"], "spine": "bone Spine1", "thorax": "bone Neck"}
    mapping |= {"nose": "bone Head", "head": "bone Head_end"}
    converted, usual = pose.convert("h36m17", mapping), read_bvh(write(t_pose())).convert("h36m17")
    np.testing.assert_array_equal(converted.points, usual.points)
    with pytest.raises(SkeletonError, match="lacks head"):
        pose.convert("h36m17", {joint: name for joint, name in mapping.items() if joint != "head"})
    with pytest.raises(SkeletonError, match="unknown: bone Tail"):
        pose.convert("h36m17", mapping | {"head": "bone Tail"})
