"""Sealed room: what looks wrong with 2D keypoints before they are lifted, in plain sentences with the fix.

A lifter takes any numbers: points in 0..1, COCO's joint order under another name or a picture on its side give a pose
that looks possible and is wrong. Each check here asks for evidence in most frames of a clip, so that lying down or
turning around is no finding. `check_keypoints` is its one door; `lift` calls it.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mocap3d.arguments import check_arguments
from mocap3d.poses import Pose2D
from mocap3d.skeleton import COCO17, H36M17, SKELETONS, Skeleton, get_skeleton

MOST = 0.8  # of the frames: what holds in these is of the clip, not of the motion
OUTSIDE = 0.1  # of the joints: so many outside the image are no accident
# Bones so many times as long in the named joint order as in the other one. If the name is right, they are at most 2.2
# times as long for coco17 (nothing but arms out of view) and 0.83 times for h36m17 (anything out of view).
ORDER = {"coco17": 2.2, "h36m17": 0.85}
JUMP, SPEED = 0.2, 6.0  # body sizes from frame to frame, and per second, that nobody moves
BUSY = 4.0  # body sizes per second about the body's centre, of the fastest tenth of joints: three times a dance
REPEATED = 0.3  # of the frames that equal the one before
UNEVEN = 0.2  # of the usual step between timestamps
FEW = 10  # frames of evidence, at least


class Findings(tuple):
    """Sentences, one for each thing that looks wrong; empty, and so false, if nothing does. Prints one per line."""

    def __repr__(self) -> str:
        return "\n".join(self) or "Nothing looks wrong."

    __str__ = __repr__


@dataclass(frozen=True, eq=False)
class _Clip:
    points: np.ndarray  # (T, J, 2) float64, NaN where missing
    confidence: np.ndarray  # (T, J)
    skeleton: Skeleton
    fps: float | None
    size: np.ndarray | None  # width, height
    times: np.ndarray | None  # (T,) seconds

    def part(self, *names: str) -> np.ndarray:
        """(T, 2) mean of those of these joints that are there."""
        return np.nanmean(self.points[:, self.skeleton.indices([n for n in names if n in self.skeleton.joints])], 1)

    @cached_property
    def up(self) -> np.ndarray:
        """(T, 2) from feet to head, over the parts of the body that are seen; NaN where none is."""
        parts = [
            self.part("head", "nose", "left_eye", "right_eye", "left_ear", "right_ear"),
            *(self.part(f"left_{joint}", f"right_{joint}") for joint in ("shoulder", "hip")),
            self.part("left_ankle", "right_ankle", "left_foot", "right_foot"),
        ]
        steps = np.stack([above - below for above, below in zip(parts[:-1], parts[1:], strict=True)])
        return np.where(np.isfinite(steps).any(0), np.nansum(steps, 0), np.nan)

    def across(self, joint: str) -> np.ndarray:
        """(T,) from the right to the left joint, across the body, in body sizes: above 0 seen from the front."""
        apart = self.part(f"left_{joint}") - self.part(f"right_{joint}")
        return _cross(self.up, apart) / (self.up**2).sum(-1)

    @cached_property
    def extent(self) -> np.ndarray:
        """(T,) diagonal of the box around the joints, pixels."""
        return np.linalg.norm(np.fmax.reduce(self.points, 1) - np.fmin.reduce(self.points, 1), axis=-1)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def check_keypoints(
    pose2d: Pose2D | np.ndarray,
    skeleton: str | Skeleton = H36M17,
    fps: float | None = None,
    image_size: tuple[int, int] | None = None,
    confidence: np.ndarray | None = None,
    timestamps: np.ndarray | None = None,
) -> Findings:
    """Say what looks wrong with the 2D joints of one clip, and how to put it right.

    It looks for coordinates in 0..1 or -1..1, points outside the image or a wrong image size, y that grows upwards, x
    and y swapped, a picture on its side, COCO's joint order called h36m17 or the reverse, left and right exchanged, a
    wrong or varying rate, confidence above 1, missing joints at (0, 0), a clip without anybody, and several people in
    one track. An exchange of left and right in all joints can be told only from the ears, where a detector sees one at
    a time; a picture on its side filmed from behind looks as if x and y were swapped.

    Args:
        pose2d: a Pose2D, or an array (T, J, 2) or (T, J, 3) of x, y and confidence.
        skeleton, fps, image_size, confidence: of an array, same as in `Pose2D`; what is not given is not checked.
        timestamps: (T,) seconds of each frame, of an array. A Pose2D has its own, and its rate may vary.
    Returns:
        Findings: a tuple of sentences, which prints them.
    Raises:
        ValueError: for an array of another shape.
    Source: own; thresholds were chosen so that no clip of phone-v1, of the recorded test motion or of the built-in
        motion gives a finding.

    >>> check_keypoints(np.random.default_rng(0).random((9, 17, 2)), image_size=(1920, 1080))
    All coordinates lie in 0..1: multiply them by (width, height) of the image.
    """
    check_arguments(check_keypoints, locals())
    if isinstance(pose2d, Pose2D):
        points, confidence, skeleton = pose2d.points, pose2d.confidence, pose2d.skeleton
        fps, image_size = pose2d.fps, pose2d.image_size
    else:
        points, skeleton = np.asarray(pose2d, np.float64), get_skeleton(skeleton)
        if points.ndim != 3 or points.shape[-1] not in (2, 3):
            raise ValueError(f"the points have shape {points.shape}; give (frames, joints, 2), or 3 with confidence")
        if confidence is None:
            confidence = points[..., 2] if points.shape[-1] == 3 else np.ones(points.shape[:2])
    if points.shape[1] != len(skeleton):
        known = [name for name, other in SKELETONS.items() if len(other) == points.shape[1]]
        hint = f": pass skeleton={' or '.join(map(repr, known))}" if known else ""
        return Findings((f"There are {points.shape[1]} joints, skeleton {skeleton.name!r} has {len(skeleton)}{hint}.",))
    confidence = np.asarray(confidence, np.float64)
    highest, found = np.nanmax(confidence, initial=0), []
    if highest > 1:
        how = "divide percent by 100" if highest > 10 else "clip it to 1, RTMPose and OpenPose go beyond"
        found = [f"Confidence goes up to {highest:.4g}: {how}."]
    at_zero = (points[..., :2] == 0).all(-1)
    missing = ~(np.isfinite(points[..., :2]).all(-1) & (confidence > 0)) | at_zero
    if missing.all():
        return Findings((*found, "Nobody is in the clip: every joint is missing, at (0, 0) or has confidence 0."))
    if count := (at_zero & (confidence > 0)).sum():
        found.append(f"{count:,} joints lie at (0, 0), with confidence: make missing joints NaN, with confidence 0.")
    points = np.where(missing[..., None], np.nan, points[..., :2]).astype(np.float64)
    times = None if timestamps is None else np.asarray(timestamps, np.float64)
    clip = _Clip(points, confidence, skeleton, fps, None if image_size is None else np.array(image_size, float), times)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean of joints that are all missing is NaN
        if unit := _unit(clip):
            return Findings((*found, unit))
        order = _order(clip)
        body = (order,) if order else (_upright(clip), _sides(clip))  # joints of another order stand anyhow
        return Findings(filter(None, (*found, _size(clip), *body, _rate(clip), _people(clip))))


def _unit(clip: _Clip) -> str | None:
    if np.nanpercentile(np.abs(clip.points), 95) > 2 or (clip.size is not None and clip.size.max() < 20):
        return None
    if np.nanpercentile(clip.points, 5) < -0.05:
        return "All coordinates lie in -1..1: turn them into pixels, (points + [1, height / width]) * width / 2."
    return "All coordinates lie in 0..1: multiply them by (width, height) of the image."


def _size(clip: _Clip) -> str | None:
    if clip.size is None:
        return None
    sure = np.isfinite(clip.points[..., 0]) & (clip.confidence >= 0.5)
    points = clip.points[sure] if sure.any() else clip.points[np.isfinite(clip.points[..., 0])]
    outside = lambda size: ((points < -0.02 * size) | (points > 1.02 * size)).any(-1).mean()  # noqa: E731
    size = "x".join(f"{side:g}" for side in clip.size)
    if (share := outside(clip.size)) <= OUTSIDE:
        return None
    fix = "give the size of the video they are from, or mark joints that the detector only guesses as missing"
    fix = "its width and height are swapped" if outside(clip.size[::-1]) < share / 4 else fix
    return f"{share:.0%} of the joints lie outside the {size} image: {fix}."


def _upright(clip: _Clip) -> str | None:
    up = clip.up[np.isfinite(clip.up).all(-1)]
    if not len(up):
        return None
    if (up[:, 1] > np.abs(up[:, 0])).mean() > MOST:
        return "The head is below the feet: y grows upwards (use height - y), or the picture is upside down."
    side = np.abs(up[:, 0]) > np.abs(up[:, 1])
    if side.mean() <= MOST:
        return None
    across = clip.across("shoulder")
    if (across < 0).sum() > (across > 0).sum():
        return "x and y are swapped (use points[..., ::-1]), or the picture lies on its side, filmed from behind."
    to_right = (up[:, 0] > 0).mean() > 0.5
    left, right = ("left", "clockwise", "(height - y, x)"), ("right", "counter-clockwise", "(y, width - x)")
    head, turn, fix = right if to_right else left
    return (
        f"The picture lies on its side, with the head to the {head}: turn it by 90 degrees {turn}, as (x, y) -> {fix} "
        "with image_size=(height, width). If the body is mirrored then, x and y were swapped. If the person lies "
        "down, all is well."
    )


def _order(clip: _Clip) -> str | None:
    """Bones are short in the right order of the joints, and lead across the body in a wrong one."""
    if clip.skeleton not in (H36M17, COCO17):
        return None
    other = COCO17 if clip.skeleton == H36M17 else H36M17
    if np.isfinite(clip.points[..., 0]).mean() < 0.3:
        return None
    lengths = [
        np.nanmean(np.linalg.norm(clip.points[:, a] - clip.points[:, b], axis=-1))
        for a, b in (np.transpose(skeleton.bones) for skeleton in (clip.skeleton, other))
    ]
    if lengths[0] <= ORDER[clip.skeleton.name] * lengths[1]:
        return None
    return f"The joints are in the order of {other.name}, not of {clip.skeleton.name}: pass skeleton={other.name!r}."


def _sides(clip: _Clip) -> str | None:
    arms, legs = clip.across("shoulder"), clip.across("hip")
    clear = (np.abs(arms) > 0.05) & (np.abs(legs) > 0.02)
    if clear.sum() > max(FEW, 0.3 * len(clear)) and (arms * legs < 0)[clear].mean() > 0.9:
        return "Left and right are exchanged in the arms or in the legs: check the order of the joints."
    if "left_ear" not in clip.skeleton.joints:
        return None
    wrong, total = [], []
    for side, other, sign in (("left", "right", -1), ("right", "left", 1)):
        ear, hidden = clip.skeleton.indices([f"{side}_ear", f"{other}_ear"])
        absent = np.isnan(clip.points[:, hidden, 0]) | (clip.confidence[:, hidden] < 0.3)
        alone = (clip.confidence[:, ear] > 0.5) & absent
        ahead = sign * _cross(clip.up, clip.part("nose") - clip.part(f"{side}_ear"))[alone]
        wrong, total = [*wrong, (ahead < 0).sum()], [*total, np.isfinite(ahead).sum()]
    if min(total) > max(FEW, 0.03 * len(clip.points)) and min(w / t for w, t in zip(wrong, total, strict=True)) > 0.9:
        return "Left and right are exchanged in all joints: the ear in view is the one on the far side of the head."
    return None


def _rate(clip: _Clip) -> str | None:
    if clip.times is not None and len(clip.times) == len(clip.points) > 1:
        steps = np.diff(clip.times)
        usual = np.median(steps)
        if not (steps > 0).all():
            return "The timestamps do not rise from frame to frame: sort the frames, and drop those given twice."
        if (off := np.abs(steps / usual - 1).max()) > UNEVEN:
            return f"The rate varies, by up to {off:.0%} of a frame's time: keep the timestamps with the pose."
        if clip.fps is not None and abs(clip.fps * usual - 1) > 0.02:
            return f"fps is {clip.fps:g}, but the timestamps are those of {1 / usual:.4g} frames per second."
    there = np.isfinite(clip.points[1:]) & np.isfinite(clip.points[:-1])
    same = ((clip.points[1:] == clip.points[:-1]) | ~there).all((1, 2))[there.any((1, 2))]
    repeated = same.mean() if len(same) > FEW and not same.all() else 0
    if repeated > REPEATED:
        return f"{repeated:.0%} of the frames repeat the one before: drop those, and lower fps by as much."
    if clip.fps is None:
        return None
    steps = np.diff(clip.points, axis=0)
    steps = np.linalg.norm(steps - np.nanmean(steps, 1, keepdims=True), axis=-1)
    steps = steps[np.isfinite(steps)]
    speed = np.percentile(steps, 90) / np.nanmedian(clip.extent) * clip.fps if len(steps) else 0
    if speed > BUSY:
        return f"Joints move by {speed:.0f} body sizes per second: fps={clip.fps:g} is too high, give the video's rate."
    return None


def _people(clip: _Clip) -> str | None:
    enough = np.flatnonzero(np.isfinite(clip.points[..., 0]).sum(1) >= max(5, len(clip.skeleton) // 3))
    if len(enough) < 2:
        return None
    step = np.linalg.norm(np.nanmedian(np.diff(clip.points[enough], axis=0), axis=1), axis=-1)
    size = np.maximum(clip.extent[enough][1:], clip.extent[enough][:-1])
    seconds = np.diff(enough) / (clip.fps or 25)
    jumps = enough[1:][(step > JUMP * size) & (step > SPEED * size * seconds)]
    if not len(jumps):
        return None
    where = ", ".join(map(str, jumps[:5])) + (", ..." if len(jumps) > 5 else "")
    frames = f"{len(jumps)} frame{'s' * (len(jumps) > 1)} ({where})"
    return f"The body jumps in {frames}: several people are in one track, or the shot changes."
