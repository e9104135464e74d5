"""Evaluation: each protocol's rules by hand, nothing across clip borders, reports that survive a file."""

from __future__ import annotations

import json
import math
import warnings
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
import torch

from mocap3d import metrics
from mocap3d.data.dataset import PoseDataset
from mocap3d.data.windows import to_device
from mocap3d.evaluation.comparison import compare, table
from mocap3d.evaluation.evaluate import evaluate, measure
from mocap3d.evaluation.predict import predict, predict_clips
from mocap3d.evaluation.protocol import (
    BOTH_CENTRED,
    PROTOCOLS,
    ROOT_COPIED,
    TARGET_ADDED,
    TARGET_ZEROED,
    EvalProtocol,
    ReportError,
)
from mocap3d.evaluation.report import METRICS, Report
from mocap3d.models.create import create_model
from mocap3d.skeleton import H36M17, flip
from mocap3d.weights import export_weights, load_weights
from tests.toys import Oracle, ToyLifter, sticks

PLAIN = EvalProtocol("plain", TARGET_ZEROED, "frames")


@pytest.fixture(scope="module")
def dataset():
    return sticks(takes=4, frames=12, split="test", views=2, sources=2)


@pytest.fixture(scope="module")
def truth(dataset):
    data = to_device(dataset)
    return (data.pose3d - data.pose3d[:, :1]).numpy().astype(np.float64)


def noisy(truth: np.ndarray, scale: float = 0.05, seed: int = 0) -> np.ndarray:
    return (truth + np.random.default_rng(seed).normal(0, scale, truth.shape)).astype(np.float32)


def report_of(dataset, predictions, protocol=PLAIN, name="x") -> Report:
    return measure(predictions, to_device(dataset), protocol, model=name)


def test_a_perfect_model_has_no_error(dataset, truth, device):
    report = evaluate(Oracle(truth).to(device), dataset, "mmpose")
    assert report.mpjpe_mm < 1e-3 and report.mean("pck") == 1 and report.mean("acceleration") < 1e-2
    assert set(report.summary) == set(METRICS)


def test_a_known_error_is_measured(dataset, truth, device):
    shifted = truth.copy()
    shifted[:, H36M17.index("head"), 2] += 0.17  # 170 mm on one of 17 joints
    report = evaluate(Oracle(shifted).to(device), dataset, PLAIN)
    assert report.mpjpe_mm == pytest.approx(10.0, rel=1e-4)
    assert report.by_joint["head"] == pytest.approx(170, rel=1e-4) and report.by_joint["nose"] < 1e-3
    assert report.mean("mpjve_mm") < 1e-2  # a constant offset does not move
    assert report.mean("pck") == pytest.approx(16 / 17)
    assert repr(report) == "10.0 mm MPJPE (plain protocol)"


def test_metrics_agree_with_the_metrics_module(dataset, truth):
    predictions = noisy(truth)
    report = report_of(dataset, predictions)
    assert report.mpjpe_mm == pytest.approx(1000 * metrics.mpjpe(predictions, truth), rel=1e-6)
    assert report.p_mpjpe_mm == pytest.approx(1000 * metrics.p_mpjpe(predictions, truth), rel=1e-6)
    assert report.mean("n_mpjpe_mm") == pytest.approx(1000 * metrics.n_mpjpe(predictions, truth), rel=1e-6)
    assert report.mean("auc") == pytest.approx(metrics.auc(predictions, truth), rel=1e-6)


def test_velocities_never_cross_clip_borders(dataset, truth):
    """Each clip off by another constant: no velocity error within clips, a jump at every border."""
    predictions, data = truth.copy(), to_device(dataset)
    predictions += 0.1 * data.clip.numpy()[:, None, None]
    assert metrics.mpjve(predictions, truth) > 1e-3
    report = report_of(dataset, predictions.astype(np.float32))
    assert report.mean("mpjve_mm") < 1e-3 and report.mean("acceleration") < 1e-2


def test_velocity_is_weighted_by_differences(dataset, truth):
    predictions = noisy(truth)
    report, data = report_of(dataset, predictions), to_device(dataset)
    errors = []
    for start, stop in zip(data.start.tolist(), data.stop.tolist(), strict=True):
        gap = np.diff(predictions[start:stop].astype(np.float64), axis=0) - np.diff(truth[start:stop], axis=0)
        errors.append(np.linalg.norm(gap, axis=-1).mean(-1))
    assert report.mean("mpjve_mm") == pytest.approx(1000 * np.concatenate(errors).mean(), rel=1e-4)


