"""MMPose's layout: rows, names, numbering, which lens its numbers mean, and what must be refused."""

from __future__ import annotations

import os
import pickle
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_scripts.h36m_writers.mmpose import write
from mocap3d.data.dataset import PoseDataset
from mocap3d.data.h36m import mmpose
from mocap3d.data.h36m.facts import H36MError
from mocap3d.data.h36m.load import recognise
from mocap3d.formats.pickles import UnsafeFileError
from tests.toys import sticks

CASES = int(os.environ.get("MOCAP3D_FUZZ", "100"))
ANNOTATION = "annotation_body3d/fps50/h36m_{}.npz"


def both(takes: int = 2, frames: int = 12) -> PoseDataset:
    return PoseDataset("sticks", sticks(takes, frames).clips + sticks(takes, frames, split="test").clips)


@pytest.fixture
def folder(tmp_path):
    write(both(), tmp_path, original=True)
    return tmp_path


def columns(path) -> dict[str, np.ndarray]:
    with np.load(path) as file:  # plain arrays: the published reader does not allow pickles either
        return {key: file[key] for key in file.files}


def change(folder, edit, split="test"):
    """Edit the columns of an annotation file where it lies."""
    path = folder / ANNOTATION.format(split)
    data = columns(path)
    edit(data)
    np.savez(path, **data)


def published_name(imgname: str) -> tuple[str, str, str]:
    """Subject, action and camera as the published reader takes them from an image name."""
    base = imgname.rsplit("/", 1)[-1]
    subject, rest = base.split("_", 1)
    action, rest = rest.split(".", 1)
    return subject, action, rest.split("_", 1)[0]


def simple_camera(entry, points, cross):
    """(T, J, 2) pixels from camera-frame points; cross 2 is OpenCV's and MMPose's formula, 1 is the half form."""
    (fx, fy), (cx, cy) = entry["f"].ravel(), entry["c"].ravel()
    (k1, k2, k3), (p1, p2) = entry["k"].ravel(), entry["p"].ravel()
    x, y = points[..., 0] / points[..., 2], points[..., 1] / points[..., 2]
    r2 = x**2 + y**2
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    tangent = cross * (p2 * x + p1 * y)
    u, v = x * (radial + tangent) + p2 * r2, y * (radial + tangent) + p1 * r2
    return np.stack([fx * u + cx, fy * v + cy], -1)


def entries(folder) -> dict:
    return pickle.loads((folder / "annotation_body3d" / "cameras.pkl").read_bytes())


def test_round_trip(folder):
    notes = []
    read, written = mmpose.read(folder, notes=notes), {(c.take, c.camera.name): c for c in both()}
    assert len(read) == len(written) == 16 and notes == []
    for clip in read:
        other = written[clip.take, clip.camera.name]
        np.testing.assert_allclose(clip.pose3d.points, other.pose3d.points, atol=1e-6)
        np.testing.assert_allclose(clip.pose2d.points, other.pose2d.points, atol=1e-4)
        for label in ("subject", "action", "split", "source", "licence"):
            assert getattr(clip, label) == getattr(other, label)
        assert clip.camera.distortion_model == "videopose3d" and clip.pose3d.fps == 50
        np.testing.assert_allclose(clip.camera.distortion, other.camera.distortion, rtol=1e-12)
        np.testing.assert_allclose(clip.camera.translation, other.camera.translation, atol=1e-9)


def test_rows_are_as_published(folder):
    data = columns(folder / ANNOTATION.format("train"))
    rows = sum(map(len, both().train))
    assert data["imgname"].shape == (rows,) and data["imgname"].dtype.kind == "U"
    assert data["part"].shape == (rows, 17, 3) and data["S"].shape == (rows, 17, 4)
    assert all(data[key].dtype == np.float64 for key in ("part", "S", "center", "scale"))
    assert (data["S"][..., 3] == 1).all() and (data["part"][..., 2] == 1).all()
    low, high = data["part"][..., :2].min(1), data["part"][..., :2].max(1)
    np.testing.assert_allclose(data["center"], (low + high) / 2)
    np.testing.assert_allclose(data["scale"], (high - low).max(1) * 1.2 / 200)
    name = data["imgname"][0]
    assert re.fullmatch(r"S1/(S1_Wave_1\.54138969)/\1_000001\.jpg", name)
    assert published_name(name) == ("S1", "Wave_1", "54138969")
    assert [int(n[-10:-4]) for n in data["imgname"][:12]] == list(range(1, 13))
    assert set(map(published_name, data["imgname"])) <= {
        (s, a, c) for (s, c) in entries(folder) for a in ("Wave_1", "Turn_1")
    }


