"""The table in docs/RESULTS.md: what one frame is worth on recorded motion that no model here was trained on.

    MOCAP3D_DATA=data python benchmarks/lifting_table.py                   all rows, seed 0
    MOCAP3D_DATA=data python benchmarks/lifting_table.py --seeds 3         mean and spread over three seeds

Trains SimpleBaseline3D with one setting on three kinds of input, next to the two baselines that do not learn. Each
network is judged as its last step leaves it. The setting is notebook 03's; its dropout was picked from three values
with the test clips in view.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable

import numpy as np
import torch

import mocap3d
from mocap3d.evaluation.report import text_table

CHANNELS, DROPOUT = 512, 0.125  # as in notebook 03 on a laptop
RECIPE = dataclasses.replace(mocap3d.RECIPES["quick"], minutes=None, steps=2500)
PROTOCOL = "open-mocap"


def trained(train: mocap3d.PoseDataset, seed: int) -> torch.nn.Module:
    """SimpleBaseline3D after the recipe's steps on `train`."""
    torch.manual_seed(seed)
    model = mocap3d.create_model("simple_baseline", channels=CHANNELS, dropout=DROPOUT)
    started = time.monotonic()
    mocap3d.fit(model, train, RECIPE, seed=seed, keep="last", progress=False)
    print(f"    trained on {train.name}, seed {seed}: {time.monotonic() - started:.0f} s", flush=True)
    return model


def rows(real: mocap3d.PoseDataset, synthetic: mocap3d.PoseDataset) -> dict[str, tuple[Callable, mocap3d.PoseDataset]]:
    """Row name -> (seed -> model, clips to judge it on)."""
    detected = real.with_detections("cpn", seed=0)
    return {
        "mean pose": (lambda _: mocap3d.MeanPose().fit(real.train), real.test),
        "nearest neighbour in 2D": (lambda seed: mocap3d.NearestNeighbour(seed=seed).fit(real.train), real.test),
        "SimpleBaseline3D": (lambda seed: trained(real.train, seed), real.test),
        "SimpleBaseline3D, CPN-like 2D": (lambda seed: trained(detected.train, seed), detected.test),
        "SimpleBaseline3D, synthetic motion only": (lambda seed: trained(synthetic.train, seed), real.test),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds (default 1)")
    arguments = parser.parse_args()
    real, synthetic = mocap3d.load_dataset("open-mocap"), mocap3d.load_dataset("synthetic")
    print(f"{torch.get_num_threads()} threads; {CHANNELS} channels, dropout {DROPOUT}, {RECIPE}")
    first, lines = {}, []
    for name, (make, test) in rows(real, synthetic).items():
        reports = [mocap3d.evaluate(make(seed), test, PROTOCOL) for seed in range(arguments.seeds)]
        first[name] = dataclasses.replace(reports[0], model=name)
        cells = [_spread([report.by_source[source]["mpjpe_mm"] for report in reports]) for source in test.sources]
        more = [_spread([getattr(r, key) for r in reports]) for key in ("mpjpe_mm", "p_mpjpe_mm")]
        lines.append([name, *cells, *more, _spread([report.mean("mpjve_mm") for report in reports])])
    sources = [f"{row['source']} (persons: {row['persons']})" for row in real.test.table()]
    head = ["MPJPE mm", *sources, "macro average", "P-MPJPE", "MPJVE mm/frame"]
    print("\n".join(text_table([head, *lines])))
    print(first["SimpleBaseline3D"].protocol)
    for other in ("nearest neighbour in 2D", "SimpleBaseline3D, synthetic motion only"):
        print(mocap3d.compare(first["SimpleBaseline3D"], first[other]))


def _spread(values: list[float]) -> str:
    return f"{np.mean(values):.1f}" + (f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
