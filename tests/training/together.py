"""What the processes of test_distributed.py do: `torchrun -m tests.training.together FOLDER [ctrl-c]`."""

from __future__ import annotations

import math
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mocap3d.training.augmentation import TrainingError
from mocap3d.training.fit import fit
from mocap3d.training.recipe import Recipe
from tests.toys import ToyLifter, sticks

TOY = Recipe("toy", "adamw", 3e-3, "cosine", warmup=0.1, batch_size=27, epochs=3, gradient_clip=1.0, flip=True)
RANK = int(os.environ.get("RANK", 0))


def clips():
    """516 frames, so that batches of 27 leave 3; joints are unknown here and there."""
    whole = sticks(takes=3, frames=40)
    kept = []
    for k, clip in enumerate(whole):
        points = clip.pose3d.points.copy()
        points[np.random.default_rng(k).random(points.shape[:2]) < 0.3] = np.nan
        points[:, 0] = clip.pose3d.points[:, 0]
        kept.append(replace(clip, pose3d=replace(clip.pose3d, points=points)))
    return replace(whole, clips=tuple(kept))


def joint(loss: str, accumulate: int):
    """A model that sees windows one by one, so that it cannot tell how many others are there."""
    torch.manual_seed(RANK)  # the first process's weights count
    model = ToyLifter(dropout=0.0, norm=nn.LayerNorm)
    test = sticks(takes=1, frames=30, seed=1, split="test")
    return fit(model, clips(), replace(TOY, loss=loss, accumulate=accumulate), test, "cpu", progress=False)


def batch_norm(out: Path | None = None, stop: bool = False):
    def callback(entry):
        if stop and entry["epoch"] == 2:
            raise KeyboardInterrupt

    torch.manual_seed(0)
    options = {"device": "cpu", "out": out, "callback": callback, "progress": False, "keep": "last"}
    return fit(ToyLifter(), clips(), replace(TOY, batch_size=32), **options)


class Diverging(ToyLifter):
    """Its loss becomes NaN in the second process, in the 27th step."""

    steps = 0

    def forward(self, x):
        self.steps += self.training
        return super().forward(x) * (math.nan if self.steps == 27 and RANK == 1 else 1)


def refusal(*args, **options) -> str:
    try:
        fit(*args, device="cpu", progress=False, **options)
    except TrainingError as error:
        return str(error)
    return "none"


def contents(run) -> dict:
    return {
        "model": run.model.state_dict(),
        "interrupted": run.interrupted,
        "processes": run.record["processes"],
        "kind": type(run.model).__name__,
        "losses": [entry["train_loss"] for entry in run.history],
        "errors": [entry["validation_mpjpe_mm"] for entry in run.history],
    }


def main(out: Path) -> None:
    runs = {f"{loss} {parts}": joint(loss, parts) for loss, parts in (("mse", 1), ("mse", 3), ("mpjpe", 2))}
    runs["whole"] = batch_norm()
    runs["stopped"] = batch_norm(out / "run", stop=True)
    runs["rest"] = batch_norm(out / "run")
    found = {name: contents(run) for name, run in runs.items()}
    found["nan"] = refusal(Diverging(), clips(), TOY)
    found["seeds"] = refusal(ToyLifter(), clips(), TOY, seed=RANK)
    torch.save(found, out / f"{RANK}.pt")


def until_ctrl_c(out: Path) -> None:
    def callback(entry):
        (out / "training").touch()
        time.sleep(0.02)

    run = fit(ToyLifter(), clips(), replace(TOY, epochs=100_000), device="cpu", progress=False, callback=callback)
    torch.save({"epochs": len(run.history), **contents(run)}, out / f"{RANK}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    until_ctrl_c(folder) if sys.argv[2:] else main(folder)
