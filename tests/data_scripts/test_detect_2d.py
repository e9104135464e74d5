"""detect_2d.py up to the networks: a stand-in detector, and videos made here."""

from __future__ import annotations

import json
import struct
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import mocap3d
from data_scripts.detect_2d import Video, detect_video, main, rtmpose

TIMES = 5 + np.array([0, 33, 70, 140, 160, 201, 300, 333]) / 1000
SHAPE = 48, 64, 3
PEOPLE = np.random.default_rng(0).uniform(5, 45, (len(TIMES), 2, 26, 2)).round(2)
PEOPLE[:, 1] *= 0.4  # the second one is smaller


def numbered(start: int):
    """Images with the frame's number in the corner."""
    for number, seconds in list(enumerate(TIMES))[start:]:
        image = np.zeros(SHAPE, np.uint8)
        image[0, 0] = number
        yield seconds, image


VIDEO = Video(22.0, len(TIMES), numbered)


def stand_in(image: np.ndarray, seen: list | None = None):
    """Two people; nobody in frame 3."""
    number = image[0, 0, 0]
    if seen is not None:
        seen.append(number)
    people = PEOPLE[number] if number != 3 else np.zeros((0, 26, 2))
    return people, np.full(people.shape[:2], 0.9)


def test_the_reader_reads_what_was_found(tmp_path, capsys):
    out = tmp_path / "clip.json"
    assert detect_video(VIDEO, stand_in, out, progress=False) == len(TIMES)
    pose = mocap3d.read_keypoints(out)
    assert (pose.skeleton.name, pose.image_size, pose.fps) == ("halpe26", (64, 48), 22)
    np.testing.assert_allclose(pose.timestamps, TIMES)
    there = np.arange(len(TIMES)) != 3
    np.testing.assert_allclose(pose.points[there], PEOPLE[there, 0], atol=0.01)
    assert np.isnan(pose.points[3]).all() and "rtmlib" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("stopped", [0, 1, 5])
def test_it_carries_on_where_it_stopped(stopped, tmp_path):
    whole, out, seen = tmp_path / "whole.json", tmp_path / "clip.json", []
    detect_video(VIDEO, stand_in, whole, progress=False)

    def interrupted(image):
        if len(seen) == stopped:
            raise KeyboardInterrupt
        return stand_in(image, seen)

    with pytest.raises(KeyboardInterrupt):
        detect_video(VIDEO, interrupted, out, progress=False)
    part = tmp_path / "clip.json.part"
    assert not out.exists() and len(part.read_text().splitlines()) == stopped
    with open(part, "a") as file:
        file.write('{"timestamp": 5.2, "keypo')  # cut off while it was written
    detect_video(VIDEO, lambda image: stand_in(image, seen), out, progress=False)
    assert seen == list(range(len(TIMES))) and out.read_bytes() == whole.read_bytes() and not part.exists()


def test_timestamps_that_do_not_rise_are_left_out(tmp_path, capsys):
    video = VIDEO._replace(frames=lambda start: ((0.0, image) for _, image in numbered(start)))
    detect_video(video, stand_in, tmp_path / "clip.json", progress=False)
    assert mocap3d.read_keypoints(tmp_path / "clip.json").timestamps is None
    assert "do not rise" in capsys.readouterr().err


def test_where_nobody_is_found_the_pose_network_is_not_asked(monkeypatch):
    def everybody(image, bboxes):
        return np.ones((len(bboxes), 26, 2)), np.ones((len(bboxes), 26))

    made = []

    class BodyWithFeet:
        def __init__(self, **options):
            made.append(options)
            self.pose_model, self.det_model = everybody, lambda image: np.zeros((int(image.max()), 4))

    monkeypatch.setitem(sys.modules, "rtmlib", SimpleNamespace(BodyWithFeet=BodyWithFeet))
    detect = rtmpose("lightweight", "cpu")
    for count in (0, 1, 3):
        joints, scores = detect(np.full(SHAPE, count))
        assert joints.shape == (count, 26, 2) and scores.shape == (count, 26)
    assert made == [{"mode": "lightweight", "backend": "onnxruntime", "device": "cpu"}]


def test_without_the_extra_it_says_how_to_get_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert main([str(tmp_path / "clip.mp4")]) == 2
    assert 'pip install -e ".[detect]"' in capsys.readouterr().err


# With OpenCV


def film(path, rotated: bool) -> None:
    """Eight frames at 25 fps; one corner is bright: top left as stored, top right where the file says to turn it."""
    cv2 = pytest.importorskip("cv2", reason='needs opencv: pip install -e ".[detect]"')
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, (64, 48))
    for _ in range(8):
        image = np.zeros(SHAPE, np.uint8)
        image[:16, :16] = 200
        writer.write(image)
    writer.release()
    if rotated:  # the matrix in the header of the track, for 90 degrees clockwise
        data, as_stored = path.read_bytes(), struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
        at = data.index(as_stored, data.index(b"tkhd"))
        turned = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 48 << 16, 0, 1 << 30)
        path.write_bytes(data[:at] + turned + data[at + len(turned) :])


@pytest.mark.parametrize(
    "rotated, rotate, corner",
    [
        (False, 0, (0, 0)),
        (True, 0, (0, 1)),
        (False, 90, (0, 1)),
        (True, 90, (1, 1)),
        (False, 180, (1, 1)),
        (False, 270, (1, 0)),
    ],
)
def test_videos_are_read_upright(rotated, rotate, corner, tmp_path, capsys):
    film(tmp_path / "clip.mp4", rotated)

    def find(image):
        """The middle of the bright corner, as one person's joints."""
        y, x = (np.flatnonzero(image[..., 0].max(axis) > 100).mean() for axis in (1, 0))
        return np.tile([x, y], (1, 26, 1)) + np.arange(26)[:, None] / 10, np.ones((1, 26))

    assert main([str(tmp_path / "clip.mp4"), "--rotate", str(rotate)], lambda mode, device: find) == 0
    pose = mocap3d.read_keypoints(tmp_path / "clip.json")
    width, height = pose.image_size
    assert (width < height) == (rotated + rotate // 90) % 2 and len(pose) == 8 and pose.fps == 25
    x, y = pose.points[:, 0].mean(0)
    assert (y > height / 2, x > width / 2) == corner
    times = [frame["timestamp"] for frame in json.loads((tmp_path / "clip.json").read_text())["frames"]]
    np.testing.assert_allclose(times, np.arange(8) / 25, atol=1e-3)


def test_what_is_no_video(tmp_path, capsys):
    pytest.importorskip("cv2", reason='needs opencv: pip install -e ".[detect]"')
    (tmp_path / "clip.mp4").write_text("no video")
    assert main([str(tmp_path / "clip.mp4")]) == 2 and "no video that OpenCV can read" in capsys.readouterr().err
    assert main([str(tmp_path / "none.mp4")]) == 2 and "no such file" in capsys.readouterr().err
