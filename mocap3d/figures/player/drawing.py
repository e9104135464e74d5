"""What the poster and the viewer draw: bodies as capsules between points, what the camera follows, and the colours."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass

import numpy as np

from mocap3d.figures import style
from mocap3d.figures.body import facing, head_joints, polyline
from mocap3d.figures.scene import floor_height
from mocap3d.figures.skeleton3d import Arranged
from mocap3d.skeleton import Skeleton

VIEWS = ("front", "side", "top")
THEMES = {
    "light": {
        **style.SIDE_COLOURS,
        "page": "#FFFFFF",
        "ink": style.INK,
        "faint": "#57606A",
        "hair": style.HAIR,
        "floor": "#EEF1F4",
        "shadow": "#CFD5DC",
    },
    "dark": {
        "left": "#F0AE1C",
        "right": "#3D9BDC",
        "centre": "#A7AFB8",
        "page": "#15191E",
        "ink": "#E6EAEE",
        "faint": "#A3ADB7",
        "hair": "#3B444D",
        "floor": "#1F262D",
        "shadow": "#0B0E11",
    },
}
MISSING = -(2**15)  # of a quantised coordinate


@dataclass(frozen=True)
class Drawing:
    """Bodies in motion, ready to draw.

    Args:
        points: (T, N, P, 3) metres, third axis up; the joints of N bodies, then the middle of the head, then what the
            camera follows; NaN where missing.
        names: of the bodies; the last one is the truth if `truth`.
        parts: capsules (point, point, radius, radius, side); radii in metres for a body of size 1.
        sizes: of each body, relative to an adult.
        floor: height of the floor, metres.
        front, view: azimuth of the eye before the body; azimuth and elevation at first; radians.
        arranged: the poses, their frames and texts.
    """

    points: np.ndarray
    names: list[str]
    truth: bool
    parts: list[tuple[int, int, float, float, str]]
    sizes: list[float]
    floor: float
    front: float
    view: tuple[float, float]
    arranged: Arranged

    def header(self) -> dict:
        """What the viewer needs besides the coordinates, as JSON."""
        shown, (low, step) = self.arranged, self._grid()
        return {
            "lines": shown.lines,
            "names": self.names,
            "truth": self.truth,
            "joints": len(shown.pose.skeleton),
            "parts": [[a, b, round(ra, 4), round(rb, 4), side] for a, b, ra, rb, side in self.parts],
            "sizes": [round(size, 3) for size in self.sizes],
            "frames": len(shown.frames),
            "stride": shown.frames.step,
            "fps": shown.pose.fps,
            "still": shown.still,
            "floor": round(self.floor, 4),
            "front": round(self.front, 4),
            "view": [round(float(angle), 4) for angle in self.view],
            "points": self.points.shape[2],
            "low": [round(float(value), 4) for value in low],
            "step": step,
            "themes": THEMES,
            "sides": style.SIDE_NAMES,
        }

    def payload(self) -> str:
        """The coordinates: int16, second differences in time, zigzag, high and low bytes apart, deflate, base64."""
        low, step = self._grid()
        steps = np.round((self.points - low) / step - 32_000)  # (T, N, P, 3)
        whole = np.where(np.isfinite(steps), steps, MISSING).astype(np.int64)
        series = whole.reshape(len(whole), -1).T  # (N * P * 3, T)
        for _ in range(2):
            series = np.diff(series, axis=1, prepend=0)
        signed = series.astype(np.int16).astype(np.int32)  # the differences wrap, as their sums do
        zigzag = ((signed << 1) ^ (signed >> 15)).astype(np.uint16)
        planes = np.concatenate([(zigzag >> 8).astype(np.uint8).ravel(), (zigzag & 255).astype(np.uint8).ravel()])
        return base64.b64encode(zlib.compress(planes.tobytes(), 9)).decode("ascii")

    def _grid(self) -> tuple[np.ndarray, float]:
        """Lowest coordinates (3,), and metres per step: 1 mm, or more for motion over more than 64 m."""
        low, high = (reduce(self.points, axis=(0, 1, 2)) for reduce in (np.nanmin, np.nanmax))
        return np.round(low, 4), max(0.001, float((high - low).max()) / 64_000)


def drawing(shown: Arranged, view: str | tuple[float, float] | None) -> Drawing:
    """Prepare the bodies of `arrange`; `view` as in `show`."""
    skeleton = shown.pose.skeleton
    bodies = [*shown.views] + ([shown.truth] if shown.truth is not None else [])
    joints = np.stack(bodies, axis=1)  # (T, N, J, 3)
    head = head_joints(skeleton)
    middle = joints[:, :, head].mean(2) if head else np.full_like(joints[:, :, 0], np.nan)  # (T, N, 3)
    path = np.stack([_followed(body, shown.pose.fps / shown.frames.step) for body in bodies], axis=1)
    floor = floor_height(shown.reference, shown.pose.frame == "world" and shown.pose.root != "relative")
    ahead = facing(shown.reference[shown.still], skeleton)
    ahead = np.array([0.0, -1.0]) if ahead is None else ahead
    front = float(np.arctan2(ahead[1], ahead[0]))
    chosen = (float(np.arctan2(shown.eye[1], shown.eye[0])), 0.2)
    views = {None: chosen, "front": (front, 0.07), "side": (front + np.pi / 2, 0.07), "top": (front, 1.55)}
    return Drawing(
        np.concatenate([joints, middle[:, :, None], path[:, :, None]], axis=2),
        shown.names + ["truth"] * (shown.truth is not None),
        shown.truth is not None,
        _parts(skeleton, shown.reference, bool(head)),
        [_size(body) for body in bodies],
        floor,
        front,
        tuple(np.deg2rad(view)) if isinstance(view, tuple) else views[view],
        shown,
    )


def _followed(points: np.ndarray, fps: float) -> np.ndarray:
    """What the camera follows (T, 3): the middle of a body (T, J, 3), averaged over about a second; height constant."""
    present = np.isfinite(points).all(-1)
    some = present.any(1)
    middle = np.where(present[..., None], points, 0).sum(1) / np.maximum(present.sum(1), 1)[:, None]  # (T, 3)
    times = np.arange(len(points))
    whole = np.stack([np.interp(times, times[some], middle[some, axis]) for axis in range(3)], axis=1)
    half = min(int(fps / 2), len(points) - 1)
    padded = np.pad(whole, ((half, half), (0, 0)), mode="edge")
    totals = np.cumsum(np.concatenate([np.zeros((1, 3)), padded]), axis=0)
    smooth = (totals[2 * half + 1 :] - totals[: len(points)]) / (2 * half + 1)
    smooth[:, 2] = np.median(whole[:, 2])
    return smooth


def _size(points: np.ndarray) -> float:
    """How large a body (T, J, 3) is, 1 for an adult: from the farthest joint's distance to the middle of the body."""
    present = np.isfinite(points).all(-1)
    middle = np.where(present[..., None], points, 0).sum(1) / np.maximum(present.sum(1), 1)[:, None]
    distance = np.where(present, np.linalg.norm(points - middle[:, None], axis=-1), 0).max(1)
    return float(np.clip(np.percentile(distance[present.any(1)], 90) / 0.9, 0.05, 4))


def _parts(skeleton: Skeleton, points: np.ndarray, head: bool) -> list[tuple[int, int, float, float, str]]:
    """Capsules of a body: thick along long bones, thin along short ones; joints without a bone are dots."""
    line, size = polyline(skeleton), _size(points)
    ends = (-1, *line.vertices, -1)
    parts = []
    for before, joint, after, side in zip(ends[:-2], line.vertices, ends[2:], line.sides, strict=True):
        if joint >= 0 and after >= 0:
            lengths = np.linalg.norm(points[:, joint] - points[:, after], axis=-1)
            length = float(np.nanmedian(lengths)) / size if np.isfinite(lengths).any() else 0.1
            thick = np.clip(0.24 * length, 0.014, 0.056 if side == "centre" else 0.046)
            thin = thick if side == "centre" else 0.8 * thick
            parts.append((joint, after, float(thick), float(thin), side))
        elif joint >= 0 and before < 0:
            parts.append((joint, joint, 0.01, 0.01, side))
    if head:
        parts.append((len(skeleton), len(skeleton), 0.098, 0.098, "centre"))
    return parts
