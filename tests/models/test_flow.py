"""A flow carries noise to the distribution it was trained on: a set with two answers, and its mean."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import mocap3d
from mocap3d.data.windows import Batch
from mocap3d.models.create import create_model
from mocap3d.models.flow import NOISE, POSE, FlowLifter, FlowMatching, draw_noise
from mocap3d.poses import Pose2D, Pose3D
from mocap3d.skeleton import H36M17
from mocap3d.training.fit import fit, train_step
from mocap3d.training.losses import mse
from mocap3d.training.recipe import Recipe, make_optimizer
from mocap3d.weights import export_weights, load_weights, save_weights
from tests.toys import sticks

RECIPE = Recipe("toy", "adamw", 2e-3, "cosine", batch_size=64, steps=60, flip=True)


def small(seed: int = 0, **options) -> FlowLifter:
    torch.manual_seed(seed)
    model = create_model("flow", **{"channels": 32, "flow_channels": 32, "depth": 2, "dropout": 0.0, **options})
    model.fit_normalisation(torch.randn(200, 17, 2), torch.randn(200, 17, 3))
    return model


def two_answers(count: int, generator: torch.Generator) -> Batch:
    """Pictures that do not tell whether the left wrist is 0.5 m nearer or farther than the root: one in four nearer."""
    points = torch.randn(count, 1, 17, 2, generator=generator)
    pose = torch.zeros(count, 1, 17, 3)
    nearer = torch.rand(count, generator=generator) < 0.25
    pose[:, 0, H36M17.index("left_wrist"), 2] = torch.where(nearer, -0.5, 0.5)
    return Batch(points, None, pose, None)


def trained_on_two_answers(device: torch.device) -> FlowLifter:
    torch.manual_seed(0)
    model = FlowLifter(channels=16, flow_channels=64, depth=2, steps=10, dropout=0.0)
    generator = torch.Generator().manual_seed(0)
    first = two_answers(1000, generator)
    model.fit_normalisation(torch.randn(1000, 17, 2), first.pose3d[:, 0] + 0.01 * torch.randn(1000, 17, 3))
    model.to(device).train()
    optimizer = make_optimizer(model, RECIPE)
    for step in range(250):
        batch = two_answers(64, generator)
        batch = Batch(batch.points2d.to(device), None, batch.pose3d.to(device), None)
        train_step(model, optimizer, batch, RECIPE, 4e-3 * (1 - step / 250), FlowMatching())
    return model


def test_samples_are_either_answer_and_their_mean_is_between(device: torch.device) -> None:
    model = trained_on_two_answers(device)
    poses = model.samples_of(torch.zeros(1, 17, 2, device=device), 400).cpu()
    wrist = poses[:, 0, H36M17.index("left_wrist"), 2]
    nearer, farther = (wrist + 0.5).abs() < 0.15, (wrist - 0.5).abs() < 0.15
    either, share = float((nearer | farther).float().mean()), float(nearer.float().mean())
    assert either > 0.85  # hardly anything in between
    assert 0.15 < share < 0.35  # one in four
    with torch.no_grad():
        x = model.eval().encode(torch.zeros(1, 1, 17, 2, device=device))
        mean = model.decode(model(x))[0, 0, H36M17.index("left_wrist"), 2]
        # at t = 0 any noise is sent to the mean: the hedge of a regressor
        step = model.pose(draw_noise(50, 1, x), x.new_zeros(1), model.condition(x)[0])
    hedge = model.decode(step)[:, H36M17.index("left_wrist"), 2].cpu()
    assert float(mean) == pytest.approx(0.25, abs=0.25)
    assert float(hedge.mean()) == pytest.approx(0.25, abs=0.1) and float(hedge.std()) < 0.15


def test_steps_follow_the_velocity() -> None:
    """If the pose is z + (1 - t) z, the velocity is z, and Euler's S steps multiply by (1 + 1 / S) each."""
    model = small(steps=20)
    model.pose = lambda z, time, condition: z + (1 - time) * z
    noise = draw_noise(5, 0, torch.zeros(1))
    found = model.flow(torch.zeros(2, 3, 34), noise)
    assert found.shape == (5, 2, 3, POSE)
    torch.testing.assert_close(found[:, 1, 2], (1 + 1 / 20) ** 20 * noise, rtol=1e-5, atol=1e-6)


def test_temperature_scales_the_noise() -> None:
    model, x = small(temperature=2.0), torch.randn(2, 3, 34)
    noise = draw_noise(5, 0, x)
    found = model.flow(x, noise)
    model.temperature = 1.0
    torch.testing.assert_close(found, model.flow(x, 2 * noise))
    assert abs(float(draw_noise(1000, 0, x).std()) - NOISE) < 0.01


