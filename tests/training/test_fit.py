"""The training loop: it learns, gives the same bits twice, goes on where it stopped, and says what went wrong."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import FrozenInstanceError, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.damaged_checkpoints import KINDS, damage
from mocap3d.data.detector import detect_tensor
from mocap3d.data.windows import Batch, batches, to_device
from mocap3d.evaluation.baselines import MeanPose
from mocap3d.evaluation.predict import validation_error
from mocap3d.models.videopose3d import VideoPose3D
from mocap3d.training.augmentation import TrainingError, add_detector_noise
from mocap3d.training.checkpoint import CheckpointError
from mocap3d.training.fit import fit, train_step
from mocap3d.training.recipe import RECIPES, Recipe, RecipeError, learning_rate, make_optimizer, norm_momentum
from tests.toys import ToyLifter, sticks

TOY = Recipe("toy", "adamw", 3e-3, "cosine", warmup=0.1, batch_size=32, epochs=4, gradient_clip=1.0, flip=True)
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def train():
    return sticks(takes=3, frames=40)


@pytest.fixture(scope="module")
def test():
    return sticks(takes=2, frames=30, seed=1, split="test")


def lifter(seed: int = 0) -> ToyLifter:
    torch.manual_seed(seed)
    return ToyLifter()


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def numbers(history: list[dict]) -> list[dict]:
    return [{key: value for key, value in entry.items() if key != "seconds"} for entry in history]


def quiet(*args, **options):
    return fit(*args, **{"progress": False, "device": "cpu"} | options)


def test_it_learns(train, test, device):
    run = quiet(lifter(), train, replace(TOY, epochs=12), test, device=device)
    assert run.history[-1]["train_loss"] < 0.6 * run.history[0]["train_loss"]
    assert run.best["validation_mpjpe_mm"] == min(entry["validation_mpjpe_mm"] for entry in run.history)
    assert next(run.model.parameters()).device.type == device.type


def test_same_seed_same_bits(train, test, device):
    a, b, c = (quiet(lifter(), train, TOY, test, device=device, seed=seed) for seed in (5, 5, 6))
    assert same(a.model, b.model) and numbers(a.history) == numbers(b.history)
    assert not same(a.model, c.model)


def test_a_loop_written_by_hand_gives_the_same_numbers(train, device):
    """The documented order of seeding, spelt out: what notebook 03 relies on."""
    recipe = replace(TOY, epochs=2, flip=False)
    run = quiet(lifter(), train, recipe, device=device, seed=7)

    model = lifter()
    torch.manual_seed(7)
    model.to(device)
    data = to_device(train, device)
    model.fit_normalisation(data.points2d, data.pose3d)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=0.0, fused=True)
    per_epoch, step = math.ceil(len(data) / 32), 0
    for epoch in (1, 2):
        order = torch.randperm(len(data), generator=torch.Generator().manual_seed(1_000_003 * 7 + epoch)).to(device)
        model.train()
        losses = []
        for start in range(0, len(data), 32):
            rows, step = order[start : start + 32], step + 1
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe, step, 2 * per_epoch, per_epoch)
            output = model(model.encode(data.points2d[rows, None]))
            loss = ((output - model.targets(data.pose3d[rows, None])) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            losses.append(float(loss.detach()))
        assert np.mean(losses) == pytest.approx(run.history[epoch - 1]["train_loss"], rel=1e-5)


def test_the_callers_statistics_are_kept(train):
    model = lifter()
    data = to_device(train)
    model.fit_normalisation(data.points2d * 2, data.pose3d)
    before = model.std2d.clone()
    quiet(model, train, replace(TOY, epochs=1))
    assert torch.equal(model.std2d, before)


def with_rate(rate: float) -> ToyLifter:
    """A toy with a setting that its printed form does not show."""
    model = lifter()
    model.rate = rate
    return model


class Stop(Exception):
    pass


def stop_after(epoch: int, error: type[BaseException] = Stop):
    def callback(entry):
        if entry["epoch"] == epoch:
            raise error

    return callback


def test_resuming_gives_the_same_bits(train, test, device, tmp_path):
    whole = quiet(lifter(), train, TOY, test, device=device)
    with pytest.raises(Stop):
        quiet(lifter(), train, TOY, test, device=device, out=tmp_path, callback=stop_after(2))
    torch.manual_seed(999)  # whatever happened since
    rest = quiet(lifter(seed=3), train, TOY, test, device=device, out=tmp_path)
    assert same(whole.model, rest.model) and numbers(whole.history) == numbers(rest.history)
    again = quiet(lifter(seed=4), train, TOY, test, device=device, out=tmp_path)  # finished: nothing left to do
    assert same(whole.model, again.model) and len(again.history) == 4


def temporal() -> VideoPose3D:
    torch.manual_seed(0)
    return VideoPose3D((3, 3), channels=16, causal=True)


FRESH_NOISE = replace(TOY, loss="mpjpe", detector="cpn", norm_momentum=(0.1, 0.001), schedule="epoch", decay=0.9)


@pytest.mark.parametrize(("make", "recipe"), [(lifter, TOY), (temporal, FRESH_NOISE)], ids=["plain", "temporal"])
def test_resuming_within_an_epoch_gives_the_same_bits(train, tmp_path, monkeypatch, make, recipe):
    """Checkpoints every 20 steps; stopped at step 93, in the second epoch of 64 steps or so."""
    recipe = replace(recipe, batch_size=8, epochs=2)
    whole = quiet(make(), train, recipe)
    fit_module = sys.modules["mocap3d.training.fit"]
    original, count = fit_module.train_step, [0]

    def fragile(*args):
        count[0] += 1
        if count[0] == 93:
            raise Stop
        return original(*args)

    monkeypatch.setattr(fit_module, "train_step", fragile)
    with pytest.raises(Stop):
        quiet(make(), train, recipe, out=tmp_path, checkpoint_minutes=0)
    monkeypatch.setattr(fit_module, "train_step", original)
    stored = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["progress"]
    assert stored["step"] == 80 and stored["steps_per_epoch"] in range(60, 70) and stored["losses"]
    rest = quiet(make(), train, recipe, out=tmp_path)
    assert same(whole.model, rest.model) and numbers(whole.history) == numbers(rest.history)


def test_a_folder_in_use_is_refused_and_a_killed_process_resumed_to_the_same_bits(train, tmp_path):
    script = (
        "import sys, time, torch\n"
        "from tests.toys import ToyLifter, sticks\n"
        "from mocap3d.training.fit import fit\n"
        "from tests.training.test_fit import TOY, lifter\n"
        "fit(lifter(), sticks(takes=3, frames=40), TOY, device='cpu', out=sys.argv[1], progress=False,\n"
        "    callback=lambda entry: (print(entry['epoch'], flush=True), time.sleep(60 * (entry['epoch'] > 1))))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        for line in child.stdout:  # killed while it sleeps in the second epoch's callback
            if line.strip() == "2":
                break
        with pytest.raises(CheckpointError, match=f"is in use by process {child.pid} on .*, started 20"):
            quiet(lifter(), train, TOY, out=tmp_path)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait(20)
        child.stdout.close()
    assert child.returncode == -signal.SIGKILL
    record = json.loads((tmp_path / "run.json").read_text())
    assert len(record["history"]) == 2 and not record["done"]
    whole, rest = quiet(lifter(), train, TOY), quiet(lifter(seed=3), train, TOY, out=tmp_path)
    assert same(whole.model, rest.model) and numbers(whole.history) == numbers(rest.history)
    kept = [".last-used-by", ".lock", "checkpoint.previous.pt", "checkpoint.pt", "run.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == kept  # no half-written files


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"recipe": replace(TOY, learning_rate=1e-3)}, r"recipe.learning_rate was 0.003, is 0.001"),
        ({"recipe": replace(TOY, epochs=9)}, r"recipe.epochs was 4, is 9"),
        ({"seed": 1}, r"seed was 0, is 1"),
        ({"model": ToyLifter(hidden=16)}, r"model.layers was .*out_features=32.*out_features=16"),
        ({"model": ToyLifter(dropout=0.3)}, r"model.layers was .*p=0.1.*p=0.3"),
        ({"model": with_rate(0.3)}, r"model.settings.rate was None, is 0.3"),
        ({"train": sticks(takes=2, frames=40)}, r"train.clips was 12, is 8"),
        ({"train": sticks(takes=3, frames=40, seed=8)}, r"train.digest was"),
    ],
)
def test_another_run_is_refused_by_name(train, tmp_path, change, named):
    quiet(lifter(), train, TOY, out=tmp_path)
    options = {"model": lifter(), "train": train, "recipe": TOY, "out": tmp_path} | change
    with pytest.raises(CheckpointError, match=named):
        quiet(**options)
    quiet(**options, resume=False)  # the way out that the message names


def test_a_folder_that_cannot_be_is_refused_before_training(train, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match="give another"):
        quiet(lifter(), train, TOY, out=tmp_path / "file", callback=lambda entry: pytest.fail("it trained"))


def test_a_recipe_field_newer_than_the_checkpoint_has_its_default(train, tmp_path):
    quiet(lifter(), train, TOY, out=tmp_path)
    path = tmp_path / "checkpoint.pt"
    old = torch.load(path, weights_only=True)
    del old["fingerprint"]["recipe"]["accumulate"]
    torch.save(old, path)
    assert len(quiet(lifter(), train, TOY, out=tmp_path).history) == 4
    with pytest.raises(CheckpointError, match="recipe.accumulate was 1, is 2"):
        quiet(lifter(), train, replace(TOY, accumulate=2), out=tmp_path)


def test_a_damaged_checkpoint_is_refused(train, tmp_path):
    quiet(lifter(), train, replace(TOY, epochs=1), out=tmp_path)
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(CheckpointError, match=r"cannot be read.*resume=False"):
        quiet(lifter(), train, replace(TOY, epochs=1), out=tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_checkpoint_resumes_right_or_not_at_all(train, tmp_path, capsys, kind):
    """Alone it is refused, or was damaged where nothing is read; with the one before it, the run goes on from there."""
    recipe, rng = replace(TOY, epochs=3), np.random.default_rng(KINDS.index(kind))

    def stop(entry: dict) -> None:
        if entry["epoch"] == 2:
            raise KeyboardInterrupt

    whole = quiet(lifter(), train, recipe)
    quiet(lifter(), train, recipe, out=tmp_path, callback=stop)
    sound, before = ((tmp_path / name).read_bytes() for name in ("checkpoint.pt", "checkpoint.previous.pt"))
    for _ in range(3):
        damaged = damage(sound, kind, rng)
        (tmp_path / "checkpoint.pt").write_bytes(damaged)
        (tmp_path / "checkpoint.previous.pt").unlink()
        try:
            assert same(quiet(lifter(), train, recipe, out=tmp_path).model, whole.model)
        except CheckpointError as error:
            assert "cannot be read" in str(error)
        (tmp_path / "checkpoint.pt").write_bytes(damaged)
        (tmp_path / "checkpoint.previous.pt").write_bytes(before)
        capsys.readouterr()
        assert same(quiet(lifter(), train, recipe, out=tmp_path).model, whole.model)
        printed = capsys.readouterr().out
        assert printed.count("\n") <= 1 and ("resuming from the checkpoint before it" in printed or not printed)


@pytest.mark.parametrize("lacking", ["progress", "random", "optimizer"])
def test_a_checkpoint_that_lacks_something_is_refused(train, tmp_path, lacking):
    recipe = replace(TOY, epochs=1)
    quiet(lifter(), train, recipe, out=tmp_path)
    checkpoint = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    del checkpoint[lacking]
    torch.save(checkpoint, tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError, match=f"it lacks {lacking}"):
        quiet(lifter(), train, recipe, out=tmp_path)


def test_what_a_killed_run_was_writing_is_removed(train, tmp_path):
    left = [tmp_path / ".checkpoint.pt.abc.part", tmp_path / ".run.json.abc.part"]
    other = tmp_path / ".weights.pt.abc.part"
    for path in (*left, other):
        path.write_bytes(b"half")
    quiet(lifter(), train, replace(TOY, epochs=1), out=tmp_path)
    assert not any(path.exists() for path in left) and other.exists()


def test_a_full_disk_costs_the_checkpoint_and_not_the_run(train, tmp_path):
    resource = pytest.importorskip("resource", reason="limits on file sizes are POSIX")
    torch.save({}, tmp_path / "small.pt")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.warns(RuntimeWarning, match="no checkpoint could be written to .*; training goes on"):
            resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limits[1]))
            run = quiet(lifter(), train, TOY, out=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert same(run.model, quiet(lifter(), train, TOY).model) and not run.interrupted
    assert sorted(path.name for path in tmp_path.glob("*")) == [".last-used-by", ".lock", "run.json", "small.pt"]


def test_ctrl_c_keeps_the_best(train, test, tmp_path, capsys):
    run = fit(lifter(), train, TOY, test, "cpu", out=tmp_path, callback=stop_after(3, KeyboardInterrupt))
    assert run.interrupted and len(run.history) == 3 and "interrupted" in repr(run)
    said = capsys.readouterr().out
    assert "stopped by hand after 3 epochs" in said and f"epoch {run.best['epoch']}" in said
    stored = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["progress"]["best_model"]
    assert all(torch.equal(value, stored[key]) for key, value in run.model.state_dict().items())
    assert json.loads((tmp_path / "run.json").read_text())["interrupted"] is True
    assert same(quiet(lifter(), train, TOY, test, out=tmp_path).model, quiet(lifter(), train, TOY, test).model)


def test_a_real_ctrl_c_returns_the_run(train):
    def interrupt(entry):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell runs us with `&`
    try:
        assert quiet(lifter(), train, TOY, callback=interrupt).interrupted
    finally:
        signal.signal(signal.SIGINT, before)


def test_keep_last_keeps_the_last(train, test):
    runs = {}
    for keep in ("last", "best"):
        model = lifter()

        def spoil(entry, model=model):
            if entry["epoch"] == 3:  # so that the last epoch is not the best
                torch.nn.init.constant_(model.layers[-1].bias, 100.0)

        runs[keep] = quiet(model, train, TOY, test, keep=keep, callback=spoil)
    last, best = runs["last"], runs["best"]
    assert numbers(last.history) == numbers(best.history) and best.best["epoch"] < 4
    assert not same(last.model, best.model)
    data = to_device(test)
    assert validation_error(best.model, data) == pytest.approx(best.best["validation_mpjpe_mm"])
    assert validation_error(last.model, data) == pytest.approx(last.history[-1]["validation_mpjpe_mm"])
    with pytest.raises(ValueError, match="'best' or 'last'"):
        quiet(lifter(), train, TOY, keep="first")


def test_a_loss_that_is_no_number_names_the_batch(train):
    class Diverging(ToyLifter):
        steps = 0

        def forward(self, x):
            self.steps += self.training
            return super().forward(x) * (math.nan if self.steps == 27 else 1)

    torch.manual_seed(0)
    model, recipe = Diverging(), replace(TOY, batch_size=32)
    per_epoch = -(-train.frames // 32)
    at = f"epoch {26 // per_epoch + 1}, step {26 % per_epoch + 1} of the epoch \\(27 of the run\\)"
    with pytest.raises(TrainingError, match=at) as caught:
        quiet(model, train, recipe)
    drawn = list(batches(to_device(train), 32, epoch=26 // per_epoch + 1))[26 % per_epoch]
    named = [clip.take for clip in train if clip.take in str(caught.value)]
    held = {train[int(k)].take for k in to_device(train).clip[drawn.frames]}
    assert named and set(named) <= held and "learning_rate" in str(caught.value)


def test_a_wild_pose_is_the_first_suspect(train):
    clip = train[3]
    wild = clip.pose3d.points.copy()
    wild[7] *= 2  # camera-frame metres: within a body's size, but not these bodies'
    damaged = [*train.clips[:3], replace(clip, pose3d=replace(clip.pose3d, points=wild)), *train.clips[4:]]
    model = lifter()
    torch.nn.init.constant_(model.layers[-1].bias, torch.inf)
    with pytest.raises(TrainingError, match=rf"largest coordinates in: {clip.take} .*frame 7"):
        quiet(model, damaged, replace(TOY, batch_size=train.frames))


def test_the_same_call_goes_on_after_ctrl_c(train, tmp_path):
    """With the very same model, whose batch norm the run gave another momentum."""
    model, recipe = lifter(), replace(TOY, norm_momentum=(0.1, 0.001))
    assert quiet(model, train, recipe, out=tmp_path, callback=stop_after(2, KeyboardInterrupt)).interrupted
    assert model.layers[1].momentum == 0.1
    assert same(quiet(model, train, recipe, out=tmp_path).model, quiet(lifter(), train, recipe).model)


def gappy(train):
    """Joints unknown here and there, more in some clips than in others."""
    rng = np.random.default_rng(0)
    clips = []
    for k, clip in enumerate(train):
        points = clip.pose3d.points.copy()
        points[rng.random(points.shape[:2]) < 0.06 * k] = np.nan
        clips.append(replace(clip, pose3d=replace(clip.pose3d, points=points)))
    return clips


@pytest.mark.parametrize("loss", ["mse", "mpjpe"])
def test_parts_of_a_batch_add_up_to_it(train, device, loss):
    runs = []
    for parts in (1, 4):
        torch.manual_seed(0)
        model = ToyLifter(dropout=0.0, norm=torch.nn.LayerNorm)
        recipe = replace(TOY, loss=loss, batch_size=31, accumulate=parts)
        runs.append(quiet(model, gappy(train), recipe, device=device))
    whole, summed = runs
    losses = [[entry["train_loss"] for entry in run.history] for run in runs]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4) and not same(whole.model, summed.model)
    for a, b in zip(whole.model.parameters(), summed.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=2e-5)


def test_without_a_compiler_training_goes_on(train, monkeypatch, capsys):
    def missing(*args, **options):
        raise RuntimeError("No working C++ compiler\nand more")

    monkeypatch.setattr(torch, "compile", missing)
    run = fit(lifter(), train, replace(TOY, compile=True), device="cpu")
    said = capsys.readouterr().out
    assert "torch.compile does not work here (RuntimeError: No working C++ compiler); training goes on" in said
    assert same(run.model, quiet(lifter(), train, TOY).model)


def test_compiled_training_gives_the_same_numbers_under_plain_names(train, monkeypatch, tmp_path):
    """By the compiler's own eager backend, which needs no other compiler."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    recipe = replace(TOY, epochs=2, norm_momentum=(0.3, 0.01))
    runs = []
    for compiled in (False, True):
        torch.manual_seed(0)
        model = VideoPose3D((3,), channels=16, dropout=0.0)
        runs.append(quiet(model, train, replace(recipe, compile=compiled), out=tmp_path / str(compiled)))
    plain, compiled = (run.model.state_dict() for run in runs)
    assert list(plain) == list(compiled) and runs[1].model.stem.norm.momentum == 0.1
    for key in plain:
        torch.testing.assert_close(plain[key], compiled[key], rtol=1e-3, atol=1e-5, msg=key)
    assert list(torch.load(tmp_path / "True" / "checkpoint.pt", weights_only=True)["model"]) == list(plain)


