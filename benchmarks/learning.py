"""What each network learns in at most ten CPU minutes, with normalise="ray" and balanced sources, on open-mocap.

    MOCAP3D_DATA=data OMP_NUM_THREADS=1 python benchmarks/learning.py            trains what has no record yet
    MOCAP3D_DATA=data OMP_NUM_THREADS=1 python benchmarks/learning.py --table    prints the records

A row is model-2D: trained and evaluated on true 2D ("gt") or on simulated detections ("cpn", in training anew each
epoch). Columns: three of new kinds of motion, people and skeletons, and "known", new recordings of known motion
(hold_out="recordings", which are not trained on here either). All weights are those of the last step.
"""

from __future__ import annotations

import dataclasses
import time

import records
import torch
from seeds import spread

import mocap3d
from mocap3d.evaluation.report import text_table

FRAMES = dataclasses.replace(mocap3d.RECIPES["quick_temporal"], minutes=None, steps=3000, balance=0.5)
APART = dataclasses.replace(
    mocap3d.RECIPES["quick_clips"], minutes=None, steps=1500, balance=0.5,
    batch_size=18, clip_frames=9, clip_step=3, clip_stride=3, terms={"velocity": 2 / 3},
)  # fmt: skip
CONSECUTIVE = dataclasses.replace(
    mocap3d.RECIPES["quick_clips"], minutes=None, steps=500, balance=0.5, learning_rate=5e-4
)
TOKENS = dataclasses.replace(  # as many CPU minutes; the rate is that of "quick_clips", and was not tuned
    FRAMES, steps=2200, batch_size=64, learning_rate=2e-3, norm_momentum=None
)
# name -> options of create_model, and recipes one after the other
MODELS = {
    "simple_baseline": ({"channels": 512, "dropout": 0.0625}, [FRAMES]),
    "videopose3d_1": ({"channels": 512, "dropout": 0.0625}, [FRAMES]),
    "videopose3d_27": ({"channels": 256, "dropout": 0.0625}, [FRAMES]),
    "poseformerv2_27": ({"channels": 8, "heads": 4, "drop_path": 0.0}, [TOKENS]),
    "motionbert_tiny": ({"frames": 27, "image_space": False, "init": "fan_in"}, [APART, CONSECUTIVE]),
}
ROWS = [f"{model}-{pose2d}-{seed}" for seed in range(3) for pose2d in ("gt", "cpn") for model in MODELS]


def run(row: str) -> None:
    """Train and evaluate one row; writes its record."""
    name, pose2d, seed = row.split("-")
    options, recipes = MODELS[name]
    dataset = mocap3d.load_dataset("open-mocap", hold_out="recordings")
    detector = None if pose2d == "gt" else pose2d
    torch.manual_seed(int(seed))
    model = mocap3d.create_model(name, normalise="ray", **options)
    started = time.process_time()
    for recipe in recipes:
        recipe = dataclasses.replace(recipe, detector=detector)
        mocap3d.fit(model, dataset.train, recipe, seed=int(seed), keep="last", progress=False)
    seconds = time.process_time() - started
    seen = dataset.with_detections(pose2d, seed=0) if detector else dataset
    test, known = (mocap3d.evaluate(model, part, "open-mocap") for part in (seen.test, seen.known))
    numbers = {
        source: {key: round(values[key], 2) for key in records.KEYS} for source, values in test.by_source.items()
    }
    numbers |= records.means(new=test, known=known)
    records.write(
        f"learning-{row}", data=test.digest, protocol=str(test.protocol), seed=int(seed), seconds=seconds,
        size=f"{model.name}, {sum(p.numel() for p in model.parameters()):,} parameters, "
        f"{' then '.join(str(recipe.steps) for recipe in recipes)} steps, CPU seconds of training",
        numbers=numbers,
    )  # fmt: skip
    print(f"{row}: {numbers['new']}, {seconds:.0f} CPU s", flush=True)


def table() -> None:
    """Print mean and spread over seeds of what has records; MPJPE / P-MPJPE in mm, then MPJVE in mm per frame."""
    lines, columns = [], []
    for pose2d in ("gt", "cpn"):
        for model in MODELS:
            found = [records.read(f"learning-{model}-{pose2d}-{seed}") for seed in range(3)]
            found = [record for record in found if record]
            if found:
                columns = list(found[0]["numbers"])
                cells = [
                    " / ".join(spread([r["numbers"][column][key] for r in found]) for key in ("mpjpe_mm", "p_mpjpe_mm"))
                    for column in columns
                ]
                jitter = spread([record["numbers"]["new"]["mpjve_mm"] for record in found])
                minutes = sum(record["seconds"] for record in found) / 60 / len(found)
                lines.append([model, pose2d, *cells, jitter, str(len(found)), f"{minutes:.1f}"])
    print("\n".join(text_table([["model", "2D", *columns, "MPJVE new", "seeds", "CPU min"], *lines])))


if __name__ == "__main__":
    records.run_rows(__doc__, ROWS, "learning", run, table)
