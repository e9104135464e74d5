"""The training loop: plain, seeded, resumable.

The order in which chance enters, so that a loop written by hand can reproduce `fit` number for number:

    1. the caller makes the model (its initial weights are the caller's affair)
    2. torch.manual_seed(seed)                    from here on the global generator feeds dropout, and only dropout
    3. model.fit_normalisation(points2d, pose3d)  unless model.normalisation is set; draws nothing
    4. per epoch e = 1, 2, ...: the order of the frames is torch.randperm(N, generator=epoch_generator(seed, e))
    5. per step: learning_rate(...), forward, loss, backward, clip, optimizer step: see `train_step`

Validation runs in evaluation mode, without gradients, and draws nothing.
"""

from __future__ import annotations

import copy
import math
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor, nn, optim
from tqdm.auto import tqdm

from mocap3d import metrics
from mocap3d.data.windows import Batch, DeviceDataset, batches, epoch_generator, to_device
from mocap3d.evaluation import predict
from mocap3d.poses import Clip
from mocap3d.profile import choose_device
from mocap3d.skeleton import ROOT
from mocap3d.training import checkpoint as checkpoints
from mocap3d.training.losses import pose_loss
from mocap3d.training.recipe import RECIPES, Recipe, RecipeError, learning_rate, make_optimizer
from mocap3d.training.run import (
    VALIDATION_FRAMES,
    Job,
    Progress,
    Run,
    describe,
    farewell,
    in_words,
    outcome,
    postfix,
)

LOOK_EVERY = 20  # steps between looks at the loss: each look makes a GPU wait
REPORTS = 10  # entries of the history, at least, of a run whose length is in steps or minutes


class TrainingError(RuntimeError):
    """Training that cannot go on."""


def train_step(
    model: nn.Module, optimizer: optim.Optimizer, batch: Batch, recipe: Recipe, rate: float
) -> Tensor:
    """One step of gradient descent on one batch: the heart of training.

    Args:
        model: in training mode.
        optimizer: over the model's parameters; its learning rate is set here.
        batch: B windows.
        recipe: says loss, clipping and precision.
        rate: learning rate of this step.
    Returns:
        the loss, a scalar on the device.
    """
    for group in optimizer.param_groups:
        group["lr"] = rate
    with torch.autocast(batch.points2d.device.type, torch.bfloat16, enabled=recipe.autocast):
        output = model(model.encode_2d(batch.points2d))
    loss = pose_loss(recipe.loss, model, output.float() if recipe.autocast else output, batch.pose3d)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if recipe.gradient_clip is not None:
        nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_clip)
    optimizer.step()
    return loss.detach()


def fit(
    model: nn.Module,
    train: Iterable[Clip],
    recipe: Recipe | str = "quick",
    validation: Iterable[Clip] | None = None,
    device: torch.device | str | None = None,
    out: str | Path | None = None,
    resume: bool = True,
    seed: int = 0,
    progress: bool = True,
    keep: str = "best",
    callback: Callable[[dict], None] | None = None,
    checkpoint_minutes: float = 5.0,
) -> Run:
    """Train a model by a recipe.

    Args:
        model: satisfies the model contract; is trained in place.
        train: clips to learn from.
        recipe: a Recipe, or a name in `RECIPES`.
        validation: clips to watch: at most 8192 frames of them, evenly spaced, at every entry of the history.
            With keep="best" they choose the weights, so do not pass the clips you will report on.
        device: by default a CUDA device where there is one.
        out: folder for checkpoint.pt (at every entry of the history, and every `checkpoint_minutes`) and run.json.
        resume: go on from the checkpoint in `out`, if there is one, with the same bits as if never stopped.
        seed: of order and dropout. The same seed on the same machine gives the same bits.
        progress: show a bar with loss and validation error, and what there is to say.
        keep: "best" leaves the model with the weights of its best validation, "last" with the last.
        callback: called with each entry of the history: one an epoch; of a run in steps or minutes, ten or more.
        checkpoint_minutes: between checkpoints at other times.
    Returns:
        Run. Ctrl-C returns it too, marked interrupted, with the best so far.
    Raises:
        TrainingError: if the loss is NaN or infinite, naming epoch, step and clips.
        CheckpointError: if `out` cannot be written, or the checkpoint in it belongs to another run.
    """
    recipe = _recipe(recipe)
    if out is not None:
        checkpoints.make_folder(Path(out))  # before the first epoch, not after it
    if keep not in ("best", "last"):
        raise ValueError(f"keep is {keep!r}; give 'best' or 'last'")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise TrainingError(
            f"{model.name} has no parameters to train by gradient; a baseline has its own .fit(train)"
        )
    device, out = choose_device(device), None if out is None else Path(out)
    say = print if progress else lambda *_: None
    data = to_device(train, device)
    watched = None if validation is None else to_device(validation, device)
    if len(data) < 2:
        raise TrainingError(f"data set {data.name!r} holds a single frame; training needs two or more")

    torch.manual_seed(seed)
    model.to(device)
    job = Job(model, data, watched, recipe, seed, keep)
    identity = checkpoints.fingerprint(job) if out else {}
    stored = checkpoints.load(out, identity, device) if out and resume else None
    if stored is None:
        if getattr(model, "normalisation", None) is None:
            model.fit_normalisation(data.points2d, data.pose3d)
        _check_targets(job)
        optimizer, state = make_optimizer(model, recipe), _plan(job, say)
    else:
        model.load_state_dict(stored["model"])
        if stored["normalisation"] is not None:
            model.normalisation = stored["normalisation"]
        optimizer, state = make_optimizer(model, recipe), Progress(**stored["progress"])
        optimizer.load_state_dict(stored["optimizer"])
        checkpoints.set_random_states(stored["random"])
        say(f"going on from {out / checkpoints.CHECKPOINT} at step {state.step:,} of {state.total_steps:,}")
    record = describe(job, state) | checkpoints.environment(device)

    def store() -> None:
        if out is not None:
            checkpoints.save(out, {
                "fingerprint": identity, "progress": vars(state), "random": checkpoints.random_states(),
                "model": model.state_dict(), "normalisation": getattr(model, "normalisation", None),
                "optimizer": optimizer.state_dict(),
            })  # fmt: skip
            checkpoints.write_record(out, record | outcome(state, interrupted=False))

    interrupted = False
    with tqdm(
        initial=state.step, total=state.total_steps, disable=not progress, unit="step", mininterval=0.5
    ) as bar:
        try:
            _loop(job, optimizer, state, bar, store, 60 * checkpoint_minutes, callback)
        except KeyboardInterrupt:
            interrupted = True
    if keep == "best" and state.best_model is not None:
        model.load_state_dict(state.best_model)
    if interrupted:
        say(farewell(state, out, keep))
    record |= outcome(state, interrupted)
    if out:
        checkpoints.write_record(out, record)
    return Run(model, recipe, state.history, state.best, interrupted, record, out)