def test_the_lens_is_the_half_form_and_the_cameras_are_the_worlds(folder):
    data, cameras = columns(folder / ANNOTATION.format("test")), entries(folder)
    world = both().test[0]
    world = world.camera.camera_to_world(world.pose3d.points.astype(np.float64))
    for camera in ("54138969", "55011271", "58860488", "60457274"):
        rows = [row for row, name in enumerate(data["imgname"]) if published_name(name)[1:] == ("Wave_1", camera)]
        entry, points, part = cameras["S9", camera], data["S"][rows, :, :3], data["part"][rows, :, :2]
        assert np.abs(simple_camera(entry, points, 1) - part).max() < 1e-3
        assert np.abs(simple_camera(entry, points, 2) - part).max() > 0.01
        np.testing.assert_allclose((world - entry["T"].T) @ entry["R"], points, atol=1e-5)
        assert (entry["w"], entry["h"]) == (1000, 1002 if camera in ("54138969", "60457274") else 1000)
        assert entry["k"].shape == (3, 1) and entry["p"].shape == entry["f"].shape == entry["c"].shape == (2, 1)


def test_a_file_made_with_the_full_cross_term_is_declared_so(folder):
    cameras = entries(folder)

    def project_as_simple_camera(data):
        for row, name in enumerate(data["imgname"]):
            subject, _, camera = published_name(name)
            data["part"][row, :, :2] = simple_camera(cameras[subject, camera], data["S"][row, :, :3], 2)

    change(folder, project_as_simple_camera)
    notes = []
    clips = mmpose.read(folder, notes=notes)
    assert {(c.split, c.camera.distortion_model) for c in clips} == {("train", "videopose3d"), ("test", "opencv")}
    for clip in clips:
        np.testing.assert_allclose(clip.camera.project(clip.pose3d.points), clip.pose2d.points, atol=0.01)
    assert notes == []


def test_truth_by_another_lens_is_projected_anew(tmp_path):
    plain = both()
    flat = [replace(c.camera, distortion=(0.0,) * 5, distortion_model="none") for c in plain]
    clips = [replace(c, camera=k, pose2d=c.pose3d.project(k)) for c, k in zip(plain, flat, strict=True)]
    write(replace(plain, clips=tuple(clips)), tmp_path)
    assert mmpose.find(tmp_path).detections == {}, "truth is no detection"
    for clip in mmpose.read(tmp_path):
        other = next(c for c in plain if (c.take, c.camera.name) == (clip.take, clip.camera.name))
        np.testing.assert_allclose(clip.pose2d.points, other.pose2d.points, atol=1e-3)


def test_pixels_without_a_lens_are_declared_so(folder):
    def unlens(data):
        for row, name in enumerate(data["imgname"]):
            entry = entries(folder)[published_name(name)[0], published_name(name)[2]]
            points = data["S"][row, :, :3]
            data["part"][row, :, :2] = points[:, :2] / points[:, 2:] * entry["f"].T + entry["c"].T

    change(folder, unlens)
    assert {c.camera.distortion_model for c in mmpose.read(folder) if c.split == "test"} == {"none"}


def test_detections_lie_beside_the_truth(tmp_path):
    truth = both()
    noisy = truth.with_detections("cpn", seed=3)
    write(noisy, tmp_path)
    for seen, detected in zip(mmpose.read(tmp_path), mmpose.read(tmp_path, "cpn"), strict=True):
        noise = next(c for c in noisy if (c.take, c.camera.name) == (seen.take, seen.camera.name))
        clip = next(c for c in truth if (c.take, c.camera.name) == (seen.take, seen.camera.name))
        np.testing.assert_allclose(seen.pose2d.points, clip.pose2d.points, atol=1e-3)
        np.testing.assert_allclose(detected.pose2d.points, noise.pose2d.points, atol=1e-4)
        np.testing.assert_allclose(detected.pose2d.confidence, noise.pose2d.confidence, atol=1e-6)