def test_loss_is_the_error_of_the_pose_on_straight_paths() -> None:
    model = small().eval()
    pose = torch.randn(4, 1, 17, 3)
    pose[0, 0, 3] = torch.nan
    batch = Batch(torch.randn(4, 1, 17, 2), None, pose, None)
    torch.manual_seed(1)
    loss = FlowMatching(draws=2)(model, batch, RECIPE)
    torch.manual_seed(1)
    target = model.targets(pose).expand(2, -1, -1, -1)
    noise, time = NOISE * torch.randn(2, 4, 1, POSE), torch.rand(2, 4, 1, 1)
    z = (1 - time) * noise + time * target
    z = torch.where(z.isnan(), noise, z)
    condition = model.condition(model.encode(batch.points2d))
    torch.testing.assert_close(loss, mse(model.pose(z, time, condition), target))
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_fit_evaluate_lift_sample_and_show(device: torch.device, tmp_path) -> None:
    data = sticks(takes=2, frames=30)
    torch.manual_seed(0)
    model = create_model("flow", channels=32, flow_channels=32, depth=2, normalise="ray")
    with pytest.raises(ValueError, match="objective=FlowMatching"):
        fit(model, data, RECIPE, device=device, progress=False)
    run = fit(model, data, RECIPE, data, device, tmp_path, objective=FlowMatching(), progress=False, keep="last")
    assert run.history[-1]["train_loss"] < 0.9 * run.history[0]["train_loss"]
    assert run.record["flow_matching"] == {"draws": 4}
    clip = data[0]
    before = run.model.sample(clip.pose2d, 8, camera=clip.camera)
    assert before.shape == (8, len(clip), 17, 3) and np.isfinite(before).all()
    np.testing.assert_array_equal(run.model.sample(clip.pose2d, 4, camera=clip.camera), before[:4])
    assert not np.allclose(run.model.sample(clip.pose2d, 4, seed=1, camera=clip.camera), before[:4])
    assert (before[:, :, 0] == 0).all() and before.std(0)[:, 1:].min() > 0
    lifted = mocap3d.lift(clip.pose2d, run.model, undo_inversions=False)
    mean = run.model.sample(clip.pose2d, run.model.samples).mean(0)
    np.testing.assert_allclose(lifted.points, mean, atol=1e-4)
    poses = {f"sample {i}": Pose3D(points, H36M17, 50, "camera", "relative") for i, points in enumerate(before[:3])}
    assert "sample 2" in mocap3d.show(poses).figure().to_json()
    assert mocap3d.evaluate(run.model, data, "open-mocap", device=device).mean("mpjpe_mm") > 0
    back = load_weights(tmp_path / "checkpoint.pt")
    assert back.normalise == "ray" and back.samples == run.model.samples
    np.testing.assert_allclose(back.sample(clip.pose2d, 8, camera=clip.camera), before, atol=1e-4)


def test_own_files_keep_all(tmp_path) -> None:
    model = small(steps=3, samples=5, dropout=0.1, temperature=1.5)
    card = dict.fromkeys(("fps", "training_data", "recipe", "protocol", "results", "licence"), "unknown")
    back = load_weights(save_weights(model, tmp_path / "flow.safetensors", card))
    assert (back.steps, back.samples, back.dropout, back.temperature) == (3, 5, 0.1, 1.5) and repr(back) == repr(model)
    x = torch.randn(2, 1, 34)
    with torch.no_grad():
        assert torch.equal(back(x), model.eval()(x))
    with pytest.raises(ValueError, match="FlowLifter; only SimpleBaseline3D, .*can be exported"):
        export_weights(model, "mmpose")


def test_prediction_is_the_mean_of_the_same_samples_each_time() -> None:
    model = small(samples=6).eval()
    points = torch.randn(7, 17, 2)
    with torch.no_grad():
        pose = model.decode(model(model.encode(points[:, None])))[:, 0]
    torch.testing.assert_close(model.samples_of(points, 6).mean(0), pose, rtol=1e-4, atol=1e-5)


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="steps=0"):
        create_model("flow", steps=0)
    with pytest.raises(ValueError, match="temperature=0"):
        create_model("flow", temperature=0)
    with pytest.raises(ValueError, match="dropout=1.0"):
        create_model("flow", dropout=1.0)
    points = np.zeros((3, 17, 2), np.float32)
    points[1, 4] = np.nan
    with pytest.raises(ValueError, match="missing joints.*fill_missing"):
        small().sample(Pose2D(points, None, "h36m17", 50, (1000, 1000)))
