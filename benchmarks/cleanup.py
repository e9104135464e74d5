"""What each step of cleaning is worth: errors on phone-v1 after every step of `mocap3d.lifting.cleanup`.

    MOCAP3D_DATA=data OMP_NUM_THREADS=1 python benchmarks/cleanup.py            measures and records
    MOCAP3D_DATA=data OMP_NUM_THREADS=1 python benchmarks/cleanup.py --train    on training recordings, to choose

Means over clips. MPJPE: root-relative in the world, turned about the vertical as a whole; rigid: after one rotation and
translation per clip; tilt: of the trunk, after the same turn about the vertical; jerk: of all joints, third derivative;
skate: horizontal speed of an ankle in frames in which the true one is slower than 0.15 m/s. The first row is the truth.
The camera is not known: 65 degrees are assumed.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
import records
from phone import rigidly_aligned

import mocap3d
from mocap3d import metrics
from mocap3d.data import phone
from mocap3d.lifting import cleanup
from mocap3d.poses import Pose3D
from mocap3d.skeleton import H36M17, root_relative

COLUMNS = ("mpjpe_mm", "p_mpjpe_mm", "rigid_mpjpe_mm", "tilt_degrees", "jerk_m_s3", "skate_m_s")
RESTS = 0.15  # m/s


def about_the_vertical(points: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(T, J, 3), z up, turned as a whole about z onto the truth; both root-relative. Source: Kabsch 1976."""
    x, y = points[..., :2].reshape(-1, 2), truth[..., :2].reshape(-1, 2)
    angle = np.arctan2((x[:, 0] * y[:, 1] - x[:, 1] * y[:, 0]).sum(), (x * y).sum())
    cos, sin = np.cos(angle), np.sin(angle)
    return points @ np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])


def measure(pose: Pose3D, truth: np.ndarray) -> dict[str, float]:
    """All columns; pose in the world frame, truth (T, 17, 3) in the world, metres."""
    kept = np.isfinite(pose.points).all((1, 2))
    points, truth = pose.points[kept].astype(np.float64), truth[kept]
    turned = about_the_vertical(root_relative(points), root_relative(truth))
    trunks = [p[:, H36M17.index("thorax")] - p[:, H36M17.index("pelvis")] for p in (turned, truth)]
    trunks = [trunk / np.linalg.norm(trunk, axis=-1, keepdims=True) for trunk in trunks]
    ankles, true_ankles = (p[:, cleanup.ANKLES] for p in (points, truth))
    speed, true_speed = (np.linalg.norm(np.diff(a, axis=0)[..., :2], axis=-1) * pose.fps for a in (ankles, true_ankles))
    rests = np.linalg.norm(np.diff(true_ankles, axis=0), axis=-1) * pose.fps < RESTS
    return {
        "mpjpe_mm": 1000 * metrics.mpjpe(turned, root_relative(truth)),
        "p_mpjpe_mm": 1000 * metrics.p_mpjpe(points, truth),
        "rigid_mpjpe_mm": 1000 * metrics.mpjpe(rigidly_aligned(turned, root_relative(truth)), root_relative(truth)),
        "tilt_degrees": float(np.degrees(np.arccos(np.clip((trunks[0] * trunks[1]).sum(-1), -1, 1))).mean()),
        "jerk_m_s3": float(np.linalg.norm(np.diff(points, 3, axis=0), axis=-1).mean() * pose.fps**3),
        "skate_m_s": float(speed[rests].mean()) if rests.any() else np.nan,
    }  # fmt: skip


def steps(clip) -> dict[str, Pose3D]:
    """The pose after every step, by its name, all in the world frame."""
    pose2d, found = mocap3d.undo_inversions(clip.pose2d), {}
    camera, pose = cleanup.assumed_camera(pose2d.image_size), mocap3d.lift(pose2d)
    flat = lambda p: cleanup.level(p, pitch=0, roll=0)[0]  # noqa: E731
    placed = cleanup.place(pose, pose2d, camera)
    found["lifted and placed"] = flat(placed)
    bones = cleanup.constant_bones(pose)
    placed = cleanup.place(bones, pose2d, camera)
    found["constant bones"] = flat(placed)
    found["levelled"] = cleanup.level(placed)[0]
    for method in ("gaussian", "savgol", "butterworth", "one_euro"):
        found[f"smoothed, {method}"] = cleanup.smooth(found["levelled"], method)
    rests = cleanup.touching(placed, pose2d, camera)
    found["constant bones again"] = cleanup.constant_bones(found["smoothed, gaussian"])
    found["feet planted"] = cleanup.plant_feet(found["constant bones again"], rests)
    return found


def training_clips(every: int) -> list:
    """Clips such as phone-v1's, of training recordings."""
    takes = {
        clip.take: clip for clip in mocap3d.load_dataset("open-mocap").train if clip.pose3d.seconds >= phone.SHORTEST
    }
    return [phone._film(clip, view) for view, clip in enumerate(list(takes.values())[::every])]


def main() -> None:
    """Measure, print, and with phone-v1 record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", action="store_true", help="on training recordings, without a record")
    parser.add_argument("--every", type=int, default=1, help="every n-th clip (every 8th with --train)")
    arguments = parser.parse_args()
    started, test = time.process_time(), mocap3d.load_dataset("open-mocap", cameras="phone-v1")
    clips = training_clips(8) if arguments.train else list(test)[:: arguments.every]
    rows: dict[str, list] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for clip in clips:
            truth = clip.camera.camera_to_world(clip.pose3d.points.astype(np.float64))
            rows.setdefault("truth", []).append(measure(Pose3D(truth, fps=clip.pose3d.fps), truth))
            for name, pose in steps(clip).items():
                rows.setdefault(name, []).append(measure(pose, truth))
    numbers = {n: {c: round(float(np.nanmean([r[c] for r in found])), 3) for c in COLUMNS} for n, found in rows.items()}
    print(f"| {len(clips)} clips | {' | '.join(COLUMNS)} |")
    for name, row in numbers.items():
        print(f"| {name} | {' | '.join(f'{value:.2f}' for value in row.values())} |")
    if not arguments.train and arguments.every == 1:
        records.write(
            "cleanup-phone-v1", data=phone.digest(test), protocol=__doc__.split("\n\n")[2], size="lift(pose2d)", seed=0,
            seconds=round(time.process_time() - started), numbers=numbers,
        )  # fmt: skip


if __name__ == "__main__":
    main()
