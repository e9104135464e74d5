"""VideoPose3D's layout: what is written is what its training script reads; what is read is what was written."""

from __future__ import annotations

import random
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from data_scripts.h36m_writers.takes import takes_to_write
from data_scripts.h36m_writers.videopose3d import write
from mocap3d.camera import Camera, h36m_cameras
from mocap3d.data.dataset import PoseDataset, film
from mocap3d.data.h36m import videopose3d
from mocap3d.data.h36m.facts import LICENCE, SUBJECTS, H36MError
from mocap3d.data.h36m.reading import LABELS_FILE
from mocap3d.data.loading import load_dataset
from mocap3d.formats.pickles import UnsafeFileError
from mocap3d.poses import Pose3D
from mocap3d.skeleton import H36M17, H36M32
from tests.toys import body, sticks

KEPT = [0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27]
LEFT, RIGHT = [4, 5, 6, 11, 12, 13], [1, 2, 3, 14, 15, 16]


def both(takes: int = 3, frames: int = 12) -> PoseDataset:
    return PoseDataset("sticks", sticks(takes, frames).clips + sticks(takes, frames, split="test").clips)


@pytest.fixture
def folder(tmp_path):
    write(both(), tmp_path)
    return tmp_path


def raw(path) -> dict:
    """As the published reader does; these files are ours."""
    with np.load(path, allow_pickle=True) as file:
        return {key: file[key].item() for key in file.files}


def change(folder, name, key, edit):
    """Edit the dictionary in one of the files, in the place where it lies."""
    path = folder / f"data_{name}.npz"
    entries = raw(path)
    edit(entries[key])
    with open(path, "wb") as file:
        np.savez_compressed(file, **{k: np.array(v, object) for k, v in entries.items()})


def agree(read, written, pixels=0.01, metres=1e-5):
    views = {(clip.take, clip.camera.name): clip for clip in written}
    assert len(read) == len(views)
    for clip in read:
        other = views[clip.take, clip.camera.name]
        assert np.abs(clip.pose3d.points - other.pose3d.points).max() < metres
        assert np.abs(clip.pose2d.points - other.pose2d.points).max() < pixels
        assert clip.camera.distortion_model == "videopose3d"
        for label in ("subject", "action", "split", "source", "performer", "licence"):
            assert getattr(clip, label) == getattr(other, label)


def test_a_round_trip_keeps_poses_and_labels(folder):
    agree(videopose3d.read(folder), both())


