"""The shell commands on keypoint files: what they write, print and return."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import mocap3d
from mocap3d.cli import main
from mocap3d.formats.export import read_pose, write
from mocap3d.formats.keypoints import read_keypoints


@pytest.fixture
def clip(tmp_path):
    """Keypoints of a walk at 50 fps, as a file."""
    pose = mocap3d.synthesize("S9", "Walking", seconds=2).project(mocap3d.h36m_cameras("S9")[0])
    return write(pose.slice(0, 60), tmp_path / "clip.json")


@pytest.mark.parametrize("ending", ["npz", "csv", "json"])
def test_lift_writes_a_pose(ending, clip, tmp_path, capsys):
    out = tmp_path / f"pose.{ending}"
    assert main(["lift", str(clip), "--height", "1.75", "--out", str(out)]) == 0
    pose = read_pose(out)
    assert len(pose) == 60 and pose.frame == "camera" and np.isfinite(pose.points).all()
    printed = capsys.readouterr()
    assert printed.out.startswith(f"{out}: Pose3D(60 frames") and printed.out.count("\n") == 1
    assert "lifting 60 frames" in printed.err and "warning" not in printed.err


@pytest.mark.parametrize("ending, start", [("html", b"<!doctype html>"), ("gif", b"GIF89a")])
def test_lift_draws_the_pose(ending, start, clip, tmp_path, capsys):
    out = tmp_path / "new" / f"pose.{ending}"
    assert main(["lift", str(clip), "--out", str(out)]) == 0
    assert out.read_bytes()[:15].lower().startswith(start.lower())
    assert capsys.readouterr().out.startswith(f"{out}: Pose3D(60 frames")


@pytest.mark.parametrize("ending", ["bvh", "trc", "angles.csv", "npz"])
def test_animate_writes_a_clean_motion(ending, clip, tmp_path, capsys):
    out = tmp_path / f"walk.{ending}"
    assert main(["animate", str(clip), "--height", "1.75", "--out", str(out), "--names", "lafan1"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith(f"{out}: Pose3D(60 frames") and "world frame" in printed[0]
    words = "keypoints", "left and right", "size", "vertical", "jitter", "feet", "how sure"
    for word, line in zip(words, printed[1:], strict=False):
        assert line.strip().startswith(f"{word}: ")
    if ending == "bvh":
        points = mocap3d.read_bvh(out).convert("h36m17").points
        knee, shin = mocap3d.H36M17.index("left_knee"), mocap3d.H36M17.index("left_foot")
        length = np.linalg.norm(points[:, knee] - points[:, shin], axis=-1)
        assert len(points) == 60 and np.ptp(length) < 1e-3 and 0.3 < length[0] < 0.55


def test_animate_ends_with_what_was_filled_and_exchanged_and_how_sure_it_is(clip, tmp_path, capsys):
    pose2d = read_keypoints(clip)
    points, confidence, mirror = pose2d.points.copy(), pose2d.confidence * 0.5, list(pose2d.skeleton.mirror)
    points[20:32] = points[20:32, mirror]
    points[40:46, 3] = np.nan  # 6 of 60 frames, one of 17 joints
    damaged = write(replace(pose2d, points=points, confidence=confidence), tmp_path / "damaged.json")
    assert main(["animate", str(damaged), "--out", str(tmp_path / "walk.bvh")]) == 0
    printed = capsys.readouterr().out
    assert "0.6% of the joints were missing" in printed and "exchanged in 20.0% of the frames" in printed
    assert "confidence 0.50 of 1" in printed


def test_animate_runs_the_detector_on_a_video(clip, tmp_path, capsys, monkeypatch):
    video = tmp_path / "walk.mp4"
    video.write_bytes(b"")

    def detect(command):
        assert command[1].name == "detect_2d.py" and command[1].exists() and command[2] == str(video)
        video.with_suffix(".json").write_bytes(clip.read_bytes())
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr("subprocess.run", detect)
    assert main(["animate", str(video), "--out", str(tmp_path / "walk.bvh")]) == 0
    monkeypatch.setattr("subprocess.run", lambda command: SimpleNamespace(returncode=1))
    assert main(["animate", str(video), "--out", str(tmp_path / "walk.bvh")]) == 2
    assert "no keypoints were found" in capsys.readouterr().err


def test_progress_is_shown_on_a_terminal_only(clip, tmp_path, capsys, monkeypatch):
    arguments = ["lift", str(clip), "--out", str(tmp_path / "pose.npz"), "--fps", "5"]  # 600 frames at 50 fps
    assert main(arguments) == 0 and "%|" not in capsys.readouterr().err
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert main(arguments) == 0 and "100%|" in capsys.readouterr().err


def test_stopped_by_the_user(clip, tmp_path, capsys, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("mocap3d.cli.lift", stop)
    assert main(["lift", str(clip), "--out", str(tmp_path / "pose.npz")]) == 130
    assert not list(tmp_path.glob("pose*"))


def test_lift_warns_of_what_looks_wrong(clip, tmp_path, capsys):
    arguments = ["lift", str(clip), "--skeleton", "coco17", "--out", str(tmp_path / "pose.npz")]
    assert main(arguments) == 0
    assert "warning: The joints are in the order of h36m17" in capsys.readouterr().err


def test_check_keypoints(clip, capsys):
    assert main(["check-keypoints", str(clip)]) == 0
    assert capsys.readouterr().out == "Nothing looks wrong.\n"
    assert main(["check-keypoints", str(clip), "--size", "300x400", "--fps", "30"]) == 1
    assert "outside the 300x400 image" in capsys.readouterr().out


def test_show_writes_a_page(clip, tmp_path, capsys):
    assert main(["show", str(clip)]) == 0
    assert "plotly" in clip.with_name("clip.json.html").read_text(encoding="utf-8")
    pose = mocap3d.synthesize("S9", "Walking", seconds=1)
    out = tmp_path / "pose.html"
    assert main(["show", str(write(pose, tmp_path / "pose.npz")), "--out", str(out)]) == 0
    assert out.is_file() and capsys.readouterr().out.endswith("pose.html: open it in a browser\n")


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["lift", "none.json", "--out", "pose.npz"], "none.json"),
        (["lift", "{clip}", "--out", "pose.fbx"], "ends in .npz, .csv, .json, .html, .gif"),
        (["lift", "{clip}", "--out", "{folder}/pose.npz", "--height", "175"], "as height, not 175"),
        (["lift", "{clip}", "--out", "{folder}/pose.npz", "--skeleton", "smpl"], "unknown skeleton 'smpl'"),
        (["check-keypoints", "{clip}", "--person", "9"], "person='9' is not in the file"),
    ],
)
def test_errors_are_one_line_and_exit_code_2(arguments, message, clip, tmp_path, capsys):
    arguments = [word.format(clip=clip, folder=tmp_path) for word in arguments]
    assert main(arguments) == 2
    printed = capsys.readouterr()
    last = printed.err.splitlines()[-1]
    assert not printed.out and last.startswith(f"mocap3d {arguments[0]}: error: ") and message in last


@pytest.mark.parametrize(
    "arguments", [["lift", "x.json"], ["lift", "x.json", "--size", "1920", "--out", "y.npz"], ["no"]]
)
def test_wrong_arguments(arguments, capsys):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2 and "usage: mocap3d" in capsys.readouterr().err
