"""The published table is whole, and a row is reproduced from files on disk."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from data_scripts.h36m_writers import mmpose, videopose3d
from mocap3d.bench import zoo
from mocap3d.cli import main
from mocap3d.data.dataset import PoseDataset
from mocap3d.data.h36m.mmpose import read_factors
from mocap3d.evaluation.evaluate import evaluate
from mocap3d.evaluation.protocol import PROTOCOLS
from mocap3d.models.create import create_model
from mocap3d.models.published import to_published
from mocap3d.models.videopose3d import PoseAndTrajectory
from mocap3d.training.recipe import RECIPES
from mocap3d.weights import export_weights
from tests.toys import sticks


@pytest.fixture(scope="module")
def dataset():
    train, test = sticks(takes=3, frames=30), sticks(takes=2, frames=25, split="test")
    return PoseDataset("sticks", (*train, *test))


def test_the_table_is_whole():
    assert len(zoo.ROWS) == 12 and all(name == row.name for name, row in zoo.ROWS.items())
    kinds = [row.model.split("_")[0] for row in zoo.ROWS.values()]
    assert [kinds.count(kind) for kind in ("videopose3d", "motionbert", "simple")] == [7, 4, 1]
    for row in zoo.ROWS.values():
        assert row.protocol in PROTOCOLS and row.pose2d in ("gt", "cpn", "sh") and row.licence and row.recipe
        assert {"mpjpe_mm", "p_mpjpe_mm"} <= set(row.published) <= set(zoo.COLUMNS)
        assert row.published["p_mpjpe_mm"] < row.published["mpjpe_mm"]
        assert re.fullmatch(r"https://download\.openmmlab\.com/mmpose/\S+-[0-9a-f]{8}_\d{8}\.pth", row.checkpoint)
        assert row.recipe in RECIPES or row.model == "motionbert"  # MMPose's epochs are not the original's
    # the same two files under both kinds of MotionBERT data: what differs is data and protocol
    assert zoo.ROWS["motionbert"].checkpoint == zoo.ROWS["motionbert-original"].checkpoint
    assert len({row.checkpoint for row in zoo.ROWS.values()}) == 10


def test_the_table_is_printed():
    text, page = repr(zoo.table()), zoo.table()._repr_html_()
    for row in zoo.ROWS.values():
        assert row.name in text and row.checkpoint in text and row.checkpoint in page
        assert all(f"{value:.1f}" in text for value in row.published.values())
    assert "a protocol only" in text and page.count("<tr>") == 13
    assert zoo.NEVER in text and zoo.NEVER in page
    # what most people quote in the column, what other documents say in the remark
    lines = {line.split()[0]: line.split() for line in text.splitlines() if line}
    assert lines["motionbert"][1:5] == ["true", "35.3", "/", "27.7"]
    assert lines["motionbert-finetuned"][1:5] == ["true", "27.5", "/", "21.6"]
    assert lines["motionbert-original"][1:5] == ["SH", "39.8", "/", "33.4"]
    remarks = zoo.ROWS["motionbert"].remark, zoo.ROWS["motionbert-finetuned"].remark
    assert "34.5 / 27.1" in remarks[0] and "39.8, average 39.2" in remarks[0]
    assert "26.9 / 21.0" in remarks[1] and "37.7, average 37.2" in remarks[1]
    nowhere = zoo.ZooTable((replace(zoo.ROWS["simple-baseline"], checkpoint=None),))
    assert "no verified address" in repr(nowhere) and "<a " not in nowhere._repr_html_()


@pytest.mark.parametrize("layout", [mmpose, videopose3d], ids=["mmpose", "videopose3d"])
def test_a_row_is_reproduced_from_files(dataset, layout, tmp_path, device):
    """Exported layout + published-style checkpoint -> the number of the same weights on the data themselves."""
    torch.manual_seed(0)
    row = replace(zoo.ROWS["simple-baseline"], options={"channels": 32})
    model = create_model(row.model, **row.options)
    state = to_published(model.state_dict(), "SimpleBaseline3D", "mmpose")
    checkpoint = tmp_path / "simple.pth"
    torch.save({"meta": {"epoch": 200}, "state_dict": state}, checkpoint)
    layout.write(dataset, tmp_path / "data")
    for path in (tmp_path / "data").rglob("*train*"):
        path.unlink()  # the test file is enough

    result = zoo.evaluate(row, tmp_path / "data", checkpoint, device=device)

    model.normalisation = zoo.published_statistics()
    expected = evaluate(model, dataset.test, "mmpose")
    assert result.measured["mpjpe_mm"] == pytest.approx(expected.mpjpe_mm, rel=1e-3)
    assert result.measured["p_mpjpe_mm"] == pytest.approx(expected.p_mpjpe_mm, rel=1e-3)
    by_action = replace(expected, protocol=replace(expected.protocol, averaging="actions")).mpjpe_mm
    assert result.measured["average_mm"] == pytest.approx(by_action, rel=1e-3)
    protocol = result.report.protocol
    assert protocol.name == "mmpose" and protocol.subjects == ("S9",) and "ground truth" in protocol.pose2d
    assert "43.4" in repr(result) and f"{result.measured['mpjpe_mm'] - 43.4:+.1f}" in repr(result)
    here = f"{result.measured['mpjpe_mm']:.1f} / {result.measured['p_mpjpe_mm']:.1f} (published weights on h36m)"
    text = repr(zoo.table(result))
    assert here in text and zoo.NEVER in text  # sticks are not Human3.6M, whatever the layout


def test_the_published_statistics_are_those_of_mmposes_configuration():
    statistics = zoo.published_statistics()
    assert statistics["mean_2d"].shape == (17, 2) and statistics["std_3d"].shape == (16, 3)
    pixels = (statistics["mean_2d"] + torch.tensor([1, 1.001])) * 500
    assert pixels[0].tolist() == pytest.approx([532.08351635, 419.74137558])
    assert (statistics["std_2d"][0] * 500).tolist() == pytest.approx([107.73640054, 63.35908715])
    assert statistics["mean_3d"][1].tolist() == pytest.approx([-0.00565463051, 0.319636009, 0.0719329269])
    assert statistics["mean_3d"][9, 1] < -0.5  # the head is above the pelvis: y points down


def small(row: zoo.Row) -> zoo.Row:
    """The row with a network of the same form, which is quick to run."""
    clips = {"depth": 1, "representation": 16} if row.model == "motionbert" else {}
    return replace(row, options={"channels": 16, **clips})


def published_file(row: zoo.Row, path):
    """A file as MMPose publishes it: random weights under its names. Returns the model."""
    torch.manual_seed(0)
    model = create_model(row.model, **row.options)
    state = export_weights(model, "mmpose")
    if "semi" in row.name:  # which come with the trajectory network
        state |= export_weights(PoseAndTrajectory(model).trajectory, "mmpose")
    torch.save({"meta": {"epoch": 1}, "state_dict": state}, path)
    return model.eval()


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    """The data of all rows in MMPose's layout, with 2D that is true, and two kinds of detections."""
    dataset = PoseDataset("sticks", (*sticks(takes=1, frames=20), *sticks(takes=1, frames=250, split="test")))
    folder = tmp_path_factory.mktemp("layout")
    detected = dataset.with_detections("sh")
    mmpose.write(detected, folder, original=True)
    return dataset, detected, folder