def test_a_round_trip_of_real_motion(mocap_root, tmp_path):
    dataset = load_dataset("open-mocap", mocap_root)
    takes = dataset.takes[:: len(dataset.takes) // 20]
    dataset = dataset.select(take=takes, split=("train", "test"))
    names = write(dataset, tmp_path)
    assert sorted(names) == sorted(dataset.takes) and len(set(names.values())) == len(names)
    agree(videopose3d.read(tmp_path), dataset)


def test_the_files_hold_what_the_training_script_asks_for(folder):
    positions = raw(folder / "data_3d_h36m.npz")["positions_3d"]
    keypoints = raw(folder / "data_2d_h36m_gt.npz")
    assert keypoints["metadata"] == {"num_joints": 17, "keypoints_symmetry": [LEFT, RIGHT]}
    keypoints = keypoints["positions_2d"]
    assert set(positions) == set(keypoints) == {"S1", "S5", "S6", "S7", "S8", "S9", "S11"}
    arrays = []
    for subject, stems in positions.items():
        assert set(stems) == set(keypoints[subject])  # a stem in 2D alone is a KeyError there
        for stem, points in stems.items():
            assert points.dtype == np.float32 and points.shape[1:] == (32, 3)
            views = keypoints[subject][stem]
            assert type(views) is list and len(views) == 4
            assert all(view.dtype == np.float32 and view.shape == (len(points), 17, 2) for view in views)
            arrays += views
    # normalised in place there, so no two may be one
    assert not any(np.shares_memory(a, b) for a, b in zip(arrays, arrays[1:], strict=False))
    assert sorted(positions["S1"]) == ["Turn 1", "Wave 1", "Wave 2"]
    # ... and by that script's own arithmetic: 17 of 32, then each camera's frame
    clip = both()[1]
    world = positions["S1"]["Wave 1"][:, KEPT]
    assert np.abs(clip.camera.world_to_camera(world) - clip.pose3d.points).max() < 1e-5
    skipped = [j for j in range(32) if j not in KEPT]
    full = positions["S1"]["Wave 1"]
    assert all((full[:, j] == full[:, H36M32.parents[j]]).all() for j in skipped)


@pytest.mark.parametrize(
    ("name", "joints", "layout"), [("cpn", 17, True), ("detectron", 17, True), ("sh", 16, False), ("mine", 17, True)]
)
def test_detections_get_a_file_of_their_own(tmp_path, name, joints, layout):
    dataset = both().with_detections("cpn")
    write(dataset, tmp_path, detections=name)
    kind = {"cpn": "cpn_ft_h36m_dbb", "detectron": "detectron_ft_h36m", "sh": "sh_ft_h36m"}.get(name, name)
    file = raw(tmp_path / f"data_2d_h36m_{kind}.npz")
    assert file["metadata"]["num_joints"] == joints and ("layout_name" in file["metadata"]) is layout
    assert file["positions_2d"]["S9"]["Wave 1"][0].shape[1] == joints
    if joints == 16:
        assert file["metadata"]["keypoints_symmetry"] == [[3, 4, 5, 13, 14, 15], [0, 1, 2, 10, 11, 12]]
    notes = []
    read = videopose3d.read(tmp_path, name, notes=notes)
    assert any("nose = midpoint" in note for note in notes) is (joints == 16)
    for clip, other in zip(read, dataset, strict=True):
        same = [joint != "nose" or joints == 17 for joint in H36M17.joints]
        assert np.array_equal(clip.pose2d.points[:, same], other.pose2d.points[:, same])
    nose, thorax, head = (read[0].pose2d.points[:, H36M17.index(joint)] for joint in ("nose", "thorax", "head"))
    assert joints == 17 or np.allclose(nose, (thorax + head) / 2)
    truth = {(clip.take, clip.camera.name): clip for clip in both()}
    for clip in videopose3d.read(tmp_path, "gt"):  # the truth beside them is the projection
        assert np.abs(clip.pose2d.points - truth[clip.take, clip.camera.name].pose2d.points).max() < 0.01


def test_truth_by_another_lens_is_projected_by_this_layouts(tmp_path):
    clips = []
    for clip in both():
        camera = replace(clip.camera, distortion_model="opencv")
        clips.append(replace(clip, camera=camera, pose2d=clip.pose3d.project(camera)))
    assert np.abs(clips[0].pose2d.points - both()[0].pose2d.points).max() > 0.02
    write(PoseDataset("opencv", tuple(clips)), tmp_path)
    assert not list(tmp_path.glob("data_2d_h36m_cpn*"))
    agree(videopose3d.read(tmp_path), both())


def test_detections_may_not_be_called_truth(tmp_path):
    with pytest.raises(H36MError, match="not the projected truth"):
        write(both().with_detections("cpn"), tmp_path, detections="gt")
    assert not list(tmp_path.iterdir())


def test_without_a_truth_file_the_truth_is_projected(folder):
    (folder / "data_2d_h36m_gt.npz").unlink()
    notes = []
    agree(videopose3d.read(folder, notes=notes), both())
    assert "projected" in notes[0]


def test_longer_2d_is_cut(folder):
    def lengthen(table):
        table["S1"]["Wave 1"] = [np.pad(view, ((0, 3), (0, 0), (0, 0))) for view in table["S1"]["Wave 1"]]

    change(folder, "2d_h36m_gt", "positions_2d", lengthen)
    agree(videopose3d.read(folder), both())


def _set(subject, stem, value):
    return lambda table: table.setdefault(subject, {}).update({stem: value})


def views(frames=12, joints=17, channels=2, count=4):
    return [np.full((frames, joints, channels), 0.5, np.float32)] * count


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (_set("S1", "Wave 1", views(11)), "11 frames of 2D for 12"),
        (lambda table: table["S1"].pop("Wave 1"), "3D but no 2D"),
        (lambda table: table.pop("S9"), "3D but no 2D"),
        (_set("S1", "Wave 1", views(count=3)), "list of four"),
        (_set("S1", "Wave 1", views(joints=15)), "it must be float"),
        (_set("S1", "Wave 1", views(channels=4)), "it must be float"),
        (_set("S1", "Wave 1", "four"), "list of four"),
        (_set("S1", "Wave 1", [None] * 4), "NoneType"),
        (_set("S1", "Wave 1", [np.full((12, 17, 2), np.inf, np.float32)] * 4), "infinite"),
        (_set("S1", 7, views()), "not a dictionary of file stems"),
    ],
)
def test_2d_that_does_not_belong_is_refused(folder, edit, message):
    change(folder, "2d_h36m_gt", "positions_2d", edit)
    with pytest.raises(H36MError, match=message):
        videopose3d.read(folder)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros((12, 17, 3), np.float32), "32 joints"),
        (np.zeros((12, 32, 3), int), "int64"),
        (np.zeros((12, 32, 3), object), "object"),
        (np.float32(3), "32 joints"),
        (np.zeros((0, 32, 3), np.float32), "no frames"),
        (np.random.default_rng(0).normal(size=(12, 32, 3)) * 1000, "metres: divide"),
    ],
)
def test_3d_that_cannot_be_is_refused(folder, value, message):
    change(folder, "3d_h36m", "positions_3d", _set("S1", "Wave 1", value))
    with pytest.raises(H36MError, match=message):
        videopose3d.read(folder)


