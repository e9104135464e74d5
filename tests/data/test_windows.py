"""Windows: what a batch holds, that every frame comes once, and that nothing leaves its clip."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mocap3d.camera import pixels_to_screen
from mocap3d.data.dataset import PoseDataset
from mocap3d.data.windows import (
    batches,
    epoch_generator,
    fill_missing,
    mirrored,
    steps_in_epoch,
    to_device,
    window,
)
from mocap3d.poses import Pose2D
from mocap3d.skeleton import H36M17, get_skeleton
from tests.toys import sticks


@pytest.fixture(scope="module")
def dataset():
    return sticks(takes=3, frames=20, views=2)


def test_the_tensors_are_the_clips(dataset, device):
    data = to_device(dataset, device)
    assert len(data) == dataset.frames and data.device.type == device.type
    for k, clip in enumerate(dataset):
        rows = slice(int(data.start[k]), int(data.stop[k]))
        screen = pixels_to_screen(clip.pose2d.points, *clip.pose2d.image_size)
        np.testing.assert_allclose(data.points2d[rows].cpu(), screen, atol=1e-6)
        np.testing.assert_array_equal(data.pose3d[rows].cpu(), clip.pose3d.points)
        assert (data.clip[rows] == k).all() and len(data.points2d[rows]) == len(clip)
    assert data.points2d.abs().max() < 1.2  # screen units, not pixels


@pytest.mark.parametrize("width", [1, 3, 27])
def test_windows_are_padded_by_their_own_clip(dataset, device, width):
    data = to_device(dataset, device)
    batch = window(data, torch.arange(len(data), device=device), width)
    assert batch.points2d.shape == (len(data), width, 17, 2) and batch.pose3d.shape == (len(data), 1, 17, 3)
    for k in range(len(dataset)):
        start, stop = int(data.start[k]), int(data.stop[k])
        clip = data.points2d[start:stop].cpu().numpy()
        padded = np.pad(clip, ((width // 2, width // 2), (0, 0), (0, 0)), mode="edge")
        for t in (0, 1, len(clip) // 2, len(clip) - 1):
            np.testing.assert_array_equal(batch.points2d[start + t].cpu(), padded[t : t + width])
            np.testing.assert_array_equal(batch.pose3d[start + t, 0].cpu(), data.pose3d[start + t].cpu())


def test_an_epoch_holds_every_frame_once(dataset, device):
    data = to_device(dataset, device)
    drawn = [batch.frames for batch in batches(data, 16, seed=3, epoch=2)]
    assert sorted(torch.cat(drawn).tolist()) == list(range(len(data)))
    assert len(drawn) == steps_in_epoch(len(data), 16)
    assert torch.cat(drawn).tolist() != list(range(len(data)))


def test_order_depends_on_seed_and_epoch_only(dataset, device):
    data = to_device(dataset, device)
    order = lambda **key: torch.cat([batch.frames for batch in batches(data, 16, **key)]).tolist()  # noqa: E731
    assert order(seed=1, epoch=1) == order(seed=1, epoch=1)
    assert order(seed=1, epoch=1) != order(seed=1, epoch=2)
    assert order(seed=1, epoch=1) != order(seed=2, epoch=1)
    # the recipe of the order, as documented: a hand-written loop relies on it
    assert order(seed=1, epoch=2) == torch.randperm(len(data), generator=epoch_generator(1, 2)).tolist()


def test_an_epoch_can_be_entered_anywhere(dataset, device):
    data = to_device(dataset, device)
    whole = list(batches(data, 16, seed=1, epoch=4, mirror=True))
    late = list(batches(data, 16, seed=1, epoch=4, mirror=True, first=3))
    assert len(late) == len(whole) - 3
    for a, b in zip(whole[3:], late, strict=True):
        assert torch.equal(a.points2d, b.points2d) and torch.equal(a.pose3d, b.pose3d)


def test_half_a_batch_is_mirrored(dataset, device):
    data = to_device(dataset, device)
    plain = next(batches(data, 16, seed=1))
    flipped = next(batches(data, 16, seed=1, mirror=True))
    assert torch.equal(plain.points2d[8:], flipped.points2d[8:]) and torch.equal(
        plain.pose3d[8:], flipped.pose3d[8:]
    )
    left, right = H36M17.index("left_wrist"), H36M17.index("right_wrist")
    assert torch.equal(flipped.points2d[:8, :, left, 0], -plain.points2d[:8, :, right, 0])
    assert torch.equal(flipped.points2d[:8, :, left, 1], plain.points2d[:8, :, right, 1])
    assert torch.equal(flipped.pose3d[:8, :, right, 0], -plain.pose3d[:8, :, left, 0])
    assert torch.equal(flipped.pose3d[:8, :, right, 1:], plain.pose3d[:8, :, left, 1:])
    twice = mirrored(mirrored(plain))
    assert torch.equal(twice.points2d, plain.points2d) and torch.equal(twice.confidence, plain.confidence)


def test_a_lone_last_window_is_left_out():
    assert [steps_in_epoch(n, 4) for n in (1, 2, 4, 5, 6, 8)] == [0, 1, 1, 1, 2, 2]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.floats(0.0, 1.0))
def test_missing_points_are_filled_and_seen_ones_kept(seed, frames, share):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(frames, 17, 2)).astype(np.float32)
    gone = rng.random((frames, 17)) < share
    holed = np.where(gone[..., None], np.nan, points).astype(np.float32)
    filled = fill_missing(holed)
    assert np.isfinite(filled).all()
    np.testing.assert_array_equal(filled[~gone], points[~gone])
    if gone.any() and not gone.all():
        assert np.nanmin(holed) - 1e-6 <= filled.min() and filled.max() <= np.nanmax(holed) + 1e-6


def test_a_gap_is_bridged_in_a_straight_line():
    points = np.arange(10, dtype=np.float32).reshape(5, 1, 2)
    holed = points.copy()
    holed[1:4] = np.nan
    np.testing.assert_allclose(fill_missing(holed), points)


def test_missing_joints_keep_confidence_zero(dataset, device):
    clip = dataset[0]
    points = clip.pose2d.points.copy()
    points[3:6, 5] = np.nan
    holed = replace(clip, pose2d=Pose2D(points, None, H36M17, 50, clip.pose2d.image_size))
    data = to_device([holed], device)
    assert (
        torch.isfinite(data.points2d).all()
        and (data.confidence[3:6, 5] == 0).all()
        and data.confidence[2, 5] == 1
    )


def test_what_does_not_fit_is_refused_with_the_fix(dataset):
    with pytest.raises(ValueError, match="no clips"):
        to_device(PoseDataset("empty", ()))
    slow = [
        replace(clip, pose2d=clip.pose2d.resample(25), pose3d=clip.pose3d.resample(25)) for clip in dataset
    ]
    with pytest.raises(ValueError, match=r"mixes 25, 50 fps.*resample"):
        to_device([*dataset, *slow])
    with pytest.raises(ValueError, match="odd"):
        window(to_device(dataset), torch.tensor([0]), 4)
    clip = dataset[0]
    other = get_skeleton("coco17")
    foreign = replace(
        clip, pose2d=replace(clip.pose2d, skeleton=other), pose3d=replace(clip.pose3d, skeleton=other)
    )
    with pytest.raises(ValueError, match=r"coco17.*convert"):
        to_device([foreign])


def test_the_digest_tells_contents_apart(dataset):
    assert to_device(dataset).digest() == to_device(sticks(takes=3, frames=20, views=2)).digest()
    assert to_device(dataset).digest() != to_device(sticks(takes=3, frames=20, views=2, seed=1)).digest()
