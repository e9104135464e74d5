"""MotionBERT's layout: columns, image space, depth out of four views, names of takes, and what must be refused."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_scripts.h36m_writers.motionbert import write
from mocap3d.camera import h36m_cameras
from mocap3d.data.dataset import PoseDataset, film
from mocap3d.data.h36m import motionbert
from mocap3d.data.h36m.facts import EXCLUSIONS, H36MError
from mocap3d.data.loading import load_dataset
from mocap3d.evaluation.baselines import MeanPose
from mocap3d.evaluation.evaluate import evaluate
from mocap3d.formats.pickles import UnsafeFileError
from mocap3d.poses import Pose3D
from tests.toys import body, sticks

CASES = int(os.environ.get("MOCAP3D_FUZZ", "100"))


def both(takes: int = 2, frames: int = 12) -> PoseDataset:
    return PoseDataset("sticks", sticks(takes, frames).clips + sticks(takes, frames, split="test").clips)


@pytest.fixture
def folder(tmp_path):
    write(both(), tmp_path)
    return tmp_path


def raw(folder) -> dict:
    """The file; its strings as lists, which it may hold as well as arrays."""
    data = pickle.loads((folder / motionbert.PICKLE).read_bytes())
    words = ("camera_name", "source", "action")
    return {s: {k: list(map(str, v)) if k in words else v for k, v in data[s].items()} for s in data}


def change(folder, edit):
    data = raw(folder)
    edit(data)
    (folder / motionbert.PICKLE).write_bytes(pickle.dumps(data))


def by_view(clips) -> dict:
    return {(clip.take, clip.camera.name): clip for clip in clips}


def test_round_trip(folder):
    notes = []
    read, written = motionbert.read(folder, notes=notes), by_view(both())
    assert len(read) == len(written) == 16
    for clip in read:
        other = written[clip.take, clip.camera.name]
        np.testing.assert_allclose(clip.pose3d.points, other.pose3d.points, atol=1e-5)
        np.testing.assert_allclose(clip.pose2d.points, other.pose2d.points, atol=0.01)
        for label in ("subject", "action", "split", "source", "licence"):
            assert getattr(clip, label) == getattr(other, label)
    assert len(notes) == 1 and "differ by" in notes[0]


def test_columns_are_as_published(folder):
    data, dataset = raw(folder), both()
    common = {"joint_2d", "confidence", "joint3d_image", "camera_name", "source"}
    assert set(data["train"]) == common
    assert set(data["test"]) == common | {"action", "2.5d_factor", "joints_2.5d_image"}
    for split in ("train", "test"):
        rows = sum(map(len, dataset.select(split=split)))
        assert {len(column) for column in data[split].values()} == {rows}
        assert all(source[:-6] in source and source[-6:-2] == "_ca_" for source in data[split]["source"])
    test = data["test"]
    assert test["source"][0] == "s_09_act_17_subact_01_ca_01" and set(test["action"]) == {"Wave", "Turn"}
    changes = sum(a != b for a, b in zip(test["source"][1:], test["source"][:-1], strict=True))
    assert changes + 1 == len(set(test["source"])) == len(dataset.test), "rows of a source lie together"


def test_image_space_is_as_published(folder):
    """u, v of the pinhole; depth times the pixels of 2 m at the root over 2 m; and mm = pixels times factor."""
    test, clip = raw(folder)["test"], both().test[1]
    rows = [row for row, source in enumerate(test["source"]) if source == "s_09_act_18_subact_01_ca_02"]
    image, factor = test["joint3d_image"][rows].astype(float), test["2.5d_factor"][rows].astype(float)
    points, camera = clip.pose3d.points.astype(float), clip.camera
    assert camera.name == "55011271"
    uv = points[..., :2] / points[..., 2:] * camera.focal + camera.centre
    np.testing.assert_allclose(image[..., :2], uv, atol=1e-3)
    box = camera.focal[0] * 2000 / (points[:, 0, 2] * 1000)  # px that 2 m span at the root
    np.testing.assert_allclose(factor, 2000 / (box + 1), rtol=1e-6)
    depth = (points[..., 2] - points[:, :1, 2]) * 1000 * ((box + 1) / 2000)[:, None]
    np.testing.assert_allclose(image[..., 2], depth, atol=1e-3)
    np.testing.assert_allclose(test["joints_2.5d_image"][rows], image * factor[:, None, None], rtol=1e-5)


def test_detections_and_confidence(tmp_path):
    noisy = both().with_detections("sh", seed=5)
    write(noisy, tmp_path)
    truth, detected = by_view(both()), by_view(noisy)
    for clip in motionbert.read(tmp_path):
        other = truth[clip.take, clip.camera.name].pose2d
        np.testing.assert_allclose(clip.pose2d.points, other.points, atol=0.01)
    for clip in motionbert.read(tmp_path, "sh_ft_h36m"):
        other = detected[clip.take, clip.camera.name].pose2d
        np.testing.assert_array_equal(clip.pose2d.points, other.points)
        np.testing.assert_array_equal(clip.pose2d.confidence, other.confidence)
    for shape in ((-1, 17, 1), None):

        def edit(data, shape=shape):
            for split in data.values():
                confidence = split.pop("confidence")
                if shape:
                    split["confidence"] = confidence.reshape(shape)

        change(tmp_path, edit)
        clip = motionbert.read(tmp_path, "sh")[0]
        wanted = detected[clip.take, clip.camera.name].pose2d.confidence if shape else 1
        np.testing.assert_array_equal(clip.pose2d.confidence, np.broadcast_to(wanted, (len(clip), 17)))


def test_its_own_detections_are_read_unless_asked_otherwise(tmp_path):
    detected = both().with_detections("sh", seed=4)
    write(detected, tmp_path)
    dataset, truth = load_dataset("h36m", tmp_path), load_dataset("h36m", tmp_path, "gt")
    assert "2D: the sh detections of the files" in dataset.notes and "2D: projected truth" in truth.notes
    wanted = by_view(detected)
    for clip in dataset:
        np.testing.assert_array_equal(clip.pose2d.points, wanted[clip.take, clip.camera.name].pose2d.points)
    sources = [evaluate(MeanPose().fit(d.train), d.test, "mmpose").protocol.pose2d for d in (truth, dataset)]
    assert sources[0].startswith("ground truth") and "sh detections of the files" in sources[1]


def test_the_factor_in_the_file_is_kept_apart_from_the_computed_one(folder):
    change(folder, lambda data: data["test"].update({"2.5d_factor": data["test"]["2.5d_factor"] * 1.01}))
    notes, plain = [], by_view(both())
    for clip in motionbert.read(folder, notes=notes):
        np.testing.assert_allclose(clip.pose3d.points, plain[clip.take, clip.camera.name].pose3d.points, atol=1e-5)
    assert float(notes[0].split("computed from the camera differ by ")[1].split()[0]) > 0.02
    factors = motionbert.read_factors(folder)
    assert set(factors) == {key for key, clip in plain.items() if clip.split == "test"}
    clip = both().test[0]
    span = 2 * clip.camera.focal[0] / clip.pose3d.points[:, 0, 2]
    np.testing.assert_allclose(factors[clip.take, clip.camera.name], 1.01 * 2000 / (span + 1), rtol=1e-5)


def keep(data, condition):
    for split, columns in data.items():
        rows = [row for row, source in enumerate(columns["source"]) if condition(source)]
        data[split] = {
            key: value[rows] if isinstance(value, np.ndarray) else [value[row] for row in rows]
            for key, value in columns.items()
        }


def test_a_single_view_takes_its_depth_from_the_factor(folder):
    change(folder, lambda data: keep(data, lambda source: source.endswith("ca_03")))
    notes, plain = [], by_view(both())
    clips = motionbert.read(folder, notes=notes)
    assert len(clips) == 2 and {clip.split for clip in clips} == {"test"}
    for clip in clips:
        assert clip.camera.name == "58860488"
        np.testing.assert_allclose(clip.pose3d.points, plain[clip.take, clip.camera.name].pose3d.points, atol=1e-3)
    assert sum("left out" in note for note in notes) == 2 and sum("file's factor" in note for note in notes) == 2
    assert not any("differ by" in note for note in notes), "a factor is not compared with itself"


def test_views_of_different_moments_are_not_triangulated(folder):
    def shift(data):
        rows = [row for row, source in enumerate(data["test"]["source"]) if source == "s_09_act_18_subact_01_ca_01"]
        data["test"]["joint3d_image"][rows] = data["test"]["joint3d_image"][rows][::-1].copy()

    change(folder, shift)
    notes = []
    assert len(motionbert.read(folder, notes=notes)) == 16
    assert sum("do not fit" in note for note in notes) == 1


def test_sub_actions_follow_the_metadata():
    """The three takes that MotionBERT skips, and the pairs SPEC'd for other subjects."""
    names = motionbert.source_names(
        [
            "S9/Greeting",
            "S9/Greeting 1",
            "S9/SittingDown",
            "S9/SittingDown 1",
            "S9/Waiting",
            "S9/Waiting 1",
            "S11/Phoning 2",
            "S11/Phoning 3",
            "S1/Eating",
            "S1/Eating 2",
            "S1/SittingDown 2",
            "S1/SittingDown",
            "S5/Directions 1",
            "S5/Directions 2",
            "S6/Photo",
            "S6/Photo 1",
            "S8/Photo",
            "S8/Photo 1",
        ]
    )
    skipped = {tuple(take.split("/")) for take, name in names.items() if name in motionbert.SKIPPED}
    assert skipped == EXCLUSIONS["motionbert"].takes
    assert names["S11/Phoning 2"] == "s_11_act_06_subact_01" and names["S11/Phoning 3"][-2:] == "02"
    assert names["S1/Eating"][-2:] == "02" and names["S1/SittingDown"][-2:] == "02"
    assert names["S6/Photo"] == "s_06_act_12_subact_01" and names["S8/Photo"] == "s_08_act_12_subact_02"
    assert len(set(names.values())) == len(names)


