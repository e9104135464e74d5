"""What time is worth from detections, and how that depends on how slowly the detector's errors change.

    MOCAP3D_DATA=data OMP_NUM_THREADS=1 python benchmarks/time_from_detections.py            trains what has no record
    MOCAP3D_DATA=data OMP_NUM_THREADS=1 python benchmarks/time_from_detections.py --table    prints the records

VideoPose3D of 256 channels, normalise="ray", 3,000 steps of 256 windows, from simulated CPN detections drawn anew each
epoch, whose slow errors have a correlation time of 0.1, 0.25, 0.5 (what the library assumes) or 1 s, in training and in
the test alike. An error that lasts longer than the window cannot be averaged away; the shorter it lasts, the more a
longer window can gain. Columns as in benchmarks/learning.py.
"""

from __future__ import annotations

import dataclasses
import time

import records
import torch
from learning import FRAMES
from seeds import spread

import mocap3d
from mocap3d.data.detector import DETECTORS
from mocap3d.evaluation.report import text_table

WIDTHS = {1: (1, 1, 1), 27: (3, 3, 3), 81: (3, 3, 3, 3)}
DRIFTS = (0.5, 0.1, 1.0, 0.25)  # seconds
ROWS = [f"{frames}-{drift:g}-{seed}" for seed in range(3) for drift in DRIFTS for frames in WIDTHS]
DETECTORS |= {f"cpn {drift:g}": dataclasses.replace(DETECTORS["cpn"], drift_seconds=drift) for drift in DRIFTS}


def run(row: str) -> None:
    """Train and evaluate one row; writes its record."""
    frames, drift, seed = row.split("-")
    dataset = mocap3d.load_dataset("open-mocap", hold_out="recordings")
    torch.manual_seed(int(seed))
    options = {"filter_widths": WIDTHS[int(frames)], "channels": 256, "dropout": 0.0625, "normalise": "ray"}
    model, started = mocap3d.create_model("videopose3d", **options), time.process_time()
    recipe = dataclasses.replace(FRAMES, detector=f"cpn {drift}")
    mocap3d.fit(model, dataset.train, recipe, seed=int(seed), keep="last", progress=False)
    seconds = time.process_time() - started
    seen = dataset.with_detections(f"cpn {drift}", seed=0)
    test, known = (mocap3d.evaluate(model, part, "open-mocap") for part in (seen.test, seen.known))
    numbers = records.means(new=test, known=known)
    records.write(
        f"time-from-detections-{row}", data=test.digest, protocol=str(test.protocol), seed=int(seed), seconds=seconds,
        size=f"{model.name}, 256 channels, {recipe.steps} steps, CPU seconds of training", numbers=numbers,
    )  # fmt: skip
    print(f"{row}: {numbers}, {seconds:.0f} CPU s", flush=True)


def table() -> None:
    """Print mean and spread over seeds of what has records: MPJPE in mm, then MPJVE in mm per frame."""
    lines = []
    for drift in sorted(DRIFTS):
        for frames in WIDTHS:
            found = [records.read(f"time-from-detections-{frames}-{drift:g}-{seed}") for seed in range(3)]
            if found := [record["numbers"] for record in found if record]:
                columns = [(c, k) for c in ("known", "new") for k in ("mpjpe_mm", "mpjve_mm")]
                cells = [spread([numbers[column][key] for numbers in found]) for column, key in columns]
                lines.append([f"{drift:g}", str(frames), *cells, str(len(found))])
    heads = ["seconds", "frames", "known", "MPJVE known", "new", "MPJVE new", "seeds"]
    print("\n".join(text_table([heads, *lines])))


if __name__ == "__main__":
    records.run_rows(__doc__, ROWS, "time-from-detections", run, table)
