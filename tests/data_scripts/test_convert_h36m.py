"""The two commands: open data out to the published layouts, any layout in to ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data_scripts import convert_h36m, export_layouts
from data_scripts.h36m_writers import videopose3d
from mocap3d.data import loading
from mocap3d.data.dataset import PoseDataset
from mocap3d.data.h36m.facts import H36MError
from mocap3d.data.h36m.load import load_h36m
from mocap3d.data.h36m.mmpose import read_factors
from tests.toys import sticks


@pytest.fixture
def both(monkeypatch):
    dataset = PoseDataset("sticks", sticks(2, 30).clips + sticks(2, 30, split="test").clips)
    monkeypatch.setattr(loading, "make_synthetic", lambda **options: dataset)
    return dataset


def positions(dataset):
    return {(clip.take, clip.camera.name): (clip.pose3d.points, clip.pose2d.points, clip.licence) for clip in dataset}


def agree(one, two, metres=1e-5, pixels=0.01):
    one, two = positions(one), positions(two)
    assert one.keys() == two.keys()
    for key, (points, pixel, licence) in one.items():
        assert np.abs(points - two[key][0]).max() < metres
        assert np.abs(pixel - two[key][1]).max() < pixels
        assert licence == two[key][2]


@pytest.mark.parametrize("layout", ["videopose3d", "mmpose", "motionbert", "own"])
def test_out_and_in_again(both, tmp_path, capsys, layout):
    """Each layout read back agrees with what was written to 0.01 mm and 0.01 px, so any two layouts agree as well."""
    assert export_layouts.main([str(tmp_path), "--layouts", layout]) == 0
    assert convert_h36m.main([str(tmp_path / layout), "--out", str(tmp_path / "ours")]) == 0
    out = capsys.readouterr().out
    assert "train-0-0 -> " in out and f"found: {load_h36m.__globals__['LAYOUTS'][layout].title}" in out
    assert "licence:" in out and "MB in" in out
    agree(load_h36m(tmp_path / "ours"), both)


def test_motionberts_annotation_is_written_on_request(both, tmp_path, capsys):
    command = [str(tmp_path), "--layouts", "mmpose", "--pose2d", "sh"]
    assert export_layouts.main(command) == 0
    missing = tmp_path / "mmpose" / "annotation_body3d" / "fps50" / "h36m_test_original.npz"
    with pytest.raises(H36MError) as error:
        load_h36m(tmp_path / "mmpose", annotation="original")
    assert str(error.value).startswith(f"{missing} is missing") and "--original" in str(error.value)
    assert export_layouts.main([*command, "--original"]) == 0
    agree(load_h36m(tmp_path / "mmpose", annotation="original"), both.with_detections("sh"))
    assert len(read_factors(tmp_path / "mmpose")) == len(both.test)
    with pytest.raises(SystemExit):
        export_layouts.main([str(tmp_path), "--layouts", "own", "--original"])
    assert "add it to --layouts" in capsys.readouterr().err


def test_detections_and_choices(both, tmp_path, capsys):
    assert export_layouts.main([str(tmp_path), "--layouts", "videopose3d", "own", "--pose2d", "cpn"]) == 0
    detected = both.with_detections("cpn")
    agree(load_h36m(tmp_path / "videopose3d", pose2d="cpn"), detected)
    agree(load_h36m(tmp_path / "own", pose2d="cpn"), detected)
    command = [str(tmp_path / "videopose3d"), "--out", str(tmp_path / "s9"), "--pose2d", "cpn", "--subjects", "S9"]
    assert convert_h36m.main([*command, "--exclude", "motionbert"]) == 0
    assert "exclusion 'motionbert' left out nothing" in capsys.readouterr().out
    agree(load_h36m(tmp_path / "s9", pose2d="cpn"), detected.select(subject="S9"))


def test_only_looking(both, tmp_path, capsys):
    assert convert_h36m.main([str(tmp_path)]) == 1
    assert "no layout that can be loaded" in capsys.readouterr().out
    videopose3d.write(both, tmp_path)
    assert convert_h36m.main([str(tmp_path)]) == 0
    assert "found: VideoPose3D" in capsys.readouterr().out
    assert not (tmp_path / "mocap3d.json").exists()


def test_failures_are_one_line(both, tmp_path, capsys):
    videopose3d.write(both, tmp_path)
    assert convert_h36m.main([str(tmp_path), "--out", str(tmp_path / "o"), "--pose2d", "cpn"]) == 1
    assert capsys.readouterr().err.startswith("FAILED no data_2d_h36m_cpn")
    assert convert_h36m.main([str(tmp_path / "nowhere")]) == 1
    assert "not a folder" in capsys.readouterr().err
    (tmp_path / "data_3d_h36m.npz").write_bytes(b"PK nothing")
    assert convert_h36m.main([str(tmp_path), "--out", str(tmp_path / "o")]) == 1
    assert "data_3d_h36m.npz" in capsys.readouterr().err


@pytest.mark.parametrize("script", ["export_layouts", "convert_h36m"])
def test_the_commands_run_from_any_folder(tmp_path, script):
    """Started as files, where mocap3d is installed and nothing beside it, they find the writers."""
    root = Path(export_layouts.__file__).resolve().parents[1]
    (tmp_path / "mocap3d").symlink_to(root / "mocap3d", target_is_directory=True)
    done = subprocess.run(
        [sys.executable, str(root / "data_scripts" / f"{script}.py"), "--help"],
        cwd=tmp_path,
        timeout=120,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "--layout" in done.stdout, done.stderr
