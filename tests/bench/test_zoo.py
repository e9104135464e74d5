"""The published table is whole, and a row is reproduced from files on disk."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch

from data_scripts.h36m_writers import mmpose, videopose3d
from mocap3d.bench import zoo
from mocap3d.data.dataset import PoseDataset
from mocap3d.data.h36m.mmpose import read_factors
from mocap3d.data.windows import to_device
from mocap3d.evaluation.evaluate import evaluate
from mocap3d.evaluation.protocol import PROTOCOLS
from mocap3d.models.create import create_model
from mocap3d.models.published import to_published
from mocap3d.training.recipe import RECIPES
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
    assert "within a protocol only" in text and page.count("<tr>") == 13
    nowhere = zoo.ZooTable((replace(zoo.ROWS["simple-baseline"], checkpoint=None),))
    assert "no verified address" in repr(nowhere) and "<a " not in nowhere._repr_html_()


@pytest.mark.parametrize("layout", [mmpose, videopose3d], ids=["mmpose", "videopose3d"])
def test_a_row_is_reproduced_from_files(dataset, layout, tmp_path, device):
    """Exported layout + published-style checkpoint -> the number of the same weights on the data themselves."""
    torch.manual_seed(0)
    model = create_model("simple_baseline_mmpose", channels=32)
    state = to_published(model.state_dict(), "SimpleBaseline3D", "mmpose")
    checkpoint = tmp_path / "simple.pth"
    torch.save({"meta": {"epoch": 200}, "state_dict": state}, checkpoint)
    layout.write(dataset, tmp_path / "data")

    result = zoo.evaluate("simple-baseline", tmp_path / "data", checkpoint, device=device)

    data = to_device(dataset.train)
    model.fit_normalisation(data.points2d, data.pose3d)
    expected = evaluate(model, dataset.test, "mmpose")
    assert result.measured["mpjpe_mm"] == pytest.approx(expected.mpjpe_mm, rel=1e-3)
    assert result.measured["p_mpjpe_mm"] == pytest.approx(expected.p_mpjpe_mm, rel=1e-3)
    by_action = replace(expected, protocol=replace(expected.protocol, averaging="actions")).mpjpe_mm
    assert result.measured["average_mm"] == pytest.approx(by_action, rel=1e-3)
    protocol = result.report.protocol
    assert protocol.name == "mmpose" and protocol.subjects == ("S9",) and "ground truth" in protocol.pose2d
    assert "43.4" in repr(result) and f"{result.measured['mpjpe_mm'] - 43.4:+.1f}" in repr(result)
    assert f"43.4 (here {result.measured['mpjpe_mm']:.1f})" in repr(zoo.table(result))


@pytest.mark.parametrize("name", ["motionbert", "motionbert-original"])
def test_motionberts_rows_are_reproduced_from_files(name, tmp_path):
    """Pieces of 243 frames with confidence; 2D, and of the original data also factors, from the files."""
    original = name.endswith("original")
    dataset = PoseDataset("sticks", (*sticks(takes=1, frames=20), *sticks(takes=1, frames=250, split="test")))
    if original:
        dataset = dataset.with_detections("sh")
    mmpose.write(dataset, tmp_path, original=original)
    torch.manual_seed(0)
    model = create_model("motionbert", channels=16, depth=1, representation=16)
    state = to_published(model.state_dict(), "MotionBERT", "mmpose")
    torch.save({"meta": {}, "state_dict": state}, tmp_path / "x.pth")
    result = zoo.evaluate(name, tmp_path, tmp_path / "x.pth")
    protocol = result.report.protocol
    assert {clip.frames for clip in result.report.clips} == {243}
    factors = read_factors(tmp_path) if original else None
    expected = evaluate(model, dataset.test, PROTOCOLS["mmpose-motionbert"], factors=factors)
    assert result.measured["mpjpe_mm"] == pytest.approx(expected.mpjpe_mm, rel=2e-3)
    assert protocol.factor.startswith("given with the data" if original else "from the camera")
    assert protocol.pose2d.startswith("detections" if original else "ground truth")


def test_a_row_on_the_original_data_uses_its_factors(tmp_path):
    """MotionBERT's row with another model in its place: pieces of 243 frames, 2D and factors from the files."""
    dataset = PoseDataset("sticks", (*sticks(takes=1, frames=20), *sticks(takes=1, frames=250, split="test")))
    dataset = dataset.with_detections("sh")
    mmpose.write(dataset, tmp_path, original=True)
    model = create_model("simple_baseline_mmpose", channels=8)
    state = to_published(model.state_dict(), "SimpleBaseline3D", "mmpose")
    torch.save({"state_dict": state}, tmp_path / "x.pth")
    row = replace(zoo.ROWS["motionbert-original"], model="simple_baseline_mmpose")
    protocol = zoo.evaluate(row, tmp_path, tmp_path / "x.pth").report.protocol
    assert protocol.factor.startswith("given with the data") and protocol.pose2d.startswith("detections")
    assert protocol.name == "mmpose-motionbert" and not protocol.exclusions == ()


def test_rows_that_cannot_be_reproduced(tmp_path):
    with pytest.raises(zoo.ZooError, match="there are: videopose3d-27-gt"):
        zoo.evaluate("resnet", tmp_path, "x.pth")
    row = replace(zoo.ROWS["simple-baseline"], model="not_built")
    with pytest.raises(zoo.ZooError, match="built so far: simple_baseline"):
        zoo.evaluate(row, tmp_path, "x.pth")
