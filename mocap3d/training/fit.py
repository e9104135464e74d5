"""The training loop: plain, seeded, resumable.

The order in which chance enters, so that a loop written by hand can reproduce `fit` number for number:

    1. the caller makes the model (its initial weights are the caller's affair)
    2. torch.manual_seed(seed)                    from here on the global generator feeds dropout and masks alone
    3. model.fit_normalisation(points2d, pose3d)  unless model.normalisation is set; draws nothing
    4. per epoch e = 1, 2, ...: the order of the frames is torch.randperm(N, generator=epoch_generator(seed, e))
    5. with a detector, the noise of epoch e is drawn from a generator of its own, seeded likewise
    6. per step: learning_rate(...), forward, loss, backward, clip, optimizer step: see `step.train_step`

Validation runs in evaluation mode, without gradients, and draws nothing.

What a run goes through, in reading order: this file, step.py (one step), recipe.py (the numbers), losses.py,
data/windows.py (batches), run.py (what it leaves), checkpoint.py (going on); for several processes distributed.py.
"""

from __future__ import annotations

import copy
import math
import statistics
import time
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn, optim
from tqdm.auto import tqdm

from mocap3d import metrics
from mocap3d.data.windows import DeviceDataset, cut_pieces, epoch_generator, in_image_space, to_device
from mocap3d.device import choose_device
from mocap3d.evaluation.evaluate import pose2d_source
from mocap3d.evaluation.predict import predict, predict_pieces, say_metres
from mocap3d.poses import Clip
from mocap3d.skeleton import ROOT
from mocap3d.training import checkpoint as checkpoints
from mocap3d.training.distributed import join
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
from mocap3d.training.step import as_trained, epoch_batches, momentum_of_step, supervised, thrift, train_step

LOOK_EVERY = 20  # steps between looks at the loss: each look makes a GPU wait
REPORTS = 10  # entries of the history, at least, of a run whose length is in steps or minutes


