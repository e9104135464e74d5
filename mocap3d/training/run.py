"""What a training run leaves: the model, and how it got there."""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from torch import Tensor, nn

from mocap3d.data.windows import DeviceDataset, steps_in_epoch
from mocap3d.evaluation.report import html_table, text_table
from mocap3d.training.distributed import Workers
from mocap3d.training.recipe import Recipe

VALIDATION_FRAMES = 8192  # looked at after each epoch


@dataclass(frozen=True, eq=False)
class Job:
    """What is asked for: together these decide every number of a run.

    Args:
        pieces: (P, C) rows of `train`: what is learnt from one by one, if the model lifts whole clips.
        objective: what steps descend on instead of the recipe's loss; see `fit`.
        workers: the processes that share the work.
    """

    model: nn.Module
    train: DeviceDataset
    validation: DeviceDataset | None
    recipe: Recipe
    seed: int
    keep: str
    pieces: Tensor | None = None
    objective: Callable | None = None
    workers: Workers = Workers()

    @property
    def examples(self) -> int:
        """Windows or pieces in an epoch."""
        return len(self.train) if self.pieces is None else len(self.pieces)

    @property
    def steps_per_epoch(self) -> int:
        return steps_in_epoch(self.examples, self.recipe.batch_size)


@dataclass
class Progress:
    """Where a run stands; with the weights and the random states, all that a checkpoint holds."""

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
        """The epoch that the next step belongs to, from 1."""
        return self.step // self.steps_per_epoch + 1

    @property
    def done(self) -> bool:
        return self.step >= self.total_steps


@dataclass(eq=False, repr=False)
class Run:
    """The result of `fit`.

    Args:
        model: trained; holds the weights of the best epoch, or of the last (`keep`).
        recipe: as used; if it said minutes, `record["planned_steps"]` says the steps they became.
        history: one dict an epoch (of a run in steps or minutes: at least ten in all) with epoch, step, train_loss,
            learning_rate, validation_mpjpe_mm (None without validation), and seconds since the start.
        best: the entry of `history` with the lowest validation error, or the last one without validation; None if
            no epoch was finished.
        interrupted: whether it was stopped by hand.
        record: what run.json holds.
        out: the run's folder, if it has one.
    """

    model: nn.Module
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
        shown = [
            entry for i, entry in enumerate(self.history, 1) if i % step == 0 or i in (1, len(self.history))
        ]
        rows = [["epoch", "step", "train loss", "validation mm MPJPE", "learning rate", "seconds"]]
        for entry in shown:
            error = entry["validation_mpjpe_mm"]
            rows.append([
                str(entry["epoch"]), str(entry["step"]), f"{entry['train_loss']:.5f}",
                "-" if error is None else f"{error:.1f}", f"{entry['learning_rate']:.2e}", f"{entry['seconds']:.0f}",
            ])  # fmt: skip
        return rows

    def __repr__(self) -> str:
        return "\n".join([self._head(), *text_table(self._rows())])

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self._head())}</p>{html_table(self._rows())}"


def describe(job: Job, state: Progress) -> dict:
    """What run.json says before the first step."""

    def about(data: DeviceDataset, most: int) -> dict:
        used = f"{min(len(data), most):,} of {len(data):,} frames"
        return {"name": data.name, "clips": len(data.clips), "digest": data.digest(), "used": used}

    model, recipe = job.model, job.recipe
    parameters = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return {
        "format": "mocap3d run 1", "recipe": asdict(recipe), "seed": job.seed, "keep": job.keep,
        "model": {"name": model.name, "class": type(model).__name__, "parameters": parameters},
        "train": about(job.train, len(job.train)),
        "validation": None if job.validation is None else about(job.validation, VALIDATION_FRAMES),
        "planned_steps": state.total_steps, "steps_per_epoch": state.steps_per_epoch,
        "processes": job.workers.count,
    } | (job.objective.describe() if job.objective else {})  # fmt: skip


def outcome(state: Progress, interrupted: bool) -> dict:
    """What run.json says of how it went."""
    return {
        "steps": state.step, "seconds": round(state.seconds, 3), "done": state.done, "interrupted": interrupted,
        "best": state.best, "history": list(state.history),
    }  # fmt: skip


def postfix(state: Progress) -> str:
    """What the progress bar says."""
    loss = state.losses[-1] if state.losses else state.history[-1]["train_loss"]
    text = f"epoch {state.step / state.steps_per_epoch:.1f}, loss {loss:.4f}"
    error = state.history[-1]["validation_mpjpe_mm"] if state.history else None
    return text if error is None else f"{text}, validation {error:.1f} mm MPJPE"


def in_words(seconds: float) -> str:
    """A time in the unit a person would use."""
    for size, unit in ((3600, "hours"), (60, "minutes")):
        if seconds > 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def farewell(state: Progress, out: Path | None, keep: str) -> str:
    """What Ctrl-C is answered with."""
    if keep == "best" and state.best_model is not None:
        held = f"the best so far, epoch {state.best['epoch']} with {state.best['validation_mpjpe_mm']:.1f} mm MPJPE"
    else:
        held = f"its weights as of step {state.step:,}"
    more = f"; the same call again goes on from the last checkpoint in {out}" if out and state.history else ""
    return (
        f"stopped by hand after {state.step / state.steps_per_epoch:.3g} epochs: the model keeps {held}{more}"
    )
