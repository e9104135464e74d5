"""Keypoint files of every program give the same pose; what is missing, wrong or doubtful is said."""

from __future__ import annotations

import json
import math
import pickle
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mocap3d.formats.keypoint_files import KeypointError, match_joints
from mocap3d.formats.keypoints import THRESHOLDS, read_keypoints
from mocap3d.lifting.lift import lift
from mocap3d.skeleton import BODY25, COCO17, HALPE26, MEDIAPIPE33, SKELETONS
from mocap3d.weights import load_shipped
from tests.formats import keypoint_texts as texts
from tests.formats.keypoint_texts import FRAMES, SIZE, motion

SPORTS2D = (
    "Hip RHip RKnee RAnkle RBigToe RSmallToe RHeel LHip LKnee LAnkle LBigToe LSmallToe LHeel Neck Head Nose "
    "RShoulder RElbow RWrist LShoulder LElbow LWrist"
).split()
C17, C25, C26, C33 = (motion(count) for count in (17, 25, 26, 33))
OPENPOSE18 = np.concatenate([C17[:, :1], C17[:, 5:7].mean(1, keepdims=True),
                             C17[:, [6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3]]], 1)  # fmt: skip
GIVEN = {"fps": 30, "image_size": SIZE}
# name -> bytes, skeleton, the points in it, program, what has to be given
FILES = {
    "alphapose": (texts.alphapose(C17), "coco17", C17, "AlphaPose", GIVEN),
    "alphapose with ids": (texts.alphapose(C26, ids=True), "halpe26", C26, "AlphaPose", GIVEN),
    "alphapose cmu": (texts.alphapose_by_picture(OPENPOSE18), "coco17", C17, "AlphaPose", GIVEN),
    "alphapose open": (texts.alphapose_by_picture(OPENPOSE18, "people", "pose_keypoints_2d"), "coco17", C17,
                       "OpenPose", GIVEN),
    "mmpose": (texts.mmpose(C17), "coco17", C17, "MMPose", GIVEN),
    "mmpose from zero": (texts.mmpose(C26, first=0), "halpe26", C26, "MMPose", GIVEN),
    "mmpose with meta": (texts.mmpose(C17, {"dataset_name": "coco"}), "coco17", C17, "MMPose", GIVEN),
    "mmpose in h36m order": (
        texts.mmpose(C17, {"keypoint_id2name": {str(i): n for i, n in enumerate(SKELETONS["h36m17"].joints)}}),
        "h36m17", C17, "MMPose", GIVEN),
    "rtmlib": (texts.rtmlib(C26), "halpe26", C26, "rtmlib", {}),
    "rtmlib, whole clip": (texts.rtmlib_whole(C17), "coco17", C17, "rtmlib", GIVEN),
    "coco": (texts.coco(C17), "coco17", C17, "COCO", GIVEN),
    "coco from zero": (texts.coco(C17, first=0), "coco17", C17, "COCO", GIVEN),
    "coco-wholebody": (texts.coco(np.concatenate([C17, motion(116)], 1)), "coco17", C17, "COCO", GIVEN),
    "ultralytics": (texts.ultralytics(C17), "coco17", C17, "Ultralytics", GIVEN),
    "ultralytics, lines": (texts.ultralytics_lines(C17), "coco17", C17, "Ultralytics", GIVEN),
    "ultralytics, normalised": (texts.ultralytics(C17 / (*SIZE, 1)), "coco17", C17, "Ultralytics", GIVEN),
    "mediapipe": (texts.mediapipe(C33), "mediapipe33", C33, "MediaPipe", {"image_size": SIZE}),
    "mediapipe, pixels": (texts.mediapipe(C33, (1, 1)), "mediapipe33", C33, "MediaPipe", {"image_size": SIZE}),
    "mediapipe, legacy": (texts.mediapipe_legacy(C33), "mediapipe33", C33, "MediaPipe", GIVEN),
    "mediapipe, bare": (texts.mediapipe_bare(C33), "mediapipe33", C33, "MediaPipe", GIVEN),
    "videopose3d": (texts.videopose3d(C17), "coco17", C17, "VideoPose3D", {"fps": 30}),
    "deeplabcut": (texts.deeplabcut(C17, list(COCO17.joints)), "coco17", C17, "DeepLabCut", GIVEN),
    "sports2d": (texts.sports2d(C26[:, :22], SPORTS2D), "halpe26", None, "Sports2D", {"image_size": SIZE}),
    "table": (texts.table(C17, list(COCO17.joints)), "coco17", C17, "plain", {"image_size": SIZE}),
    "arrays": (texts.arrays(C25, fps=30.0, image_size=SIZE), "body25", C25, "plain", {}),
    "arrays, with skeleton": (texts.arrays(C17, fps=30.0, image_size=SIZE, skeleton="h36m17"), "h36m17", C17, "plain",
                              {}),
}  # fmt: skip