def test_detections_are_drawn_anew_each_epoch_and_alike_each_run(train):
    data = to_device(train)
    hidden = replace(data, confidence=data.confidence.clone())
    hidden.confidence[:50, 3] = 0  # missing, and filled with a guess
    first, again, second = (add_detector_noise(hidden, FRESH_NOISE.detector, 4, epoch) for epoch in (1, 1, 2))
    assert torch.equal(first.points2d, again.points2d) and not torch.equal(first.points2d, second.points2d)
    assert not first.confidence[:50, 3].any() and first.confidence[50:, 3].all()


def test_screen_units_get_the_noise_of_pixels(train):
    """What the detector is calibrated in; there is no constant in pixels left in what it does."""
    pixels = torch.from_numpy(np.concatenate([clip.pose2d.points for clip in train]))
    data, width = to_device(train), train[0].pose2d.image_size[0]
    noisy, confidence = detect_tensor(pixels, data.clip, 50, "cpn", torch.Generator().manual_seed(1_000_003 * 4 + 2))
    seen = add_detector_noise(data, FRESH_NOISE.detector, 4, 2)
    torch.testing.assert_close((seen.points2d - data.points2d) * width / 2, noisy - pixels, rtol=0, atol=0.01)
    torch.testing.assert_close(seen.confidence, confidence, rtol=0, atol=1e-3)


