"""Is it worth pretraining MotionBERT? Pretrained and finetuned against from scratch, at one total budget.

    MOCAP3D_DATA=data python benchmarks/pretraining.py --out runs pretrained-0 scratch-0      train and judge these rows
    MOCAP3D_DATA=data python benchmarks/pretraining.py --out runs                             all rows, those missing
    MOCAP3D_DATA=data python benchmarks/pretraining.py --out runs --table                     what is there, as a table

Labelled are every tenth recording of open-mocap's training part, others for each seed. "scratch" is motionbert_tiny
trained on those alone. "pretrained" first sees the built-in motion with 3D, noisy and masked, and after a third of it
also simulated detections of the other nine tenths without any 3D; then the labelled ones, in fewer steps. A clip that
goes through the network counts the same in both: 1,700 batches of 4 in all. The 2D is detected throughout (simulated
hourglass; in training its noise is new each epoch), and image space is carried to metres with the true place of the
root. Two more rows leave pretraining out of the budget, as most papers do: "shipped" finetunes the network that comes
with the package, pretrained five times as long, and "short" trains a new one, both for the steps of finetuning. Each
network is judged as its last step leaves it. One row is one process's work; a killed one goes on from its
checkpoint.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path

import numpy as np
import torch
from seeds import spread

import mocap3d
from mocap3d.evaluation.report import text_table
from mocap3d.files import write_whole
from mocap3d.training.pretraining import pretrain

PRETRAINING, FINETUNING, AFTER = 600, 700, 1 / 3  # steps; from AFTER on a step of pretraining is two batches
SCRATCH = FINETUNING + round(PRETRAINING * (1 + (1 - AFTER)))
CLIPS = dataclasses.replace(mocap3d.RECIPES["quick_clips"], minutes=None, steps=SCRATCH, detector="sh")
HOW = ("scratch", "pretrained", "short", "shipped")
ROWS = [f"{how}-{seed}" for seed in range(3) for how in HOW]


def split(dataset: mocap3d.PoseDataset, seed: int) -> tuple[mocap3d.PoseDataset, mocap3d.PoseDataset]:
    """Every tenth recording, and the others."""
    recordings = sorted({clip.recording for clip in dataset})
    chosen = set(recordings[seed::10])
    return tuple(
        dataclasses.replace(dataset, clips=tuple(c for c in dataset if (c.recording in chosen) is labelled))
        for labelled in (True, False)
    )


def run(row: str, dataset: mocap3d.PoseDataset, out: Path) -> None:
    """Train and judge one row; its numbers go into out/row.json."""
    how, seed = row.split("-")
    seed = int(seed)
    labelled, others = split(dataset.train, seed)
    torch.manual_seed(seed)
    model = mocap3d.load_shipped("pretrained") if how == "shipped" else mocap3d.create_model("motionbert_tiny")
    options = {"seed": seed, "keep": "last", "progress": False}
    started = time.process_time()
    recipe = CLIPS if how == "scratch" else dataclasses.replace(CLIPS, steps=FINETUNING)
    if how == "pretrained":
        built_in = mocap3d.load_dataset("synthetic").train
        video = others.with_detections("sh", seed=seed)
        noisy = dataclasses.replace(CLIPS, steps=PRETRAINING, mask_joints=0.05, mask_frames=0.1)
        pretrain(model, built_in, video, noisy, after=AFTER, out=out / f"{row}-first", **options)
    mocap3d.fit(model, labelled, recipe, out=out / row, **options)
    seconds = time.process_time() - started
    report = mocap3d.evaluate(model, dataset.with_detections("sh", seed=0).test, "open-mocap")
    numbers = report.summary | {
        "by_source": {source: values["mpjpe_mm"] for source, values in report.by_source.items()},
        "labelled": labelled.frames,
        "cpu_seconds": seconds,
        "protocol": str(report.protocol),
    }
    write_whole(out / f"{row}.json", lambda part: part.write_text(json.dumps(numbers, indent=1)))
    print(f"{row}: {numbers['mpjpe_mm']:.1f} mm MPJPE, {seconds:.0f} CPU s", flush=True)


def table(out: Path) -> None:
    """Print each seed, and mean and spread over seeds, of what is there."""
    keys = ("mpjpe_mm", "p_mpjpe_mm", "n_mpjpe_mm", "mpjve_mm")
    lines, found = [], {}
    for how in HOW:
        paths = sorted(out.glob(f"{how}-?.json"))
        found[how] = {path.stem[-1]: json.loads(path.read_text()) for path in paths}
        for seed, numbers in found[how].items():
            lines.append([how, seed, *(f"{numbers[key]:.1f}" for key in keys), _minutes([numbers])])
        if found[how]:
            runs = list(found[how].values())
            lines.append([how, "all", *(spread([r[key] for r in runs]) for key in keys), _minutes(runs)])
    for without, with_it in (("scratch", "pretrained"), ("short", "shipped")):
        both = sorted(found[without].keys() & found[with_it].keys())
        if both:
            gains = [spread([found[without][s][k] - found[with_it][s][k] for s in both]) for k in keys]
            lines.append([f"gain over {without}", "by seed", *gains, ""])
    head = ["", "seed", "MPJPE mm", "P-MPJPE mm", "N-MPJPE mm", "MPJVE mm/frame", "CPU min"]
    print("\n".join(text_table([head, *lines])))
    print(CLIPS)


def _minutes(runs: list[dict]) -> str:
    return f"{np.mean([run['cpu_seconds'] for run in runs]) / 60:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", help="rows such as scratch-0 (default: all)")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints and numbers")
    parser.add_argument("--table", action="store_true", help="only print what is there")
    arguments = parser.parse_args()
    if wrong := [row for row in arguments.rows if row not in ROWS]:
        parser.error(f"no row {wrong[0]!r}; there are: {', '.join(ROWS)}")
    if not arguments.table:
        dataset = mocap3d.load_dataset("open-mocap")
        for row in arguments.rows or ROWS:
            if not (arguments.out / f"{row}.json").exists():
                run(row, dataset, arguments.out)
    table(arguments.out)


if __name__ == "__main__":
    main()
