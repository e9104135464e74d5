"""A stream gives, frame by frame, what lifting the whole sequence gives."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mocap3d.missing import fill_missing
from mocap3d.models.create import create_model
from mocap3d.models.videopose3d import VideoPose3D


def trained(device: torch.device | str = "cpu", **options) -> VideoPose3D:
    """A causal model whose batch norms have seen something."""
    torch.manual_seed(0)
    model = VideoPose3D(**{"channels": 16, "causal": True, **options}).to(device)
    model(torch.randn(9, model.receptive_field, 34, device=device))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model.eval()


@torch.no_grad()
def whole(model: VideoPose3D, points: torch.Tensor) -> torch.Tensor:
    """(T, B, 17, 2) -> (T, B, J, 3), the first frame repeated before the sequence."""
    padded = torch.cat([points[:1].expand(model.receptive_field - 1, -1, -1, -1), points])
    return model.decode(model(model.encode(padded.transpose(0, 1)))).transpose(0, 1)


@settings(max_examples=40, deadline=None)
@given(
    widths=st.lists(st.sampled_from([1, 3, 5]), min_size=1, max_size=4),
    dense=st.booleans(),
    frames=st.integers(1, 60),
    persons=st.integers(1, 3),
    joints=st.sampled_from([17, 1]),
)
def test_equals_the_whole_sequence(widths: list[int], dense: bool, frames: int, persons: int, joints: int) -> None:
    model = trained(filter_widths=widths, dense=dense, joints_out=joints)
    points = torch.rand(frames, persons, 17, 2) * 2 - 1
    stream = model.stream()
    poses = torch.stack([stream(frame) for frame in points])
    expected = whole(model, points)
    assert poses.shape == (frames, persons, joints, 3)
    assert (poses - expected).abs().max() <= 1e-5 * max(1, expected.abs().max())


@pytest.mark.parametrize("name", ["videopose3d_1", "videopose3d_27", "videopose3d_243"])
def test_published_sizes_of_window(name: str, device: torch.device) -> None:
    model = create_model(name, channels=32, causal=True).to(device).eval()
    points = torch.rand(300, 17, 2, device=device) * 2 - 1
    stream = model.stream()
    poses = torch.stack([stream(frame) for frame in points])
    assert poses.device == points.device and not poses.requires_grad
    torch.testing.assert_close(poses, whole(model, points[:, None])[:, 0], rtol=0, atol=1e-5)


def test_reset_begins_another_sequence(device: torch.device) -> None:
    stream = trained(device).stream()
    points = torch.rand(40, 17, 2, device=device)
    first = [stream(frame) for frame in points]
    after = stream(points[0])
    stream.reset()
    again = [stream(frame) for frame in points]
    assert all(map(torch.equal, first, again)) and not torch.equal(after, first[0])
    with pytest.raises(ValueError, match="2 persons after 1.*reset"):
        stream(torch.zeros(2, 17, 2))
    stream.reset()
    assert stream(torch.zeros(2, 17, 2)).shape == (2, 17, 3)


def test_missing_joints_are_filled_from_the_past(device: torch.device) -> None:
    model = trained(device)
    points = torch.rand(12, 17, 2)
    points[0, 5] = torch.nan
    points[3:9, 13] = torch.nan
    points[6, 14, 1] = torch.inf  # half a joint is no joint
    points[10] = torch.nan  # nobody: the frame before is taken
    filled = []
    for frame in points:
        pair = torch.stack([*filled[-1:], frame]).numpy()
        whole = torch.from_numpy(fill_missing(pair, past_only=True))[-1]
        filled.append(whole if whole.isfinite().all() else filled[-1])
    torch.testing.assert_close(filled[10], points[9])
    stream, expected, two = model.stream(), model.stream(), model.stream()
    for frame, whole in zip(points, filled, strict=True):
        pose = stream(frame.numpy())
        torch.testing.assert_close(pose, expected(whole), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(two(torch.stack([frame, frame]))[1], pose, rtol=1e-5, atol=1e-5)
    stream.reset()
    assert stream(torch.full((17, 2), torch.nan)).isfinite().all()


def test_weights_are_those_of_its_making(device: torch.device) -> None:
    model = trained(device)
    stream, points = model.stream(), torch.rand(17, 2)
    before = stream(points)
    for tensor in model.state_dict().values():
        tensor.zero_()
    stream.reset()
    assert torch.equal(stream(points), before)


def test_memory_does_not_grow() -> None:
    stream = trained(filter_widths=(3, 5)).stream()
    stream(np.zeros((17, 2)))
    kept = [column.ring for column in (stream._stem, stream._blocks[0][0])]
    assert [ring.shape[1] for ring in kept] == [3, 13]
    for _ in range(50):
        stream(np.zeros((17, 2)))
    assert all(map(lambda a, b: a is b, kept, [stream._stem.ring, stream._blocks[0][0].ring]))


def test_pixels_are_not_screen_units() -> None:
    stream = trained().stream()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stream(torch.full((17, 2), 0.9))
    stream.reset()
    with pytest.warns(UserWarning, match="points reach 900 in an image that runs from -1 to 1") as told:
        for _ in range(3):
            stream(torch.full((17, 2), 900.0))
    assert len(told) == 1


def test_wrong_use() -> None:
    with pytest.raises(ValueError, match="videopose3d_27 needs 13 frames of the future.*causal=True"):
        create_model("videopose3d_27", channels=8).stream()
    stream = trained().stream()
    for shape in ((34,), (16, 2), (1, 1, 17, 2), (17, 3)):
        with pytest.raises(ValueError, match="needs one frame"):
            stream(torch.zeros(shape))
