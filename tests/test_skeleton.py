"""Skeletons: trees, sides, conversions by name, and mirrors that swap sides."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mocap3d import skeleton as sk
from mocap3d.skeleton import H36M17, H36M32, SKELETONS, Skeleton, SkeletonError


def test_h36m_orders_are_the_published_ones():
    assert H36M17.parents == (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15)
    assert H36M17.indices(H36M17.left) == [4, 5, 6, 11, 12, 13]
    assert H36M17.indices(H36M17.right) == [1, 2, 3, 14, 15, 16]
    assert H36M32.parents == (
        -1,
        0,
        1,
        2,
        3,
        4,
        0,
        6,
        7,
        8,
        9,
        0,
        11,
        12,
        13,
        14,
        12,
        16,
        17,
        18,
        19,
        20,
        19,
        22,
        12,
        24,
        25,
        26,
        27,
        28,
        27,
        30,
    )
    assert sorted(H36M32.indices(H36M32.left)) == [*range(6, 11), *range(16, 24)]
    assert sorted(H36M32.indices(H36M32.right)) == [*range(1, 6), *range(24, 32)]
    kept = [0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27]
    points = np.arange(32.0)[:, None] * np.ones(3)
    assert sk.convert(points, "h36m32")[:, 0].tolist() == kept


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=lambda s: s.name)
def test_every_skeleton_is_a_tree_with_paired_sides(skeleton):
    for joint in range(len(skeleton)):
        seen = set()
        while joint >= 0:
            assert joint not in seen
            seen.add(joint)
            joint = skeleton.parents[joint]
    mirror = skeleton.mirror
    assert [mirror[i] for i in mirror] == list(range(len(skeleton)))
    for left, right in zip(skeleton.left, skeleton.right, strict=True):
        above = [skeleton.joints[skeleton.parents[skeleton.index(side)]] for side in (left, right)]
        assert skeleton.joints[mirror[skeleton.index(above[0])]] == above[1]  # the parents of a pair are a pair, too
    assert {"coco17": 17, "halpe26": 26, "body25": 25, "mediapipe33": 33}.get(skeleton.name, len(skeleton)) == len(
        skeleton
    )


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(SKELETONS)), st.integers(0, 2**32 - 1))
def test_conversion_commutes_with_mirror_rotation_and_translation(name, seed):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(4, len(SKELETONS[name]), 3))
    there = sk.convert(points, name)
    assert there.shape == (4, 17, 3)
    np.testing.assert_allclose(sk.convert(sk.flip(points, name), name), sk.flip(there), atol=1e-12)
    matrix = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    np.testing.assert_allclose(sk.convert(points @ matrix + 3, name), there @ matrix + 3, atol=1e-9)
    np.testing.assert_allclose(sk.convert(torch.as_tensor(points), name).numpy(), there, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(sorted(set(SKELETONS) - {"h36m17"})), st.integers(0, 2**32 - 1))
def test_a_missing_joint_touches_only_what_is_made_of_it(name, seed):
    rng = np.random.default_rng(seed)
    source = SKELETONS[name]
    points = rng.normal(size=(len(source), 3))
    confidence = rng.uniform(0.2, 1, len(source))
    gone = int(rng.integers(len(source)))
    before = sk.convert_confidence(confidence, name)
    points[gone], confidence[gone] = np.nan, 0
    texts, after = sk.provenance(name), sk.convert_confidence(confidence, name)
    assert (before <= 1).all() and sk.convert_confidence(np.ones(len(source)), name) == pytest.approx(1)
    for joint, converted, lost in zip(H36M17.joints, sk.convert(points, name), before - after, strict=True):
        made_of = texts[joint].replace(",", " ").split()
        assert np.isnan(converted).all() == (source.joints[gone] in made_of) == (lost > 1e-6)


def test_provenance_says_what_is_approximated():
    assert sk.provenance("halpe26")["spine"] == "midpoint of hip and neck, approximated"
    assert sk.provenance("coco17")["left_foot"] == "left_ankle"
    assert sk.provenance("coco17")["spine"].startswith("mean of left_hip")
    assert sk.provenance("h36m17")["head"] == "head"


def test_conversion_keeps_a_standing_person_plausible():
    """A COCO pose drawn by hand: the spine between hips and shoulders, the head above the ears."""
    points = np.full((17, 2), np.nan)
    put = {
        "nose": (50, 20),
        "left_ear": (55, 18),
        "right_ear": (45, 18),
        "left_shoulder": (65, 40),
        "right_shoulder": (35, 40),
        "left_hip": (60, 100),
        "right_hip": (40, 100),
    }
    for joint, place in put.items():
        points[sk.COCO17.index(joint)] = place
    found = dict(zip(H36M17.joints, sk.convert(points, "coco17"), strict=True))
    assert (
        found["pelvis"].tolist() == [50, 100]
        and found["thorax"].tolist() == [50, 40]
        and found["spine"].tolist() == [50, 70]
    )
    assert found["head"][1] < 18 < found["nose"][1] < 40


def test_flip_twice_is_identity_and_once_swaps_sides():
    points = np.random.default_rng(0).normal(size=(5, 17, 3))
    once = sk.flip(points)
    np.testing.assert_array_equal(sk.flip(once), points)
    left, right = H36M17.index("left_wrist"), H36M17.index("right_wrist")
    np.testing.assert_array_equal(once[:, left], points[:, right] * [-1, 1, 1])
    np.testing.assert_array_equal(sk.flip(torch.as_tensor(points)).numpy(), once)


def test_whole_pixels_convert_like_any_others():
    whole = np.random.default_rng(1).integers(0, 1000, size=(3, 17, 2))
    expected = sk.convert(whole.astype(float), "coco17")
    np.testing.assert_allclose(sk.convert(whole, "coco17"), expected)
    np.testing.assert_allclose(sk.convert(whole.tolist(), "coco17"), expected)
    np.testing.assert_allclose(sk.convert(torch.as_tensor(whole), "coco17").numpy(), expected, rtol=1e-6)


def test_a_skeleton_with_more_joints_converts_like_the_one_it_contains():
    bigger = Skeleton("walk_01", (*sk.CMU.joints, "extra"), (*sk.CMU.parents, 0))
    points = np.random.default_rng(0).normal(size=(len(bigger), 3))
    np.testing.assert_array_equal(sk.convert(points, bigger), sk.convert(points[:-1], "cmu"))


@pytest.mark.parametrize(
    "call, word",
    [
        (lambda: sk.get_skeleton("smpl"), "h36m17"),
        (lambda: H36M17.index("chin"), "right_hip"),
        (lambda: sk.convert(np.zeros((16, 3)), "coco17"), r"\(16, 3\).*17 joints"),
        (lambda: sk.convert(np.zeros(17), "coco17"), "axis -2"),
        (lambda: sk.convert_confidence(np.zeros((2, 5)), "coco17"), r"\(2, 5\).*17 joints"),
        (lambda: sk.convert(np.zeros((17, 3)), "h36m17", "coco17"), "no conversion to"),
        (lambda: sk.convert(np.zeros((2, 3)), Skeleton("stick", ("a", "b"), (-1, 0))), "no conversion from"),
        (lambda: Skeleton("twins", ("a", "a"), (-1, 0)), "unique"),
        (lambda: Skeleton("short", ("a", "b"), (-1,)), "parents"),
        (lambda: Skeleton("loop", ("a",), (0,)), "parent"),
        (lambda: Skeleton("odd", ("a", "b"), (-1, 0), ("a",), ()), "pair"),
    ],
)
def test_bad_input_says_what_is_wrong(call, word):
    with pytest.raises(SkeletonError, match=word):
        call()
