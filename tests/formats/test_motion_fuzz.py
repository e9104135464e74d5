"""Damaged motion files by the thousand: whatever happens to the bytes, only a MotionFileError may come out.

MOCAP3D_FUZZ sets the number of cases of each kind (default 400).
"""

from __future__ import annotations

import os
import time
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mocap3d.formats.asf_amc import read_amc
from mocap3d.formats.bvh import read_bvh
from mocap3d.formats.motion_file import MotionFileError

CASES = int(os.environ.get("MOCAP3D_FUZZ", "400"))
SLOW = [HealthCheck.too_slow, HealthCheck.large_base_example]
fuzz = settings(max_examples=CASES, deadline=None, database=None, suppress_health_check=SLOW)

BVH = b"""HIERARCHY
ROOT Hips
{
    OFFSET 0 0 0
    CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
    JOINT LeftLeg
    {
        OFFSET 10 -5 0
        CHANNELS 3 Yrotation Xrotation Zrotation
        End Site
        {
            OFFSET 0 -80 0
        }
    }
    JOINT RightLeg
    {
        OFFSET -10 -5 0
        CHANNELS 4 Xposition Zrotation Xrotation Yrotation
    }
}
MOTION
Frames: 3
Frame Time: 0.0333333
0 90 0 1.5 2.5 -3 0 10 0 -10 0 -1e1 0
1 90 0 1.5 2.5 -3 0 20 0 -10 0 -2e1 0
2 90 0 1.5 2.5 -3 0 30 0 -10 0 -3e1 0
"""
ASF = b""":version 1.10
:units
  length 0.45
  angle deg
:root
  order TX TY TZ RX RY RZ
  axis XYZ
  position 0 0 0
  orientation 0 0 0
:bonedata
  begin
    name lfemur
    direction 0.3 -0.9 0
    length 7.1
    axis 0 0 20 XYZ
    dof rx ry rz
    limits (-160.0 20.0) (-70 70) (-60 70)
  end
  begin
    name ltibia
    direction 0.3 -0.9 0
    length 7.4
    axis 0 0 20 XYZ
    dof rx l
  end
:hierarchy
  begin
    root lfemur
    lfemur ltibia
  end
"""
AMC = b"""#!OML:ASF
:FULLY-SPECIFIED
:DEGREES
1
root 0 17 0 1 2 3
lfemur 1 2 3
ltibia 4 0
2
root 0 17.5 0 1 2 3
lfemur 1 2 3.5
ltibia 5 0.1
3
root 0 18 0 1 2 3
lfemur 1 2 4
ltibia 6 0
"""

TOKENS = (
    b"99999999999999999999 -1 0 1 2 7 nan inf -inf 1e308 1e-320 0x10 1_0 1,5 -- . + 1e { } {{{{ }}}} JOINT ROOT End "
    b"Site OFFSET CHANNELS MOTION HIERARCHY Frames: Frame Time: Xposition Wrotation begin end root name axis dof l tx "
    b"rx :root :bonedata :hierarchy :units :RADIANS # ( ) XYZ xxx limits direction length position 3 lfemur Hips"
).split()
TOKENS += [
    b"",
    b"\0",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\xe2\x80\xa8",
    b"\x0b",
    b"\x1c",
    b"\xa0",
    b"9" * 400,
    b"{ " * 300,
]

place = st.floats(0, 1, exclude_max=True)
mutation = st.one_of(
    st.tuples(st.just("flip"), place, st.integers(0, 255)),
    st.tuples(st.just("cut"), place, st.none()),
    st.tuples(st.just("behead"), place, st.none()),
    st.tuples(st.just("token"), place, st.sampled_from(TOKENS)),
    st.tuples(st.just("insert"), place, st.one_of(st.sampled_from(TOKENS), st.binary(max_size=12))),
    st.tuples(st.just("delete line"), place, st.none()),
    st.tuples(st.just("double line"), place, st.integers(1, 40)),
    st.tuples(st.just("swap lines"), place, place),
    st.tuples(st.just("join lines"), place, st.none()),
)


