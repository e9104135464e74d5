"""Is it worth pretraining MotionBERT? Pretrained and finetuned against from scratch, with few labels, on open-mocap.

    MOCAP3D_DATA=data OMP_NUM_THREADS=1 python benchmarks/pretraining.py            trains what has no record yet
    MOCAP3D_DATA=data OMP_NUM_THREADS=1 python benchmarks/pretraining.py --table    prints the records

DSTFormer-tiny in the form and with the first recipe of benchmarks/learning.py, from simulated CPN detections, in
training anew each epoch. Labelled are every tenth, or every hundredth, recording of the training part, others for each
seed. Rows are network-percent-seed:

    first       pretraining alone, no labels: the built-in motion with 3D, noisy and masked, and after a third of the
                run also detections of the training recordings without any 3D
    pretrained  the same, finetuned on the labelled recordings
    scratch     trained on the labelled recordings alone, as many batches as both stages together
    short       the same, only as many as finetuning: what "pretrained" is compared with if pretraining is for free

A batch that goes through the network counts the same everywhere. Columns as in benchmarks/learning.py, through one of
the four cameras. Pretrained weights stay in runs/pretraining, so that other percentages do not repeat them.
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import records
import torch
from learning import APART, MODELS
from seeds import spread
from torch import nn

import mocap3d
from mocap3d.evaluation.report import text_table

PRETRAINING, FINETUNING, AFTER = 144, 160, 1 / 3  # steps; from AFTER on a step of pretraining is two batches
SCRATCH = FINETUNING + round(PRETRAINING * (1 + (1 - AFTER)))
DETECTED = dataclasses.replace(APART, detector="cpn")
STEPS = {"pretrained": FINETUNING, "scratch": SCRATCH, "short": FINETUNING}
SHARES, CAMERA = (10, 1), "55011271"
ROWS = [
    row
    for share in SHARES
    for seed in range(3)
    for row in ([f"first-0-{seed}"] if share == SHARES[0] else []) + [f"{how}-{share}-{seed}" for how in STEPS]
]
RUNS = Path("runs/pretraining")


def labelled(dataset: mocap3d.PoseDataset, percent: int, seed: int) -> mocap3d.PoseDataset:
    """So many percent of the recordings, evenly spread, others for each seed."""
    chosen = set(sorted({clip.recording for clip in dataset})[seed :: 100 // percent])
    return dataclasses.replace(dataset, clips=tuple(clip for clip in dataset if clip.recording in chosen))


def new_network(seed: int) -> nn.Module:
    """DSTFormer-tiny as in benchmarks/learning.py."""
    torch.manual_seed(seed)
    return mocap3d.create_model("motionbert_tiny", normalise="ray", **MODELS["motionbert_tiny"][0])


def pretrained(dataset: mocap3d.PoseDataset, seed: int) -> nn.Module:
    """A pretrained network; one that lies in RUNS is not trained again."""
    recipe = dataclasses.replace(DETECTED, steps=PRETRAINING, mask_joints=0.05, mask_frames=0.1)
    built_in = [*mocap3d.load_dataset("synthetic").train, *mocap3d.load_dataset("synthetic", actions="wide").train]
    video = dataset.train.with_detections("cpn", seed=seed)
    options = {"seed": seed, "keep": "last", "progress": False, "out": RUNS / str(seed)}
    return mocap3d.pretrain(new_network(seed), built_in, video, recipe, after=AFTER, **options).model


def run(row: str) -> None:
    """Train and evaluate one row; writes its record."""
    how, share, seed = row.split("-")
    share, seed = int(share), int(seed)
    dataset = mocap3d.load_dataset("open-mocap", hold_out="recordings")
    started = time.process_time()
    model = new_network(seed) if how in ("scratch", "short") else pretrained(dataset, seed)
    if how != "first":
        started = time.process_time()
        recipe = dataclasses.replace(DETECTED, steps=STEPS[how])
        few = labelled(dataset.train, share, seed)
        mocap3d.fit(model, few, recipe, seed=seed, keep="last", progress=False)
    seconds = time.process_time() - started
    seen = dataset.select(camera=CAMERA).with_detections("cpn", seed=0)
    test, known = (mocap3d.evaluate(model, part, "open-mocap") for part in (seen.test, seen.known))
    numbers = records.means(new=test, known=known)
    records.write(
        f"pretraining-{row}", data=test.digest, protocol=str(test.protocol), seed=seed, seconds=seconds,
        size=f"{model.name}, {STEPS.get(how, PRETRAINING)} steps, camera {CAMERA}, CPU seconds of this stage",
        numbers=numbers,
    )  # fmt: skip
    print(f"{row}: {[numbers[c]['mpjpe_mm'] for c in ('known', 'new')]}, {seconds:.0f} CPU s", flush=True)


def table() -> None:
    """Print mean and spread over seeds of what has records; MPJPE / P-MPJPE in mm, then MPJVE in mm per frame."""
    lines = []
    for how, share in dict.fromkeys(tuple(row.split("-")[:2]) for row in ROWS):
        found = [records.read(f"pretraining-{how}-{share}-{seed}") for seed in range(3)]
        if found := [record for record in found if record]:
            cells = [
                " / ".join(spread([r["numbers"][column][key] for r in found]) for key in ("mpjpe_mm", "p_mpjpe_mm"))
                for column in ("known", "new")
            ]
            jitter = spread([record["numbers"]["new"]["mpjve_mm"] for record in found])
            minutes = sum(record["seconds"] for record in found) / 60 / len(found)
            lines.append([how, f"{share} %", *cells, jitter, str(len(found)), f"{minutes:.1f}"])
    print("\n".join(text_table([["", "labels", "known", "new", "MPJVE new", "seeds", "CPU min"], *lines])))


if __name__ == "__main__":
    records.run_rows(__doc__, ROWS, "pretraining", run, table)