def test_noise_is_not_laid_over_noise(train):
    noisy = train.with_detections("cpn")
    for clips in (noisy, list(noisy)):
        with pytest.raises(TrainingError, match=r"is detections \(.*; give clips with true 2D, or set detector=None"):
            quiet(lifter(), clips, FRESH_NOISE)
    assert quiet(lifter(), noisy, TOY).history


class Shrink:
    """An objective of its own: all outputs towards nothing, and the step it was asked in."""

    def __init__(self, weight: float = 1.0) -> None:
        self.weight, self.steps = weight, []

    def __call__(self, model, batch, recipe, step, steps):
        self.steps.append((step, steps))
        return self.weight * model(model.encode(batch.points2d)).square().mean()

    def describe(self) -> dict:
        return {"weight": self.weight}


def test_another_objective_is_descended_on_and_recorded(train, tmp_path):
    objective = Shrink()
    run = quiet(lifter(), train, TOY, objective=objective, out=tmp_path)
    assert run.history[-1]["train_loss"] < 0.6 * run.history[0]["train_loss"]
    steps = run.record["planned_steps"]
    assert objective.steps == [(step, steps) for step in range(1, steps + 1)] and run.record["weight"] == 1.0
    with pytest.raises(CheckpointError, match=r"weight was 1.0, is 2.0"):
        quiet(lifter(), train, TOY, objective=Shrink(2.0), out=tmp_path)
    with pytest.raises(TrainingError, match="set accumulate=1"):
        quiet(lifter(), train, replace(TOY, accumulate=2), objective=objective)


