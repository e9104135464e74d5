"""Windows: what a batch holds, that every frame comes once, and that nothing leaves its clip."""

from __future__ import annotations

import gc
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mocap3d.camera import pixels_to_screen
from mocap3d.data.chunks import cut_chunks, published_chunks
from mocap3d.data.dataset import PoseDataset
from mocap3d.data.windows import (
    DeviceDataset,
    batches,
    epoch_generator,
    epoch_order,
    mirrored,
    padded_rows,
    steps_in_epoch,
    to_device,
    window,
)
from mocap3d.poses import Pose2D
from mocap3d.skeleton import H36M17, flip, get_skeleton
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


def bare(lengths, device="cpu", values=None) -> DeviceDataset:
    """A data set of tensors alone; by default every coordinate tells clip, frame, joint and axis apart."""
    lengths = torch.tensor(lengths)
    stop = lengths.cumsum(0)
    count = int(stop[-1])
    if values is None:
        values = [torch.arange(count * 17 * size).float().view(count, 17, size) for size in (2, 3)]
    clip = torch.repeat_interleave(lengths)
    tensors = [values[0], torch.arange(count * 17).float().view(count, 17), values[1], clip, stop - lengths, stop]
    return DeviceDataset(*(tensor.to(device) for tensor in tensors), clips=())


def padded(clip: np.ndarray, width: int, causal: bool) -> np.ndarray:
    before = width - 1 if causal else width // 2
    return np.pad(clip, ((before, width - 1 - before), *[(0, 0)] * (clip.ndim - 1)), mode="edge")


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("width", [1, 3, 27])
def test_windows_are_padded_by_their_own_clip(dataset, device, width, causal):
    data = to_device(dataset, device)
    batch = window(data, torch.arange(len(data), device=device), width, causal, confidence=True)
    assert batch.points2d.shape == (len(data), width, 17, 2) and batch.pose3d.shape == (len(data), 1, 17, 3)
    assert batch.confidence.shape == (len(data), width, 17)
    for k in range(len(dataset)):
        start, stop = int(data.start[k]), int(data.stop[k])
        clip = padded(data.points2d[start:stop].cpu().numpy(), width, causal)
        for t in (0, 1, (stop - start) // 2, stop - start - 1):
            np.testing.assert_array_equal(batch.points2d[start + t].cpu(), clip[t : t + width])
            np.testing.assert_array_equal(batch.pose3d[start + t, 0].cpu(), data.pose3d[start + t].cpu())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=6),
    st.integers(0, 8),
    st.booleans(),
    st.booleans(),
    st.integers(2, 9),
    st.booleans(),
)
def test_an_epoch_is_what_window_says(lengths, half_width, causal, mirror, batch_size, confidence):
    """The fast way gives the same bits as the plain form, whatever the clips."""
    data, options = bare(lengths), {"width": 2 * half_width + 1, "causal": causal}
    for batch in batches(data, batch_size, mirror=mirror, confidence=confidence, **options):
        plain = window(data, batch.frames, **options, confidence=confidence)
        plain = mirrored(plain, len(batch) // 2) if mirror else plain
        assert torch.equal(batch.points2d, plain.points2d) and torch.equal(batch.pose3d, plain.pose3d)
        assert torch.equal(batch.confidence, plain.confidence) if confidence else batch.confidence is None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=6), st.integers(0, 8), st.booleans())
def test_padded_clips_lie_behind_one_another(lengths, half_width, causal):
    width, stop = 2 * half_width + 1, np.cumsum(lengths)
    rows, starts = (x.numpy() for x in padded_rows(torch.tensor(lengths), width, causal))
    clips = [np.arange(last - length, last) for length, last in zip(lengths, stop, strict=True)]
    np.testing.assert_array_equal(rows, np.concatenate([padded(clip, width, causal) for clip in clips]))
    middle = width - 1 if causal else width // 2
    np.testing.assert_array_equal(rows[starts + middle], np.arange(stop[-1]))  # each window holds its own frame
    clip = np.searchsorted(stop, rows, side="right")
    for start in starts.tolist():
        assert len(set(clip[start : start + width])) == 1  # and no other clip's


def test_a_batch_is_its_own_as_long_as_anything_of_it_is_used():
    """Memory of batches is used again, but only when nobody can tell."""
    data, seen = bare([40, 30]), []
    kept = list(batches(data, 8, width=5, mirror=True))
    for batch, again in zip(kept, batches(data, 8, width=5, mirror=True), strict=True):
        assert torch.equal(batch.points2d, again.points2d)
        seen.append(again.points2d.data_ptr())
        del again
    assert len({batch.points2d.data_ptr() for batch in kept}) == len(kept)
    assert len(set(seen)) < len(kept)
    weight = torch.ones((), requires_grad=True)
    part, graph, expected = [], [], []
    for batch in batches(data, 8, width=5):
        expected.append(batch.points2d.clone())
        part.append(batch.points2d[3:, 2])  # a view
        graph.append((batch.points2d * weight).sum())  # and what backward will read
        del batch
    gc.collect()
    for view, total, points in zip(part, graph, expected, strict=True):
        assert torch.equal(view, points[3:, 2])
        (gradient,) = torch.autograd.grad(total, weight)
        assert gradient == points.sum()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=5), st.integers(1, 12), st.integers(1, 12))
