"""The ladder in docs/RESULTS.md: what time is worth on recorded motion that no model here was trained on.

    MOCAP3D_DATA=data python benchmarks/time_ladder.py --out runs 27-gt-0 27-cpn-0       train and judge these rows
    MOCAP3D_DATA=data python benchmarks/time_ladder.py --out runs                        all rows, those missing
    MOCAP3D_DATA=data python benchmarks/time_ladder.py --out runs --table                what is there, as a table

A row is frames-2D-seed: VideoPose3D of 1, 27, 81 or 243 frames, trained and judged on true 2D ("gt") or on simulated
detections ("cpn"; in training the noise is drawn anew each epoch), the same number of updates for all. Frames may also
be "tiny", MotionBERT of 81 frames that says image space and is given the true place of the root when judged, or
"tiny_metric", the same network taught metres; they take fewer steps of clips, each of 4 times 81 poses. With --data
synthetic it is the built-in motion: there the people judged on are new, but move and are filmed as those learnt from.
Each network is judged as its last step leaves it. Learning rate and dropout come from nine trials judged on every tenth
recording of the training part, with 27 frames of true 2D and 1000 steps. One row is one process's work: several may run
side by side on one folder.
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

CHANNELS, DROPOUT, STEPS = 256, 0.0625, 4000
RECIPE = dataclasses.replace(mocap3d.RECIPES["quick_temporal"], minutes=None, steps=STEPS)
PROTOCOLS = {"open-mocap": "open-mocap", "synthetic": "videopose3d"}
CLIPS = dataclasses.replace(mocap3d.RECIPES["quick_clips"], minutes=None, steps=2000)  # of 4 x 81 poses
SEEDS = {"1": 3, "27": 3, "81": 3, "243": 1, "tiny": 1, "tiny_metric": 1}
ROWS = [
    f"{frames}-{pose2d}-{seed}"
    for seed in range(3)
    for pose2d in ("gt", "cpn")
    for frames in SEEDS
    if seed < SEEDS[frames]
]


def run(row: str, dataset: mocap3d.PoseDataset, protocol: str, out: Path) -> None:
    """Train and judge one row; its numbers go into out/row.json."""
    frames, pose2d, seed = row.split("-")
    seed = int(seed)
    torch.manual_seed(seed)
    if frames.startswith("tiny"):
        recipe, model = CLIPS, mocap3d.create_model("motionbert_tiny", image_space=frames == "tiny")
    else:
        recipe, model = (RECIPE, mocap3d.create_model(f"videopose3d_{frames}", channels=CHANNELS, dropout=DROPOUT))
    recipe = dataclasses.replace(recipe, detector=None if pose2d == "gt" else pose2d)
    started = time.process_time()
    mocap3d.fit(model, dataset.train, recipe, seed=seed, keep="last", progress=False, out=out / row)
    seconds = time.process_time() - started
    test = dataset.test if pose2d == "gt" else dataset.with_detections(pose2d, seed=0).test
    report = mocap3d.evaluate(model, test, protocol)
    numbers = {
        "by_source": {source: report.by_source[source]["mpjpe_mm"] for source in test.sources},
        "mpjpe_mm": report.mpjpe_mm,
        "p_mpjpe_mm": report.mean("p_mpjpe_mm"),
        "n_mpjpe_mm": report.mean("n_mpjpe_mm"),
        "mpjve_mm": report.mean("mpjve_mm"),
        "cpu_seconds": seconds,
        "protocol": str(report.protocol),
    }
    write_whole(out / f"{row}.json", lambda part: part.write_text(json.dumps(numbers, indent=1)))
    print(f"{row}: {numbers['mpjpe_mm']:.1f} mm MPJPE, {numbers['mpjve_mm']:.1f} mm/frame, {seconds:.0f} CPU s")


def table(out: Path) -> None:
    """Print mean and spread over seeds of what is there."""
    lines = []
    for pose2d in ("gt", "cpn"):
        for frames in SEEDS:
            paths = sorted(out.glob(f"{frames}-{pose2d}-?.json"))
            if not paths:
                continue
            runs = [json.loads(path.read_text()) for path in paths]
            sources = list(runs[0]["by_source"])
            cells = [spread([run["by_source"][source] for run in runs]) for source in sources]
            more = [spread([run[key] for run in runs]) for key in ("mpjpe_mm", "p_mpjpe_mm", "mpjve_mm")]
            seconds = np.mean([run["cpu_seconds"] for run in runs])
            lines.append([str(frames), pose2d, *cells, *more, str(len(runs)), f"{seconds / 60:.1f}"])
    head = ["frames", "2D", *sources, "macro average", "P-MPJPE", "MPJVE mm/frame", "seeds", "CPU min"]
    print("\n".join(text_table([head, *lines])))
    print(f"VideoPose3D: {CHANNELS} channels, dropout {DROPOUT}, {RECIPE}\nMotionBERT: {CLIPS}")
    print(runs[0]["protocol"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", help="rows such as 27-gt-0 (default: all)")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints and numbers")
    parser.add_argument("--data", choices=PROTOCOLS, default="open-mocap", help="motion (default open-mocap)")
    parser.add_argument("--table", action="store_true", help="only print what is there")
    arguments = parser.parse_args()
    if wrong := [row for row in arguments.rows if row not in ROWS]:
        parser.error(f"no row {wrong[0]!r}; there are: {', '.join(ROWS)}")
    if not arguments.table:
        dataset = mocap3d.load_dataset(arguments.data)
        for row in arguments.rows or ROWS:
            if not (arguments.out / f"{row}.json").exists():
                run(row, dataset, PROTOCOLS[arguments.data], arguments.out)
    table(arguments.out)


if __name__ == "__main__":
    main()
