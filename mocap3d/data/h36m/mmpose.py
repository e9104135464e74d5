"""Layout 3, MMPose: rows of `annotation_body3d/fps50|fps10/h36m_{train,test}.npz`, one per image.

    imgname (N,)       S1/S1_Directions_1.54138969/S1_Directions_1.54138969_000001.jpg
    part    (N,17,3)   pixels as the lens shows them, and 1
    S       (N,17,4)   metres in the frame of that row's camera, and 1
    center, scale      of the box around `part`

`fps10` keeps every fifth frame under its 50 fps number: 000001, 000006, ... `cameras.pkl` holds R (camera axes to world
axes), T (camera centre, metres), f, c, k and p = (p1, p2).

Which lens these numbers mean: `part` follows from `S` by the "videopose3d" lens, within 3e-5 px; MMPose's own
SimpleCamera doubles the cross term ("opencv" here) and misses `part` by 0.05 to 0.19 px. The reader measures which of
the two a file follows, or neither ("none"), and declares it in each clip's camera.

Source: MMPose 1.x, its Human3.6M converter and reader (facts only).
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from mocap3d.camera import (
    DISTORTION_MODELS,
    Camera,
    CameraError,
    h36m_cameras,
    quaternion_from_matrix,
    rotation_matrix,
)  # fmt: skip
from mocap3d.data.dataset import PoseDataset
from mocap3d.data.h36m.facts import CAMERAS, FPS, SUBJECTS, H36MError, canonical_stem
from mocap3d.data.h36m.takes import Take, clip_labels, read_labels, takes_to_write, write_labels
from mocap3d.data.image_space import mm_factor
from mocap3d.files import write_whole
from mocap3d.formats.safe_files import load_npy, load_npz, load_pickle
from mocap3d.poses import Clip, Pose2D, Pose3D, PoseError

RATES = (50, 10)
SPLITS = ("train", "test")
DETECTIONS = "joint_2d_det_files/cpn_ft_h36m_dbb_{}.npy"
EXACT = 0.01  # pixels; `part` nearer than this to the projection of `S` is its projection
SLIPPED = 1.0  # pixels, median over a body: in a video exact otherwise, this frame is of another camera
WRONG = 50.0  # pixels: no detector is that far off
_HEAD = re.compile(r"([^_/\\]+)_([^./\\]+)\.([^_/\\]+)$")


@dataclass(frozen=True)
class MMPoseFiles:
    """What was found: the folder above `annotation_body3d`, the rate, and the file of each part there is."""

    root: Path
    fps: int
    annotations: dict[str, Path]
    original: dict[str, Path]
    detections: dict[str, Path]
    cameras: Path | None
    factors: Path | None
    missing: tuple[str, ...]


def find(root: str | Path, fps: int | None = None) -> MMPoseFiles | None:
    """Look for the layout in a folder, whether it is the data root, `annotation_body3d` or `fps50` itself.

    Args:
        root: the folder.
        fps: 50 or 10; None takes 50 if it is there.
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
            names = {split: inside / f"h36m_{split}.npz" for split in SPLITS}
            original = {split: inside / f"h36m_{split}_original.npz" for split in SPLITS}
            if not any(path.is_file() for path in (*names.values(), *original.values())):
                continue
            detections = {split: base / DETECTIONS.format(split) for split in SPLITS}
            cameras, factors = home / "cameras.pkl", inside / "h36m_factors.npy"
            absent = [p for p in (*names.values(), cameras, *detections.values()) if not p.is_file()]
            there = lambda paths: {split: p for split, p in paths.items() if p.is_file()}  # noqa: E731
            return MMPoseFiles(
                base, rate, there(names), there(original), there(detections),
                cameras if cameras.is_file() else None, factors if factors.is_file() else None,
                tuple(str(path.relative_to(base)) for path in absent),
            )  # fmt: skip
    return None


