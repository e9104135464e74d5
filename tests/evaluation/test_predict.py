"""Whole clips: any length, without seams, as published, in image space and in metres."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mocap3d.camera import h36m_cameras
from mocap3d.data.chunks import OVERLAP, overlapping_chunks
from mocap3d.data.image_space import scale_by_factor, screen_targets
from mocap3d.data.windows import in_image_space, to_device
from mocap3d.evaluation.evaluate import evaluate
from mocap3d.evaluation.predict import predict_chunks, predict_clips, to_metric
from mocap3d.evaluation.protocol import CLIPS_WHOLE, METRIC, PROTOCOLS, ROOT_DEPTH
from mocap3d.lifting.lift import lift
from mocap3d.models.motionbert import MotionBERT
from mocap3d.models.published import from_published, to_published
from mocap3d.poses import Clip, Pose2D, Pose3D
from mocap3d.skeleton import H36M17, flip
from tests.toys import Knows, small_motionbert, sticks


@pytest.fixture(scope="module")
def test():
    return sticks(2, frames=40, split="test")


def numbered(frames: int) -> torch.Tensor:
    points = torch.rand(frames, 17, 2)
    points[:, 0, 0] = torch.arange(frames) / 1e4
    return points


@settings(max_examples=200, deadline=None)
@given(length=st.integers(1, 2000), frames=st.integers(1, 243), overlap=st.integers(0, 100))
def test_pieces_cover_every_frame_and_overlap(length: int, frames: int, overlap: int) -> None:
    pieces = overlapping_chunks(length, frames, overlap)
    assert pieces[0].start == 0 and pieces[-1].stop == length
    assert all(len(piece) == min(length, frames) for piece in pieces)
    for a, b in zip(pieces, pieces[1:], strict=False):
        assert a.stop - b.start >= min(overlap, frames // 2) and a.start < b.start


@pytest.mark.parametrize("length", [1, 2, 242, 243, 244, 486, 10_000])
def test_any_length_is_predicted_frame_for_frame(length: int, device: torch.device) -> None:
    """Whatever is cut where, a model that knows each frame's pose is repeated exactly, and in its place."""
    torch.manual_seed(length)
    answers, points = torch.randn(length, 17, 3), numbered(length)
    model = Knows(answers, 243).to(device)
    said = predict_clips(model, points.to(device), torch.tensor([length], device=device))
    torch.testing.assert_close(said.cpu(), answers, rtol=1e-5, atol=1e-5)