@pytest.mark.parametrize("name", zoo.ROWS)
def test_every_row_is_reproduced_from_a_published_layout(name, layout, tmp_path):
    dataset, detected, folder = layout
    row = small(zoo.ROWS[name])
    model = published_file(row, tmp_path / "x.pth")
    if name == "simple-baseline":
        model.normalisation = zoo.published_statistics()
    result = zoo.evaluate(row, folder, tmp_path / "x.pth")
    original = name.endswith("original")
    factors = read_factors(folder) if original else None
    seen = dataset if row.pose2d == "gt" else detected
    expected = evaluate(model, seen.test, PROTOCOLS[row.protocol], factors=factors)
    assert result.measured["mpjpe_mm"] == pytest.approx(expected.mpjpe_mm, rel=2e-3)
    protocol = result.report.protocol
    assert protocol.pose2d.startswith("ground truth" if row.pose2d == "gt" else "detections")
    if row.model == "motionbert":
        assert {clip.frames for clip in result.report.clips} == {243}
        assert protocol.factor.startswith("given with the data" if original else "from the camera")
    assert repr(result).startswith(f"{row.title} on h36m")


@pytest.mark.parametrize(("name", "other"), [
    ("videopose3d-81-gt", "videopose3d-27-gt"), ("simple-baseline", "videopose3d-1-cpn"),
    ("motionbert", "simple-baseline"), ("videopose3d-1-cpn", "motionbert"),
])  # fmt: skip
def test_weights_of_another_network_are_refused(name, other, layout, tmp_path):
    published_file(small(zoo.ROWS[other]), tmp_path / "x.pth")
    with pytest.raises(zoo.ZooError) as error:
        zoo.evaluate(name, layout[2], tmp_path / "x.pth")
    text = str(error.value)
    assert zoo.ROWS[name].model in text and zoo.ROWS[other].model.replace("motionbert", "") in text
    assert zoo.ROWS[name].checkpoint in text and "parameters" in text