def test_root_rules(dataset, truth):
    """A prediction wholly shifted by 100 mm, root included."""
    shifted = (truth + [0.1, 0, 0]).astype(np.float32)
    error = {
        rule: report_of(dataset, shifted, EvalProtocol("r", rule)).mpjpe_mm
        for rule in (TARGET_ZEROED, TARGET_ADDED, BOTH_CENTRED, ROOT_COPIED)
    }
    assert error[TARGET_ZEROED] == pytest.approx(100, rel=1e-4)
    assert error[TARGET_ADDED] == pytest.approx(100, rel=1e-4)
    assert error[BOTH_CENTRED] == pytest.approx(0, abs=1e-3)
    assert error[ROOT_COPIED] == pytest.approx(100 * 16 / 17, rel=1e-4)


def test_mmpose_scales_absolute_poses(dataset, truth):
    small = (0.8 * truth).astype(np.float32)  # the best scale mends it, if the root is at the origin
    assert report_of(dataset, small, PROTOCOLS["videopose3d"]).mean("n_mpjpe_mm") < 1e-3
    assert report_of(dataset, small, PROTOCOLS["mmpose"]).mean("n_mpjpe_mm") > 10


def test_averaging_rules():
    """Long clips of a bad action, short ones of a good one: each rule gives its own mean."""
    long, short = sticks(takes=1, frames=90, views=1), sticks(takes=2, frames=30, views=1, seed=1)
    clips = (
        replace(long[0], action="Run", source="a"),
        replace(short[0], action="Run", source="b"),
        replace(short[1], action="Sit", source="b"),
    )
    dataset = PoseDataset("three", clips)
    data = to_device(dataset)
    error = np.array([0.1, 0.2, 0.4])  # metres, per clip of 90, 30, 33 frames
    predictions = (data.pose3d - data.pose3d[:, :1]).numpy()
    predictions[..., 0] += error[data.clip.numpy()][:, None]
    mean = {
        rule: report_of(dataset, predictions, replace(PLAIN, averaging=rule)).mpjpe_mm
        for rule in ("frames", "actions", "sources")
    }
    run, b = (90 * 100 + 30 * 200) / 120, (30 * 200 + 33 * 400) / 63
    assert mean["frames"] == pytest.approx((90 * 100 + 30 * 200 + 33 * 400) / 153, rel=1e-4)
    assert mean["actions"] == pytest.approx((run + 400) / 2, rel=1e-4)
    assert mean["sources"] == pytest.approx((100 + b) / 2, rel=1e-4)
    report = report_of(dataset, predictions)
    assert (
        report.by_action["Run"]["mpjpe_mm"] == pytest.approx(run, rel=1e-4) and report.by_action["Sit"]["frames"] == 33
    )
    assert report.by_source["b"]["mpjpe_mm"] == pytest.approx(b, rel=1e-4)
    assert [clip.values["mpjpe_mm"] for clip in report.clips] == pytest.approx([100, 200, 400], rel=1e-4)


def test_flip_test_is_the_mean_of_both_views(dataset, device):
    torch.manual_seed(0)
    model, data = ToyLifter().to(device), to_device(dataset, device)
    model.fit_normalisation(data.points2d, data.pose3d)
    plain = predict(model, data)
    model.eval()
    with torch.no_grad():
        turned = model.decode(model(model.encode(flip(data.points2d[:, None]))))[:, 0]
    torch.testing.assert_close(predict(model, data, flip_test=True), (plain + flip(turned)) / 2)
    torch.testing.assert_close(predict(model, data, batch_size=7), plain)
    torch.testing.assert_close(predict(model, data, frames=torch.tensor([5, 2], device=device)), plain[[5, 2]])


def temporal(device="cpu", seed=0, **options):
    """A small VideoPose3D whose batch norms do something."""
    torch.manual_seed(seed)
    model = create_model("videopose3d", channels=12, **options)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
    return model.to(device)


