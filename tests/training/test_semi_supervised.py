"""Semi-supervised training: the published steps, what it sees and what it must not, and that it helps."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mocap3d.data.dataset import DatasetError
from mocap3d.data.windows import Batch, batches, to_device
from mocap3d.models.published import from_published, to_published
from mocap3d.models.videopose3d import PoseAndTrajectory, VideoPose3D
from mocap3d.skeleton import H36M17
from mocap3d.training.augmentation import TrainingError
from mocap3d.training.checkpoint import CheckpointError
from mocap3d.training.losses import reprojection
from mocap3d.training.recipe import Recipe, RecipeError
from mocap3d.training.semi_supervised import (
    UNLABELLED_SEED,
    Objective,
    SemiSupervised,
    VideoBatch,
    fit_semi_supervised,
    label_subset,
    losses,
    unlabelled_video,
)
from tests.toys import sticks


def published(formula, joints_out: int, salt: str) -> VideoPose3D:
    """A network whose weights are given by formula, under their published names."""
    model = VideoPose3D((3, 3, 3), 64, dropout=0.0, joints_out=joints_out)
    state = to_published(model.state_dict(), "VideoPose3D", "videopose3d")
    filled = {
        key: torch.from_numpy(formula.weight(key, tensor.shape, "_bn" in key, salt)) for key, tensor in state.items()
    }
    if joints_out == 1:
        filled["shrink.bias"][2] += 5
    model.load_state_dict(from_published(filled, "VideoPose3D", "videopose3d"))
    return model


def norm(model: torch.nn.Module) -> float:
    return float(torch.stack([p.grad.double().square().sum() for p in model.parameters()]).sum().sqrt())


def test_the_published_steps(golden, formula, device):
    """Three steps, the first of them warm-up: every loss, gradient and weight that was recorded."""
    case = golden("semi_supervised_steps")
    n_l, n_u = (json.loads(str(case["meta"]))["kwargs"][key] for key in ("labeled", "unlabeled"))
    model = PoseAndTrajectory(published(formula, 17, "pos:"), published(formula, 1, "traj:")).to(device).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, amsgrad=True)
    put = lambda array: torch.from_numpy(array).to(device)  # noqa: E731
    for k, logged in enumerate(case["log"]):
        pose3d = formula.pose3d(f"semi/3d{k}", (n_l, 1, 17, 3))
        root = formula.root3d(f"semi/root{k}", n_l, 1)
        absolute = np.concatenate([root, pose3d[:, :, 1:] + root], 2)
        points2d = put(formula.pose2d(f"semi/2d{k}", (n_l, 27, 17, 2)))
        labelled = Batch(points2d, torch.ones(n_l, 27, 17, device=device), put(absolute), torch.arange(n_l))
        points2d = put(formula.pose2d(f"semi/2ds{k}", (n_u, 27, 17, 2)))
        video = VideoBatch(points2d, points2d[:, 13:14], put(formula.camera(f"semi/cam{k}", n_u)))
        terms = losses(model, labelled, video if k else None)
        total = sum(terms.values())
        optimizer.zero_grad()
        total.backward()
        found = [
            *(
                float(torch.as_tensor(terms.get(name, 0)).detach())
                for name in ("pose", "trajectory", "projection", "bones")
            )
        ]
        found += [float(total.detach()), norm(model.pose), norm(model.trajectory)]
        np.testing.assert_allclose(found, logged, rtol=2e-5)
        optimizer.step()
    kernel = to_published(model.pose.state_dict(), "VideoPose3D", "videopose3d")["expand_conv.weight"]
    for found, name in (
        (model.pose.head.bias, "pos_shrink_bias"),
        (model.trajectory.head.bias, "traj_shrink_bias"),
        (model.pose.stem.norm.running_mean, "pos_expand_bn_mean"),
        (kernel[:4], "pos_expand_conv_head"),
        (model.pose.stem.norm.running_var, "pos_expand_bn_var"),
    ):
        np.testing.assert_allclose(found.detach().cpu(), case[name], atol=2e-5)


NARROW = Recipe(
    "narrow", "adam", 2e-3, batch_size=16, steps=40, loss="mpjpe", amsgrad=True, norm_momentum=(0.1, 0.01), flip=True
)


def networks(seed: int = 0, **options) -> PoseAndTrajectory:
    torch.manual_seed(seed)
    return PoseAndTrajectory(VideoPose3D(**{"filter_widths": (3, 3), "channels": 24, "dropout": 0.1, **options}))


def quiet(model, labelled, unlabelled, recipe=NARROW, *more, **options):
    return fit_semi_supervised(
        model, labelled, unlabelled, recipe, *more, **{"progress": False, "device": "cpu"} | options
    )


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.fixture(scope="module")
def dataset():
    return sticks(takes=4, frames=40, sources=2)


@pytest.fixture(scope="module")
def halves(dataset):
    return label_subset(dataset, 0.25, source="source-0")


@settings(max_examples=30, deadline=None)
@given(st.floats(0.02, 1), st.integers(0, 100), st.sampled_from(["source-0", ["source-0", "source-1"]]))
def test_a_subset_is_one_stretch_of_each_take_for_all_cameras_and_the_rest_has_no_3d(fraction, seed, source):
    dataset = sticks(takes=3, frames=30, views=2, sources=2)
    labelled, unlabelled = label_subset(dataset, fraction, seed, source=source)
    assert labelled.frames + unlabelled.frames == dataset.frames
    stretches = {}
    for clip in labelled:
        whole = next(c for c in dataset if c.recording == clip.recording and c.camera.name == clip.camera.name)
        start, stop = map(int, clip.take.partition(":")[2].split("-")) if ":" in clip.take else (0, len(whole))
        assert clip.source in source and len(clip) == stop - start == round(fraction * len(whole))
        np.testing.assert_array_equal(clip.pose3d.points, whole.pose3d.points[start:stop])
        np.testing.assert_array_equal(clip.pose2d.points, whole.pose2d.points[start:stop])
        stretches.setdefault(clip.recording, set()).add((start, stop))
    assert all(len(ends) == 1 for ends in stretches.values())  # the cameras agree
    assert all(np.isnan(clip.pose3d.points).all() for clip in unlabelled)
    again = label_subset(dataset.select(source="source-0"), fraction, seed)[0]  # whoever the neighbours are
    assert [clip.take for clip in again] == [clip.take for clip in labelled if clip.source == "source-0"]


def test_a_subset_of_nothing_says_so(dataset):
    with pytest.raises(DatasetError, match=r"fraction=0.001 of sticks labels no frame.*give 0.0"):
        label_subset(dataset, 0.001)
    for fraction in (0, -0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="above 0 and up to 1|a number as fraction"):
            label_subset(dataset, fraction)
    with pytest.raises(DatasetError, match="no subject"):
        label_subset(dataset, 0.5, subject="S99")


def test_pieces_of_pieces_keep_their_recording(dataset):
    labelled, _ = label_subset(dataset, 0.5)
    twice, rest = label_subset(labelled, 0.5)
    assert {clip.recording for clip in (*twice, *rest)} == {clip.recording for clip in dataset}
    assert len({(clip.take, clip.camera.name) for clip in rest}) == len(rest)


@pytest.mark.parametrize("lens", ["videopose3d", "opencv", "none"])
@pytest.mark.parametrize("causal", [False, True])
def test_true_poses_project_onto_what_a_step_sees_mirrored_or_not(dataset, lens, causal, device):
    clips = []
    for clip in dataset:
        options = {"distortion": (0.0,) * 5} if lens == "none" else {}
        camera = replace(clip.camera, distortion_model=lens, **options)
        clips.append(replace(clip, camera=camera, pose2d=clip.pose3d.project(camera)))
    video, data = unlabelled_video(clips, device), to_device(clips, device)
    options = {"width": 5, "causal": causal, "seed": 3, "mirror": True}
    for batch, seen in zip(batches(data, 32, **options), video.batches(0, 32, **options), strict=False):
        assert torch.equal(batch.points2d, seen.points2d)
        assert float(reprojection(batch.pose3d, seen.target2d, seen.intrinsics, video.lens)) < 1e-5


def test_video_has_no_end_and_any_step_can_be_drawn_again(dataset):
    video = unlabelled_video(dataset)
    per_pass = -(-len(video.data) // 64)
    steps = list(islice(video.batches(0, 64, 3, seed=1), 2 * per_pass + 3))
    for first in (0, 1, per_pass - 1, per_pass, 2 * per_pass + 1):
        again = next(video.batches(first, 64, 3, seed=1))
        assert torch.equal(again.points2d, steps[first].points2d)
        assert torch.equal(again.intrinsics, steps[first].intrinsics)
    whole = torch.cat([step.target2d for step in steps[:per_pass]]).flatten(1)
    assert torch.equal(whole.unique(dim=0), video.data.points2d.flatten(1).unique(dim=0))  # each frame once
    assert not torch.equal(steps[0].points2d, steps[per_pass].points2d)


def test_joints_nobody_saw_are_no_target(dataset):
    points = dataset[0].pose2d.points.copy()
    points[:, 5] = np.nan
    video = unlabelled_video([replace(dataset[0], pose2d=replace(dataset[0].pose2d, points=points, confidence=None))])
    seen = next(video.batches(0, 16, 3, mirror=True))
    unknown = seen.target2d.isnan().all(-1)  # (B, 1, 17)
    assert not seen.points2d.isnan().any() and (unknown.sum(-1) == 1).all()
    assert unknown[8:, 0, 5].all() and unknown[:8, 0, H36M17.mirror[5]].all()


def test_the_3d_of_unlabelled_clips_is_never_used(halves):
    labelled, unlabelled = halves
    noise = [
        replace(clip, pose3d=replace(clip.pose3d, points=np.random.default_rng(0).normal(size=(len(clip), 17, 3))))
        for clip in unlabelled
    ]
    a, b = (quiet(networks(), labelled, video) for video in (unlabelled, noise))
    assert same(a.model, b.model)


def test_the_warm_up_sees_labels_alone(halves, device):
    labelled, unlabelled = halves
    objective = Objective(unlabelled_video(unlabelled, device), SemiSupervised(warmup=0.25), seed=0)
    model, data = networks(dropout=0.0).to(device), to_device(labelled, device)
    batch = next(iter(batches(data, 16, width=9)))
    recipe = replace(NARROW, steps=100)
    alone = sum(losses(model, batch).values())
    assert float(objective(model, batch, recipe, 25, 100).detach()) == pytest.approx(float(alone.detach()), rel=1e-6)
    both = objective(model, batch, recipe, 26, 100)
    assert not np.isclose(float(both.detach()), float(alone.detach()))
    weights = Objective(objective.video, SemiSupervised(0.0, 0.0, 0.0, warmup=0), seed=0)
    terms = losses(model, batch, next(objective.video.batches(25, 16, 9, seed=UNLABELLED_SEED, mirror=True)))
    assert float(weights(model, batch, recipe, 26, 100).detach()) == pytest.approx(
        float(terms["pose"].detach()), rel=1e-5
    )


def test_video_is_balanced_like_the_labels_and_bones_are_compared_within_a_source(device):
    dataset = sticks(takes=4, frames=40, sources=2)
    many, one = (dataset.select(source=source).clips for source in ("source-0", "source-1"))
    unlabelled = [*many, one[0]]
    video, recipe = unlabelled_video(unlabelled, device), replace(NARROW, balance=0.0)
    data = to_device(many + one, device)
    batch = next(iter(batches(data, 16, width=9)))
    model = networks(dropout=0.0).to(device)
    within, over_all = (
        Objective(video, SemiSupervised(0.0, 0.0, 1.0, warmup=0, same_source=flag), 0, many + one)
        for flag in (True, False)
    )
    drawn = [video.batches(0, 16, 9, seed=UNLABELLED_SEED, mirror=True, balance=b) for b in (0.0, 1.0)]
    shares = [
        float((torch.cat([next(steps).frames for _ in range(8)]) >= sum(map(len, many))).float().mean())
        for steps in drawn
    ]
    assert shares[0] == pytest.approx(0.5, abs=0.1) and shares[1] < 0.35
    seen = next(video.batches(0, 16, 9, seed=UNLABELLED_SEED, mirror=True, balance=0.0))
    groups = [
        torch.tensor([name == "source-1" for name in names], device=device).long()
        for names in (
            [data.clips[k].source for k in data.clip[batch.frames]],
            [video.data.clips[k].source for k in video.data.clip[seen.frames]],
        )
    ]
    for objective, expected in ((within, groups), (over_all, None)):
        terms = losses(model, batch, seen, video.lens, groups=expected)
        total = float(objective(model, batch, recipe).detach())
        assert total == pytest.approx(float((terms["pose"] + terms["bones"]).detach()), rel=1e-5)
    assert not np.isclose(*(float(each(model, batch, recipe, 1, 2).detach()) for each in (within, over_all)), rtol=1e-4)


def test_video_teaches(halves, device):
    """With the unlabelled losses the poses meet the 2D of clips without labels, better than without them."""
    labelled, unlabelled = halves
    errors = []
    for weight in (0.0, 1.0):
        run = quiet(
            networks(),
            labelled,
            unlabelled,
            replace(NARROW, steps=120),
            device=device,
            semi=SemiSupervised(projection=weight, bones=weight),
        )
        video = unlabelled_video(unlabelled, device)
        with torch.no_grad():
            terms = losses(
                run.model.eval(),
                next(iter(batches(to_device(labelled, device), 99, width=9))),
                next(video.batches(0, 2000, 9)),
            )
        errors.append(float(terms["projection"]))
    assert errors[1] < 0.7 * errors[0]
    assert run.history[-1]["train_loss"] < 0.7 * run.history[0]["train_loss"]


def test_phone_video_gets_a_stated_field_of_view(halves, tmp_path):
    labelled, _ = halves
    films = [replace(clip.pose2d, image_size=(1920, 1080)) for clip in labelled]
    run = quiet(networks(), labelled, [*films, labelled[0]], replace(NARROW, steps=4), fov_degrees=70, out=tmp_path)
    record = json.loads((tmp_path / "run.json").read_text())["unlabelled"]
    assert record == run.record["unlabelled"]
    assert record["camera_assumed"] == f"70 degrees horizontal field of view for {len(films)} clips"
    video = unlabelled_video(films, fov_degrees=90)
    np.testing.assert_allclose(video.intrinsics[0, :4], [1, 1, 0, 0], atol=1e-6)  # 45 degrees to the edge


def test_video_that_cannot_be_used_says_why(halves):
    labelled, unlabelled = halves
    for nothing in ([], [labelled[0].pose2d.slice(0, 1)]):
        with pytest.raises(TrainingError, match="give video of two frames or more, or train with `fit`"):
            quiet(networks(), labelled, nothing)
    other = replace(unlabelled[0], camera=replace(unlabelled[0].camera, distortion_model="opencv"))
    with pytest.raises(TrainingError, match="mix the lens models opencv, videopose3d"):
        quiet(networks(), labelled, [*unlabelled, other])
    with pytest.raises(TypeError, match="a PoseAndTrajectory as model, not a VideoPose3D"):
        quiet(VideoPose3D((3,), 8), labelled, unlabelled)
    with pytest.raises(RecipeError, match="loss='mpjpe'"):
        quiet(networks(), labelled, unlabelled, replace(NARROW, loss="mse"))
    with pytest.raises(RecipeError, match="projection"):
        SemiSupervised(projection=-1)
    with pytest.raises(RecipeError, match="warmup"):
        SemiSupervised(warmup=1.0)


class Stop(Exception):
    pass


def test_resuming_gives_the_same_bits(halves, device, tmp_path):
    """Stopped after 16 of 40 steps, within an epoch and within a pass through the video."""
    whole = quiet(networks(), *halves, device=device)

    def callback(entry):
        if entry["step"] == 16:
            raise Stop

    with pytest.raises(Stop):
        quiet(networks(), *halves, device=device, out=tmp_path, callback=callback)
    torch.manual_seed(999)
    rest = quiet(networks(seed=3), *halves, device=device, out=tmp_path)
    assert same(whole.model, rest.model)
    wrong = [replace(clip, camera=replace(clip.camera, focal=(900.0, 900.0))) for clip in halves[1]]
    for other in (halves[1].clips[1:], wrong):
        with pytest.raises(CheckpointError, match="belongs to another run: unlabelled"):
            quiet(networks(), halves[0], other, device=device, out=tmp_path)
    with pytest.raises(CheckpointError, match="semi_supervised.bones was 1.0, is 0.5"):
        quiet(networks(), *halves, device=device, out=tmp_path, semi=SemiSupervised(bones=0.5))


def test_wrong_intrinsics_move_the_body(dataset, device):
    """What a wrong focal length does: a network that was right puts the body at another depth."""
    video = unlabelled_video(dataset, device)
    wrong = unlabelled_video([replace(c, camera=replace(c.camera, focal=(800.0, 800.0))) for c in dataset], device)
    data = to_device(dataset, device)
    batch, right, off = (next(iter(b)) for b in (batches(data, 64), video.batches(0, 64, 1), wrong.batches(0, 64, 1)))
    assert float(reprojection(batch.pose3d, right.target2d, right.intrinsics, video.lens)) < 1e-5
    near = batch.pose3d.clone()
    assert float(reprojection(near, off.target2d, off.intrinsics, wrong.lens)) > 0.02
    root = near[:, :, :1].clone()
    closer = near - root + root * torch.tensor([1, 1, 800 / 1145], device=device)
    assert float(reprojection(closer, off.target2d, off.intrinsics, wrong.lens)) < 0.02