def read(folder, data: bytes, name="file.bin", **given):
    path = folder / name
    path.write_bytes(data)
    return read_keypoints(path, **given)


@pytest.mark.parametrize("name", FILES)
def test_every_program_gives_the_same_pose(name, tmp_path, capsys):
    data, skeleton, clip, program, given = FILES[name]
    pose = read(tmp_path, data, **given)
    assert (pose.skeleton.name, len(pose), pose.image_size) == (skeleton, FRAMES, SIZE)
    assert pose.fps == pytest.approx(30, rel=0.005)  # timestamps are whole milliseconds
    printed = capsys.readouterr().out
    assert printed.split(": ")[1].startswith(program) and f"{FRAMES} frames" in printed
    if clip is not None:
        np.testing.assert_allclose(pose.points, clip[..., :2], atol=0.01)
        if not name.startswith("videopose3d"):
            np.testing.assert_allclose(pose.confidence, clip[..., 2], atol=1e-6)
            assert ("below" in printed) == bool(THRESHOLDS[program])
    pose.convert("h36m17")


def test_joints_are_found_by_name(tmp_path):
    pose = read(tmp_path, FILES["sports2d"][0], image_size=SIZE)
    at = {name: i for i, name in enumerate(SPORTS2D)}
    for ours, theirs in {"left_knee": "LKnee", "neck": "Neck", "hip": "Hip", "right_small_toe": "RSmallToe"}.items():
        np.testing.assert_allclose(pose.points[:, HALPE26.index(ours)], C26[:, at[theirs], :2], atol=0.01)
    assert np.isnan(pose.points[:, HALPE26.index("left_eye")]).all()


@pytest.mark.parametrize(
    "pattern", ["{side}_{joint}", "{side} {joint}", "{joint}_{side}", "{Side}{Joint}", "{S}{Joint}", "{joint}.{s}"]
)
def test_ways_to_write_a_side(pattern):
    def write(joint):
        side, _, kind = joint.rpartition("_")
        if not side:
            return joint
        words = {"Side": side.title(), "Joint": kind.title(), "S": side[0].upper(), "s": side[0]}
        return pattern.format(side=side, joint=kind, **words)

    found = match_joints(tuple(write(joint) for joint in COCO17.joints), list(SKELETONS.values()))
    assert found == (COCO17, [(i, i) for i in range(17)])


def test_openpose_folder(tmp_path):
    for t, frame in enumerate(C25):
        if t != 3:  # a frame without a file, and frame 1 without anybody
            (tmp_path / f"walk_{t:012d}_keypoints.json").write_bytes(texts.openpose(None if t == 1 else frame))
    pose = read_keypoints(tmp_path, **GIVEN)
    assert pose.skeleton == BODY25 and len(pose) == FRAMES
    there = np.isfinite(pose.points).all((1, 2))
    assert there.tolist() == [True, False, True, False, True, True]
    np.testing.assert_allclose(pose.points[there], C25[there, :, :2], atol=0.01)
    one = read_keypoints(tmp_path / "walk_000000000000_keypoints.json", **GIVEN)
    assert len(one) == 1
    (tmp_path / "run_000000000000_keypoints.json").write_bytes(texts.openpose(C25[0]))
    with pytest.raises(KeypointError, match="several videos"):
        read_keypoints(tmp_path, **GIVEN)


