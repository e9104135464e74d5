"""Simulated detectors: every figure of the model is measured again on the output."""

import math
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mocap3d.data import detector as dt
from mocap3d.data.detector import DETECTORS, REFERENCE_SIZE, detect, detect_tensor, person_size
from mocap3d.poses import Pose2D
from mocap3d.skeleton import COCO17, H36M17

FRAMES = 60_000  # 20 minutes at 50 fps: means of the wandering noise settle to about 2 %

# a standing body, arms a little forward: (right-left, forward, up) in metres
STANDING = {
    "pelvis": (0, 0, 0.93),
    "spine": (0, 0, 1.17),
    "thorax": (0, -0.02, 1.42),
    "nose": (0, 0.07, 1.53),
    "head": (0, 0.03, 1.63),
    "hip": (0.13, 0, 0.93),
    "knee": (0.14, 0.02, 0.48),
    "foot": (0.15, -0.02, 0.06),
    "shoulder": (0.16, 0, 1.38),
    "elbow": (0.22, 0, 1.10),
    "wrist": (0.22, 0.1, 0.87),
}


def body() -> np.ndarray:
    """(17, 3) the standing body."""
    points = np.array([STANDING[kind] for kind in dt.KINDS], dtype=np.float64)
    points[H36M17.indices(H36M17.left), 0] *= -1
    return points


def seen(frames: int, turns: float = 0.0, spread: float = 1.0, fps: float = 50.0) -> torch.Tensor:
    """(frames, 17, 2) pixels of the body at reference size, turning; spread widens it from left to right."""
    angle = 2 * np.pi * turns * np.arange(frames)[:, None] / frames
    x, forward, up = body().T
    across = spread * x * np.cos(angle) + forward * np.sin(angle)
    points = torch.tensor(np.stack([across, np.broadcast_to(-up, across.shape)], -1), dtype=torch.float32)
    return points * (REFERENCE_SIZE / person_size(points).mean()) + 500


@lru_cache
def turning(name: str, device: torch.device):
    """One long run of a detector on a turning body: truth, detections, confidence."""
    truth = seen(FRAMES, turns=40).to(device)
    generator = torch.Generator(device).manual_seed(3)
    return truth, *detect_tensor(truth, None, 50, name, generator)


def quiet(model=DETECTORS["cpn"], **changes):
    """The detector without misses and swaps: its noise alone."""
    never = {"miss_share": 0.0, "miss_floor": 1e-9, "swap_close": {"arms": 1e-9, "legs": 1e-9}, "swap_far": 1e-9}
    return replace(model, **(never | changes))


def errors(model, truth, fps=50.0, seed=0, clips=None):
    generator = torch.Generator(truth.device).manual_seed(seed)
    return detect_tensor(truth, clips, fps, model, generator)[0] - truth


def correlation(a, b):
    return float((a * b).mean() / ((a**2).mean() * (b**2).mean()) ** 0.5)


def runs(happens: torch.Tensor) -> torch.Tensor:
    """Lengths of the runs of True along the first axis of a (T,) or (T, J) tensor."""
    columns = happens.reshape(len(happens), -1).T.cpu().numpy().astype(int)
    edges = np.diff(np.pad(columns, ((0, 0), (1, 1))), axis=1)
    return torch.tensor(np.nonzero(edges == -1)[1] - np.nonzero(edges == 1)[1], dtype=torch.float32)


# the published figures


def test_the_reference_size_is_that_of_a_person_in_the_h36m_room():
    from mocap3d.camera import h36m_cameras, h36m_subjects

    sizes = []
    places = [(x, y, 0) for x in np.linspace(-1.35, 1.35, 5) for y in np.linspace(-1.35, 1.35, 5)]
    for camera in (camera for subject in h36m_subjects() for camera in h36m_cameras(subject)):
        for place in places:
            pixels = camera.project(camera.world_to_camera(body() + place))
            sizes.append(float(person_size(torch.tensor(pixels)[None])))
    assert np.mean(sizes) == pytest.approx(REFERENCE_SIZE, rel=0.05)


@pytest.mark.parametrize(("name", "published"), [("cpn", 6.67), ("sh", 9.42)])
def test_mean_pixel_error_is_the_published_one(name, published, device):
    truth, noisy, _ = turning(name, device)
    error = (noisy - truth).norm(dim=-1)
    assert float(error.mean()) == pytest.approx(published, rel=0.05)
    np.testing.assert_allclose(error.mean(0).cpu(), DETECTORS[name].joint_errors(), rtol=0.12)


