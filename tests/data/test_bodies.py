"""Other bodies: lengths and limbs change as said, nothing is mirrored, and the feet stay on the ground."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mocap3d.data.bodies import BODIES, GROUPS, BodyMixture, _sources, _turns, trunk_axes, vary_bodies
from mocap3d.data.cameras import clip_starts
from mocap3d.skeleton import H36M17
from tests.data.people import people, standing

seeds = st.integers(0, 2**31)
FEET = H36M17.indices(["left_foot", "right_foot"])
CHAINS = [(trunk, chain) for trunk, chains in GROUPS for chain in chains]
NEVER = BodyMixture(0, 0, 0, 0)
LENGTHS = BodyMixture(0.2, 0, 0, 0)
EXCHANGE = BodyMixture(0, 1, 0, 0)
TURNS = BodyMixture(0, 0, 8, 12)


def vary(points, clip, mixture=BODIES, seed=0):
    return vary_bodies(points, clip, mixture, torch.Generator(points.device).manual_seed(seed))


def lengths(points):
    parents, children = zip(*H36M17.bones, strict=True)
    return (points[:, list(children)] - points[:, list(parents)]).norm(dim=-1)  # (N, 16)


def in_trunk(points, trunk, chain):
    """(N, 2, 3) unit directions of a limb's two bones, in the frame of the trunk."""
    a, b, c = points[:, H36M17.indices(chain)].unbind(1)
    bones = torch.nn.functional.normalize(torch.stack([b - a, c - b], 1), dim=-1)
    return bones @ trunk_axes(points)[trunk].mT


def test_the_trunk_of_somebody_facing_y():
    for axes in trunk_axes(standing()[None]).values():
        torch.testing.assert_close(axes[0], torch.eye(3).double(), atol=0.1, rtol=0)


@given(seeds)
@settings(max_examples=50, deadline=None)
def test_axes_and_turns_are_rotations(seed):
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(20, 17, 3, generator=generator, dtype=torch.float64)
    normal = torch.randn(20, 4, 4, generator=generator, dtype=torch.float64)
    for matrices in (*trunk_axes(points).values(), _turns(normal, BodyMixture(leg_turn=40)).flatten(0, 1)):
        one = torch.eye(3).double().expand_as(matrices)
        torch.testing.assert_close(matrices @ matrices.mT, one, atol=1e-9, rtol=0)
        torch.testing.assert_close(torch.linalg.det(matrices), torch.ones(len(matrices)).double())


def test_nothing_asked_nothing_changed(device):
    points, clip = people(dtype=torch.float32)
    points, clip = points.to(device), clip.to(device)
    torch.testing.assert_close(vary(points, clip, NEVER), points, atol=1e-6, rtol=0)


def test_the_same_seed_gives_the_same_bits_and_another_does_not(device):
    points, clip = people(dtype=torch.float32)
    points, clip = points.to(device), clip.to(device)
    before = points.clone()
    assert torch.equal(vary(points, clip, seed=1), vary(points, clip, seed=1))
    assert not torch.allclose(vary(points, clip, seed=1), vary(points, clip, seed=2), atol=0.01)
    assert torch.equal(points, before)


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_exchanged_and_turned_limbs_keep_their_owners_bones(seed):
    points, clip = people((10, 25, 40, 7), seed % 5)
    varied = vary(points, clip, BodyMixture(0, 0.7, 8, 12), seed)
    torch.testing.assert_close(lengths(varied), lengths(points))
    assert (varied - points).norm(dim=-1).max() > 0.05


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_lengths_change_by_one_factor_a_clip_left_and_right_alike(seed):
    points, clip = people(seed=seed % 5)
    factor = lengths(vary(points, clip, LENGTHS, seed)) / lengths(points)  # (N, 16)
    child = [child for _, child in H36M17.bones]
    for k in range(3):
        torch.testing.assert_close(factor[clip == k], factor[clip == k][:1].expand_as(factor[clip == k]))
    for left, right in zip(H36M17.indices(H36M17.left), H36M17.indices(H36M17.right), strict=True):
        torch.testing.assert_close(factor[:, child.index(left)], factor[:, child.index(right)])
    assert not torch.allclose(factor[clip == 0][0], factor[clip == 1][0], atol=1e-3)


def test_lengths_spread_as_said_and_directions_stay():
    points, clip = people((2,) * 800)
    varied = vary(points, clip, LENGTHS)
    log = (lengths(varied) / lengths(points)).log()[::2]
    torch.testing.assert_close(log.std(0), torch.full((16,), 0.2).double(), atol=0.02, rtol=0)
    assert log.mean(0).abs().max() < 0.03
    for trunk, chain in CHAINS:
        torch.testing.assert_close(in_trunk(varied, trunk, chain), in_trunk(points, trunk, chain))


@pytest.mark.parametrize("mixture", [BODIES, LENGTHS, EXCHANGE, TURNS])
def test_the_lowest_foot_is_as_high_as_it_was(mixture):
    points, clip = people()
    varied = vary(points, clip, mixture)
    torch.testing.assert_close(varied[:, FEET, 2].amin(1), points[:, FEET, 2].amin(1))
    torch.testing.assert_close(varied[:, 0, :2], points[:, 0, :2])  # the path along the floor is kept


