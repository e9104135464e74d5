"""Score lifted poses against your own cameras: triangulate what several of them see, lift what each sees alone.

    python data_scripts/score_cameras.py FOLDER [--calibration FOLDER/calibration.json] [--model NAME]

FOLDER holds one keypoint file for each camera, of one person, in any format of `mocap3d.read_keypoints`, all of the
same frames: front.json, left.json, ... The calibration says of each, by the name of the file without its ending, in
the terms of OpenCV:

    {"front": {"size": [1920, 1080], "K": [[f, 0, cx], [0, f, cy], [0, 0, 1]], "distortion": [k1, k2, p1, p2, k3],
               "R": [[...], [...], [...]], "t": [x, y, z], "turn": 0}, ...}

x_camera = R x_world + t, in metres; "turn" are the degrees counter-clockwise that make the picture upright (0, 90, 180,
270), since people are lifted upright. A joint is triangulated where two cameras or more see it and its reprojection
error stays below 40 px; of more than two cameras, those that do not agree with the others are left out.

Printed, and not comparable with any table of this project: the truth is made of the same detections, which share
their faults, and it is as good as the reprojection error says. P-MPJPE counts the joints that the camera itself has
seen and that were triangulated.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np

import mocap3d
from mocap3d import metrics
from mocap3d.camera import Camera, quaternion_from_matrix
from mocap3d.evaluation.report import text_table

WORST = 40.0  # pixels
ENDINGS = (".json", ".csv", ".npz", ".pkl")


def read_cameras(path: Path) -> tuple[dict[str, Camera], dict[str, int]]:
    """Cameras by name, and by how many degrees their pictures have to be turned."""
    cameras, turns = {}, {}
    for name, entry in json.loads(path.read_text(encoding="utf-8")).items():
        try:
            intrinsics, rotation = np.array(entry["K"], float), np.array(entry["R"], float)
            k1, k2, p1, p2, k3 = [*entry.get("distortion", []), 0, 0, 0, 0, 0][:5]
            width, height = entry["size"]
            cameras[name] = Camera(
                focal=(intrinsics[0, 0], intrinsics[1, 1]),
                centre=(intrinsics[0, 2], intrinsics[1, 2]),
                width=int(width),
                height=int(height),
                distortion=(k1, k2, k3, p1, p2),
                distortion_model="opencv",
                rotation=quaternion_from_matrix(rotation.T),
                translation=-rotation.T @ np.ravel(np.array(entry["t"], float)),
                name=name,
            )
            turns[name] = int(entry.get("turn", 0)) % 360
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(f"{path}: camera {name!r} lacks or has wrong: {error}; give size, K, R, t") from None
        if turns[name] not in (0, 90, 180, 270):
            raise ValueError(f"{path}: camera {name!r} has turn={turns[name]}; give 0, 90, 180 or 270")
    return cameras, turns


def triangulate(points: np.ndarray, cameras: list[Camera]) -> tuple[np.ndarray, np.ndarray]:
    """The points nearest to the rays of all cameras that see them; while one is off by more than `WORST`, the camera
    without which the others agree best is left out.

    Args:
        points: (C, T, J, 2) pixels, NaN where a camera does not see a joint.
        cameras: C.
    Returns:
        (T, J, 3) metres, world frame, NaN where not triangulated; (C, T, J) reprojection error in pixels.
    Source: own; linear least squares on the distance to the rays, then weighted by 1 / depth^2, which is near the least
        squares of pixels.
    """
    used = np.isfinite(points).all(-1)  # (C, T, J)
    filled = np.where(used[..., None], points, [[[camera.centre]] for camera in cameras])
    rays = [camera.camera_to_world_direction(camera.rays(part)) for camera, part in zip(cameras, filled, strict=True)]
    rays = np.stack([ray / np.linalg.norm(ray, axis=-1, keepdims=True) for ray in rays])  # (C, T, J, 3)
    across = np.eye(3) - rays[..., :, None] * rays[..., None, :]  # (C, T, J, 3, 3) removes what lies along the ray
    world, errors = _nearest(across, used, filled, cameras)
    for _ in cameras[2:]:
        bad = (errors.max(0) > WORST) & (used.sum(0) > 2)  # (T, J)
        if not bad.any():
            break
        trials = [used & ~(bad & (np.arange(len(cameras)) == c)[:, None, None]) for c in range(len(cameras))]
        worst = [_nearest(across, trial, filled, cameras)[1].max(0) for trial in trials]
        worst = np.where([(trial != used).any(0) | ~bad for trial in trials], worst, np.inf)  # it did leave one out
        used = np.take_along_axis(np.stack(trials), worst.argmin(0)[None, None], 0)[0]
        world, errors = _nearest(across, used, filled, cameras)
    world[(errors.max(0) > WORST) | (used.sum(0) < 2)] = np.nan
    return world, np.where(used & np.isfinite(world).all(-1), errors, np.nan)


def _nearest(
    across: np.ndarray, used: np.ndarray, points: np.ndarray, cameras: list[Camera]
) -> tuple[np.ndarray, np.ndarray]:
    """(T, J, 3) world points, and (C, T, J) their reprojection errors in the cameras used, 0 in the others."""
    centres = np.array([camera.translation for camera in cameras])[:, None, None]  # (C, 1, 1, 3)
    weight, known = np.ones(used.shape), used.sum(0) >= 2
    for _ in range(2):
        part = (used * weight)[..., None, None] * across  # (C, T, J, 3, 3)
        left = np.where(known[..., None, None], part.sum(0), np.eye(3))
        world = np.linalg.solve(left, (part @ centres[..., None]).sum(0))[..., 0]
        weight = 1 / np.maximum(np.linalg.norm(world - centres, axis=-1), 0.1) ** 2
    with np.errstate(all="ignore"):  # joints that are not known may lie behind a camera
        seen = np.stack([camera.project(camera.world_to_camera(world)) for camera in cameras])
    errors = np.nan_to_num(np.linalg.norm(seen - points, axis=-1), nan=np.inf)
    return world, np.where(used & known, errors, 0)


def turned(pose2d: mocap3d.Pose2D, degrees: int) -> mocap3d.Pose2D:
    """Keypoints in the picture turned counter-clockwise by a multiple of 90 degrees."""
    for _ in range(degrees // 90):
        (width, height), (x, y) = pose2d.image_size, np.moveaxis(pose2d.points, -1, 0)
        pose2d = replace(pose2d, points=np.stack([y, width - x], -1), image_size=(height, width))
    return pose2d


def score(folder: Path, calibration: Path, model: str | None = None, fps: float | None = None) -> list[list[str]]:
    """Rows of the table that is printed."""
    cameras, turns = read_cameras(calibration)
    files = {path.stem: path for path in sorted(folder.iterdir()) if path.suffix in ENDINGS and path != calibration}
    names = [name for name in cameras if name in files]
    if len(names) < 2:
        raise ValueError(f"{folder} has keypoints of {', '.join(names) or 'none'} of the cameras; give two or more")
    sizes = {name: (cameras[name].width, cameras[name].height) for name in names}
    poses = {name: mocap3d.read_keypoints(files[name], fps=fps, image_size=sizes[name]) for name in names}
    if len({(len(pose), pose.skeleton.name, pose.fps) for pose in poses.values()}) > 1:
        found = "; ".join(f"{name}: {pose}" for name, pose in poses.items())
        raise ValueError(f"{found}: give the same frames of each camera")
    points = np.stack([poses[name].points for name in names]).astype(np.float64)
    world, errors = triangulate(points, [cameras[name] for name in names])
    first = poses[names[0]]
    truth = mocap3d.Pose3D(world.astype(np.float32), first.skeleton, first.fps).convert("h36m17").points
    rows = [["camera", "frames", "reprojection px", "joints counted", "P-MPJPE mm", "constant pose mm"]]
    for name, error in zip(names, errors, strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            lifted = mocap3d.lift(turned(poses[name], turns[name]), model)
        counted = np.isfinite(truth).all(-1) & np.isfinite(lifted.points).all(-1) & ~lifted.filled
        counted &= counted.sum(1, keepdims=True) >= 4  # fewer can be aligned with anything
        if not counted.any():
            rows.append([name, str(len(first)), "-", "0 %", "-", "-"])
            continue
        wanted = np.where(counted[..., None], truth, np.nan).astype(np.float64)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # means of frames without a joint are NaN
            constant = np.broadcast_to(np.nanmean(wanted - np.nanmean(wanted, 1, keepdims=True), 0), wanted.shape)
        both = [
            1000 * metrics.p_mpjpe(np.nan_to_num(pose.astype(np.float64)), wanted) for pose in (lifted.points, constant)
        ]
        cells = f"{np.nanmedian(error):.1f}", f"{counted.mean():.0%}", *(f"{value:.1f}" for value in both)
        rows.append([name, str(len(first)), *cells])
    return rows


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the keypoint files")
    parser.add_argument("--calibration", type=Path, help="by default calibration.json in the folder")
    parser.add_argument("--model", help="a file of weights; by default the networks in the package")
    parser.add_argument("--fps", type=float, help="frames per second, if the files lack it")
    options = parser.parse_args(arguments)
    try:
        calibration = options.calibration or options.folder / "calibration.json"
        rows = score(options.folder, calibration, options.model, options.fps)
    except (OSError, ValueError) as error:
        print(f"score_cameras: error: {error}", file=sys.stderr)
        return 2
    print("\n".join(text_table(rows)))
    print("Truth triangulated from the same detections; not comparable with other tables.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
