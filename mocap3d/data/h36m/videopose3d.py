"""VideoPose3D's layout: `data_3d_h36m.npz` and `data_2d_h36m_<source>.npz`, dictionaries inside object arrays.

    3D  {subject: {stem: float32 (T, 32, 3)}}, metres, world frame
    2D  {subject: {stem: [four float32 (T', J, 2)]}}, pixels, cameras in the data set's order, T' >= T

J is 17, or 16 for stacked hourglass, which has no nose. The cameras are not in the files: they are those of
`camera.h36m_cameras`, lens model "videopose3d", with which the ground-truth 2D was made.

Source: the published reader and data preparation (Pavllo et al. 2019), rewritten from its facts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mocap3d.camera import h36m_cameras
from mocap3d.data.h36m import reading
from mocap3d.data.h36m.facts import KEPT_JOINTS, SUBJECTS, H36MError, canonical_stem
from mocap3d.data.h36m.reading import describe, numbers
from mocap3d.files import excerpt
from mocap3d.formats.safe_files import load_npz
from mocap3d.poses import Clip
from mocap3d.skeleton import H36M17

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
NOSE16 = "midpoint of thorax and head, approximated"


@dataclass(frozen=True)
class Files:
    """Files found: the 3D file, and the 2D files by the last part of their names."""

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
    files: Files | str | Path, pose2d: str = "gt", subjects: Sequence[str] | None = None, notes: list[str] | None = None
) -> list[Clip]:
    """Read the layout, with the checks of its published reader and clear errors.

    Args:
        files: from `find`, or the folder.
        pose2d: "gt", "cpn", "detectron", "sh", "sh-mpii", or the last part of a 2D file's name. Without a "gt" file
            the truth is projected, with the same lens model as in that file.
        subjects: subjects to read; by default all in the files.
        notes: remarks on whatever was changed or left out are appended here.
    Returns:
        four clips per recording, 2D cut to the length of the 3D.
    Raises:
        H36MError: for invalid files; the message names the file, the recording and the problem.
        UnsafeFileError: for a file that contains more than data, or is damaged.
    """
    notes = [] if notes is None else notes
    if not isinstance(files, Files):
        root, files = files, find(files)
        if files is None:
            raise H36MError(f"{root} holds no {POSITIONS}; make it with VideoPose3D's prepare_data_h36m.py")
    positions = _table(files.positions, "positions_3d")
    source = _keypoints(files, pose2d, notes)
    keypoints = None if source is None else _table(source, "positions_2d")
    if unknown := sorted(set(positions) - set(SUBJECTS)):
        notes.append(f"{files.positions.name}: left out {', '.join(unknown)}: no published cameras")
    present = [subject for subject in SUBJECTS if subject in positions]
    reading.check_subjects(files.positions, subjects, present)
    written = reading.read_labels(files.positions.parent)
    clips = []
    for subject in present if subjects is None else subjects:
        seen = keypoints and keypoints.get(subject, {})
        if keypoints and (extra := sorted(set(seen) - set(positions[subject]))):
            notes.append(f"{subject}: left out {', '.join(extra)}, which has 2D but no 3D")
        for stem, points in positions[subject].items():
            at = f"[{subject!r}][{stem!r}]"
            points = numbers(points, f"{files.positions}: positions_3d{at}, 32 joints,", "frames", 32, 3)
            world = points[:, KEPT_JOINTS].astype(np.float64)  # (T, 17, 3)
            where = f"{source}: positions_2d{at}"
            views = None if keypoints is None else _views(seen.get(stem), where, len(world))
            labels = reading.clip_labels(subject, canonical_stem(stem), written)
            for number, camera in enumerate(h36m_cameras(subject)):
                local = camera.world_to_camera(world)
                view = camera.project(local) if views is None else views[number]
                clips.append(reading.make_clip(files.positions.parent, camera, view, local, labels))
    if not clips:
        raise H36MError(f"{files.positions} holds no takes of {', '.join(subjects or SUBJECTS)}")
    return clips


def _table(path: Path, key: str) -> dict[str, dict]:
    """The {subject: {stem: ...}} under a key of an npz file."""
    entries = load_npz(path)
    table = entries.get(key)
    if not isinstance(table, dict):
        has = excerpt(", ".join(entries), 100)
        raise H36MError(f"{path}: {key} is {describe(table)}; it must be a dictionary; the file has {has}")
    for subject, stems in table.items():
        if not (reading.is_name(subject) and isinstance(stems, dict) and all(map(reading.is_name, stems))):
            what = f"{key}[{describe(subject)}] is {describe(stems)}"
            raise H36MError(f"{path}: {what}, not a dictionary of file stems")
    return table


def _keypoints(files: Files, pose2d: str, notes: list[str]) -> Path | None:
    """The requested 2D file; None if the truth is to be projected."""
    source = SOURCES_2D.get(pose2d, pose2d)
    if source in files.keypoints:
        if source.startswith("sh_"):
            notes.append(f"2D {source}: 16 joints; nose = {NOSE16}" + _MPII_NOTE * (source == "sh_pt_mpii"))
        return files.keypoints[source]
    if source == "gt":
        notes.append(f"no {KEYPOINTS.format('gt')}: ground-truth 2D projected from the 3D, lens included")
        return None
    there = ", ".join(files.keypoints) or "none"
    raise H36MError(
        f"no {KEYPOINTS.format(source)} in {files.positions.parent}; there are: {there}. VideoPose3D's "
        "DATASETS.md says where its detections are published"
    )


_MPII_NOTE = "; not fine-tuned: its spine and thorax are MPII's thorax and neck"


def _views(views: object, where: str, frames: int) -> list[np.ndarray]:
    """Four (frames, 17, 2 or 3) arrays, one per camera."""
    if views is None:
        raise H36MError(f"{where} is missing: it has 3D but no 2D; the two files do not belong together")
    several = isinstance(views, (list, tuple)) or isinstance(views, np.ndarray) and views.ndim
    if not several or len(views) != 4:
        raise H36MError(f"{where} is {describe(views)}; it must be a list of four arrays, one a camera")
    checked = []
    for number, view in enumerate(views):
        view = numbers(view, f"{where}, camera {number},", "frames", (17, 16), (2, 3))
        if len(view) < frames:
            has = f"{len(view)} frames of 2D for {frames} of 3D"
            raise H36MError(f"{where}, camera {number}: {has}; 2D may be longer, never shorter")
        checked.append((view if view.shape[1] == 17 else sh16_to_h36m17(view))[:frames])
    return checked


def sh16_to_h36m17(points: np.ndarray) -> np.ndarray:
    """(..., 16, C) stacked hourglass -> (..., 17, C); the nose is the `NOSE16`."""
    taken = points[..., [SH16.index("head" if joint == "nose" else joint) for joint in H36M17.joints], :]
    taken[..., H36M17.index("nose"), :] += points[..., SH16.index("thorax"), :]
    taken[..., H36M17.index("nose"), :] /= 2
    return taken