def test_statistics_that_are_nan_do_not_pass_for_unknown_poses(train):
    class Hollow(ToyLifter):
        def fit_normalisation(self, points2d, pose3d):
            super().fit_normalisation(points2d, pose3d)
            self.std3d.fill_(torch.nan)

    with pytest.raises(TrainingError, match="statistics are not finite"):
        quiet(Hollow(), train, TOY)


def test_run_record_and_faces(train, test, tmp_path):
    run = quiet(lifter(), train, TOY, test, out=tmp_path)
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["recipe"]["learning_rate"] == 3e-3 and record["done"] and record["seed"] == 0
    assert record["model"]["parameters"] == sum(p.numel() for p in ToyLifter().parameters())
    assert record["versions"]["torch"] == torch.__version__ and numbers(record["history"]) == numbers(run.history)
    assert str(tmp_path) not in json.dumps(record)
    text = repr(run)
    assert "4 epochs" in text and "mm MPJPE" in text and "<table>" in run._repr_html_()
    assert "frames" in record["validation"]["used"]


def test_progress_is_shown(train, test, capsys):
    fit(lifter(), train, replace(TOY, batch_size=8, epochs=2), test, "cpu")
    out, err = capsys.readouterr()
    assert "to go" in out + err and "mm MPJPE" in err