def test_frames_without_anybody_are_kept(tmp_path, capsys):
    rows = json.loads(texts.alphapose(C17))
    pose = read(tmp_path, json.dumps(rows[2:3] + rows[4:]).encode(), frames=8, **GIVEN)
    assert np.isfinite(pose.points).all((1, 2)).tolist() == [False, False, True, False, True, True, False, False]
    assert pose.confidence[3].max() == 0 and "missing in 5 of 8 frames" in capsys.readouterr().out
    with pytest.raises(KeypointError, match="frames=3, but the file goes up to frame 5"):
        read(tmp_path, json.dumps(rows).encode(), frames=3, **GIVEN)


def test_zeros_and_no_confidence_are_missing(tmp_path, capsys):
    clip = C17.copy()
    clip[:, 9, :2] = 0  # left wrist at (0, 0) with high confidence
    clip[2, 3, 2] = 0
    clip[3, :, :] = 0
    pose = read(tmp_path, texts.coco(clip), **GIVEN)
    gone = np.zeros((FRAMES, 17), bool)
    gone[:, 9] = gone[2, 3] = gone[3] = True
    assert (np.isnan(pose.points).all(-1) == gone).all() and ((pose.confidence == 0) == gone).all()
    assert "23 joints at (0, 0) or with confidence 0 are missing" in capsys.readouterr().out


def test_thresholds(tmp_path, capsys):
    clip = C17.copy()
    clip[:, :4, 2] = 0.2
    assert np.isnan(read(tmp_path, texts.mmpose(clip), **GIVEN).points[:, :4]).all()
    assert "24 of 102 joints are below MMPose's threshold, 0.3" in capsys.readouterr().out
    assert np.isfinite(read(tmp_path, texts.mmpose(clip), threshold=0, **GIVEN).points).all()
    assert np.isnan(read(tmp_path, texts.mmpose(clip), threshold=1, **GIVEN).points).all()
    with pytest.raises(ValueError, match="threshold=30"):
        read(tmp_path, texts.mmpose(clip), threshold=30, **GIVEN)


@pytest.mark.parametrize("highest, text", [(1.02, "clipped to 1"), (8.3, "clipped to 1"), (98, "percent")])
def test_confidence_above_1(highest, text, tmp_path, capsys):
    clip = C17.copy()
    clip[..., 2] = highest
    confidence = read(tmp_path, texts.mmpose(clip), **GIVEN).confidence
    assert text in capsys.readouterr().out and confidence.min() == pytest.approx(1 if highest < 10 else 0.98)


def test_visibility_flags_of_annotations(tmp_path):
    clip = C17.copy()
    clip[..., 2] = 2
    clip[:, 3, 2] = 1
    clip[:, 4] = 0
    confidence = read(tmp_path, texts.coco(clip), **GIVEN).confidence
    assert confidence[:, :4].min() == 1 and confidence[:, 4].max() == 0


def test_what_the_file_lacks_has_to_be_given(tmp_path):
    with pytest.raises(KeypointError, match="frames per second.*pass fps=30.*image_size="):
        read(tmp_path, texts.coco(C17))
    with pytest.raises(KeypointError, match=r"does not hold the image's size: pass image_size=\(width, height\)"):
        read(tmp_path, texts.mediapipe(C33))
    assert read(tmp_path, texts.rtmlib(C26), fps=25, image_size=(640, 480)).fps == 25


# Several people


def crowd(ids: bool) -> list[dict]:
    """COCO results of a small person, present throughout, and a large one who is absent in frame 2."""
    rows = []
    for t in range(FRAMES):
        for k, scale in enumerate((0.3, 1)):
            if t != 2 or k == 0:
                frame = C17[t] * (scale, scale, 1) + (900 * k, 0, 0)
                row = {"image_id": t, "keypoints": frame.ravel().tolist(), "score": 0.5}
                rows.append(row | ({"track_id": 7 + k} if ids else {}))
        if t % 2:
            rows[-1], rows[-2] = rows[-2], rows[-1]  # the order says nothing
    return rows


