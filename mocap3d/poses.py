"""Typed poses: arrays with their skeleton, frame rate and coordinate frame, which are checked on creation.

Pose2D   joints in the image: pixels
Pose3D   joints in space: metres, in the world frame or in a camera frame
Clip     both, for one performer filmed by one camera
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np

from mocap3d.arguments import Array, PositiveInt, Rule, check_arguments
from mocap3d.camera import Camera
from mocap3d.skeleton import H36M17, JointNames, Skeleton, convert, convert_confidence, get_skeleton

Rate = Annotated[float, Rule("frames per second (30, not 1 / 30)", lambda fps: 1 <= fps < 10_000)]
REACH = 50.0  # metres from the first joint (in some files a mark on the floor), beyond which the unit cannot be metres


class PoseError(ValueError):
    """A pose with an invalid shape, unit, rate or label."""


def _points(points, skeleton: Skeleton, channels: int, what: str) -> np.ndarray:
    array = np.asarray(points)
    if array.ndim != 3 or array.shape[1:] != (len(skeleton), channels):
        raise PoseError(
            f"{what}.points have shape {array.shape}; skeleton {skeleton.name!r} needs "
            f"(frames, {len(skeleton)}, {channels})"
        )
    if len(array) == 0:
        raise PoseError(f"{what}.points hold no frames; a pose needs at least one")
    with np.errstate(over="ignore"):
        array = np.ascontiguousarray(array, dtype=np.float32)
    if not np.isfinite(array).all() and np.isinf(array).any():
        raise PoseError(f"{what}.points hold infinite values; mark missing joints with NaN")
    return array


def _timestamps(timestamps, frames: int, fps: float, what: str) -> np.ndarray | None:
    if timestamps is None:
        return None
    times = np.asarray(timestamps, dtype=np.float64)
    if times.shape != (frames,):
        raise PoseError(f"{what}.timestamps have shape {times.shape}; give one per frame, ({frames},)")
    step = np.diff(times)
    if not (np.isfinite(times).all() and (step > 0).all()):
        at = np.append(np.flatnonzero(~(step > 0)) + 1, 0)[0]
        raise PoseError(f"{what}.timestamps must increase from frame to frame; frame {at} has {times[at]:.6g}")
    if frames > 1 and not 0.01 < np.median(step) * fps < 100:
        raise PoseError(
            f"{what}.timestamps are {np.median(step):.6g} apart and fps is {fps:g}; timestamps are seconds: divide "
            "milliseconds by 1000"
        )
    return times


def at_positions(values: np.ndarray, position: np.ndarray, lowest: bool = False) -> np.ndarray:
    """Interpolate frames linearly.

    Args:
        values: (T, ...).
        position: (N,) frame numbers with fractions, from 0 to T-1.
        lowest: the lower one of both neighbours instead, for confidence.
    Returns:
        (N, ...). At whole numbers, within 1e-6, the frame itself: a gap beside it does not spread.

    >>> at_positions(np.array([0.0, 10.0, 20.0]), np.array([0.5, 2.0]))
    array([ 5., 20.])
    """
    position = np.round(position, 6)
    low = position.astype(np.int64)
    share = (position - low).astype(np.float32).reshape(-1, *[1] * (values.ndim - 1))
    high = np.minimum(low + 1, len(values) - 1)
    between = np.minimum(values[low], values[high]) if lowest else values[low] * (1 - share) + values[high] * share
    return np.where(share > 0, between, values[low])


class _Timed:
    """What poses of both kinds know about time."""

    def __len__(self) -> int:
        return len(self.points)

    @property
    def times(self) -> np.ndarray:
        """(T,) seconds: the timestamps, or according to the frame rate, from 0.

        >>> Pose3D(np.zeros((3, 17, 3))).times
        array([0.  , 0.02, 0.04])
        """
        return np.arange(len(self)) / self.fps if self.timestamps is None else self.timestamps

    @property
    def seconds(self) -> float:
        """Duration in seconds, from the first frame to the end of the last one.

        >>> Pose3D(np.zeros((100, 17, 3))).seconds
        2.0
        """
        return len(self) / self.fps if self.timestamps is None else float(np.ptp(self.timestamps)) + 1 / self.fps

    def _positions(self, fps: float) -> np.ndarray:
        """Frame numbers, with fractions, of the same motion at another rate; the first frame is kept."""
        times = self.times - self.times[0]
        count = int(np.floor(times[-1] * fps + 1e-6)) + 1
        return np.interp(np.arange(count) / fps, times, np.arange(len(self)))


@dataclass(frozen=True, eq=False)
class Pose2D(_Timed):
    """2D joints of one person in the image of one camera.

    Args:
        points: (T, J, 2) pixels, origin top-left, x right, y down; NaN where a joint is missing.
        confidence: (T, J), at least 0; None means 1, and 0 for missing joints. Values above 1 are clipped, with a
            warning: RTMPose and OpenPose exceed 1.
        skeleton: a Skeleton or its name.
        fps: frames per second; with timestamps, the nominal rate.
        image_size: (width, height) in pixels; required.
        timestamps: (T,) seconds, strictly increasing, for recordings at a varying rate.
    Raises:
        PoseError: for a wrong shape, range or label.
    """

    points: Array
    confidence: Array | None = None
    skeleton: str | Skeleton = H36M17
    fps: Rate = 50.0
    image_size: tuple[PositiveInt, PositiveInt] | None = None
    timestamps: Array | None = None

    def __post_init__(self) -> None:
        put = lambda field, value: object.__setattr__(self, field, value)  # noqa: E731  frozen
        check_arguments(Pose2D, vars(self), PoseError)
        put("skeleton", get_skeleton(self.skeleton))
        put("points", _points(self.points, self.skeleton, 2, "Pose2D"))
        put("fps", float(self.fps))
        put("timestamps", _timestamps(self.timestamps, len(self), self.fps, "Pose2D"))
        present = np.isfinite(self.points[..., 0] + self.points[..., 1])
        confidence = present if self.confidence is None else np.asarray(self.confidence)
        if confidence.shape != present.shape:
            raise PoseError(f"Pose2D.confidence has shape {confidence.shape}; give one per joint, {present.shape}")
        confidence = np.where(present, confidence, 0).astype(np.float32)
        if not (confidence >= 0).all():
            lowest = confidence.min()
            raise PoseError(
                f"Pose2D.confidence holds {lowest:.4g}; give values in [0, 1]; mark missing joints by NaN points"
            )
        if (highest := confidence.max()) > 1:
            warnings.warn(
                f"Pose2D.confidence goes up to {highest:.8g}, clipped to 1; detectors such as RTMPose and OpenPose go "
                "beyond 1. Values from 0 to 100 are percent: divide them first",
                stacklevel=3,
            )
            confidence = confidence.clip(max=1)
        put("confidence", confidence)
        if self.image_size is None:
            raise PoseError(
                "Pose2D needs image_size=(width, height), in pixels, of the picture or video that its points are from: "
                "models use points relative to it"
            )
        put("image_size", tuple(int(side) for side in np.ravel(self.image_size)))

    def __repr__(self) -> str:
        size = f"{len(self)} frames x {len(self.skeleton)} joints {self.skeleton.name}"
        return f"Pose2D({size}, {self.fps:g} fps, {self.image_size[0]}x{self.image_size[1]} px)"

    def slice(self, start: int, stop: int) -> Pose2D:
        """Frames start..stop-1.

        >>> len(Pose2D(np.zeros((100, 17, 2)), image_size=(1920, 1080)).slice(10, 30))
        20
        """
        check_arguments(Pose2D.slice, locals())
        times = None if self.timestamps is None else self.timestamps[start:stop]
        points, confidence = self.points[start:stop], self.confidence[start:stop]
        return replace(self, points=points, confidence=confidence, timestamps=times)

    def convert(self, target: str | Skeleton = "h36m17", mapping: JointNames | None = None) -> Pose2D:
        """The same pose on another skeleton (see `skeleton.convert` and `skeleton.provenance`).

        >>> pose = Pose2D(np.zeros((3, 26, 2)), skeleton="halpe26", image_size=(1920, 1080))
        >>> pose.convert("h36m17").skeleton.name
        'h36m17'
        """
        check_arguments(Pose2D.convert, locals())
        return replace(
            self,
            points=convert(self.points, self.skeleton, target, mapping),
            confidence=convert_confidence(self.confidence, self.skeleton, target, mapping),
            skeleton=get_skeleton(target),
        )

    def resample(self, fps: Rate) -> Pose2D:
        """The same motion at another, steady rate, interpolated linearly; confidence is the lower one of both frames.

        >>> Pose2D(np.zeros((100, 17, 2)), image_size=(1920, 1080)).resample(25).fps
        25.0
        """
        check_arguments(Pose2D.resample, locals(), PoseError)
        if fps == self.fps and self.timestamps is None:
            return self
        at = self._positions(fps)
        points, confidence = at_positions(self.points, at), at_positions(self.confidence, at, lowest=True)
        return replace(self, points=points, confidence=confidence, fps=float(fps), timestamps=None)


@dataclass(frozen=True, eq=False)
class Pose3D(_Timed):
    """3D joints of one person.

    Args:
        points: (T, J, 3) metres; NaN where a joint is missing.
        skeleton: a Skeleton or its name.
        fps: frames per second; with timestamps, the nominal rate.
        frame: "world" (z up) or "camera" (x right, y down, z forward).
        root: what is known about the root trajectory: "absolute", "relative" (root at the origin),
            "floor-glued" or "estimated".
        timestamps: (T,) seconds, strictly increasing, for recordings at a varying rate.
        filled: (T, J) bool, of a lifted pose: joints that the detector did not see.
    Raises:
        PoseError: for a wrong shape, unit or label.
    """

    points: Array
    skeleton: str | Skeleton = H36M17
    fps: Rate = 50.0
    frame: Literal["world", "camera"] = "world"
    root: Literal["absolute", "relative", "floor-glued", "estimated"] = "absolute"
    timestamps: Array | None = None
    filled: Array | None = None

    def __post_init__(self) -> None:
        put = lambda field, value: object.__setattr__(self, field, value)  # noqa: E731  frozen
        check_arguments(Pose3D, vars(self), PoseError)
        put("skeleton", get_skeleton(self.skeleton))
        put("points", _points(self.points, self.skeleton, 3, "Pose3D"))
        put("fps", float(self.fps))
        put("timestamps", _timestamps(self.timestamps, len(self), self.fps, "Pose3D"))
        if self.filled is not None:
            put("filled", np.asarray(self.filled))
            if self.filled.shape != self.points.shape[:2] or self.filled.dtype != bool:
                raise PoseError(
                    f"Pose3D.filled has shape {self.filled.shape} and dtype {self.filled.dtype}; give one bool per "
                    f"joint, {self.points.shape[:2]}"
                )
        if np.abs(self.points).max() <= REACH / 2:
            return  # most poses; those with NaN need the full check
        reach = float(np.fmax.reduce(np.abs(self.points - self.points[:, :1]), axis=None))
        if reach > REACH:
            raise PoseError(
                f"Pose3D.points reach {reach:.0f} from the first joint; points are metres: divide millimetres by 1000, "
                "centimetres by 100"
            )

    def __repr__(self) -> str:
        size = f"{len(self)} frames x {len(self.skeleton)} joints {self.skeleton.name}"
        return f"Pose3D({size}, metres, {self.fps:g} fps, {self.frame} frame, root {self.root})"

    def slice(self, start: int, stop: int) -> Pose3D:
        """Frames start..stop-1.

        >>> len(Pose3D(np.zeros((100, 17, 3))).slice(10, 30))
        20
        """
        check_arguments(Pose3D.slice, locals())
        times, filled = (None if part is None else part[start:stop] for part in (self.timestamps, self.filled))
        return replace(self, points=self.points[start:stop], timestamps=times, filled=filled)

    def convert(self, target: str | Skeleton = "h36m17", mapping: JointNames | None = None) -> Pose3D:
        """The same pose on another skeleton (see `skeleton.convert` and `skeleton.provenance`).

        >>> Pose3D(np.zeros((3, 32, 3)), "h36m32").convert().skeleton.name
        'h36m17'
        """
        check_arguments(Pose3D.convert, locals())
        points, filled = convert(self.points, self.skeleton, target, mapping), self.filled
        if filled is not None:
            filled = convert_confidence(np.float32(filled), self.skeleton, target, mapping) > 0
        return replace(self, points=points, skeleton=get_skeleton(target), filled=filled)

    def resample(self, fps: Rate) -> Pose3D:
        """The same motion at another, steady rate, interpolated linearly.

        >>> Pose3D(np.zeros((100, 17, 3))).resample(25).fps
        25.0
        """
        check_arguments(Pose3D.resample, locals(), PoseError)
        if fps == self.fps and self.timestamps is None:
            return self
        at = self._positions(fps)
        filled = None if self.filled is None else ~at_positions(~self.filled, at, lowest=True)
        return replace(self, points=at_positions(self.points, at), fps=float(fps), timestamps=None, filled=filled)

    def root_relative(self) -> Pose3D:
        """The first joint (the pelvis) moved to the origin in every frame.

        >>> Pose3D(np.ones((3, 17, 3))).root_relative().points.max()
        np.float32(0.0)
        """
        return replace(self, points=self.points - self.points[:, :1], root="relative")

    def in_camera(self, camera: Camera) -> Pose3D:
        """World frame -> the camera's frame.

        >>> Pose3D(np.ones((3, 17, 3))).in_camera(Camera.phone()).frame
        'camera'
        """
        check_arguments(Pose3D.in_camera, locals())
        self._needs("world", "in_camera")
        return replace(self, points=camera.world_to_camera(self.points), frame="camera")

    def in_world(self, camera: Camera) -> Pose3D:
        """The camera's frame -> world frame. A relative root stays at the origin: only the axes are rotated.

        >>> Pose3D(np.ones((3, 17, 3)), frame="camera").in_world(Camera.phone()).frame
        'world'
        """
        check_arguments(Pose3D.in_world, locals())
        self._needs("camera", "in_world")
        if self.root == "relative":
            return replace(self, points=camera.camera_to_world_direction(self.points), frame="world")
        return replace(self, points=camera.camera_to_world(self.points), frame="world")

    def project(self, camera: Camera) -> Pose2D:
        """Ground-truth 2D in the image of `camera`: pixels, with lens distortion.

        >>> Pose3D(np.ones((3, 17, 3))).project(Camera.phone())
        Pose2D(3 frames x 17 joints h36m17, 50 fps, 1920x1080 px)
        """
        check_arguments(Pose3D.project, locals())
        if self.root == "relative":
            raise PoseError("Pose3D.project needs to know where the body is; this pose's root is 'relative'")
        points = camera.world_to_camera(self.points) if self.frame == "world" else self.points
        size = (camera.width, camera.height)
        return Pose2D(camera.project(points), None, self.skeleton, self.fps, size, self.timestamps)

    def _needs(self, frame: str, call: str) -> None:
        if self.frame != frame:
            raise PoseError(f"Pose3D.{call} takes a pose in the {frame} frame; this one is in the {self.frame} frame")
        if self.root == "relative" and frame == "world":
            raise PoseError(f"Pose3D.{call} needs to know where the body is; this pose's root is 'relative'")


@dataclass(frozen=True, eq=False)
class Clip:
    """One performer filmed by one camera: the unit of every data set.

    Args:
        subject: the H36M subject whose cameras are used, e.g. "S9".
        action: the action, e.g. "Walking".
        camera: the calibrated camera.
        pose2d: (T, J, 2) pixels: projected ground truth, or detections.
        pose3d: (T, J, 3) metres, in this camera's frame.
        take: name of the recording, shared by its camera views, unique in its data set. Chunks of one
            recording are named "recording:frames".
        split: "train", "test" or "check"; "known" or "left-out" where training clips are held out.
        source: where the motion comes from, e.g. "cmu-asfamc-02".
        performer: the real person, where known; "unknown, one of 3" for a group whose members are not told apart.
        licence: of the motion.
    Raises:
        PoseError: if 2D and 3D do not match.
    """

    subject: str
    action: str
    camera: Camera
    pose2d: Pose2D
    pose3d: Pose3D
    take: str
    split: str = "train"
    source: str = ""
    performer: str = "unknown"
    licence: str = ""

    def __post_init__(self) -> None:
        check_arguments(Clip, vars(self))
        if len(self.pose2d) != len(self.pose3d):
            raise PoseError(
                f"clip {self.take!r}: {len(self.pose2d)} 2D frames, {len(self.pose3d)} 3D frames; cut to the same"
            )
        if self.pose2d.fps != self.pose3d.fps:
            raise PoseError(
                f"clip {self.take!r}: 2D at {self.pose2d.fps:g} fps, 3D at {self.pose3d.fps:g}; resample one"
            )
        if self.pose2d.skeleton.joints != self.pose3d.skeleton.joints:
            raise PoseError(
                f"clip {self.take!r}: 2D is {self.pose2d.skeleton.name}, 3D is {self.pose3d.skeleton.name}; convert one"
            )
        if self.pose3d.frame != "camera":
            raise PoseError(
                f"clip {self.take!r}: pose3d is in the {self.pose3d.frame} frame; use pose3d.in_camera(camera)"
            )

    @property
    def recording(self) -> str:
        """The whole recording this clip is a chunk of: the part of `take` before the colon.

        >>> pose = Pose3D(np.ones((3, 17, 3)), frame="camera")
        >>> Clip("S1", "Walking", Camera.phone(), pose.project(Camera.phone()), pose, "walk-1:0-3").recording
        'walk-1'
        """
        return self.take.partition(":")[0]

    def slice(self, start: int, stop: int) -> Clip:
        """Frames start..stop-1; the labels stay.

        >>> pose = Pose3D(np.ones((9, 17, 3)), frame="camera")
        >>> len(Clip("S1", "Walking", Camera.phone(), pose.project(Camera.phone()), pose, "walk-1").slice(2, 6))
        4
        """
        check_arguments(Clip.slice, locals())
        return replace(self, pose2d=self.pose2d.slice(start, stop), pose3d=self.pose3d.slice(start, stop))

    def __len__(self) -> int:
        return len(self.pose2d)

    def __repr__(self) -> str:
        what = f"{self.take}: {self.subject} {self.action}"
        return f"Clip({what}, camera {self.camera.name}, {len(self)} frames, {self.split})"


def persons(performers: Iterable[str]) -> str:
    """The number of persons behind performer labels, for the head of a table.

    Args:
        performers: `Clip.performer` of each clip. "unknown, one of 3" stands for up to 3 persons.
    Returns:
        the number as text; "<=3" where it is an upper limit, "?" if some performer is unknown.

    >>> persons(["cmu-02", "cmu-02", "cmu-07"]), persons(["unknown, one of 3"]), persons(["unknown"])
    ('2', '<=3', '?')
    """
    names = set(performers)
    groups = {name: match for name in names if (match := re.fullmatch(r"unknown, one of (\d+)", name))}
    single = names - set(groups)
    if not names or any(not name or name.startswith("unknown") for name in single):
        return "?"
    most = len(single) + sum(int(match[1]) for match in groups.values())
    return f"<={most}" if groups else str(most)