def _loop(
    job: Job, optimizer: optim.Optimizer, state: Progress, bar: tqdm, store: Callable, store_every: float,
    callback: Callable | None,
) -> None:  # fmt: skip
    """Epochs of steps, from wherever `state` stands to the end."""
    model, recipe = job.model, job.recipe
    began, stored_at = time.monotonic() - state.seconds, time.monotonic()
    pending = []  # losses not yet fetched from the device
    while not state.done:
        first = state.step % state.steps_per_epoch  # not 0 if resumed within an epoch
        for batch in batches(
            job.train, recipe.batch_size, width=model.receptive_field, seed=job.seed, epoch=state.epoch, first=first,
            mirror=recipe.flip,
        ):  # fmt: skip
            model.train()
            state.step += 1
            rate = learning_rate(recipe, state.step, state.total_steps, state.steps_per_epoch)
            pending.append(train_step(model, optimizer, batch, recipe, rate))
            report = state.step % state.report_every == 0 or state.done
            if report or state.step % LOOK_EVERY == 0:
                _look(job, state, pending)
                state.seconds = time.monotonic() - began
                _show(state, bar)
            if report:
                error = None if job.validation is None else validation_error(model, job.validation)
                state.seconds = time.monotonic() - began
                _write_history(job, state, rate, error)
                _show(state, bar)
            if report or (not pending and time.monotonic() - stored_at > store_every):
                store()
                stored_at = time.monotonic()
            if report and callback is not None:
                callback(state.history[-1])
            if state.done:
                break


def _show(state: Progress, bar: tqdm) -> None:
    bar.set_postfix_str(postfix(state), refresh=False)
    bar.update(state.step - bar.n)
    if state.step == LOOK_EVERY and not bar.disable and not state.done:
        left = state.seconds / state.step * (state.total_steps - state.step)
        bar.write(f"about {in_words(left)} to go, plus validation")


def _recipe(recipe: Recipe | str) -> Recipe:
    if isinstance(recipe, str):
        if recipe not in RECIPES:
            raise RecipeError(f"no recipe {recipe!r}; there are: {', '.join(RECIPES)}")
        return RECIPES[recipe]
    if not isinstance(recipe, Recipe):
        raise RecipeError(f"recipe is {recipe!r}; give a Recipe, or one of {', '.join(RECIPES)}")
    return recipe


def _check_targets(job: Job) -> None:
    """Unknown joints are NaN and count for nothing; statistics that are NaN would make everything so."""
    first = job.train.pose3d[:256, None]
    if torch.isnan(first).all():
        raise TrainingError(
            f"data set {job.train.name!r} starts with 256 frames of unknown poses; leave such clips out"
        )
    if torch.isnan(job.model.encode_3d(first)[~torch.isnan(first).flatten(1).any(1)]).any():
        raise TrainingError(
            f"{job.model.name} makes NaN of known poses; its normalisation statistics are not finite"
        )


