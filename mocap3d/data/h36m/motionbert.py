"""Layout 4, MotionBERT: `h36m_sh_conf_cam_source_final.pkl`, one row a frame and camera, and the clips cut from it.

    joint_2d (N,17,2) px as detected   confidence (N,17)   camera_name N ids   source N "s_09_act_05_subact_02_ca_01"
    joint3d_image (N,17,3) px: u, v of the ideal pinhole and the depth behind the root, in pixels of the root's depth
    test only: action N names   2.5d_factor (N,) mm per px   joints_2.5d_image (N,17,3) mm = joint3d_image * factor

Metric positions are not in the file. They follow from it: the four views of a take show the root from four calibrated
cameras, which gives its depth; `from_image_space` does the rest. Where a take has no second view that fits, the depth
is taken from the factor; where there is no factor either, the take is left out, with a note.

The file knows actions and "subactions", not stems: a take is "S9/Eating subaction 2", unless its stem is known.
Files written here need numpy 1.26 or newer to be read. Source: MotionBERT's reader and trainer (facts only); LCN
(Ci et al. 2019) for the image space.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mocap3d.camera import Camera, h36m_cameras
from mocap3d.data.dataset import PoseDataset
from mocap3d.data.h36m.facts import ACTIONS, CAMERAS, FPS, SUBJECTS, H36MError, action_of
from mocap3d.data.h36m.mmpose import truth_and_seen
from mocap3d.data.h36m.takes import Take, clip_labels, read_labels, takes_to_write, write_labels
from mocap3d.data.image_space import ImageSpaceError, from_image_space, mm_factor, to_image_space
from mocap3d.files import write_whole
from mocap3d.formats.safe_files import load_pickle
from mocap3d.poses import Clip, Pose2D, Pose3D, PoseError

PICKLE = "h36m_sh_conf_cam_source_final.pkl"
SLICES = "MB3D_f243s81/H36M-SH"
SPLITS = ("train", "test")
FITS = 0.5  # pixels; views whose rays miss one point by more do not show the same moment
# the takes MotionBERT's evaluator skips, and their neighbours: S9's stems that are known
SKIPPED = ("s_09_act_05_subact_02", "s_09_act_10_subact_02", "s_09_act_13_subact_01")
_KNOWN = {
    "s_09_act_05_subact_01": "Greeting 1", "s_09_act_05_subact_02": "Greeting",
    "s_09_act_10_subact_01": "SittingDown", "s_09_act_10_subact_02": "SittingDown 1",
    "s_09_act_13_subact_01": "Waiting 1", "s_09_act_13_subact_02": "Waiting",
}  # fmt: skip
# where one stem is bare and one has a number, subaction 1 is the numbered one, except here
_BARE_FIRST = {("SittingDown", subject) for subject in ("S5", "S7", "S8", "S9", "S11")} | {
    ("Photo", subject) for subject in ("S5", "S6", "S7")
}
_SOURCE = re.compile(r"(s_(\d{1,2})_act_(\d{1,4})_subact_(\d{1,4}))_ca_(\d{1,2})")


@dataclass(frozen=True)
class MotionBERTFiles:
    """What was found: the pickle, or the folder of clips, or both."""

    pickle: Path | None
    slices: Path | None


def find(root: str | Path) -> MotionBERTFiles | None:
    """Look for the pickle and the clip folders in a folder, or in `motion3d` or `data/motion3d` below it."""
    root = Path(root)
    folders = (root, root / "motion3d", root / "data" / "motion3d")
    pickles = [root] if root.is_file() and root.suffix == ".pkl" else [folder / PICKLE for folder in folders]
    slices = (
        [folder / SLICES for folder in folders] + [root / Path(SLICES).name] + [root] * (root.name == Path(SLICES).name)
    )
    file = next((path for path in pickles if path.is_file()), None)
    clips = next((path for path in slices if any(next(path.glob(f"{s}/*.pkl"), None) for s in SPLITS)), None)
    return MotionBERTFiles(file, clips) if file or clips else None


def read(
    root: str | Path | MotionBERTFiles, pose2d: str = "gt", subjects: Sequence[str] | None = None,
    notes: list[str] | None = None,
) -> list[Clip]:  # fmt: skip
    """Read the pickle as clips in metric camera space.

    Args:
        root: a folder, the file, or what `find` returned for it.
        pose2d: "gt" for the projection of the positions, lens included; "sh" for the file's detections.
        subjects: only these; None for all.
        notes: gets sentences on what was noticed, among them how far the file's factors are from computed ones.
    Returns:
        one Clip a video.
    Raises:
        H36MError: for files that are missing, damaged, or contradict themselves.
        UnsafeFileError: for a file that would run code or unpack without bound.
    """
    kind = pose2d.split("_")[0]
    if kind not in ("gt", "sh"):
        raise H36MError(f"pose2d is {pose2d!r}; MotionBERT's layout has 'gt' and 'sh'")
    notes, clips, differences = [] if notes is None else notes, [], []
    for table, stems, written in _tables(root):
        for take, views in table.takes(subjects).items():
            labels = clip_labels(views[0].subject, stems.get(take) or _stem(take), written)
            depths, measured = _root_depths(views, table, labels["take"], notes)
            for view, depth in zip(views, depths, strict=False):
                if measured and table.factor is not None:
                    differences.append(table.factor[view.rows] - mm_factor(_at(depth), view.camera))
                clips.append(_clip(table, view, depth, kind, labels))
    if differences:
        all_differences = np.abs(np.concatenate(differences))
        notes.append(
            f"2.5d_factor in the file and computed from the camera differ by {np.median(all_differences):.2g} mm/px in "
            f"the median, {all_differences.max():.2g} at most"
        )
    if not clips:
        raise H36MError(f"{root} holds no take that can be read of subjects {list(subjects or SUBJECTS)}")
    return clips


def read_factors(root: str | Path | MotionBERTFiles) -> dict[tuple[str, str], np.ndarray]:
    """The file's own factors of its test rows: (take, camera name) of a clip -> (T,) mm per pixel."""
    factors = {}
    for table, stems, written in _tables(root):
        for take, views in table.takes(None).items() if table.factor is not None else ():
            name = clip_labels(views[0].subject, stems.get(take) or _stem(take), written)["take"]
            factors |= {(name, view.camera.name): table.factor[view.rows] for view in views}
    return factors