def test_fps10_keeps_every_fifth_frame_under_its_old_number(tmp_path):
    write(both(frames=23), tmp_path, fps=10)
    data = columns(tmp_path / "annotation_body3d/fps10/h36m_train.npz")
    assert [int(n[-10:-4]) for n in data["imgname"][:5]] == [1, 6, 11, 16, 21]
    clip, whole = mmpose.read(tmp_path)[0], both(frames=23)[0]
    assert clip.pose3d.fps == 10 and len(clip) == 5
    np.testing.assert_allclose(clip.pose3d.points, whole.pose3d.points[::5], atol=1e-6)
    (tmp_path / "annotation_body3d/fps10").rename(tmp_path / "annotation_body3d/fps50")
    with pytest.raises(H36MError, match="another rate"):  # 1, 6, 11, ... are no 50 fps video
        mmpose.read(tmp_path)


def test_statistics_of_the_training_split(folder):
    data = columns(folder / ANNOTATION.format("train"))
    poses = data["S"][..., :3]
    for name, values in (
        ("joint3d", poses),
        ("joint3d_rel", poses[:, 1:] - poses[:, :1]),
        ("joint2d", data["part"][..., :2]),
    ):
        stats = pickle.loads((folder / f"annotation_body3d/fps50/{name}_stats.pkl").read_bytes())
        np.testing.assert_allclose(stats["mean"], values.mean(0))
        np.testing.assert_allclose(stats["std"], np.sqrt(((values - values.mean(0)) ** 2).mean(0)))


def test_factors_and_original_annotation(folder):
    factors, clips = mmpose.read_factors(folder), mmpose.read(folder, annotation="original")
    assert {c.split for c in clips} == {"train", "test"}
    for clip in clips:
        if clip.split == "test":
            factor = factors[clip.take, clip.camera.name]
            root = clip.pose3d.points[:, 0].astype(np.float64)
            span = clip.camera.focal[0] * ((root[:, 0] + 1) - (root[:, 0] - 1)) / root[:, 2]
            np.testing.assert_allclose(factor, 2000 / (span + 1), rtol=1e-6)


def test_found_from_every_level_and_without_its_extras(folder):
    for level in (folder, folder / "annotation_body3d", folder / "annotation_body3d" / "fps50"):
        files = mmpose.find(level)
        assert files.root == folder and set(files.annotations) == {"train", "test"} and files.fps == 50
    assert mmpose.find(folder, fps=10) is None and mmpose.find(folder / "elsewhere") is None
    (folder / "annotation_body3d" / "cameras.pkl").unlink()
    notes = []
    assert len(mmpose.read(folder, subjects=["S9"], notes=notes)) == 8 and "cameras.pkl is absent" in notes[0]
    assert "annotation_body3d/cameras.pkl" in dict(recognise(folder).missing["mmpose"])


def test_a_short_video_is_noticed_by_count_and_by_geometry(folder):
    def shorten(data):
        data["imgname"] = np.delete(data["imgname"], 11)  # the last frame of the first video

    path = folder / ANNOTATION.format("test")
    original = path.read_bytes()
    change(folder, shorten)
    with pytest.raises(H36MError, match="image names for .* rows of S"):
        mmpose.read(folder)
    path.write_bytes(original)

    def slip(data):  # two errors that hide each other in the count
        data["imgname"] = np.append(np.delete(data["imgname"], 11), data["imgname"][-1].replace("_0000", "_0001"))

    change(folder, slip)
    with pytest.raises(H36MError, match="names have slipped"):
        mmpose.read(folder)


def test_a_gap_makes_two_clips(folder):
    def cut(data):
        for key in data:
            data[key] = np.delete(data[key], [4, 5], axis=0)

    change(folder, cut)
    notes = []
    clips = [c for c in mmpose.read(folder, notes=notes) if c.take.startswith("test-0-0")]
    assert [(c.take, len(c)) for c in clips[:2]] == [("test-0-0:1-4", 4), ("test-0-0:7-12", 6)]
    assert clips[0].recording == "test-0-0" and any("lacks frames" in note for note in notes)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda d: d.update(S=d["S"][..., :3]), r"S is .* it must be"),
        (lambda d: d.update(S=d["S"] * [1000, 1000, 1000, 1]), "metres"),
        (lambda d: d.update(part=d["part"][:-1]), "rows of part"),
        (lambda d: d.pop("imgname"), "imgname is missing"),
        (lambda d: d.update(imgname=np.array(["x.jpg"] * len(d["S"]))), "image name 'x.jpg'"),
        (lambda d: d.update(imgname=d["imgname"][::-1]), "do not rise"),
        (lambda d: d["S"].__setitem__((0, 0, 0), np.inf), "slipped|infinite"),
        (lambda d: d.update({key: value[:0] for key, value in d.items()}), "above 0"),
    ],
)
def test_what_is_wrong_is_said(folder, edit, says):
    change(folder, edit)
    with pytest.raises(H36MError, match=says):
        mmpose.read(folder)


