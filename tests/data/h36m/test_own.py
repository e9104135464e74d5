"""Our own layout: the same bits back, from disk as they are needed, and damage told from data."""

from __future__ import annotations

import json
import pickletools
import random
from dataclasses import replace

import numpy as np
import pytest

from data_scripts.h36m_writers import videopose3d
from mocap3d.camera import Camera
from mocap3d.data.dataset import PoseDataset, film
from mocap3d.data.h36m import own
from mocap3d.data.h36m.facts import H36MError
from mocap3d.data.h36m.load import load_h36m
from mocap3d.poses import Pose2D, Pose3D
from mocap3d.skeleton import COCO17
from tests.toys import body, sticks

ARRAYS = ("points3d.npy", "points2d.npy", "confidence.npy")


def dataset() -> PoseDataset:
    """Sticks; a take with gaps and doubts, another rate, another lens; all three lens models."""
    clips = list(sticks(2, 9).clips + sticks(1, 5, split="test").clips)
    points = clips[0].pose2d.points.copy()
    points[2:4, 5] = np.nan
    doubts = np.random.default_rng(0).uniform(size=points.shape[:2])
    clips[0] = replace(clips[0], pose2d=Pose2D(points, doubts, image_size=(1000, 1002)))
    lens = replace(Camera.look_at((0, -4, 1.4), (0, 0, 1)), distortion=(0.1, 0, 0, 0.01, 0), distortion_model="opencv")
    slow = Pose3D(body(4), fps=29.97)
    clips += film(slow, [lens, Camera.phone()], subject="someone", action="Ω wave", take="a:1-4", split="check")
    return PoseDataset("bits", tuple(clips), ("a note", "another"))


@pytest.fixture
def folder(tmp_path):
    own.write(dataset(), tmp_path)
    return tmp_path


def same_bits(read, written):
    for clip, other in zip(read, written, strict=True):
        for one, two in (
            (clip.pose3d.points, other.pose3d.points),
            (clip.pose2d.points, other.pose2d.points),
            (clip.pose2d.confidence, other.pose2d.confidence),
        ):
            assert one.dtype == two.dtype == np.float32 and one.tobytes() == two.tobytes()
        assert clip.camera == other.camera  # every digit, the lens model too
        assert clip.pose2d.image_size == other.pose2d.image_size
        assert (clip.pose3d.fps, clip.pose3d.root) == (other.pose3d.fps, other.pose3d.root)
        for label in ("subject", "action", "take", "split", "source", "performer", "licence"):
            assert getattr(clip, label) == getattr(other, label)


def test_the_same_bits_come_back(folder):
    notes = []
    same_bits(own.read(folder, notes=notes), dataset())
    assert notes == ["a note", "another"]
    same_bits(own.read(own.find(folder), verify=False), dataset())
    same_bits(own.read(folder, subjects=["S9"]), dataset().select(subject="S9"))


def test_another_layout_turned_into_ours_keeps_its_bits(tmp_path):
    both = PoseDataset("sticks", sticks(2, 9).clips + sticks(2, 9, split="test").clips)
    videopose3d.write(both, tmp_path / "foreign")
    foreign = load_h36m(tmp_path / "foreign")
    own.write(foreign, tmp_path / "ours")
    ours = load_h36m(tmp_path / "ours")
    same_bits(ours, foreign)
    assert set(foreign.notes) < set(ours.notes)
    own.write(ours, tmp_path / "ours")  # into the folder it is mapped from
    same_bits(load_h36m(tmp_path / "ours"), foreign)


def test_poses_stay_on_disk_and_the_files_stay_as_they_are(folder):
    before = {name: (folder / name).read_bytes() for name in ARRAYS}
    clip = own.read(folder)[4]
    base = clip.pose3d.points
    while base.base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)
    clip.pose3d.points[:] = 7  # a private copy
    assert before == {name: (folder / name).read_bytes() for name in ARRAYS}