def test_limbs_come_from_the_other_clip_whole_and_unmirrored():
    points, clip = people((30, 30))
    varied = vary(points, clip, EXCHANGE)
    mine, other = clip == 0, clip == 1
    for trunk, chain in CHAINS:
        torch.testing.assert_close(in_trunk(varied[mine], trunk, chain), in_trunk(points[other], trunk, chain))
        torch.testing.assert_close(in_trunk(varied[other], trunk, chain), in_trunk(points[mine], trunk, chain))


def test_exchanged_knees_bend_forwards():
    turn = torch.tensor([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]]).double()
    points = torch.stack([standing(), 0.9 * standing() @ turn])
    varied = vary(points, torch.arange(2), EXCHANGE)
    front = trunk_axes(varied)["pelvis"][:, 1]
    for side in ("left", "right"):
        joints = H36M17.indices([f"{side}_hip", f"{side}_knee", f"{side}_foot"])
        hip, knee, foot = varied[:, joints].unbind(1)
        assert (((knee - (hip + foot) / 2) * front).sum(-1) > 0.1).all()


def test_a_share_of_the_limbs_is_exchanged_and_legs_together():
    count = 3000
    clip = torch.arange(count).repeat_interleave(2)
    uniform = torch.rand(3, count, 3, generator=torch.Generator().manual_seed(0))
    sources = _sources(torch.arange(count) * 2, clip, uniform, 0.3)  # (N, 3) legs, left arm, right arm
    changed = clip[sources] != clip[:, None]
    torch.testing.assert_close(changed.double().mean(0), torch.full((3,), 0.3).double(), atol=0.03, rtol=0)
    both = (changed[:, 0] & changed[:, 1]).double().mean()
    assert both == pytest.approx(0.09, abs=0.02)  # independent


@given(seeds, st.lists(st.integers(1, 40), min_size=1, max_size=6))
@settings(max_examples=50, deadline=None)
def test_sources_are_one_clips_frames_in_turn(seed, counts):
    clip = torch.repeat_interleave(torch.tensor(counts))
    start = clip_starts(torch.zeros(len(clip), 17, 3), clip)
    uniform = torch.rand(3, len(counts), 3, generator=torch.Generator().manual_seed(seed))
    sources = _sources(start, clip, uniform, 0.5)
    assert sources.min() >= 0 and sources.max() < len(clip)
    for k in range(len(counts)):
        rows = sources[clip == k]
        assert (clip[rows] == clip[rows][:1]).all()  # one donor for a limb
        step = rows.diff(dim=0).abs()
        single = torch.tensor(counts)[clip[rows[:1]]] == 1
        assert ((step == 1) | single).all()  # no jumps, at the ends neither
        own = clip[rows[0]] == k
        assert (rows[:, own] == torch.arange(int(start[k]), int(start[k]) + counts[k])[:, None]).all()


def test_turns_are_constant_and_as_large_as_said():
    points, clip = people((3,) * 800)
    varied = vary(points, clip, TURNS)
    normal = torch.randn(20000, 4, 4, generator=torch.Generator().manual_seed(0)).double()
    trace = _turns(normal, TURNS).diagonal(dim1=-2, dim2=-1).sum(-1)
    angle = ((trace - 1) / 2).clamp(-1, 1).acos().rad2deg()
    expected = torch.tensor([8.0, 8, 12, 12]).double()
    torch.testing.assert_close((angle**2).mean(0).sqrt(), expected, atol=0.2, rtol=0)
    for trunk, chain in CHAINS:
        before, after = in_trunk(points, trunk, chain), in_trunk(varied, trunk, chain)
        # the angle between the two bones stays: the limb is turned as a whole
        torch.testing.assert_close((before[:, 0] * before[:, 1]).sum(-1), (after[:, 0] * after[:, 1]).sum(-1))
        # three frames of a clip share one rotation: triple products stay
        triple = lambda v: torch.linalg.det(v[:, 0].unflatten(0, (-1, 3)))  # noqa: E731
        torch.testing.assert_close(triple(before), triple(after), atol=1e-9, rtol=1e-6)
        moved = (before * after).sum(-1).clamp(-1, 1).acos().rad2deg()
        assert 4 < moved.mean() < 12


def test_missing_joints_stay_missing_and_spread_to_what_depends_on_them(device):
    points, clip = people(dtype=torch.float32)
    points[5, H36M17.index("left_knee")] = torch.nan
    points[6, H36M17.index("head")] = torch.nan
    points, clip = points.to(device), clip.to(device)
    varied = vary(points, clip, BodyMixture(0.1, 0, 8, 12))
    gone = varied.isnan().any(-1)
    assert gone[5].nonzero()[:, 0].tolist() == H36M17.indices(["left_knee", "left_foot"])
    assert gone[6].nonzero()[:, 0].tolist() == [H36M17.index("head")] and gone.sum() == 3
    whole = vary(points.nan_to_num(), clip, BodyMixture(0.1, 0, 8, 12))
    assert torch.equal(varied[20:], whole[20:])


def test_a_lone_clip_exchanges_nothing():
    points, clip = people((20,))
    torch.testing.assert_close(vary(points, clip, EXCHANGE), points)


def test_refuses_numbers_out_of_range_and_other_skeletons():
    points, clip = people()
    with pytest.raises(ValueError, match="lengths=2"):
        BodyMixture(lengths=2)
    with pytest.raises(ValueError, match="exchange=-0.1"):
        BodyMixture(exchange=-0.1)
    with pytest.raises(ValueError, match="arm_turn=120"):
        BodyMixture(arm_turn=120)
    with pytest.raises(ValueError, match="16 joints"):
        vary_bodies(points[:, 1:], clip)
