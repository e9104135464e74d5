"""inspect_motion.py: what it says of files made here, its exit codes, and that --help helps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "data_scripts" / "inspect_motion.py"


def person(height: float = 170.0, frames: int = 30, jump: int | None = None) -> str:
    """A post of that height walking at 1 m/s (in centimetres), whose head leaps 1 m for one frame."""
    rows = [f"{t * 3.3:.3f} 0 0 0 0 0 {100 if t == jump else 0} {height} 0" for t in range(frames)]
    return (
        "HIERARCHY\nROOT Feet\n{\nOFFSET 0 0 0\n"
        "CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation\n"
        f"JOINT Head\n{{\nOFFSET 0 {height} 0\nCHANNELS 3 Xposition Yposition Zposition\n}}\n}}\n"
        f"MOTION\nFrames: {frames}\nFrame Time: 0.0333333\n" + "\n".join(rows) + "\n"
    )


def run(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"PYTHONPATH": str(SCRIPT.parents[1])},
    )


@pytest.fixture(scope="module")
def script():
    import importlib.util

    spec = importlib.util.spec_from_file_location("inspect_motion", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("height", "unit"),
    [(1.7, "metres"), (170, "centimetres"), (1700, "millimetres"), (67, "inches"), (30, "CMU inches / 0.45")],
)
def test_the_unit_is_guessed_from_the_height(script, tmp_path, height, unit):
    (tmp_path / "a.bvh").write_text(person(height))
    report = script.inspect(tmp_path / "a.bvh")
    assert report["unit"] == unit and report["height"] == pytest.approx(1.7, abs=0.01)


def test_a_jump_and_a_stretched_bone_are_found(script, tmp_path):
    (tmp_path / "a.bvh").write_text(person(jump=12))
    report = script.inspect(tmp_path / "a.bvh")
    assert (report["joints"], report["frames"], report["fps"], report["skeleton"]) == (2, 30, 30.0, "none")
    assert report["floor"] == 0 and report["seconds"] == 1.0
    assert [jump["frame"] for jump in report["jumps"]] == [12, 13] and report["jumps"][0]["joint"] == "Head"
    assert report["jumps"][0]["speed"] == pytest.approx(31, abs=0.1)  # 103.3 cm in a 30th of a second
    (tmp_path / "a.bvh").write_text(person())
    report = script.inspect(tmp_path / "a.bvh", scale=0.01)
    assert report["bones"] == 0 and report["jumps"] == [] and report["unit"] == "0.01 m"


def test_a_folder_becomes_a_table_and_failures_are_listed(script, tmp_path, capsys):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "good.bvh").write_text(person())
    (tmp_path / "also.bvh").write_text(person())
    assert script.main([str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and lines[0].startswith("file") and lines[2].startswith("sub/good.bvh")
    (tmp_path / "bad.bvh").write_text("HIERARCHY\n")
    (tmp_path / "lonely.amc").write_text("1\n")
    assert script.main([str(tmp_path)]) == 1
    shown = capsys.readouterr()
    assert "bad.bvh, line 2: no MOTION line" in shown.err and "0 .asf files beside it" in shown.err
    assert len(shown.out.splitlines()) == 3
    assert script.main([str(tmp_path), "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert len(answer["files"]) == 2 and [error["line"] for error in answer["errors"]] == [2, None]


@pytest.mark.parametrize("name", ["gone.bvh", "notes.txt", "."])
def test_nothing_to_read_fails(script, tmp_path, capsys, name):
    (tmp_path / "notes.txt").write_text("words")
    assert script.main([str(tmp_path / name)]) == 1
    assert "FAILED" in capsys.readouterr().err


def test_the_command_runs_and_helps(script, tmp_path, capsys):
    answer = run("--help")
    assert answer.returncode == 0 and "--json" in answer.stdout
    (tmp_path / "a.bvh").write_text(person())
    assert script.main([str(tmp_path / "a.bvh")]) == 0
    assert "height    1.7" in capsys.readouterr().out


def test_real_folders(script, mocap_root):
    report = script.inspect(mocap_root / "cmu/asfamc/02/02_01.amc")
    assert report["skeleton"] == "cmu 31/31" and report["unit"] == "0.0564 m" and 1.4 < report["height"] < 1.7
    report = script.inspect(next((mocap_root / "bandai/dataset-2").glob("*walk*.bvh")))
    assert report["skeleton"].startswith("bandai 22") and report["unit"] == "centimetres" and report["bones"] < 0.01
    report = script.inspect(mocap_root / "cmu/bvh_cc/007/007_03.bvh")
    assert report["skeleton"].startswith("cc") and [jump["frame"] for jump in report["jumps"]] == [1]  # a T-pose first
