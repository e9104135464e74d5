"""Layouts of keypoint files: from the bytes of any of them to people with their frame, id and joints.

A JSON file is taken apart by the names of its fields, wherever they are nested; a person is an array (joints, 3) of
x, y and confidence. Joints become arrays while the file is parsed, so that a long file takes little memory.

Sources: the programs' own writers.
    AlphaPose       detector/apis `write_json`: "image_id" is the name of a picture, "idx" the id of a tracker
    OpenPose        doc/02_output.md: "people" with "pose_keypoints_2d"; one file per frame
    MMPose          demo/topdown_demo_with_mmdet.py: "meta_info", "instance_info"; inferencers: a list of frames
    COCO            cocodataset.org: results and annotations with "image_id"
    Ultralytics     `Results.to_json`: "keypoints": {"x", "y", "visible"}
    MediaPipe       landmarks {"x", "y", "z", "visibility"} under "landmark", "landmarks" or "pose_landmarks"
    VideoPose3D     INFERENCE.md: `positions_2d` and `metadata`
    DeepLabCut, Sports2D   csv with header rows scorer, (individuals,) bodyparts, coords
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mocap3d.files import excerpt
from mocap3d.formats.motion_file import MotionFileError, read_text
from mocap3d.formats.safe_files import UnsafeFileError, load_npz
from mocap3d.skeleton import Skeleton


class KeypointError(ValueError):
    """A keypoint file that cannot be read, or lacks what was not given; the message says what to do."""


class Person(NamedTuple):
    """One detection: the frame's number in the file, an id if the file has one, and joints (K, 3): x, y, confidence."""

    frame: int
    id: str | None
    joints: np.ndarray


@dataclass
class Content:
    """What a file holds, before one person is chosen.

    Args:
        program: a key of `THRESHOLDS`.
        people: all detections.
        frames: numbers of the frames in the file, with and without people.
        times: seconds, one for each of `frames`, or None.
        from_zero: whether numbers count from 0 even if the first frames are not in the file.
        fps, image_size, skeleton, names: as far as the file has them; names are of its joints.
    """

    program: str = "plain"
    people: list[Person] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)
    times: list[float] | None = None
    from_zero: bool = False
    fps: float | None = None
    image_size: tuple[int, int] | None = None
    skeleton: str | None = None
    names: tuple[str, ...] = ()


_LANDMARKS = ("pose_landmarks", "poseLandmarks", "landmarks", "landmark")
_JOINTS = (*"pose_keypoints_2d pose_keypoints keypoints points joints keypoints_2d pose2d".split(), *_LANDMARKS)
_SCORES = ("keypoint_scores", "kp_scores", "scores", "confidence")
_INSIDE = ("instances", "people", "bodies", "persons")
_FRAME = ("frame_id", "frame", "frame_index", "frame_number", "image_id")
_TIME = ("timestamp_ms", "timestamp", "time")
_ID = ("track_id", "idx", "person_id", "tracking_id")
# Keys that only one program writes; "named" stands for frames with the name of a picture
_PROGRAMS: tuple[tuple[set[str], str], ...] = (
    *(({key}, "MediaPipe") for key in _LANDMARKS),
    ({"pose_keypoints_2d"}, "OpenPose"), ({"pose_keypoints"}, "OpenPose"),
    ({"bodies"}, "AlphaPose"), ({"idx"}, "AlphaPose"), ({"image_id", "named"}, "AlphaPose"), ({"image_id"}, "COCO"),
    ({"keypoint_scores"}, "MMPose"), ({"instances"}, "MMPose"), ({"box"}, "Ultralytics"),
    ({"keypoints", "scores"}, "rtmlib"),
)  # fmt: skip
_FAULTS = (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, StopIteration, TypeError,
           ValueError)  # fmt: skip


def parse(path: str | os.PathLike, max_bytes: int) -> Content:
    """Parse a file, or a folder of one JSON file per frame.

    Args:
        path: the file or folder.
        max_bytes: larger files are refused.
    Raises:
        KeypointError: for any error in the file.
    """
    path = Path(path)
    try:
        with np.errstate(all="ignore"):
            if path.is_dir():
                return _read_folder(path, max_bytes)
            with open(path, "rb") as file:
                start = file.read(2)
            if start == b"PK":
                return _from_arrays(load_npz(path))
            text = read_text(path, max_bytes).decode()
            return _from_json(_load(text)) if re.match(r"\s*[\[{]", text) else _from_csv(text)
    except (*_FAULTS, OSError) as error:
        text = str(error)
        if not isinstance(error, (KeypointError, MotionFileError, UnsafeFileError, OSError)):
            text = f"damaged, or a keypoint file of no known layout ({type(error).__name__}: {excerpt(text, 80)})"
        raise KeypointError(text if str(path) in text else f"{path}: {text}") from None


