"""Our own layout: flat arrays and a JSON index. No pickles, nothing to unpack; arrays are memory-mapped.

    mocap3d.json     data set, cameras with their lens models, and for each clip its labels and its rows
    points3d.npy     float32 (N, 17, 3) metres, each clip in its camera's frame
    points2d.npy     float32 (N, 17, 2) pixels, with lens distortion
    confidence.npy   float32 (N, 17)

Rows of a clip are contiguous, and all clips are concatenated. A folder holds one 2D source. Every number is read back
with the same bits; checksums detect damage and files of an interrupted conversion.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mocap3d.camera import Camera
from mocap3d.data.dataset import PoseDataset
from mocap3d.data.h36m.facts import H36MError
from mocap3d.data.h36m.reading import LABELS, describe, reason
from mocap3d.files import checksum, write_whole
from mocap3d.poses import Clip, Pose2D, Pose3D
from mocap3d.skeleton import H36M17

INDEX = "mocap3d.json"
FORMAT = "mocap3d-clips"
VERSION = 1
_LABELS = ("subject", "split", *LABELS)
# the arrays: shape of a row, and the values of a clip
ARRAYS = {
    "points3d": ((17, 3), lambda clip: clip.pose3d.points),
    "points2d": ((17, 2), lambda clip: clip.pose2d.points),
    "confidence": ((17,), lambda clip: clip.pose2d.confidence),
}


def find(root: str | Path) -> Path | None:
    """The index of this layout in a folder; None if there is none."""
    path = Path(root) / INDEX
    try:
        is_ours = FORMAT in path.read_bytes()[:200].decode("utf-8", "replace")
    except OSError:
        return None
    return path if is_ours else None


def write(dataset: PoseDataset, folder: str | Path, pose2d: str = "gt") -> dict[str, str]:
    """Write any h36m17 data set.

    Args:
        dataset: clips on h36m17, with any frame rates and cameras.
        folder: created if missing; files of an earlier conversion are replaced.
        pose2d: source of the 2D, recorded in the index.
    Returns:
        take -> take: names are not changed.
    Raises:
        H36MError: for another skeleton, or no clips.
    """
    folder = Path(folder)
    for clip in dataset:
        if clip.pose3d.skeleton.joints != H36M17.joints:
            raise H36MError(f"{clip!r} is on {clip.pose3d.skeleton.name}, this layout on h36m17: convert it")
    if not len(dataset):
        raise H36MError(f"{dataset.name} has no clips to write")
    cameras = list(dict.fromkeys(clip.camera for clip in dataset))
    number = {camera: i for i, camera in enumerate(cameras)}
    # remove the index while arrays change, so that it never describes old ones
    (folder / INDEX).unlink(missing_ok=True)
    arrays = {name: _write_array(folder, name, dataset) for name in ARRAYS}
    clips = [
        {
            **{key: getattr(clip, key) for key in _LABELS},
            "camera": number[clip.camera],
            "frames": len(clip),
            "fps": clip.pose3d.fps,
            "root": clip.pose3d.root,
            "image_size": clip.pose2d.image_size,
        }
        for clip in dataset
    ]
    index = {
        "format": FORMAT,
        "version": VERSION,
        "name": dataset.name,
        "notes": dataset.notes,
        "pose2d": pose2d,
        "skeleton": H36M17.name,
        "joints": H36M17.joints,
        "arrays": arrays,
        "cameras": [dataclasses.asdict(camera) for camera in cameras],
        "clips": clips,
    }
    text = json.dumps(index, separators=(",", ":"), allow_nan=False)
    write_whole(folder / INDEX, lambda part: part.write_text(text, encoding="utf-8"))
    return {take: take for take in dataset.takes}


def _write_array(folder: Path, name: str, dataset: PoseDataset) -> dict[str, int]:
    row, part = ARRAYS[name]
    header = {"descr": "<f4", "fortran_order": False, "shape": (dataset.frames, *row)}
    crc32 = 0

    def save(path: Path) -> None:
        nonlocal crc32
        with open(path, "wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for clip in dataset:
                rows = np.ascontiguousarray(part(clip), "<f4").data
                crc32 = checksum(rows, crc32)
                file.write(rows)

    write_whole(folder / f"{name}.npy", save)
    return {"rows": dataset.frames, "crc32": crc32}


def read_index(path: str | Path) -> dict:
    """The index as a dictionary.

    Raises:
        H36MError: if it is damaged, or has a version this mocap3d does not support.
    """
    try:
        index = json.loads(Path(path).read_text(encoding="utf-8"))
        found = index["format"], _count(index["version"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise H36MError(f"{path} is damaged ({reason(error)}); convert the data again") from error
    if found != (FORMAT, VERSION):
        what = f"{describe(found[0])} version {found[1]}"
        raise H36MError(f"{path} is {what}; this mocap3d reads {FORMAT!r} {VERSION}")
    return index


def read(
    files: str | Path,
    pose2d: str | None = None,
    subjects: Sequence[str] | None = None,
    notes: list[str] | None = None,
    verify: bool = True,
) -> list[Clip]:
    """Read the layout. Poses stay on disk until they are used.

    Args:
        files: the index, or its folder.
        pose2d: required source of the 2D; None accepts any.
        subjects: subjects to read; all by default.
        notes: the data set's notes are appended here.
        verify: whether to verify the checksum of every array.
    Returns:
        the clips as they were written, bit for bit.
    Raises:
        H36MError: if something is damaged or missing; the message names it.
    """
    path = Path(files) if Path(files).name == INDEX else Path(files) / INDEX
    index = read_index(path)
    if pose2d not in (None, held := index.get("pose2d")):
        what = f"holds {describe(held)} 2D, not {pose2d!r}"
        raise H36MError(f"{path.parent} {what}; ask for what it holds, or convert anew")
    arrays = {name: _open_array(path.parent, name, index, verify) for name in ARRAYS}
    try:
        cameras = [_camera(entry) for entry in index["cameras"]]
        clips, start = [], 0
        for entry in index["clips"]:
            rows = slice(start, start := start + _count(entry["frames"]))
            if start > len(arrays["points3d"]):
                break
            if subjects is None or entry["subject"] in subjects:
                clips.append(_clip(entry, cameras, {name: array[rows] for name, array in arrays.items()}))
        if notes is not None:
            notes.extend(map(str, index["notes"]))
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise H36MError(f"{path} is damaged ({reason(error)}); convert the data again") from error
    if start != len(arrays["points3d"]):
        raise H36MError(f"{path}: its clips and its arrays differ in rows; convert the data again")
    if absent := sorted(set(subjects or ()) - {clip.subject for clip in clips}):
        raise H36MError(f"{path.parent} has no clips of {', '.join(absent)}")
    return clips


def _clip(entry: dict, cameras: list[Camera], rows: dict[str, np.ndarray]) -> Clip:
    camera, size = cameras[_count(entry["camera"])], entry["image_size"]
    labels = {key: entry[key] for key in _LABELS}
    if not all(isinstance(label, str) for label in labels.values()):
        raise ValueError("a label is not text")
    if rows["confidence"].max(initial=0) > 1:  # it was written from a Pose2D, which holds none
        raise ValueError("a confidence is above 1")
    pose2d = Pose2D(rows["points2d"], rows["confidence"], H36M17, entry["fps"], size)
    pose3d = Pose3D(rows["points3d"], H36M17, entry["fps"], "camera", entry["root"])
    return Clip(camera=camera, pose2d=pose2d, pose3d=pose3d, **labels)


def _camera(entry: dict) -> Camera:
    camera = Camera(**entry)
    # Camera normalised the quaternion again, which may change the last bit; the stored one was normalised already
    object.__setattr__(camera, "rotation", tuple(map(float, entry["rotation"])))
    return camera


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"{describe(value)} is not a count")
    return value


def _open_array(folder: Path, name: str, index: dict, verify: bool) -> np.ndarray:
    """One array, memory-mapped so that writing to it changes a private copy and not the file."""
    path, shape = folder / f"{name}.npy", ARRAYS[name][0]
    try:
        rows, crc32 = (_count(index["arrays"][name][key]) for key in ("rows", "crc32"))
        array = np.load(path, mmap_mode="c", allow_pickle=False)
        if array.dtype != np.dtype("<f4") or array.shape != (rows, *shape) or array.flags.f_contiguous:
            raise ValueError(f"it holds {describe(array)}, its index says {rows} rows")
    except Exception as error:  # numpy's header parser may raise anything for a broken header
        wanted = f"it must be float32 (rows, {', '.join(map(str, shape))}): convert the data again"
        raise H36MError(f"{path} cannot be read ({reason(error)}); {wanted}") from error
    if verify and checksum(array.data) != crc32:
        raise H36MError(f"{path} is not what was written with its index: damaged; convert the data again")
    return array