def test_made_up_takes_never_get_a_name_the_evaluator_skips(tmp_path):
    clips = []
    for number in range(3):
        for action in ("Greeting", "Waiting", "SittingDown"):
            pose = Pose3D(body(4, seed=number))
            clips += film(
                pose, h36m_cameras("S9"), subject="S9", action=action, take=f"{action}-{number}", split="test"
            )
    write(PoseDataset("made up", tuple(clips)), tmp_path)
    sources = {source[:-6] for source in raw(tmp_path)["test"]["source"]}
    assert len(sources) == 9 and not sources & set(motionbert.SKIPPED)
    assert {clip.take for clip in motionbert.read(tmp_path)} == {clip.take for clip in clips}


def test_a_file_without_our_labels_is_named_by_what_it_says(folder):
    (folder / "takes.json").unlink()

    def rename(data):
        data["test"]["source"] = np.array(
            [s.replace("act_18", "act_05").replace("act_17", "act_04") for s in data["test"]["source"]]
        )
        data["test"]["camera_name"] = np.array(data["test"]["camera_name"])

    change(folder, rename)
    clips = motionbert.read(folder / motionbert.PICKLE, subjects=["S9"])
    assert {c.take for c in clips} == {"S9/Greeting 1", "S9/Eating subaction 1"}
    assert {c.action for c in clips} == {"Greeting", "Eating"} and clips[0].licence.startswith("Human3.6M")