def spoil(data: bytes, mutations: list[tuple]) -> bytes:
    for kind, where, extra in mutations:
        at, lines = int(where * len(data)), data.split(b"\n")
        line = int(where * len(lines))
        if kind == "flip" and data:
            data = data[:at] + bytes([extra]) + data[at + 1 :]
        elif kind == "cut":
            data = data[:at]
        elif kind == "behead":
            data = data[at:]
        elif kind == "token":
            words = data.split(b" ")
            words[int(where * len(words))] = extra
            data = b" ".join(words)
        elif kind == "insert":
            data = data[:at] + extra + data[at:]
        elif kind == "join lines":
            data = b"\n".join(lines[:line]) + b" " + b"\n".join(lines[line:])
        else:
            if kind == "delete line":
                del lines[line]
            elif kind == "double line":
                lines[line:line] = [lines[line]] * extra
            elif kind == "swap lines":
                other = int(extra * len(lines))
                lines[line], lines[other] = lines[other], lines[line]
            data = b"\n".join(lines)
    return data


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


def survives(read) -> bool:
    """Whether the file was read; anything but a pose or a MotionFileError fails, and so does a hang, or a
    warning of anything but an end that is cut off."""
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("default", ".*(cut off|promises)", UserWarning)
        try:
            pose = read()
        except MotionFileError as error:
            assert error.file and error.reason and (error.line is None or error.line >= 1)
            assert "\n" not in str(error) and len(str(error)) < 1000
            pose = None
    assert time.process_time() - start < 5
    if pose is not None:
        assert len(pose) >= 1 and np.isfinite(pose.points).all() and pose.fps > 0
    return pose is not None


def test_the_undamaged_files_read(folder):
    for name, data in (("a.bvh", BVH), ("a.asf", ASF), ("a.amc", AMC)):
        (folder / name).write_bytes(data)
    assert survives(lambda: read_bvh(folder / "a.bvh"))
    assert survives(lambda: read_amc(folder / "a.asf", folder / "a.amc"))


@given(st.lists(mutation, min_size=1, max_size=6))
@fuzz
def test_damaged_bvh(folder, mutations):
    (folder / "b.bvh").write_bytes(spoil(BVH, mutations))
    survives(lambda: read_bvh(folder / "b.bvh"))


@given(st.lists(mutation, max_size=4), st.lists(mutation, max_size=4))
@fuzz
def test_damaged_asf_and_amc(folder, in_skeleton, in_motion):
    (folder / "c.asf").write_bytes(spoil(ASF, in_skeleton))
    (folder / "c.amc").write_bytes(spoil(AMC, in_motion))
    survives(lambda: read_amc(folder / "c.asf", folder / "c.amc"))


@given(st.binary(max_size=200))
@fuzz
def test_any_bytes(folder, data):
    for start in (b"", b"HIERARCHY\n", BVH[: BVH.index(b"MOTION")] + b"MOTION\nFrames: 1\nFrame Time: .1\n"):
        (folder / "d.bvh").write_bytes(start + data)
        survives(lambda: read_bvh(folder / "d.bvh"))
    (folder / "d.asf").write_bytes(ASF)
    (folder / "d.amc").write_bytes(b"1\n" + data)
    survives(lambda: read_amc(folder / "d.asf", folder / "d.amc"))


@pytest.mark.parametrize("data", [BVH, ASF, AMC], ids=["bvh", "asf", "amc"])
def test_every_truncation(folder, data):
    """Cut at every byte: refused, unless what is left is whole (BVH with a warning; AMC at a frame's end)."""
    (folder / "e.asf").write_bytes(ASF)
    (folder / "e.amc").write_bytes(AMC)
    for length in range(len(data)):
        name = {BVH: "e.bvh", ASF: "e.asf", AMC: "e.amc"}[data]
        (folder / name).write_bytes(data[:length])
        if data is BVH:
            read = survives(lambda: read_bvh(folder / "e.bvh"))
            assert not read or length > BVH.index(b"0 90") + 30
        else:
            read = survives(lambda: read_amc(folder / "e.asf", folder / "e.amc"))
            if data is AMC:
                whole = data[:length].count(b"ltibia") and len(data[:length].rsplit(b"ltibia", 1)[1].split()) == 2
                assert not read or whole
