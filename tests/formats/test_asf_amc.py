"""ASF and AMC: hand-computed poses, a naive reader on random skeletons, every way to spoil a file, real motion."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mocap3d.formats.asf_amc import parse_amc, parse_asf, read_amc
from mocap3d.formats.motion_file import MotionFileError
from mocap3d.skeleton import CMU

ASF = """# made by hand
:version 1.10
:name tester
:units
  mass 1.0
  length 0.0254
  angle deg
:documentation
   any words, :even (this) length 9
:root
   order TX TY TZ RX RY RZ
   axis XYZ
   position 0 0 0
   orientation 0 0 0
:bonedata
  begin
     id 1
     name upper
     direction 1 0 0
     length 0.3
     axis 0 0 0 XYZ
     dof rx ry rz
     limits (-160.0 20.0)
            (-70.0 70.0)
            (-60.0 70.0)
  end
  begin
     id 2
     name lower
     direction 1 0 0
     length 0.2
     axis 0 0 90 XYZ
     dof rx
  end
  begin
     name tip
     direction 0 1 0
     length 0.1
     axis 0 0 0 XYZ
  end
:hierarchy
  begin
    root upper
    upper lower
    lower tip
  end
"""
AMC = """# a comment
:FULLY-SPECIFIED
:DEGREES
1
root 0 1 0 0 0 0
upper 0 0 0
lower 0
2
root 0 1 0 0 0 90
upper 0 90 0
lower 90
"""


@pytest.fixture
def files(tmp_path):
    def _files(asf: str | bytes = ASF, amc: str | bytes = AMC) -> tuple[Path, Path]:
        pair = tmp_path / "a.asf", tmp_path / "a.amc"
        for path, text in zip(pair, (asf, amc), strict=True):
            path.write_bytes(text.encode() if isinstance(text, str) else text)
        return pair

    return _files


# ---------------------------------------------------------------- what a file means


def test_an_arm_bends_as_computed_by_hand(files):
    pose = read_amc(*files(), fps=100)
    assert pose.skeleton.joints == ("root", "upper", "lower", "tip") and pose.skeleton.parents == (-1, 0, 1, 2)
    assert (pose.fps, pose.frame, pose.root) == (100, "world", "absolute")
    # length 0.0254 makes a unit one metre. Rest: along x at height 1, the tip up.
    np.testing.assert_allclose(pose.points[0], [[0, 0, 1], [0.3, 0, 1], [0.5, 0, 1], [0.5, 0, 1.1]], atol=1e-6)
    # frame 2, file axes: the root turns x to y and y to -x; upper's ry(90) turns x to -z first, so it lies along -z.
    # lower turns 90 about its own x, which its axis (0, 0, 90) laid along y: x to -z, hence, after upper, -z to -x,
    # and after the root -x to -y; the tip stays along the turning axis: y, which the root turns to -x.
    expected = np.array([[0, 1, 0], [0, 1, -0.3], [0, 0.8, -0.3], [-0.1, 0.8, -0.3]])
    np.testing.assert_allclose(
        pose.points[1], np.stack([expected[:, 0], -expected[:, 2], expected[:, 1]], 1), atol=1e-6
    )


def test_cmu_units_are_45_hundredths_of_an_inch_each(files):
    pose = read_amc(*files(ASF.replace("length 0.0254", "length 0.45")))
    np.testing.assert_allclose(pose.points[0, 0, 2], 0.0254 / 0.45, rtol=1e-6)


def test_bones_the_motion_never_names_rest(files):
    text = "\n".join(line for line in AMC.splitlines() if not line.startswith("lower"))
    np.testing.assert_allclose(read_amc(*files(amc=text)).points[0], read_amc(*files()).points[0], atol=1e-6)


def test_radians_in_either_file(files):
    usual = read_amc(*files()).points
    radians = AMC.replace("DEGREES", "RADIANS").replace("90", repr(math.pi / 2))
    np.testing.assert_allclose(read_amc(*files(amc=radians)).points, usual, atol=1e-6)
    asf = ASF.replace("angle deg", "angle rad").replace("0 0 90 XYZ", f"0 0 {math.pi / 2!r} XYZ")
    np.testing.assert_allclose(read_amc(*files(asf)).points, usual, atol=1e-6)  # the motion says degrees itself
    np.testing.assert_allclose(read_amc(*files(asf, radians.replace(":RADIANS\n", ""))).points, usual, atol=1e-6)


def test_preset_root_length_and_shift_channels(files):
    asf = ASF.replace("position 0 0 0", "position 0 2 0").replace("orientation 0 0 0", "orientation 0 0 90")
    np.testing.assert_allclose(read_amc(*files(asf)).points[0, :2], [[0, 0, 3], [0, 0, 3.3]], atol=1e-6)
    asf = ASF.replace("dof rx\n", "dof l tx rx\n")
    amc = AMC.replace("lower 0\n", "lower 0.5 0.25 0\n").replace("lower 90\n", "lower 0.5 0 0\n")
    # 0.2 + 0.5 long, and shifted 0.25 along its own x, which points up
    np.testing.assert_allclose(read_amc(*files(asf, amc)).points[0, 2], [1.0, 0, 1.25], atol=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.replace("\n", "\r\n"),
        lambda t: "\ufeff" + t,
        lambda t: t.replace(" ", "\t"),
        lambda t: t.replace("\n", "  \n\n"),
        lambda t: t.replace("upper 0 0 0", "upper 0 0 0 # aside").replace("name upper", "name upper # aside"),
        lambda t: t.rstrip("\n"),
    ],
)
def test_harmless_spellings_read_the_same(files, change):
    np.testing.assert_array_equal(read_amc(*files(change(ASF), change(AMC))).points, read_amc(*files()).points)


# ---------------------------------------------------------------- against a naive reader


def naive_turn(axis: str, angle: float) -> np.ndarray:
    c, s = math.cos(angle), math.sin(angle)
    about = {
        "x": [[1, 0, 0], [0, c, -s], [0, s, c]],
        "y": [[c, 0, s], [0, 1, 0], [-s, 0, c]],
        "z": [[c, -s, 0], [s, c, 0], [0, 0, 1]],
    }
    return np.array(about[axis])


def fixed_axes(order, angles) -> np.ndarray:
    turn = np.eye(3)
    for axis, angle in zip(order, angles, strict=True):
        turn = naive_turn(axis, math.radians(angle)) @ turn
    return turn


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_random_skeletons_match_a_naive_reader(tmp_path_factory, seed):
    draw = np.random.default_rng(seed)
    count, frames = int(draw.integers(1, 9)), int(draw.integers(1, 5))
    parents = [-1] + [int(draw.integers(0, i)) for i in range(1, count + 1)]
    names = ["root"] + [f"bone{i}" for i in range(1, count + 1)]
    way = draw.normal(size=(count + 1, 3))
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    lengths, axes = draw.uniform(0, 5, count + 1), draw.uniform(-180, 180, (count + 1, 3))
    orders = ["".join(draw.permutation(list("xyz"))) for _ in names]
    dofs = [[f"r{axis}" for axis in draw.permutation(list("xyz"))[: draw.integers(0, 4)]] for _ in names]
    dofs[0] = [str(d) for d in draw.permutation(["tx", "ty", "tz", "rx", "ry", "rz"])]
    values = [draw.uniform(-180, 180, (frames, len(d))) for d in dofs]
    unit = float(draw.uniform(0.1, 2))

    bones = "".join(
        f"begin\nid {i}\nname {names[i]}\ndirection {' '.join(map(repr, way[i].tolist()))}\n"
        f"length {float(lengths[i])!r}\n"
        f"axis {' '.join(map(repr, axes[i].tolist()))} {orders[i].upper()}\n"
        + (f"dof {' '.join(dofs[i])}\n" if dofs[i] else "")
        + "end\n"
        for i in draw.permutation(np.arange(1, count + 1))
    )
    tree = "".join(f"{names[parents[i]]} {names[i]}\n" for i in draw.permutation(np.arange(1, count + 1)))
    folder = tmp_path_factory.mktemp("asf")
    (folder / "s.asf").write_text(
        f":units\nlength {unit!r}\nangle deg\n:root\norder {' '.join(dofs[0])}\naxis xyz\nposition 0 0 0\n"
        f"orientation 0 0 0\n:bonedata\n{bones}:hierarchy\nbegin\n{tree}end\n"
    )
    moving = [i for i in range(count + 1) if dofs[i]]
    (folder / "m.amc").write_text(
        ":DEGREES\n"
        + "".join(
            f"{t + 1}\n" + "".join(f"{names[i]} {' '.join(map(repr, values[i][t].tolist()))}\n" for i in moving)
            for t in range(frames)
        )
    )
    pose = read_amc(folder / "s.asf", folder / "m.amc")

    for t in range(frames):
        place, turn = {}, {}
        for i, parent in enumerate(parents):  # parents have lower numbers
            turns = [(d[1], v) for d, v in zip(dofs[i], values[i][t], strict=True) if d[0] == "r"]
            local = fixed_axes([axis for axis, _ in turns], [v for _, v in turns])
            if i == 0:
                place[0] = np.array([values[0][t][dofs[0].index(d)] for d in ("tx", "ty", "tz")])
                turn[0] = local
                continue
            own = fixed_axes(orders[i], axes[i])
            turn[i] = turn[parent] @ own @ local @ np.linalg.inv(own)
            place[i] = place[parent] + turn[i] @ way[i] * lengths[i]
        for i, name in enumerate(names):
            x, y, z = place[i] / unit * 0.0254
            np.testing.assert_allclose(pose.points[t, pose.skeleton.index(name)], [x, -z, y], atol=2e-4, rtol=1e-5)


# ---------------------------------------------------------------- damaged files

BAD_ASF = {
    "empty": ("", "empty"),
    "other format": ("HIERARCHY\n", "not an ASF file"),
    "no root": (ASF.replace(":root", ":other"), "no :root section"),
    "no tree": (ASF.split(":hierarchy")[0], "no :hierarchy section"),
    "root without order": (ASF.replace("order TX TY TZ RX RY RZ", "color 3"), "'order'"),
    "unknown dof": (ASF.replace("dof rx ry rz", "dof rx ry rq"), "once each"),
    "dof twice": (ASF.replace("dof rx ry rz", "dof rx rx rz"), "once each"),
    "nameless": (ASF.replace("name upper", "title upper"), "lacks name"),
    "two bones of a name": (ASF.replace("name tip", "name lower"), "two bones"),
    "no length": (ASF.replace("length 0.3\n", "\n"), "lacks length"),
    "nan": (ASF.replace("length 0.3\n", "length nan\n"), "finite"),
    "two numbers": (ASF.replace("direction 0 1 0", "direction 0 1"), "3 numbers"),
    "axis order": (ASF.replace("0 0 90 XYZ", "0 0 90 XXZ"), "axis order"),
    "unit zero": (ASF.replace("length 0.0254", "length 0"), "above 0"),
    "unit of angles": (ASF.replace("angle deg", "angle grad"), "'deg' or 'rad'"),
    "cut in a bone": (ASF.replace("  end\n:hierarchy", ":hierarchy"), "lacks its 'end'"),
    "begin twice": (ASF.replace("  end\n  begin\n     name tip", "  begin\n     name tip"), "'begin' inside"),
    "stranger in the tree": (ASF.replace("lower tip", "lower top"), "no bone"),
    "cycle": (ASF.replace("lower tip", "lower tip\n tip upper"), "two parents"),
    "loose": (ASF.replace("    lower tip\n", ""), "have no parent"),
    "ring apart": (ASF.replace("root upper\n", "tip upper\n"), "have no parent"),
    "binary": (ASF.encode() + b"\0", "binary"),
    "latin-1": (ASF.replace("tester", "t\xe9st").encode("latin-1"), "UTF-8"),
}

BAD_AMC = {
    "empty": ("", None, "empty"),
    "header only": (":DEGREES\n", 2, "no frames"),
    "no number": (AMC.replace("\n1\n", "\n"), 4, "frame number 1"),
    "from 5": (AMC.replace("\n1\n", "\n5\n"), 4, "frame number 1"),
    "skipped": (AMC.replace("\n2\n", "\n3\n"), 8, "frame number 2 expected, found '3'"),
    "negative": (AMC.replace("\n2\n", "\n-2\n"), 8, "'-2'"),
    "stranger": (AMC.replace("lower 0\n", "lowest 0\n"), 7, "not in the skeleton"),
    "twice": (AMC.replace("lower 0\n", "lower 0\nlower 0\n"), 8, "twice"),
    "too many": (AMC.replace("upper 0 0 0", "upper 0 0 0 0"), 6, "4 numbers; the skeleton has 3"),
    "too few later": (AMC.replace("upper 0 90 0", "upper 0 90"), 10, "frame 2: upper has 2 numbers"),
    "too many later": (AMC + "tip 0\n", 12, "frame number 3"),
    "reordered": (AMC[: AMC.index("2\n")] + "2\nupper 0 0 0\nroot 0 0 0 0 0 0\nlower 0\n", 9, "root expected"),
    "truncated": (AMC[: AMC.index("lower 90")], 10, "frame 2 ends before lower"),
    "cut after the number": (AMC[: AMC.index("root 0 1 0 0 0 90")], 8, "ends before root"),
    "first frame cut": (AMC[: AMC.index("lower 0")], 7, "truncated"),
    "no root": (AMC.replace("root 0 1 0 0 0 0\n", ""), 7, "place the root"),
    "nan": (AMC.replace("lower 90", "lower nan"), 11, "finite"),
    "infinite": (AMC.replace("lower 90", "lower 1e999"), 11, "finite"),
    "word": (AMC.replace("lower 90", "lower x"), 11, "'x', not a number"),
    "underscored": (AMC.replace("lower 90", "lower 9_0"), 11, "not a number"),
    "binary": (AMC.encode() + b"\x00\x01", 12, "binary"),
    "giant line": (AMC.replace("upper 0 0 0\n", "upper" + " 0" * 100_000 + "\n"), 6, "bytes"),
    "giant line later": (AMC.replace("lower 90", "lower" + " 9" * 100_000), 11, "numbers, needs 1"),
}


@pytest.mark.parametrize("case", BAD_ASF)
def test_a_broken_skeleton_gives_one_clear_error(files, case):
    text, reason = BAD_ASF[case]
    with pytest.raises(MotionFileError) as caught:
        read_amc(*files(asf=text))
    assert caught.value.file.endswith("a.asf") and reason in caught.value.reason


@pytest.mark.parametrize("case", BAD_AMC)
def test_a_broken_motion_gives_one_clear_error(files, case):
    text, line, reason = BAD_AMC[case]
    with pytest.raises(MotionFileError) as caught:
        read_amc(*files(amc=text))
    assert caught.value.file.endswith("a.amc") and reason in caught.value.reason
    assert caught.value.line == line, str(caught.value)


def test_deep_skeletons_are_bounded_and_need_no_recursion(files):
    def deep(count: int) -> str:
        bone = "begin\nname b{}\ndirection 1 0 0\nlength 0.001\naxis 0 0 0 xyz\nend\n"
        tree = "root b0\n" + "".join(f"b{i} b{i + 1}\n" for i in range(count - 1))
        head = ASF.split(":bonedata")[0]
        return f"{head}:bonedata\n{''.join(bone.format(i) for i in range(count))}:hierarchy\nbegin\n{tree}end\n"

    amc = "1\nroot 0 1 0 0 0 0\n"
    assert read_amc(*files(deep(3000), amc)).points[0, -1, 0] == pytest.approx(3.0, rel=1e-3)
    with pytest.raises(MotionFileError, match="more than 4096"):
        read_amc(*files(deep(10_000), amc))
    with pytest.raises(MotionFileError, match="larger than"):
        read_amc(*files(), max_bytes=100)
    with pytest.raises(MotionFileError, match="no such file"):
        read_amc(files()[0], files()[1].with_name("gone.amc"))
    with pytest.raises(ValueError, match="fps"):
        read_amc(*files(), fps=0)


def test_two_thousand_frames_take_well_under_a_second(files):
    draw = np.random.default_rng(0)
    bone = "begin\nname b{}\ndirection 1 0 0\nlength 0.1\naxis 10 20 30 xyz\ndof rx ry rz\nend\n"
    tree = "root b0\n" + "".join(f"b{i} b{i + 1}\n" for i in range(27))
    head = ASF.split(":bonedata")[0]
    asf = f"{head}:bonedata\n{''.join(bone.format(i) for i in range(28))}:hierarchy\nbegin\n{tree}end\n"
    names = ["root 0 1 0", *(f"b{i}" for i in range(28))]
    rows = draw.normal(size=(2000, 29, 3))
    frames = [
        "\n".join([str(t + 1)] + [f"{n} {x:.5f} {y:.5f} {z:.5f}" for n, (x, y, z) in zip(names, row, strict=True)])
        for t, row in enumerate(rows)
    ]
    pair = files(asf, "\n".join(frames))
    spent = []
    for _ in range(3):
        start = time.process_time()
        pose = read_amc(*pair)
        spent.append(time.process_time() - start)
    assert len(pose) == 2000 and min(spent) < 0.8


# ---------------------------------------------------------------- real motion


def test_real_people_stand_upright_on_the_floor_with_rigid_bones(mocap_root):
    files = sorted(mocap_root.glob("cmu/asfamc/*/*.amc"))
    assert files, f"no AMC files under {mocap_root}"
    for path in files if os.environ.get("MOCAP3D_ALL_FILES") == "1" else files[::5]:
        pose = read_amc(path.parent / f"{path.parent.name}.asf", path)
        assert pose.skeleton == CMU and pose.fps == 120
        points = pose.points.astype(np.float64)
        for parent, child in CMU.bones:
            assert np.ptp(np.linalg.norm(points[:, parent] - points[:, child], axis=-1)) < 1e-5
        head, feet = points[:, CMU.index("head"), 2], points[:, CMU.indices(["lfoot", "rfoot"]), 2]
        assert np.mean(head > feet.max(axis=1)) > 0.9, path.name
        assert 1.3 < np.median(head - feet.min(axis=1)) < 1.75, path.name
        assert abs(np.percentile(feet.min(axis=1), 1)) < 0.1, path.name


def test_the_two_files_can_be_parsed_apart(files):
    asf, amc = files()
    skeleton = parse_asf(asf)
    values, degrees = parse_amc(amc, skeleton)
    assert degrees and skeleton.dofs[1] == ("rx", "ry", "rz") and list(values) == ["root", "upper", "lower"]
    np.testing.assert_array_equal(values["upper"], [[0, 0, 0], [0, 90, 0]])
