"""Layout 4, MotionBERT: `h36m_sh_conf_cam_source_final.pkl`, one row per frame and camera, and its clips.

    joint_2d (N,17,2) px as detected   confidence (N,17)   camera_name N ids   source N "s_09_act_05_subact_02_ca_01"
    joint3d_image (N,17,3) px: u, v of the ideal pinhole and the depth behind the root, in pixels of the root's depth
    test only: action N names   2.5d_factor (N,) mm per px   joints_2.5d_image (N,17,3) mm = joint3d_image * factor

The file holds no metric positions, but they can be computed: the four views of a recording show the root from four
calibrated cameras, which gives its depth; `from_image_space` does the rest. Where a recording has no second view that
fits, the depth is computed from the factor; without a factor, the recording is left out, with a note.

The file has actions and "subactions", not stems: a recording is "S9/Eating subaction 2", unless its stem is known.
Source: MotionBERT's reader and trainer (facts only); LCN (Ci et al. 2019) for the image space.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mocap3d.camera import Camera, h36m_cameras
from mocap3d.data.h36m import reading
from mocap3d.data.h36m.facts import ACTIONS, CAMERAS, SUBJECTS, H36MError, action_of
from mocap3d.data.h36m.reading import describe, numbers, words
from mocap3d.data.image_space import ImageSpaceError, depth_of_scale, from_image_space, mm_factor
from mocap3d.formats.safe_files import load_pickle
from mocap3d.poses import Clip

PICKLE = "h36m_sh_conf_cam_source_final.pkl"
SLICES = "MB3D_f243s81/H36M-SH"
SPLITS = ("train", "test")
FITS = 0.5  # pixels; views whose rays miss a common point by more do not show the same moment
# known stems of S9: the recordings that MotionBERT's evaluator skips, and their neighbours
SKIPPED = ("s_09_act_05_subact_02", "s_09_act_10_subact_02", "s_09_act_13_subact_01")
_KNOWN = {
    "s_09_act_05_subact_01": "Greeting 1", "s_09_act_05_subact_02": "Greeting",
    "s_09_act_10_subact_01": "SittingDown", "s_09_act_10_subact_02": "SittingDown 1",
    "s_09_act_13_subact_01": "Waiting 1", "s_09_act_13_subact_02": "Waiting",
}  # fmt: skip
# where one of two stems has a number, it is subaction 1, except here
_BARE_FIRST = {("SittingDown", subject) for subject in ("S5", "S7", "S8", "S9", "S11")} | {
    ("Photo", subject) for subject in ("S5", "S6", "S7")
}
_SOURCE = re.compile(r"(s_(\d{1,2})_act_(\d{1,4})_subact_(\d{1,4}))_ca_(\d{1,2})")


@dataclass(frozen=True)
class MotionBERTFiles:
    """Files found: the pickle, the folder of clips, or both."""

    pickle: Path | None
    slices: Path | None


def find(root: str | Path) -> MotionBERTFiles | None:
    """Look for the pickle and the clip folders in a folder, or in `motion3d` or `data/motion3d` below it."""
    root = Path(root)
    folders, inner = (root, root / "motion3d", root / "data" / "motion3d"), Path(SLICES).name
    pickles = [root] if root.is_file() and root.suffix == ".pkl" else [folder / PICKLE for folder in folders]
    slices = [*(folder / SLICES for folder in folders), root / inner, *[root] * (root.name == inner)]
    file = next((path for path in pickles if path.is_file()), None)
    clips = next((path for path in slices if any(next(path.glob(f"{s}/*.pkl"), None) for s in SPLITS)), None)
    return MotionBERTFiles(file, clips) if file or clips else None


def read(
    root: str | Path | MotionBERTFiles,
    pose2d: str = "gt",
    subjects: Sequence[str] | None = None,
    notes: list[str] | None = None,
) -> list[Clip]:
    """Read the pickle as clips in metric camera space.

    Args:
        root: a folder, the file, or what `find` returned for it.
        pose2d: "gt" for the projection of the positions, with lens distortion; "sh" for the file's detections.
        subjects: only these; None for all.
        notes: remarks are appended here, among them how much the file's factors differ from computed ones.
    Returns:
        one Clip per video.
    Raises:
        H36MError: for files that are missing, damaged or inconsistent.
        UnsafeFileError: for a file that would run code or unpack without bound.
    """
    kind = pose2d.split("_")[0]
    if kind not in ("gt", "sh"):
        raise H36MError(f"pose2d is {pose2d!r}; MotionBERT's layout has 'gt' and 'sh'")
    notes, clips, differences = [] if notes is None else notes, [], []
    for table, labels, views in _takes(root, subjects):
        depths, measured = _root_depths(views, table, labels["take"], notes)
        for view, depth in zip(views, depths, strict=False):
            clips.append(_clip(table, view, depth, kind, labels))
            if measured and table.factor is not None:
                differences.append(np.abs(table.factor[view.rows] - mm_factor(_at(depth), view.camera)))
    if differences:
        every = np.concatenate(differences)
        notes.append(
            f"2.5d_factor in the file and computed from the camera differ by {np.median(every):.2g} mm/px in the "
            f"median, {every.max():.2g} at most"
        )
    if not clips:
        raise H36MError(f"{root} holds no take that can be read of subjects {list(subjects or SUBJECTS)}")
    return clips


def read_factors(root: str | Path | MotionBERTFiles) -> dict[tuple[str, str], np.ndarray]:
    """The file's own factors of its test rows: (take, camera name) of a clip -> (T,) mm per pixel."""
    return {
        (labels["take"], view.camera.name): table.factor[view.rows]
        for table, labels, views in _takes(root, None)
        if table.factor is not None
        for view in views
    }


