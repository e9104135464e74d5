"""The one call that loads a data set by name."""

from __future__ import annotations

from pathlib import Path

from mocap3d.data.dataset import DatasetError, PoseDataset
from mocap3d.data.open_mocap import load_open_mocap
from mocap3d.data.synthetic import make_synthetic

DATASETS = ("synthetic", "open-mocap")


def load_dataset(
    name: str = "synthetic", root: str | Path | None = None, pose2d: str = "gt", **options
) -> PoseDataset:
    """Load a data set by name.

    Args:
        name: "synthetic" (built in, no files) or "open-mocap" (CMU and Bandai-Namco folders).
        root: folder of the files, for data sets that have some; by default the MOCAP3D_DATA variable.
        pose2d: "gt" for projected truth, or a simulated detector: "cpn" or "sh".
        options: passed to `make_synthetic` or `load_open_mocap`.
    Returns:
        PoseDataset at 50 fps on h36m17, with `.train` and `.test`.
    Raises:
        DatasetError: for an unknown name or missing files, saying what to do.
    """
    if name == "synthetic":
        dataset = make_synthetic(**options)
    elif name == "open-mocap":
        dataset = load_open_mocap(root, **options)
    else:
        raise DatasetError(f"no data set {name!r}; there are: {', '.join(DATASETS)}")
    return dataset if pose2d == "gt" else dataset.with_detections(pose2d)