def read(
    root: str | Path | MMPoseFiles, pose2d: str = "gt", subjects: Sequence[str] | None = None,
    annotation: str = "mmpose", fps: int | None = None, notes: list[str] | None = None,
) -> list[Clip]:  # fmt: skip
    """Read the annotation files as clips.

    Args:
        root: a folder, or what `find` returned for it.
        pose2d: "gt" for `part`, "cpn" for the detections in `joint_2d_det_files`.
        subjects: only these; None for all.
        annotation: "mmpose", or "original" for the `h36m_*_original.npz` made from MotionBERT's data, whose `part`
            holds detections and their confidence.
        fps: 50 or 10; None takes 50 if it is there.
        notes: gets sentences on what was noticed.
    Returns:
        one Clip a video; several, named "take:first-last", where a video lacks frames.
    Raises:
        H36MError: for files that are missing, damaged, or contradict themselves.
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
        raise H36MError(f"{root} has no annotation_body3d/fps50 or fps10 with h36m_train.npz or h36m_test.npz")
    notes = [] if notes is None else notes
    cameras, written = _Cameras(files), read_labels(files.root)
    clips = []
    for split, path in annotations.items():
        if kind == "cpn" and split not in files.detections:
            raise H36MError(f"{files.root / DETECTIONS.format(split)} is missing; MMPose's download page has it")
        names, part, poses = _rows(path)
        sequences = [s for s in _sequences(path, names) if subjects is None or s.subject in subjects]
        if len(names) != len(poses):
            raise H36MError(_short_video(path, len(names), len(poses)))
        seen = _detections(files.detections[split], len(poses)) if kind == "cpn" else part
        for sequence in sequences:
            camera = cameras.of(sequence, poses, part, check=annotation == "mmpose")
            for rows, first, last, whole in _pieces(path, sequence, files.fps):
                labels = clip_labels(sequence.subject, canonical_stem(sequence.stem), written)
                if not whole:
                    labels["take"] += f":{first}-{last}"
                    notes.append(f"{sequence} lacks frames; frames {first} to {last} are a clip of their own")
                clips.append(_clip(path, camera, seen[rows], poses[rows], files.fps, labels | {"split": split}))
    if not clips:
        raise H36MError(f"{files.root} holds no subject of {list(subjects or ())}")
    notes += cameras.notes
    return clips


def read_factors(root: str | Path | MMPoseFiles) -> dict[tuple[str, str], np.ndarray]:
    """The factors of MotionBERT's data, `h36m_factors.npy`: (take, camera name) of a clip -> (T,) mm per pixel.

    Raises:
        H36MError: if the file is missing, or not one number for each row of `h36m_test_original.npz`.
    """
    files = root if isinstance(root, MMPoseFiles) else find(root)
    if files is None or files.factors is None or "test" not in files.original:
        raise H36MError(f"{root} has no annotation_body3d/fps50/h36m_factors.npy with h36m_test_original.npz")
    names, _, _ = _rows(files.original["test"])
    factors = load_npy(files.factors)
    if not isinstance(factors, np.ndarray) or factors.dtype.kind != "f" or factors.size != len(names):
        found = getattr(factors, "shape", type(factors).__name__)
        raise H36MError(f"{files.factors} is {found}; beside this annotation it must be ({len(names)},)")
    factors, written, found = factors.reshape(-1), read_labels(files.root), {}
    for sequence in _sequences(files.original["test"], names):
        labels = clip_labels(sequence.subject, canonical_stem(sequence.stem), written)
        for rows, first, last, whole in _pieces(files.original["test"], sequence, files.fps):
            take = labels["take"] if whole else f"{labels['take']}:{first}-{last}"
            found[take, sequence.camera] = factors[rows]
    return found


class _Sequence(NamedTuple):
    subject: str
    stem: str
    camera: str
    rows: np.ndarray
    numbers: np.ndarray

    def __str__(self) -> str:
        return f"{self.subject}_{self.stem}.{self.camera}"


def _rows(path: Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    """imgname (N), part (N, 17, 3) and S (M, 17, 4) of an annotation file; N and M still unchecked."""
    data = load_npz(path)
    for key, shape in (("imgname", ()), ("part", (17, 3)), ("S", (17, 4))):
        array = data.get(key)
        if not isinstance(array, np.ndarray) or array.shape[1:] != shape or array.ndim != 1 + len(shape):
            found = getattr(array, "shape", "missing")
            raise H36MError(f"{path}: {key} is {found}; it must be {('N', *shape)}")
        if shape and array.dtype.kind != "f":
            raise H36MError(f"{path}: {key} holds {array.dtype}; it must hold floating point numbers")
    if len(data["part"]) != len(data["S"]) or not len(data["S"]):
        raise H36MError(f"{path}: {len(data['part'])} rows of part, {len(data['S'])} of S; give as many, above 0")
    return [str(name) for name in data["imgname"].tolist()], data["part"], data["S"]


def _sequences(path: Path, names: list[str]) -> list[_Sequence]:
    """Rows and frame numbers of each video, in order of first appearance."""
    groups: dict[tuple[str, ...], tuple[list[int], list[int]]] = {}
    heads: dict[str, tuple[list[int], list[int]]] = {}  # by all of a name but its number: parsed once a video
    for row, name in enumerate(names):
        head, _, tail = name.rpartition("_")
        number = tail.partition(".")[0]
        if head not in heads and (match := _HEAD.search(head)):
            heads[head] = groups.setdefault(match.groups(), ([], []))
        if head not in heads or not (number.isascii() and number.isdigit() and len(number) < 10):
            raise H36MError(
                f"{path}: image name {name[:80]!r} in row {row} is not like S1_Directions_1.54138969_000001.jpg"
            )
        rows, numbers = heads[head]
        rows.append(row)
        numbers.append(int(number))
    return [_Sequence(*key, np.array(rows), np.array(numbers)) for key, (rows, numbers) in groups.items()]


def _pieces(path: Path, sequence: _Sequence, fps: int) -> Iterator[tuple[np.ndarray, int, int, bool]]:
    """Runs of frames without a gap: rows, first and last number, and whether that is all of the video."""
    step = int(FPS) // fps
    gaps = np.diff(sequence.numbers)
    if (gaps % step).any() or (gaps <= 0).any() or (len(gaps) and gaps.min() > step):
        raise H36MError(
            f"{path}: frame numbers of {sequence} do not rise in steps of {step}, as they do in fps{fps}; "
            "the file is for another rate, or its rows are shuffled"
        )
    cuts = [0, *(np.flatnonzero(gaps > step) + 1), len(sequence.rows)]
    for start, stop in zip(cuts[:-1], cuts[1:], strict=True):
        numbers = sequence.numbers[start:stop]
        yield sequence.rows[start:stop], int(numbers[0]), int(numbers[-1]), len(cuts) == 2


def _short_video(path: Path, names: int, labels: int) -> str:
    return (
        f"{path}: {names} image names for {labels} rows of S. A video shorter than its labels stops the names early, "
        "and every later row is then called by the wrong name; make the annotation again from complete videos"
    )


def _clip(path: Path, camera: Camera, seen: np.ndarray, poses: np.ndarray, fps: int, labels: dict) -> Clip:
    points = np.where(poses[..., 3:] > 0, poses[..., :3], np.nan)
    pixels = np.where(seen[..., 2:] > 0, seen[..., :2], np.nan)
    try:
        size = (camera.width, camera.height)
        pose2d = Pose2D(pixels, np.clip(seen[..., 2], 0, 1), fps=fps, image_size=size)
        return Clip(camera=camera, pose2d=pose2d, pose3d=Pose3D(points, fps=fps, frame="camera"), **labels)
    except PoseError as error:
        raise H36MError(f"{path}, {labels['take']}: {error}") from error


def _detections(path: Path, rows: int) -> np.ndarray:
    array = load_npy(path)
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f" or array.shape != (rows, 17, 3):
        found = getattr(array, "shape", type(array).__name__)
        raise H36MError(f"{path} is {found}; beside this annotation it must be ({rows}, 17, 3): x, y, score")
    return array


class _Cameras:
    """The cameras of `cameras.pkl`, each with the lens model that `part` proves."""

    def __init__(self, files: MMPoseFiles) -> None:
        self.notes: list[str] = []
        self._known: dict[tuple[str, str], Camera] = {}
        self._path = files.cameras
        self._data = {} if files.cameras is None else load_pickle(files.cameras)
        if not isinstance(self._data, dict):
            raise H36MError(f"{files.cameras} is a {type(self._data).__name__}; it must be a dict of cameras")
        if files.cameras is None:
            self.notes.append("cameras.pkl is absent; the calibration that comes with mocap3d was used")

    def of(self, sequence: _Sequence, poses: np.ndarray, part: np.ndarray, check: bool) -> Camera:
        """The camera of a video; raises H36MError if its rows were not taken by it."""
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
                f"{sequence}: at frame {sequence.numbers[slipped[0]]} S projects {rows[slipped[0]]:.1f} px from part. "
                "The image names have slipped against the labels, as after a video shorter than its labels, "
                "or cameras.pkl is of other data"
            )
        worst = float(misses.max(initial=0.0))
        if worst > EXACT:
            self.notes.append(
                f"{sequence}: part is up to {worst:.2f} px from the projection of S by the "
                f"{camera.distortion_model!r} lens"
            )

    def _build(self, subject: str, name: str, model: str) -> Camera:
        entry = self._data.get((subject, name))
        if entry is None:
            if self._path is None and subject in SUBJECTS and name in CAMERAS:
                return h36m_cameras(subject)[CAMERAS.index(name)]
            raise H36MError(f"{self._path or 'cameras.pkl'} has no camera {(subject, name)}")
        try:
            with np.errstate(all="ignore"):
                k, p = (np.asarray(entry[key], dtype=np.float64).ravel() for key in "kp")
                lens = np.concatenate([k, p if model == "opencv" else p[::-1]]) * (model != "none")
                return Camera(
                    np.ravel(entry["f"]), np.ravel(entry["c"]), int(entry["w"]), int(entry["h"]), lens,
                    model if lens.any() else "none", quaternion_from_matrix(entry["R"]), np.ravel(entry["T"]), name,
                )  # fmt: skip
        except (CameraError, LookupError, TypeError, ValueError, OverflowError) as error:
            raise H36MError(f"{self._path}: camera {(subject, name)} is unusable: {error}") from error


def _misses(camera: Camera, points: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """(T, J) pixels between the projection of camera-frame points and where they were seen; 0 where they were not."""
    with np.errstate(all="ignore"):
        return np.nan_to_num(np.linalg.norm(camera.project(points) - pixels, axis=-1))


def write(dataset: PoseDataset, folder: str | Path, fps: int = 50, original: bool = False) -> dict[str, str]:
    """Write a data set so that MMPose's Human36mDataset reads it.

    Writes the annotation of both splits, cameras.pkl, the statistics of the training split, and, where the 2D are
    detections, `joint_2d_det_files`; `part` is then still the projection.

    Args:
        dataset: as `takes_to_write` wants it.
        folder: the `data_root` of MMPose's configurations.
        fps: 50 or 10.
        original: also write `h36m_*_original.npz` (2D and confidence as they are) and `h36m_factors.npy`.
    Returns:
        take of the data set -> its name in the files.
    Raises:
        H36MError: for a data set that MMPose could not read.
    """
    if fps not in RATES:
        raise H36MError(f"fps is {fps}; MMPose's folders are fps50 and fps10")
    folder, takes = Path(folder), takes_to_write(dataset)
    inside = folder / "annotation_body3d" / f"fps{fps}"
    for split in SPLITS:
        rows = _split_rows([take for take in takes if take.views[0].split == split], int(FPS) // fps)
        if not len(rows["imgname"]):
            continue
        detected, factors = rows.pop("detected"), rows.pop("factors")
        _save(inside / f"h36m_{split}.npz", partial(np.savez, **rows))
        if np.abs(detected - rows["part"]).max() > EXACT:
            _save(folder / DETECTIONS.format(split), partial(np.save, arr=detected))
        if split == "train":
            _write_statistics(inside, rows["part"][..., :2], rows["S"][..., :3])
        if original:
            _save(inside / f"h36m_{split}_original.npz", partial(np.savez, **rows | {"part": detected}))
            if split == "test":
                _save(inside / "h36m_factors.npy", partial(np.save, arr=factors))
    _save(folder / "annotation_body3d" / "cameras.pkl", partial(pickle.dump, _camera_entries(), protocol=4))
    return write_labels(takes, folder)


def _split_rows(takes: list[Take], step: int) -> dict[str, np.ndarray]:
    """The columns of an annotation file, in its order of rows: subject, take, camera, frame."""
    takes = sorted(takes, key=lambda take: int(take.subject[1:]))
    clips = [(take, clip) for take in takes for clip in take.views]
    rows = {key: [] for key in ("imgname", "part", "S", "detected", "factors")}
    for take, clip in clips:
        name = f"{take.subject}_{take.stem.replace(' ', '_')}.{clip.camera.name}"
        points = clip.pose3d.points[::step].astype(np.float64)
        truth, seen = (pixels[::step] for pixels in truth_and_seen(clip))
        numbers = range(1, len(clip) + 1, step)
        rows["imgname"].append(np.array([f"{take.subject}/{name}/{name}_{i:06d}.jpg" for i in numbers]))
        rows["part"].append(_with(truth))
        rows["S"].append(_with(points))
        rows["detected"].append(_with(seen, clip.pose2d.confidence[::step]))
        rows["factors"].append(mm_factor(points[:, 0], clip.camera))
    columns = {key: np.concatenate(values) if values else np.array([]) for key, values in rows.items()}
    if clips:
        low, high = columns["part"][..., :2].min(1), columns["part"][..., :2].max(1)  # (N, 2)
        columns |= {"center": (low + high) / 2, "scale": 1.2 * (high - low).max(1) / 200}
    return columns


def truth_and_seen(clip: Clip) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (T, J, 2) that the published camera of a clip's subject projects, and those that the clip holds.

    Where the clip holds what its own camera projects, perhaps by another lens model, both are the truth.
    """
    points, seen = clip.pose3d.points.astype(np.float64), clip.pose2d.points.astype(np.float64)
    camera = h36m_cameras(clip.subject)[CAMERAS.index(clip.camera.name)]
    truth = camera.project(points)
    if np.abs(seen - truth).max() < EXACT:
        return seen, seen  # keep its own digits
    return truth, truth if np.abs(seen - clip.camera.project(points)).max() < EXACT else seen


