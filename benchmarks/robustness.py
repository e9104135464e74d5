"""What one failure of the detector costs the other joints, and other frames: the networks in the package.

    MOCAP3D_DATA=data OMP_NUM_THREADS=1 python benchmarks/robustness.py            measures what has no record yet
    MOCAP3D_DATA=data OMP_NUM_THREADS=1 python benchmarks/robustness.py --table    prints the records

Each test recording of open-mocap of two seconds or more is filmed by one random phone and detected on coco17 with
"cpn" noise alone. Then one thing is broken: a joint is never seen, or left and right are inverted for one second in the
middle. P-MPJPE in mm, mean over clips: of the joints that do not depend on what is missing, and outside the inversion
and half a second around it.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
import warnings
import zlib

import numpy as np
import records
import torch

import mocap3d
from mocap3d import metrics
from mocap3d.camera import screen_to_pixels
from mocap3d.data.cameras import draw_cameras, film_tensor
from mocap3d.data.phone import SHORTEST, coco_from_h36m, detect_coco
from mocap3d.poses import Pose2D
from mocap3d.skeleton import COCO17, H36M17, root_relative

KINDS = ("centred", "causal", "motionbert")
BROKEN = {"one ear": "right_ear", "one shoulder": "left_shoulder", "one ankle": "left_ankle", "one wrist": "left_wrist"}
DEPENDENT = {"one ear": ("head", "nose"), "one shoulder": ("left_shoulder",), "one ankle": ("left_foot",),
             "one wrist": ("left_wrist",)}  # fmt: skip


def filmed(clip: mocap3d.Clip) -> tuple[Pose2D, np.ndarray]:
    """Detections with noise alone, and the truth (T, 17, 3), root-relative, in the camera's frame."""
    generator = torch.Generator().manual_seed(zlib.crc32(f"robustness/{clip.take}".encode()))
    world = torch.from_numpy(clip.camera.camera_to_world(clip.pose3d.points.astype(np.float64)))
    same = torch.zeros(len(world), dtype=torch.int64)
    cameras = draw_cameras(world, same, generator=generator)
    size = cameras[0].width, cameras[0].height
    both = [film_tensor(points, same, cameras) for points in (world, coco_from_h36m(world))]
    pixels = [screen_to_pixels(seen.points2d, *size).float() for seen in both]
    points, confidence = detect_coco(*pixels, fps=clip.pose3d.fps, generator=generator)
    pose2d = Pose2D(points.numpy(), confidence.numpy(), COCO17, clip.pose3d.fps, size)
    return pose2d, root_relative(both[0].pose3d.numpy())


def error(model: torch.nn.Module, pose2d: Pose2D, truth: np.ndarray, joints: list[int], rows: np.ndarray) -> float:
    """P-MPJPE in mm of some joints in some frames."""
    pose = mocap3d.lift(pose2d, model, undo_inversions=False).points.astype(np.float64)
    return 1000 * metrics.p_mpjpe(pose[rows][:, joints], truth[rows][:, joints])


def measure(model: torch.nn.Module, clips: list[tuple[Pose2D, np.ndarray]]) -> dict:
    """Name of what is broken -> mean error without it, with it, and the difference."""
    found: dict[str, list] = {}
    for pose2d, truth in clips:
        frames, every = np.arange(len(truth)), list(range(len(H36M17)))
        for name, joint in BROKEN.items():
            points, confidence = pose2d.points.copy(), pose2d.confidence.copy()
            points[:, COCO17.index(joint)], confidence[:, COCO17.index(joint)] = np.nan, 0
            broken = dataclasses.replace(pose2d, points=points, confidence=confidence)
            others = [i for i in every if H36M17.joints[i] not in DEPENDENT[name]]
            found.setdefault(name, []).append([error(model, p, truth, others, frames) for p in (pose2d, broken)])
        half = round(pose2d.fps / 2)
        middle = np.abs(frames - len(frames) // 2) < half
        points, confidence = pose2d.points.copy(), pose2d.confidence.copy()
        for values in (points, confidence):
            values[middle] = values[middle][:, COCO17.mirror]
        broken = dataclasses.replace(pose2d, points=points, confidence=confidence)
        outside = np.abs(frames - len(frames) // 2) >= 2 * half
        if outside.any():
            pair = [error(model, p, truth, every, outside) for p in (pose2d, broken)]
            found.setdefault("inverted for 1 s, outside", []).append(pair)
            pair = [error(model, p, truth, every, middle) for p in (pose2d, broken)]
            found.setdefault("inverted for 1 s, within", []).append(pair)
    means = {name: np.mean(pairs, axis=0) for name, pairs in found.items()}
    return {
        name: {"whole": round(a, 2), "broken": round(b, 2), "cost": round(b - a, 2)} for name, (a, b) in means.items()
    }


def main() -> None:
    """Measure what has no record, or print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print the records and measure nothing")
    arguments = parser.parse_args()
    todo = [kind for kind in KINDS if records.read(f"robustness-{kind}") is None]
    if todo and not arguments.table:
        test = mocap3d.load_dataset("open-mocap").test
        takes = {clip.take: clip for clip in reversed(test.clips) if clip.pose3d.seconds >= SHORTEST}
        clips = [filmed(clip) for clip in takes.values()]
        for kind in todo:
            model, started = mocap3d.load_shipped(kind), time.monotonic()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                numbers = measure(model, clips)
            records.write(
                f"robustness-{kind}", data=f"{len(clips)} clips", protocol="P-MPJPE in mm, mean over clips",
                size=f"{model.name}, wall seconds", seed=None, seconds=time.monotonic() - started, numbers=numbers,
            )  # fmt: skip
    for kind in KINDS:
        if (record := records.read(f"robustness-{kind}")) is not None:
            for name, row in record["numbers"].items():
                print(f"{kind:12}{name:28}{row['whole']:7.1f} -> {row['broken']:6.1f}  ({row['cost']:+.1f})")


if __name__ == "__main__":
    main()
