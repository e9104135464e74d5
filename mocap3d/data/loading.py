"""Load a data set by name."""

from __future__ import annotations

import os
from pathlib import Path

from mocap3d.arguments import check_arguments
from mocap3d.data.aistpp import load_aistpp
from mocap3d.data.dataset import DatasetError, PoseDataset
from mocap3d.data.detector import DETECTORS
from mocap3d.data.h36m.load import load_h36m
from mocap3d.data.open_mocap import load_open_mocap
from mocap3d.data.phone import VERSION, load_phone_test
from mocap3d.data.synthetic.recordings import make_synthetic

DATASETS = ("synthetic", "open-mocap", "h36m", "aistpp")


def choose_data() -> str:
    """The data set that this machine's variables point to: what the notebooks work on.

    Returns:
        "h36m" if MOCAP3D_H36M is set, else "open-mocap" if MOCAP3D_DATA is, else "synthetic".
    """
    named = {"h36m": "MOCAP3D_H36M", "open-mocap": "MOCAP3D_DATA"}
    return next((name for name, variable in named.items() if os.environ.get(variable)), "synthetic")


def load_dataset(
    name: str = "synthetic", root: str | Path | None = None, pose2d: str | None = None, **options
) -> PoseDataset:
    """Load a data set by name.

    Args:
        name: "synthetic" (built in, no files), "open-mocap" (CMU and Bandai-Namco folders), "h36m" (Human3.6M in
            any of the common layouts; licensed, so bring your own) or "aistpp" (AIST++, with real detections).
        root: folder of the files, for data sets that need files; by default the MOCAP3D_DATA variable, for "h36m"
            MOCAP3D_H36M.
        pose2d: "gt" for projected ground truth, or detections: "cpn" or "sh", which are simulated, except in "h36m",
            which has files of real ones. By default "gt"; for "h36m" see `load_h36m`; not for "aistpp", which has its
            own detections.
        options: passed to `make_synthetic`, `load_open_mocap`, `load_h36m` or `load_aistpp`; e.g. hold_out="recordings"
            for "open-mocap". With cameras="phone-v1", "open-mocap" is the fixed test set of `load_phone_test` instead,
            which comes with its own detections.
    Returns:
        PoseDataset on h36m17 with `.train` and `.test`, at 50 fps (MMPose's fps10 files: 10).
    Raises:
        DatasetError: for an unknown name or missing files; the message states what to do.
    """
    check_arguments(load_dataset, locals())
    if name == "h36m":
        root = root or os.environ.get("MOCAP3D_H36M")
        if not root:
            raise DatasetError("h36m needs its files: pass root=..., or set MOCAP3D_H36M to their folder")
        return load_h36m(root, pose2d=pose2d, **options)
    if name == "aistpp":
        if root is None or pose2d is not None:
            raise DatasetError(f"aistpp needs root=..., and no pose2d (got {pose2d!r}): it has its own detections")
        return load_aistpp(root, **options)
    pose2d = pose2d or "gt"
    if pose2d not in ("gt", *DETECTORS):
        raise DatasetError(f"pose2d is {pose2d!r}; give gt or a simulated detector: {', '.join(DETECTORS)}")
    if name == "synthetic":
        dataset = make_synthetic(**options)
    elif name == "open-mocap" and "cameras" in options:
        if (cameras := options.pop("cameras")) != VERSION or pose2d != "gt":
            raise DatasetError(f"cameras is {cameras!r}; give {VERSION!r}, and no pose2d: it has its own detections")
        return load_phone_test(root, **options)
    elif name == "open-mocap":
        dataset = load_open_mocap(root, **options)
    else:
        raise DatasetError(f"no data set {name!r}; there are: {', '.join(DATASETS)}")
    return dataset if pose2d == "gt" else dataset.with_detections(pose2d)