def validation_error(model: nn.Module, data: DeviceDataset, most: int = VALIDATION_FRAMES) -> float:
    """MPJPE in mm over at most `most` evenly spaced frames, by the "videopose3d" root rule, without flip test."""
    frames = (
        torch.linspace(0, len(data) - 1, min(most, len(data)), dtype=torch.float64)
        .round()
        .long()
        .to(data.device)
    )
    truth = data.pose3d[frames]
    return 1000 * float(metrics.mpjpe(predict(model, data, frames=frames), truth - truth[:, ROOT : ROOT + 1]))


def _plan(job: Job, say: Callable) -> Progress:
    """How many steps this run has. A recipe in minutes is measured here, on a copy of the model."""
    recipe, per_epoch = job.recipe, job.steps_per_epoch
    if recipe.minutes is None:
        if recipe.epochs is not None:
            return Progress(recipe.epochs * per_epoch, per_epoch, report_every=per_epoch)
        return _in_steps(recipe.steps, per_epoch)
    step, validation = _measure(job)
    budget = 60 * recipe.minutes
    steps = int((budget - REPORTS * validation) / step)
    if steps > REPORTS * per_epoch:  # then it is validated once an epoch
        steps = int(budget / (step + validation / per_epoch))
    steps = max(steps, 1)
    say(
        f"{recipe.minutes:g} minutes are about {steps:,} steps here ({1000 * step:.1f} ms each, validation "
        f"{validation:.1f} s). For the same bits again, give steps={steps} in place of minutes"
    )
    return _in_steps(steps, per_epoch)


def _in_steps(steps: int, per_epoch: int) -> Progress:
    return Progress(steps, per_epoch, report_every=min(per_epoch, -(-steps // REPORTS)))


def _measure(job: Job) -> tuple[float, float]:
    """Seconds of a step and of a validation, on a copy of the model; leaves no trace in the random states."""
    device, recipe = job.train.device, job.recipe

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.monotonic()

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        trial = copy.deepcopy(job.model).train()
        optimizer, times = make_optimizer(trial, recipe), []
        for batch in batches(job.train, recipe.batch_size, width=trial.receptive_field, mirror=recipe.flip):
            started = now()
            train_step(trial, optimizer, batch, recipe, recipe.learning_rate)
            times.append(now() - started)
            if len(times) == 30 or sum(times) > 0.1 * 60 * recipe.minutes:
                break
        started = now()
        if job.validation is not None:
            validation_error(trial, job.validation)
        validation = now() - started
    return statistics.median(times[len(times) // 4 :]), validation  # the first steps warm up


def _look(job: Job, state: Progress, pending: list[Tensor]) -> None:
    """Fetch the losses of the last steps; stop if one is not a number."""
    values = torch.stack(pending).tolist() if pending else []
    pending.clear()
    for step, value in enumerate(values, state.step - len(values)):  # step counted from 0
        if not math.isfinite(value):
            epoch, at = divmod(step, state.steps_per_epoch)
            spoilt = state.best_model is None
            if not spoilt:
                job.model.load_state_dict(state.best_model)
            raise TrainingError(
                f"the loss became {value} at epoch {epoch + 1}, step {at + 1} of the epoch ({step + 1} of the run). "
                f"{_suspects(job, epoch + 1, at)} Look at these clips' units and gaps, or lower learning_rate "
                f"({job.recipe.learning_rate:g}). The model "
                + ("is spoilt: make a new one" if spoilt else "holds the weights of its best epoch")
            )
        state.losses.append(value)


def _suspects(job: Job, epoch: int, at: int) -> str:
    """The clips of one batch, those with the largest poses first. Any batch can be drawn again from its number."""
    data, size = job.train, job.recipe.batch_size
    order = torch.randperm(len(data), generator=epoch_generator(job.seed, epoch))
    frames = order[at * size : (at + 1) * size].to(data.device)
    pose = data.pose3d[frames] - data.pose3d[frames][:, ROOT : ROOT + 1]
    extent = torch.maximum(pose.nan_to_num().abs().amax((1, 2)), data.points2d[frames].abs().amax((1, 2)))
    worst = [data.label(int(frames[i])) for i in extent.argsort(descending=True)[:5].tolist()]
    clips = len(set(data.clip[frames].tolist()))
    return (
        f"The batch held {len(frames)} windows of {clips} clips; largest coordinates in: {'; '.join(worst)}."
    )


def _write_history(job: Job, state: Progress, rate: float, error: float | None) -> None:
    """One more entry of the history, and the weights remembered if they are the best so far."""
    epoch = state.step / state.steps_per_epoch
    entry = {
        "epoch": int(epoch) if epoch == int(epoch) else round(epoch, 2),
        "step": state.step,
        "train_loss": math.fsum(state.losses) / len(state.losses),  # since the last entry
        "learning_rate": rate,
        "validation_mpjpe_mm": error,
        "seconds": round(state.seconds, 3),
    }
    state.history.append(entry)
    state.losses.clear()
    best = None if state.best is None else state.best["validation_mpjpe_mm"]
    if error is None or best is None or not error >= best:  # also where the best so far is NaN
        state.best = entry
        if job.keep == "best" and error is not None:
            state.best_model = {key: tensor.clone() for key, tensor in job.model.state_dict().items()}