def test_what_is_not_taken_is_said(folder):
    change(folder, "2d_h36m_gt", "positions_2d", _set("S9", "Directions", views()))
    change(folder, "2d_h36m_gt", "positions_2d", _set("S10", "Wave", views()))
    change(folder, "3d_h36m", "positions_3d", _set("S2", "Wave 1", np.zeros((12, 32, 3))))
    notes = []
    agree(videopose3d.read(folder, notes=notes), both())
    assert len(notes) == 2 and "S2" in notes[0] and "S9: left out Directions" in notes[1]


def test_one_array_of_four_views_and_a_confidence_are_taken(folder):
    stack = np.stack(views(channels=3))
    stack[..., 2] = 0.25
    change(folder, "2d_h36m_gt", "positions_2d", _set("S1", "Wave 1", stack))
    clip = videopose3d.read(folder)[0]
    assert (clip.pose2d.confidence == 0.25).all() and (clip.pose2d.points == 0.5).all()


def test_subjects_and_missing_files(folder):
    assert {clip.subject for clip in videopose3d.read(folder, subjects=["S9"])} == {"S9"}
    with pytest.raises(H36MError, match="has no S10"):
        videopose3d.read(folder, subjects=["S10"])
    with pytest.raises(H36MError, match="no takes of S5"):
        videopose3d.read(folder, subjects=["S5"])
    with pytest.raises(H36MError, match="cpn_ft_h36m_dbb.*there are: gt"):
        videopose3d.read(folder, "cpn")
    with pytest.raises(H36MError, match="holds no data_3d_h36m.npz"):
        videopose3d.read(folder / "nowhere")


def test_files_that_are_not_ours_are_human36m(folder):
    def rename(table):
        table["S1"]["TakingPhoto 1"] = table["S1"].pop("Wave 1")

    (folder / LABELS_FILE).unlink()
    change(folder, "3d_h36m", "positions_3d", rename)
    change(folder, "2d_h36m_gt", "positions_2d", rename)
    clips = [clip for clip in videopose3d.read(folder) if clip.take == "S1/Photo 1"]
    assert len(clips) == 4
    assert all(c.action == "Photo" and c.licence == LICENCE and c.source == "h36m" for c in clips)


# --- names


def named(*takes: tuple[str, str, str]) -> PoseDataset:
    clips = []
    for subject, action, take in takes:
        clips += film(
            Pose3D(body(3)),
            h36m_cameras(subject),
            subject=subject,
            action=action,
            take=take,
            split="test" if subject in ("S9", "S11") else "train",
        )
    return PoseDataset("named", tuple(clips))


def test_takes_get_names_that_published_code_reads():
    dataset = named(
        ("S1", "dance long_2.b", "x/1"),
        ("S1", "dance long_2.b", "x/2"),
        ("S5", "dance long_2.b", "x/3"),
        ("S1", "Walking", "S1/Walking"),
        ("S1", "Walking", "S1/Walking 1"),
        ("S1", "Walking", "new"),
        ("S1", "Photo", "S1/Photo 2"),
        ("S1", "TakingPhoto", "y"),
        ("S1", "!", "z"),
        ("S9", "Walking", "S1/Walking 3"),
    )
    names = [take.name for take in takes_to_write(dataset)]
    assert names == [
        "S1/dance-long-2-b 1",
        "S1/dance-long-2-b 2",
        "S5/dance-long-2-b 1",
        "S1/Walking",
        "S1/Walking 1",
        "S1/Walking 2",
        "S1/Photo 2",
        "S1/Photo 1",
        "S1/unnamed 1",
        "S9/Walking 1",
    ]


def test_names_survive_a_second_round_trip(folder, tmp_path):
    names = write(PoseDataset("again", tuple(videopose3d.read(folder))), tmp_path / "again")
    assert names == write(both(), tmp_path / "once")


