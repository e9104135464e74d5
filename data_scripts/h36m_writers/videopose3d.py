"""VideoPose3D's layout, as its published training script reads it; `mocap3d.data.h36m.videopose3d` says what is in it.

The script takes these files unmodified. numpy 2 writes them, so that it needs numpy 1.26 or newer.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from data_scripts.h36m_writers.takes import save, takes_to_write, write_labels
from mocap3d.camera import h36m_cameras
from mocap3d.data.dataset import PoseDataset
from mocap3d.data.h36m.facts import KEPT_JOINTS, SUBJECTS, H36MError
from mocap3d.data.h36m.videopose3d import KEYPOINTS, POSITIONS, SH16, SOURCES_2D
from mocap3d.skeleton import H36M17, H36M32


def write(dataset: PoseDataset, folder: str | Path, detections: str = "cpn") -> dict[str, str]:
    """Write any data set of Human3.6M-like takes so that the published training script and its `-k` options take it.

    The 3D file and the ground-truth 2D are always written; where the clips' 2D is not what their cameras project, it
    goes into the 2D file of `detections`. Confidence has no place in this layout. All seven subjects are always
    present, some perhaps without takes, because the script asks for each.

    Args:
        dataset: as `takes_to_write` wants it.
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
    arrays = {key: np.array(value, object) for key, value in entries.items()}
    save(path, lambda file: np.savez_compressed(file, **arrays))
