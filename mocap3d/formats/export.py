"""Write poses to npz, csv and json, and read them back; write motion for other programs.

Every npz, csv and json file says what its numbers are: skeleton and joint names, frames per second, timestamps if there
are any, and image size (2D, pixels) or frame, root and unit (3D, metres); npz and json also hold `filled` of a lifted
pose. Missing joints are NaN in npz, empty in csv and null in json. Numbers in csv and json are rounded to 5 decimals,
that is to 10 micrometres.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np

from mocap3d.arguments import FilePath, check_arguments
from mocap3d.files import write_whole
from mocap3d.formats.animation_files import PREFIXES, write_angles, write_bvh, write_glb, write_trc
from mocap3d.formats.keypoint_files import read_numbers, read_table
from mocap3d.formats.motion_file import MAX_BYTES, read_text
from mocap3d.formats.safe_files import load_npz
from mocap3d.poses import Pose2D, Pose3D
from mocap3d.skeleton import SKELETONS, Skeleton


class ExportError(ValueError):
    """A pose file that cannot be written or read back."""


def write(pose: Pose2D | Pose3D, path: FilePath, names: str = "mixamo") -> Path:
    """Write a pose; the format is that of the file's name.

        .npz .csv .json   all there is to know of a Pose2D or Pose3D; read back by `read_keypoints` or `read_pose`
        .bvh              a skeleton that moves, for Blender and others: centimetres, y up, T-pose at rest
        .glb              the same with a capsule per bone, in metres, for any glTF viewer; needs mocap3d[video]
        .trc              joint positions in metres, y up, for OpenSim
        .angles.csv       flexion and abduction of the joints in degrees (`joint_angles`)

    Args:
        pose: a Pose2D, or a Pose3D; the last four take a Pose3D only. BVH and GLB have bones of constant length: the
            median ones of the pose (see `animate` for rotations, missing joints and the ground).
        path: an existing file is replaced, once the new one is complete.
        names: of the joints in BVH and GLB, "mixamo" (mixamorig:Hips) or "lafan1" (Hips).
    Returns:
        the path.
    Raises:
        ExportError: for another ending, or a Pose2D where a Pose3D is needed.
        ImportError: if a package that .glb needs is not installed.
    Source: own.
    """
    check_arguments(write, locals())
    path = Path(path)
    own = {".npz": _write_npz, ".csv": _write_csv, ".json": _write_json}
    others = {".bvh": write_bvh, ".glb": write_glb, ".trc": write_trc, ".angles.csv": write_angles}
    ending = ".angles.csv" if path.name.lower().endswith(".angles.csv") else path.suffix.lower()
    if ending not in own | others:
        raise ExportError(f"{path}: give a file name that ends in {', '.join(own | others)}")
    if names not in PREFIXES:
        raise ExportError(f"names={names!r}: give {' or '.join(map(repr, PREFIXES))}")
    skeleton, flat = pose.skeleton, isinstance(pose, Pose2D)
    if ending in others:
        if flat:
            raise ExportError(f"{path}: {ending} holds a Pose3D, not a Pose2D; lift it first")
        return write_whole(path, lambda temporary: others[ending](pose, temporary, names))
    about = {"format": "mocap3d pose2d" if flat else "mocap3d pose3d", "skeleton": skeleton.name, "fps": pose.fps}
    about |= {"joints": skeleton.joints, "parents": skeleton.parents, "left": skeleton.left, "right": skeleton.right}
    about |= {"image_size": pose.image_size, "unit": "pixels"} if flat else {
        "frame": pose.frame, "root": pose.root, "unit": "metres"}  # fmt: skip
    arrays = {"points": pose.points, "timestamps": pose.timestamps}
    arrays |= {"confidence": pose.confidence} if flat else {"filled": pose.filled}
    arrays = {name: array for name, array in arrays.items() if array is not None}
    return write_whole(path, lambda temporary: own[ending](temporary, about, arrays))


def _write_npz(path: Path, about: dict, arrays: dict[str, np.ndarray]) -> None:
    with open(path, "wb") as file:
        np.savez_compressed(file, **about, **arrays)


def _write_json(path: Path, about: dict, arrays: dict[str, np.ndarray]) -> None:
    rounded = {name: np.round(array.astype(np.float64), 5) for name, array in arrays.items() if name != "filled"}
    values = {name: np.where(np.isfinite(array), array, None).tolist() for name, array in rounded.items()}
    values |= {"filled": arrays["filled"].tolist()} if "filled" in arrays else {}
    path.write_text(json.dumps(about | values, allow_nan=False), encoding="utf-8")


def _write_csv(path: Path, about: dict, arrays: dict[str, np.ndarray]) -> None:
    """A comment line with what the numbers are; one row per frame; columns such as left_knee_x."""
    axes = ("x", "y", "score") if "confidence" in arrays else ("x", "y", "z")
    values = [np.atleast_3d(arrays[name]) for name in ("points", "confidence") if name in arrays]  # (T, J, 2 or 3 or 1)
    times = arrays.get("timestamps", np.arange(len(values[0])) / about["fps"]).round(6).tolist()
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(f"# {json.dumps(about)}\n")
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["frame", "time", *(f"{joint}_{axis}" for joint in about["joints"] for axis in axes)])
        for number, row in enumerate(np.concatenate(values, -1).reshape(len(values[0]), -1).tolist()):
            cells = ("" if np.isnan(value) else round(value, 5) for value in row)
            rows.writerow([number, times[number], *cells])


def read_pose(path: FilePath) -> Pose3D:
    """Read back a Pose3D that `write` wrote.

    Args:
        path: the file.
    Raises:
        ExportError: if it is not such a file, or damaged.
    Source: own.
    """
    check_arguments(read_pose, locals())
    try:
        with open(path, "rb") as file:
            start = file.read(2)
        if start == b"PK":
            about = {k: v.item() if np.ndim(v) == 0 else v for k, v in load_npz(path).items()}
        elif start[:1] == b"{":
            about = json.loads(read_text(path, MAX_BYTES))
        else:
            about, _, rows = read_table(read_text(path, MAX_BYTES).decode())
            table = read_numbers(rows)  # frame, time, points
            about["points"] = table[:, 2:].reshape(len(table), -1, 3)
            if np.abs(table[:, 1] - np.arange(len(table)) / about["fps"]).max() > 2e-6:
                about["timestamps"] = table[:, 1]
        if about["format"] != "mocap3d pose3d":
            raise ExportError(f"it is a {about['format']}; of keypoints, use read_keypoints")
        joints, left, right = (tuple(map(str, about[key])) for key in ("joints", "left", "right"))
        skeleton = Skeleton(str(about["skeleton"]), joints, tuple(map(int, about["parents"])), left, right)
        skeleton = SKELETONS[skeleton.name] if SKELETONS.get(skeleton.name) == skeleton else skeleton
        points = np.array(about["points"], np.float32)
        labels = [np.array(about[key]) if key in about else None for key in ("timestamps", "filled")]
        return Pose3D(points, skeleton, float(about["fps"]), str(about["frame"]), str(about["root"]), *labels)
    except (OSError, LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise ExportError(f"{path}: no pose that write() wrote, or damaged ({type(error).__name__}: {error})") from None