def test_calls_that_cannot_be_answered(folder, tmp_path_factory):
    for options, says in (
        ({"pose2d": "sh"}, "has 'gt' and 'cpn'"),
        ({"pose2d": "cpn"}, "is missing"),
        ({"annotation": "best"}, "'mmpose' or 'original'"),
        ({"subjects": ["S2"]}, "no subject"),
        ({"fps": 10}, "annotation_body3d.*is missing"),
    ):
        with pytest.raises(H36MError, match=says):
            mmpose.read(folder, **options)
    with pytest.raises(H36MError, match="fps50 and fps10"):
        write(both(), tmp_path_factory.mktemp("x"), fps=25)
    with pytest.raises(H36MError, match="no camera"):
        path = folder / "annotation_body3d" / "cameras.pkl"
        path.write_bytes(pickle.dumps({key: value for key, value in entries(folder).items() if key[0] != "S9"}))
        mmpose.read(folder)


def test_hidden_joints_come_back_missing(folder):
    def hide(data):
        data["S"][0, 3], data["part"][0, 3] = 0, 0

    change(folder, hide)
    clip = mmpose.read(folder, subjects=["S9"])[0]
    assert np.isnan(clip.pose3d.points[0, 3]).all() and clip.pose2d.confidence[0, 3] == 0
    assert np.isnan(clip.pose3d.points).sum() == 3


@settings(max_examples=CASES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_files_raise_documented_errors_only(spoil_folder, data):
    folder, originals = spoil_folder
    name = data.draw(st.sampled_from(sorted(originals)))
    content = bytearray(originals[name])
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    try:
        (folder / name).write_bytes(content)
        mmpose.read(folder)
        mmpose.read_factors(folder)
    except (H36MError, UnsafeFileError):
        pass
    finally:
        (folder / name).write_bytes(originals[name])


JUNK = (
    None,
    "x",
    -1,
    1e300,
    {},
    [],
    np.nan,
    np.zeros(3),
    np.full((3, 3), np.nan),
    np.full((3, 3), 1e308),
    np.eye(3)[::-1],
    np.array(["a"]),
    np.zeros((2, 17, 4)),
    np.zeros((2, 17, 3), int),
    np.array(5.0),
    np.array([[1e200] * 3]),
)


@settings(max_examples=CASES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_sound_files_with_senseless_content_raise_documented_errors_only(spoil_folder, data):
    folder, originals = spoil_folder
    name = data.draw(st.sampled_from(["annotation_body3d/cameras.pkl", ANNOTATION.format("test")]))
    junk = data.draw(st.sampled_from(JUNK))
    try:
        if name.endswith("pkl"):
            cameras = pickle.loads(originals[name])
            key = data.draw(st.sampled_from([("S9", "54138969"), ("S9", "58860488")]))
            cameras[key][data.draw(st.sampled_from(list("RTfckpwh")))] = junk
            (folder / name).write_bytes(pickle.dumps(data.draw(st.sampled_from([cameras, {key: junk}, junk]))))
        else:
            content = columns(folder / name)
            key = data.draw(st.sampled_from(["imgname", "part", "S"]))
            if key != "imgname" and data.draw(st.booleans()):
                row, number = data.draw(st.integers(0, 5)), data.draw(st.floats(allow_infinity=True))
                content[key][row, data.draw(st.integers(0, 16)), data.draw(st.integers(0, 2))] = number
            else:
                content[key] = junk
            np.savez(folder / name, **content)
        mmpose.read(folder)
    except (H36MError, UnsafeFileError):
        pass
    finally:
        (folder / name).write_bytes(originals[name])


@pytest.fixture(scope="module")
def spoil_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    small = both(1, 3)
    write(replace(small, clips=small.test.clips), folder, original=True)
    names = ("h36m_test.npz", "h36m_test_original.npz", "h36m_factors.npy")
    paths = [folder / "annotation_body3d/cameras.pkl", *(folder / "annotation_body3d/fps50" / n for n in names)]
    return folder, {str(p.relative_to(folder)): p.read_bytes() for p in [*paths, folder / "takes.json"]}