def test_joints_share_the_error_as_published():
    target = dict(zip(dt.KINDS, DETECTORS["cpn"].joint_errors().tolist(), strict=True))
    assert np.mean([target[kind] for kind in dt.KINDS]) == pytest.approx(6.67, rel=1e-5)
    assert target["wrist"] > target["foot"] > target["elbow"] > target["shoulder"] > target["pelvis"] > target["head"]
    # by hand from Chang et al.: wrist 0.905 x 2.97 x 0.886 + 0.095 x 38.3 = 6.02, pelvis 2.51 x 0.886 = 2.22
    assert target["wrist"] / target["pelvis"] == pytest.approx(6.02 / 2.22, rel=0.01)


@pytest.mark.parametrize(("name", "published"), [("cpn", 2.91), ("sh", 1.54)])
def test_acceleration_error_is_the_published_one(name, published, device):
    truth, noisy, _ = turning(name, device)
    error = noisy - truth
    second = (error[2:] - 2 * error[1:-1] + error[:-2]).norm(dim=-1)
    assert float(second.mean()) == pytest.approx(published, rel=0.1)


# noise


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("fps", [25.0, 50.0, 120.0])
def test_lag_1_correlation_follows_the_frame_rate(name, fps, device):
    truth = seen(20_000).to(device)
    error = errors(quiet(DETECTORS[name], tail=0.1), truth, fps)
    target = quiet(DETECTORS[name], tail=0.1).lag1(fps)
    assert correlation(error[1:], error[:-1]) == pytest.approx(target, abs=0.1 * (1 - target) + 0.002)


def test_lag_1_correlation_at_50_fps_is_near_what_the_published_pair_implies_for_one_ar1():
    # AR(1): (acceleration / error)^2 = 2 (1 - r)(3 - r); by hand r = 0.954 for cpn, 0.993 for sh
    assert DETECTORS["cpn"].lag1() == pytest.approx(0.954, abs=0.02)
    assert DETECTORS["sh"].lag1() == pytest.approx(0.993, abs=0.005)


def test_tails_are_heavier_than_gaussian(device):
    model = quiet()
    error = errors(model, seen(FRAMES).to(device))
    error = error / (error**2).mean((0, 2), keepdim=True).sqrt()
    kurtosis = float((error**4).mean())
    assert 5 < kurtosis < 12  # 3 exp(4 tail^2) = 8.2, slow to settle; a Gaussian has 3
    flat = errors(quiet(tail=0.01), seen(20_000).to(device))
    flat = flat / (flat**2).mean((0, 2), keepdim=True).sqrt()
    assert float((flat**4).mean()) == pytest.approx(3, abs=0.2)


def test_noise_is_independent_between_clips_and_continuous_within(device):
    truth = seen(4000).to(device)
    pairs = torch.arange(4000, device=device) // 2
    error = errors(quiet(tail=0.1), truth, clips=pairs)
    assert correlation(error[0::2], error[1::2]) > 0.9
    assert abs(correlation(error[1:-1:2], error[2::2])) < 0.05


def test_long_inputs_are_worked_in_parts_that_cut_no_clip(monkeypatch):
    monkeypatch.setattr(dt, "PART", 100)
    lengths = [30, 250, 1, 1, 99, 100, 60, 7]
    clips = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    sizes = dt._parts(len(clips), clips)
    assert sum(sizes) == len(clips) and min(sizes) > 0 and len(sizes) > 2
    assert set(np.cumsum(sizes)) <= set(np.cumsum(lengths))
    noisy, confidence = detect_tensor(seen(len(clips)), clips)
    assert noisy.shape == (len(clips), 17, 2) and confidence.shape == (len(clips), 17)
    error = noisy - seen(len(clips))
    inside = (clips[1:] == clips[:-1]).nonzero()[:, 0]
    assert correlation(error[inside], error[inside + 1]) > 0.8


# misses and swaps


