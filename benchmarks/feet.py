"""Which way feet point: with toes seen in the image and without, against recorded toes.

    MOCAP3D_DATA=data python benchmarks/feet.py

Every sixtieth recording of Bandai-Namco's, up to 8 s, is filmed by two cameras of Human3.6M's; all joints are seen with
normal errors of 4 px, lifted by the default networks and cleaned with neither lens nor height known. The angle is that
between the true and the cleaned direction from ankle to toes, in the camera frame, so the lean of the body counts.
"""

from __future__ import annotations

import os
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import records

import mocap3d
from mocap3d.data.open_mocap import BANDAI_MARKERS
from mocap3d.formats.animation import unit
from mocap3d.lifting.cleanup import ANKLES, assumed_camera, constant_bones, gaussian, place
from mocap3d.lifting.feet import LENGTH, toe_directions
from mocap3d.lifting.lift import BONES_PER_HEIGHT
from mocap3d.metrics import bone_lengths
from mocap3d.skeleton import H36M17, Skeleton

SECONDS, NOISE = 8, 4.0  # pixels
WITH_TOES = Skeleton(
    "h36m17 with toes", (*H36M17.joints, "left_big_toe", "right_big_toe"), (*H36M17.parents, *ANKLES),
    (*H36M17.left, "left_big_toe"), (*H36M17.right, "right_big_toe"),
)  # fmt: skip


def degrees(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.degrees(np.arccos(np.clip((a * b).sum(-1), -1, 1))).mean())


def measure(path: Path, rng: np.random.Generator) -> list[tuple[float, float]]:
    """(with toes, without) for both cameras: mean angles in degrees."""
    raw = mocap3d.read_bvh(path, markers=BANDAI_MARKERS)
    raw = raw.slice(0, min(len(raw), round(SECONDS * raw.fps))).resample(50)
    points, toes = raw.convert("h36m17").points, raw.points[:, raw.skeleton.indices(["Toes_L", "Toes_R"])]
    shift = np.append(points[:, 0, :2].mean(0), 0)  # to the middle of the room
    world, toes = points.astype(float) - shift, toes.astype(float) - shift
    directions = unit(toes - world[:, ANKLES])
    height, found = float(bone_lengths(world).sum(-1).mean()) / BONES_PER_HEIGHT, []
    for camera in mocap3d.h36m_cameras("S9")[:2]:
        seen = np.concatenate([world, world[:, ANKLES] + LENGTH * height * directions], 1)
        pixels = camera.project(camera.world_to_camera(seen))
        pixels += rng.normal(0, NOISE, pixels.shape)
        full = mocap3d.Pose2D(pixels, None, WITH_TOES, 50, (camera.width, camera.height))
        pose2d, lens = full.convert("h36m17"), assumed_camera(full.image_size)
        placed = place(constant_bones(mocap3d.lift(pose2d), height), pose2d, lens)
        true = unit(camera.world_to_camera(toes) - camera.world_to_camera(world[:, ANKLES]))
        both = (full, replace(full, confidence=np.zeros(full.confidence.shape)))
        angles = [toe_directions(placed, each, lens, height)[0].reshape(-1, 6) for each in both]
        found.append(tuple(degrees(unit(gaussian(each, 2.5).reshape(-1, 2, 3)), true) for each in angles))
    return found


def main() -> None:
    """Print and record the means."""
    warnings.simplefilter("ignore")
    start, rng = time.perf_counter(), np.random.default_rng(0)
    paths = sorted((Path(os.environ["MOCAP3D_DATA"]) / "bandai").rglob("*.bvh"))[::60]
    angles = np.array([pair for path in paths for pair in measure(path, rng)])
    numbers = dict(zip(("toes seen", "toes not seen"), angles.mean(0).round(1).tolist(), strict=True))
    print(f"{len(paths)} recordings, two cameras each: {numbers}, degrees")
    records.write(
        "feet", data=f"{len(paths)} recordings of Bandai-Namco", protocol="mean angle, degrees", size="lift",
        seed=0, seconds=time.perf_counter() - start, numbers=numbers,
    )  # fmt: skip


if __name__ == "__main__":
    main()
