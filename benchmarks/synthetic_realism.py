"""How like real motion the synthetic data set is: a table beside open motion capture, and what training on it is worth.

    python benchmarks/synthetic_realism.py                     the table
    python benchmarks/synthetic_realism.py --transfer 10       and SimpleBaseline3D, 10 minutes, synthetic -> CMU 02

Real motion comes from MOCAP3D_DATA (data_scripts/fetch_open_mocap.py); without it the table has one column.
Speeds and accelerations are of joints relative to the pelvis, except the pelvis's own, which are in the world. Marker
noise is part of the real accelerations, least of the synthetic ones.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable

import numpy as np

from mocap3d.data.dataset import PoseDataset
from mocap3d.data.loading import load_dataset
from mocap3d.poses import Clip
from mocap3d.skeleton import H36M17

FPS = 50.0
BANDS = ((0.25, 1.0), (1.0, 3.0), (3.0, 8.0), (8.0, 20.0))  # Hz
J = H36M17.index


def worlds(dataset: Iterable[Clip]) -> list[np.ndarray]:
    """(T, 17, 3) world points, one of each take, whichever camera filmed it."""
    takes = {clip.take: clip for clip in dataset}
    return [clip.pose3d.in_world(clip.camera).points.astype(np.float64) for clip in takes.values()]


def angle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Degrees between (..., 3) vectors."""
    cosine = (a * b).sum(-1) / np.maximum(np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1), 1e-9)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def bend(points: np.ndarray, upper: str, joint: str, lower: str) -> np.ndarray:
    return angle(points[:, J(joint)] - points[:, J(upper)], points[:, J(lower)] - points[:, J(joint)])


def joint_angles(points: np.ndarray) -> dict[str, np.ndarray]:
    """Degrees over time, by name."""
    up = np.array([0.0, 0.0, 1.0])
    trunk = points[:, J("thorax")] - points[:, J("pelvis")]
    return {
        "knee flexion": np.concatenate([bend(points, f"{s}_hip", f"{s}_knee", f"{s}_foot") for s in ("left", "right")]),
        "elbow flexion": np.concatenate(
            [bend(points, f"{s}_shoulder", f"{s}_elbow", f"{s}_wrist") for s in ("left", "right")]
        ),
        "trunk from vertical": angle(trunk, up),
        "upper arm from trunk": np.concatenate(
            [angle(points[:, J(f"{s}_elbow")] - points[:, J(f"{s}_shoulder")], -trunk) for s in ("left", "right")]
        ),
        "thigh from trunk": np.concatenate(
            [angle(points[:, J(f"{s}_knee")] - points[:, J(f"{s}_hip")], -trunk) for s in ("left", "right")]
        ),
        "trunk bend": bend(points, "pelvis", "spine", "thorax"),
        "neck bend": bend(points, "thorax", "nose", "head"),
    }


def spectrum(points: np.ndarray) -> np.ndarray:
    """Share of the power of joint accelerations (relative to the pelvis) in each of BANDS."""
    acceleration = np.diff(points - points[:, :1], 2, axis=0) * FPS**2  # (T-2, J, 3)
    power = (np.abs(np.fft.rfft(acceleration * np.hanning(len(acceleration))[:, None, None], axis=0)) ** 2).sum((1, 2))
    hertz = np.fft.rfftfreq(len(acceleration), 1 / FPS)
    return np.array([power[(hertz >= low) & (hertz < high)].sum() for low, high in BANDS])