# JSON --------------------------------------------------------------------------------------------------------------


def _read_folder(path: Path, max_bytes: int) -> Content:
    """OpenPose's folder: the frame's number is in the name of each file."""
    files = sorted(file for file in path.iterdir() if file.suffix == ".json")
    if not files:
        raise KeypointError("a folder without any JSON file; OpenPose writes one per frame")
    if len({re.sub(r"\d+(?=\D*$)", "", file.name) for file in files}) > 1:
        raise KeypointError("the files are of several videos; give each its own folder")
    return _from_json([{"image_id": file.name, "people": _load(read_text(file, max_bytes).decode())} for file in files])


def _load(text: str) -> object:
    """JSON, or one JSON value per line."""
    try:
        return json.loads(text, object_hook=_compact)
    except json.JSONDecodeError as error:
        if not error.msg.startswith("Extra data"):
            raise
        return [json.loads(line, object_hook=_compact) for line in text.splitlines() if line.strip()]


def _compact(found: dict) -> object:
    """While parsing: a landmark becomes a tuple, joints become an array."""
    if "x" in found and "y" in found:
        score = _first(found, ("visibility", "visible", "confidence", "score"))
        if isinstance(found["x"], list):
            return np.array([found["x"], found["y"], score or [1] * len(found["x"])], np.float32).T
        return found["x"], found["y"], 1 if score is None else score
    found.pop("pose_world_landmarks", None)
    for key in (*_JOINTS, *_SCORES):
        if isinstance(found.get(key), list):
            try:
                found[key] = np.asarray(found[key], np.float32)
            except (ValueError, TypeError, OverflowError):
                pass  # names, or people of several frames
    return found


def _from_json(data: object) -> Content:
    content, frames, seen = Content(), data, set()
    if isinstance(data, dict):
        _read_about(content, data)
        seen.update(data)
        frames = _first(data, ("instance_info", "frames", "predictions"))
        points = _first(data, _JOINTS)
        if frames is None and (isinstance(points, list) or np.ndim(points) > 2):
            content.program = "rtmlib" if "scores" in data and content.program == "plain" else content.program
            return _whole_clip(content, points, _first(data, _SCORES))
        if frames is None and all(isinstance(one, dict) and {"people", "bodies"} & one.keys() for one in data.values()):
            frames = [{"image_id": name, **frame} for name, frame in data.items()]
        frames = [data] if frames is None else frames
    if not isinstance(frames, list):
        raise KeypointError("JSON without a list of frames or people")
    if "frames" not in seen and all(_is_person(one) for one in frames):
        frames = [frames]  # the people of one picture
    _add_frames(content, frames, seen)
    if content.program == "plain":
        content.program = next((program for keys, program in _PROGRAMS if keys <= seen), "plain")
    return content


def _is_person(one: object) -> bool:
    """Whether it is a landmark, or joints of a person without a frame's number."""
    joints = isinstance(one, dict) and np.ndim(_first(one, _JOINTS[:-4])) in (1, 2) and _first(one, _FRAME) is None
    return joints or type(one) is tuple


def _first(found: dict, keys: tuple[str, ...]) -> object:
    """The value of the first of these keys that is there; None without any."""
    return next((found[key] for key in keys if key in found), None)


def _read_about(content: Content, about: dict) -> None:
    """What a file says of itself: `fps`, `image_size` (or `width` and `height`), `skeleton`, `timestamps`, names."""
    fps, size, times, skeleton = (about.get(key) for key in ("fps", "image_size", "timestamps", "skeleton"))
    size = (about.get("width"), about.get("height")) if size is None else np.ravel(size).tolist()
    content.fps = None if fps is None else float(fps)
    content.image_size = None if None in size else (int(size[0]), int(size[1]))
    content.times = None if times is None else np.ravel(times).astype(np.float64).tolist()
    content.skeleton = str(skeleton) if np.size(skeleton) == 1 and skeleton is not None else None
    if isinstance(meta := about.get("meta_info"), dict) and isinstance(names := meta.get("keypoint_id2name"), dict):
        content.names = tuple(str(names[key]) for key in sorted(names, key=int))
    if str(about.get("format", "")).startswith("mocap3d"):
        content.program = "mocap3d"
        if "pose3d" in str(about["format"]):
            raise KeypointError("it holds a pose in space, not keypoints of an image; read it with read_pose")


