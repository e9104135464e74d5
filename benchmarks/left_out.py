"""What a skeleton costs that no training recording has, with bodies varied and without.

    MOCAP3D_DATA=data OMP_NUM_THREADS=1 python benchmarks/left_out.py            trains what has no record yet
    MOCAP3D_DATA=data OMP_NUM_THREADS=1 python benchmarks/left_out.py --table    prints the records

Every row is one VideoPose3D-27 of 256 channels, 3,000 steps of filmed motion as in scripts/train_shipped.py; "all" is
trained on every skeleton, the others without one. Evaluated on new recordings of known motion (hold_out="recordings"),
filmed once more by random phones and detected with failures: P-MPJPE in mm over the frames of each skeleton.
"""

from __future__ import annotations

import argparse
import dataclasses
import time

import records
import torch

import mocap3d
from mocap3d import metrics
from mocap3d.data.filming import film_anew, motion_on_device
from mocap3d.evaluation.predict import predict

SOURCES = {"bandai": "bandai", "cc": "cmu-cc-005", "cmu": "cmu-asfamc-01"}
RECIPE = dataclasses.replace(
    mocap3d.RECIPES["quick_temporal"], minutes=None, steps=3000, balance=0.5, detector="coco", cameras="phones",
    refilm=2,
)  # fmt: skip
OPTIONS = {"channels": 256, "dropout": 0.0625, "normalise": "ray", "confidence": True}
ROWS = [f"{without}-{bodies}" for bodies in ("varied", "as they are") for without in ("all", *SOURCES)]


def run(row: str) -> None:
    """Train and evaluate one row; writes its record."""
    without, bodies = row.split("-")
    dataset = mocap3d.load_dataset("open-mocap", hold_out="recordings")
    real = [clip for clip in dataset.train if clip.source != SOURCES.get(without)]
    wide = mocap3d.load_dataset("synthetic", actions="wide").train
    train = [*real, *mocap3d.load_dataset("synthetic").train, *wide]
    torch.manual_seed(0)
    model, started = mocap3d.create_model("videopose3d_27", **OPTIONS), time.process_time()
    recipe = dataclasses.replace(RECIPE, bodies=bodies == "varied")
    mocap3d.fit(model, train, recipe, keep="last", progress=False)
    seconds, numbers = time.process_time() - started, {}
    for skeleton, source in SOURCES.items():
        seen = film_anew(motion_on_device(dataset.known.select(source=source)), "coco", seed=1)
        pose, truth = (part.double().cpu().numpy() for part in (predict(model, seen), seen.pose3d))
        numbers[skeleton] = round(1000 * metrics.p_mpjpe(pose, truth), 2)
    records.write(
        f"left-out-{row.replace(' ', '-')}", data=seen.digest(), protocol="P-MPJPE in mm, frames of known motion",
        size="videopose3d_27, 256 channels, 3000 steps, CPU seconds", seed=0, seconds=seconds, numbers=numbers,
    )  # fmt: skip
    print(f"{row}: {numbers}, {seconds:.0f} CPU s", flush=True)


def main() -> None:
    """Train what has no record, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="only print the records")
    arguments = parser.parse_args()
    for row in ROWS:
        name = f"left-out-{row.replace(' ', '-')}"
        if records.read(name) is None and not arguments.table:
            run(row)
        if (record := records.read(name)) is not None:
            print(f"{row:20}" + "".join(f"{skeleton}: {mm:6.1f}   " for skeleton, mm in record["numbers"].items()))


if __name__ == "__main__":
    main()
