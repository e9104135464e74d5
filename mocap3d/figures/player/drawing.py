"""What the poster and the viewer draw: bodies as capsules between points, what the camera follows, and the colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mocap3d.camera import Camera
from mocap3d.figures import style
from mocap3d.figures.body import facing, head_joints, joint_label
from mocap3d.figures.cameras import COLOURS, frustum
from mocap3d.figures.player.flat import Flat
from mocap3d.figures.player.shapes import encoded, parts_of, reach
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
MEANINGS = ("side", "error")  # of the colours
HEAT = ("#7201A8", "#9C179E", "#BD3786", "#D8576B", "#ED7953", "#FB9F3A", "#FDCA26")  # matplotlib's plasma, inner part


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
        colour: one of MEANINGS.
        cameras: names, colours, and lines (points, 3) in metres.
        flat: the 2D view beside the bodies.
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
    colour: str
    cameras: list[tuple[str, str, list[np.ndarray]]]
    flat: Flat | None

    @property
    def most(self) -> float:
        """The error at the end of the colour scale, millimetres: few joints are farther from the truth."""
        errors = np.concatenate([error.ravel() for error in self.arranged.errors])
        return style.round_up(float(np.nanpercentile(errors, 98))) if np.isfinite(errors).any() else 1.0

    @property
    def path(self) -> int | None:
        """The joint whose path on the floor is drawn: the root, if its place is known and it goes somewhere."""
        root = self.arranged.pose.skeleton.parents.index(-1)
        ways = self.arranged.reference[:, root, :2]
        known = self.arranged.pose.root != "relative" and np.isfinite(ways).any()
        return root if known and (np.nanmax(ways, axis=0) - np.nanmin(ways, axis=0)).max() > 0.5 else None

    def header(self) -> dict:
        """What the viewer needs besides the coordinates, as JSON."""
        shown = self.arranged
        skeleton = shown.pose.skeleton
        return encoded(self.points, 0.001) | {
            "lines": shown.lines,
            "names": self.names,
            "truth": self.truth,
            "labels": [joint_label(skeleton, j) for j in range(len(skeleton))],
            "parts": [[a, b, round(ra, 4), round(rb, 4), side] for a, b, ra, rb, side in self.parts],
            "sizes": [round(size, 3) for size in self.sizes],
            "frames": len(shown.frames),
            "stride": shown.frames.step,
            "fps": shown.pose.fps,
            "still": shown.still,
            "floor": round(self.floor, 4),
            "front": round(self.front, 4),
            "view": [round(float(angle), 4) for angle in self.view],
            "themes": THEMES,
            "sides": style.SIDE_NAMES,
            "colour": self.colour,
            "heat": HEAT,
            "most": self.most if self.truth else None,
            "path": self.path,
            "tips": [[j, skeleton.side(skeleton.joints[j])] for j in _tips(skeleton, shown.reference)],
            "cameras": [
                {"name": name, "colour": colour, "lines": [np.round(line, 3).tolist() for line in lines]}
                for name, colour, lines in self.cameras
            ],
            "flat": self.flat and self.flat.header(),
        }


def drawing(
    shown: Arranged,
    view: str | tuple[float, float] | None,
    colour: str = "side",
    cameras: Sequence[Camera] = (),
    flat: Flat | None = None,
) -> Drawing:
    """Prepare the bodies of `arrange`; `view`, `colour` and `cameras` as in `show`."""
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
        parts_of(skeleton, shown.reference, _size(shown.reference), bool(head)),
        [_size(body) for body in bodies],
        floor,
        front,
        tuple(np.deg2rad(view)) if isinstance(view, tuple) else views[view],
        shown,
        colour,
        [
            (camera.name or f"camera {i + 1}", COLOURS[i % len(COLOURS)], _lines(camera))
            for i, camera in enumerate(cameras)
        ],
        flat,
    )


def _lines(camera: Camera) -> list[np.ndarray]:
    """The lines (points, 3) of a camera's frustum, half a metre deep."""
    shape = frustum(camera, 0.5)
    gaps = np.flatnonzero(np.isnan(shape[:, 0]))
    return [line[np.isfinite(line[:, 0])] for line in np.split(shape, gaps)]


def _tips(skeleton: Skeleton, points: np.ndarray) -> list[int]:
    """Ends of limbs, at most six: of those that are near each other in most frames (T, J, 3), as fingers, the first."""
    tips: list[int] = []
    for joint in sorted(set(range(len(skeleton))) - set(skeleton.parents)):
        apart = [np.nanmedian(np.linalg.norm(points[:, joint] - points[:, tip], axis=-1)) for tip in tips]
        if np.isfinite(points[:, joint]).any() and all(distance > 0.2 for distance in apart):
            tips.append(joint)
    return tips[:6]


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
    """How large a body (T, J, 3) in metres is, 1 for an adult."""
    return float(np.clip(reach(points), 0.05, 4))