def _add_frames(content: Content, frames: list, seen: set[str]) -> None:
    """Append the people of each frame, in order; add all keys to `seen`."""
    about = [frame if isinstance(frame, dict) else {} for frame in frames]
    names = [_first(frame, _FRAME) for frame in about]
    if any(isinstance(name, str) for name in names):
        seen.add("named")
        content.from_zero = all(re.fullmatch(r"(0|[1-9]\d*)\.\w+", str(name)) for name in names)
        names = [(re.findall(r"\d{1,15}", Path(name).stem) or [None])[-1] for name in names]
    numbers = list(range(len(frames))) if None in names else [int(name) for name in names]
    order = sorted(range(len(frames)), key=numbers.__getitem__)
    content.frames = [numbers[i] for i in order]
    content.people = [Person(numbers[i], who, joints) for i in order for who, joints in _people(frames[i], seen)]
    times = [_first(about[i], _TIME) for i in order]
    if times and all(isinstance(time, (int, float)) for time in times):
        step = np.median(np.diff(times)) if len(times) > 1 else 0  # no video has less than a frame in 4 s
        content.times = (np.array(times) * (1e-3 if step > 4 or "timestamp_ms" in about[0] else 1)).tolist()


def _people(frame: object, seen: set[str]) -> Iterator[tuple[str | None, np.ndarray]]:
    """Id and joints of everybody in one frame, however deep they are nested; notes all keys."""
    if isinstance(frame, dict):
        seen.update(frame)
        if (inside := next((key for key in _INSIDE if key in frame), None)) is not None:
            yield from _people(frame[inside], seen)
            return
        scores = next((frame[key] for key in _SCORES if isinstance(frame.get(key), np.ndarray)), None)
        who = _first(frame, _ID)
        who = np.ravel(who)[0] if np.size(who) == 1 else None
        who = None if who is None or who == -1 else who if isinstance(who, str) else f"{float(who):g}"
        yield from ((who, joints) for joints in _joints(_first(frame, _JOINTS), scores))
    elif isinstance(frame, list) and frame and type(frame[0]) is tuple:
        seen.add("landmark")
        yield None, _joints(frame, None)[0]
    elif isinstance(frame, list):
        for item in frame:
            yield from _people(item, seen)
    elif frame is not None:
        raise KeypointError(f"a frame holds {type(frame).__name__} {excerpt(str(frame))}, not people")


def _joints(points: object, scores: object) -> list[np.ndarray]:
    """Joints (K, 3) of one or several people, from x, y and confidence in any of the usual arrangements."""
    points = np.asarray(points, np.float32)
    if points.size == 0:
        return []
    if points.ndim == 1:
        points = points.reshape(-1, 2 if points.size % 3 and not points.size % 2 else 3)
    if points.ndim not in (2, 3) or points.shape[-1] not in (2, 3):
        raise KeypointError(f"keypoints have shape {points.shape}; give x, y and confidence of each joint")
    if scores is not None and points.shape[-1] == 3:
        raise KeypointError("keypoints have three coordinates and a score: they are in space, not in an image")
    if points.shape[-1] == 2:
        scores = np.ones(points.shape[:-1], np.float32) if scores is None else np.asarray(scores, np.float32)
        points = np.concatenate([points, scores.reshape(points.shape[:-1])[..., None]], -1)
    return [points] if points.ndim == 2 else list(points)


def _whole_clip(content: Content, points: object, scores: object) -> Content:
    """Keypoints of all frames in one array (T, K, C) or (T, N, K, C), or a list of frames with any number of people."""
    scores = [None] * len(points) if scores is None or np.ndim(scores) == 0 else list(scores)
    for number, (frame, score) in enumerate(zip(points, scores, strict=True)):
        content.people += [Person(number, None, joints) for joints in _joints(frame, score)]
    content.frames = list(range(len(points)))
    return content


# npz ---------------------------------------------------------------------------------------------------------------


def _from_arrays(arrays: dict[str, object]) -> Content:
    content = Content()
    arrays = {name: value if np.ndim(value) else np.asarray(value).item() for name, value in arrays.items()}
    if "positions_2d" in arrays:  # the videos count as people
        content.program = "VideoPose3D"
        sizes = (arrays.get("metadata") or {}).get("video_metadata", {}).values()
        sizes = {(int(size["w"]), int(size["h"])) for size in sizes}
        content.image_size = sizes.pop() if len(sizes) == 1 else None
        for name, takes in arrays["positions_2d"].items():
            (points,) = next(iter(takes.values()))  # of one camera
            one = _whole_clip(Content(), np.asarray(points, np.float32), None)
            content.people += [person._replace(id=str(name)) for person in one.people]
            content.frames += one.frames
        return content
    _read_about(content, arrays)
    points = _first({name: value for name, value in arrays.items() if np.ndim(value) > 2}, _JOINTS)
    if points is None:
        raise KeypointError(f"arrays {', '.join(map(excerpt, arrays))}: name that of the keypoints 'points'")
    return _whole_clip(content, points, _first(arrays, _SCORES))