def _with(values: np.ndarray, last: np.ndarray | float = 1.0) -> np.ndarray:
    """(T, J, C) and one more channel."""
    return np.concatenate([values, np.broadcast_to(last, values.shape[:2])[..., None]], -1)


def _write_statistics(folder: Path, part: np.ndarray, poses: np.ndarray) -> None:
    for name, values in (("joint2d", part), ("joint3d", poses)):
        relative = values[:, 1:] - values[:, :1]
        for kind, numbers in (("", values), ("_rel", relative)):
            statistics = {"mean": numbers.mean(0), "std": numbers.std(0)}
            _save(folder / f"{name}{kind}_stats.pkl", partial(pickle.dump, statistics, protocol=4))


def _camera_entries() -> dict[tuple[str, str], dict]:
    column = lambda values: np.array(values, dtype=np.float64).reshape(-1, 1)  # noqa: E731
    entries = {}
    for subject in SUBJECTS:
        for number, camera in enumerate(h36m_cameras(subject), 1):
            entries[subject, camera.name] = {
                "R": rotation_matrix(camera.rotation), "T": column(camera.translation), "f": column(camera.focal),
                "c": column(camera.centre), "k": column(camera.distortion[:3]), "p": column(camera.distortion[:2:-1]),
                "w": camera.width, "h": camera.height, "name": f"camera{number}", "id": camera.name,
            }  # fmt: skip
    return entries


def _save(path: Path, write: Callable[[BinaryIO], object]) -> None:
    def whole(part: Path) -> None:
        with part.open("wb") as file:
            write(file)

    write_whole(path, whole)
