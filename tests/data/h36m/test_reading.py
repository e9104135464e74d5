"""Ragged and absurd content in every layout: one error that names the file, the key, what it is and what it must be."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from data_scripts.h36m_writers import mmpose as write_mmpose
from data_scripts.h36m_writers import motionbert as write_motionbert
from data_scripts.h36m_writers import videopose3d as write_videopose3d
from mocap3d.data.dataset import PoseDataset
from mocap3d.data.h36m import mmpose, motionbert, official, own, reading, videopose3d
from mocap3d.data.h36m.facts import H36MError
from tests.toys import sticks

FRAMES = 6
DATASET = PoseDataset("sticks", sticks(1, FRAMES).clips + sticks(1, FRAMES, split="test").clips)
ROWS = len(DATASET.test) * FRAMES
ESCAPE = "\x1b[31m"


def in_object(value) -> np.ndarray:
    """An object array without axes, as `np.savez` makes of a dictionary."""
    array = np.empty((), object)
    array[()] = value
    return array


def ragged(count: int) -> np.ndarray:
    array = np.empty(count, object)
    array[:] = [np.zeros((length + 1, 2)) for length in range(count)]
    return array


def endless() -> list:
    """A list of 10 lists of 10 lists ...: a few bytes in a pickle, 10^30 numbers for `np.array`."""
    value = [0.0] * 10
    for _ in range(29):
        value = [value] * 10
    return value


def absurd(*shape: int) -> dict[str, object]:
    """Values that are no array of floating point numbers of this shape, by what is wrong with them."""
    return {
        "ragged": ragged(shape[0]),
        "ragged pair": ragged(2),
        "ragged list": [[1.0, 2.0], [3.0]],
        "arrays of two lengths": [np.zeros(3), np.zeros(4)],
        "endless": endless(),
        "objects": np.zeros(shape, object),
        "strings": np.full(shape, "1.5"),
        "bytes": np.full(shape, b"1.5"),
        "complex": np.zeros(shape, complex),
        "no axis": np.array(1.0),
        "one axis more": np.zeros((*shape, 1)),
        "seven axes": np.zeros((1,) * 7),
        "zero but huge": np.zeros((0, 10**15)),
        "huge but zero": np.zeros((10**9, 0)),
        "None": None,
        "number": 7,
        "text": ESCAPE * 1000,
        "huge number": 10**5000,
        "numbers and text": [1.0, "x"] * shape[0],
    }


def refused(read, file: str, key: str) -> None:
    """Whether reading ends in the one error, which names file and key and can be printed."""
    with pytest.raises(H36MError) as caught:
        read()
    text = str(caught.value)
    assert file in text and key in text and any(rule in text for rule in ("must", "not a dict", "no 2D")), text
    assert text.isprintable() and len(text.replace(file, "")) < 600, text


CASES = pytest.mark.parametrize("case", absurd(ROWS, 17, 3))


def test_the_helper_takes_what_is_fine():
    """What the cases below refuse is refused for what is wrong with it, and for nothing else."""
    for fine, shape in (
        (np.zeros((4, 17, 3), np.float32), ("N", 17, 3)),
        (np.zeros((4, 16, 2), ">f8"), ("frames", (17, 16), (2, 3))),
        (np.zeros((0, 3)), ("N", 3)),
        (np.array(1.0), ()),
    ):
        assert reading.numbers(fine, "x", *shape) is fine
    assert reading.numbers([1.0, np.float32(2), 3], "x", 3).tolist() == [1, 2, 3]
    assert reading.numbers(np.arange(3), "x", 3, kinds="fiu").tolist() == [0, 1, 2]
    assert reading.words(np.array(["a", "b"]), "x", 2) == reading.words([b"a", "b"], "x", 2) == ["a", "b"]


def test_what_was_found_and_what_is_wanted_is_said():
    for value, shape, says in (
        (ragged(2), ("N", 17), r"file: S is object \(2,\); it must be float \(N, 17\)$"),
        (np.zeros((2, 3), int), ("N", 3), r"is int64 \(2, 3\); it must be float \(N, 3\)$"),
        (np.zeros((2, 15, 2)), ("frames", (17, 16), 2), r"it must be float \(frames, 17 or 16, 2\)$"),
        ("\x07" * 90, (3,), r"is '(\\x07){37}...'; it must be"),
        ([1.0, None], (2,), "is list of 2; it must be"),
        ({}, (3, 3), "is dict of 0; it must be"),
    ):
        with pytest.raises(H36MError, match=says):
            reading.numbers(value, "file: S", *shape)
    with pytest.raises(H36MError, match=r"names must hold strings only; row 1 is int"):
        reading.words(["a", 10**5000], "names", 2)
    with pytest.raises(H36MError, match=r"list of 3 strings, one a row; it is list of 1"):
        reading.words(["a"], "names", 3)
    assert reading.reason(ValueError(ESCAPE + "x" * 1000)).isprintable()
    assert len(reading.reason(ValueError("x" * 1000))) == 200
    assert not any(map(reading.is_name, ("", "x" * 100, ESCAPE, "a\nb", "\ud800", 3, None, ("a",))))


# --- VideoPose3D


@pytest.fixture(scope="module")
def videopose3d_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videopose3d")
    write_videopose3d.write(DATASET, folder)
    return folder


@pytest.mark.parametrize("case", absurd(FRAMES, 32, 3))
@pytest.mark.parametrize("place", ["3D", "views", "view", "subject", "table"])
def test_videopose3d(videopose3d_folder, place, case):
    name, key = ("3d_h36m", "positions_3d") if place == "3D" else ("2d_h36m_gt", "positions_2d")
    path = videopose3d_folder / f"data_{name}.npz"
    whole = path.read_bytes()
    with np.load(path, allow_pickle=True) as file:
        table = file[key].item()
    value = absurd(FRAMES, *((32, 3) if place == "3D" else (17, 2)))[case]
    if place == "table":
        table = value
    elif place == "subject":
        table["S1"] = value
    elif place == "view":
        table["S1"]["Wave 1"][2] = value
    else:
        table["S1"]["Wave 1"] = value
    np.savez(path, **{key: table if isinstance(table, np.ndarray) else in_object(table)})
    try:
        refused(lambda: videopose3d.read(videopose3d_folder), str(path), key)
    finally:
        path.write_bytes(whole)


def test_videopose3d_names_that_cannot_be_printed(videopose3d_folder):
    path = videopose3d_folder / "data_3d_h36m.npz"
    whole = path.read_bytes()
    with np.load(path, allow_pickle=True) as file:
        table = file["positions_3d"].item()
    for name in (ESCAPE, "x" * 10**5, "\ud800", 10**5000, b"\xff" * 100, None):
        for changed in ({**table, name: {}}, {**table, "S1": {**table["S1"], name: np.zeros((3, 32, 3))}}):
            np.savez(path, positions_3d=in_object(changed))
            with pytest.raises(H36MError, match="not a dictionary of file stems") as caught:
                videopose3d.read(videopose3d_folder)
            assert str(caught.value).isprintable() and len(str(caught.value)) < 400
    path.write_bytes(whole)


# --- MMPose


@pytest.fixture(scope="module")
def mmpose_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mmpose")
    write_mmpose.write(DATASET.with_detections("cpn"), folder, original=True)
    return folder


@CASES
@pytest.mark.parametrize("key", ["S", "part", "imgname"])
def test_mmpose_annotations(mmpose_folder, key, case):
    path = mmpose_folder / "annotation_body3d/fps50/h36m_test.npz"
    whole = path.read_bytes()
    with np.load(path) as file:
        content = {name: file[name] for name in file.files}
    shape = {"S": (ROWS, 17, 4), "part": (ROWS, 17, 3), "imgname": (ROWS,)}[key]
    value = absurd(*shape)[case]
    if key == "imgname" and case in ("strings", "bytes"):
        value = np.arange(ROWS) / 2
    if key == "imgname" and case == "ragged pair":
        value = ragged(ROWS)
    np.savez(path, **content | {key: value if isinstance(value, np.ndarray) else in_object(value)})
    try:
        if key == "imgname" and case == "huge but zero":
            with pytest.raises(H36MError, match="list of"):
                mmpose.read(mmpose_folder)
        else:
            refused(lambda: mmpose.read(mmpose_folder), str(path), key)
    finally:
        path.write_bytes(whole)


CAMERAS = [(key, case) for key in ("R", *"Tfckpw", "camera", "cameras") for case in absurd(3, 3)]
CAMERAS.remove(("w", "number"))  # 7 pixels are a width


@pytest.mark.parametrize(("key", "case"), CAMERAS)
def test_mmpose_cameras(mmpose_folder, key, case):
    path = mmpose_folder / "annotation_body3d/cameras.pkl"
    whole = path.read_bytes()
    cameras, which = pickle.loads(whole), ("S9", "54138969")
    shape = (3, 3) if key == "R" else cameras[which].get(key, np.zeros(3)).shape if key in "RTfckp" else (3, 3)
    value = absurd(*shape)[case]
    if key == "cameras":
        cameras = value
    elif key == "camera":
        cameras[which] = value
    else:
        cameras[which][key] = value
    path.write_bytes(pickle.dumps(cameras))
    try:
        refused(lambda: mmpose.read(mmpose_folder), str(path), key)
    finally:
        path.write_bytes(whole)


@CASES
def test_mmpose_detections_and_factors(mmpose_folder, case):
    for name, shape, read in (
        ("joint_2d_det_files/cpn_ft_h36m_dbb_test.npy", (ROWS, 17, 3), lambda: mmpose.read(mmpose_folder, "cpn")),
        ("annotation_body3d/fps50/h36m_factors.npy", (ROWS,), lambda: mmpose.read_factors(mmpose_folder)),
    ):
        path = mmpose_folder / name
        whole, value = path.read_bytes(), absurd(*shape)[case]
        if len(shape) == 1 and case == "one axis more":
            continue  # a column of factors is fine
        np.save(path, value if isinstance(value, np.ndarray) else in_object(value))
        refused(read, str(path), "")
        path.write_bytes(whole)


@pytest.mark.parametrize("name", [f"S9_{ESCAPE}.5_000001.jpg", f"S9_{'W' * 300}.5_000001.jpg", "x" * 10**5, "\x00\x01"])
def test_mmpose_names_that_cannot_be_printed(mmpose_folder, name):
    path = mmpose_folder / "annotation_body3d/fps50/h36m_test.npz"
    whole = path.read_bytes()
    with np.load(path) as file:
        content = {key: file[key] for key in file.files}
    content["imgname"] = content["imgname"].astype(object)
    content["imgname"][3] = name
    np.savez(path, **content)
    with pytest.raises(H36MError, match="image name .* in row 3") as caught:
        mmpose.read(mmpose_folder)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 600
    path.write_bytes(whole)


# --- MotionBERT


@pytest.fixture(scope="module")
def motionbert_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("motionbert")
    write_motionbert.write(DATASET, folder)
    return folder


@CASES
@pytest.mark.parametrize(
    "key", ["joint_2d", "joint3d_image", "confidence", "2.5d_factor", "source", "camera_name", "test", "all"]
)
def test_motionbert_pickle(motionbert_folder, key, case):
    path = motionbert_folder / motionbert.PICKLE
    whole = path.read_bytes()
    data = pickle.loads(whole)
    shape = data["test"][key].shape if key in data["test"] else (ROWS, 17, 3)
    value = absurd(*shape)[case]
    if key in ("source", "camera_name") and case == "strings":
        value = np.zeros((ROWS, 2))
    if key == "confidence" and case == "one axis more":
        value = np.zeros((ROWS, 17, 2))
    if key in ("test", "all"):
        data = {"train": data["train"], "test": value} if key == "test" else value
    else:
        data["test"][key] = value
    path.write_bytes(pickle.dumps(data))
    try:
        if case == "bytes" and key in ("source", "camera_name"):  # text, but not that
            with pytest.raises(H36MError, match="is not like|one camera a source"):
                motionbert.read(motionbert_folder)
        else:
            refused(lambda: motionbert.read(motionbert_folder, "sh"), str(path), "" if key == "all" else key)
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize("case", absurd(243, 17, 3))
@pytest.mark.parametrize("key", ["data_input", "data_label", "all"])
def test_motionbert_clips(tmp_path, key, case):
    home = tmp_path / "MB3D_f243s81" / "H36M-SH" / "train"
    home.mkdir(parents=True)
    clip = {name: np.zeros((243, 17, 3), np.float32) for name in ("data_input", "data_label")}
    (home / "00000001.pkl").write_bytes(pickle.dumps(clip))
    value = absurd(243, 17, 3)[case]
    for name in ("00000000.pkl", "00000002.pkl"):  # what comes first sets the length
        (home / name).write_bytes(pickle.dumps(value if key == "all" else {**clip, key: value}))
        refused(lambda: motionbert.read_slices(tmp_path), str(home / name), "data_input" if key == "all" else key)
        (home / name).unlink()


# --- the official files


H5 = ("ragged", "strings", "complex", "one axis more", "no axis", "group", "empty", "structure", "other rows", "huge")


@pytest.mark.parametrize("case", H5)
def test_official_h5(tmp_path, case):
    h5py = pytest.importorskip("h5py", reason="pip install h5py to test the 3D-pose-baseline's files")
    path = tmp_path / "S9/MyPoses/3D_positions/Walking.h5"
    path.parent.mkdir(parents=True)
    key = "3D_positions"
    with h5py.File(path, "w") as file:
        if case == "group":
            file.create_group(key)
        elif case == "empty":
            file.create_dataset(key, data=h5py.Empty("f8"))
        elif case == "huge":
            file.create_dataset(key, (96, 10**12), "f8", chunks=(96, 100))
        else:
            kind = {"ragged": h5py.vlen_dtype(float), "strings": "S5", "complex": "c16", "structure": [("a", "f8")]}
            shape = {"one axis more": (96, 3, 1), "no axis": (), "other rows": (90, 3)}
            file.create_dataset(key, shape.get(case, (96, 3)), kind.get(case, "f8"))
    if case in ("group", "empty"):
        with pytest.raises(H36MError, match="Walking.h5 cannot be read"):
            official.read(tmp_path)
    else:
        refused(lambda: official.read(tmp_path), str(path), key)


@pytest.mark.parametrize("case", ["rank", "records", "whole numbers", "text", "complex"])
def test_official_cdf(tmp_path, case):
    cdfwrite = pytest.importorskip("cdflib.cdfwrite", reason="pip install cdflib to test the official files")
    path = tmp_path / "S9/MyPoseFeatures/D3_Positions/Walking.cdf"
    path.parent.mkdir(parents=True)
    kind, shape, data = {
        "rank": (44, (2, 3, 96), np.zeros((1, 2, 3, 96), np.float32)),
        "records": (44, (3, 96), np.zeros((2, 3, 96), np.float32)),
        "whole numbers": (4, (3, 96), np.zeros((1, 3, 96), np.int32)),
        "text": (51, (), ["1.5"] * 288),
        "complex": (32, (3, 96), np.zeros((1, 3, 96), complex)),
    }[case]
    with cdfwrite.CDF(path, cdf_spec={"rDim_sizes": []}, delete=True) as file:
        spec = {"Variable": "Pose", "Data_Type": kind, "Rec_Vary": True, "Dim_Sizes": list(shape)}
        file.write_var(spec | {"Num_Elements": 3 if case == "text" else 1}, var_data=data)
    refused(lambda: official.read(tmp_path), str(path), "Pose")


# --- our own


@pytest.fixture(scope="module")
def own_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    own.write(DATASET, folder)
    return folder


@pytest.mark.parametrize("case", absurd(2, 17, 3))
@pytest.mark.parametrize("name", own.ARRAYS)
def test_own_arrays(own_folder, name, case):
    path = own_folder / f"{name}.npy"
    whole = path.read_bytes()
    value = absurd(DATASET.frames, *own.ARRAYS[name][0])[case]
    np.save(path, value if isinstance(value, np.ndarray) else in_object(value))
    try:
        for verify in (True, False):
            refused(lambda verify=verify: own.read(own_folder, verify=verify), str(path), "float32")
    finally:
        path.write_bytes(whole)


def test_own_claims_more_rows_than_there_are(own_folder):
    path = own_folder / "points3d.npy"
    whole = path.read_bytes()
    with open(path, "wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (10**12, 17, 3)}
        np.lib.format.write_array_header_1_0(file, header)
    refused(lambda: own.read(own_folder), str(path), "float32 (rows, 17, 3)")
    path.write_bytes(whole)


def test_own_index_is_quoted_in_short(own_folder):
    path = own_folder / "mocap3d.json"
    text = path.read_text()
    index = json.loads(text)
    for changed in (
        {"pose2d": ESCAPE * 1000},
        {"format": ["x"] * 10**4},
        {"version": ESCAPE * 1000},
        {"version": 10**4000},
        {"clips": [{**index["clips"][0], "image_size": ["x"] * 10**4}]},
        {"clips": [{ESCAPE * 1000: 3}]},
        {"arrays": {**index["arrays"], "points3d": {"rows": [ESCAPE] * 10**4, "crc32": 0}}},
    ):
        path.write_text(json.dumps(index | changed))
        with pytest.raises(H36MError) as caught:
            own.read(own_folder, "gt", verify=False)
        assert str(caught.value).isprintable() and len(str(caught.value)) < 500
    path.write_text(text)