def test_a_narrower_network_is_refused_too(layout, tmp_path):
    published_file(small(zoo.ROWS["videopose3d-27-gt"]), tmp_path / "x.pth")
    with pytest.raises(zoo.ZooError, match="with 8,555,571 parameters, the checkpoint is videopose3d_27 with 4,"):
        zoo.evaluate("videopose3d-27-gt", layout[2], tmp_path / "x.pth")


def test_verify_writes_one_record_without_poses(layout, tmp_path, monkeypatch, capsys):
    rows = {name: small(zoo.ROWS[name]) for name in ("simple-baseline", "motionbert-original", "videopose3d-27-gt")}
    monkeypatch.setattr(zoo, "ROWS", rows)
    for name in ("simple-baseline", "motionbert-original"):
        published_file(rows[name], tmp_path / Path(rows[name].checkpoint).name)
    command = ["zoo", "verify", str(layout[2]), "--weights", str(tmp_path), "--out", str(tmp_path)]
    assert main(command) == 1  # one has no weights
    printed = capsys.readouterr()
    assert "videopose3d-27-gt: not run: FileNotFoundError" in printed.err
    (path,) = tmp_path.glob("*.json")
    record = json.loads(path.read_text())
    numbers = record["numbers"]
    assert (
        numbers["simple-baseline"].keys() == {*zoo.COLUMNS, "data", "weights"}
        and "failed" in numbers["videopose3d-27-gt"]
    )
    assert path.stat().st_size < 10_000 and record["protocols"]["motionbert-original"].startswith("mmpose-motionbert")
    assert record["dataset"] == "stand-in" and zoo.NEVER in printed.out
    path.write_text(json.dumps(record | {"dataset": "h36m"}))  # as if it were a licence holder's
    text = repr(zoo.table(folder=tmp_path))
    assert zoo.NEVER not in text and f"{numbers['simple-baseline']['mpjpe_mm']:.1f}" in text


def test_rows_that_cannot_be_reproduced(tmp_path):
    with pytest.raises(zoo.ZooError, match="there are: videopose3d-27-gt"):
        zoo.evaluate("resnet", tmp_path, "x.pth")
    row = replace(zoo.ROWS["simple-baseline"], model="not_built")
    published_file(small(zoo.ROWS["simple-baseline"]), tmp_path / "x.pth")
    with pytest.raises(zoo.ZooError, match="built so far: simple_baseline"):
        zoo.evaluate(row, tmp_path, tmp_path / "x.pth")