def rows(takes: list[np.ndarray]) -> dict[str, str]:
    """Name -> printed value, for one data set."""
    table: dict[str, str] = {}
    length = lambda p, a, b: np.linalg.norm(p[:, a] - p[:, b], axis=-1).mean()  # noqa: E731
    bones = np.array([[length(p, a, b) for a, b in H36M17.bones] for p in takes])
    for name in (
        "left_hip",
        "left_knee",
        "left_foot",
        "spine",
        "thorax",
        "nose",
        "head",
        "left_shoulder",
        "left_elbow",
        "left_wrist",
    ):
        lengths = bones[:, [child for _, child in H36M17.bones].index(J(name))] * 1000
        table[f"bone to {name}, mm"] = f"{lengths.mean():.0f} ({lengths.min():.0f}..{lengths.max():.0f})"
    angles = [joint_angles(p) for p in takes]
    for name in angles[0]:
        low, mid, high = np.percentile(np.concatenate([a[name] for a in angles]), [1, 50, 99])
        table[f"{name}, degrees"] = f"{mid:.0f} ({low:.0f}..{high:.0f})"
    for name in ("pelvis", "head", "left_foot", "right_wrist"):
        base = [p[:, J(name)] - (0 if name == "pelvis" else p[:, 0]) for p in takes]
        for order, unit in ((1, "speed, m/s"), (2, "acceleration, m/s2")):
            size = np.concatenate([np.linalg.norm(np.diff(b, order, axis=0), axis=-1) * FPS**order for b in base])
            mid, high = np.percentile(size, [50, 99])
            table[f"{name} {unit}"] = f"{mid:.2f} (99 %: {high:.1f})"
    power = sum(spectrum(p) for p in takes if len(p) > 100)
    for (low, high), share in zip(BANDS, power / power.sum(), strict=True):
        table[f"acceleration power {low:g}-{high:g} Hz"] = f"{share:.0%}"
    return table


def show(columns: dict[str, dict[str, str]]) -> None:
    """Print the table, median (1 %..99 %) where not said otherwise."""
    width = 26
    print(f"{'median (1 %..99 %)':34}" + "".join(f"{name:>{width}}" for name in columns))
    for row in next(iter(columns.values())):
        print(f"{row:34}" + "".join(f"{values[row]:>{width}}" for values in columns.values()))


def transfer(synthetic: PoseDataset, real: PoseDataset, minutes: float, seed: int) -> None:
    """Train on synthetic alone, test on real CMU 02, beside the nearest neighbour among real training poses."""
    import torch

    from mocap3d.evaluation.baselines import NearestNeighbour
    from mocap3d.evaluation.evaluate import evaluate
    from mocap3d.models.create import create_model
    from mocap3d.training.fit import fit
    from mocap3d.training.recipe import Recipe

    recipe = Recipe(
        "synthetic_transfer",
        "adamw",
        1e-3,
        "cosine",
        warmup=0.05,
        batch_size=512,
        minutes=minutes,
        loss="mpjpe",
        weight_decay=0.01,
        gradient_clip=1.0,
        flip=True,
    )
    test = real.select(source="cmu-asfamc-02")
    nearest = NearestNeighbour().fit(real.train)
    print(f"nearest neighbour from real: {evaluate(nearest, test)}")
    torch.manual_seed(seed)
    model = create_model("simple_baseline_mmpose", dropout=0.25)
    fit(model, synthetic.train, recipe, seed=seed)
    print(f"SimpleBaseline3D, {minutes:g} min on synthetic alone, on CMU 02: {evaluate(model, test)}")
    print(f"the same on synthetic S9, S11: {evaluate(model, synthetic.test)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--transfer", type=float, default=0.0, metavar="MINUTES", help="train on it, test on real")
    options = parser.parse_args()
    synthetic = load_dataset("synthetic", seed=options.seed)
    columns = {"synthetic": rows(worlds(synthetic))}
    real = None
    if os.environ.get("MOCAP3D_DATA"):
        real = load_dataset("open-mocap")
        for source in real.sources:
            if source in ("cmu-asfamc-01", "cmu-asfamc-02", "cmu-cc-007", "bandai"):
                columns[source] = rows(worlds(real.select(source=source)))
    show(columns)
    if options.transfer:
        if real is None:
            parser.error("--transfer needs real motion: set MOCAP3D_DATA to a folder made by fetch_open_mocap.py")
        transfer(synthetic, real, options.transfer, options.seed)


if __name__ == "__main__":
    main()
