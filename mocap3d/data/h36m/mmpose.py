"""Layout 3, MMPose: rows of `annotation_body3d/fps50|fps10/h36m_{train,test}.npz`, one per image.

    imgname (N,)       S1/S1_Directions_1.54138969/S1_Directions_1.54138969_000001.jpg
    part    (N,17,3)   pixels with lens distortion, and 1
    S       (N,17,4)   metres in the frame of that row's camera, and 1
    center, scale      of the box around `part`

`fps10` keeps every fifth frame with its 50 fps number: 000001, 000006, ... `cameras.pkl` holds R (camera axes to world
axes), T (camera centre, metres), f, c, k and p = (p1, p2).

The lens model of these numbers: projecting `S` with the "videopose3d" lens gives `part` within 3e-5 px; MMPose's own
SimpleCamera doubles the cross term ("opencv" here) and differs from `part` by 0.05 to 0.19 px. The reader measures
which of the two a file follows, or neither ("none"), and sets it in each clip's camera.

Source: MMPose 1.x, its Human3.6M converter and reader (facts only).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mocap3d.camera import DISTORTION_MODELS, Camera, h36m_cameras, quaternion_from_matrix
from mocap3d.data.h36m import reading
from mocap3d.data.h36m.facts import CAMERAS, FPS, SUBJECTS, H36MError, canonical_stem
from mocap3d.data.h36m.reading import describe, numbers
from mocap3d.formats.safe_files import load_npy, load_npz, load_pickle
from mocap3d.poses import Clip

RATES = (50, 10)
SPLITS = ("train", "test")
DETECTIONS = "joint_2d_det_files/cpn_ft_h36m_dbb_{}.npy"
EXACT = 0.01  # pixels; `part` closer than this to the projection of `S` counts as its projection
SLIPPED = 1.0  # pixels, median over a body: in an otherwise exact video, such a frame is from another camera
WRONG = 50.0  # pixels: no detector has such an error
_ORIGINAL = " (MMPose's data set page links it; data_scripts/export_layouts.py writes it with --original)"
_HEAD = re.compile(r"([^_/\\]+)_([^./\\]+)\.([^_/\\]+)$")


@dataclass(frozen=True)
class MMPoseFiles:
    """Files found: the folder above `annotation_body3d`, the frame rate, the files by split, and the paths of
    cameras and factors."""

    root: Path
    fps: int
    annotations: dict[str, Path]
    original: dict[str, Path]
    detections: dict[str, Path]
    cameras: Path
    factors: Path


def find(root: str | Path, fps: int | None = None) -> MMPoseFiles | None:
    """Look for the layout in a folder, whether it is the data root, `annotation_body3d` or `fps50` itself.

    Args:
        root: the folder.
        fps: 50 or 10; None takes 50 if available.
    Returns:
        the files, or None if there is no annotation file.
    """
    root = Path(root)
    for base in (root, root / "h36m", root.parent, root.parent.parent):
        for rate in RATES if fps is None else (fps,):
            home = base / "annotation_body3d"
            inside = home / f"fps{rate}"
            if base not in (root, root / "h36m") and root not in (home, inside):
                continue
            annotations = {split: inside / f"h36m_{split}.npz" for split in SPLITS}
            original = _there({split: inside / f"h36m_{split}_original.npz" for split in SPLITS})
            detections = {split: base / DETECTIONS.format(split) for split in SPLITS}
            others = home / "cameras.pkl", inside / "h36m_factors.npy"
            if _there(annotations) or original:
                found = _there(annotations), original, _there(detections)
                return MMPoseFiles(base, rate, *found, *others)
    return None


def _there(paths: dict[str, Path]) -> dict[str, Path]:
    return {key: path for key, path in paths.items() if path.is_file()}


def read(
    root: str | Path | MMPoseFiles,
    pose2d: str = "gt",
    subjects: Sequence[str] | None = None,
    annotation: str = "mmpose",
    fps: int | None = None,
    notes: list[str] | None = None,
) -> list[Clip]:
    """Read the annotation files as clips.

    Args:
        root: a folder, or what `find` returned for it.
        pose2d: "gt" for `part`, "cpn" for the detections in `joint_2d_det_files`.
        subjects: only these; None for all.
        annotation: "mmpose", or "original" for the `h36m_*_original.npz` made from MotionBERT's data, whose `part`
            holds detections and their confidence.
        fps: 50 or 10; None takes 50 if available.
        notes: remarks on the files are appended here.
    Returns:
        one Clip per video; several, named "take:first-last", where a video lacks frames.
    Raises:
        H36MError: for files that are missing, damaged or inconsistent.
        UnsafeFileError: for a file that would run code or unpack without bound.
    """
    files = root if isinstance(root, MMPoseFiles) else find(root, fps)
    if files is not None and fps not in (None, files.fps):
        files = find(files.root, fps)
    if annotation not in ("mmpose", "original"):
        raise H36MError(f"annotation is {annotation!r}; give 'mmpose' or 'original'")
    kind = "gt" if annotation == "original" else pose2d.split("_")[0]
    if kind not in ("gt", "cpn"):
        raise H36MError(f"pose2d is {pose2d!r}; MMPose's layout has 'gt' and 'cpn'")
    annotations = {} if files is None else files.annotations if annotation == "mmpose" else files.original
    if not annotations:
        where = (
            f"{root}: annotation_body3d/fps50" if files is None else files.root / f"annotation_body3d/fps{files.fps}"
        )
        kind = "_original" * (annotation == "original")
        raise H36MError(f"{where}/h36m_test{kind}.npz is missing{_ORIGINAL * bool(kind)}, and h36m_train{kind}.npz too")
    notes = [] if notes is None else notes
    cameras, written = _Cameras(files, notes), reading.read_labels(files.root)
    clips = []
    for split, path in annotations.items():
        names, part, poses = _rows(path)
        seen = part
        if kind == "cpn":
            detected = files.root / DETECTIONS.format(split)
            if split not in files.detections:
                raise H36MError(f"{detected} is missing; MMPose's download page has it")
            seen = numbers(load_npy(detected), f"{detected} (x, y, score)", len(poses), 17, 3)
        for sequence in _sequences(path, names):
            if subjects is not None and sequence.subject not in subjects:
                continue
            camera = cameras.of(sequence, poses, part, check=annotation == "mmpose")
            for rows, labels in _runs(path, sequence, files.fps, written, notes):
                points = np.where(poses[rows, :, 3:] > 0, poses[rows, :, :3], np.nan)
                pixels = np.where(seen[rows, :, 2:] > 0, seen[rows], np.nan)
                labels["split"] = split
                clips.append(reading.make_clip(path, camera, pixels, points, labels, files.fps))
    if not clips:
        raise H36MError(f"{files.root} holds no subject of {list(subjects or ())}")
    return clips


def read_factors(root: str | Path | MMPoseFiles) -> dict[tuple[str, str], np.ndarray]:
    """The factors of MotionBERT's data, `h36m_factors.npy`: (take, camera name) of a clip -> (T,) mm per pixel.

    Raises:
        H36MError: if the file is missing, or not one number for each row of `h36m_test_original.npz`.
    """
    files = root if isinstance(root, MMPoseFiles) else find(root)
    if files is None or not files.factors.is_file() or "test" not in files.original:
        raise H36MError(f"{root} has no annotation_body3d/fps50/h36m_factors.npy with h36m_test_original.npz")
    path, factors, found = files.original["test"], load_npy(files.factors), {}
    names, _, _ = _rows(path)
    factors = numbers(_flat(factors), f"{files.factors}, mm per pixel", len(names))
    for sequence in _sequences(path, names):
        for rows, labels in _runs(path, sequence, files.fps, reading.read_labels(files.root), []):
            found[labels["take"], sequence.camera] = factors[rows]
    return found


def _flat(value: object) -> object:
    """An array of one column or row as (N,); anything else unchanged."""
    return value.reshape(-1) if isinstance(value, np.ndarray) and value.ndim == 2 else value


class _Sequence(NamedTuple):
    subject: str
    stem: str
    camera: str
    rows: np.ndarray
    numbers: np.ndarray

    def __str__(self) -> str:
        return f"{self.subject}_{self.stem}.{self.camera}"


def _rows(path: Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    """imgname (N), part (N, 17, 3) and S (N, 17, 4) of an annotation file."""
    data = load_npz(path)
    if absent := [key for key in ("imgname", "part", "S") if key not in data]:
        raise H36MError(f"{path}: {', '.join(absent)} is missing; it must hold imgname, part and S")
    part = numbers(data["part"], f"{path}: part", "N", 17, 3)
    poses = numbers(data["S"], f"{path}: S", "N", 17, 4)
    if len(part) != len(poses) or not len(poses):
        raise H36MError(f"{path}: {len(part)} rows of part, {len(poses)} of S; give as many, above 0")
    names, labels = data["imgname"], len(poses)
    if isinstance(names, np.ndarray) and names.ndim == 1 and len(names) != labels:
        raise H36MError(
            f"{path}: {len(names)} image names for {labels} rows of S. A video shorter than its labels stops the names "
            "early, and every later row is called by the wrong name; make the annotation again from complete videos"
        )
    return reading.words(names, f"{path}: imgname", labels), part, poses


def _sequences(path: Path, names: list[str]) -> list[_Sequence]:
    """Rows and frame numbers of each video, in order of first appearance."""
    groups: dict[tuple[str, ...], tuple[list[int], list[int]]] = {}
    heads: dict[str, tuple[list[int], list[int]]] = {}  # by the name without its number: parsed once per video
    for row, name in enumerate(names):
        head, _, tail = name.rpartition("_")
        number = tail.partition(".")[0]
        if head not in heads and (match := _HEAD.search(head)) and all(map(reading.is_name, match.groups())):
            heads[head] = groups.setdefault(match.groups(), ([], []))
        if head not in heads or not (number.isascii() and number.isdigit() and len(number) < 10):
            raise H36MError(
                f"{path}: image name {describe(name)} in row {row} is not like S1_Directions_1.54138969_000001.jpg"
            )
        rows, frames = heads[head]
        rows.append(row)
        frames.append(int(number))
    return [_Sequence(*key, np.array(rows), np.array(frames)) for key, (rows, frames) in groups.items()]


def _runs(
    path: Path, sequence: _Sequence, fps: int, written: dict, notes: list[str]
) -> Iterator[tuple[np.ndarray, dict[str, str]]]:
    """Rows and labels of each run of frames without a gap; adds a note for each run that is not a whole video."""
    step = int(FPS) // fps
    gaps = np.diff(sequence.numbers)
    if (gaps % step).any() or (gaps <= 0).any() or (len(gaps) and gaps.min() > step):
        raise H36MError(
            f"{path}: frame numbers of {sequence} do not rise in steps of {step}, as they do in fps{fps}; "
            "the file is for another rate, or its rows are shuffled"
        )
    starts = np.flatnonzero(gaps > step) + 1
    for rows, frames in zip(np.split(sequence.rows, starts), np.split(sequence.numbers, starts), strict=True):
        labels = reading.clip_labels(sequence.subject, canonical_stem(sequence.stem), written)
        if len(starts):
            labels["take"] += f":{frames[0]}-{frames[-1]}"
            notes.append(f"{sequence} lacks frames; {frames[0]} to {frames[-1]} are a clip of their own")
        yield rows, labels


class _Cameras:
    """The cameras of `cameras.pkl`, each with the lens model that `part` follows."""

    def __init__(self, files: MMPoseFiles, notes: list[str]) -> None:
        self._notes = notes
        self._known: dict[tuple[str, str], Camera] = {}
        self._path = files.cameras if files.cameras.is_file() else None
        self._data = {} if self._path is None else load_pickle(files.cameras)
        if not isinstance(self._data, dict):
            raise H36MError(f"{files.cameras} is {describe(self._data)}; it must be a dict of cameras")
        if self._path is None:
            self._notes.append("cameras.pkl is absent; the calibration that comes with mocap3d was used")

    def of(self, sequence: _Sequence, poses: np.ndarray, part: np.ndarray, check: bool) -> Camera:
        """The camera of a video; raises H36MError if its rows do not fit the camera."""
        key = (sequence.subject, sequence.camera)
        points, seen = poses[sequence.rows, :, :3].astype(np.float64), part[sequence.rows]
        pixels = np.where(seen[..., 2:] > 0, seen[..., :2], np.nan)
        if key not in self._known:
            models = DISTORTION_MODELS[::-1] if check else ("videopose3d",)
            options = [self._build(*key, model) for model in models]
            errors = [np.median(_misses(camera, points[:200], pixels[:200])) for camera in options]
            self._known[key] = options[int(np.argmin(errors))]
        camera = self._known[key]
        if check:
            self._check(sequence, camera, _misses(camera, points, pixels))
        return camera

    def _check(self, sequence: _Sequence, camera: Camera, misses: np.ndarray) -> None:
        rows = np.median(misses, -1)  # (T,) pixels
        slipped = np.flatnonzero(rows > (SLIPPED if np.median(rows) < EXACT else WRONG))
        if len(slipped):
            raise H36MError(
                f"{sequence}: at frame {sequence.numbers[slipped[0]]} S projects {rows[slipped[0]]:.4g} px from part. "
                "The image names have slipped against the labels, as after a video shorter than its labels, "
                "or cameras.pkl is of other data"
            )
        worst = float(misses.max(initial=0.0))
        if worst > EXACT:
            self._notes.append(
                f"{sequence}: part is up to {worst:.2f} px from the projection of S by the "
                f"{camera.distortion_model!r} lens"
            )

    def _build(self, subject: str, name: str, model: str) -> Camera:
        key = (subject, name)
        if self._path is None and subject in SUBJECTS and name in CAMERAS:
            return h36m_cameras(subject)[CAMERAS.index(name)]
        if key not in self._data:
            raise H36MError(f"{self._path or 'cameras.pkl'} has no camera {key}")
        entry, where = self._data[key], f"{self._path}: camera {key}"
        if not isinstance(entry, dict):
            raise H36MError(f"{where} is {describe(entry)}; it must be a dict of w, h, R, T, f, c, k and p")
        sides = numbers([entry.get("w"), entry.get("h")], f"{where}, w and h", 2, kinds="fiu")
        focal, centre, place, k, p = (
            numbers(_flat(entry.get(key)), f"{where}, {key}", size, kinds="fiu")
            for key, size in (("f", 2), ("c", 2), ("T", 3), ("k", 3), ("p", 2))
        )
        axes = numbers(entry.get("R"), f"{where}, R", 3, 3, kinds="fiu")
        try:
            with np.errstate(all="ignore"):
                lens = np.concatenate([k, p if model == "opencv" else p[::-1]]) * (model != "none")
                model, turn = model if lens.any() else "none", quaternion_from_matrix(axes)
                return Camera(focal, centre, *map(int, sides), lens, model, turn, place, name)
        except (ValueError, OverflowError) as error:
            raise H36MError(f"{where} is unusable: {reading.reason(error)}") from error


def _misses(camera: Camera, points: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """(T, J) pixels between the projection of camera-frame points and their detections; 0 where not detected."""
    with np.errstate(all="ignore"):
        return np.nan_to_num(np.linalg.norm(camera.project(points) - pixels, axis=-1))
