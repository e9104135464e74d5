"""Inputs, progress and results of a training run."""

from __future__ import annotations

import html
import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mocap3d.data.filming import Motion
from mocap3d.data.windows import Batch, DeviceDataset, batches, epoch_order, normalised, steps_in_epoch
from mocap3d.evaluation.evaluate import pose2d_source
from mocap3d.evaluation.predict import VALIDATION_FRAMES
from mocap3d.evaluation.report import html_table, text_table
from mocap3d.models.lifter import Lifter
from mocap3d.skeleton import root_relative
from mocap3d.training.augmentation import TrainingError, add_detector_noise, film_for
from mocap3d.training.losses import TrainingObjective
from mocap3d.training.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Job:
    """The inputs of a run, which together determine all its numbers.

    Args:
        train: the clips to train on, in the model's space.
        chunks: (P, C) rows of `train`: the examples, if the model lifts whole clips.
        objective: training objective instead of the recipe's loss; see `fit`.
        workers: `distributed.Workers`, the processes that share the work, if there are several.
        motion: what is filmed anew, if the recipe says so; `train` is then the first epoch.
    """

    model: Lifter
    train: DeviceDataset
    validation: DeviceDataset | None
    recipe: Recipe
    seed: int
    keep: str
    chunks: Tensor | None = None
    objective: TrainingObjective | None = None
    workers: Any = None
    processes: int = 1
    writes: bool = True  # files and messages; only the first process does
    motion: Motion | None = None

    @property
    def examples(self) -> int:
        """Windows or chunks in an epoch."""
        return len(self.train) if self.chunks is None else len(self.chunks)

    @property
    def steps_per_epoch(self) -> int:
        return steps_in_epoch(self.examples, self.recipe.batch_size)

    def losses(self, pending: list[Tensor]) -> list[float]:
        """Fetch losses from the device; over several processes, their means."""
        values = torch.stack(pending)
        if self.workers:
            self.workers.equalise(self.model)
            values = self.workers.mean(values)
        return values.tolist()

    def measure(self, what: Callable[[], float]) -> float:
        """A number on which all processes must agree: that of the first one."""
        return self.workers.first(what) if self.workers else what()

    def agree(self, flag: bool) -> bool:
        """Whether any process has set the flag."""
        return self.workers.any(flag) if self.workers else flag

    def gather(self, value: object) -> list:
        """The values of all processes, first to last."""
        return self.workers.gather(value) if self.workers else [value]

    def batches(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, starting with number `first`."""
        model, recipe = self.model, self.recipe
        data = self.train
        if self.motion is not None:
            data = film_for(recipe, self.motion, self.seed, epoch)
        elif recipe.detector is not None:
            data = add_detector_noise(data, recipe.detector, self.seed, epoch)
        data = normalised(data, model)
        options = {"seed": self.seed, "epoch": epoch, "first": first, "mirror": recipe.flip, "balance": recipe.balance}
        if self.chunks is not None:
            return batches(data, recipe.batch_size, chunks=self.chunks, confidence=True, **options)
        seen = bool((data.confidence < 1).any())
        options |= {"width": model.receptive_field, "causal": model.causal, "confidence": seen}
        return batches(data, recipe.batch_size, **options)

    def diverged(self, state: Progress, step: int, value: float) -> TrainingError:
        """The error for a loss that is not finite; the model's best weights are restored, if there are any."""
        epoch, at = divmod(step, state.steps_per_epoch)
        held = "has diverged: make a new one"
        if state.best_model is not None:
            self.model.load_state_dict(state.best_model)
            held = "holds the weights of its best epoch"
        return TrainingError(
            f"the loss became {value} at epoch {epoch + 1}, step {at + 1} of the epoch ({step + 1} of the run). "
            f"{self.suspects(epoch + 1, at)} Look at these clips' units and gaps, or lower learning_rate "
            f"({self.recipe.learning_rate:g}). The model {held}"
        )

    def suspects(self, epoch: int, step: int) -> str:
        """The clips of one batch, largest coordinates first. Any batch can be drawn again from its number."""
        data, size = self.train, self.recipe.batch_size
        order = epoch_order(data, self.seed, epoch, self.chunks, self.recipe.balance)
        frames = order[step * size : (step + 1) * size].to(data.device)
        held = f"{len(frames)} windows"
        if self.chunks is not None:
            frames = self.chunks[frames].flatten()
            held = f"{len(frames):,} frames"
        pose = root_relative(data.pose3d[frames])
        extent = torch.maximum(pose.nan_to_num().abs().amax((1, 2)), data.points2d[frames].abs().amax((1, 2)))
        worst = "; ".join(data.label(int(frames[i])) for i in extent.argsort(descending=True)[:5].tolist())
        return f"The batch held {held} of {len(data.clip[frames].unique())} clips; largest coordinates in: {worst}."


def check_job(job: Job, clips: Iterable, notes: Iterable[str]) -> None:
    """Raise an error for a run that cannot be trained; `clips` and `notes` are those of the training set."""
    model, recipe, data = job.model, job.recipe, job.train
    trained = {(clip.take, clip.camera.name) for clip in clips}
    watched = job.validation.clips if job.validation else ()
    if again := sum((clip.take, clip.camera.name) in trained for clip in watched):
        warnings.warn(f"{again} of {len(watched)} validation clips are training clips: give others", stacklevel=3)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise TrainingError(f"{model.name} has no parameters to train by gradient; call a baseline's own .fit(train)")
    if len(data) < 2:
        raise TrainingError(f"data set {data.name!r} holds a single frame; training needs two or more")
    for some, use in ((data, "learn from"), (job.validation, "validate on")):
        if some is not None and torch.isnan(some.pose3d).any(-1).all():
            raise TrainingError(f"no joint of {some.name!r} has a known pose to {use}; give other clips")
    if model.clipwise and len(job.chunks) < 2:
        text = f"makes a single chunk of {model.receptive_field} frames; training needs two or more: give more clips"
        raise TrainingError(f"data set {data.name!r} {text}, or a recipe with a smaller clip_stride")
    for key in ("mask_joints", "mask_frames", "checkpointing"):
        if (value := getattr(recipe, key)) and not model.clipwise:
            raise TrainingError(
                f"recipe {recipe.name!r} has {key}={value!r}, which {model.name} does not know; MotionBERT does"
            )
    if recipe.detector is not None and job.motion is None:
        _check_true_2d(job, notes)
    if job.objective is not None and (recipe.accumulate > 1 or job.processes > 1):
        raise TrainingError(
            f"accumulate is {recipe.accumulate}, and there are {job.processes} processes; an objective of its own "
            "may not add up over parts of a batch: set accumulate=1, and train in one process"
        )


def _check_true_2d(job: Job, notes: Iterable[str]) -> None:
    source = pose2d_source(job.train.clips, notes)
    if not source.startswith("ground truth"):
        raise TrainingError(
            f"recipe {job.recipe.name!r} simulates {job.recipe.detector!r} detections from true 2D, but the 2D of "
            f"{job.train.name!r} is {source}; give clips with true 2D, or set detector=None"
        )


def check_statistics(job: Job) -> None:
    """Unknown joints are NaN and ignored; NaN statistics would make all targets NaN."""
    known = ~torch.isnan(job.train.pose3d).flatten(1).any(1)
    first = job.train.pose3d[known][:256, None]
    if torch.isnan(job.model.targets(first)).any():
        raise TrainingError(f"{job.model.name} makes NaN of known poses; its normalisation statistics are not finite")


@dataclass
class Progress:
    """The progress of a run; a checkpoint holds it with the weights and the random states."""

    total_steps: int
    steps_per_epoch: int
    report_every: int  # steps between entries of the history
    step: int = 0  # of the run
    losses: list[float] = field(default_factory=list)  # since the last entry of the history
    history: list[dict] = field(default_factory=list)
    best: dict | None = None
    best_model: dict[str, Tensor] | None = None
    seconds: float = 0.0

    @property
    def epoch(self) -> int:
        """The epoch of the next step, from 1."""
        return self.step // self.steps_per_epoch + 1

    @property
    def done(self) -> bool:
        return self.step >= self.total_steps

    def add_entry(self, rate: float, error: float | None) -> bool:
        """Add an entry to the history; returns whether it is the best so far."""
        epoch = self.step / self.steps_per_epoch
        entry = {
            "epoch": int(epoch) if epoch == int(epoch) else round(epoch, 2),
            "step": self.step,
            "total_steps": self.total_steps,
            "train_loss": math.fsum(self.losses) / len(self.losses),  # since the last entry
            "learning_rate": rate,
            "validation_mpjpe_mm": error,
            "seconds": round(self.seconds, 3),
        }
        self.history.append(entry)
        self.losses.clear()
        best = None if self.best is None else self.best["validation_mpjpe_mm"]
        if error is not None and best is not None and error >= best:
            return False
        self.best = entry  # also if the best so far is NaN
        return True

    def __str__(self) -> str:
        loss = self.losses[-1] if self.losses else self.history[-1]["train_loss"]
        text = f"epoch {self.step / self.steps_per_epoch:.1f}, loss {loss:.4f}"
        error = self.history[-1]["validation_mpjpe_mm"] if self.history else None
        return text if error is None else f"{text}, validation {error:.1f} mm MPJPE"

    def message_on_leaving(self, out: Path | None) -> str:
        """The last line after Ctrl-C."""
        held = f"its weights at step {self.step:,}"
        if self.best_model is not None:
            error = self.best["validation_mpjpe_mm"]
            held = f"the best so far, epoch {self.best['epoch']} with {error:.1f} mm MPJPE"
        more = f"; the same call again resumes from the last checkpoint in {out}" if out and self.history else ""
        return f"stopped by hand after {self.step / self.steps_per_epoch:.3g} epochs: the model keeps {held}{more}"


@dataclass(eq=False, repr=False)
class Run:
    """The result of `fit`.

    Args:
        model: trained; holds the weights of the best epoch, or of the last (`keep`).
        recipe: as used; if it was given in minutes, `record["planned_steps"]` holds the number of steps.
        history: one dict per epoch (at least ten in all for a run in steps or minutes) with epoch, step, total_steps,
            train_loss, learning_rate, validation_mpjpe_mm (None without validation), and seconds since the start.
        best: the entry of `history` with the lowest validation error, or the last one without validation; None if
            no epoch was finished.
        interrupted: whether it was stopped by Ctrl-C.
        record: the contents of run.json.
        out: the run's folder, if it has one.
    """

    model: Lifter
    recipe: Recipe
    history: list[dict] = field(default_factory=list)
    best: dict | None = None
    interrupted: bool = False
    record: dict = field(default_factory=dict)
    out: Path | None = None

    def _head(self) -> str:
        done = self.history[-1] if self.history else {"epoch": 0, "step": 0}
        text = f"{self.model.name} by recipe {self.recipe.name!r}: {done['epoch']:g} epochs, {done['step']:,} steps"
        if self.interrupted:
            text += ", interrupted"
        if self.best:
            text += f"; best epoch {self.best['epoch']}"
            if self.best["validation_mpjpe_mm"] is not None:
                text += f", {self.best['validation_mpjpe_mm']:.1f} mm MPJPE on {self.record['validation']['used']}"
        return text

    def _rows(self, most: int = 8) -> list[list[str]]:
        step = max(1, -(-len(self.history) // most))
        shown = [entry for i, entry in enumerate(self.history, 1) if i % step == 0 or i in (1, len(self.history))]
        rows = [["epoch", "step", "train loss", "validation mm MPJPE", "learning rate", "seconds"]]
        for entry in shown:
            error = entry["validation_mpjpe_mm"]
            rows.append(
                [
                    str(entry["epoch"]),
                    str(entry["step"]),
                    f"{entry['train_loss']:.5f}",
                    "-" if error is None else f"{error:.1f}",
                    f"{entry['learning_rate']:.2e}",
                    f"{entry['seconds']:.0f}",
                ]
            )
        return rows

    def __repr__(self) -> str:
        return "\n".join([self._head(), *text_table(self._rows())])

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self._head())}</p>{html_table(self._rows())}"


def describe(job: Job, state: Progress) -> dict:
    """The contents of run.json before the first step."""

    def about(data: DeviceDataset, most: int) -> dict:
        used = {"used": f"{min(len(data), most):,} of {len(data):,} frames"}
        return {"name": data.name, "clips": len(data.clips), "digest": data.digest()} | used

    model, recipe = job.model, job.recipe
    parameters = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return {
        "format": "mocap3d run 1",
        "recipe": asdict(recipe),
        "seed": job.seed,
        "keep": job.keep,
        "model": {"name": model.name, "class": type(model).__name__, "parameters": parameters},
        "train": about(job.train, len(job.train)),
        "validation": None if job.validation is None else about(job.validation, VALIDATION_FRAMES),
        "planned_steps": state.total_steps,
        "steps_per_epoch": state.steps_per_epoch,
        "processes": job.processes,
    } | (job.objective.describe() if job.objective else {})


def outcome(state: Progress, interrupted: bool) -> dict:
    """The results for run.json."""
    return {
        "steps": state.step,
        "seconds": round(state.seconds, 3),
        "done": state.done,
        "interrupted": interrupted,
        "best": state.best,
        "history": list(state.history),
    }


def in_words(seconds: float) -> str:
    """A duration in a readable unit."""
    for size, unit in ((3600, "hours"), (60, "minutes")):
        if seconds > 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
