"""The doctor says what is wrong, what to do, and never crashes on a broken installation."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from mocap3d.cli import main

ROOT = Path(__file__).resolve().parent.parent
doctoring = importlib.import_module("mocap3d.diagnostics")


def test_this_machine_is_ready_and_every_question_is_answered(capsys):
    diagnosis = doctoring.doctor()
    out = capsys.readouterr().out
    assert diagnosis, out
    for name in ("Python", "numpy", "torch", "plotly", "widgets", "JupyterLab", "real motion", "free disk"):
        assert re.search(rf"^\[(OK|--)\] +{name}: ", out, re.MULTILINE), name
    assert "threads" in out and "renderer" in out
    assert repr(diagnosis).startswith("Ready: ") and repr(diagnosis) in out


def test_the_command_line_has_the_same_answer(monkeypatch, capsys):
    assert main(["doctor"]) == 0
    monkeypatch.setenv("MOCAP3D_DATA", "no/such/folder")
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "[FAIL] real motion: MOCAP3D_DATA=no/such/folder is not a folder" in out
    assert "fix: unset it" in out and "Not ready: mend real motion" in out


def test_the_command_needs_a_word(capsys):
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2 and "command" in capsys.readouterr().err


def test_counts_the_motion_found(tmp_path, monkeypatch):
    monkeypatch.setenv("MOCAP3D_DATA", str(tmp_path))
    assert doctoring.check_data().status == "FAIL"  # a folder without motion
    for name in ("cmu/asfamc/01/01_01.amc", "cmu/asfamc/01/01.asf", "bandai/dataset-1/a.bvh", "bandai/LICENSE"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    check = doctoring.check_data()
    assert check.status == "--" and "fetch_open_mocap.py" in check.fix
    assert "cmu/asfamc 1 files, cmu/bvh_cc 0 files, bandai 1 files" in check.found
    (tmp_path / "cmu/bvh_cc/001").mkdir(parents=True)
    (tmp_path / "cmu/bvh_cc/001/001_01.bvh").touch()
    assert doctoring.check_data().status == "OK"


def test_real_motion_is_found(mocap_root):
    assert doctoring.check_data().status == "OK"


def test_too_old_a_python_and_too_full_a_disk_fail(monkeypatch):
    monkeypatch.setattr(doctoring.sys, "version_info", (3, 10, 4))
    assert doctoring.check_python().status == "FAIL" and "3.11 to 3.13" in doctoring.check_python().fix
    usage = namedtuple("usage", "total used free")(10**12, 10**12 - 10**6, 10**6)
    monkeypatch.setattr(doctoring.shutil, "disk_usage", lambda path: usage)
    assert doctoring.check_disk().status == "FAIL"


@pytest.mark.parametrize("error", [ImportError("libcudart.so.13: cannot open"), OSError("bad\nDLL"), RuntimeError()])
def test_a_package_that_breaks_on_import_is_a_finding(monkeypatch, capsys, error):
    real = importlib.import_module

    def broken(name, *rest):
        if name == "torch":
            raise error
        return real(name, *rest)

    monkeypatch.setattr(doctoring.importlib, "import_module", broken)
    diagnosis = doctoring.doctor()
    assert not diagnosis and [check.name for check in diagnosis.failed] == ["torch"]
    assert f"[FAIL] torch: {type(error).__name__}" in capsys.readouterr().out
    assert "scripts/setup.py" in diagnosis.failed[0].fix


def test_missing_widgets_fail_only_where_the_course_is_installed(monkeypatch):
    real = doctoring.importlib.util.find_spec
    monkeypatch.setattr(doctoring.importlib.util, "find_spec", lambda n: None if n == "anywidget" else real(n))
    assert doctoring.check_widgets().status == "FAIL"
    monkeypatch.setattr(doctoring.importlib.util, "find_spec", lambda n: None)
    assert doctoring.check_widgets().status == "--" and doctoring.check_jupyterlab().status == "--"


def test_a_picture_renderer_is_named_as_the_fault(monkeypatch):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    monkeypatch.delenv("PLOTLY_RENDERER", raising=False)
    assert doctoring.check_plotly().status == "OK"
    monkeypatch.setenv("PLOTLY_RENDERER", "png")
    assert doctoring.check_plotly().status == "FAIL" and "PLOTLY_RENDERER" in doctoring.check_plotly().fix


def test_runs_where_mocap3d_cannot_be_imported(tmp_path):
    """An interpreter without any package still gets an answer, with exit status 1."""
    command = [sys.executable, "-I", "-S", str(ROOT / "mocap3d" / "diagnostics.py")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1 and not done.stderr
    assert "[FAIL] numpy" in done.stdout and "[FAIL] torch" in done.stdout and "Not ready" in done.stdout
