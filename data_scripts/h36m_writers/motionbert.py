"""MotionBERT's layout, as its DataReaderH36M and trainer read it; `mocap3d.data.h36m.motionbert` says what is in it.

The pickle is written by numpy 2, so that it needs numpy 1.26 or newer to be read.
"""

from __future__ import annotations

import pickle
from functools import partial
from pathlib import Path

import numpy as np

from data_scripts.h36m_writers.takes import Take, save, takes_to_write, truth_and_seen, write_labels
from mocap3d.data.dataset import PoseDataset
from mocap3d.data.h36m.facts import action_of
from mocap3d.data.h36m.motionbert import PICKLE, SPLITS, source_names
from mocap3d.data.image_space import mm_factor, to_image_space


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
    save(Path(folder) / PICKLE, partial(pickle.dump, data, protocol=4))
    return write_labels(takes, Path(folder))


def _columns(takes: list[Take], sources: dict[str, str]) -> dict[str, object]:
    arrays = {
        "joint_2d": [np.empty((0, 17, 2))],
        "confidence": [np.empty((0, 17))],
        "joint3d_image": [np.empty((0, 17, 3))],
        "2.5d_factor": [np.empty(0)],
        "joints_2.5d_image": [np.empty((0, 17, 3))],
    }
    words = {"camera_name": [], "source": [], "action": []}
    for take in takes:
        for number, clip in enumerate(take.views, 1):
            points = clip.pose3d.points.astype(np.float64)
            image, factor = to_image_space(points, clip.camera), mm_factor(points[:, 0], clip.camera)
            for key, values in (
                ("joint_2d", truth_and_seen(clip)[1]),
                ("confidence", clip.pose2d.confidence),
                ("joint3d_image", image),
                ("2.5d_factor", factor),
                ("joints_2.5d_image", image * factor[:, None, None]),
            ):
                arrays[key].append(values.astype(np.float32))
            words["camera_name"] += [clip.camera.name] * len(clip)
            words["source"] += [f"{sources[take.name]}_ca_{number:02d}"] * len(clip)
            words["action"] += [action_of(take.stem)] * len(clip)
    columns = {key: np.concatenate(parts, dtype=np.float32) for key, parts in arrays.items()}
    return columns | {key: np.array(values, dtype=np.str_) for key, values in words.items()}
