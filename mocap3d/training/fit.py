"""The training loop: plain, seeded, resumable.

The order of random draws, so that a loop written by hand can reproduce `fit` number for number:

    1. the caller creates the model (and is responsible for its initial weights)
    2. torch.manual_seed(seed)                    from here on the global generator is used only by dropout and masks
    3. model.fit_normalisation(points2d, pose3d)  unless model.normalisation is set; draws nothing
    4. per epoch e = 1, 2, ...: the order of the frames is torch.randperm(N, generator=epoch_generator(seed, e))
    5. with a detector, the noise of epoch e is drawn from a separate generator, seeded in the same way
    6. per step: learning_rate(...), forward, loss, backward, clip, optimizer step: see `train_step`

Validation runs in evaluation mode, without gradients, and draws nothing.

Reading order of the code: this file, run.py (inputs and results), recipe.py (hyperparameters), losses.py,
data/windows.py (batches), checkpoint.py (resuming); budget.py converts minutes to steps.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterable
from contextlib import ExitStack, nullcontext
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn, optim
from tqdm.auto import tqdm

from mocap3d.arguments import Device, FilePath, Seed, check_arguments
from mocap3d.data.windows import Batch, described, in_image_space, normalised, to_device
from mocap3d.device import choose_device, compiled, in_several_processes, unwrapped
from mocap3d.evaluation.predict import validation_error
from mocap3d.models.lifter import Lifter, activation_checkpointing
from mocap3d.poses import Clip
from mocap3d.skeleton import root_relative
from mocap3d.training import checkpoint as checkpoints
from mocap3d.training.augmentation import chunks_of, film_for, motion_of
from mocap3d.training.budget import steps_in_minutes
from mocap3d.training.distributed import Workers, join
from mocap3d.training.losses import TrainingObjective, pose_loss
from mocap3d.training.recipe import (
    Recipe,
    get_recipe,
    learning_rate,
    make_optimizer,
    momentum_of_step,
    momentum_restored,
)
from mocap3d.training.run import Job, Progress, Run, check_job, check_statistics, describe, in_words, outcome

LOOK_EVERY = 20  # steps between checks of the loss: each check makes a GPU wait
LONG = 600  # seconds
SHORTER = "; for less: replace(recipe, epochs=None, steps=None, minutes=5), or in a notebook MOCAP3D_PROFILE=laptop"
REPORTS = 10  # minimum number of history entries of a run given in steps or minutes


def supervised(model: nn.Module, batch: Batch, recipe: Recipe, step: int = 1, steps: int = 1) -> Tensor:
    """The recipe's loss on one batch: the training objective, unless `fit` is given another.

    Args:
        model: in training mode, possibly wrapped by torch.compile or DistributedDataParallel.
        batch: B windows.
        recipe: defines loss and precision.
        step, steps: current step, from 1, and number of steps; not used here.
    Returns:
        scalar.
    """
    return pose_loss(recipe.loss, unwrapped(model), forward(model, batch, recipe), batch.pose3d, recipe.terms)


def forward(model: nn.Module, batch: Batch, recipe: Recipe) -> Tensor:
    """The network's output for a batch, masked and in the precision of the recipe; float32."""
    x = unwrapped(model).encode(batch.points2d, batch.confidence)
    if recipe.mask_joints or recipe.mask_frames:
        x = mask(x, recipe)
    with torch.autocast(x.device.type, torch.bfloat16, enabled=recipe.autocast):
        output = model(x)
    return output.float() if recipe.autocast else output


def mask(x: Tensor, recipe: Recipe) -> Tensor:
    """Network input with some joints and some whole frames replaced by zeros: (B, T, J, 3) -> the same.

    Source: Zhu et al. 2023, section 3.3; there frames are drawn once for the whole batch, here for each clip.
    """
    for share, axes in ((recipe.mask_joints, 3), (recipe.mask_frames, 2)):
        if share:
            kept = torch.rand(x.shape[:axes], device=x.device) >= share
            x = x * kept[(...,) + (None,) * (x.ndim - axes)]
    return x


