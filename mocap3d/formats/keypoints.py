"""2D keypoints of any detector, as one person's Pose2D: what `read_keypoints` promises, people and tracks.

`keypoint_files` parses the files; here their people become one person, frame for frame.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict

import numpy as np

from mocap3d.arguments import FilePath, check_arguments
from mocap3d.files import excerpt
from mocap3d.formats.keypoint_files import Content, KeypointError, Person, match_joints, parse
from mocap3d.formats.motion_file import MAX_BYTES, MAX_POINTS
from mocap3d.poses import Pose2D, PoseError
from mocap3d.skeleton import BODY25, COCO17, HALPE26, MEDIAPIPE33, SKELETONS, Skeleton, SkeletonError, get_skeleton

# Confidence below which a joint is missing, by program: the default of the program's own drawing where it has one.
# Detectron's probabilities (VideoPose3D's files) are far below 1 for joints in plain sight, so none is left out.
# AlphaPose's is `vis_thres`, COCO's that of Detectron2's drawing, DeepLabCut's `pcutoff`, MMPose's and rtmlib's
# `kpt_thr`, OpenPose's `render_threshold`, Sports2D's `keypoint_likelihood_threshold`, Ultralytics' `conf_thres`.
THRESHOLDS = {
    "AlphaPose": 0.4, "COCO": 0.05, "DeepLabCut": 0.6, "MMPose": 0.3, "MediaPipe": 0.5, "OpenPose": 0.05,
    "Sports2D": 0.3, "Ultralytics": 0.25, "VideoPose3D": 0.0, "mocap3d": 0.0, "plain": 0.0, "rtmlib": 0.5,
}  # fmt: skip
# OpenPose's older 18 joints (with a neck) in the order of coco17
_OPENPOSE18 = (0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10)
# Joints in the file -> skeleton, and which of them are taken; whole-body layouts begin with the body.
LAYOUTS = {
    17: (COCO17, range(17)), 18: (COCO17, _OPENPOSE18), 25: (BODY25, range(25)), 26: (HALPE26, range(26)),
    33: (MEDIAPIPE33, range(33)), 133: (COCO17, range(17)), 136: (HALPE26, range(26)),
}  # fmt: skip
OVERLAP = 0.1  # intersection over union of two boxes, from which they may be the same person
MEMORY = 300  # frames for which a person who is gone is remembered
UNEVEN = 0.2  # of the usual step: longer and shorter steps do not count for the rate
STEADY = 2e-3  # seconds off a steady rate, from which timestamps are kept: more than rounding to milliseconds


def read_keypoints(
    path: FilePath,
    skeleton: str | Skeleton | None = None,
    fps: float | None = None,
    image_size: tuple[int, int] | None = None,
    person: int | str | None = None,
    threshold: float | None = None,
    frames: int | None = None,
    max_bytes: int = MAX_BYTES,
) -> Pose2D:
    """Read one person's 2D keypoints from a detector's file.

    Reads AlphaPose, OpenPose (a folder, or one file), MMPose, rtmlib, COCO results and annotations, Ultralytics and
    MediaPipe JSON; VideoPose3D's custom npz; Sports2D and DeepLabCut csv; plain JSON, npz, npy and csv, and what
    `write` wrote. The layout is recognised by the content. What was found is printed: joints at (0, 0), without
    confidence or below the threshold are missing (NaN, confidence 0), and so is everything in frames without the
    person, which stay in the pose. Nothing in a file is ever run.

    Args:
        path: a file, or a folder with one JSON file per frame.
        skeleton: of the file; by default recognised by joint names or the number of joints (17: coco17).
        fps: frames per second of the video; needed unless the file has it, or timestamps: then fps is the rate of
            their usual step, and they are in the pose where the rate varies. A given fps is taken for steady.
        image_size: (width, height) of the video in pixels; needed unless the file has it.
        person: which of several people: an id of the file; where it has none, people are told apart by the overlap of
            their boxes and numbered by size, 0 the largest. In VideoPose3D's files the videos count as people, by
            name. By default the largest person is taken: the one with the largest boxes, summed over the frames.
        threshold: confidence below which a joint is missing; by default that of the program (`THRESHOLDS`); 0 keeps
            all joints with any confidence.
        frames: number of frames of the video, where the file leaves out frames without anybody at its end.
        max_bytes: larger files are refused.
    Returns:
        Pose2D in pixels, with every frame of the video.
    Raises:
        KeypointError: if the file is damaged or unknown, or does not hold what was not given.
        ValueError: for a bad argument.
    Source: own; the layouts are those that the programs write (see `keypoint_files`).
    """
    check_arguments(read_keypoints, locals())
    if threshold is not None and not 0 <= threshold <= 1:
        raise ValueError(f"threshold={threshold!r}: give a confidence from 0 to 1")
    wanted = None if skeleton is None else get_skeleton(skeleton)
    content = parse(path, max_bytes)
    try:
        with np.errstate(all="ignore"):
            return _pose(content, wanted, fps, image_size, person, threshold, frames, os.fspath(path))
    except (PoseError, SkeletonError, KeypointError) as error:
        raise KeypointError(f"{os.fspath(path)}: {error}") from None


def _pose(content: Content, wanted, fps, image_size, person, threshold, frames, path) -> Pose2D:
    numbers, count = _frame_numbers(content, frames)
    rate = None if fps else _rate(content)
    fps = fps or content.fps or rate
    size = image_size or content.image_size
    lacking = ["how many frames per second the video has: pass fps=30, for example"] * (not fps)
    lacking += ["the image's size: pass image_size=(width, height), of the video in pixels"] * (size is None)
    if lacking:
        raise KeypointError("the file does not hold " + ", nor ".join(lacking))
    chosen, notes = _choose(content.people, numbers, person)
    skeleton, order = _layout(content, wanted, chosen)
    if count * len(skeleton) > MAX_POINTS:
        raise KeypointError(f"{count} frames of {len(skeleton)} joints exceed {MAX_POINTS} joint positions")
    points = np.full((count, len(skeleton), 2), np.nan, np.float32)
    confidence = np.zeros(points.shape[:2], np.float32)
    taken, from_file = np.array([to for to, _ in order]), np.array([at for _, at in order])
    for at in chosen:
        joints = content.people[at].joints
        points[numbers[at], taken] = joints[from_file, :2]
        confidence[numbers[at], taken] = joints[from_file, 2]
    points[~np.isfinite(points).all(-1)] = np.nan
    notes += _clean_confidence(confidence)
    there = np.isfinite(points[..., 0])
    zero = there & ((points == 0).all(-1) | ~(confidence > 0))
    limit = THRESHOLDS[content.program] if threshold is None else threshold
    low = there & ~zero & (confidence < limit)
    points[zero | low], confidence[~there | zero | low] = np.nan, 0
    notes += [f"{zero.sum():,} joints at (0, 0) or with confidence 0 are missing"] if zero.any() else []
    if limit or threshold is not None:
        whose = "threshold" if threshold is not None else f"{content.program}'s threshold"
        notes.append(f"{low.sum():,} of {there.sum() - zero.sum():,} joints are below {whose}, {limit:g}")
    empty = count - len({numbers[at] for at in chosen})
    notes += [f"the person is missing in {empty:,} of {count:,} frames"] if empty else []
    usual = np.nanpercentile(np.abs(points), 95) if np.isfinite(points).any() else np.inf
    if content.program in ("MediaPipe", "Ultralytics") and usual <= 2 and min(np.ravel(size)) > 20:
        points *= np.array(size, np.float32)
        notes.append("coordinates from 0 to 1 are multiplied by the image's size")
    times = None if rate is None else _times(content, numbers, count, fps)
    if times is not None and (off := np.abs(times - times[0] - np.arange(count) / fps).max()) <= STEADY:
        times = None
    elif times is not None:
        notes.append(f"the rate varies: the timestamps are kept, up to {off:.3f} s off a steady {fps:g} fps")
    pose = Pose2D(points, confidence, skeleton, fps, size, times)
    print(f"{path}: {content.program}, {pose}" + "".join(f"\n    {note}" for note in notes))
    return pose


def _frame_numbers(content: Content, frames: int | None) -> tuple[list[int], int]:
    """Of each person the index of the frame, and how many frames there are."""
    if not content.people:
        raise KeypointError("nobody is in the file")
    first = 0 if content.from_zero else min(content.frames)
    last = max(content.frames)
    count = last - first + 1
    if count > 20 * len(set(content.frames)) + 1000:
        raise KeypointError(f"its frame numbers, {first} to {last}, do not count the frames of one video")
    if frames is not None and frames < count:
        raise KeypointError(f"frames={frames}, but the file goes up to frame {last}: it has {count} frames")
    return [person.frame - first for person in content.people], frames or count


def _rate(content: Content) -> float | None:
    """Frames per second by the mean of the usual steps between timestamps."""
    if content.times is None or len(content.times) < 2:
        return None
    if len(content.times) != len(content.frames):
        raise KeypointError(f"{len(content.times)} timestamps for {len(content.frames)} frames; one for each is needed")
    apart = np.diff(np.array(content.frames, np.float64))
    steps = (np.diff(content.times) / apart)[apart > 0]
    steps = steps[np.isfinite(steps)]
    middle = np.median(steps) if len(steps) else 0
    if not middle > 0:
        raise KeypointError("its timestamps do not rise from frame to frame; pass fps=")
    usual = np.mean(steps[np.abs(steps / middle - 1) <= UNEVEN].tolist() or middle)
    return float(round(1 / usual, 4))


def _times(content: Content, numbers: list[int], count: int, fps: float) -> np.ndarray | None:
    """(count,) seconds of every frame, those that the file leaves out in between."""
    known, at = np.unique(content.frames, return_index=True)
    known = known + (numbers[0] - content.people[0].frame)
    every = np.arange(count)
    beyond = np.minimum(every - known[0], 0) + np.maximum(every - known[-1], 0)
    times = np.interp(every, known, np.array(content.times)[at]) + beyond / fps
    if not (np.diff(times) > 0).all():
        raise KeypointError("its timestamps do not rise from frame to frame; pass fps= to do without them")
    return times


def _clean_confidence(confidence: np.ndarray) -> list[str]:
    """Bring confidence to [0, 1] in place; returns what to say about it."""
    confidence[~np.isfinite(confidence)] = 0
    highest = confidence.max(initial=0)
    if highest > 10:
        confidence /= 100
        return [f"confidence goes up to {highest:.6g}: taken as percent"] + _clean_confidence(confidence)
    if highest > 1:
        np.minimum(confidence, 1, out=confidence)
        return [f"confidence goes up to {highest:.6g}: clipped to 1"]
    return []


def _layout(content: Content, wanted: Skeleton | None, chosen: list[int]) -> tuple[Skeleton, list[tuple[int, int]]]:
    """The skeleton, and (joint of it, joint of the file) of each that is taken."""
    counts = Counter(len(content.people[at].joints) for at in chosen)
    if len(counts) > 1:
        raise KeypointError(f"people have different numbers of joints: {', '.join(map(str, sorted(counts)))}")
    (count,) = counts
    wanted = wanted or SKELETONS.get(content.skeleton)
    if content.names and len(content.names) == count:
        pairs = match_joints(content.names, [wanted] if wanted else [COCO17, HALPE26, BODY25, *SKELETONS.values()])
        if pairs is not None:
            return pairs
    if wanted is not None and len(wanted) == count:
        return wanted, [(i, i) for i in range(count)]
    known, order = LAYOUTS.get(count, (None, ()))
    if known is None or wanted not in (None, known):
        given = f"skeleton {wanted.name!r} has {len(wanted)}" if wanted else f"known are {', '.join(map(str, LAYOUTS))}"
        raise KeypointError(f"the file has {count} joints, {given}; pass the skeleton that it was written with")
    return known, list(enumerate(order))


# People ------------------------------------------------------------------------------------------------------------


def _choose(people: list[Person], numbers: list[int], person: int | str | None) -> tuple[list[int], list[str]]:
    """Indices of one person's detections, at most one per frame, and what to say about the choice."""
    with_id = [i for i, one in enumerate(people) if one.id is not None]
    by_id = len(with_id) * 2 > len(people) and len({(numbers[i], people[i].id) for i in with_id}) == len(with_id)
    boxes = [_box(one.joints) for one in people]
    tracks: dict[str, list[int]] = defaultdict(list)
    if by_id:
        for i in with_id:
            tracks[people[i].id].append(i)
    elif len(set(numbers)) == len(numbers):
        tracks["0"] = list(range(len(people)))
    else:
        found = sorted(_tracked(boxes, numbers), key=lambda track: -_area(boxes, track))
        tracks |= {str(rank): track for rank, track in enumerate(found)}
    name = max(tracks, key=lambda name: _area(boxes, tracks[name])) if person is None else str(person)
    if name not in tracks:
        known = ", ".join(excerpt(name) for name in list(tracks)[:20])
        raise KeypointError(f"person={person!r} is not in the file; it has {known}")
    if len(tracks) == 1 or person is not None:
        return tracks[name], []
    how = "ids of the file" if by_id else "told apart by overlap, 0 the largest"
    most = max(Counter(numbers).values())
    note = f"{len(tracks)} people ({how}), up to {most} in a frame: took the largest, person={name}, in "
    return tracks[name], [note + f"{len(tracks[name]):,} frames"]