def test_slices(tmp_path):
    rng = np.random.default_rng(0)
    home = tmp_path / "MB3D_f243s81" / "H36M-SH" / "train"
    home.mkdir(parents=True)
    clips = rng.normal(size=(3, 2, 243, 17, 3)).astype(np.float32)
    for number, (data_input, data_label) in enumerate(clips):
        (home / f"{number:08d}.pkl").write_bytes(pickle.dumps({"data_input": data_input, "data_label": data_label}))
    inputs, labels = motionbert.read_slices(tmp_path)
    np.testing.assert_array_equal(inputs, clips[:, 0])
    np.testing.assert_array_equal(labels, clips[:, 1])
    assert len(motionbert.read_slices(tmp_path / "MB3D_f243s81", limit=2)[0]) == 2
    with pytest.raises(H36MError, match="read_slices"):
        motionbert.read(tmp_path)
    with pytest.raises(H36MError, match="no clips"):
        motionbert.read_slices(tmp_path, "test")
    (home / "00000001.pkl").write_bytes(pickle.dumps({"data_input": clips[0, 0], "data_label": clips[0, 1, :5]}))
    with pytest.raises(H36MError, match="00000001.pkl: data_input and data_label"):
        motionbert.read_slices(tmp_path)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda d: d.pop("joint3d_image"), "joint3d_image is NoneType"),
        (lambda d: d.update(joint3d_image=d["joint3d_image"][:-1]), "joint3d_image is"),
        (lambda d: d.update(joint_2d=d["joint_2d"][..., :1]), "joint_2d is"),
        (lambda d: d.update(confidence=d["confidence"][:, :5]), "confidence is"),
        (lambda d: d.update(source=d["source"][:-1]), "source must be a list"),
        (lambda d: d["source"].__setitem__(0, "walk"), "is not like s_09"),
        (lambda d: d["source"].__setitem__(-1, d["source"][0]), "comes twice"),
        (lambda d: d["camera_name"].__setitem__(0, "cam"), "one camera a source"),
        (lambda d: d.update(source=[s.replace("s_09", "s_02") for s in d["source"]]), "subject S2"),
        (lambda d: d.update({"2.5d_factor": d["2.5d_factor"][:, None]}), "2.5d_factor is"),
    ],
)
def test_what_is_wrong_is_said(folder, edit, says):
    change(folder, lambda data: edit(data["test"]))
    with pytest.raises(H36MError, match=says):
        motionbert.read(folder)