def test_misses_have_the_stated_rate_and_length(device):
    model = replace(DETECTORS["cpn"], tail=0.1)  # so that noise never reaches a tenth of the person
    truth = seen(FRAMES, spread=4).to(device)  # mirror joints far apart, so that each kind can be told
    truth = truth * (REFERENCE_SIZE / person_size(truth).mean())
    error = errors(model, truth)
    to_mirror = (truth + error - truth[:, list(dt.H36M17.mirror)]).norm(dim=-1)
    lost = (error.norm(dim=-1) > 0.095 * REFERENCE_SIZE) & (to_mirror > 0.095 * REFERENCE_SIZE)
    rates = model.miss_rates()
    expected = rates * (1 - model.miss_on_mirror * dt._paired())
    assert float(lost.float().mean()) == pytest.approx(float(expected.mean()), rel=0.15)
    wrists, head = H36M17.indices(["left_wrist", "right_wrist"]), H36M17.index("head")
    assert float(lost[:, wrists].float().mean()) == pytest.approx(float(expected[wrists].mean()), rel=0.25)
    assert float(lost[:, wrists].float().mean()) > 2 * float(lost[:, head].float().mean())
    assert float(runs(lost).mean()) / 50 == pytest.approx(model.miss_seconds, rel=0.3)


def test_misses_can_land_on_the_mirror_joint(device):
    model = replace(DETECTORS["cpn"], tail=0.1, swap_close={"arms": 1e-6, "legs": 1e-6}, swap_far=1e-6)
    truth = seen(FRAMES, spread=4).to(device)
    noisy = truth + errors(model, truth)
    size = person_size(truth)[:, None]
    wrist = H36M17.index("left_wrist")
    there = ((noisy - truth[:, list(dt.H36M17.mirror)]).norm(dim=-1) < 0.09 * size)[:, wrist].float().mean()
    assert float(there) == pytest.approx(float(model.miss_rates()[wrist]) * model.miss_on_mirror, rel=0.35)


@pytest.mark.parametrize("group", dt.GROUPS)
def test_swaps_exchange_the_limbs_at_the_stated_rate(group, device):
    often = replace(
        quiet(),
        swap_close={"arms": 0.05, "legs": 0.05},
        swap_distance=1.0,
        mirror_distance=0.01,
        tail=0.1,
        pixel_error=10.0,
        acceleration_error=5.0,
    )
    truth = seen(FRAMES, spread=4).to(device)
    size = person_size(truth)
    noisy = truth + errors(often, truth)
    members = dt._members(group).bool().to(device)
    on_mirror = ((noisy - truth[:, list(dt.H36M17.mirror)]).norm(dim=-1) < 0.12 * size[:, None])[:, members]
    assert (on_mirror.float().mean(1) > 0.99).eq(on_mirror.any(1)).float().mean() > 0.999  # the six go together
    happens = on_mirror.all(1)
    apart = ((truth[:, list(dt.H36M17.mirror)] - truth).norm(dim=-1) / size[:, None])[:, members].mean()
    assert float(happens.float().mean()) == pytest.approx(float(often.swap_rate(group, apart)), rel=0.25)
    assert float(runs(happens).mean()) / 50 == pytest.approx(often.swap_seconds, rel=0.35)


def test_swaps_are_likelier_where_left_and_right_overlap():
    distance = torch.tensor([0.0, 0.08, 0.5])
    for model in DETECTORS.values():
        for group in dt.GROUPS:
            close, middle, far = model.swap_rate(group, distance).tolist()
            assert close == pytest.approx(model.swap_close[group])
            assert far == pytest.approx(model.swap_far, rel=1e-3)
            assert (middle - far) / (close - far) == pytest.approx(math.exp(-1), rel=1e-3)


# confidence


@pytest.mark.parametrize("name", DETECTORS)
def test_confidence_tells_the_truth_on_average(name, device):
    truth, noisy, confidence = turning(name, device)
    found = ((noisy - truth).norm(dim=-1) < dt.FOUND_WITHIN * person_size(truth)[:, None]).float()
    assert float(confidence.mean()) == pytest.approx(float(found.mean()), abs=0.01)
    for low in np.arange(0, 1, 0.1):
        chosen = (confidence >= low) & (confidence <= low + 0.1)
        assert int(chosen.sum()) > 500
        assert float(confidence[chosen].mean()) == pytest.approx(float(found[chosen].mean()), abs=0.06), low
    np.testing.assert_allclose(confidence.mean(0).cpu(), found.mean(0).cpu(), atol=0.02)


def test_confidence_tells_good_from_bad(device):
    truth, noisy, confidence = turning("cpn", device)
    error = (noisy - truth).norm(dim=-1)
    assert float(error[confidence < 0.5].mean()) > 4 * float(error[confidence > 0.9].mean())
    assert float(confidence[error > 80].mean()) < 0.4
    assert 0.9 < float(confidence.mean()) < 0.99


# invariances and edges


