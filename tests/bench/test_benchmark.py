"""`mocap3d.benchmark`: any network in the ladder, with messages that say what to change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import mocap3d
from mocap3d.bench import records
from mocap3d.bench.benchmark import BenchmarkError
from mocap3d.models.lifter import as_lifter
from mocap3d.training.recipe import RECIPES

QUICK = {"steps": 12, "live": False, "device": "cpu"}


class Net(nn.Module):
    """(B, T, 17, 2) -> (B, T, 17, 3), and what can be wrong with that."""

    def __init__(self, hidden=16, after=lambda y: y.unflatten(-1, (17, 3)), before=lambda x: x.flatten(-2)):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(34, hidden), nn.ReLU(), nn.Linear(hidden, 51))
        self.before, self.after = before, after

    def forward(self, x):
        return self.after(self.layers(self.before(x)))


@pytest.fixture(scope="module")
def dataset():
    options = {"subjects": ["S1", "S8", "S9"], "actions": ["Walking", "Sitting"], "seconds": 2}
    return mocap3d.load_dataset("synthetic", **options)


@pytest.fixture(scope="module")
def result(dataset):
    return mocap3d.benchmark(Net, dataset, seeds=(0, 1), **QUICK)


def test_it_is_placed_in_the_ladder(result):
    assert [rung.name for rung in result.ladder] == ["mean pose", "nearest neighbour", "simple_baseline"]
    assert {rung.name for rung in result.rungs} == {"mean pose", "nearest neighbour", "simple_baseline", "Net"}
    errors = [rung.mean() for rung in result.rungs]
    assert errors == sorted(errors)
    assert [run.record["steps"] for run in result.rung.runs] == [12, 12]
    assert [run.record["seed"] for run in result.rung.runs] == [0, 1]
    assert result.rung.reports[0].mpjpe_mm != result.rung.reports[1].mpjpe_mm
    assert result.rung.frames_per_second > 0 and np.isnan(result.ladder[0].spread) and result.rung.spread > 0


def test_it_is_measured_on_a_subject_that_is_not_trained_on(result):
    assert {clip.subject for clip in result.clips} == {"S8"}
    assert result.rung.runs[0].record["train"]["clips"] == 8  # two recordings of S1 by four cameras


def test_the_gain_is_paired_by_seed_and_recording(result):
    rival = next(rung for rung in result.ladder if rung.name == "simple_baseline")
    gap = np.mean([a.mpjpe_mm - b.mpjpe_mm for a, b in zip(rival.reports, result.rung.reports, strict=True)])
    gain, low, high = result.gain
    assert gain == pytest.approx(gap, abs=0.02) and low <= gain <= high


def test_it_renders_and_plays(result):
    text, page = str(result), result._repr_html_()
    for word in ("> Net", "simple_baseline", "95 % interval", "2 seeds", "frames/s", "open-mocap protocol"):
        assert word in text and word.replace(">", "&gt;") in page
    joints = list(result.breakdown)[:17]
    rival, mine = result.breakdown[joints[0]]
    assert set(joints) == set(mocap3d.H36M17.joints) and rival - mine >= np.subtract(*result.breakdown[joints[-1]])
    player = result.show(clip=1)
    assert "Net" in str(player.figure().to_dict()) and "simple_baseline" in str(player.figure().to_dict())


def test_an_earlier_result_is_not_trained_again(result, dataset, monkeypatch):
    trained = []
    fit = mocap3d.bench.benchmark.fit
    monkeypatch.setattr(
        "mocap3d.bench.benchmark.fit", lambda model, *a, **k: trained.append(model) or fit(model, *a, **k)
    )
    again = mocap3d.benchmark(lambda: Net(8), dataset, result, seeds=(0, 1), name="smaller", **QUICK)
    assert len(trained) == 2 and again.rival == "simple_baseline"
    assert {"Net", "smaller"} <= {rung.name for rung in again.rungs}
    assert again.rung.runs[0].record["model"]["parameters"] < result.rung.runs[0].record["model"]["parameters"]
    rival = next(rung for rung in result.ladder if rung.name == "simple_baseline").reports[1]
    one = mocap3d.benchmark(Net, dataset, result, seeds=(1,), name="one", **QUICK)  # compared with the same seed
    assert one.gain[0] == pytest.approx(rival.mpjpe_mm - one.rung.mean(), abs=0.02)
    for other in ({"seeds": (2,)}, {"seeds": (0, 1), "on": "test"}):
        with pytest.raises(BenchmarkError, match="other clips or with other seeds"):
            mocap3d.benchmark(Net, dataset, result, **QUICK | other)


def test_models_of_the_library_and_of_whole_clips(dataset):
    small = mocap3d.create_model("videopose3d_1", channels=16, normalise="ray")
    result = mocap3d.benchmark(small, dataset, lambda: Net(8), on="test", **QUICK)
    assert result.rung.models[0] is small and result.rival == "Net"
    assert {clip.subject for clip in result.clips} == {"S9"}
    recipe = replace(RECIPES["quick_clips"], detector="cpn")
    clips = mocap3d.benchmark(Net(), dataset, lambda: Net(8), frames=9, recipe=recipe, **QUICK)
    assert clips.rung.models[0].clipwise and "cpn" in str(clips.rung.reports[0].protocol)


@pytest.mark.parametrize(
    "module, message",
    [
        (Net(before=lambda x: x), "flatten"),
        (Net(after=lambda y: y), r"must return \(3, 1, 17, 3\)"),
        (Net(before=lambda x: (x - x.mean(0)).flatten(-2)), "other clips of the batch"),
        (Net(after=lambda y: y.log().unflatten(-1, (17, 3))), "NaN or infinite"),
    ],
)
def test_a_network_that_does_not_fit_says_what_to_change(module, message, dataset):
    with pytest.raises(BenchmarkError, match=message):
        mocap3d.benchmark(module, dataset, **QUICK)


def test_parameters_that_are_not_used_are_named(dataset):
    net = Net()
    net.spare = nn.Linear(2, 2)
    with pytest.warns(UserWarning, match="no gradient reaches spare.weight"):
        mocap3d.benchmark(net, dataset, lambda: Net(4), **QUICK)


def test_settings_that_cannot_be(dataset):
    with pytest.raises(BenchmarkError, match="give what makes it"):
        mocap3d.benchmark(Net(), dataset, seeds=(0, 1), **QUICK)
    with pytest.raises(BenchmarkError, match="on='all'"):
        mocap3d.benchmark(Net, dataset, on="all", **QUICK)
    with pytest.raises(BenchmarkError, match="no such model"):
        mocap3d.benchmark(Net, dataset, "alexnet", **QUICK)
    with pytest.raises(BenchmarkError, match="give an nn.Module"):
        mocap3d.benchmark(lambda: 3, dataset, **QUICK)
    with pytest.raises(BenchmarkError, match="one training subject"):
        mocap3d.benchmark(Net, dataset.select(subject=["S1", "S9"]), **QUICK)


def test_scaled_networks_read_and_predict_z_scores():
    lifter = as_lifter(nn.Identity(), scaled=True)
    generator = torch.Generator().manual_seed(0)
    points, pose = torch.randn(50, 17, 2, generator=generator) + 3, torch.randn(50, 17, 3, generator=generator) * 0.2
    assert lifter.normalisation is None
    lifter.fit_normalisation(points, pose)
    read, wanted = lifter.encode(points[:, None]), lifter.targets(pose[:, None])
    assert read.mean().abs() < 1e-5 and (read.std() - 1).abs() < 0.02
    assert (wanted[..., 1:, :].std() - 1).abs() < 0.02
    assert torch.allclose(lifter.decode(wanted), (pose - pose[:, :1])[:, None], atol=1e-5)
    other = as_lifter(nn.Identity(), scaled=True)
    other.normalisation = lifter.normalisation
    assert torch.equal(other.encode(points[:, None]), read)


def test_the_interval_of_two_levels():
    """A gain that is the same everywhere has no interval; one that differs between seeds has."""

    def arm(*by_seed):
        return [{"numbers": {"new": {"recordings": {"a": {"r1": [2, e], "r2": [1, e + 3]}}}}} for e in by_seed]

    assert records.effect(arm(50, 60), arm(48, 58), "new") == pytest.approx((2, 2, 2))
    gain, low, high = records.effect(arm(50, 60), arm(48, 62), "new")
    assert gain == pytest.approx(0) and low == pytest.approx(-2) and high == pytest.approx(2)