def test_calls_that_cannot_be_answered(folder, tmp_path_factory):
    for options, says in (({"pose2d": "cpn"}, "'gt' and 'sh'"), ({"subjects": ["S8"]}, "no take")):
        with pytest.raises(H36MError, match=says):
            motionbert.read(folder, **options)
    with pytest.raises(H36MError, match="docs/pose3d.md"):
        motionbert.read(tmp_path_factory.mktemp("empty"))
    assert motionbert.find(folder / "nowhere") is None


JUNK = (
    None,
    "x",
    -1,
    {},
    [],
    ["x"],
    [1.0],
    np.zeros(3),
    np.array(["a"]),
    np.array(5.0),
    np.array([None, 1], object),
    np.full((96, 17, 3), np.nan),
    np.zeros((96, 17, 3)),
    np.full((96, 17, 3), 1e300),
    np.zeros((96, 17, 3), int),
    np.full(96, -1.0),
    np.zeros(96),
    np.full(96, 2000.0),
    np.full(96, np.nan),
    np.full((96, 17), np.inf),
    [b"\xff"] * 96,
    ["s_99_act_05_subact_02_ca_01"] * 96,
    ["s_09_act_05_subact_02_ca_09"] * 96,
    ["54138969"] * 96,
)


@pytest.fixture(scope="module")
def spoil_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    small = both(2, 10)
    write(PoseDataset("small", small.test.clips), folder)
    return folder, (folder / motionbert.PICKLE).read_bytes(), (folder / "takes.json").read_bytes()


@settings(max_examples=CASES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_files_raise_documented_errors_only(spoil_folder, data):
    folder, original, labels = spoil_folder
    content = bytearray(original)
    if data.draw(st.booleans()):
        for _ in range(data.draw(st.integers(1, 8))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    else:
        table = pickle.loads(original)
        for key in data.draw(st.sets(st.sampled_from([*table["test"], "confidence"]), min_size=1, max_size=2)):
            table["test"][key] = data.draw(st.sampled_from(JUNK))
        junk = data.draw(st.sampled_from(JUNK))
        content = pickle.dumps(data.draw(st.sampled_from([table, table, {"test": junk}, junk])))
    damaged = bytearray(labels)
    for _ in range(data.draw(st.integers(0, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    (folder / motionbert.PICKLE).write_bytes(content)
    (folder / "takes.json").write_bytes(damaged)
    try:
        motionbert.read(folder, data.draw(st.sampled_from(["gt", "sh"])))
        motionbert.read_factors(folder)
    except (H36MError, UnsafeFileError):
        pass
