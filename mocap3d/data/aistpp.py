"""AIST++: dancers filmed by nine cameras, with real COCO-17 detections and 3D triangulated from them.

Source: Li, Yang, Ross, Kanazawa, "AI Choreographer: Music Conditioned 3D Dance Generation with AIST++", ICCV 2021. The
annotations are CC BY 4.0; `data_scripts/fetch_aistpp.py` fetches them. The videos, which are not needed, have terms of
their own.

Layout: keypoints2d/NAME.pkl (nine views, pixels and scores, 60 fps), keypoints3d/NAME.pkl (COCO-17, centimetres),
cameras/mapping.txt (NAME -> setting) and cameras/SETTING.json, splits/pose_{train,val,test}.txt, ignore_list.txt. NAME
is GENRE_SITUATION_cAll_DANCER_MUSIC_CHOREOGRAPHY, such as gBR_sBM_cAll_d04_mBR0_ch01. In their world y is up, and the
floor at 0.

The 3D comes from the same detections, over nine views and time: it is no motion capture, and hips, shoulders and face
lie where COCO puts them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mocap3d.camera import Camera, quaternion_from_matrix
from mocap3d.data.dataset import DatasetError, PoseDataset
from mocap3d.formats.safe_files import load_pickle
from mocap3d.poses import Clip, Pose2D, Pose3D

VIEWS = tuple(f"c{number:02d}" for number in range(1, 10))
FPS, MODEL_FPS = 60.0, 50.0
SPLITS = {"train": "train", "val": "check", "test": "test"}  # official list -> Clip.split
LICENCE = "AIST++ annotations: Google LLC, CC BY 4.0; cite Li et al. 2021"
Z_UP = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])  # their world axes -> ours
# From the publisher's own code: a view that is not in step with the others, and one filmed at another size.
WRONG_VIEWS = {("gBR_sBM_cAll_d04_mBR0_ch01", "c05"), ("gJB_sBM_cAll_d07_mJB3_ch05", "c07")}


def load_aistpp(root: str | Path, splits: Sequence[str] = ("test",), views: Sequence[str] = VIEWS) -> PoseDataset:
    """Load AIST++ with its own detections.

    Args:
        root: folder with keypoints2d/, keypoints3d/, cameras/ and splits/.
        splits: official lists for pose estimation: "train", "val" (loaded as `.check`), "test". Each has other dancers.
        views: of "c01" to "c09"; c01 is in front.
    Returns:
        PoseDataset on h36m17 at 50 fps, metres, world z up. Missing joints are NaN with confidence 0. Views in which
        some frame shows nobody are left out, and counted in the notes.
    Raises:
        DatasetError: if a folder, a list, or every recording of the lists is missing, or a file has another layout.
        UnsafeFileError: if a pickle needs anything but plain data, or is damaged.
    """
    root = Path(root).expanduser()
    if unknown := [*set(splits) - set(SPLITS), *set(views) - set(VIEWS)]:
        raise DatasetError(f"AIST++ has no {unknown[0]!r}; splits are {', '.join(SPLITS)}, views {', '.join(VIEWS)}")
    try:
        settings = dict(line.split() for line in _lines(root / "cameras" / "mapping.txt"))
        wanted = [(split, name) for split in splits for name in _names(root / "splits" / f"pose_{split}.txt")]
    except OSError as error:
        raise DatasetError(f"{error}; fetch AIST++ with data_scripts/fetch_aistpp.py") from None
    ignored = set(_lines(root / "ignore_list.txt")) if (root / "ignore_list.txt").exists() else set()
    clips, absent, nobody, cameras = [], 0, 0, {}
    for split, name in wanted:
        files = [root / folder / f"{name}.pkl" for folder in ("keypoints2d", "keypoints3d")]
        if name in ignored or name not in settings or not all(file.exists() for file in files):
            absent += 1
            continue
        setting = settings[name]
        if setting not in cameras:
            cameras[setting] = _cameras(root / "cameras" / f"{setting}.json")
        seen, pose = _read(*files)
        for view in views:
            if (name, view) in WRONG_VIEWS or view not in cameras[setting]:
                continue
            points = seen[VIEWS.index(view)]
            if np.isnan(points[..., :2]).any(-1).all(-1).any():
                nobody += 1
                continue
            clips.append(_clip(name, SPLITS[split], cameras[setting][view], points, pose))
    if not clips:
        raise DatasetError(f"{root} holds no recording of the lists {', '.join(splits)}; fetch the folders completely")
    notes = LICENCE, f"{absent} recordings are absent or ignored; {nobody} views show nobody in some frame: left out"
    return PoseDataset("aistpp", tuple(clips), notes)


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _names(path: Path) -> list[str]:
    """The recordings of a list, whether it names them or single views."""
    return list(dict.fromkeys(re.sub(r"_c(All|\d\d)_", "_cAll_", line) for line in _lines(path)))


def _read(file2d: Path, file3d: Path) -> tuple[np.ndarray, np.ndarray]:
    """(9, T, 17, 3) pixels and score, and (T, 17, 3) their world, metres."""
    try:
        seen = np.asarray(load_pickle(file2d)["keypoints2d"], dtype=np.float32)
        pose = np.asarray(load_pickle(file3d)["keypoints3d_optim"], dtype=np.float64) / 100
    except (KeyError, TypeError, IndexError) as error:
        raise DatasetError(f"{file2d} or {file3d} lacks keypoints2d or keypoints3d_optim ({error!r})") from None
    if seen.ndim != 4 or len(seen) != len(VIEWS) or seen.shape[2:] != (17, 3) or pose.shape != seen.shape[1:]:
        raise DatasetError(f"{file2d} has shape {seen.shape}, {file3d} {pose.shape}; must be (9, T, 17, 3), (T, 17, 3)")
    return seen, pose


def _cameras(path: Path) -> dict[str, Camera]:
    """By view. x_camera = R x + t in centimetres; R as a rotation vector, distortion in OpenCV's order."""
    found = {}
    for entry in json.loads(path.read_text(encoding="utf-8")):
        rotation, (k1, k2, p1, p2, k3) = _rotation(np.array(entry["rotation"])), entry["distortions"]
        matrix, (width, height) = np.array(entry["matrix"]), entry["size"]
        found[entry["name"]] = Camera(
            focal=(matrix[0, 0], matrix[1, 1]), centre=(matrix[0, 2], matrix[1, 2]), width=width, height=height,
            distortion=(k1, k2, k3, p1, p2), distortion_model="opencv",
            rotation=quaternion_from_matrix(Z_UP @ rotation.T),
            translation=Z_UP @ -rotation.T @ np.array(entry["translation"]) / 100, name=entry["name"],
        )  # fmt: skip
    return found


def _rotation(vector: np.ndarray) -> np.ndarray:
    """The matrix of a rotation vector (Rodrigues' formula)."""
    angle = np.linalg.norm(vector)
    x, y, z = vector / max(angle, 1e-12)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def _clip(name: str, split: str, camera: Camera, seen: np.ndarray, pose: np.ndarray) -> Clip:
    genre, _, _, dancer, *_ = name.split("_")
    points, score = seen[..., :2], seen[..., 2]
    confidence = np.where(np.isnan(points).any(-1), 0, np.clip(np.nan_to_num(score), 0, 1))
    pose2d = Pose2D(points, confidence, "coco17", FPS, (camera.width, camera.height))
    pose3d = Pose3D(pose @ Z_UP.T, "coco17", FPS, "world", "absolute").in_camera(camera)
    return Clip(
        dancer, genre, camera, pose2d.convert().resample(MODEL_FPS), pose3d.convert().resample(MODEL_FPS), name,
        split, "aistpp", dancer, LICENCE,
    )  # fmt: skip