def read_slices(
    root: str | Path | MotionBERTFiles, split: str = "train", limit: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Read the clips made by MotionBERT's converter, in name order.

    Args:
        root: a folder, or what `find` returned for it.
        split: "train" or "test".
        limit: read at most this many.
    Returns:
        inputs (N, F, 17, 3): x, y in screen units and confidence; labels (N, F, 17, 3): image space divided by half the
        image width, z not relative to the root. They have no subject, camera or unit, so they are not `Clip`s.
    Raises:
        H36MError: for missing or damaged files.
    """
    files = root if isinstance(root, MotionBERTFiles) else find(root)
    paths = sorted(files.slices.glob(f"{split}/*.pkl"))[:limit] if files and files.slices else []
    if not paths:
        raise H36MError(f"{root} has no clips {SLICES}/{split}/*.pkl; MotionBERT's converter makes them")
    pairs, frames = [], "frames"
    for path in paths:
        content = load_pickle(path)
        if not isinstance(content, dict):
            raise H36MError(f"{path} is {describe(content)}; it must be a dict of data_input and data_label")
        pair = []
        for key in ("data_input", "data_label"):
            what = f"{path}: data_input and data_label must have the same shape in every clip; {key}"
            pair.append(numbers(content.get(key), what, frames, 17, 3).astype(np.float32))
            frames = len(pair[0])
        pairs.append(pair)
    inputs, labels = (np.stack(arrays) for arrays in zip(*pairs, strict=True))
    return inputs, labels


def source_names(takes: Iterable[str]) -> dict[str, str]:
    """ "S9/Greeting 1" -> "s_09_act_05_subact_01", by the numbers of Human3.6M's metadata.

    Actions that are not in Human3.6M get numbers from 17, in alphabetical order. No recording gets a name in `SKIPPED`,
    which the published evaluator leaves out, unless it is that recording of Human3.6M, which comes with its pair.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for take in takes:
        subject, _, stem = take.partition("/")
        groups.setdefault((subject, action_of(stem)), []).append(stem)
    others = sorted({action for _, action in groups} - set(ACTIONS.values()))
    codes = {action: n for n, action in ACTIONS.items()} | {a: 17 + i for i, a in enumerate(others)}
    names = {}
    for (subject, action), stems in groups.items():
        bare = -1 if (action, subject) in _BARE_FIRST else 1e9
        stems = sorted(stems, key=lambda stem: int(stem.rpartition(" ")[2]) if " " in stem else bare)
        subaction = 0
        for stem in stems:
            subaction += 1
            prefix = f"s_{int(subject[1:]):02d}_act_{codes[action]:02d}_subact_"
            name = f"{prefix}{subaction:02d}"
            if name in SKIPPED and not (_KNOWN[name] == stem and action in stems):
                subaction += 1
            names[f"{subject}/{stem}"] = f"{prefix}{subaction:02d}"
    return names


def _stem(source: str) -> str:
    """A name for a recording of which only action and subaction are known."""
    _, _, _, action, _, subaction = source.split("_")
    action = ACTIONS.get(int(action), f"act-{action}")
    return _KNOWN.get(source, f"{action} subaction {int(subaction)}")


class _View(NamedTuple):
    subject: str
    camera: Camera
    rows: slice


class _Table(NamedTuple):
    """One split of the pickle, checked; N rows."""

    where: str
    seen: np.ndarray  # (N, 17, 2 or 3)
    image: np.ndarray  # (N, 17, 3)
    confidence: np.ndarray | None  # (N, 17)
    factor: np.ndarray | None  # (N,)
    sources: list[str]
    cameras: list[str]


def _takes(
    root: str | Path | MotionBERTFiles, subjects: Sequence[str] | None
) -> Iterator[tuple[_Table, dict[str, str], list[_View]]]:
    """For each recording: its table, labels and views."""
    files = root if isinstance(root, MotionBERTFiles) else find(root)
    if files is None or files.pickle is None:
        clips = "; its clips carry no subject or camera, read them with read_slices" if files else ""
        raise H36MError(f"{root} has no {PICKLE}, which docs/pose3d.md of MotionBERT links{clips}")
    folder = files.pickle.parent
    written = reading.read_labels(folder)
    try:
        stems = {source: take.partition("/")[2] for take, source in source_names(written).items()}
    except ValueError as error:
        why = reading.reason(error)
        raise H36MError(f"{folder}: takes.json holds a name unlike 'S9/walk 1': {why}") from error
    data = load_pickle(files.pickle)
    if not isinstance(data, dict) or not any(split in data for split in SPLITS):
        raise H36MError(f"{files.pickle} is {describe(data)}; it must be a dict with 'train' and 'test'")
    for split in SPLITS:
        if split in data:
            table = _table(f"{files.pickle}, {split}", data[split])
            for take, views in _views(table, subjects).items():
                stem = stems.get(take) or _stem(take)
                yield table, reading.clip_labels(views[0].subject, stem, written), views


def _table(where: str, data: object) -> _Table:
    if not isinstance(data, dict):
        raise H36MError(f"{where} is {describe(data)}; it must be a dict of columns")
    seen = numbers(data.get("joint_2d"), f"{where}: joint_2d", "N", 17, (2, 3))
    rows = len(seen)
    image = numbers(data.get("joint3d_image"), f"{where}: joint3d_image", rows, 17, 3)
    confidence = factor = None
    if "confidence" in data:
        confidence = data["confidence"]
        if isinstance(confidence, np.ndarray) and confidence.ndim == 3 and confidence.shape[2] == 1:
            confidence = confidence[..., 0]
        confidence = numbers(confidence, f"{where}: confidence", rows, 17)
    if "2.5d_factor" in data:
        factor = numbers(data["2.5d_factor"], f"{where}: 2.5d_factor", rows)
    sources, cameras = (words(data.get(key), f"{where}: {key}", rows) for key in ("source", "camera_name"))
    return _Table(where, seen, image, confidence, factor, sources, cameras)


def _views(table: _Table, subjects: Sequence[str] | None) -> dict[str, list[_View]]:
    """The videos, by the part of their source before "_ca_"."""
    takes, start, known = {}, 0, set()
    for source, rows in groupby(table.sources):
        stop = start + sum(1 for _ in rows)
        match = _SOURCE.fullmatch(source)
        if match is None or source in known:
            again = "comes twice" if match else "is not like s_09_act_05_subact_02_ca_01"
            raise H36MError(f"{table.where}, row {start}: source {describe(source)} {again}")
        known.add(source)
        subject, names = f"S{int(match[2])}", set(table.cameras[start:stop])
        if subjects is None or subject in subjects:
            if subject not in SUBJECTS or len(names) != 1 or not names <= set(CAMERAS):
                raise H36MError(
                    f"{table.where}, {source}: subject {subject} with cameras "
                    f"{', '.join(map(describe, sorted(names)[:5]))}; there are {', '.join(SUBJECTS)} and "
                    f"{', '.join(CAMERAS)}, one camera a source"
                )
            camera = h36m_cameras(subject)[CAMERAS.index(names.pop())]
            takes.setdefault(match[1], []).append(_View(subject, camera, slice(start, stop)))
        start = stop
    return takes


def _root_depths(views: list[_View], table: _Table, take: str, notes: list[str]) -> tuple[list[np.ndarray], bool]:
    """(T,) metres, the root's depth for each camera, empty if unknown; and whether it was triangulated."""
    roots = [table.image[view.rows, 0, :2].astype(np.float64) for view in views]
    miss, depths = np.inf, []
    if len(views) > 1 and len({len(root) for root in roots}) == 1:
        depths, miss = _triangulated([view.camera for view in views], roots)
    if miss <= FITS:
        return depths, True
    why = f"{take}: its views do not fit one another ({len(views)} views, {miss:.2g} px)"
    if table.factor is None:
        notes.append(f"{why} and its rows have no factor: left out")
        return [], False
    notes.append(f"{why}: depth taken from the file's factor")
    with np.errstate(all="ignore"):
        metres = table.factor.astype(np.float64) / 1000
        return [depth_of_scale(metres[view.rows], view.camera) for view in views], False


def _triangulated(cameras: list[Camera], roots: list[np.ndarray]) -> tuple[list[np.ndarray], float]:
    """Depth, for each camera, of the point nearest to all rays, and its largest distance from them in pixels.

    Args:
        cameras: V cameras; distortion is ignored.
        roots: V arrays (T, 2), ideal pixels.
    """
    normal, right = 0.0, 0.0  # least-squares problem: sum (I - d d^T) x = sum (I - d d^T) t
    for camera, root in zip(cameras, roots, strict=True):
        ray = np.concatenate([(root - camera.centre) / camera.focal, np.ones_like(root[:, :1])], -1)
        ray = camera.camera_to_world_direction(ray / np.linalg.norm(ray, axis=-1, keepdims=True))
        across = np.eye(3) - ray[:, :, None] * ray[:, None, :]  # (T, 3, 3)
        normal, right = normal + across, right + across @ np.array(camera.translation)
    try:
        points = np.linalg.solve(normal, right[..., None])[..., 0]  # (T, 3) world
    except np.linalg.LinAlgError:
        return [], np.inf
    locals_ = [camera.world_to_camera(points) for camera in cameras]
    with np.errstate(all="ignore"):
        misses = [
            np.linalg.norm(local[:, :2] / local[:, 2:] * camera.focal + camera.centre - root, axis=-1)
            for camera, local, root in zip(cameras, locals_, roots, strict=True)
        ]
    return [local[:, 2] for local in locals_], float(np.nan_to_num(np.max(misses), nan=np.inf))


def _at(depth: np.ndarray) -> np.ndarray:
    """(T,) depths -> (T, 3) points on the optical axis, for functions that take the root but use only its depth."""
    return np.stack([np.zeros_like(depth), np.zeros_like(depth), depth], -1)


def _clip(table: _Table, view: _View, depth: np.ndarray, kind: str, labels: dict[str, str]) -> Clip:
    try:
        points = from_image_space(table.image[view.rows].astype(np.float64), view.camera, _at(depth))
    except ImageSpaceError as error:
        raise H36MError(f"{table.where}, {describe(labels['take'])}: {error}") from error
    seen = view.camera.project(points) if kind == "gt" else table.seen[view.rows, :, :2]
    if kind == "sh" and table.confidence is not None:
        seen = np.concatenate([seen, np.nan_to_num(table.confidence[view.rows, :, None])], axis=-1)
    return reading.make_clip(table.where, view.camera, seen, points, labels)
