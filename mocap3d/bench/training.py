"""Train the rows of the published table, at three sizes, one JSON record a run.

    full    the published network by its published recipe; MotionBERT by its authors' (MMPose only converted weights).
            Finetuned rows pretrain first, on the same clips, noisy and masked, where published used more data
    small   fewer channels, our own recipes, minutes on a CPU; the input normalised (normalise="ray"), which the
            published networks do not do, except in the semi-supervised rows
    ci      toy networks and two steps of the published recipe: a test that it runs; its numbers mean nothing

Trained on a data set's training clips with the row's kind of 2D (simulated detections, where the data has none),
measured on its test clips under the row's protocol. The weights are those of the last step.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from mocap3d.bench import records, zoo
from mocap3d.data.dataset import PoseDataset
from mocap3d.data.loading import load_dataset
from mocap3d.models.create import create_model
from mocap3d.models.videopose3d import PoseAndTrajectory
from mocap3d.training.fit import fit
from mocap3d.training.recipe import RECIPES, Recipe
from mocap3d.training.run import Run
from mocap3d.training.semi_supervised import fit_semi_supervised, label_subset

SIZES = ("full", "small", "ci")
DATA = ("open-mocap", "synthetic", "h36m")
MINUTES = 3.0  # of a small run, unless given
LABELLED = 0.1  # of S1, in the semi-supervised rows
MASKED = {"mask_joints": 0.05, "mask_frames": 0.1, "detector": "sh"}  # as published for pretraining
WINDOWS = replace(RECIPES["quick_temporal"], minutes=None, steps=3000, balance=0.5)
APART = replace(
    RECIPES["quick_clips"], minutes=None, steps=1500, balance=0.5,
    batch_size=18, clip_frames=9, clip_step=3, clip_stride=3, terms={"velocity": 2 / 3},
)  # fmt: skip
CONSECUTIVE = replace(RECIPES["quick_clips"], minutes=None, steps=500, balance=0.5, learning_rate=5e-4)
TINY = {"channels": 64, "mlp_ratio": 2, "representation": 128, "depth": 3, "heads": 4, "frames": 27}
SMALL = {
    "simple_baseline": {"channels": 512, "dropout": 0.0625, "normalise": "ray"},
    "simple_baseline_mmpose": {"channels": 512, "dropout": 0.0625, "normalise": "ray"},
    "videopose3d_1": {"channels": 512, "dropout": 0.0625, "normalise": "ray"},
    "videopose3d_27": {"channels": 256, "dropout": 0.0625, "normalise": "ray"},
    "videopose3d_81": {"channels": 128, "dropout": 0.0625, "normalise": "ray"},
    "videopose3d_243": {"channels": 128, "dropout": 0.0625, "normalise": "ray"},
    "motionbert": {**TINY, "image_space": False, "init": "fan_in", "normalise": "ray"},
    "motionbert_tiny": {"frames": 27, "image_space": False, "init": "fan_in", "normalise": "ray"},
}


def plan(row: zoo.Row, size: str, minutes: float | None = None) -> tuple[dict, list[Recipe]]:
    """Options of `create_model`, and the recipes of a row at a size, one after the other; `minutes` of them all."""
    tuned, clips, semi = "finetuned" in row.name, row.model == "motionbert", "semi" in row.name
    if size == "small":
        options = {"channels": 64, "dropout": 0.05} if semi else SMALL[row.model]
        recipes = [replace(WINDOWS, batch_size=64) if semi else WINDOWS]
        if clips:
            recipes = [APART, CONSECUTIVE]
        if tuned:
            recipes = [replace(APART, steps=750, **MASKED), replace(APART, steps=750), CONSECUTIVE]
        minutes = minutes or MINUTES
    else:
        names = ["motionbert_pretrain", "motionbert_finetune"] if tuned else ["motionbert" if clips else row.recipe]
        options, recipes = {}, [RECIPES[name] for name in names]
    if size == "ci":
        options = {"channels": 16} | ({"depth": 1, "heads": 2, "representation": 16, "frames": 27} if clips else {})
        recipes = [replace(recipe, epochs=None, steps=2, batch_size=4) for recipe in recipes]
    if row.pose2d != "gt":  # noise on top of detections would match no detector
        recipes = [replace(recipe, detector=None) for recipe in recipes]
    if minutes is not None:
        lengths = [recipe.epochs or recipe.steps for recipe in recipes]
        recipes = [
            replace(recipe, epochs=None, steps=None, minutes=minutes * length / sum(lengths))
            for recipe, length in zip(recipes, lengths, strict=True)
        ]
    return options, recipes


def train_row(
    name: str,
    data: str = "open-mocap",
    size: str = "small",
    minutes: float | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
    root: str | Path | None = None,
    out: str | Path = zoo.RUNS,
    progress: bool = True,
) -> dict | None:
    """Train and measure one row; a run that was broken off continues, and one that has a record is not repeated.

    Args:
        name: of the row.
        data: "open-mocap", "synthetic" or "h36m".
        size: "full", "small" or "ci", see above.
        minutes: of training, in place of the recipe's length.
        seed: of weights, frame order and labels.
        device: see `fit`; under torchrun all processes train together, except in the semi-supervised rows.
        root: folder of the data, see `load_dataset`.
        out: folder of the record; checkpoints are in a folder of the record's name.
        progress: see `fit`.
    Returns:
        the record; None in all processes but the first.
    Raises:
        ZooError, DatasetError, TrainingError, CheckpointError: for what cannot be trained.
        KeyboardInterrupt: after Ctrl-C; the same call goes on from the last checkpoint.
    """
    row = zoo.get(name)
    for value, known in ((data, DATA), (size, SIZES)):
        if value not in known:
            raise zoo.ZooError(f"got {value!r}; give one of {', '.join(known)}")
    title = f"zoo-{name}-{data}-{size}-{seed}"
    if (done := records.read(out, title)) is not None:
        return done
    (options, recipes), dataset = plan(row, size, minutes), _load(row, data, root)
    if size == "ci":  # the longest clip of each subject
        longest = {clip.subject: clip for clip in sorted(dataset, key=len)}
        dataset = replace(dataset, clips=tuple(longest.values()))
    torch.manual_seed(seed)
    model, runs = create_model(row.model, **options), []
    for number, recipe in enumerate(recipes, 1):
        how = {"device": device, "seed": seed, "out": Path(out) / title / str(number), "keep": "last"}
        runs.append(_fit(row, model, dataset.train, recipe, progress=progress, **how))
        if runs[-1].interrupted:
            raise KeyboardInterrupt
    if os.environ.get("RANK", "0") != "0":
        return None
    done = zoo.judge(row, model, dataset)
    _write(out, title, row, size, options, runs, done)
    return records.read(out, title)


def _load(row: zoo.Row, data: str, root: str | Path | None) -> PoseDataset:
    if data == "h36m":
        root = root or os.environ.get("MOCAP3D_H36M")
        if not root:
            raise zoo.ZooError("h36m needs its files: give --root, or set MOCAP3D_H36M to their folder")
        return zoo.load_row_data(row, root)
    return load_dataset(data, root, row.pose2d)


def _fit(row: zoo.Row, model: nn.Module, train: PoseDataset, recipe: Recipe, **how: object) -> Run:
    if "semi" not in row.name:
        return fit(model, train, recipe, **how)
    labelled, unlabelled = label_subset(train, LABELLED, seed=how["seed"], subject="S1")
    return fit_semi_supervised(PoseAndTrajectory(model), labelled, unlabelled, recipe, **how)


def _write(
    out: str | Path, title: str, row: zoo.Row, size: str, options: Mapping, runs: list[Run], done: zoo.Reproduction
) -> None:
    report, records_of = done.report, [run.record for run in runs]
    first = records_of[0]
    steps = [f"{record['steps']:,} steps of {record['recipe']['name']}" for record in records_of]
    network = f"{row.model}, {', '.join(f'{key}={value}' for key, value in options.items()) or 'as published'}"
    sources = {clip.source for clip in report.clips}
    records.write(
        out, title,
        data=f"train {first['train']['digest']}, test {report.digest}",
        protocol=str(report.protocol),
        size=f"{network}, {first['model']['parameters']:,} parameters; {' then '.join(steps)}; wall seconds",
        seed=first["seed"],
        seconds=sum(record["seconds"] for record in records_of),
        numbers={key: round(value, 2) for key, value in done.measured.items()},
        row=row.name,
        dataset=zoo.real_name(sources) if report.dataset == "h36m" else report.dataset,
        kind=size,
        device=first["device_name"],
        threads=first["threads"],
        processes=first["processes"],
        recipes=[record["recipe"] for record in records_of],
    )  # fmt: skip