# csv ---------------------------------------------------------------------------------------------------------------

_AXES = {"x": 0, "y": 1, **dict.fromkeys("likelihood score confidence visibility c p".split(), 2)}


def read_table(text: str) -> tuple[dict, list[str], Iterator[list[str]]]:
    """Of a csv file: what comment lines before it say in JSON, the cells of the first row, and the other rows."""
    about, lines = {}, text.splitlines()
    while lines and lines[0].startswith("#"):
        comment = lines.pop(0).lstrip("# ")
        about |= json.loads(comment) if comment.startswith("{") else {}
    rows = csv.reader(lines)
    return about, [cell.strip() for cell in next(rows, [])], rows


def _from_csv(text: str) -> Content:
    """A table with one row per frame."""
    content = Content()
    about, header, rows = read_table(text)
    _read_about(content, about)
    if header[0].lower() == "scorer":  # header rows as pandas writes them
        titles = {}
        while "coords" not in titles:
            row = next(rows)
            titles[row[0]] = row
        names, axes = titles["bodyparts"], [axis.lower() for axis in titles["coords"]]
        people, labels = titles.get("individuals", [None] * len(names)), axes
        content.program = "Sports2D" if "seconds" in axes else "DeepLabCut"
    else:
        labels = [cell.lower() for cell in header]
        parts = [re.fullmatch(r"(.+?)[\W_]*([A-Za-z]+)", cell) for cell in header]
        names, axes = ([part[k] if part else "" for part in parts] for k in (1, 2))
        people = [None] * len(names)
    table = read_numbers(rows)
    columns = zip(table.T, people, names, axes, strict=True)
    known = [(*column, _AXES[axis]) for *column, axis in columns if axis in _AXES]
    content.names = tuple(dict.fromkeys(name for _, _, name, _ in known))
    shape, empty = (len(table), len(content.names), 3), (np.nan, np.nan, 1)
    joints = {who: np.full(shape, empty, np.float32) for _, who, _, _ in known}
    for column, who, name, axis in known:
        joints[who][:, content.names.index(name), axis] = column
    there = {who: np.flatnonzero(np.isfinite(points[..., 0]).any(1)).tolist() for who, points in joints.items()}
    content.people = [Person(frame, who, points[frame]) for who, points in joints.items() for frame in there[who]]
    content.frames = list(range(len(table)))
    if title := next((label for label in labels if label in ("seconds", "time", "timestamp", "timestamp_ms")), None):
        content.times = (table[:, labels.index(title)] * (1e-3 if title.endswith("_ms") else 1)).tolist()
    return content


def read_numbers(rows: Iterable[list[str]]) -> np.ndarray:
    """(rows, columns) float64; what is empty or no number (a picture's name) is NaN."""
    number = re.compile(r"\s*[-+.\deE]+\s*")
    found = [np.array([float(c) if number.fullmatch(c) else np.nan for c in row]) for row in rows if any(row)]
    if not found or len({len(row) for row in found}) > 1:
        raise KeypointError("a table without rows, or with rows of different lengths: it is cut off or damaged")
    return np.stack(found)


# Names -------------------------------------------------------------------------------------------------------------


def _plain(name: str) -> tuple[str, str]:
    """Side ("l", "r" or "") and kind of a joint's name: LShoulder, left_shoulder, shoulder.l, RBigToe, right ankle."""
    words = [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]
    side = next((word[0] for word in words if word in ("l", "r", "left", "right")), "")
    return side, "".join(word for word in words if word not in ("l", "r", "left", "right"))


def match_joints(names: tuple[str, ...], candidates: list[Skeleton]) -> tuple[Skeleton, list[tuple[int, int]]] | None:
    """The skeleton that has most of the named joints, and (its joint, the name's place) pairs; None below five."""
    places = {_plain(name): i for i, name in reversed(list(enumerate(names)))}
    best = None
    for skeleton in candidates:
        pairs = [(k, places[_plain(joint)]) for k, joint in enumerate(skeleton.joints) if _plain(joint) in places]
        if len(pairs) >= 5 and (best is None or len(pairs) > len(best[1])):
            best = skeleton, pairs
    return best
