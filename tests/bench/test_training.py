"""The rows of the published table are trained, go on where they were broken off, and are printed beside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from data_scripts.h36m_writers import mmpose
from mocap3d.bench import training, zoo
from mocap3d.cli import main
from mocap3d.data.dataset import PoseDataset
from mocap3d.models.create import create_model
from mocap3d.training.fit import fit
from tests.toys import sticks

ROOT = Path(__file__).parents[2]


@pytest.fixture
def stand_in(monkeypatch):
    """Sticks in place of the built-in motion."""
    dataset = PoseDataset("synthetic", (*sticks(takes=1, frames=120), *sticks(takes=1, frames=250, split="test")))
    monkeypatch.setattr(
        training, "load_dataset", lambda name, root, kind: dataset if kind == "gt" else dataset.with_detections(kind)
    )
    return dataset


def test_every_row_is_trained_at_ci_size(stand_in, tmp_path, capsys):
    command = ["zoo", "train", "--rows", "all", "--data", "synthetic", "--size", "ci", "--out", str(tmp_path)]
    assert main([*command, "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    records = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("*.json"))]
    assert {record["row"] for record in records} == set(zoo.ROWS)
    for record in records:
        row, numbers = zoo.ROWS[record["row"]], record["numbers"]
        assert f"{row.name}: {numbers['mpjpe_mm']} mm MPJPE" in printed
        assert record["dataset"] == "synthetic" and record["kind"] == "ci" and record["seed"] == 0
        assert record["protocol"].startswith(f"{row.protocol} protocol") and record["threads"] and record["device"]
        assert record["seconds"] >= 0 and "train " in record["data"] and row.model in record["size"]
        assert ("ground truth" in record["protocol"]) == (row.pose2d == "gt")
        published = [recipe["name"] for recipe in record["recipes"]]
        if row.model == "motionbert":
            tuned = ["motionbert_pretrain", "motionbert_finetune"]
            assert published == (tuned if "finetuned" in row.name else ["motionbert"])
        else:
            assert published == [row.recipe]
    text = repr(zoo.table(folder=tmp_path))
    assert text.count("(synthetic, ci)") == 12 and zoo.NEVER in text
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert main([*command, "--device", "cpu"]) == 0  # all have records
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert main(["zoo", "table", "--out", str(tmp_path)]) == 0 and text in capsys.readouterr().out


@pytest.mark.extended
def test_every_row_is_trained_on_the_built_in_motion(tmp_path):
    for name in zoo.ROWS:
        record = training.train_row(name, "synthetic", "ci", device="cpu", out=tmp_path, progress=False)
        assert 50 < record["numbers"]["mpjpe_mm"] < 1000


def test_a_row_is_trained_on_a_stand_in_for_human36m(tmp_path, monkeypatch):
    dataset = PoseDataset("sticks", (*sticks(takes=1, frames=60), *sticks(takes=1, frames=60, split="test")))
    mmpose.write(dataset, tmp_path / "data")
    monkeypatch.delenv("MOCAP3D_H36M", raising=False)
    options = {"size": "ci", "device": "cpu", "out": tmp_path, "progress": False}
    with pytest.raises(zoo.ZooError, match="MOCAP3D_H36M"):
        training.train_row("videopose3d-27-gt", "h36m", **options)
    record = training.train_row("videopose3d-27-gt", "h36m", root=tmp_path / "data", **options)
    assert record["dataset"] == "stand-in" and zoo.NEVER in repr(zoo.table(folder=tmp_path))


def test_a_run_that_was_stopped_goes_on_to_the_same_numbers(stand_in, tmp_path, monkeypatch):
    options = {"data": "synthetic", "size": "ci", "device": "cpu", "progress": False}
    whole = training.train_row("motionbert-finetuned", out=tmp_path / "whole", **options)

    def stopped(*args, **how):
        run = fit(*args, **how)
        if how["out"].name == "1":
            raise KeyboardInterrupt
        return run

    monkeypatch.setattr(training, "fit", stopped)
    with pytest.raises(KeyboardInterrupt):
        training.train_row("motionbert-finetuned", out=tmp_path / "parts", **options)
    assert not list((tmp_path / "parts").glob("*.json"))
    monkeypatch.setattr(training, "fit", fit)
    parts = training.train_row("motionbert-finetuned", out=tmp_path / "parts", **options)
    assert parts["numbers"] == whole["numbers"]


def test_an_interrupted_run_leaves_no_record(stand_in, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "fit", lambda *args, **how: replace(fit(*args, **how), interrupted=True))
    command = ["zoo", "train", "--rows", "simple-baseline", "--data", "synthetic", "--size", "ci", "--device", "cpu"]
    assert main([*command, "--out", str(tmp_path)]) == 130
    assert not list(tmp_path.glob("*.json"))


def test_minutes_are_shared_among_the_recipes_of_a_row():
    _, recipes = training.plan(zoo.ROWS["motionbert-finetuned"], "full", 50)
    assert [recipe.minutes for recipe in recipes] == [30, 20]  # published: 90 and 60 epochs
    assert recipes[0].mask_joints == 0.05 and recipes[0].detector == "sh"
    options, recipes = training.plan(zoo.ROWS["motionbert-finetuned-original"], "full")
    assert options == {} and [recipe.epochs for recipe in recipes] == [90, 60]
    assert recipes[0].detector is None  # its 2D is detected already
    _, recipes = training.plan(zoo.ROWS["videopose3d-243-cpn"], "small")
    assert [recipe.minutes for recipe in recipes] == [training.MINUTES]


@pytest.mark.parametrize("name", zoo.ROWS)
def test_small_networks_can_be_built(name):
    options, recipes = training.plan(zoo.ROWS[name], "small")
    with torch.device("meta"):
        small, full = (create_model(zoo.ROWS[name].model, **kwargs) for kwargs in (options, {}))
    sizes = [sum(p.numel() for p in model.parameters()) for model in (small, full)]
    assert sizes[0] < 2_500_000 and sizes[0] < sizes[1] / 3 and all(recipe.minutes for recipe in recipes)


def test_bad_calls(tmp_path, capsys):
    with pytest.raises(zoo.ZooError, match="'coco'; give one of open-mocap"):
        training.train_row("simple-baseline", "coco")
    with pytest.raises(zoo.ZooError, match="'huge'; give one of full"):
        training.train_row("simple-baseline", "synthetic", "huge")
    assert main(["zoo", "train", "--rows", "resnet", "--out", str(tmp_path)]) == 2
    assert "no row 'resnet'" in capsys.readouterr().err


@pytest.mark.extended
def test_two_processes_train_one_row(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "mocap3d"]
    command += ["zoo", "train", "--data", "synthetic", "--size", "ci", "--device", "cpu", "--out", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    rows = ["videopose3d-27-gt", "motionbert"]
    subprocess.run([*command, "--rows", *rows], cwd=tmp_path, env=environment, check=True, timeout=300)
    records = [json.loads(path.read_text()) for path in tmp_path.glob("*.json")]
    assert {record["row"] for record in records} == set(rows) and {record["processes"] for record in records} == {2}