@settings(max_examples=10, deadline=None)
@given(factor=st.floats(0.002, 8), shift=st.floats(-1000, 1000), seed=st.integers(0, 2**40))
def test_noise_scales_and_moves_with_the_image(factor, shift, seed):
    truth = seen(40, turns=1).double()
    for_seed = lambda: torch.Generator().manual_seed(seed)  # noqa: E731
    noisy, confidence = detect_tensor(truth, None, 50, "cpn", for_seed())
    moved, again = detect_tensor(truth * factor + shift * factor, None, 50, "cpn", for_seed())
    torch.testing.assert_close(moved, (noisy + shift) * factor, rtol=1e-5, atol=1e-3 * factor)
    torch.testing.assert_close(again, confidence, rtol=1e-4, atol=1e-4)


def test_one_seed_one_detection():
    truth = Pose2D(seen(100).numpy(), fps=50, image_size=(1000, 1000))
    first, again, other = detect(truth, "sh", 7), detect(truth, "sh", 7), detect(truth, "sh", 8)
    assert np.array_equal(first.points, again.points) and np.array_equal(first.confidence, again.confidence)
    assert not np.array_equal(first.points, other.points)
    assert not np.array_equal(first.points, detect(truth, "cpn", 7).points)


def test_detect_keeps_what_is_not_noise():
    truth = Pose2D(seen(30).numpy(), fps=30, image_size=(1920, 1080))
    before = truth.points.copy()
    noisy = detect(truth)
    assert (noisy.fps, noisy.image_size, noisy.skeleton) == (30, (1920, 1080), H36M17)
    assert noisy.points.dtype == noisy.confidence.dtype == np.float32
    assert np.array_equal(truth.points, before)


@settings(max_examples=15, deadline=None)
@given(share=st.sampled_from([0.05, 0.5, 0.95, 1.0]), seed=st.integers(0, 1000))
def test_missing_joints_stay_missing_and_others_stay_found(share, seed):
    points = seen(60).numpy()
    gone = np.random.default_rng(seed).random(points.shape[:2]) < share
    points[gone] = np.nan
    noisy = detect(Pose2D(points, image_size=(1000, 1000)), "sh", seed)
    assert np.array_equal(np.isnan(noisy.points).any(-1), gone)
    assert (noisy.confidence[gone] == 0).all()
    assert np.isfinite(noisy.confidence).all()


@pytest.mark.parametrize("frames", [1, 2, 3])
@pytest.mark.parametrize("fps", [1.0, 24.0, 240.0])
def test_short_clips_and_odd_rates(frames, fps, device):
    noisy, confidence = detect_tensor(seen(frames).to(device), None, fps)
    assert noisy.shape == (frames, 17, 2) and noisy.isfinite().all()
    assert noisy.device.type == confidence.device.type == device.type
    assert ((confidence >= 0) & (confidence <= 1)).all()


def test_series_have_unit_variance_even_when_short():
    for frames, length in [(2.0, 64), (25.0, 512), (0.01, 128)]:
        for spectrum in (dt._squared_exponential(frames), dt._autoregressive(frames)):
            series = dt._process(4000, spectrum, length, "cpu", torch.Generator().manual_seed(0))
            assert float((series**2).mean()) == pytest.approx(1, rel=0.05)


def test_bad_input_is_refused_with_the_way_out():
    with pytest.raises(ValueError, match=r"coco17.*convert\('h36m17'\)"):
        detect(Pose2D(np.zeros((3, 17, 2)), skeleton=COCO17, image_size=(1000, 1000)))
    truth = seen(4)
    with pytest.raises(ValueError, match="'hrnet'.*cpn, sh"):
        detect_tensor(truth, detector="hrnet")
    with pytest.raises(ValueError, match=r"\(4, 17\)"):
        detect_tensor(truth[..., 0])
    with pytest.raises(ValueError, match=r"clips have shape \(3,\)"):
        detect_tensor(truth, torch.zeros(3))
    with pytest.raises(ValueError, match="fps is 0"):
        detect_tensor(truth, fps=0)
    with pytest.raises(ValueError, match="floating"):
        detect_tensor(truth.long())


def test_a_detector_that_cannot_be_is_refused():
    cpn = DETECTORS["cpn"]
    with pytest.raises(ValueError, match="no noise meets 1 px"):
        replace(cpn, pixel_error=1.0)
    with pytest.raises(ValueError, match="0.1 px/frame"):
        replace(cpn, acceleration_error=0.1)
    with pytest.raises(ValueError, match="below 0.2"):
        replace(cpn, miss_floor=0.5)
    with pytest.raises(ValueError, match="no figure for hip"):
        replace(cpn, difficulty={kind: 1.0 for kind in dt.KINDS if kind != "hip"})
