"""The contract: every model here fulfils it, and a network of one's own does through `as_lifter`."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from torch import nn

from mocap3d.data.windows import to_device
from mocap3d.device import unwrapped
from mocap3d.evaluation.baselines import MeanPose, NearestNeighbour
from mocap3d.evaluation.evaluate import evaluate
from mocap3d.figures.player import show
from mocap3d.lifting.lift import lift
from mocap3d.models import cpu
from mocap3d.models.create import create_model
from mocap3d.models.lifter import Lifter, as_lifter
from mocap3d.models.state_dicts import WeightsError
from mocap3d.models.videopose3d import PoseAndTrajectory, VideoPose3D
from mocap3d.training.fit import fit
from mocap3d.training.recipe import Recipe
from mocap3d.weights import load_weights, save_weights
from tests.toys import small_motionbert, sticks

RECIPE = Recipe("toy", learning_rate=1e-3, batch_size=64, epochs=3, loss="mpjpe", flip=True)


class Mine(nn.Module):
    """A network of one's own, in three lines."""

    def __init__(self, channels: int = 2) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(17 * channels, 64), nn.ReLU(), nn.Linear(64, 51))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x.flatten(2)).unflatten(2, (17, 3))


def models() -> list[nn.Module]:
    pose = create_model("videopose3d_27", channels=8)
    return [
        create_model("simple_baseline", channels=8),
        create_model("simple_baseline_mmpose", channels=8),
        pose,
        create_model("videopose3d_27", channels=8, causal=True),
        VideoPose3D((3,), channels=8, joints_out=1),
        PoseAndTrajectory(pose),
        PoseAndTrajectory(pose).absolute(),
        create_model("poseformerv2_27", channels=8),
        small_motionbert(),
        small_motionbert(False),
        MeanPose(),
        NearestNeighbour(),
        as_lifter(Mine()),
        as_lifter(Mine(3), frames=9, confidence=True),
    ]


@pytest.mark.parametrize("model", models(), ids=lambda model: model.name)
def test_every_model_fulfils_the_contract(model) -> None:
    for attribute in Lifter.__annotations__:
        assert hasattr(model, attribute), attribute
    assert model.space in ("metric", "metric absolute", "image") and model.input_skeleton == "h36m17"
    for name in ("clipwise", "causal", "checkpointing"):
        assert isinstance(getattr(model, name), bool)
    for method in ("encode", "targets", "decode", "fit_normalisation"):
        wanted = list(inspect.signature(getattr(Lifter, method)).parameters)[1:]
        assert list(inspect.signature(getattr(model, method)).parameters) == wanted, method


@pytest.mark.parametrize("model", models(), ids=lambda model: model.name)
def test_any_batch_may_carry_confidence(model, device) -> None:
    """From 2D to poses by the contract alone, and targets of the output's shape."""
    data = to_device(sticks(takes=1, frames=40), device)
    model.to(device).eval()
    if model.normalisation is None:
        model.fit_normalisation(data.points2d, data.pose3d)
    frames = min(model.receptive_field, 9) if model.clipwise else model.receptive_field
    points, seen = data.points2d[None, :frames], data.confidence[None, :frames]
    with torch.no_grad():
        output = model(model.encode(points, seen))
    poses = model.decode(output)
    count = frames if model.clipwise else 1
    assert poses.shape[:2] == (1, count) and poses.shape[-1] == 3
    targets = model.targets(data.pose3d[None, :count])
    assert targets.numel() == output.numel()
    torch.testing.assert_close(model.decode(targets.reshape(output.shape)).shape, poses.shape)


