"""Any data set's takes under names that the published Human3.6M code accepts, and what else its writers share.

Published code knows seven subjects, their four cameras, 50 fps, and file stems whose first word is the action. A take
that has no such name gets one, "walk 1"; `takes.json` beside the written files says which take it was, with its source
and licence, and mocap3d's readers put that back. Published code never looks at it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mocap3d.camera import h36m_cameras
from mocap3d.data.dataset import PoseDataset
from mocap3d.data.h36m.facts import ALIASES, CAMERAS, FPS, SUBJECTS, H36MError, split_of
from mocap3d.data.h36m.mmpose import EXACT
from mocap3d.data.h36m.reading import LABELS, LABELS_FILE
from mocap3d.files import write_whole
from mocap3d.poses import Clip
from mocap3d.skeleton import H36M17


@dataclass(frozen=True)
class Take:
    """One take as it is written: its new name, its four views in camera order, its positions."""

    subject: str
    stem: str
    views: tuple[Clip, ...]
    world: np.ndarray  # (T, 17, 3) metres, world frame, float64

    @property
    def name(self) -> str:
        return f"{self.subject}/{self.stem}"


def takes_to_write(dataset: PoseDataset) -> list[Take]:
    """Name and check a data set's takes for the published layouts. Clips of the split "check" are left out.

    Args:
        dataset: h36m17 at 50 fps; every take filmed by the four Human3.6M cameras of its subject, S1 S5 S6 S7 S8 for
            training, S9 S11 for tests.
    Returns:
        the takes in the data set's order, names unique within a subject.
    Raises:
        H36MError: for a take that published code could not read, saying what to do.
    """
    groups: dict[tuple[str, str], list[Clip]] = {}
    for clip in dataset:
        if clip.split != "check":
            groups.setdefault((clip.subject, clip.take), []).append(clip)
    if not groups:
        raise H36MError(f"{dataset.name} has no training or test clips to write")
    stems = {key: _own_stem(*key, clips[0].action) for key, clips in groups.items()}
    used = {(subject, stem) for (subject, _), stem in stems.items() if stem}
    written = []
    for (subject, take), clips in groups.items():
        stem, number = stems[subject, take], 0
        while not stem:
            number += 1
            stem = f"{_word(clips[0].action)} {number}"
            stem = "" if (subject, stem) in used else stem
        used.add((subject, stem))
        written.append(Take(subject, stem, *_views(subject, take, clips)))
    return written


def _own_stem(subject: str, take: str, action: str) -> str:
    """The stem of a take that has a Human3.6M name already, else ""."""
    owner, _, stem = take.partition("/")
    return stem if owner == subject and re.fullmatch(rf"{re.escape(_word(action))}( \d+)?", stem) else ""


def _word(action: str) -> str:
    """An action as one word that survives every published parser: no space, dot, slash or underscore."""
    return ALIASES.get(action, re.sub(r"[^A-Za-z0-9-]+", "-", action).strip("-") or "unnamed")


def _views(subject: str, take: str, clips: list[Clip]) -> tuple[tuple[Clip, ...], np.ndarray]:
    what = f"take {take!r} of {subject}"
    if subject not in SUBJECTS:
        raise H36MError(
            f"{what}: published code knows the cameras of {', '.join(SUBJECTS)} only; film it as one of these"
        )
    if clips[0].split != split_of(subject):
        raise H36MError(
            f"{what} is in the {clips[0].split} split; published code uses {subject} for {split_of(subject)}"
        )
    cameras = h36m_cameras(subject)
    by_name = {clip.camera.name: clip for clip in clips}
    if len(by_name) != len(clips) or set(by_name) != {camera.name for camera in cameras}:
        raise H36MError(
            f"{what} is seen by {[clip.camera.name for clip in clips]}; published code wants each of "
            f"{[camera.name for camera in cameras]} once: film(pose, h36m_cameras({subject!r}))"
        )
    views = tuple(by_name[camera.name] for camera in cameras)
    worlds = []
    for clip, camera in zip(views, cameras, strict=True):
        if not _same_camera(clip.camera, camera):
            raise H36MError(
                f"{what}: camera {camera.name} differs from Human3.6M's of {subject}, which published code uses"
            )
        if clip.pose3d.fps != FPS or clip.pose3d.skeleton.joints != H36M17.joints:
            raise H36MError(f"{what}: {clip.pose3d!r}; published code takes h36m17 at 50 fps: convert, resample")
        if clip.pose3d.root != "absolute" or not np.isfinite(clip.pose3d.points).all():
            raise H36MError(f"{what}: 3D positions must be absolute and complete, no joint missing")
        if not np.isfinite(clip.pose2d.points).all():
            raise H36MError(f"{what}: 2D positions must be complete; published code knows no missing joints")
        worlds.append(camera.camera_to_world(clip.pose3d.points.astype(np.float64)))
    if len({len(world) for world in worlds}) > 1 or max(np.abs(w - worlds[0]).max() for w in worlds) > 1e-4:
        raise H36MError(f"{what}: its four views do not show the same motion")
    return views, worlds[0]


def _same_camera(one, other) -> bool:
    close = lambda field, tolerance: np.allclose(  # noqa: E731
        getattr(one, field), getattr(other, field), rtol=0, atol=tolerance
    )
    turned = min(np.abs(np.add(one.rotation, sign * np.array(other.rotation))).max() for sign in (1, -1))
    return turned < 1e-5 and close("translation", 1e-4) and close("focal", 0.01) and close("centre", 0.01)


def write_labels(takes: list[Take], folder: Path) -> dict[str, str]:
    """Write `takes.json`; returns the data set's take -> its new name "S1/walk 1"."""
    labels = {take.name: {key: getattr(take.views[0], key) for key in LABELS} for take in takes}
    text = json.dumps({"format": "mocap3d-takes", "takes": labels}, indent=1)
    write_whole(folder / LABELS_FILE, lambda part: part.write_text(text, encoding="utf-8"))
    return {take.views[0].take: take.name for take in takes}


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


def save(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file in one step: `write` is called with it, open for bytes."""

    def whole(part: Path) -> None:
        with part.open("wb") as file:
            write(file)

    write_whole(path, whole)