def train_step(
    model: nn.Module,
    optimizer: optim.Optimizer,
    batch: Batch,
    recipe: Recipe,
    rate: float,
    objective: Callable = supervised,
    workers: Workers | None = None,
) -> Tensor:
    """One step of gradient descent on one batch: the core of training.

    Args:
        model: in training mode.
        optimizer: over the model's parameters; its learning rate is set here.
        batch: B windows.
        recipe: defines loss, clipping, precision, and the number of parts the batch is split into.
        rate: learning rate of this step.
        objective: computes the loss from (model, batch, recipe).
        workers: the processes that share the batch, if there are several.
    Returns:
        the loss, a scalar on the device; with several processes, the total loss is their mean.
    """
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)
    total, parts = 0.0, [(batch, 1.0)]
    if workers or recipe.accumulate > 1:
        parts = parts_of(unwrapped(model), batch, recipe, workers)
    for part, weight in parts:
        loss = weight * objective(model, part, recipe)
        loss.backward()  # gradients add up
        total = total + loss.detach()
    if recipe.gradient_clip is not None:
        nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_clip)
    optimizer.step()
    return total


def parts_of(
    model: Lifter, batch: Batch, recipe: Recipe, workers: Workers | None = None
) -> list[tuple[Batch, float | Tensor]]:
    """Parts of a batch, with weights such that their weighted mean losses add up to the mean over the whole batch."""
    mine = workers.share(batch) if workers else batch
    count = max(min(recipe.accumulate, len(mine) // 2), 1)
    if mine is batch and count == 1:
        return [(batch, 1.0)]

    def known(some: Batch) -> Tensor:  # targets that the loss counts: unknown joints are NaN
        if recipe.loss == "mse":
            return (~torch.isnan(model.targets(some.pose3d))).sum()
        return (~torch.isnan(root_relative(some.pose3d)).any(-1)).sum()

    of = known(batch).clamp_min(1)
    if mine is not batch:
        of = of / workers.count  # since DistributedDataParallel averages gradients
    parts = [mine[k::count] for k in range(count)]  # so that each holds some of the mirrored windows
    return [(part, known(part) / of) for part in parts]


def fit(
    model: Lifter,
    train: Iterable[Clip],
    recipe: Recipe | str = "quick",
    validation: Iterable[Clip] | None = None,
    device: Device | None = None,
    out: FilePath | None = None,
    resume: bool = True,
    seed: Seed = 0,
    progress: bool = True,
    keep: Literal["best", "last"] = "best",
    callback: Callable[[dict], None] | None = None,
    checkpoint_minutes: float = 5.0,
    objective: TrainingObjective | None = None,
) -> Run:
    """Train a model with a recipe; under torchrun, in all processes together (see `training.distributed`).

    Args:
        model: fulfils `Lifter`; trained in place. A torch.compile wrapper is used in training, but not returned.
        train: clips to train on.
        recipe: a Recipe, or a name in `RECIPES`.
        validation: clips to validate on: at most 8192 frames, evenly spaced, for every entry of the history.
            With keep="best" they select the weights, so do not pass the clips you will report on.
        device: by default a CUDA device if available.
        out: folder for checkpoint.pt (at every entry of the history, and every `checkpoint_minutes`) and run.json.
        resume: continue from the checkpoint in `out`, if there is one, with the same bits as without interruption.
        seed: of frame order and dropout. The same seed on the same machine gives the same bits.
        progress: show a bar with loss and validation error, and print messages.
        keep: "best" leaves the model with the weights of its best validation, "last" with the last ones.
        callback: called with each entry of the history: one per epoch; for a run in steps or minutes, ten or more.
            `live_history()` returns one.
        checkpoint_minutes: minutes between additional checkpoints.
        objective: training objective instead of `supervised`: computes the loss from (model, batch, recipe, step=,
            steps=); its .describe() returns a dict of anything else that determines the run's numbers.
    Returns:
        Run. Ctrl-C also returns it, marked as interrupted, with the best weights so far.
    Raises:
        TrainingError: if the loss is NaN or infinite; the message names epoch, step and clips.
        CheckpointError: if `out` cannot be written, another process trains in it, or its checkpoint belongs to another
            run.
    """
    check_arguments(fit, locals() | {"model": unwrapped(model)})
    recipe = get_recipe(recipe)
    if out is not None:
        out = checkpoints.make_folder(Path(out))  # before the first epoch, not after it
    device, workers = choose_device(device), None
    if in_several_processes():
        workers = join(device)
        device = workers.device
    network, model = model, unwrapped(model)
    motion = motion_of(model, train, device) if recipe.cameras else None
    data = film_for(recipe, motion, seed, 1) if motion else to_device(train, device)
    watched = None if validation is None else normalised(to_device(validation, device), model)
    chunks = chunks_of(model, data, recipe) if model.clipwise else None
    if model.space == "image":
        data = in_image_space(data)
    shared = workers.fields if workers else ()
    job = Job(model, data, watched, recipe, seed, keep, chunks, objective, *shared, motion=motion)
    check_job(job, *described(train)[1:])
    progress = progress and job.writes
    say = print if progress else lambda *_: None

    model.to(device)
    torch.manual_seed(seed + 2**32 * (workers.rank if workers else 0))
    identity = checkpoints.fingerprint(job) if out or workers else {}
    if workers:
        workers.check_same(identity)
    stored = checkpoints.load(out, identity, device) if out and resume and checkpoints.exists(out) else None
    if stored is None:
        if model.normalisation is None:
            seen = normalised(data, model)
            model.fit_normalisation(seen.points2d, seen.pose3d)
        if model.normalisation is not None:
            check_statistics(job)
        optimizer, state = make_optimizer(model, recipe), _plan(job, say)
    else:
        optimizer, state = checkpoints.restore(job, stored)
        say(f"resuming from {out / checkpoints.CHECKPOINT} at step {state.step:,} of {state.total_steps:,}")
    record = describe(job, state) | checkpoints.environment(device)

    interrupted, asked, stored_at = False, [], time.monotonic()

    def after(report: bool) -> None:
        nonlocal stored_at
        if out is not None and (report or job.agree(time.monotonic() - stored_at > 60 * checkpoint_minutes)):
            checkpoint = checkpoints.contents(job, identity, optimizer, state)
            _write(job, out, record | outcome(state, interrupted=False), checkpoint)
            stored_at = time.monotonic()
        if report and callback is not None and job.writes:
            try:
                callback(state.history[-1])
            except KeyboardInterrupt:
                asked.append("in the callback")

    with ExitStack() as during:
        if out and job.writes:
            during.enter_context(checkpoints.only_run_in(out))
        if workers:
            during.enter_context(workers.interrupts(asked))
            during.enter_context(workers.norms(model))
        if recipe.norm_momentum:
            during.enter_context(momentum_restored(model))
        if recipe.checkpointing:
            during.enter_context(activation_checkpointing(model))
        bar = tqdm(initial=state.step, total=state.total_steps, disable=not progress, unit="step", mininterval=0.5)
        during.enter_context(bar)
        try:
            if workers:
                network = workers.replicate(network)
            if recipe.compile:
                network = compiled(network, device, say)
            _loop(job, network, optimizer, state, bar, after, asked)
        except KeyboardInterrupt:
            interrupted = True
        if keep == "best" and state.best_model is not None:
            model.load_state_dict(state.best_model)
        if interrupted:
            say(state.message_on_leaving(out))
        record |= outcome(state, interrupted)
        if out:
            _write(job, out, record)
    return Run(model, recipe, state.history, state.best, interrupted, record, out)


def _loop(
    job: Job, network: nn.Module, optimizer: optim.Optimizer, state: Progress, bar: tqdm, after: Callable, asked: list
) -> None:
    """Run the epochs from `state` to the end.

    `network` is the model as called in training; `asked` is not empty once Ctrl-C was pressed.
    """
    model, recipe = job.model, job.recipe
    keep_best = job.keep == "best" and job.validation is not None
    began = time.monotonic() - state.seconds
    pending = []  # losses not yet fetched from the device
    while not state.done:
        first = state.step % state.steps_per_epoch  # not 0 if resumed in mid-epoch
        for batch in job.batches(state.epoch, first):
            model.train()
            state.step += 1
            run = state.step, state.total_steps, state.steps_per_epoch
            rate = learning_rate(recipe, *run)
            objective = partial(job.objective or supervised, step=state.step, steps=state.total_steps)
            with momentum_of_step(model, recipe, *run) if recipe.norm_momentum else nullcontext():
                pending.append(train_step(network, optimizer, batch, recipe, rate, objective, job.workers))
            report = state.step % state.report_every == 0 or state.done
            if not report and state.step % LOOK_EVERY != 0:
                continue

            _look(job, state, pending)
            before, state.seconds = state.seconds, time.monotonic() - began
            _show(job, state, bar, state.seconds - before)
            if report:
                error = None
                if job.validation is not None:
                    error = job.measure(lambda: validation_error(model, job.validation))
                state.seconds = time.monotonic() - began
                if state.add_entry(rate, error) and keep_best:
                    state.best_model = {key: tensor.clone() for key, tensor in model.state_dict().items()}
                _show(job, state, bar)
            after(report)
            if job.agree(bool(asked)):
                raise KeyboardInterrupt
            if state.done:
                break


def _plan(job: Job, say: Callable) -> Progress:
    """The number of steps of this run."""
    recipe, per_epoch = job.recipe, job.steps_per_epoch
    if recipe.epochs is not None:
        return Progress(recipe.epochs * per_epoch, per_epoch, report_every=per_epoch)
    steps = recipe.steps
    if steps is None:
        objective = job.objective or supervised
        steps = int(job.measure(lambda: steps_in_minutes(job, train_step, objective, REPORTS, say)))
    return Progress(steps, per_epoch, report_every=min(per_epoch, -(-steps // REPORTS)))


def _look(job: Job, state: Progress, pending: list[Tensor]) -> None:
    """Fetch the losses of the last steps; raises TrainingError if one is not finite."""
    values = job.losses(pending)
    pending.clear()
    for step, value in enumerate(values, state.step - len(values)):  # step counted from 0
        if not math.isfinite(value):
            raise job.diverged(state, step, value)
        state.losses.append(value)


def _write(job: Job, out: Path, record: dict, checkpoint: dict | None = None) -> None:
    """Write files to disk; if it is full, the checkpoint is lost, but not the run."""
    if not job.writes:
        return
    try:
        checkpoints.save(out, record, checkpoint)
    except checkpoints.CheckpointError as error:
        advice = "training goes on: make room there, and the next one will be"
        warnings.warn(f"{error}; {advice}", RuntimeWarning, stacklevel=2)


def _show(job: Job, state: Progress, bar: tqdm, last_steps: float = 0.0) -> None:
    bar.set_postfix_str(str(state), refresh=False)
    bar.update(state.step - bar.n)
    left = last_steps / LOOK_EVERY * (state.total_steps - state.step)  # without the first steps, which prepare the data
    second = state.step == 2 * LOOK_EVERY and state.losses and not state.done  # a report empties `losses`
    if second and (job.writes and left > LONG or not bar.disable):  # nothing trains for long without a word
        bar.write(f"about {in_words(left)} to go, plus validation{SHORTER if left > LONG else ''}")