def test_pieces_lose_no_frame(lengths, length, stride):
    data = bare(lengths)
    if stride > length:
        with pytest.raises(ValueError, match="frames are lost"):
            cut_chunks(data, length, stride)
        return
    rows = cut_chunks(data, length, stride)
    assert rows.shape[1] == length and set(rows.flatten().tolist()) == set(range(len(data)))
    assert (data.clip[rows] == data.clip[rows[:, :1]]).all()  # no piece of two clips
    step = rows.diff(dim=1)
    assert ((step == 1) | ((step == 0) & (rows[:, 1:] == data.stop[data.clip[rows[:, 1:]]] - 1))).all()
    assert len(rows) == sum(max(-(-(n - length) // stride), 0) + 1 for n in lengths)


def test_an_epoch_of_pieces(dataset, device):
    data = to_device(dataset, device)
    rows = cut_chunks(data, 9, 4)
    drawn = list(batches(data, 5, chunks=rows, mirror=True, confidence=True, seed=1))
    assert sorted(frame for batch in drawn for frame in batch.frames[:, 0].tolist()) == rows[:, 0].tolist()
    batch = drawn[0]
    assert batch.points2d.shape == (5, 9, 17, 2) and batch.confidence.shape == (5, 9, 17)
    for k, turned in ((0, True), (1, True), (2, False)):
        points, pose = data.points2d[batch.frames[k]], data.pose3d[batch.frames[k]]
        assert torch.equal(batch.points2d[k], flip(points) if turned else points)
        assert torch.equal(batch.pose3d[k], flip(pose) if turned else pose)
    published = torch.from_numpy(np.stack(published_chunks([len(clip) for clip in dataset], 9, 9))).to(device)
    assert window(data, published).pose3d.shape == (len(published), 9, 17, 3)


# the published generators: poses of C frames, 2D of some frames more, clips of 30 and 23 frames


@pytest.fixture(scope="module")
def published(golden, formula):
    lengths = (30, 23)
    values = [
        torch.from_numpy(np.concatenate([make(f"data/{kind}{i}", (1, n, 17, size))[0] for i, n in enumerate(lengths)]))
        for kind, make, size in (("2d", formula.pose2d, 2), ("3d", formula.pose3d, 3))
    ]
    return bare(lengths, values=values), golden("data")


def published_rows(data: DeviceDataset, pairs: np.ndarray) -> torch.Tensor:
    """(clip, first, stop, flipped) -> (P, C) rows; a chunk that reaches beyond its clip repeats the edge."""
    start, stop = data.start.tolist(), data.stop.tolist()
    rows = [
        np.clip(np.arange(first, last) + start[clip], start[clip], stop[clip] - 1)
        for clip, first, last, _ in pairs.tolist()
    ]
    return torch.from_numpy(np.stack(rows))


@pytest.mark.parametrize(
    "case, width, causal", [("c1", 27, False), ("c1causal", 27, True), ("c8", 9, False), ("c8aug", 9, False)]
)
def test_batches_are_the_published_generators(published, case, width, causal):
    data, arrays = published
    pairs = arrays[f"{case}_pairs"]
    parts, flips = published_rows(data, pairs).split(4), torch.from_numpy(pairs[:, 3]).split(4)
    assert len(parts) == arrays[f"{case}_nbatches"]
    for name, at in (("b0", 0), ("blast", -1)):
        batch = window(data, parts[at], width, causal)
        if flips[at].all():
            batch = mirrored(batch)
        np.testing.assert_array_equal(batch.points2d, arrays[f"{case}_{name}_2d"])
        np.testing.assert_array_equal(batch.pose3d, arrays[f"{case}_{name}_3d"])
        if parts[at].shape[1] == 1:  # the form the training loop uses
            single = window(data, parts[at][:, 0], width, causal)
            assert torch.equal(single.points2d, batch.points2d) and torch.equal(single.pose3d, batch.pose3d)


def test_whole_clips_are_padded_as_published(published):
    data, arrays = published
    whole = window(data, torch.arange(30)[None], 27)
    np.testing.assert_array_equal(whole.points2d[0], arrays["unchunked_2d"][0])
    np.testing.assert_array_equal(mirrored(whole).points2d[0], arrays["unchunked_2d"][1])
    np.testing.assert_array_equal(whole.pose3d[0], arrays["unchunked_3d"][0])


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
    plain = next(batches(data, 16, seed=1, confidence=True))
    flipped = next(batches(data, 16, seed=1, mirror=True))
    assert torch.equal(plain.points2d[8:], flipped.points2d[8:]) and torch.equal(plain.pose3d[8:], flipped.pose3d[8:])
    left, right = H36M17.index("left_wrist"), H36M17.index("right_wrist")
    assert torch.equal(flipped.points2d[:8, :, left, 0], -plain.points2d[:8, :, right, 0])
    assert torch.equal(flipped.points2d[:8, :, left, 1], plain.points2d[:8, :, right, 1])
    assert torch.equal(flipped.pose3d[:8, :, right, 0], -plain.pose3d[:8, :, left, 0])
    assert torch.equal(flipped.pose3d[:8, :, right, 1:], plain.pose3d[:8, :, left, 1:])
    twice = mirrored(mirrored(plain))
    assert torch.equal(twice.points2d, plain.points2d) and torch.equal(twice.confidence, plain.confidence)


def test_a_lone_last_window_is_left_out():
    assert [steps_in_epoch(n, 4) for n in (1, 2, 4, 5, 6, 8)] == [0, 1, 1, 1, 2, 2]


def test_missing_joints_keep_confidence_zero(dataset, device):
    clip = dataset[0]
    points = clip.pose2d.points.copy()
    points[3:6, 5] = np.nan
    holed = replace(clip, pose2d=Pose2D(points, None, H36M17, 50, clip.pose2d.image_size))
    data = to_device([holed], device)
    assert torch.isfinite(data.points2d).all() and (data.confidence[3:6, 5] == 0).all() and data.confidence[2, 5] == 1


def test_frames_without_anybody_are_refused(dataset):
    points = dataset[0].pose2d.points.copy()
    points[5:30] = np.nan
    empty = replace(dataset[0], pose2d=Pose2D(points, image_size=dataset[0].pose2d.image_size))
    with pytest.raises(ValueError, match="nobody is seen in 15 of 20 frames, from frame 5 on; leave them out"):
        to_device([empty])


def test_what_does_not_fit_is_refused_with_the_fix(dataset):
    with pytest.raises(ValueError, match="no clips"):
        to_device(PoseDataset("empty", ()))
    slow = [replace(clip, pose2d=clip.pose2d.resample(25), pose3d=clip.pose3d.resample(25)) for clip in dataset]
    with pytest.raises(ValueError, match=r"mixes 25, 50 fps.*resample"):
        to_device([*dataset, *slow])
    with pytest.raises(ValueError, match="odd"):
        window(to_device(dataset), torch.tensor([0]), 4)
    clip = dataset[0]
    other = get_skeleton("coco17")
    foreign = replace(clip, pose2d=replace(clip.pose2d, skeleton=other), pose3d=replace(clip.pose3d, skeleton=other))
    with pytest.raises(ValueError, match=r"coco17.*convert"):
        to_device([foreign])


def test_the_digest_tells_contents_apart(dataset):
    assert to_device(dataset).digest() == to_device(sticks(takes=3, frames=20, views=2)).digest()
    assert to_device(dataset).digest() != to_device(sticks(takes=3, frames=20, views=2, seed=1)).digest()


# Balance between sources


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("clipwise", [False, True])
def test_sources_are_shown_in_proportion_to_a_power_of_their_size(balance, clipwise):
    few = [replace(clip, source="small") for clip in sticks(1, 30, seed=1, views=2)]
    data = to_device([*sticks(takes=9, frames=60, sources=1), *few])
    chunks = cut_chunks(data, 9, 3) if clipwise else None
    order = epoch_order(data, seed=3, epoch=2, chunks=chunks, balance=balance)
    of_clip = torch.tensor([clip.source == "small" for clip in data.clips])
    members = of_clip[data.clip[chunks[:, 0]] if clipwise else data.clip]  # (N,) of each example
    small = members[order]
    sizes = np.array([(~members).sum(), members.sum()], dtype=float)
    share = sizes**balance / (sizes**balance).sum()
    assert len(order) == len(members) and abs(small.float().mean().item() - share[1]) <= 1 / len(order)
    for of_source, numbers in ((small, order[small]), (~small, order[~small])):  # none again before all came
        counts = torch.bincount(numbers, minlength=len(members))[members if of_source is small else ~members]
        assert counts.max() - counts.min() <= 1
    assert torch.equal(order, epoch_order(data, 3, 2, chunks, balance))
    assert not torch.equal(order, epoch_order(data, 3, 3, chunks, balance))


def test_a_balanced_epoch_goes_on_where_it_was_left(dataset):
    data, options = to_device(dataset), {"width": 3, "seed": 2, "epoch": 4, "balance": 0.3, "mirror": True}
    whole, rest = list(batches(data, 16, **options)), list(batches(data, 16, first=5, **options))
    for a, b in zip(whole[5:], rest, strict=True):
        assert torch.equal(a.points2d, b.points2d) and torch.equal(a.frames, b.frames)