class TrainingError(RuntimeError):
    """Training that cannot go on."""


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
    objective: Callable | None = None,
) -> Run:
    """Train a model by a recipe; under torchrun, in all its processes together (see `training.distributed`).

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
            `live_history()` is one.
        checkpoint_minutes: between checkpoints at other times.
        objective: gives the loss of (model, batch, recipe, step=, steps=), in place of `supervised`; its .describe()
            says in a dict what more decides the run's numbers.
    Returns:
        Run. Ctrl-C returns it too, marked interrupted, with the best so far.
    Raises:
        TrainingError: if the loss is NaN or infinite, naming epoch, step and clips.
        CheckpointError: if `out` cannot be written, or the checkpoint in it belongs to another run.
    """
    recipe = _recipe(recipe)
    if out is not None:
        out = Path(out)
        checkpoints.make_folder(out)  # before the first epoch, not after it
    workers = join(choose_device(device))
    progress = progress and workers.rank == 0
    say = print if progress else lambda *_: None
    data = to_device(train, workers.device)
    watched = None if validation is None else to_device(validation, workers.device)
    pieces = None
    if getattr(model, "clipwise", False):
        frames = model.receptive_field
        pieces = cut_pieces(data, frames, min(recipe.clip_stride or -(-frames // 3), frames))
    if getattr(model, "image_space", False):
        data = in_image_space(data)
    job = Job(model, data, watched, recipe, seed, keep, pieces, objective, workers)
    _check(job, getattr(train, "notes", ()))

    model.to(workers.device)
    torch.manual_seed(seed + 2**32 * workers.rank)
    identity = _identity(job) if out or workers.count > 1 else {}
    stored = checkpoints.load(out, identity, workers.device) if out and resume else None
    optimizer, state = _begin(job, say) if stored is None else _go_on(job, stored)
    if stored is not None:
        say(f"going on from {out / checkpoints.CHECKPOINT} at step {state.step:,} of {state.total_steps:,}")
    record = describe(job, state) | checkpoints.environment(workers.device)

    def store() -> None:
        if out is None:
            return
        random = workers.gather(checkpoints.random_states())
        if workers.rank == 0:
            _write(out, record | outcome(state, interrupted=False), {
                "fingerprint": identity, "progress": vars(state), "random": random, "model": model.state_dict(),
                "normalisation": getattr(model, "normalisation", None), "optimizer": optimizer.state_dict(),
            })  # fmt: skip

    interrupted = False
    with workers.norms(model), workers.interrupts() as asked, thrift(model, recipe), tqdm(
        initial=state.step, total=state.total_steps, disable=not progress, unit="step", mininterval=0.5
    ) as bar:  # fmt: skip
        try:
            network = as_trained(job, say)
            _loop(job, network, optimizer, state, bar, asked, store, 60 * checkpoint_minutes, callback)
        except KeyboardInterrupt:
            interrupted = True
    if keep == "best" and state.best_model is not None:
        model.load_state_dict(state.best_model)
    if interrupted:
        say(farewell(state, out, keep))
    record |= outcome(state, interrupted)
    if out and workers.rank == 0:
        _write(out, record)
    return Run(model, recipe, state.history, state.best, interrupted, record, out)


def _loop(
    job: Job, network: nn.Module, optimizer: optim.Optimizer, state: Progress, bar: tqdm, asked: list,
    store: Callable, store_every: float, callback: Callable | None,
) -> None:  # fmt: skip
    """Epochs of steps, from wherever `state` stands to the end.

    `network` is the model as training calls it, `asked` holds something once Ctrl-C was pressed (see `Workers`).
    """
    model, recipe, workers = job.model, job.recipe, job.workers
    began, stored_at = time.monotonic() - state.seconds, time.monotonic()
    pending = []  # losses not yet fetched from the device
    while not state.done:
        first = state.step % state.steps_per_epoch  # not 0 if resumed within an epoch
        for batch in epoch_batches(job, state.epoch, first):
            model.train()
            state.step += 1
            rate = learning_rate(recipe, state.step, state.total_steps, state.steps_per_epoch)
            objective = partial(job.objective or supervised, step=state.step, steps=state.total_steps)
            with momentum_of_step(job, state):
                pending.append(train_step(network, optimizer, batch, recipe, rate, objective, workers))
            report = state.step % state.report_every == 0 or state.done
            if not report and state.step % LOOK_EVERY != 0:
                continue

            _look(job, state, pending)
            workers.equalise(model)
            state.seconds = time.monotonic() - began
            _show(state, bar)
            if report:
                error = None
                if job.validation is not None:
                    error = workers.first(lambda: validation_error(model, job.validation))
                state.seconds = time.monotonic() - began
                _write_history(job, state, rate, error)
                _show(state, bar)
            if report or workers.any(time.monotonic() - stored_at > store_every):
                store()
                stored_at = time.monotonic()
            if report and callback is not None and workers.rank == 0:
                try:
                    callback(state.history[-1])
                except KeyboardInterrupt as stop:
                    if workers.count == 1:
                        raise
                    asked.append(stop)
            if workers.any(bool(asked)):
                raise KeyboardInterrupt
            if state.done:
                break


def _write(out: Path, record: dict, checkpoint: dict | None = None) -> None:
    """Files on the disk; a full one costs the checkpoint, not the run."""
    try:
        checkpoints.save(out, record, checkpoint)
    except checkpoints.CheckpointError as error:
        advice = "training goes on: make room there, and the next one will be"
        warnings.warn(f"{error}; {advice}", RuntimeWarning, stacklevel=2)


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


def _check(job: Job, notes: Iterable[str]) -> None:
    """Refuse what cannot be trained."""
    model, recipe, data = job.model, job.recipe, job.train
    if job.keep not in ("best", "last"):
        raise ValueError(f"keep is {job.keep!r}; give 'best' or 'last'")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise TrainingError(
            f"{model.name} has no parameters to train by gradient; a baseline has its own .fit(train)"
        )
    if len(data) < 2:
        raise TrainingError(f"data set {data.name!r} holds a single frame; training needs two or more")
    clipwise = job.pieces is not None
    if clipwise and len(job.pieces) < 2:
        raise TrainingError(
            f"data set {data.name!r} makes a single piece of {model.receptive_field} frames; training needs two or "
            "more: give more clips, or a recipe with a smaller clip_stride"
        )
    for wanted in ("mask_joints", "mask_frames", "checkpointing"):
        if getattr(recipe, wanted) and not clipwise:
            raise TrainingError(
                f"recipe {recipe.name!r} has {wanted}={getattr(recipe, wanted)!r}, which {model.name} does not know; "
                "MotionBERT does"
            )
    if recipe.detector is not None:
        source = pose2d_source(data.clips, notes)
        if not source.startswith("ground truth"):
            raise TrainingError(
                f"recipe {recipe.name!r} lays {recipe.detector!r} detections over true 2D, but the 2D of {data.name!r} "
                f"is {source}; give clips with true 2D, or set detector=None"
            )
    if job.objective is not None and (recipe.accumulate > 1 or job.workers.count > 1):
        raise TrainingError(
            f"accumulate is {recipe.accumulate}, and there are {job.workers.count} processes; an objective of its own "
            "may not add up over parts of a batch: set accumulate=1, and train in one process"
        )


def _identity(job: Job) -> dict:
    """What decides the run's numbers, the same in all processes."""
    identities = job.workers.gather(checkpoints.fingerprint(job))
    for rank, other in enumerate(identities):
        if wrong := checkpoints.differences(identities[0], other):
            raise TrainingError(f"process {rank} was not given what process 0 was: {'; '.join(wrong[:5])}")
    return identities[0]


def _begin(job: Job, say: Callable) -> tuple[optim.Optimizer, Progress]:
    """A new run."""
    if getattr(job.model, "normalisation", None) is None:
        job.model.fit_normalisation(job.train.points2d, job.train.pose3d)
    _check_targets(job)
    return make_optimizer(job.model, job.recipe), _plan(job, say)


def _go_on(job: Job, stored: dict) -> tuple[optim.Optimizer, Progress]:
    """A run as it stood at a checkpoint."""
    job.model.load_state_dict(stored["model"])
    if stored["normalisation"] is not None:
        job.model.normalisation = stored["normalisation"]
    optimizer = make_optimizer(job.model, job.recipe)
    optimizer.load_state_dict(stored["optimizer"])
    checkpoints.set_random_states(stored["random"][job.workers.rank])
    return optimizer, Progress(**stored["progress"])


def _check_targets(job: Job) -> None:
    """Unknown joints are NaN and count for nothing; statistics that are NaN would make everything so."""
    first = job.train.pose3d[:256, None]
    if torch.isnan(first).all():
        raise TrainingError(
            f"data set {job.train.name!r} starts with 256 frames of unknown poses; leave such clips out"
        )
    if getattr(job.model, "image_space", False):
        return  # there are no statistics
    if torch.isnan(job.model.encode_3d(first)[~torch.isnan(first).flatten(1).any(1)]).any():
        raise TrainingError(
            f"{job.model.name} makes NaN of known poses; its normalisation statistics are not finite"
        )


def validation_error(model: nn.Module, data: DeviceDataset, most: int = VALIDATION_FRAMES) -> float:
    """MPJPE in mm over at most `most` evenly spaced frames, by the "videopose3d" root rule, without flip test."""
    clipwise = getattr(model, "clipwise", False)
    pieces = cut_pieces(data, model.receptive_field, model.receptive_field) if clipwise else None
    rows = len(data) if pieces is None else len(pieces)
    most = max(most // model.receptive_field, 1) if clipwise else most
    chosen = torch.linspace(0, rows - 1, min(most, rows), dtype=torch.float64).round().long().to(data.device)
    if pieces is None:
        said, frames = predict(model, data, frames=chosen), chosen
    else:
        frames = pieces[chosen]  # (P, C)
        said = say_metres(model, predict_pieces(model, data, frames), data, frames)
    truth = data.pose3d[frames]
    return 1000 * float(metrics.mpjpe(said, truth - truth[..., ROOT : ROOT + 1, :]))


def _plan(job: Job, say: Callable) -> Progress:
    """How many steps this run has. A recipe in minutes is measured here, on a copy of the model."""
    recipe, per_epoch = job.recipe, job.steps_per_epoch
    if recipe.epochs is not None:
        return Progress(recipe.epochs * per_epoch, per_epoch, report_every=per_epoch)
    steps = recipe.steps or int(job.workers.first(lambda: _affordable(job, say)))
    return Progress(steps, per_epoch, report_every=min(per_epoch, -(-steps // REPORTS)))


def _affordable(job: Job, say: Callable) -> int:
    """The steps that the recipe's minutes allow, as measured."""
    step, epoch, validation = _measure(job)
    budget, per_epoch = 60 * job.recipe.minutes, job.steps_per_epoch
    steps = int((budget - REPORTS * validation) / (step + epoch / per_epoch))
    if steps > REPORTS * per_epoch:  # then it is validated once an epoch
        steps = int(budget / (step + (epoch + validation) / per_epoch))
    steps = max(steps, 1)
    say(
        f"{job.recipe.minutes:g} minutes are about {steps:,} steps here ({1000 * step:.1f} ms each, validation "
        f"{validation:.1f} s). For the same bits again, give steps={steps} in place of minutes"
    )
    return steps


def _measure(job: Job) -> tuple[float, float, float]:
    """Seconds of a step, of what an epoch begins with, and of a validation; leaves no trace in the random states."""
    device, recipe, objective = job.train.device, job.recipe, job.objective or supervised

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.monotonic()

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        trial = copy.deepcopy(job.model).train()
        optimizer, times = make_optimizer(trial, recipe), [now()]
        for step, batch in enumerate(epoch_batches(job, epoch=1), 1):
            loss = partial(objective, step=step, steps=1)
            train_step(trial, optimizer, batch, recipe, recipe.learning_rate, loss, job.workers)
            times.append(now())
            if len(times) > 30 or times[-1] - times[0] > 0.1 * 60 * recipe.minutes:
                break
        seconds = [later - sooner for sooner, later in zip(times, times[1:], strict=False)]
        usual = statistics.median(seconds[len(seconds) // 4 :])  # the first steps warm up
        started = now()
        if job.validation is not None:
            validation_error(trial, job.validation)
        return usual, max(seconds[0] - usual, 0), now() - started


def _look(job: Job, state: Progress, pending: list[Tensor]) -> None:
    """Fetch the losses of the last steps; stop if one is not a number."""
    values = job.workers.mean(torch.stack(pending)).tolist() if pending else []
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
    data, size, pieces = job.train, job.recipe.batch_size, job.pieces
    order = torch.randperm(job.examples, generator=epoch_generator(job.seed, epoch))
    frames = order[at * size : (at + 1) * size].to(data.device)
    if pieces is not None:
        frames = pieces[frames].flatten()
    pose = data.pose3d[frames] - data.pose3d[frames][:, ROOT : ROOT + 1]
    extent = torch.maximum(pose.nan_to_num().abs().amax((1, 2)), data.points2d[frames].abs().amax((1, 2)))
    worst = [data.label(int(frames[i])) for i in extent.argsort(descending=True)[:5].tolist()]
    clips = len(set(data.clip[frames].tolist()))
    size_of = f"{len(frames)} windows" if pieces is None else f"{len(frames):,} frames"
    return f"The batch held {size_of} of {clips} clips; largest coordinates in: {'; '.join(worst)}."


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