def test_clips_do_not_see_each_other(device: torch.device) -> None:
    model = small_motionbert().to(device).eval()
    points = torch.rand(60, 17, 2, device=device)
    together = predict_clips(model, points, torch.tensor([25, 5, 9, 21], device=device))
    apart = [
        predict_clips(model, part, torch.tensor([len(part)], device=device)) for part in points.split([25, 5, 9, 21])
    ]
    torch.testing.assert_close(together, torch.cat(apart), rtol=1e-4, atol=1e-5)
    few = predict_clips(model, points, torch.tensor([25, 5, 9, 21], device=device), batch_size=9)
    torch.testing.assert_close(together, few, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("length", [1, 2, 8, 9, 10, 300])
def test_any_length_is_lifted(length: int, test) -> None:
    points = np.resize(test[0].pose2d.points, (length, 17, 2))
    lifted = lift(Pose2D(points, image_size=test[0].pose2d.image_size), small_motionbert())
    assert len(lifted) == length and np.isfinite(lifted.points).all() and (lifted.points[:, 0] == 0).all()


def test_there_is_no_seam() -> None:
    """A model that is off at the ends of its clips: blended, neighbours differ by a small part of that."""
    frames, length = 81, 400
    model = Knows(torch.zeros(length, 17, 3), frames, edge=1.0)
    said = predict_clips(model, numbered(length), torch.tensor([length]))[:, 5, 0]
    inner = said[1:-1]
    assert inner.abs().max() <= 1.01 / (OVERLAP + 1) and said[0] == 1  # the end of the video has no neighbour
    butted = torch.cat(
        [model(torch.cat([part, part[..., :1]], -1)[None])[0] for part in numbered(length).split(frames)]
    )
    assert butted[1:-1, 5, 0].abs().max() == 1


def test_flip_test_mirrors_confidence_too(device: torch.device) -> None:
    model = small_motionbert().to(device).eval()
    points, seen = torch.rand(9, 17, 2, device=device), torch.rand(9, 17, device=device)
    lengths = torch.tensor([9], device=device)
    x = torch.cat([points, seen[..., None]], -1)[None]
    with torch.no_grad():
        expected = (model(x) + flip(model(flip(x, H36M17)), H36M17))[0] / 2
    said = predict_clips(model, points, lengths, confidence=seen, flip_test=True)
    torch.testing.assert_close(said, expected, rtol=1e-4, atol=1e-6)
    plain = predict_clips(model, points, lengths, confidence=seen)
    unsure = predict_clips(model, points, lengths, confidence=seen / 2)
    assert (plain - said).abs().max() > 1e-5 and (plain - unsure).abs().max() > 1e-6


def test_a_frame_nobody_is_sure_of_and_missing_joints(test) -> None:
    model = small_motionbert().eval()
    clip = test[0]
    points, seen = clip.pose2d.points.copy(), clip.pose2d.confidence.copy()
    points[5:8, 3], seen[12] = np.nan, 0
    holed = lift(Pose2D(points, seen, image_size=clip.pose2d.image_size), model)
    assert np.isfinite(holed.points).all()
    nothing = Pose2D(np.full_like(points, np.nan), image_size=clip.pose2d.image_size)
    with pytest.warns(UserWarning, match="Nobody is in the clip"):
        assert np.isnan(lift(nothing, model).points).all()


# Metres


def test_the_truth_in_image_space_comes_back_in_metres(test, device: torch.device) -> None:
    data = to_device(test, device)
    targets = in_image_space(data).pose3d
    assert (targets[:, 0] == 0).all()
    clip = test[0]
    by_hand = screen_targets(clip.pose3d.points.astype(np.float64), clip.camera)
    np.testing.assert_allclose(targets[: len(clip)].cpu().numpy(), by_hand, atol=1e-6)
    rows = torch.arange(len(data), device=device)
    metres = to_metric(Knows(targets, 9), targets, data, rows)
    torch.testing.assert_close(metres, data.pose3d - data.pose3d[:, :1], rtol=0, atol=2e-5)
    assert to_metric(Knows(targets, 9, image_space=False), targets, data, rows) is targets


@pytest.mark.parametrize("name", ["videopose3d", "open-mocap", "mmpose"])
def test_metric_protocols_say_that_the_roots_place_was_given(test, name: str) -> None:
    clips = [replace(c, pose2d=replace(c.pose2d, points=_number(c.pose2d.points, k))) for k, c in enumerate(test)]
    data = to_device(clips)
    answers = in_image_space(data).pose3d
    model = Knows(answers, 27)
    model.encode = lambda points, confidence=None: torch.cat(
        [_rows(points, data)[..., None, None].expand(*points.shape[:-1], 1), points], -1
    )  # noqa: E501
    report = evaluate(model, clips, replace(PROTOCOLS[name], flip_test=False))
    assert report.mpjpe_mm < 0.1 and report.protocol.factor == ROOT_DEPTH and ROOT_DEPTH in str(report.protocol)
    assert report.protocol.space == METRIC and report.protocol.reasons["factor"]
    metric = evaluate(small_motionbert(image_space=False), test, replace(PROTOCOLS[name], flip_test=False))
    assert metric.protocol.factor == "none"


def _number(points: np.ndarray, clip: int) -> np.ndarray:
    """Pixels from which `_rows` can tell clip and frame."""
    points = points.copy()
    points[:, 1, 0] = clip
    points[:, 2, 0] = np.arange(len(points))
    return points


def _rows(points: torch.Tensor, data) -> torch.Tensor:
    """(B, T, J, 2) screen -> (B, T) rows of the data over 1e4."""
    pixels = ((points[..., 1:3, 0] + 1) / 2 * data.clips[0].pose2d.image_size[0]).round().long()  # (B, T, 2)
    return (data.start[pixels[..., 0]] + pixels[..., 1]) / 1e4


def test_the_published_slicing_is_what_the_network_sees(golden, formula) -> None:
    """MotionBERT's own evaluation of a small network: our input, flip and slicing give its results."""
    case = golden("eval_motionbert")
    n, lengths = 120, (60, 27, 33)
    places = (0, 1, 3)
    cameras = [h36m_cameras("S9")[place] for place in places]
    pixels = (500 + 300 * formula.motion("ev/2d", (1, n, 17, 2))[0]).astype(np.float32)
    seen = formula.u("ev/c", n * 17).reshape(n, 17).astype(np.float32)
    nothing = np.full((n, 17, 3), np.nan, np.float32)
    ends, clips = np.cumsum((0, *lengths)), []
    for k, camera in enumerate(cameras):
        rows = slice(ends[k], ends[k + 1])
        seen2d = Pose2D(pixels[rows], seen[rows], image_size=(camera.width, camera.height))
        clips.append(Clip("S9", "x", camera, seen2d, Pose3D(nothing[rows], frame="camera"), take=f"take {k}"))
    data = to_device(clips)
    with torch.device("meta"):
        plan = MotionBERT(channels=32, mlp_ratio=2, representation=32, depth=1, heads=2, frames=27)
    model = plan.to_empty(device="cpu").eval()
    shapes = to_published(model.state_dict(), "MotionBERT", "motionbert")
    weights = {key: torch.from_numpy(formula.weight(key, tuple(x.shape), "norm" in key)) for key, x in shapes.items()}
    model.load_state_dict(from_published(weights, "MotionBERT", "motionbert"))
    pieces = torch.from_numpy(case["clip_ids"])
    x = model.encode(data.points2d[pieces], data.confidence[pieces])
    np.testing.assert_allclose(x.numpy(), case["net_input"], atol=1e-6)
    said = predict_chunks(model, data, pieces, flip_test=True).numpy().astype(np.float64)
    said[:, :, 0] = 0  # as published: "rootrel"
    factor = 3.5 + formula.u("ev/f", n)
    for k, (rows, result) in enumerate(zip(case["clip_ids"], case["results"], strict=True)):
        camera = cameras[(0, 0, 1, 2)[k]]
        image = said[k] * (camera.width / 2)
        found = scale_by_factor(image, factor[rows] if k != 2 else np.full(27, 1.0)) * 1000
        expected = result - result[:, :1]
        assert np.abs(found - expected).max() <= 2e-5 * np.abs(expected).max()


def test_protocols_that_cut_clips_show_the_network_those(test) -> None:
    asked = []

    class Listens(MotionBERT):
        def forward(self, x):
            asked.append(tuple(x.shape))
            return super().forward(x)

    torch.manual_seed(0)
    model = Listens(channels=8, mlp_ratio=1, representation=8, depth=1, heads=2, frames=27)
    cut = replace(PROTOCOLS["motionbert"], piece=27, flip_test=False, exclusions=())
    report = evaluate(model, test, cut)
    assert asked == [(8, 27, 17, 3)] and report.protocol.factor != ROOT_DEPTH
    asked.clear()
    evaluate(model, test, replace(cut, frames=CLIPS_WHOLE))
    assert asked == [(8, 27, 17, 3)]
    asked.clear()
    evaluate(model, test, "open-mocap")
    assert {shape[1] for shape in asked} == {27} and sum(
        shape[0] for shape in asked
    ) == 20  # two of 40 frames, three of 43
    asked.clear()
    evaluate(model, test, replace(cut, piece=36))  # longer than the network's
    assert {shape[1] for shape in asked} == {27}