def _box(joints: np.ndarray) -> np.ndarray:
    """(4,) left, top, right, bottom of the joints that are there; zeros without any."""
    seen = joints[np.isfinite(joints).all(-1) & (joints[:, 2] > 0) & (joints[:, :2] != 0).any(-1), :2]
    return np.concatenate([seen.min(0), seen.max(0)]).astype(np.float64) if len(seen) else np.zeros(4)


def _area(boxes: list[np.ndarray], track: list[int]) -> float:
    return sum(float((boxes[i][2:] - boxes[i][:2]).prod()) for i in track)


def _tracked(boxes: list[np.ndarray], numbers: list[int]) -> list[list[int]]:
    """Detections of the same person: each continues the track that it overlaps most, the best pairs first."""
    tracks: list[list[int]] = []
    frames: dict[int, list[int]] = defaultdict(list)
    for i, number in enumerate(numbers):
        frames[number].append(i)
    for number in sorted(frames):
        here = frames[number]
        active = [track for track in tracks[-1000:] if number - numbers[track[-1]] <= MEMORY]
        pairs = []
        if active:
            overlap = _overlaps(np.stack([boxes[track[-1]] for track in active]), np.stack([boxes[i] for i in here]))
            rows, columns = np.nonzero(overlap > OVERLAP)
            pairs = sorted(zip(-overlap[rows, columns], rows, columns, strict=True))
        continued, placed = set(), set()
        for _, row, column in pairs:
            if row not in continued and column not in placed:
                active[row].append(here[column])
                continued.add(row), placed.add(column)
        tracks += [[i] for k, i in enumerate(here) if k not in placed]
    return tracks


def _overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(A, B) intersection over union of boxes (A, 4) and (B, 4)."""
    low, high = np.maximum(a[:, None, :2], b[:, :2]), np.minimum(a[:, None, 2:], b[:, 2:])
    common = (high - low).clip(min=0).prod(-1)
    areas = [(x[:, 2:] - x[:, :2]).prod(-1) for x in (a, b)]
    return common / np.maximum(areas[0][:, None] + areas[1] - common, 1e-9)
