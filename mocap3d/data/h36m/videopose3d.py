"""VideoPose3D's layout: `data_3d_h36m.npz` and `data_2d_h36m_<source>.npz`, dictionaries inside object arrays.

    3D  {subject: {stem: float32 (T, 32, 3)}}, metres, world frame
    2D  {subject: {stem: [four float32 (T', J, 2)]}}, pixels, cameras in the data set's order, T' >= T

J is 17, or 16 for stacked hourglass, which has no nose. The cameras are in no file: they are those of
`camera.h36m_cameras`, lens model "videopose3d", which made the ground-truth 2D.

Files written here are read by the published training script unmodified. numpy 2 writes them, so that script needs
numpy 1.26 or newer. Source: the published reader and data preparation (Pavllo et al. 2019), rewritten from its facts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mocap3d.camera import Camera, h36m_cameras
from mocap3d.data.dataset import PoseDataset
from mocap3d.data.h36m.facts import FPS, KEPT_JOINTS, SUBJECTS, H36MError, canonical_stem
from mocap3d.data.h36m.takes import clip_labels, read_labels, takes_to_write, write_labels
from mocap3d.files import write_whole
from mocap3d.formats.safe_files import load_npz
from mocap3d.poses import Clip, Pose2D, Pose3D, PoseError
from mocap3d.skeleton import H36M17, H36M32

POSITIONS = "data_3d_h36m.npz"
KEYPOINTS = "data_2d_h36m_{}.npz"
SOURCES_2D = {
    "gt": "gt", "cpn": "cpn_ft_h36m_dbb", "detectron": "detectron_ft_h36m", "sh": "sh_ft_h36m", "sh-mpii": "sh_pt_mpii",
}  # fmt: skip
# stacked hourglass, under the names it has after fine-tuning on Human3.6M
SH16 = (
    *"right_foot right_knee right_hip left_hip left_knee left_foot pelvis spine thorax head".split(),
    *"right_wrist right_elbow right_shoulder left_shoulder left_elbow left_wrist".split(),
)
SH16_PROVENANCE = {joint: joint for joint in H36M17.joints} | {"nose": "midpoint of thorax and head, approximated"}


@dataclass(frozen=True)
class Files:
    """What was found: the 3D file, and the 2D files by the last part of their names."""

    positions: Path
    keypoints: dict[str, Path]


def find(root: str | Path) -> Files | None:
    """The layout's files in a folder or its `data` folder; None without the 3D file."""
    for folder in (Path(root), Path(root) / "data"):
        if (folder / POSITIONS).is_file():
            before, after = KEYPOINTS.split("{}")
            paths = sorted(folder.glob(KEYPOINTS.format("*")))
            return Files(folder / POSITIONS, {p.name[len(before) : -len(after)]: p for p in paths})
    return None


def read(
    files: Files | str | Path,
    pose2d: str = "gt",
    subjects: Sequence[str] | None = None,
    notes: list[str] | None = None,
) -> list[Clip]:
    """Read the layout, checked as its published reader would, with errors in words.

    Args:
        files: from `find`, or the folder.
        pose2d: "gt", "cpn", "detectron", "sh", "sh-mpii", or the last part of a 2D file's name. Without a "gt" file
            the truth is projected, by the lens model that made that file.
        subjects: those wanted; by default all in the files.
        notes: sentences about what was not taken as it stood are appended here.
    Returns:
        four clips a take, 2D cut to the length of the 3D.
    Raises:
        H36MError: naming the file, the take and what is wrong.
        UnsafeFileError: for a file that holds more than data, or is damaged.
    """
    notes = [] if notes is None else notes
    if not isinstance(files, Files):
        root, files = files, find(files)
        if files is None:
            raise H36MError(f"{root} holds no {POSITIONS}; make it with VideoPose3D's prepare_data_h36m.py")
    positions = _table(files.positions, "positions_3d")
    keypoints = _keypoints(files, pose2d, notes)
    if unknown := sorted(set(positions) - set(SUBJECTS)):
        notes.append(f"{files.positions.name}: left out {', '.join(unknown)}: no published cameras")
    present = [subject for subject in SUBJECTS if subject in positions]
    if absent := sorted(set(subjects or ()) - set(present)):
        raise H36MError(f"{files.positions} has no {', '.join(absent)}; it has {', '.join(present)}")
    written = read_labels(files.positions.parent)
    clips = []
    for subject in present if subjects is None else subjects:
        seen = keypoints and keypoints.get(subject, {})
        if keypoints and (extra := sorted(set(seen) - set(positions[subject]))):
            notes.append(f"{subject}: left out {', '.join(extra)}, which has 2D but no 3D")
        for stem, points in positions[subject].items():
            where = f"{files.positions.parent}, {subject} {stem!r}"
            views = None if keypoints is None else _views(seen.get(stem), where)
            labels = clip_labels(subject, canonical_stem(stem), written)
            clips += _clips(points, views, h36m_cameras(subject), labels, where)
    if not clips:
        raise H36MError(f"{files.positions} holds no takes of {', '.join(subjects or SUBJECTS)}")
    return clips