@pytest.mark.parametrize("ids", [True, False])
def test_the_largest_of_several_people(ids, tmp_path, capsys):
    data = json.dumps(crowd(ids)).encode()
    pose = read(tmp_path, data, **GIVEN)
    there = np.arange(FRAMES) != 2
    np.testing.assert_allclose(pose.points[there], (C17[..., :2] + (900, 0))[there], atol=0.01)
    assert np.isnan(pose.points[2]).all()
    printed = capsys.readouterr().out
    assert "2 people" in printed and f"person={8 if ids else 0}" in printed and ("overlap" in printed) != ids
    small = read(tmp_path, data, person=7 if ids else 1, **GIVEN)
    np.testing.assert_allclose(small.points, C17[..., :2] * 0.3, atol=0.01)
    with pytest.raises(KeypointError, match="person=3 is not in the file"):
        read(tmp_path, data, person=3, **GIVEN)


def test_ids_that_are_not_unique_in_a_frame_are_no_ids(tmp_path):
    """AlphaPose without a tracker writes the same number for everybody."""
    rows = [row | {"image_id": f"{row['image_id']}.jpg", "idx": 0.0, "box": [1, 2, 3, 4]} for row in crowd(False)]
    pose = read(tmp_path, json.dumps(rows).encode(), **GIVEN)
    np.testing.assert_allclose(pose.points[0], C17[0, :, :2] + (900, 0), atol=0.01)


def test_videos_of_one_file_count_as_people(tmp_path, capsys):
    data = texts.videopose3d(C17, ("a.mp4", "b.mp4"))
    assert len(read(tmp_path, data, fps=30, person="b.mp4")) == FRAMES
    assert len(read(tmp_path, data, fps=30)) == FRAMES
    assert "2 people (ids of the file)" in capsys.readouterr().out


# Rates


def test_timestamps_of_a_whole_clip(tmp_path):
    data = texts.rtmlib_whole(C17)[:-1] + b', "timestamps": [0, 0.04, 0.08, 0.12, 0.16, 0.2]}'
    assert read(tmp_path, data, image_size=SIZE).fps == pytest.approx(25)
    with pytest.raises(KeypointError, match="5 timestamps for 6 frames"):
        read(tmp_path, data.replace(b", 0.2]", b"]"), image_size=SIZE)
    with pytest.raises(KeypointError, match="do not rise"):
        read(tmp_path, re.sub(rb", 0\.[0-9]+(?=[,\]])(?=[^\[]*}$)", b", 0", data), image_size=SIZE)


def test_the_rate_is_that_of_the_timestamps(tmp_path, capsys):
    assert read(tmp_path, texts.mediapipe(C33, step=0.04), image_size=SIZE).fps == 25
    assert "rate varies" not in capsys.readouterr().out
    frames = json.loads(texts.mediapipe(C33))
    frames[3]["timestamp_ms"] += 25
    assert read(tmp_path, json.dumps(frames).encode(), image_size=SIZE).fps == pytest.approx(30, rel=0.02)
    assert "rate varies: the timestamps are kept, up to 0.0" in capsys.readouterr().out


def test_timestamps_of_a_varying_rate_are_in_the_pose(tmp_path):
    """Also where the file leaves out frames; a rate that is given is taken for steady."""
    times = np.array([0, 33, 70, 140, 160, 201]) / 1000 + 5
    frames = json.loads(texts.mediapipe(C33))
    for frame, time in zip(frames, times, strict=True):
        frame["timestamp_ms"] = round(time * 1000)
    pose = read(tmp_path, json.dumps(frames).encode(), image_size=SIZE)
    np.testing.assert_allclose(pose.timestamps, times)
    np.testing.assert_array_equal(lift(pose, load_shipped("causal")).timestamps, pose.timestamps)
    assert read(tmp_path, json.dumps(frames).encode(), image_size=SIZE, fps=30).timestamps is None
    assert read(tmp_path, texts.mediapipe(C33), image_size=SIZE).timestamps is None  # whole milliseconds
    rows = [{"frame": 4 + i, "timestamp": time, "keypoints": C17[i].ravel().tolist()} for i, time in enumerate(times)]
    pose = read(tmp_path, json.dumps([rows[i] for i in (3, 0, 1, 5)]).encode(), image_size=SIZE, frames=8)
    expected = [*times[:2], times[1] + (times[3] - times[1]) / 2, times[3], (times[3] + times[5]) / 2, times[5]]
    np.testing.assert_allclose(pose.timestamps[:6], expected)
    np.testing.assert_allclose(np.diff(pose.timestamps[5:]), 1 / pose.fps)


