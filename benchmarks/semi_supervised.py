"""What unlabelled video is worth when a tenth, or a hundredth, of the recordings is labelled, on open-mocap.

    MOCAP3D_DATA=data OMP_NUM_THREADS=1 python benchmarks/semi_supervised.py            trains what has no record yet
    MOCAP3D_DATA=data OMP_NUM_THREADS=1 python benchmarks/semi_supervised.py --table    prints the records

A row is percent-how-seed. That share of each source's recordings is labelled (one at least, others for each seed); the
rest are video: detected 2D and the camera, no 3D. VideoPose3D-27 of 128 channels, 1,500 steps of 64 labelled windows,
the same ones in the same order for all rows of one share and seed:

    sup     on the labelled recordings alone, screen units
    semi    the same, and a trajectory network; with 64 windows of video a step, bone lengths compared within a source
    ray     as sup, with the 2D read in a virtual camera that looks at the pelvis (normalise="ray")
    sup4, semi4    four times the steps, 1 % labelled: are there too few?

Simulated CPN detections, drawn once for each seed: a real detector's errors in a given video are what they are, too.
Columns as in benchmarks/learning.py; all weights are those of the last step.
"""

from __future__ import annotations

import dataclasses
import time
from functools import cache

import numpy as np
import records
import torch
from learning import FRAMES
from seeds import spread

import mocap3d
from mocap3d.evaluation.report import text_table
from mocap3d.models.videopose3d import PoseAndTrajectory
from mocap3d.training.semi_supervised import SemiSupervised, fit_semi_supervised, without_labels

RECIPE = dataclasses.replace(FRAMES, steps=1500, batch_size=64)
SEMI = SemiSupervised(warmup=0.05, same_source=True)
HOW = {10: ("sup", "semi", "ray"), 1: ("sup", "semi", "ray", "sup4", "semi4")}
ROWS = [f"{percent}-{how}-{seed}" for seed in range(3) for percent in HOW for how in HOW[percent]]


@cache
def data() -> mocap3d.PoseDataset:
    """Loaded once for all rows."""
    return mocap3d.load_dataset("open-mocap", hold_out="recordings")


@cache
def judged_on() -> mocap3d.PoseDataset:
    """The test columns, as the simulated detector sees them."""
    parts = dataclasses.replace(data(), clips=(*data().test, *data().known))
    return parts.with_detections("cpn", seed=0)


def split(dataset: mocap3d.PoseDataset, share: float, seed: int) -> tuple[mocap3d.PoseDataset, mocap3d.PoseDataset]:
    """A share of each source's recordings, and the others without 3D."""
    rng, chosen = np.random.default_rng(seed), set()
    for source in dataset.sources:
        recordings = sorted({clip.recording for clip in dataset if clip.source == source})
        chosen |= set(rng.permutation(recordings)[: max(round(share * len(recordings)), 1)])
    labelled = tuple(clip for clip in dataset if clip.recording in chosen)
    video = tuple(without_labels(clip) for clip in dataset if clip.recording not in chosen)
    return dataclasses.replace(dataset, clips=labelled), dataclasses.replace(dataset, clips=video)


def run(row: str) -> None:
    """Train and evaluate one row; writes its record."""
    percent, how, seed = row.split("-")
    labelled, video = split(data().train, int(percent) / 100, int(seed))
    labelled = labelled.with_detections("cpn", seed=int(seed))
    video = video.with_detections("cpn", seed=int(seed)) if how.startswith("semi") else None
    recipe = dataclasses.replace(RECIPE, steps=4 * RECIPE.steps) if how.endswith("4") else RECIPE
    torch.manual_seed(int(seed))
    normalise = "ray" if how == "ray" else "published"
    model = mocap3d.create_model("videopose3d_27", channels=128, dropout=0.0625, normalise=normalise)
    options, started = {"seed": int(seed), "keep": "last", "progress": False}, time.process_time()
    if how.startswith("semi"):
        model = PoseAndTrajectory(model)
        fit_semi_supervised(model, labelled, video, recipe, semi=SEMI, **options)
    else:
        mocap3d.fit(model, labelled, recipe, **options)
    seconds = time.process_time() - started
    test, known = (mocap3d.evaluate(model, part, "open-mocap") for part in (judged_on().test, judged_on().known))
    numbers = records.means(new=test, known=known)
    records.write(
        f"semi-supervised-{row}", data=test.digest, protocol=str(test.protocol), seed=int(seed), seconds=seconds,
        size=f"{model.name}, 128 channels, {recipe.steps} steps, {labelled.frames:,} labelled frames of "
        f"{len({clip.recording for clip in labelled})} recordings, CPU seconds of training",
        numbers=numbers,
    )  # fmt: skip
    print(f"{row}: {[numbers[column]['mpjpe_mm'] for column in numbers]}, {seconds:.0f} CPU s", flush=True)


def table() -> None:
    """Print mean and spread over seeds of what has records; MPJPE in mm, and P-MPJPE of new motion."""
    lines = []
    for percent, ways in HOW.items():
        for how in ways:
            found = [records.read(f"semi-supervised-{percent}-{how}-{seed}") for seed in range(3)]
            if found := [record for record in found if record]:
                columns = [("known", "mpjpe_mm"), ("known", "p_mpjpe_mm"), ("new", "mpjpe_mm"), ("new", "p_mpjpe_mm")]
                cells = [spread([record["numbers"][column][key] for record in found]) for column, key in columns]
                minutes = sum(record["seconds"] for record in found) / 60 / len(found)
                lines.append([f"{percent} %", how, *cells, str(len(found)), f"{minutes:.1f}"])
    heads = ["labelled", "how", "known", "P-MPJPE known", "new", "P-MPJPE new", "seeds", "CPU min"]
    print("\n".join(text_table([heads, *lines])))


if __name__ == "__main__":
    records.run_rows(__doc__, ROWS, "semi-supervised", run, table)