@pytest.mark.parametrize(("frames", "confidence"), [(1, False), (1, True), (9, False), (9, True)])
def test_a_network_of_ones_own(tmp_path, device, frames, confidence) -> None:
    """Trained, interrupted, resumed with the same bits, evaluated, lifted and shown; not saved as what it is not."""

    def make() -> nn.Module:
        torch.manual_seed(0)
        return as_lifter(Mine(2 + confidence), frames=frames, confidence=confidence)

    def stop(entry: dict) -> None:
        raise KeyboardInterrupt

    train, test = sticks(takes=2, frames=40), sticks(takes=1, frames=30, seed=1, split="test")
    options = {"device": device, "progress": False}
    whole = fit(make(), train, RECIPE, test, **options)
    stopped = fit(make(), train, RECIPE, test, out=tmp_path, callback=stop, **options)
    assert stopped.interrupted and len(stopped.history) == 1
    rest = fit(make(), train, RECIPE, test, out=tmp_path, **options)
    losses = [[entry["train_loss"] for entry in run.history] for run in (whole, rest)]
    assert losses[0] == losses[1] and losses[0][-1] < losses[0][0]
    report = evaluate(rest.model, test, "videopose3d")
    assert report.model == "Mine" and np.isfinite(report.mpjpe_mm)
    pose = lift(test[0].pose2d, rest.model)
    assert len(pose) == len(test[0]) and pose.root == "relative"
    assert show(pose, test[0].pose3d.root_relative()).figure().data
    card = dict.fromkeys(("fps", "training_data", "recipe", "protocol", "results", "licence"), "unknown")
    with pytest.raises(ValueError, match="WrappedLifter; save_weights writes SimpleBaseline3D"):
        save_weights(rest.model, tmp_path / "mine.safetensors", card)
    with pytest.raises(WeightsError, match="no model known here"):
        load_weights(tmp_path / "checkpoint.pt")


def test_space_of_the_output() -> None:
    pose = torch.randn(2, 3, 17, 3)
    assert torch.equal(as_lifter(Mine(), space="metric absolute").targets(pose), pose)
    assert as_lifter(Mine(), space="image").targets(pose)[..., 0, :].abs().max() == 0


def test_what_cannot_be_wrapped_is_refused() -> None:
    with pytest.raises(TypeError, match=r"takes a Module as module, not the class Mine; call it: Mine\(\.\.\.\)"):
        as_lifter(Mine)
    with pytest.raises(TypeError, match="not a list"):
        as_lifter([])
    for name, value in (("frames", 0), ("frames", 2.5), ("space", "mm")):
        with pytest.raises((TypeError, ValueError), match=f"as {name}, not {value!r}"):
            as_lifter(Mine(), **{name: value})


@pytest.mark.parametrize("output", [(2, 1, 51), (2, 1, 16, 3), (1, 17, 3)])
def test_another_shape_is_told(output) -> None:
    class Wrong(nn.Module):
        def forward(self, x):
            return torch.zeros(output)

    with pytest.raises(ValueError, match=r"Wrong was given \(2, 1, 17, 2\).*it must return \(2, 1, 17, 3\)"):
        as_lifter(Wrong())(torch.zeros(2, 1, 17, 2))


def test_wrappers_are_taken_off_in_one_place() -> None:
    model = as_lifter(Mine())
    compiled = torch.compile(model, backend="eager")
    for wrapped in (model, compiled, nn.DataParallel(model), nn.DataParallel(compiled)):
        assert unwrapped(wrapped) is model


@pytest.mark.parametrize("wrap", [lambda m: torch.compile(m, backend="eager"), nn.DataParallel], ids=("compile", "dp"))
def test_a_wrapped_model_is_trained_and_returned_plain(tmp_path, wrap, monkeypatch) -> None:
    """Weights, checkpoint and resuming are those of the plain model."""
    monkeypatch.setattr(cpu, "onednn_is_faster", lambda: False)  # torch.compile chooses products of its own
    train = sticks(takes=2, frames=40)
    make = lambda: (torch.manual_seed(0), create_model("videopose3d_27", channels=8, dropout=0.0))[1]  # noqa: E731
    run = fit(wrap(make()), train, RECIPE, device="cpu", progress=False, out=tmp_path)
    plain = fit(make(), train, RECIPE, device="cpu", progress=False)
    assert type(run.model) is VideoPose3D
    for a, b in zip(run.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    assert fit(make(), train, RECIPE, device="cpu", progress=False, out=tmp_path).history == run.history
    loaded = load_weights(tmp_path / "checkpoint.pt", dropout=0.0)
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), run.model.parameters(), strict=True))
    lifted = [lift(train[0].pose2d, model).points for model in (wrap(run.model), run.model)]
    np.testing.assert_array_equal(*lifted)