def test_the_files_are_plain(folder):
    assert {path.name for path in folder.iterdir()} == {*ARRAYS, "mocap3d.json"}
    frames = dataset().frames
    for name, shape in zip(ARRAYS, ((frames, 17, 3), (frames, 17, 2), (frames, 17)), strict=True):
        array = np.load(folder / name, allow_pickle=False)
        assert array.shape == shape and array.dtype == np.float32
        with pytest.raises(Exception):  # noqa: B017  no pickle in it, of any kind
            list(pickletools.genops((folder / name).read_bytes()))
    index = json.loads((folder / "mocap3d.json").read_text())
    assert index["joints"][0] == "pelvis" and {c["distortion_model"] for c in index["cameras"]} == {
        "none",
        "opencv",
        "videopose3d",
    }


def test_what_does_not_fit_is_refused(folder, tmp_path):
    with pytest.raises(H36MError, match="holds 'gt' 2D, not 'cpn'"):
        own.read(folder, "cpn")
    with pytest.raises(H36MError, match="no clips of S5"):
        own.read(folder, subjects=["S1", "S5"])
    with pytest.raises(H36MError, match="no clips to write"):
        own.write(PoseDataset("none", ()), tmp_path / "none")
    clip = dataset()[0]
    other = replace(clip, pose2d=replace(clip.pose2d, skeleton=COCO17), pose3d=replace(clip.pose3d, skeleton=COCO17))
    with pytest.raises(H36MError, match="coco17.*convert"):
        own.write(PoseDataset("coco", (other,)), tmp_path / "coco")
    (folder / "mocap3d.json").write_text('{"format": "mocap3d-clips", "version": 2}')
    with pytest.raises(H36MError, match="version 2; this mocap3d reads 'mocap3d-clips' 1"):
        own.read(folder)


def test_an_interrupted_conversion_is_not_taken_for_data(folder, monkeypatch):
    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(own.np.lib.format, "write_array_header_1_0", stop)
    with pytest.raises(KeyboardInterrupt):
        own.write(dataset(), folder)
    assert own.find(folder) is None and not list(folder.glob("*.part"))


def test_a_changed_number_is_noticed(folder):
    for name in ARRAYS:
        data = bytearray((folder / name).read_bytes())
        data[-2] ^= 1
        (folder / name).write_bytes(data)
        with pytest.raises(H36MError, match=f"{name} is not what was written"):
            own.read(folder)
        data[-2] ^= 1
        (folder / name).write_bytes(data)


def test_damaged_files_raise_documented_errors_only(folder):
    rng = random.Random(0)
    for _ in range(150):
        path = folder / rng.choice([*ARRAYS, "mocap3d.json", "mocap3d.json"])
        whole = path.read_bytes()
        data = bytearray(whole)
        for _ in range(rng.randint(1, 5)):
            data[rng.randrange(len(data) if rng.random() < 0.5 else 130)] = rng.randrange(256)
        path.write_bytes(data[: rng.randrange(len(data))] if rng.random() < 0.2 else data)
        try:
            own.read(folder, verify=rng.random() < 0.5)
        except H36MError:
            pass
        path.write_bytes(whole)
    for name in ARRAYS:
        (folder / name).rename(folder / "away")
        with pytest.raises(H36MError, match="cannot be read"):
            own.read(folder)
        (folder / "away").rename(folder / name)


JUNK = (None, -1, 0, 3, 2.5, 10**30, "x", "", [], {}, [1, 2, 3], True, 1e300, ["a"] * 7, {"rows": 1})


def test_wrong_values_in_the_index_raise_documented_errors_only(folder):
    rng = random.Random(2)
    path = folder / "mocap3d.json"
    text = path.read_text()
    for _ in range(300):
        index = json.loads(text)
        node = index
        while True:
            places = list(node) if isinstance(node, dict) else range(len(node))
            place = rng.choice(list(places))
            inner = node[place]
            if not isinstance(inner, (dict, list)) or not inner or rng.random() < 0.15:
                break
            node = inner
        node[place] = rng.choice(JUNK)
        path.write_text(json.dumps(index))
        try:
            own.read(folder, verify=False)
        except H36MError:
            pass
