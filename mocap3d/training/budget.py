"""Minutes -> steps: for a recipe given in minutes, steps are timed on this machine before the run starts."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch

from mocap3d.evaluation.predict import validation_error
from mocap3d.training.recipe import make_optimizer
from mocap3d.training.run import Job


def steps_in_minutes(job: Job, train_step: Callable, objective: Callable, entries: int, say: Callable) -> int:
    """The number of steps that fit in the recipe's minutes, printed with their cost.

    Args:
        job: the run; its model and the random states are not changed.
        train_step, objective: of the loop.
        entries: of the history, each with a validation.
        say: prints a line.
    """
    step, epoch, validation = _measure(job, train_step, objective)
    budget, per_epoch = 60 * job.recipe.minutes, job.steps_per_epoch
    steps = int((budget - entries * validation) / (step + epoch / per_epoch))
    if steps > entries * per_epoch:  # then it is validated once per epoch
        steps = int(budget / (step + (epoch + validation) / per_epoch))
    steps = max(steps, 1)
    say(
        f"{job.recipe.minutes:g} minutes are about {steps:,} steps here ({1000 * step:.1f} ms each, validation "
        f"{validation:.1f} s). For the same bits again, give steps={steps} in place of minutes"
    )
    return steps


def _measure(job: Job, train_step: Callable, objective: Callable) -> tuple[float, float, float]:
    """Seconds per step, per start of an epoch, and per validation, measured on a copy of the model."""
    device, recipe = job.train.device, job.recipe

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.monotonic()

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        trial = copy.deepcopy(job.model).train()
        optimizer, times = make_optimizer(trial, recipe), [now()]
        for step, batch in enumerate(job.batches(epoch=1), 1):
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
