"""How far `lift` carries in front of any camera: the networks in the package, and constant poses, on phone-v1.

    MOCAP3D_DATA=data OMP_NUM_THREADS=1 python benchmarks/phone.py                measures what has no record yet
    MOCAP3D_DATA=data OMP_NUM_THREADS=1 python benchmarks/phone.py --table        prints the records

Per source and over all: P-MPJPE; MPJPE after one rigid alignment of the whole clip (rotation and translation: a wrong
camera is forgiven, a wrong pose is not); tilt of the trunk, the angle of predicted and true pelvis-thorax direction.
Every clip has the same weight. "hard" are those on which the clip's own constant pose is at 60 mm P-MPJPE or more. The
constant poses know the truth: the mean of each clip, and the mean of the training recordings.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable

import numpy as np
import records
import torch

import mocap3d
from mocap3d import metrics
from mocap3d.data.phone import PhoneClip, digest
from mocap3d.skeleton import H36M17, root_relative

# records by name; those of the networks that were in the package until 28 November 2026 cannot be measured again
ROWS = {
    "phone-constant-own": "own",
    "phone-constant-training": "training",
    **{f"phone-shipped-2026-11-{kind}": None for kind in ("centred", "causal", "pretrained")},
    **{f"phone-shipped-{kind}": kind for kind in ("centred", "causal", "motionbert")},
    "phone-default": "default",  # lift(pose2d) as it is: motionbert and causal, flip testing, inversions undone
}
HARD = 60.0  # mm
PROTOCOL = "phone-v1: per-clip means, each clip with the same weight; root-relative, 17 joints, coco17 detections"


def rigidly_aligned(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(T, J, 3) moved and turned as one cloud of points onto the truth; not scaled. Source: Kabsch 1976."""
    x, y = prediction.reshape(-1, 3), truth.reshape(-1, 3)
    centre_x, centre_y = x.mean(0), y.mean(0)
    u, _, vh = np.linalg.svd((x - centre_x).T @ (y - centre_y))
    turn = u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vh))]) @ vh
    return ((x - centre_x) @ turn + centre_y).reshape(prediction.shape)


def trunk_tilt(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Mean angle in degrees between the pelvis-thorax directions of (T, 17, 3) poses."""
    trunks = [pose[:, H36M17.index("thorax")] - pose[:, H36M17.index("pelvis")] for pose in (prediction, truth)]
    a, b = (trunk / np.linalg.norm(trunk, axis=-1, keepdims=True) for trunk in trunks)
    return float(np.degrees(np.arccos(np.clip((a * b).sum(-1), -1, 1))).mean())


def errors(prediction: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """All three of one clip; both (T, 17, 3) metres, root-relative; frames without prediction are left out."""
    kept = np.isfinite(prediction).all((1, 2))
    prediction, truth = prediction[kept], truth[kept]
    return {
        "p_mpjpe_mm": 1000 * metrics.p_mpjpe(prediction, truth),
        "rigid_mpjpe_mm": 1000 * metrics.mpjpe(rigidly_aligned(prediction, truth), truth),
        "tilt_degrees": trunk_tilt(prediction, truth),
    }


def truth_of(clip: PhoneClip) -> np.ndarray:
    """(T, 17, 3) metres, relative to the root."""
    return root_relative(clip.pose3d.points.astype(np.float64))


def measure(predict: Callable, clips: list, constant: np.ndarray) -> dict:
    """Errors by source, over all clips and the hard ones; `constant` (K,) is the P-MPJPE of their own mean pose."""
    values = [errors(predict(clip).astype(np.float64), truth_of(clip)) for clip in clips]
    hard = constant >= HARD
    groups = {
        source: np.array([clip.source == source for clip in clips]) for source in dict.fromkeys(c.source for c in clips)
    }
    found = {}
    for name, members in (groups | {"all": np.ones(len(clips), bool), "hard": hard}).items():
        found[name] = {
            key: round(float(np.mean([value[key] for value, member in zip(values, members, strict=True) if member])), 2)
            for key in values[0]
        } | {"clips": int(members.sum())}
    return found


def own_constants(clips: list) -> tuple[Callable, np.ndarray]:
    """The prediction of a clip's own mean pose, and its P-MPJPE in mm for each clip."""
    means = {id(clip): truth_of(clip).mean(0) for clip in clips}
    own = lambda clip: np.broadcast_to(means[id(clip)], clip.pose3d.points.shape)  # noqa: E731
    return own, np.array([1000 * metrics.p_mpjpe(own(clip), truth_of(clip)) for clip in clips])


def mean_of_training() -> Callable:
    """The prediction of the mean pose of open-mocap's training clips."""
    train = mocap3d.to_device(mocap3d.load_dataset("open-mocap").train)
    fitted = np.nanmean(root_relative(train.pose3d.double().numpy()), 0)
    return lambda clip: np.broadcast_to(fitted, clip.pose3d.points.shape)


def measure_model(model: torch.nn.Module | None, clips: list, **options: object) -> dict:
    """`measure` of what `lift` makes of the detections with a model and other options."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lifted = lambda clip: root_relative(mocap3d.lift(clip.pose2d, model, **options).points)  # noqa: E731
        return measure(lifted, clips, own_constants(clips)[1])


def main() -> None:
    """Measure what has no record, or print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print the records and measure nothing")
    arguments = parser.parse_args()
    todo = {name: kind for name, kind in ROWS.items() if kind and records.read(name) is None}
    if todo and not arguments.table:
        dataset = mocap3d.load_dataset("open-mocap", cameras="phone-v1")
        data, clips = str(digest(dataset)["truth"])[:16], list(dataset)
        for name, kind in todo.items():
            started = time.monotonic()
            if kind in ("own", "training"):
                own, constant = own_constants(clips)
                numbers = measure(own if kind == "own" else mean_of_training(), clips, constant)
            elif kind == "default":
                numbers = measure_model(None, clips)
            else:
                numbers = measure_model(mocap3d.load_shipped(kind), clips, undo_inversions=False)
            seconds = time.monotonic() - started
            size = f"{kind}, wall seconds"
            records.write(name, data=data, protocol=PROTOCOL, size=size, seed=None, seconds=seconds, numbers=numbers)
            print(f"{name}: {numbers['all']['p_mpjpe_mm']:.1f} mm P-MPJPE", flush=True)
    print(
        f"{'':34}"
        + "".join(f"{group[:16]:>24}" for group in ("cmu-asfamc-02", "cmu-cc-007", "bandai-held-out", "all", "hard"))
    )
    for name in ROWS:
        if (record := records.read(name)) is not None:
            cells = [
                f"{v['p_mpjpe_mm']:.1f} / {v['rigid_mpjpe_mm']:.1f} / {v['tilt_degrees']:.0f}°"
                for v in record["numbers"].values()
            ]
            print(f"{name:34}" + "".join(f"{cell:>24}" for cell in cells))


if __name__ == "__main__":
    main()
