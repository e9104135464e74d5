"""MMPose's layout, as its Human36mDataset reads it; `mocap3d.data.h36m.mmpose` says what is in it."""

from __future__ import annotations

import pickle
from functools import partial
from pathlib import Path

import numpy as np

from data_scripts.h36m_writers.takes import Take, save, takes_to_write, truth_and_seen, write_labels
from mocap3d.camera import h36m_cameras, rotation_matrix
from mocap3d.data.dataset import PoseDataset
from mocap3d.data.h36m.facts import FPS, SUBJECTS, H36MError
from mocap3d.data.h36m.mmpose import DETECTIONS, EXACT, RATES, SPLITS
from mocap3d.data.image_space import mm_factor


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
        save(inside / f"h36m_{split}.npz", partial(np.savez, **rows))
        if np.abs(detected - rows["part"]).max() > EXACT:
            save(folder / DETECTIONS.format(split), partial(np.save, arr=detected))
        if split == "train":
            _write_statistics(inside, rows["part"][..., :2], rows["S"][..., :3])
        if original:
            save(inside / f"h36m_{split}_original.npz", partial(np.savez, **rows | {"part": detected}))
            if split == "test":
                save(inside / "h36m_factors.npy", partial(np.save, arr=factors))
    save(folder / "annotation_body3d" / "cameras.pkl", partial(pickle.dump, _camera_entries(), protocol=4))
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


def _with(values: np.ndarray, last: np.ndarray | float = 1.0) -> np.ndarray:
    """(T, J, C) and one more channel."""
    return np.concatenate([values, np.broadcast_to(last, values.shape[:2])[..., None]], -1)


def _write_statistics(folder: Path, part: np.ndarray, poses: np.ndarray) -> None:
    for name, values in (("joint2d", part), ("joint3d", poses)):
        relative = values[:, 1:] - values[:, :1]
        for kind, numbers in (("", values), ("_rel", relative)):
            statistics = {"mean": numbers.mean(0), "std": numbers.std(0)}
            save(folder / f"{name}{kind}_stats.pkl", partial(pickle.dump, statistics, protocol=4))


def _camera_entries() -> dict[tuple[str, str], dict]:
    column = lambda values: np.array(values, dtype=np.float64).reshape(-1, 1)  # noqa: E731
    entries = {}
    for subject in SUBJECTS:
        for number, camera in enumerate(h36m_cameras(subject), 1):
            entries[subject, camera.name] = {
                "R": rotation_matrix(camera.rotation),
                "T": column(camera.translation),
                "f": column(camera.focal),
                "c": column(camera.centre),
                "k": column(camera.distortion[:3]),
                "p": column(camera.distortion[:2:-1]),
                "w": camera.width,
                "h": camera.height,
                "name": f"camera{number}",
                "id": camera.name,
            }
    return entries