def test_a_long_run_is_estimated_after_40_steps_even_without_a_bar(train, capsys, monkeypatch):
    short = Recipe("short", batch_size=8, steps=45)
    fit(ToyLifter(), train, short, device="cpu", progress=False)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr("mocap3d.training.fit.LONG", 0)
    fit(ToyLifter(), train, short, device="cpu", progress=False)
    (line,) = capsys.readouterr().out.splitlines()
    assert re.fullmatch(
        r"about \d+ s to go, plus validation; for less: replace\(recipe, .+ MOCAP3D_PROFILE=laptop", line
    )


def test_minutes_become_steps_that_reproduce(train, capsys):
    recipe = replace(TOY, epochs=None, minutes=0.01)
    run = fit(lifter(), train, recipe, device="cpu")
    steps = run.record["planned_steps"]
    assert f"steps={steps} in place of minutes" in capsys.readouterr().out
    assert run.history[-1]["step"] == steps and run.history[-1]["seconds"] < 10
    again = quiet(lifter(), train, replace(recipe, minutes=None, steps=steps))
    assert same(run.model, again.model) and numbers(run.history) == numbers(again.history)


def test_steps_may_end_within_an_epoch(train):
    run = quiet(lifter(), train, replace(TOY, epochs=None, steps=23))
    assert [entry["step"] for entry in run.history] == [3, 6, 9, 12, 15, 18, 21, 23]
    assert run.history[0]["epoch"] == round(3 / run.record["steps_per_epoch"], 2)
    assert run.history[-1]["learning_rate"] < 0.05 * TOY.learning_rate


