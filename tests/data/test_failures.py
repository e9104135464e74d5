"""A detector that fails: every rate and size of Failures is measured again on its output."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import lru_cache

import pytest
import torch

from mocap3d.data.cameras import draw_cameras, film_tensor
from mocap3d.data.detector import DETECTORS, DetectorModel, person_size
from mocap3d.data.failures import SCALE, SIGMAS, Failures, _episodes, detect_with_failures
from mocap3d.data.phone import coco_from_h36m, detect_coco
from mocap3d.skeleton import COCO17
from tests.data.people import people
from tests.data.test_detector import correlation, runs, seen

FPS, LENGTH, CLIPS = 25.0, 100, 600
NEVER = {"miss_share": 0.0, "miss_floor": 1e-9, "swap_close": {"arms": 1e-9, "legs": 1e-9}, "swap_far": 1e-9}
SHARP = DetectorModel("sharp", pixel_error=0.01, acceleration_error=0.004, **NEVER)
NONE = Failures(offset=0, threshold=0, kept=1, guessed=0, inverted=0, ear=0, limb=0, never=0, desk=0)
LEGS = COCO17.indices([f"{side}_{joint}" for joint in ("knee", "ankle") for side in ("left", "right")])
ARMS = COCO17.indices([f"{side}_{joint}" for joint in ("elbow", "wrist") for side in ("left", "right")])
HIPS, EARS = COCO17.indices(["left_hip", "right_hip"]), COCO17.indices(["left_ear", "right_ear"])


@lru_cache
def filmed(device: torch.device) -> dict[str, torch.Tensor]:
    """600 clips of 4 seconds in front of phones: the first arguments of detect_with_failures."""
    points, clip = (part.to(device) for part in people((LENGTH,) * CLIPS, dtype=torch.float32))
    cameras = draw_cameras(points, clip, generator=torch.Generator().manual_seed(1))
    coco = film_tensor(coco_from_h36m(points), clip, cameras)
    h36m = film_tensor(points, clip, cameras).points2d
    return {"h36m": h36m, "coco": coco.points2d, "clip": clip, "size": cameras.size, "seen": coco.seen}


def still(clips: int, frames: int, device: torch.device) -> dict[str, torch.Tensor]:
    """Clips of a standing body in the middle of a square image."""
    body = (seen(1) - 500).to(device) / 1000  # h36m17, inside the image
    coco = torch.cat([body[:, [9] * 5], body[:, [11, 14, 12, 15, 13, 16, 4, 1, 5, 2, 6, 3]]], 1)
    clip = torch.arange(clips, device=device).repeat_interleave(frames)
    h36m, coco = (points.expand(len(clip), -1, -1).contiguous() for points in (body, coco))
    return {"h36m": h36m, "coco": coco, "clip": clip, "size": torch.ones(clips, 2, device=device)}


def fail(scene, detector="cpn", seed=0, fps=FPS, base=NONE, **changes):
    generator = torch.Generator().manual_seed(seed)
    return detect_with_failures(
        **scene, fps=fps, detector=detector, failures=replace(base, **changes), generator=generator
    )


def gone(detections) -> torch.Tensor:
    return detections.points.isnan().any(-1)


def per_clip(values: torch.Tensor) -> torch.Tensor:
    return values.unflatten(0, (-1, LENGTH))


def same(a, b) -> bool:
    pairs = [(a.points.nan_to_num(9), b.points.nan_to_num(9)), (a.confidence, b.confidence), (a.inverted, b.inverted)]
    return all(torch.equal(*pair) for pair in pairs)


# promises


def test_the_same_state_gives_the_same_bits_and_the_input_is_kept(device):
    scene = filmed(device)
    before = {name: value.clone() for name, value in scene.items()}
    first = fail(scene, base=Failures())
    assert all(torch.equal(scene[name], value) for name, value in before.items())
    assert same(first, fail(scene, base=Failures())) and not same(first, fail(scene, base=Failures(), seed=1))
    torch.manual_seed(3)
    drawn = detect_with_failures(**scene)
    torch.manual_seed(3)
    assert same(drawn, detect_with_failures(**scene))
    local = [detect_with_failures(**scene, generator=torch.Generator(device).manual_seed(4)) for _ in range(2)]
    assert same(*local)
    assert first.points.device == first.confidence.device == first.inverted.device == scene["coco"].device


def test_missing_joints_have_no_confidence_and_all_others_some(device):
    detections = fail(filmed(device), base=Failures())
    assert torch.equal(detections.points.isnan().any(-1), detections.points.isnan().all(-1))
    assert torch.equal(gone(detections), detections.confidence == 0)
    assert 0.01 < float(gone(detections).float().mean()) < 0.12
    assert float(detections.confidence.max()) <= 1


def test_without_failures_it_is_the_detector_it_is_built_on(device):
    scene = still(3, 50, device)
    detections = fail(scene)
    error = detections.points - scene["coco"]
    assert not detections.inverted.any() and not gone(detections).any()
    assert 0 < float(error.norm(dim=-1).mean()) < 0.05 * float(person_size(scene["h36m"]).mean())
    sharp = fail(filmed(device), SHARP)
    visible = ~gone(sharp)
    assert (sharp.points - filmed(device)["coco"])[visible].abs().max() < 1e-3
    assert float(sharp.confidence[visible].min()) > 0.99


def test_joints_that_are_missing_in_the_truth_stay_missing(device):
    scene = still(2, 60, device)
    scene["coco"][:30, 9] = scene["h36m"][:30, 13] = torch.nan
    for share in (0, 1):
        missing = gone(fail(scene, guessed=share, threshold=0.3, offset=0.4))
        assert missing[:30, 9].all() and not missing[30:].any()


def test_another_clip_changes_nothing(device):
    scene = filmed(device)
    scene = {"clip": scene["clip"][: 5 * LENGTH], "size": scene["size"][:5]} | {
        name: scene[name][: 5 * LENGTH] for name in ("h36m", "coco", "seen")
    }
    other = dict(scene)
    rows = scene["clip"] == 2
    other |= {name: torch.where(rows[:, None, None], 0.3 * scene[name] + 0.1, scene[name]) for name in ("h36m", "coco")}
    first, second = (fail(part, base=Failures(inverted=0.3, guessed=0.5)) for part in (scene, other))
    kept = ~rows
    assert torch.equal(first.points[kept].nan_to_num(9), second.points[kept].nan_to_num(9))
    assert torch.equal(first.confidence[kept], second.confidence[kept])
    assert not torch.equal(first.points[rows].nan_to_num(9), second.points[rows].nan_to_num(9))


def test_a_batch_costs_little_more_than_the_detector_it_is_built_on():
    scene = filmed(torch.device("cpu"))

    def seconds(call) -> float:
        times = []
        for _ in range(3):
            before = time.process_time()
            call()
            times.append(time.process_time() - before)
        return min(times)

    plain = seconds(lambda: detect_coco(scene["h36m"], scene["coco"], scene["clip"]))
    assert seconds(lambda: detect_with_failures(**scene)) < 2.5 * plain  # 1.3 where this was written


# inversions


def test_inverted_frames_are_mirrored_and_no_others(device):
    scene = filmed(device)
    detections = fail(scene, SHARP, inverted=0.05)
    assert float(detections.inverted.float().mean()) == pytest.approx(0.05, abs=0.012)
    mirrored = torch.where(detections.inverted[:, None, None], scene["coco"][:, list(COCO17.mirror)], scene["coco"])
    assert (detections.points - mirrored)[~gone(detections)].abs().max() < 1e-3
    visible = torch.where(detections.inverted[:, None], scene["seen"][:, list(COCO17.mirror)], scene["seen"])
    assert float((gone(detections) != ~visible).float().mean()) < 1e-4  # a few are detected across an edge


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_episodes_have_their_share_and_length_and_stay_in_their_clip(share):
    clips, length, fps = 4000, 400, 50.0
    clip = torch.arange(clips).repeat_interleave(length)
    uniform = torch.rand(3, len(clip), generator=torch.Generator().manual_seed(5))
    inverted = _episodes(clip, torch.arange(0, len(clip), length), uniform, Failures(inverted=share), fps)
    inverted = inverted.unflatten(0, (clips, length))
    for part in (inverted, inverted[:, 0], inverted[:, 200], inverted[:, -1]):  # as many at a clip's beginning
        assert float(part.float().mean()) == pytest.approx(share, rel=0.08 if part.ndim > 1 else 0.25)
    last, following = inverted[:-1, -1].float(), inverted[1:, 0].float()
    assert abs(correlation(last - last.mean(), following - following.mean())) < 0.06
    whole = inverted[(~inverted[:, 0]) & (~inverted[:, -1])]
    seconds = runs(whole.T) / fps
    assert float(seconds.min()) >= 0.5 - 0.5 / fps
    assert float((seconds <= 2 + 0.5 / fps).float().mean()) > 0.95 - share  # the others overlap
    if share == 0.05:
        assert float(seconds.median()) == pytest.approx(1.25, abs=0.1)


# offsets and drift


def test_offsets_are_constant_relative_to_the_body_and_as_large_as_promised(device):
    scene = filmed(device)
    scene = {**scene, "seen": torch.ones_like(scene["seen"]), "size": torch.ones_like(scene["size"])}
    detections = fail(scene, SHARP, offset=0.4)
    offset = per_clip((detections.points - scene["coco"]) / person_size(scene["h36m"])[:, None, None])  # (K, T, 17, 2)
    visible = per_clip(~gone(detections)).all(1)  # (K, 17)
    assert visible.float().mean() > 0.8
    assert float(offset.std(1)[visible].max()) < 1e-3
    for joint, name in enumerate(COCO17.joints):
        mean = offset[:, 0, joint][visible[:, joint]]  # (K', 2)
        assert float(mean.std()) == pytest.approx(0.4 * SCALE * SIGMAS[name.rpartition("_")[2]], rel=0.08)
        assert abs(float(mean.mean() / mean.std())) < 0.1
    both = visible[:, HIPS].all(1)
    left, right = (offset[both, 0, joint, 0] for joint in HIPS)
    assert abs(correlation(left, right)) < 0.12
    assert abs(correlation(left[1:], left[:-1])) < 0.12


def test_a_hip_of_an_adult_is_a_few_centimetres_off():
    height = 1.6  # ankles to the top of the head: the person's size in metres
    assert Failures().offset * SCALE * SIGMAS["hip"] * height == pytest.approx(0.03, abs=0.005)


@pytest.mark.parametrize("seconds", [0.2, 0.5, 2.0])
def test_noise_drifts_as_slowly_as_asked_and_keeps_its_size(seconds, device):
    scene = still(8, 6000, device)
    model = replace(DETECTORS["cpn"], tail=0.05, **NEVER)
    points = fail(scene, model, fps=50.0, drift_seconds=seconds).points
    error = (points - scene["coco"]).unflatten(0, (8, 6000))
    error = (error / (error**2).mean((0, 1, 3), keepdim=True).sqrt())[:, :, 5:]
    jitter = replace(model, drift_seconds=seconds).calibration()[1]
    for lag in (0.2, 0.5, 2.0):
        frames = round(lag * 50)
        expected = (1 - jitter) * torch.tensor(-0.5 * (lag / seconds) ** 2).exp()
        assert correlation(error[:, frames:], error[:, :-frames]) == pytest.approx(float(expected), abs=0.06)
    default = fail(scene, model, fps=50.0).points
    size = [(part - scene["coco"]).norm(dim=-1).mean() for part in (points, default)]
    assert float(size[0]) == pytest.approx(float(size[1]), rel=0.06)


def test_the_drift_of_a_given_detector_is_kept(device):
    scene = still(2, 100, device)
    slow = replace(DETECTORS["sh"], drift_seconds=1.5)
    assert same(fail(scene, slow), fail(scene, "sh", drift_seconds=1.5))
    assert not same(fail(scene, slow), fail(scene, "sh"))


# out of view


def test_joints_beyond_an_edge_are_missing_or_guessed_near_it(device):
    scene = filmed(device)
    edge = (scene["size"] / scene["size"][:, :1])[scene["clip"], None]
    unseen = ~scene["seen"]
    assert float(unseen.float().mean()) > 0.01
    missing = fail(scene)
    assert gone(missing)[unseen].all()
    assert (missing.points.abs() <= edge)[~gone(missing)].all()
    guessed = fail(scene, guessed=1, threshold=0.3)
    assert not gone(guessed).any() and (guessed.points.abs() <= edge).all()
    assert float(guessed.confidence[unseen].max()) < 0.3 and float(guessed.confidence[unseen].mean()) > 0.1
    inside = ((edge - guessed.points.abs()) / person_size(scene["h36m"])[:, None, None]).amin(-1)
    outside = unseen & (scene["coco"].abs() > edge).any(-1)
    assert float(inside[outside & gone(missing)].min()) >= 0
    beyond = (scene["coco"].abs() - edge).amax(-1) > 0.1 * person_size(scene["h36m"])[:, None]  # noise cannot undo it
    assert float(inside[unseen & beyond].quantile(0.98)) < 0.0501


def test_seen_follows_from_the_image_when_it_is_not_given(device):
    scene = filmed(device)
    edge = (scene["size"] / scene["size"][:, :1])[scene["clip"], None]
    ahead = (scene["seen"] == (scene["coco"].abs() <= edge).all(-1)).all(1).all()
    assert ahead  # nobody is behind the camera here
    assert same(fail(scene, base=Failures()), fail({**scene, "seen": None}, base=Failures()))


def test_as_many_clips_guess_as_asked(device):
    scene = filmed(device)
    missing, unseen = per_clip(gone(fail(scene, guessed=0.25))), per_clip(~scene["seen"])
    truncated = unseen.flatten(1).any(1)
    guessing = ~missing.flatten(1).any(1)[truncated]
    assert int(truncated.sum()) > 150
    assert float(guessing.float().mean()) == pytest.approx(0.25, abs=0.09)


def test_legs_behind_a_desk_are_never_seen_or_guessed(device):
    scene = still(CLIPS, LENGTH, device)
    missing = per_clip(gone(fail(scene, desk=0.2, desk_hips=0.5)))
    behind = missing[..., LEGS].all(1).all(1)  # (K,)
    assert float(behind.float().mean()) == pytest.approx(0.2, abs=0.04)
    assert float(missing[behind][..., HIPS].all(1).all(1).float().mean()) == pytest.approx(0.5, abs=0.12)
    assert not missing[~behind].any() and not missing[..., ARMS].any()
    guessed = fail(scene, SHARP, desk=1, desk_hips=0, guessed=1, threshold=0.3, guess=0.1)
    error = (guessed.points - scene["coco"]) / person_size(scene["h36m"])[:, None, None]
    assert float(guessed.confidence[:, LEGS].max()) < 0.3 and not gone(guessed).any()
    assert float(error[:, LEGS].std()) == pytest.approx(0.1, rel=0.1)
    assert float(per_clip(error)[:, :, LEGS].std(1).max()) < 1e-3
    assert float(error[:, ARMS].abs().max()) < 1e-3


# low scores and gaps


def test_low_scores_are_kept_or_dropped_by_clip(device):
    scene = still(CLIPS, LENGTH, device)
    truth, size = scene["coco"], person_size(scene["h36m"])[:, None]
    kept, dropped = (fail(scene, threshold=0.3, kept=share) for share in (1, 0))
    low = kept.confidence < 0.3
    assert not gone(kept).any() and torch.equal(gone(dropped), low)
    assert 0.005 < float(low.float().mean()) < 0.06
    error = (kept.points - truth).norm(dim=-1) / size
    assert float(error[low].mean()) > 4 * float(error[~low].mean()) and float(error[low].mean()) > 0.08
    some = fail(scene, threshold=0.3, kept=0.5)
    clips = per_clip(low).flatten(1).any(1)
    keeping = ~per_clip(gone(some)).flatten(1).any(1)[clips]
    assert float(keeping.float().mean()) == pytest.approx(0.5, abs=0.06)
    assert torch.equal(some.confidence == 0, gone(some))


def test_ears_and_limbs_are_missing_as_often_and_long_as_promised(device):
    scene = still(CLIPS, LENGTH, device)
    ears = per_clip(gone(fail(scene, ear=0.3)))
    assert torch.equal(ears.any(1), ears.all(1)) and not ears[..., [j for j in range(17) if j not in EARS]].any()
    assert float(ears[:, 0].any(1).float().mean()) == pytest.approx(0.3, abs=0.045)
    assert int(ears[:, 0].sum(1).max()) == 1
    assert float(ears[:, 0, EARS[0]].float().mean()) == pytest.approx(0.15, abs=0.035)
    limbs = per_clip(gone(fail(scene, limb=0.2)))
    assert not limbs[..., [j for j in range(17) if j not in LEGS + ARMS]].any()
    frames = limbs.sum(1)  # (K, 17)
    assert int((frames > 0).sum(1).max()) == 1
    assert float((frames > 0).any(1).float().mean()) == pytest.approx(0.2, abs=0.04)
    assert ((frames > 0).sum(0)[LEGS + ARMS] > 8).all()
    seconds = frames[frames > 0] / FPS
    assert float(seconds.min()) >= 1 - 0.5 / FPS and float(seconds.max()) <= 3 + 0.5 / FPS
    assert float(seconds.mean()) == pytest.approx(2, abs=0.15)
    starts = limbs.int().diff(dim=1).clamp_min(0).sum(1) + limbs[:, 0]
    assert int(starts.max()) == 1  # in one go


def test_a_gap_is_no_longer_than_its_clip(device):
    scene = still(50, 10, device)
    missing = gone(fail(scene, limb=1)).unflatten(0, (50, 10))
    assert (missing.all(1).sum(1) == 1).all() and torch.equal(missing.all(1), missing.any(1))


def test_the_defaults_measured_together(device):
    scene = filmed(device)
    detections = fail(scene, base=Failures())
    missing, inside = per_clip(gone(detections)), per_clip(scene["seen"]).flatten(1).all(1)
    assert float(detections.inverted.float().mean()) == pytest.approx(0.05, abs=0.012)
    assert float(missing[inside][..., EARS].all(1).any(1).float().mean()) == pytest.approx(0.32, abs=0.06)
    behind = missing[inside][..., LEGS].all(1).all(1)
    assert float(behind.float().mean()) == pytest.approx(0.15 * 0.75, abs=0.03)  # a quarter is guessed


def test_one_joint_of_any_kind_is_never_reported(device):
    scene = filmed(device)
    inside = per_clip(scene["seen"]).flatten(1).all(1)
    missing = per_clip(gone(fail(scene, never=0.6)))[inside].all(1)  # (clips, 17)
    assert float(missing.any(1).float().mean()) == pytest.approx(0.6, abs=0.12)
    assert int(missing.any(0).sum()) > 12 and int(missing.sum(1).max()) == 1


# what it refuses


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inverted": 1.0}, "inverted=1.0"),
        ({"guessed": 0.6}, "guessed=0.6 must be at most kept=0.5"),
        ({"ear": -0.1}, "ear=-0.1"),
        ({"never": 1.1}, "never=1.1"),
        ({"offset": 2.0}, "offset=2.0"),
        ({"episode": (2.0, 0.5)}, "episode="),
        ({"gap": (0.0, 0.5)}, "gap="),
        ({"drift_seconds": 0.0}, "drift_seconds=0.0"),
    ],
)
def test_refuses_numbers_out_of_range(changes, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        Failures(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": torch.ones(3, 2)}, r"give width and height of each clip, \(2, 2\)"),
        ({"seen": torch.ones(20, 17)}, "give .frames, 17. bool"),
        ({"h36m": torch.zeros(20, 16, 2)}, "for both"),
        ({"clip": torch.arange(20) // 10 + 1}, "ascend from 0"),
        ({"coco": torch.zeros(20, 17, 3)}, r"\(frames, joints, 2\)"),
        ({"detector": "yolo"}, "detector is 'yolo'"),
        ({"fps": 0.0}, "fps is 0.0"),
        ({"failures": Failures(drift_seconds=0.01)}, "no noise meets"),
    ],
)
def test_refuses_wrong_arguments(changes, message):
    with pytest.raises(ValueError, match=message):
        detect_with_failures(**(still(2, 10, torch.device("cpu")) | changes))