@pytest.mark.parametrize("causal", [False, True])
def test_whole_clips_and_their_flip_are_lifted_as_published(golden, formula, causal):
    case = golden("flip_vp3d" + "_causal" * causal)
    keys = export_weights(create_model("videopose3d_27", channels=64, causal=causal), "videopose3d")
    state = {
        key: torch.from_numpy(formula.weight(key, value.shape, "_bn." in key or key.startswith("expand_bn")))
        for key, value in keys.items()
    }
    model = load_weights(state, causal=causal)
    points = torch.from_numpy(formula.pose2d("flip/vp", (1, 20, 17, 2))[0])
    for flip_test, expected in ((False, case["out_noflip"]), (True, case["out"][0])):
        for batch_size in (4096, 7):
            said = predict_clips(model, points, torch.tensor([20]), flip_test=flip_test, batch_size=batch_size)
            np.testing.assert_allclose(said, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("flip_test", [False, True])
def test_whole_clips_say_what_each_window_says(device, causal, flip_test):
    """Clips of one frame and more, at any chunk size; nothing comes from a neighbouring clip."""
    model = temporal(device, filter_widths=(3, 3), causal=causal)
    clips = [
        replace(clip, pose2d=clip.pose2d.slice(0, n), pose3d=clip.pose3d.slice(0, n))
        for clip, n in zip(sticks(takes=2, frames=30), (1, 30, 2, 8, 9, 10, 1, 30), strict=True)
    ]
    data = to_device(clips, device)
    windows = predict(model, data, frames=torch.arange(len(data), device=device), flip_test=flip_test)
    for batch_size in (1, 5, 4096):
        whole = predict(model, data, flip_test=flip_test, batch_size=batch_size)
        torch.testing.assert_close(whole, windows, atol=1e-6, rtol=1e-5)
    alone = predict(model, to_device(clips[3:4], device), flip_test=flip_test)
    rows = slice(int(data.start[3]), int(data.stop[3]))
    torch.testing.assert_close(windows[rows], alone, atol=1e-6, rtol=1e-5)
    assert model.training


def test_a_model_that_breaks_the_contract_is_told(dataset):
    class Padding(torch.nn.Module):
        name, receptive_field, clipwise, causal, space = "padding", 3, False, False, "metric"
        normalise, input_skeleton, checkpointing, normalisation = "published", "h36m17", False, None
        targets = fit_normalisation = None  # never asked

        def encode(self, points2d, confidence=None):
            return points2d

        def forward(self, x):
            return torch.nn.functional.pad(x, (0, 1))  # to three coordinates, and as many poses as frames

        def decode(self, output):
            return output

    with pytest.raises(ReportError, match="'padding' decodes .* receptive field of 3 it must be"):
        predict(Padding(), to_device(dataset))


def test_evaluation_leaves_the_model_in_its_mode(dataset, device):
    model, data = ToyLifter().to(device), to_device(dataset, device)
    model.fit_normalisation(data.points2d, data.pose3d)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    evaluate(model.train(), dataset)
    assert model.training and all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_missing_truth_is_left_out(dataset, truth):
    clip = dataset[0]
    points = clip.pose3d.points.copy()
    points[4:, H36M17.index("head")] = np.nan
    holed = PoseDataset("holed", (replace(clip, pose3d=replace(clip.pose3d, points=points)), *dataset.clips[1:]))
    predictions = truth.astype(np.float32).copy()
    predictions[4 : len(clip), H36M17.index("head")] += 9  # nobody knows
    report = report_of(holed, predictions)
    assert report.mpjpe_mm < 1e-3 and report.clips[0].weight == pytest.approx((len(clip) * 17 - (len(clip) - 4)) / 17)


def test_short_clips_have_no_velocity(dataset):
    clip = dataset[0]
    short = [replace(clip, pose2d=clip.pose2d.slice(0, n), pose3d=clip.pose3d.slice(0, n)) for n in (1, 2, 5)]
    data = to_device(short)
    report = report_of(short, (data.pose3d - data.pose3d[:, :1]).numpy())
    assert [math.isnan(c.values["mpjve_mm"]) for c in report.clips] == [True, False, False]
    assert [math.isnan(c.values["acceleration"]) for c in report.clips] == [True, True, False]
    assert report.mean("acceleration") < 1e-2 and "frames" in str(report)


def test_the_2d_source_is_measured(dataset, truth):
    assert "2D: ground truth (projected)" in str(report_of(dataset, noisy(truth)).protocol)
    rng = np.random.default_rng(0)
    blurred = PoseDataset(
        "blurred",
        tuple(replace(clip, pose2d=replace(clip.pose2d, points=rng.normal(clip.pose2d.points, 4))) for clip in dataset),
        notes=("2D: simulated by hand",),
    )
    model = Oracle(noisy(truth))
    source = evaluate(model, blurred, PLAIN).protocol.pose2d
    assert source.startswith("detections (simulated by hand; 5.") and "px" in source  # 4 * sqrt(pi / 2) = 5.01


def test_reports_survive_a_file(dataset, truth, tmp_path):
    report = report_of(dataset, noisy(truth), PROTOCOLS["open-mocap"], "tester")
    path = report.to_json(tmp_path / "deep" / "report.json")
    again = Report.from_json(path)
    assert str(again) == str(report) and again.protocol == report.protocol and again.clips == report.clips
    record = json.loads(path.read_text())
    assert record["protocol"]["root"] == TARGET_ZEROED and record["summary"]["mpjpe_mm"] == report.mpjpe_mm
    assert str(tmp_path) not in path.read_text()
    for text in ("", "{}", "[]", '{"format": "other"}', "nonsense", json.dumps(record | {"clips": [{"take": 1}]})):
        path.write_text(text)
        with pytest.raises(ReportError, match="report"):
            Report.from_json(path)


def test_what_is_printed(dataset, truth):
    report = report_of(dataset, noisy(truth), PROTOCOLS["open-mocap"])
    text = str(report)
    assert text.startswith(f"{report.mpjpe_mm:.1f} mm MPJPE (open-mocap protocol): x on sticks")
    for part in ("flip test off", "50 fps", "2D: ground truth", "source source-1", "Wave", "PCK@150mm %", "left_wrist"):
        assert part in text
    assert "<table>" in report._repr_html_() and "&" not in report.model
    with pytest.raises(FrozenInstanceError):
        report.model = "y"


def test_sources_are_printed_with_their_persons(dataset, truth):
    named = PoseDataset(
        "named",
        tuple(replace(c, performer="cmu-02" if c.source == "source-0" else "unknown, one of 3") for c in dataset),
    )
    report = report_of(named, noisy(truth))
    assert "source source-0 (1 person) " in str(report) and "source source-1 (<=3 persons) " in str(report)
    assert "source-1 (&lt;=3 persons)" in report._repr_html_()
    assert "MPJPE mm: source-0 (1 person)  MPJPE mm: source-1 (<=3 persons)" in repr(table([report]))
    assert "source source-0 (? persons)" in str(report_of(dataset, noisy(truth)))
    assert report.by_source.keys() == {"source-0", "source-1"}
    alone = named.select(source="source-0")
    assert "person" not in str(report_of(alone, noisy(truth)[to_device(named).clip.numpy() % 4 < 2]))


@pytest.fixture(scope="module")
def gaps(dataset):
    """The same clips; the left wrist is missing in the first, the head in the first half of the third."""
    clips = list(dataset)
    for number, joint, frames in ((0, "left_wrist", 12), (2, "head", 6)):
        points = clips[number].pose2d.points.copy()
        points[:frames, H36M17.index(joint)] = np.nan
        clips[number] = replace(clips[number], pose2d=replace(clips[number].pose2d, points=points, confidence=None))
    return PoseDataset("gaps", tuple(clips))


@pytest.mark.parametrize("averaging", ["frames", "actions", "sources"])
def test_errors_of_filled_joints_are_apart(gaps, truth, averaging):
    predictions, data = noisy(truth), to_device(gaps)
    predictions[..., H36M17.index("left_wrist"), 0] += 0.2
    report = report_of(gaps, predictions, replace(PLAIN, averaging=averaging))
    errors = 1000 * np.linalg.norm(predictions - truth, axis=-1)  # (N, J)
    filled, clip = data.confidence.numpy() == 0, data.clip.numpy()
    assert filled.sum() == 18
    groups = {"frames": "", "actions": "action", "sources": "source"}
    labels = np.array([getattr(c, groups[averaging]) if groups[averaging] else "" for c in gaps])[clip]
    for metric, part in (("seen_mpjpe_mm", ~filled), ("filled_mpjpe_mm", filled)):
        means = [errors[labels == g][part[labels == g]] for g in dict.fromkeys(labels)]
        assert report.mean(metric) == pytest.approx(np.mean([m.mean() for m in means if len(m)]), rel=1e-5)
    if averaging == "frames":
        share = report.mean("filled")
        assert share == pytest.approx(filled.mean())
        both = share * report.mean("filled_mpjpe_mm") + (1 - share) * report.mean("seen_mpjpe_mm")
        assert both == pytest.approx(report.mpjpe_mm)
        assert compare(report, report_of(gaps, truth), "seen_mpjpe_mm", resamples=10).difference == pytest.approx(
            report.mean("seen_mpjpe_mm"), rel=1e-4
        )


def test_only_reports_with_filled_joints_print_them(dataset, gaps, truth, tmp_path):
    plain, report = (report_of(data, noisy(truth)) for data in (dataset, gaps))
    assert set(plain.metrics) == set(METRICS) and "filled" not in str(plain)
    assert "MPJPE seen mm  MPJPE filled mm  filled %" in str(report) and "MPJPE filled mm" in repr(table([report]))
    for metric in METRICS:
        assert plain.mean(metric) == report.mean(metric)
    again = Report.from_json(report.to_json(tmp_path / "report.json"))
    assert str(again) == str(report) and again.metrics == report.metrics
    assert math.isnan(again.clips[1].values["filled_mpjpe_mm"]) and again.clips[1].values["filled"] == 0
    assert again.mean("filled_mpjpe_mm") == report.mean("filled_mpjpe_mm")


def test_filled_joints_count_where_the_truth_is_known(gaps, truth):
    """One clip, of whose filled joints the truth is unknown in some frames."""
    clip = gaps[0]
    points = clip.pose3d.points.copy()
    points[:4, H36M17.index("left_wrist")] = np.nan
    clip = replace(clip, pose3d=replace(clip.pose3d, points=points))
    report = report_of(PoseDataset("one", (clip,)), noisy(truth[: len(clip)]))
    joints = len(clip) * 17 - 4
    assert report.mean("filled") == pytest.approx(8 / joints)
    assert report.clips[0].weight_of("filled_mpjpe_mm") == pytest.approx(8 / 17)
    assert report.clips[0].weight_of("seen_mpjpe_mm") == pytest.approx((joints - 8) / 17)


def test_bad_calls_are_refused_with_the_fix(dataset, truth):
    model = Oracle(truth)
    with pytest.raises(ReportError, match="videopose3d, mmpose"):
        evaluate(model, dataset, "mine")
    with pytest.raises(ReportError, match=r"50 fps.*resample\(25\)"):
        evaluate(model, dataset, replace(PLAIN, fps=25.0))
    with pytest.raises(ReportError, match=r"NaN"):
        evaluate(Oracle(truth * np.nan), dataset, PLAIN)
    with pytest.raises(ReportError, match="shape"):
        report_of(dataset, truth[:-1])
    with pytest.raises(ReportError, match="averaging"):
        replace(PLAIN, averaging="median")
    with pytest.raises(ReportError, match="root"):
        replace(PLAIN, root="none")
    with pytest.raises(ReportError, match="there are"):
        report_of(dataset, noisy(truth)).mean("mse")


def test_comparison_is_paired_seeded_and_signed(dataset, truth):
    good, bad = noisy(truth, 0.02), noisy(truth, 0.02)
    bad[..., 0] += np.sign(bad[..., 0] - truth[..., 0]) * 0.01  # the same errors and a little more, everywhere
    a, b = report_of(dataset, good, name="good"), report_of(dataset, bad, name="bad")
    result = compare(a, b, resamples=500)
    assert result.difference == pytest.approx(a.mpjpe_mm - b.mpjpe_mm) and result.high < 0 and result.recordings == 4
    assert result.low <= result.difference <= result.high
    assert compare(a, b, resamples=500) == result and compare(a, b, resamples=500, seed=1) != result
    back = compare(b, a, resamples=500)
    assert (back.low, back.high) == pytest.approx((-result.high, -result.low))
    assert "good - bad" in repr(result) and "these clips only" in repr(result)
    assert compare(a, a, resamples=50).low == compare(a, a, resamples=50).high == 0


@pytest.mark.parametrize("averaging", ["frames", "actions", "sources"])
def test_bootstrap_draws_takes_within_sources(averaging):
    """Against a plain loop that draws takes one by one and averages with Report.mean."""
    dataset = sticks(takes=6, frames=8, split="test", views=2, sources=2)
    data = to_device(dataset)
    base = (data.pose3d - data.pose3d[:, :1]).numpy().astype(np.float64)
    protocol = replace(PLAIN, averaging=averaging)
    shift = np.random.default_rng(0).uniform(0, 0.1, len(dataset))[data.clip.numpy()][:, None, None]
    a, b = (
        report_of(dataset, noisy(base, 0.01), protocol),
        report_of(dataset, (base + shift).astype(np.float32), protocol),
    )
    rng, means = np.random.default_rng(1), []
    for _ in range(2000):
        chosen = []
        for source in ("source-0", "source-1"):
            takes = list(dict.fromkeys(clip.take for clip in a.clips if clip.source == source))
            chosen += [takes[i] for i in rng.integers(len(takes), size=len(takes))]
        picked = ([c for take in chosen for c in report.clips if c.take == take] for report in (a, b))
        means.append(a.mean("mpjpe_mm", next(picked)) - b.mean("mpjpe_mm", next(picked)))
    result = compare(a, b, resamples=20_000)
    spread = np.std(means)
    assert spread > 0.5  # mm: the test could not see anything otherwise
    np.testing.assert_allclose([result.low, result.high], np.percentile(means, [2.5, 97.5]), atol=0.25 * spread)


def test_a_lone_take_is_said(truth):
    dataset = sticks(takes=1, frames=8, split="test", views=2)
    data = to_device(dataset)
    base = (data.pose3d - data.pose3d[:, :1]).numpy()
    result = compare(report_of(dataset, base), report_of(dataset, noisy(base)))
    assert result.lone_sources == ("source-0",) and "one recording only" in repr(result)


def test_unlike_reports_are_not_compared(dataset, truth):
    a = report_of(dataset, noisy(truth))
    with pytest.raises(ReportError, match=r"different protocols.*averaging is 'frames'.*'actions'"):
        compare(a, report_of(dataset, noisy(truth), replace(PLAIN, averaging="actions")))
    fewer = PoseDataset("fewer", dataset.clips[:-1])
    with pytest.raises(ReportError, match="different clips"):
        compare(a, report_of(fewer, noisy(truth[: fewer.frames])))
    other = sticks(takes=4, frames=12, split="test", views=2, sources=2)
    moved = PoseDataset(
        "sticks", tuple(replace(clip, pose3d=replace(clip.pose3d, points=clip.pose3d.points * 1.001)) for clip in other)
    )
    with pytest.raises(ReportError, match="other contents|different contents"):
        compare(a, report_of(moved, noisy(truth)))
    with pytest.raises(ReportError, match="there are"):
        compare(a, a, metric="mse")


def test_table_marks_what_cannot_be_compared(dataset, truth):
    a, b = report_of(dataset, noisy(truth)), report_of(dataset, noisy(truth, 0.1))
    alike = table({"one": a, "two": b})
    assert "NOT COMPARABLE" not in repr(alike) and "one" in repr(alike) and "MPJPE mm: source-1" in repr(alike)
    assert f"{b.mpjpe_mm:.1f}" in repr(alike) and "<table>" in alike._repr_html_()
    odd = table({"one": a, "two": report_of(dataset, noisy(truth), replace(PLAIN, flip_test=True))})
    assert "NOT COMPARABLE" in repr(odd) and "plain [b]" in repr(odd) and "NOT COMPARABLE" in odd._repr_html_()
    assert "x" in repr(table([a]))
    with pytest.raises(ReportError, match="at least one"):
        table({})


def test_pieces_of_one_recording_are_drawn_together(dataset, truth):
    """Eight views of four takes that are pieces of two recordings: two independent things, not four."""
    pieces = [replace(clip, take=f"{clip.source}:{clip.take}") for clip in dataset]  # two takes a source
    recordings = {clip.recording for clip in pieces}
    assert 1 < len(recordings) < len({clip.take for clip in pieces})
    a, b = (report_of(PoseDataset("cut", tuple(pieces)), noisy(truth, spread)) for spread in (0.01, 0.02))
    assert compare(a, b, resamples=50).recordings == len(recordings)


def test_an_empty_data_set_is_refused_by_name(truth):
    with pytest.raises(ReportError, match="nothing has no clips at all"):
        evaluate(Oracle(truth), PoseDataset("nothing", ()), PLAIN)


def test_clips_that_are_there_twice_draw_one_warning(dataset):
    clips, model, data = list(dataset), ToyLifter(), to_device(dataset)
    model.fit_normalisation(data.points2d, data.pose3d)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluate(model, clips, PLAIN)
        halves = [clip.slice(*at) for clip in clips for at in ((0, 6), (6, 12))]
        evaluate(model, halves, PLAIN)
    with pytest.warns(UserWarning, match="2 clips are there more than once .* the first is .test-0-0") as found:
        evaluate(model, [*clips, *clips[:2]], PLAIN)
    assert len(found) == 1