def read_slices(
    root: str | Path | MotionBERTFiles, split: str = "train", limit: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Read the clips that MotionBERT's converter cut, in name order.

    Args:
        root: a folder, or what `find` returned for it.
        split: "train" or "test".
        limit: read only the first so many.
    Returns:
        inputs (N, F, 17, 3): x, y in screen units and confidence; labels (N, F, 17, 3): image space divided by half the
        image width, z not relative to the root. They carry no subject, camera or unit, so they are no `Clip`s.
    Raises:
        H36MError: for missing or damaged files.
    """
    files = root if isinstance(root, MotionBERTFiles) else find(root)
    paths = sorted(files.slices.glob(f"{split}/*.pkl"))[:limit] if files and files.slices else []
    if not paths:
        raise H36MError(f"{root} has no clips {SLICES}/{split}/00000000.pkl; MotionBERT's converter makes them")
    pieces = []
    for path in paths:
        content = load_pickle(path)
        pair = [content.get(key) for key in ("data_input", "data_label")] if isinstance(content, dict) else []
        shapes = [np.shape(array) for array in pair if isinstance(array, np.ndarray) and array.dtype.kind == "f"]
        wanted = pieces[0][0].shape if pieces else shapes[0] if shapes else ()
        if len(shapes) != 2 or set(shapes) != {wanted} or len(wanted) != 3 or wanted[1:] != (17, 3):
            raise H36MError(f"{path}: data_input and data_label are {shapes}; both must be (frames, 17, 3)")
        pieces.append([np.asarray(array, dtype=np.float32) for array in pair])
    inputs, labels = (np.stack(arrays) for arrays in zip(*pieces, strict=True))
    return inputs, labels


def source_names(takes: Iterable[str]) -> dict[str, str]:
    """ "S9/Greeting 1" -> "s_09_act_05_subact_01", by the numbers of Human3.6M's metadata.

    Actions that Human3.6M lacks get numbers from 17 on, in alphabetical order. No take gets a name from `SKIPPED`,
    which the published evaluator leaves out, unless it is that take of Human3.6M, which comes with its other take.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for take in takes:
        subject, _, stem = take.partition("/")
        groups.setdefault((subject, action_of(stem)), []).append(stem)
    others = sorted({action for _, action in groups} - set(ACTIONS.values()))
    numbers = {action: n for n, action in ACTIONS.items()} | {a: 17 + i for i, a in enumerate(others)}
    names = {}
    for (subject, action), stems in groups.items():
        bare_last = (action, subject) not in _BARE_FIRST
        stems = sorted(stems, key=lambda s: int(s.rpartition(" ")[2]) if " " in s else 1e9 if bare_last else -1)
        subaction = 0
        for stem in stems:
            subaction += 1
            prefix = f"s_{int(subject[1:]):02d}_act_{numbers[action]:02d}_subact_"
            name = f"{prefix}{subaction:02d}"
            if name in SKIPPED and not (_KNOWN[name] == stem and action in stems):
                subaction += 1
            names[f"{subject}/{stem}"] = f"{prefix}{subaction:02d}"
    return names


def _stem(source: str) -> str:
    """A name for a take of which the file tells action and subaction only."""
    _, _, _, action, _, subaction = source.split("_")
    action = ACTIONS.get(int(action), f"act-{action}")
    return _KNOWN.get(source, f"{action} subaction {int(subaction)}")


class _View(NamedTuple):
    subject: str
    camera: Camera
    rows: slice


def _tables(root: str | Path | MotionBERTFiles):
    """(table, stems by source, written labels) of each split there is."""
    files = root if isinstance(root, MotionBERTFiles) else find(root)
    if files is None or files.pickle is None:
        clips = "; its clips carry no subject or camera, read them with read_slices" if files else ""
        raise H36MError(f"{root} has no {PICKLE}, which docs/pose3d.md of MotionBERT links{clips}")
    written = read_labels(files.pickle.parent)
    try:
        stems = {source: take.partition("/")[2] for take, source in source_names(written).items()}
    except ValueError as error:
        raise H36MError(f"{files.pickle.parent}: takes.json holds a name unlike 'S9/walk 1': {error}") from error
    data = load_pickle(files.pickle)
    if not isinstance(data, dict) or not any(split in data for split in SPLITS):
        raise H36MError(f"{files.pickle} must be a dict with 'train' and 'test'")
    for split in SPLITS:
        if split in data:
            yield _Table(f"{files.pickle}, {split}", data[split]), stems, written


class _Table:
    """One split of the pickle, checked."""

    def __init__(self, where: str, data: object) -> None:
        self.where = where
        if not isinstance(data, dict):
            raise H36MError(f"{where} is a {type(data).__name__}; it must be a dict of columns")
        self.seen = self._floats(data, "joint_2d", (17, None))
        self.image = self._floats(data, "joint3d_image", (17, 3))
        self.confidence = self.factor = None
        if "confidence" in data:
            self.confidence = self._floats(data, "confidence", np.shape(data["confidence"])[1:])
            if self.confidence.shape[1:] not in ((17,), (17, 1)):
                raise H36MError(f"{where}: confidence is {self.confidence.shape}; it must be (N, 17) or (N, 17, 1)")
            self.confidence = self.confidence.reshape(-1, 17)
        if "2.5d_factor" in data:
            self.factor = self._floats(data, "2.5d_factor", ())
        self.sources, self.cameras = (self._words(data, key) for key in ("source", "camera_name"))

    def _floats(self, data: dict, key: str, shape: tuple[int | None, ...]) -> np.ndarray:
        array = data.get(key)
        array = np.asarray(array) if isinstance(array, list) and len(array) and np.isscalar(array[0]) else array
        if not isinstance(array, np.ndarray) or array.dtype.kind != "f" or array.ndim != 1 + len(shape):
            found = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
            raise H36MError(f"{self.where}: {key} is {found}; it must be floating point {('N', *shape)}")
        sizes = [want is None or want == size for want, size in zip(shape, array.shape[1:], strict=True)]
        rows = len(array) if key == "joint_2d" else len(self.seen)
        if not all(sizes) or (shape[-1:] == (None,) and array.shape[-1] < 2) or len(array) != rows:
            raise H36MError(f"{self.where}: {key} is {array.shape}; it must be {(rows, *shape)}")
        return array

    def _words(self, data: dict, key: str) -> list[str]:
        words = data.get(key)
        words = words.tolist() if isinstance(words, np.ndarray) and words.ndim == 1 else words
        if not isinstance(words, (list, tuple)) or len(words) != len(self.seen):
            raise H36MError(f"{self.where}: {key} must be a list of {len(self.seen)} strings, one a row")
        words = [word.decode("ascii", "replace") if isinstance(word, bytes) else word for word in words]
        if not all(isinstance(word, str) for word in words):
            raise H36MError(f"{self.where}: {key} must hold strings only")
        return words

    def takes(self, subjects: Sequence[str] | None) -> dict[str, list[_View]]:
        """The videos, by what stands before "_ca_" of their source."""
        takes, start, known = {}, 0, set()
        for source, rows in groupby(self.sources):
            stop = start + sum(1 for _ in rows)
            match = _SOURCE.fullmatch(source)
            if match is None or source in known:
                again = "comes twice" if match else "is not like s_09_act_05_subact_02_ca_01"
                raise H36MError(f"{self.where}, row {start}: source {source[:80]!r} {again}")
            known.add(source)
            subject, names = f"S{int(match[2])}", set(self.cameras[start:stop])
            if subjects is None or subject in subjects:
                if subject not in SUBJECTS or len(names) != 1 or not names <= set(CAMERAS):
                    raise H36MError(
                        f"{self.where}, {source}: subject {subject} with cameras {sorted(names)[:5]}; there are "
                        f"{', '.join(SUBJECTS)} and {', '.join(CAMERAS)}, one camera a source"
                    )
                camera = h36m_cameras(subject)[CAMERAS.index(names.pop())]
                takes.setdefault(match[1], []).append(_View(subject, camera, slice(start, stop)))
            start = stop
        return takes


def _root_depths(views: list[_View], table: _Table, take: str, notes: list[str]) -> tuple[list[np.ndarray], bool]:
    """(T,) metres of the root before each camera, or nothing if nothing tells it; and whether the cameras told it."""
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
        factors = [table.factor[view.rows].astype(np.float64) for view in views]
        return [2 * v.camera.focal[0] / (2000 / f - 1) for v, f in zip(views, factors, strict=True)], False


def _triangulated(cameras: list[Camera], roots: list[np.ndarray]) -> tuple[list[np.ndarray], float]:
    """Depth before each camera of the point nearest to all rays, and its worst distance in pixels from them.

    Args:
        cameras: V cameras; distortion is ignored.
        roots: V arrays (T, 2), ideal pixels.
    """
    normal, right = 0.0, 0.0  # of the least-squares problem: sum (I - d d^T) x = sum (I - d d^T) t
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
    """(T,) depths -> (T, 3) points on the optical axis, for functions that ask for the root and use its depth."""
    return np.stack([np.zeros_like(depth), np.zeros_like(depth), depth], -1)


def _clip(table: _Table, view: _View, depth: np.ndarray, kind: str, labels: dict[str, str]) -> Clip:
    camera, size = view.camera, (view.camera.width, view.camera.height)
    try:
        points = from_image_space(table.image[view.rows].astype(np.float64), camera, _at(depth))
        seen, confidence = camera.project(points), None
        if kind == "sh":
            seen = table.seen[view.rows, :, :2]
            confidence = None if table.confidence is None else np.clip(np.nan_to_num(table.confidence[view.rows]), 0, 1)
        pose2d = Pose2D(seen, confidence, fps=FPS, image_size=size)
        return Clip(camera=camera, pose2d=pose2d, pose3d=Pose3D(points, fps=FPS, frame="camera"), **labels)
    except (PoseError, ImageSpaceError) as error:
        raise H36MError(f"{table.where}, {labels['take']}: {error}") from error


def write(dataset: PoseDataset, folder: str | Path) -> dict[str, str]:
    """Write a data set so that MotionBERT's DataReaderH36M and trainer read it.

    Args:
        dataset: as `takes_to_write` wants it; its 2D and confidence become the detections.
        folder: gets the pickle.
    Returns:
        take of the data set -> its name in the files, "S9/walk 1"; `source_names` makes the file's own of it.
    Raises:
        H36MError: for a data set that MotionBERT could not read.
    """
    takes = takes_to_write(dataset)
    sources = source_names(take.name for take in takes)
    takes = sorted(takes, key=lambda take: sources[take.name])
    data = {split: _columns([take for take in takes if take.views[0].split == split], sources) for split in SPLITS}
    for key in ("action", "2.5d_factor", "joints_2.5d_image"):
        del data["train"][key]

    def save(part: Path) -> None:
        with part.open("wb") as file:
            pickle.dump(data, file, protocol=4)

    write_whole(Path(folder) / PICKLE, save)
    return write_labels(takes, Path(folder))


def _columns(takes: list[Take], sources: dict[str, str]) -> dict[str, object]:
    arrays = {
        "joint_2d": [np.empty((0, 17, 2))], "confidence": [np.empty((0, 17))], "joint3d_image": [np.empty((0, 17, 3))],
        "2.5d_factor": [np.empty(0)], "joints_2.5d_image": [np.empty((0, 17, 3))],
    }  # fmt: skip
    words = {"camera_name": [], "source": [], "action": []}
    for take in takes:
        for number, clip in enumerate(take.views, 1):
            points = clip.pose3d.points.astype(np.float64)
            image, factor = to_image_space(points, clip.camera), mm_factor(points[:, 0], clip.camera)
            for key, values in (
                ("joint_2d", truth_and_seen(clip)[1]), ("confidence", clip.pose2d.confidence), ("joint3d_image", image),
                ("2.5d_factor", factor), ("joints_2.5d_image", image * factor[:, None, None]),
            ):  # fmt: skip
                arrays[key].append(values.astype(np.float32))
            words["camera_name"] += [clip.camera.name] * len(clip)
            words["source"] += [f"{sources[take.name]}_ca_{number:02d}"] * len(clip)
            words["action"] += [action_of(take.stem)] * len(clip)
    columns = {key: np.concatenate(parts, dtype=np.float32) for key, parts in arrays.items()}
    return columns | {key: np.array(values, dtype=np.str_) for key, values in words.items()}