def swap(**changes):
    return lambda clip: replace(clip, **changes)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (swap(subject="S2"), "cameras of S1"),
        (swap(split="test"), "published code uses S1 for train"),
        (lambda c: replace(c, pose2d=c.pose2d.resample(25), pose3d=c.pose3d.resample(25)), "resample"),
        (lambda c: replace(c, camera=replace(c.camera, name="x")), "want"),
        (lambda c: replace(c, camera=replace(c.camera, translation=(0, 0, 0))), "differs from Human3.6M's"),
        (lambda c: replace(c, pose3d=replace(c.pose3d, root="relative")), "absolute"),
        (lambda c: replace(c, pose3d=replace(c.pose3d, points=c.pose3d.points * np.nan)), "complete"),
        (lambda c: replace(c, pose2d=replace(c.pose2d, points=c.pose2d.points * np.nan)), "no missing joints"),
    ],
)
def test_takes_that_published_code_cannot_read_are_refused(tmp_path, edit, message):
    dataset = sticks(1, 6)
    with pytest.raises(H36MError, match=message):
        write(PoseDataset("wrong", tuple(map(edit, dataset))), tmp_path)
    assert not list(tmp_path.iterdir())


def test_views_must_be_four_of_one_motion(tmp_path):
    with pytest.raises(H36MError, match="each of"):
        write(sticks(1, 6, views=3), tmp_path)
    clips = list(sticks(1, 6))
    clips[2] = replace(clips[2], pose3d=replace(clips[2].pose3d, points=clips[2].pose3d.points + 0.01))
    with pytest.raises(H36MError, match="same motion"):
        write(PoseDataset("wrong", tuple(clips)), tmp_path)
    check = PoseDataset("check", tuple(replace(clip, split="check") for clip in sticks(1, 6)))
    with pytest.raises(H36MError, match="no training or test clips"):
        write(check, tmp_path)


# --- damage


DOCUMENTED = (H36MError, UnsafeFileError)


def test_damaged_bytes_raise_documented_errors_only(folder):
    """Bytes changed inside the pickles, so that the archive around them stays whole."""
    rng = random.Random(0)
    failed = 0
    for turn in range(80):
        name = ("data_3d_h36m.npz", "data_2d_h36m_gt.npz")[turn % 2]
        path = folder / name
        whole = path.read_bytes()
        if turn % 4 < 2:
            with zipfile.ZipFile(path) as file:
                members = {info: bytearray(file.read(info)) for info in file.namelist()}
            data = members[rng.choice(list(members))]
            near = len(data) if turn % 8 < 4 else min(len(data), 600)  # names and shapes stand at the beginning
            for _ in range(rng.randint(1, 4)):
                data[rng.randrange(near)] = rng.randrange(256)
            with zipfile.ZipFile(path, "w") as file:
                for info, content in members.items():
                    file.writestr(info, bytes(content))
        else:
            data = bytearray(whole)
            for _ in range(rng.randint(1, 4)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            path.write_bytes(data[: rng.randrange(len(data))] if rng.random() < 0.3 else data)
        try:
            videopose3d.read(folder)
        except DOCUMENTED:
            failed += 1
        path.write_bytes(whole)
    assert failed > 20  # the others hit numbers, and numbers may be any


JUNK = (
    None,
    7,
    "x",
    1.5,
    [],
    {},
    (),
    np.zeros(3),
    np.array("x"),
    np.zeros((2, 32, 3)),
    [np.zeros(1)] * 4,
    b"bytes",
    np.zeros((0, 17, 2), np.float32),
    {"S1": None},
    {"a": {"b": {}}},
    True,
    float("nan"),
)


def test_wrong_objects_in_any_place_raise_documented_errors_only(folder):
    rng = random.Random(1)
    for _ in range(60):
        name, key = rng.choice([("3d_h36m", "positions_3d"), ("2d_h36m_gt", "positions_2d")])
        path = folder / f"data_{name}.npz"
        whole = path.read_bytes()

        def edit(node):
            for _ in range(rng.randrange(3)):
                inner = [v for v in node.values() if isinstance(v, dict) and v] if isinstance(node, dict) else []
                node = rng.choice(inner) if inner else node
            place = rng.choice([*node, "new", 5]) if isinstance(node, dict) else 0
            node[place] = rng.choice(JUNK)

        change(folder, name, key, edit)
        try:
            videopose3d.read(folder)
        except DOCUMENTED:
            pass
        path.write_bytes(whole)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"takes": []}', '{"takes": {"S1/Wave 1": 3}}', "[" * 100000])
def test_damaged_labels_are_an_error(folder, text):
    (folder / LABELS_FILE).write_text(text)
    with pytest.raises(H36MError, match="takes.json is damaged"):
        videopose3d.read(folder)


def test_an_unknown_camera_is_not_mistaken_for_one_of_theirs(tmp_path):
    pose = Pose3D(body(5), H36M17)
    clips = film(pose, [Camera.phone(name=c.name) for c in h36m_cameras("S1")], subject="S1", action="a", take="t")
    with pytest.raises(H36MError, match="differs"):
        write(PoseDataset("phones", tuple(clips)), tmp_path)


def test_every_subject_is_there_even_without_takes(folder):
    assert tuple(raw(folder / "data_3d_h36m.npz")["positions_3d"]) == SUBJECTS
