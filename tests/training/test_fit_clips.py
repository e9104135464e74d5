"""Training MotionBERT on clips: image space and metres, masks, checkpointing, accumulation, resuming, refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mocap3d.data.chunks import cut_chunks
from mocap3d.data.windows import in_image_space, to_device
from mocap3d.evaluation.evaluate import evaluate
from mocap3d.evaluation.predict import predict_chunks, validation_error
from mocap3d.models.create import create_model
from mocap3d.training.fit import fit, mask, train_step
from mocap3d.training.recipe import Recipe, make_optimizer
from mocap3d.training.run import Job
from tests.toys import Knows, small_motionbert, sticks

RECIPE = Recipe(
    "clips",
    "adamw",
    3e-3,
    "cosine",
    warmup=0.1,
    batch_size=8,
    steps=30,
    loss="mpjpe",
    terms={"n_mpjpe": 0.5, "velocity": 20.0},
    gradient_clip=1.0,
    flip=True,
)


@pytest.fixture(scope="module")
def train():
    return sticks(4, frames=40)


@pytest.fixture(scope="module")
def test():
    return sticks(2, frames=40, split="test")


def quiet(*args, **options):
    return fit(*args, progress=False, **options)


@pytest.mark.parametrize("image_space", [True, False])
def test_it_learns(train, test, device: torch.device, image_space: bool) -> None:
    model = small_motionbert(image_space).to(device)
    before = evaluate(model, test, "open-mocap").mpjpe_mm
    run = quiet(model, train, RECIPE, test, device=device)
    assert evaluate(model, test, "open-mocap").mpjpe_mm < 0.9 * before
    assert run.history[-1]["train_loss"] < run.history[0]["train_loss"]
    assert run.record["validation"]["used"].startswith("332 of 332")


def test_validation_is_the_metric_error(train, test) -> None:
    """In mm, of pieces that do not overlap, whatever the model says."""
    data = to_device(test)
    model = small_motionbert(False).eval()
    pieces = cut_chunks(data, 9, 9)
    said = predict_chunks(model, data, pieces)
    truth = data.pose3d[pieces] - data.pose3d[pieces][..., :1, :]
    assert validation_error(model, data) == pytest.approx(1000 * (said - truth).norm(dim=-1).mean().item(), rel=1e-5)
    perfect = Knows(in_image_space(data).pose3d, 9)
    perfect.encode = lambda points, confidence=None: _index(points, data)
    assert validation_error(perfect, data) < 0.1


def _index(points: torch.Tensor, data) -> torch.Tensor:
    rows = torch.cdist(points.flatten(2), data.points2d.flatten(1).expand(len(points), -1, -1)).argmin(-1)
    return (rows / 1e4)[..., None, None].expand(*points.shape[:3], 3)


def test_a_loop_written_by_hand_gives_the_same_numbers(train) -> None:
    model, twin = small_motionbert(), small_motionbert()
    recipe = replace(RECIPE, steps=5, mask_joints=0.1, mask_frames=0.2, clip_stride=4)
    run = quiet(model, train, recipe, device="cpu", keep="last", seed=3)
    data = in_image_space(to_device(train))
    job = Job(twin, data, None, recipe, 3, "last", cut_chunks(data, 9, 4))
    optimizer, losses = make_optimizer(twin, recipe), []
    torch.manual_seed(3)
    twin.train()
    for step, batch in zip(range(1, 6), job.batches(1), strict=False):
        assert batch.points2d.shape == (8, 9, 17, 2) and batch.confidence.shape == (8, 9, 17)
        rate = 3e-3 * (step / 0.5 if step < 0.5 else 0.5 * (1 + np.cos(np.pi * (step - 0.5) / 5.5)))
        losses.append(train_step(twin, optimizer, batch, recipe, rate).item())
    assert run.history[-1]["train_loss"] == pytest.approx(losses[-1], rel=1e-6)
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("change", [{}, {"detector": "sh", "mask_joints": 0.1, "mask_frames": 0.1}])
def test_resuming_within_an_epoch_gives_the_same_bits(train, tmp_path, change) -> None:
    recipe = replace(RECIPE, steps=12, **change)
    whole = quiet(small_motionbert(), train, recipe, device="cpu", keep="last", out=tmp_path / "a")

    def stop(entry):
        if entry["step"] >= 4:
            raise KeyboardInterrupt

    half = quiet(small_motionbert(), train, recipe, device="cpu", keep="last", out=tmp_path / "b", callback=stop)
    assert half.interrupted and half.history[-1]["step"] < 12
    again = quiet(small_motionbert(), train, recipe, device="cpu", keep="last", out=tmp_path / "b")
    assert all(torch.equal(a, b) for a, b in zip(whole.model.parameters(), again.model.parameters(), strict=True))


def test_checkpointing_changes_no_number(train) -> None:
    plain = quiet(small_motionbert(drop_path=0.2), train, replace(RECIPE, steps=3), device="cpu")
    model = small_motionbert(drop_path=0.2)
    frugal = quiet(model, train, replace(RECIPE, steps=3, checkpointing=True), device="cpu")
    for a, b in zip(plain.model.parameters(), frugal.model.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    assert not model.checkpointing


def test_checkpointing_stores_less() -> None:
    def kept(checkpointing: bool) -> int:
        model, sizes = small_motionbert(frames=27).train(), []
        model.checkpointing = checkpointing

        def pack(tensor):
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model(torch.rand(2, 27, 17, 3))
        return sum(sizes)

    assert kept(True) < kept(False) / 3


def test_parts_of_a_batch_add_up_to_it(train) -> None:
    whole, parts = small_motionbert(), small_motionbert()
    recipe = replace(RECIPE, steps=2, terms=None)
    quiet(whole, train, recipe, device="cpu")
    quiet(parts, train, replace(recipe, accumulate=4), device="cpu")
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_hidden_joints_and_frames(device: torch.device) -> None:
    torch.manual_seed(0)
    x = torch.ones(40, 50, 17, 3, device=device)
    seen = mask(x, replace(RECIPE, mask_joints=0.05, mask_frames=0.1))
    kept = seen.any(-1)
    assert (seen.amin(-1) == seen.amax(-1)).all()  # a joint is hidden whole
    frames = kept.any(-1).float().mean().item()
    assert frames == pytest.approx(0.9, abs=0.02)
    assert kept.float().mean().item() == pytest.approx(0.9 * 0.95, abs=0.02)
    assert mask(x, RECIPE) is x


@pytest.mark.parametrize("change", [{"mask_joints": 0.1}, {"mask_frames": 0.1}, {"checkpointing": True}])
def test_what_other_models_do_not_know_is_refused(train, change) -> None:
    ((wanted, _),) = change.items()
    with pytest.raises(RuntimeError, match=f"{wanted}=.*MotionBERT does"):
        quiet(create_model("videopose3d_27", channels=8), train, replace(RECIPE, terms=None, **change), device="cpu")


def test_too_little_to_cut_is_refused() -> None:
    with pytest.raises(RuntimeError, match="a single chunk of 81 frames"):
        quiet(small_motionbert(frames=81), sticks(1, frames=40, views=1), RECIPE, device="cpu")


def test_a_loss_that_is_no_number_names_clips(train) -> None:
    model = small_motionbert()
    with torch.no_grad():
        model.head.weight.fill_(torch.nan)
    with pytest.raises(RuntimeError, match="The batch held 72 frames of"):
        quiet(model, train, RECIPE, device="cpu")