def _table(path: Path, key: str) -> dict[str, dict]:
    """The {subject: {stem: ...}} under a key of an npz file."""
    entries = load_npz(path)
    table = entries.get(key)
    if not isinstance(table, dict):
        raise H36MError(f"{path} has no dictionary {key!r}; it has {', '.join(map(str, entries)) or 'nothing'}")
    for subject, stems in table.items():
        if not (isinstance(subject, str) and isinstance(stems, dict) and all(map(_is_stem, stems))):
            raise H36MError(f"{path}: {key}[{subject!r}] is not a dictionary of file stems")
    return table


def _is_stem(stem: object) -> bool:
    return isinstance(stem, str) and 0 < len(stem) < 100


def _keypoints(files: Files, pose2d: str, notes: list[str]) -> dict[str, dict] | None:
    """The 2D table wanted; None where the truth is to be projected."""
    source = SOURCES_2D.get(pose2d, pose2d)
    if source in files.keypoints:
        if source.startswith("sh_"):
            nose = SH16_PROVENANCE["nose"]
            notes.append(f"2D {source}: 16 joints; nose = {nose}" + _MPII_NOTE * (source == "sh_pt_mpii"))
        return _table(files.keypoints[source], "positions_2d")
    if source == "gt":
        notes.append(f"no {KEYPOINTS.format('gt')}: ground-truth 2D projected from the 3D, lens included")
        return None
    there = ", ".join(files.keypoints) or "none"
    raise H36MError(
        f"no {KEYPOINTS.format(source)} in {files.positions.parent}; there are: {there}. VideoPose3D's "
        "DATASETS.md says where its detections are published"
    )


_MPII_NOTE = "; not fine-tuned: its spine and thorax are MPII's thorax and neck"


def _views(views: object, where: str) -> list[np.ndarray]:
    """Four (T', 17, 2 or 3) arrays, one a camera."""
    if views is None:
        raise H36MError(f"{where} has 3D but no 2D; the two files do not belong together")
    if not isinstance(views, (list, tuple, np.ndarray)) or len(views) != 4:
        raise H36MError(f"{where}: its 2D must be a list of four arrays, one a camera")
    for number, view in enumerate(views):
        if not (
            isinstance(view, np.ndarray)
            and view.dtype.kind == "f"
            and view.ndim == 3
            and view.shape[1] in (16, 17)
            and view.shape[2] in (2, 3)
        ):
            what = f"{view.dtype} {view.shape}" if isinstance(view, np.ndarray) else type(view).__name__
            raise H36MError(f"{where}, camera {number}: 2D is {what}; it must be float (frames, 17 or 16, 2)")
    return [view if view.shape[1] == 17 else sh16_to_h36m17(view) for view in views]


def sh16_to_h36m17(points: np.ndarray) -> np.ndarray:
    """(..., 16, C) stacked hourglass -> (..., 17, C); see `SH16_PROVENANCE`."""
    taken = points[..., [SH16.index("head" if joint == "nose" else joint) for joint in H36M17.joints], :]
    taken[..., H36M17.index("nose"), :] += points[..., SH16.index("thorax"), :]
    taken[..., H36M17.index("nose"), :] /= 2
    return taken