def test_weigq_schedule_is_the_published_one():
    recipe = RECIPES["simple_baseline"]
    rate = lambda step: learning_rate(recipe, step, 10**7, 24_000)  # noqa: E731
    assert rate(1) == rate(99_999) == 1e-3 * 0.96 ** (1 / 100_000)
    assert rate(100_000) == rate(199_999) == pytest.approx(0.96e-3, rel=1e-12)
    assert rate(250_000) == pytest.approx(1e-3 * 0.96**2, rel=1e-12)
    assert (recipe.optimizer, recipe.batch_size, recipe.epochs) == ("adam", 64, 200)
    assert (recipe.loss, recipe.gradient_clip, recipe.flip) == ("mse", 1.0, False)
    mmpose = RECIPES["simple_baseline_mmpose"]
    assert learning_rate(mmpose, 10**6, 10**7, 3000) == 1e-3


def test_cosine_rises_and_falls():
    recipe = replace(TOY, warmup=0.25)
    rates = [learning_rate(recipe, step, 100, 10) for step in range(1, 101)]
    assert rates.index(max(rates)) == 24 and max(rates) == recipe.learning_rate
    assert np.all(np.diff(rates[:25]) > 0) and np.all(np.diff(rates[24:]) < 0) and 0 < rates[-1] < 1e-2 * max(rates)
    epochs = [learning_rate(replace(TOY, schedule="epoch", decay=0.5), step, 100, 10) for step in (1, 10, 11, 21)]
    assert epochs == [3e-3, 3e-3, 1.5e-3, 0.75e-3]


