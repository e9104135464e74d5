"""Pretraining: what is hidden, what 2D alone may teach, when it begins, and that it resumes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mocap3d.data.chunks import cut_chunks
from mocap3d.data.windows import Batch, to_device
from mocap3d.models.create import create_model
from mocap3d.models.motionbert import MotionBERT
from mocap3d.skeleton import ROOT
from mocap3d.training.augmentation import TrainingError
from mocap3d.training.fit import fit, supervised
from mocap3d.training.pretraining import DISTANCE, Pretraining, pretrain, seen_in_2d
from mocap3d.training.recipe import Recipe
from tests.toys import sticks

RECIPE = Recipe(
    "pretrain",
    "adamw",
    2e-3,
    batch_size=6,
    steps=8,
    loss="mpjpe",
    terms={"velocity": 2.0},
    flip=True,
    mask_joints=0.05,
    mask_frames=0.1,
    detector="sh",
)


def tiny(seed: int = 0, **options) -> MotionBERT:
    torch.manual_seed(seed)
    sizes = {"channels": 16, "mlp_ratio": 2, "representation": 16, "depth": 1, "heads": 2, "frames": 9}
    return MotionBERT(**{**sizes, **options})


@pytest.fixture(scope="module")
def train():
    return sticks(3, frames=30)


@pytest.fixture(scope="module")
def video():
    return sticks(2, frames=30, seed=5).with_detections("sh")


def run(model, train, video, **options):
    return pretrain(model, train, video, options.pop("recipe", RECIPE), progress=False, device="cpu", **options)


def same(a, b) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def test_it_learns(train, video) -> None:
    done = run(tiny(), train, video, recipe=replace(RECIPE, steps=60), after=0.0)
    assert done.history[-1]["train_loss"] < 0.9 * done.history[0]["train_loss"]
    about = done.record["unlabelled"]
    assert about["clips"] == len(video) and about["frames"] == video.frames
    assert done.record["pretraining"] == {"after": 0.0, "weight": 1.0}


def test_2d_comes_in_after_its_share(train, video, device) -> None:
    model = tiny().to(device).train()
    data, seen = to_device(train, device), to_device(video, device)
    objective = Pretraining(seen, cut_chunks(seen, 9, 9), after=0.5, weight=2.0, seed=0)
    pieces = cut_chunks(data, 9, 9)[:6]
    batch = Batch(data.points2d[pieces], data.confidence[pieces], data.pose3d[pieces], pieces)
    plain = replace(RECIPE, mask_joints=0.0, mask_frames=0.0)
    alone = supervised(model, batch, plain)
    for step in (1, 2, 5):
        assert torch.equal(objective(model, batch, plain, step=step, steps=10), alone)
    sixth = objective(model, batch, plain, step=6, steps=10)
    first = next(objective._batches.make(5))
    expected = alone + 2 * seen_in_2d(model, first, plain)
    assert sixth.item() == pytest.approx(expected.item(), rel=1e-6)


def test_2d_says_nothing_of_depth_and_of_joints_nobody_saw(device) -> None:
    model = tiny().to(device).train()
    points = torch.rand(2, 9, 17, 2, device=device)
    seen = torch.ones(2, 9, 17, device=device)
    seen[0, 3, 5], seen[1, 4, 0] = 0, 0  # a joint, and a root
    video = Batch(points, seen, torch.full((2, 9, 17, 3), torch.nan, device=device), torch.zeros(2, 9))
    said = []
    handle = model.register_forward_hook(lambda module, inputs, output: said.append(output) or output.retain_grad())
    seen_in_2d(model, video, replace(RECIPE, mask_joints=0.0, mask_frames=0.0)).backward()
    handle.remove()
    slope = said[0].grad
    assert (slope[..., 2] == 0).all() and (slope[0, 3, 5] == 0).all() and (slope[1, 4] == 0).all()
    assert slope[0, 0, 5, :2].abs().sum() > 0


def test_a_metric_pose_is_compared_in_its_virtual_camera_up_to_scale(device) -> None:
    """A true pose, seen from the assumed distance, fits its own 2D, however large it is; its mirror image does not."""
    torch.manual_seed(0)
    pose = 0.4 * torch.randn(2, 9, 17, 3, device=device)
    pose = pose - pose[:, :, [ROOT]]
    points = 0.6 * pose[..., :2] / (1 + pose[..., 2:] / DISTANCE)  # in units of the body
    model = tiny(image_space=False, normalise="ray").to(device)
    model.fit_normalisation(points.flatten(0, 1), pose.flatten(0, 1))
    video = Batch(points, torch.ones_like(points[..., 0]), torch.full_like(pose, torch.nan), torch.zeros(2, 9))
    plain = replace(RECIPE, mask_joints=0.0, mask_frames=0.0)

    def loss(answer):
        handle = model.register_forward_hook(lambda module, inputs, output: model.scaling.targets(answer))
        value = seen_in_2d(model, video, plain)
        handle.remove()
        return value.item()

    assert loss(pose) < 1e-6
    assert loss(pose * torch.tensor([-1.0, 1.0, 1.0], device=device)) > 0.1
    assert loss(pose * torch.tensor([1.0, 1.0, -1.0], device=device)) > 1e-3  # perspective tells front from back


def test_a_metric_network_pretrains_on_frames_apart(train, video) -> None:
    recipe = replace(RECIPE, clip_frames=3, clip_step=2, clip_stride=2)
    done = run(tiny(image_space=False, normalise="ray"), train, video, recipe=recipe, after=0.0)
    assert done.history[-1]["train_loss"] < done.history[0]["train_loss"]


def test_the_3d_of_the_video_is_not_looked_at(train, video) -> None:
    other = replace(
        video,
        clips=tuple(replace(clip, pose3d=replace(clip.pose3d, points=clip.pose3d.points * 1.1)) for clip in video),
    )
    first = run(tiny(), train, video).model
    assert same(first, run(tiny(), train, other).model)
    assert same(first, run(tiny(), train, list(video)).model)
    moved = replace(
        video,
        clips=tuple(
            replace(clip, pose2d=replace(clip.pose2d, points=clip.pose2d.points[::-1].copy())) for clip in video
        ),
    )
    assert not same(first, run(tiny(), train, moved).model)


def test_video_may_be_2d_alone_of_any_length(train, video) -> None:
    """As a detector gives it, without a camera; one that makes a single clip is shown again and again."""
    for poses in ([clip.pose2d for clip in video], [video[0].pose2d.slice(0, 5)]):
        assert np.isfinite(run(tiny(), train, poses).history[-1]["train_loss"])


def test_a_stopped_run_resumes_to_the_same_bits(train, video, tmp_path) -> None:
    whole = run(tiny(), train, video, out=tmp_path / "a", keep="last")

    def stop(entry):
        if entry["step"] >= 5:
            raise KeyboardInterrupt

    assert run(tiny(), train, video, out=tmp_path / "b", keep="last", callback=stop).interrupted
    assert same(whole.model, run(tiny(), train, video, out=tmp_path / "b", keep="last").model)
    with pytest.raises(ValueError, match="pretraining.weight was 1.0, is 0.5"):
        run(tiny(), train, video, out=tmp_path / "a", keep="last", weight=0.5)


def test_what_cannot_be_is_refused(train, video) -> None:
    for model in (create_model("videopose3d_27", channels=8), tiny(image_space=False)):
        with pytest.raises(TrainingError, match="neither a MotionBERT of image space"):
            run(model, train, video)
    with pytest.raises(TrainingError, match="holds 0 frames"):
        run(tiny(), train, [])
    for wrong in ({"after": 1.0}, {"after": -0.1}, {"weight": -1.0}, {"weight": float("nan")}):
        with pytest.raises(ValueError, match="give|a number as weight"):
            run(tiny(), train, video, **wrong)


def test_finetuning_goes_on_from_pretraining(train, video) -> None:
    pretrained = run(tiny(), train, video).model
    before = [parameter.clone() for parameter in pretrained.parameters()]
    tuned = fit(pretrained, train, replace(RECIPE, detector=None, learning_rate=1e-5, steps=2), progress=False)
    moved = [(a - b).abs().max() for a, b in zip(before, tuned.model.parameters(), strict=True)]
    assert 0 < max(moved) < 1e-3