def _clips(
    points: object,
    views: list[np.ndarray] | None,
    cameras: Sequence[Camera],
    labels: dict[str, str],
    where: str,
) -> list[Clip]:
    if not (isinstance(points, np.ndarray) and points.dtype.kind == "f" and points.shape[1:] == (32, 3)):
        what = f"{points.dtype} {points.shape}" if isinstance(points, np.ndarray) else type(points).__name__
        raise H36MError(f"{where}: 3D is {what}; it must be float (frames, 32 joints, 3), metres")
    world = points[:, KEPT_JOINTS].astype(np.float64)  # (T, 17, 3)
    clips = []
    for number, camera in enumerate(cameras):
        local = camera.world_to_camera(world)
        view = camera.project(local) if views is None else views[number]
        if len(view) < len(world):
            raise H36MError(
                f"{where}, camera {number}: {len(view)} frames of 2D for {len(world)} of 3D; 2D may be longer, "
                "never shorter"
            )
        view = view[: len(world)]
        confidence = np.clip(view[..., 2], 0, 1) if view.shape[2] == 3 else None
        try:
            seen = Pose2D(view[..., :2], confidence, H36M17, FPS, (camera.width, camera.height))
            clips.append(Clip(camera=camera, pose2d=seen, pose3d=Pose3D(local, H36M17, FPS, "camera"), **labels))
        except PoseError as error:
            raise H36MError(f"{where}, camera {number}: {error}") from error
    return clips


def write(dataset: PoseDataset, folder: str | Path, detections: str = "cpn") -> dict[str, str]:
    """Write any data set of Human3.6M-like takes so that the published training script and its `-k` options take it.

    The 3D file and the ground-truth 2D are always written; where the clips' 2D is not what their cameras project, it
    goes into the 2D file of `detections`. Confidence has no place in this layout. All seven subjects are always
    present, some perhaps without takes, because the script asks for each.

    Args:
        dataset: see `takes.takes_to_write`.
        folder: made if missing.
        detections: name for 2D that is not truth, as in `read`; for "sh" the nose is left out.
    Returns:
        take -> its name in these files, e.g. "S1/walk 1".
    Raises:
        H36MError: if a take cannot be written so.
    """
    folder = Path(folder)
    takes = takes_to_write(dataset)
    positions, truth, detected = ({subject: {} for subject in SUBJECTS} for _ in range(3))
    kind = SOURCES_2D.get(detections, detections)
    any_detected = False
    for take in takes:
        points = [clip.pose3d.points.astype(np.float64) for clip in take.views]
        given = [clip.pose2d.points for clip in take.views]
        seen = [clip.camera.project(x) for clip, x in zip(take.views, points, strict=True)]
        exact = [camera.project(x) for camera, x in zip(h36m_cameras(take.subject), points, strict=True)]
        any_detected |= not _near(seen, given)
        # truth by another lens model is projected anew by this layout's; each view its own array, because the
        # published reader normalises them in place, once a camera
        truth[take.subject][take.stem] = [np.array(v, np.float32) for v in (given if _near(exact, given) else exact)]
        detected[take.subject][take.stem] = [_as_kind(view, kind) for view in given]
        positions[take.subject][take.stem] = _scatter(take.world)
    if any_detected and kind == "gt":
        raise H36MError(f"{dataset.name}: its 2D is not the projected truth; name what it is, not 'gt'")
    _save(folder / POSITIONS, positions_3d=positions)
    _save(folder / KEYPOINTS.format("gt"), positions_2d=truth, metadata=_metadata("gt"))
    if any_detected:
        _save(folder / KEYPOINTS.format(kind), positions_2d=detected, metadata=_metadata(kind))
    return write_labels(takes, folder)


def _near(one: list[np.ndarray], other: list[np.ndarray], pixels: float = 0.01) -> bool:
    return all(np.abs(a - b).max() <= pixels for a, b in zip(one, other, strict=True))


def _as_kind(view: np.ndarray, kind: str) -> np.ndarray:
    return np.array(view[:, H36M17.indices(SH16)] if kind.startswith("sh_") else view, np.float32)


def _scatter(world: np.ndarray) -> np.ndarray:
    """(T, 17, 3) -> float32 (T, 32, 3): the 17 in their rows, every other joint where its parent is."""
    full = np.zeros((len(world), 32, 3), np.float32)
    full[:, KEPT_JOINTS] = world
    for joint, parent in enumerate(H36M32.parents):
        if joint not in KEPT_JOINTS:
            full[:, joint] = full[:, parent]
    return full


def _metadata(kind: str) -> dict[str, object]:
    joints = SH16 if kind.startswith("sh_") else H36M17.joints
    sides = [sorted(joints.index(name) for name in side) for side in (H36M17.left, H36M17.right)]
    metadata = {"num_joints": len(joints), "keypoints_symmetry": sides}
    return metadata if kind == "gt" or len(joints) == 16 else {"layout_name": "h36m", **metadata}


def _save(path: Path, **entries: dict) -> None:
    def save(part: Path) -> None:
        with open(part, "wb") as file:
            np.savez_compressed(file, **{key: np.array(value, object) for key, value in entries.items()})

    write_whole(path, save)