def test_rate_and_momentum_of_the_temporal_rows_are_the_published_ones():
    recipe = RECIPES["videopose3d"]
    rates = [learning_rate(recipe, step, 8000, 100) for step in (1, 100, 101, 201, 8000)]
    assert rates == pytest.approx([1e-3 * 0.95**epochs for epochs in (0, 0, 1, 2, 79)], rel=1e-12)
    momenta = [norm_momentum(recipe, step, 8000, 100) for step in (1, 100, 101, 4001, 7901, 8000)]
    last = 0.1 * 0.01 ** (79 / 80)
    assert momenta == pytest.approx([0.1, 0.1, 0.1 * 0.01 ** (1 / 80), 0.01, last, last], rel=1e-12)
    assert (recipe.amsgrad, recipe.batch_size, recipe.epochs, recipe.loss) == (True, 1024, 80, "mpjpe")
    mmpose = RECIPES["videopose3d_mmpose"]
    rates = [learning_rate(mmpose, 100 * epoch, 16_000, 100) for epoch in (1, 80, 81, 82, 160)]
    assert rates == pytest.approx([1e-3 * 0.975**epochs for epochs in (0, 79, 80, 80, 80)], rel=1e-12)
    assert not mmpose.amsgrad and mmpose.norm_momentum is None
    short = [norm_momentum(recipe, step, 20, 100) for step in range(1, 21)]  # within an epoch: ten steps down
    assert len(set(short)) == 10 and short == sorted(short, reverse=True)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"optimizer": "sgd"}, "adam, adamw"),
        ({"schedule": "linear"}, "cosine"),
        ({"loss": "l1"}, "mse, mpjpe"),
        ({"learning_rate": 0.0}, "above 0"),
        ({"learning_rate": math.nan}, "above 0"),
        ({"batch_size": 1}, "2 or more"),
        ({"batch_size": 2.5}, "whole number"),
        ({"epochs": 0}, "1 or more or None"),
        ({"epochs": None}, "exactly one"),
        ({"steps": 10}, "exactly one"),
        ({"decay": 1.5}, r"\(0, 1\]"),
        ({"warmup": 1.0}, r"\[0, 1\)"),
        ({"weight_decay": -1.0}, "0 or above"),
        ({"gradient_clip": 0.0}, "or None"),
        ({"detector": "hrnet"}, "detector is 'hrnet'; give one of cpn, sh, None"),
        ({"decay_epochs": 0}, "or None"),
        ({"accumulate": 0}, "1 or more"),
        ({"accumulate": 17}, "at most 16, half of batch_size"),
        ({"norm_momentum": (0.1,)}, "two numbers"),
        ({"norm_momentum": (0.1, 0.0)}, "two numbers"),
    ],
)
def test_bad_recipes_are_refused(change, named):
    with pytest.raises(RecipeError, match=named):
        replace(TOY, **change)


