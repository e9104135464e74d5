"""Shared by all readers: check the contents of a file before numpy uses them, label recordings, make clips.

Published code expects file stems whose first word is the action. Where the writers in data_scripts had to give a
recording such a name, "walk 1", `takes.json` in the same folder maps it to the original name, source and licence,
which the readers restore. Published code ignores that file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from mocap3d.camera import Camera
from mocap3d.data.h36m.facts import FPS, LICENCE, H36MError, action_of, split_of
from mocap3d.files import excerpt
from mocap3d.poses import Clip, Pose2D, Pose3D, PoseError

LABELS_FILE = "takes.json"
LABELS = ("take", "action", "source", "performer", "licence")


def describe(value: object) -> str:
    """Describe a value from a file for a message: an array's type and shape, the start of a text, else its type."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    if isinstance(value, (str, bytes)):
        return excerpt(value)
    size = f" of {len(value)}" if isinstance(value, (list, tuple, dict)) else ""
    return f"{type(value).__name__}{size}"


def reason(error: Exception) -> str:
    """An error as text for a message: printable, at most 200 characters, as it may quote a file."""
    return excerpt(f"{type(error).__name__}: {error}", 200)[1:-1]


def is_name(value: object) -> bool:
    """Whether a value can be a name: a printable string that is not too long."""
    return isinstance(value, str) and 0 < len(value) < 100 and value.isprintable()


def numbers(value: object, what: str, *shape: object, kinds: str = "f") -> np.ndarray:
    """An array from a file, after checking that it holds numbers in the expected shape.

    Args:
        value: from the file. A flat list of numbers counts as an array; a nested one may be ragged or endless.
        what: file and key, for the message.
        shape: the size of each axis, several sizes (17, 16), or a word for an axis of any size, "frames".
        kinds: accepted kinds of dtype: "f" floating point, "fiu" any real numbers.
    Raises:
        H36MError: otherwise; the message states what was found and expected.
    """
    if isinstance(value, list) and all(isinstance(item, (int, float, np.number)) for item in value):
        value = np.array(value)
    if isinstance(value, np.ndarray) and value.dtype.kind in kinds and value.ndim == len(shape):
        sizes = zip(shape, value.shape, strict=True)
        if all(isinstance(want, str) or size in np.ravel(want) for want, size in sizes):
            return value
    axes = ", ".join(" or ".join(map(str, want)) if isinstance(want, tuple) else str(want) for want in shape)
    kind = "float" if kinds == "f" else "numbers"
    raise H36MError(f"{what} is {describe(value)}; it must be {kind} ({axes})")


def words(value: object, what: str, rows: int) -> list[str]:
    """A column of text from a file, one string per row.

    Raises:
        H36MError: if it is anything else.
    """
    column = isinstance(value, (list, tuple)) or isinstance(value, np.ndarray) and value.ndim == 1
    if not column or len(value) != rows:
        raise H36MError(f"{what} must be a list of {rows} strings, one a row; it is {describe(value)}")
    items = value.tolist() if isinstance(value, np.ndarray) else value
    items = [item.decode("ascii", "replace") if isinstance(item, bytes) else item for item in items]
    for row, item in enumerate(items):
        if not isinstance(item, str):
            raise H36MError(f"{what} must hold strings only; row {row} is {describe(item)}")
    return items


def check_subjects(where: object, wanted: Sequence[str] | None, present: Iterable[str]) -> None:
    """Raise an H36MError for requested subjects that are missing."""
    if absent := sorted(set(wanted or ()) - set(present)):
        raise H36MError(f"{where} has no {', '.join(absent)}; it has {', '.join(present)}")


def read_labels(folder: Path) -> dict[str, dict[str, str]]:
    """The labels in a folder's `takes.json`: name -> labels; {} for files that are not ours.

    Raises:
        H36MError: if the file is damaged.
    """
    path = folder / LABELS_FILE
    if not path.exists():
        return {}
    try:
        labels = json.loads(path.read_text(encoding="utf-8"))["takes"]
        return {name: {key: str(values[key]) for key in LABELS} for name, values in labels.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise H36MError(f"{path} is damaged ({reason(error)}); write the layout again") from error


def clip_labels(subject: str, stem: str, written: dict[str, dict[str, str]]) -> dict[str, str]:
    """Labels of a clip read under a name: Human3.6M's own, or those of the recording it was written from."""
    own = {"take": f"{subject}/{stem}", "action": action_of(stem), "source": "h36m", "performer": subject}
    labels = written.get(own["take"], {**own, "licence": LICENCE})
    return {**labels, "subject": subject, "split": split_of(subject)}


def make_clip(
    where: object, camera: Camera, seen: np.ndarray, points: np.ndarray, labels: dict, fps: float = FPS
) -> Clip:
    """Make a clip from the values of a file.

    Args:
        where: the file, for the message.
        camera: of the view.
        seen: (T, 17, 2) pixels, or with a third channel, confidence, which is clipped to [0, 1].
        points: (T, 17, 3) metres, camera frame.
        labels: of the recording.
        fps: frames per second.
    Raises:
        H36MError: for an invalid pose.
    """
    confidence = np.clip(seen[..., 2], 0, 1) if seen.shape[-1] == 3 else None
    try:
        pose2d = Pose2D(seen[..., :2], confidence, fps=fps, image_size=(camera.width, camera.height))
        return Clip(camera=camera, pose2d=pose2d, pose3d=Pose3D(points, fps=fps, frame="camera"), **labels)
    except PoseError as error:
        take = f"{excerpt(labels['take'])}, camera {camera.name}"
        raise H36MError(f"{where}, {take}: {reason(error)}") from error