# Damage


@pytest.mark.parametrize(
    "data, message",
    [
        (b"", "empty"),
        (b"[]", "nobody is in the file"),
        (b"{}", "nobody|layout"),
        (b"[1, 2]", "a frame holds int"),
        (b'[{"image_id": 1, "keypoints": [1, 2, 3, 4]}]', "damaged|joints|columns"),
        (b'[{"image_id": 1, "keypoints": [1, 2, 1]}]', "the file has 1 joints"),
        (b'{"keypoints": "none"}', "damaged"),
        (b"[" * 100_000, "damaged"),
        (b"scorer,a,a\nbodyparts,nose,nose\n", "damaged"),
        (b"nose_x,nose_y\n1,2\n1\n", "cut off"),
        (b"a,b\n", "without rows"),
        (b"PK\3\4 no archive", "cut off"),
        (b"<html>", "damaged|rows"),
        (texts.coco(C17)[:-40], "damaged"),
        (texts.videopose3d(C17)[:-200], "cut off"),
    ],
)
def test_damaged_files(data, message, tmp_path):
    with pytest.raises(KeypointError, match=message) as caught:
        read(tmp_path, data, **GIVEN)
    assert str(caught.value).startswith(str(tmp_path))


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(KeypointError, match="No such file|no such file"):
        read_keypoints(tmp_path / "none.json")
    with pytest.raises(KeypointError, match="without any JSON"):
        read_keypoints(tmp_path)


def test_nothing_in_a_file_is_run(tmp_path):
    class Harmful:
        def __reduce__(self):
            return exec, ("raise SystemExit('run')",)

    np.savez(tmp_path / "bad.npz", positions_2d=np.array({"a": Harmful()}, object))
    assert pickle.dumps(Harmful())
    with pytest.raises(KeypointError, match="exec"):
        read_keypoints(tmp_path / "bad.npz", fps=30)


def test_poses_in_space_are_refused(tmp_path):
    frames = [{"frame_id": 0, "instances": [{"keypoints": np.ones((17, 3)).tolist(), "keypoint_scores": [1] * 17}]}]
    with pytest.raises(KeypointError, match="in space"):
        read(tmp_path, json.dumps(frames).encode(), **GIVEN)


def test_numbers_that_do_not_count_frames(tmp_path):
    rows = json.loads(texts.coco(C17))
    rows[-1]["image_id"] = 397133
    with pytest.raises(KeypointError, match="do not count the frames"):
        read(tmp_path, json.dumps(rows).encode(), **GIVEN)


# Properties


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.sampled_from(["alphapose", "coco", "mmpose", "ultralytics"]))
def test_any_pose_comes_back(tmp_path_factory, seed, frames, writer):
    """Frames in = frames out, joints in = joints out, for any pattern of frames and joints that are not seen."""
    rng = np.random.default_rng(seed)
    clip = motion(17, frames, seed)
    gone = rng.random((frames, 17)) < 0.2
    clip[gone] = 0
    pose = read(tmp_path_factory.mktemp("any"), getattr(texts, writer)(clip), **GIVEN)
    assert len(pose) == frames and (np.isnan(pose.points[..., 0]) == gone).all()
    np.testing.assert_allclose(pose.points[~gone], clip[~gone][:, :2], atol=0.01)
    assert (pose.confidence[gone] == 0).all() and math.isclose(pose.fps, 30)


def test_mediapipe_without_visibility(tmp_path):
    frames = [[{"x": x / 1920, "y": y / 1080} for x, y, _ in frame.tolist()] for frame in C33]
    pose = read(tmp_path, json.dumps(frames).encode(), **GIVEN)
    assert pose.skeleton == MEDIAPIPE33 and pose.confidence.min() == 1