def test_recipes_are_frozen_and_named(train):
    with pytest.raises(FrozenInstanceError):
        TOY.epochs = 3
    assert all(recipe.name == name and recipe.source for name, recipe in RECIPES.items())
    with pytest.raises(RecipeError, match="simple_baseline"):
        quiet(lifter(), train, "nonsense")
    with pytest.raises(TypeError, match="a Recipe or a string as recipe, not 5"):
        quiet(lifter(), train, 5)


def test_what_cannot_be_trained_is_refused(train):
    with pytest.raises(TrainingError, match=r"\.fit\(train\)"):
        quiet(MeanPose(), train, TOY)
    lone = [replace(train[0], pose2d=train[0].pose2d.slice(0, 1), pose3d=train[0].pose3d.slice(0, 1))]
    with pytest.raises(TrainingError, match="single frame"):
        quiet(lifter(), lone, TOY)


def test_training_step_lowers_the_loss_on_its_batch(train, device):
    model = lifter().to(device)
    data = to_device(train, device)
    model.fit_normalisation(data.points2d, data.pose3d)
    batch, optimizer = next(batches(data, 64)), make_optimizer(model, TOY)
    losses = [float(train_step(model.train(), optimizer, batch, TOY, 3e-3)) for _ in range(30)]
    assert losses[-1] < 0.7 * losses[0]
    assert math.isfinite(float(train_step(model, optimizer, batch, replace(TOY, autocast=True), 3e-3)))


def test_training_steps_equal_the_published_ones(golden, formula):
    """Three steps of the weigq port without dropout: loss by loss (golden case train_weigq)."""
    from mocap3d.models.published import from_published, to_published
    from mocap3d.models.simple_baseline import SimpleBaseline3D

    class Bare(SimpleBaseline3D):  # its inputs and targets are the golden ones, not z-scores of poses
        def encode(self, points2d, confidence=None):
            return points2d

        def targets(self, pose3d):
            return pose3d

    model = Bare("weigq", channels=64, dropout=0.0)
    published = to_published(model.state_dict(), "SimpleBaseline3D", "weigq")
    norms = [key.rsplit(".", 1)[0] for key in published if key.endswith("running_mean")]
    for key, tensor in published.items():
        published[key] = torch.from_numpy(formula.weight(key, tensor.shape, key.rsplit(".", 1)[0] in norms))
    model.load_state_dict(from_published(published, "SimpleBaseline3D", "weigq"))
    recipe, expected = RECIPES["simple_baseline"], golden("train_weigq")["log"]
    optimizer = make_optimizer(model.train(), recipe)
    for k, (loss, _) in enumerate(expected):
        points = torch.from_numpy(formula.pose2d(f"train/sb2d{k}", (8, 1, 16, 2))).flatten(1)
        pose = torch.from_numpy(formula.pose3d(f"train/sb3d{k}", (8, 1, 16, 3))).flatten(1)
        given = train_step(model, optimizer, Batch(points, None, pose, None), recipe, 1e-3)
        assert float(given) == pytest.approx(loss, rel=1e-5)
