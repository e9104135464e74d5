"""The plotly figure of one or several animated 3D poses, upright on a floor, and what it shares with the player."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from mocap3d.arguments import check_arguments
from mocap3d.figures import style
from mocap3d.figures.body import body_trace, coordinates, facing, legend_keys, most_open, some_frames, upright
from mocap3d.figures.scene import floor_height, floor_traces, scene_box, scene_layout
from mocap3d.poses import Pose3D

_AXES = {"world": ("x (m)", "y (m)", "z, up (m)"), "camera": ("x, right (m)", "z, depth (m)", "−y, up (m)")}


@dataclass(frozen=True)
class _Body:
    """One drawn body: upright points (T, J, 3) of the frames drawn, metres."""

    name: str
    points: np.ndarray
    ghost: bool  # the truth: drawn lighter and dashed
    tag: str = ""  # floats above the head


@dataclass(frozen=True)
class Arranged:
    """Poses that belong together, checked and upright: what the player and the plotly figure draw.

    Args:
        names, views: of each pose; (T, J, 3) metres, third axis up, of the frames drawn.
        truth: (T, J, 3), or None.
        pose: the first pose, for its labels.
        frames: frame numbers drawn.
        still: position in `frames` of the frame shown before playback: the most open pose.
        eye: horizontal unit vector from the body to the eye.
        errors: per name (T, J) millimetres to the truth; empty without one.
        several: whether names were given, so that bodies are drawn side by side.
        lines: title, and lines of the subtitle.
    """

    names: list[str]
    views: list[np.ndarray]
    truth: np.ndarray | None
    pose: Pose3D
    frames: range
    still: int
    eye: np.ndarray
    errors: list[np.ndarray]
    several: bool
    lines: list[str]

    @property
    def reference(self) -> np.ndarray:
        """The truth, or the first body: it decides the floor, the still and the viewpoint."""
        return self.views[0] if self.truth is None else self.truth


def arrange(pose3d: Pose3D | dict[str, Pose3D], truth: Pose3D | None, title: str | None, max_frames: int) -> Arranged:
    """Check and align the poses given to `show`; see there."""
    check_arguments(arrange, locals())
    several = isinstance(pose3d, dict)
    poses = dict(pose3d) if several else {"prediction" if truth is not None else "3D pose": pose3d}
    if not poses:
        raise style.FigureError("show() was given an empty dict; give name -> Pose3D")
    for pose in [*poses.values()] + ([truth] if truth is not None else []):
        style.check_pose(pose, "show()")
        style.check_pair(next(iter(poses.values())), pose, "show()")
    drawn, centred = style.same_root([*poses.values()] + ([truth] if truth is not None else []))
    frames, note = style.chosen_frames(len(drawn[0]), max_frames)
    views = [upright(pose)[frames.start : frames.stop : frames.step] for pose in drawn]
    for view in views:
        style.check_drawn(view, "show()")
    names = [*poses]
    known = views.pop() if truth is not None else None
    errors = [np.linalg.norm(view - known, axis=-1) * 1000 for view in views] if truth is not None else []
    reference = views[0] if known is None else known
    still = most_open(reference)
    eye = _viewpoint(reference[still], drawn[0])
    lines = [title or _title(names, truth), *_subtitle(drawn[0], names, errors, centred, note)]
    return Arranged(names, views, known, drawn[0], frames, still, eye, errors, several, lines)


def figure_3d(
    pose3d: Pose3D | dict[str, Pose3D],
    truth: Pose3D | None = None,
    *,
    title: str | None = None,
    max_frames: int = 150,
    height: int = 560,
) -> go.Figure:
    """Draw what `show` draws as an animated plotly figure that can be rotated: `show(...).figure()`.

    Args:
        pose3d, truth, title, height: same as in `show`; the truth is lighter and dashed.
        max_frames: longer poses are strided to at most this many frames, as stated in the subtitle.
    Returns:
        A plotly Figure; the frame with the most open pose is shown before playback.
    Raises:
        FigureError, TypeError: same as in `show`.
    Source: own.
    """
    shown = arrange(pose3d, truth, title, max_frames)
    spacing = _spacing([*shown.views, shown.reference]) if shown.several else 0.0
    bodies = []
    for i, (name, view) in enumerate(zip(shown.names, shown.views, strict=True)):
        aside = (i - (len(shown.names) - 1) / 2) * spacing * np.array([-shown.eye[1], shown.eye[0], 0.0])
        bodies.append(_Body(name, view + aside, False, name if shown.several else ""))
        if shown.truth is not None:
            bodies.append(_Body("truth", shown.truth + aside, True))
    return _scene(bodies, shown, height)


def _title(names: list[str], truth: Pose3D | None) -> str:
    text = " · ".join(names) if len(names) > 1 else names[0][:1].upper() + names[0][1:]
    return f"{text} and truth" if truth is not None else text


def _subtitle(pose: Pose3D, names: list[str], errors: list[np.ndarray], centred: bool, note: str) -> list[str]:
    parts = []
    if errors:
        how = "root-relative" if centred or pose.root == "relative" else "as placed"
        means = [f"{np.nanmean(error):.1f} mm" if np.isfinite(error).any() else "unknown" for error in errors]
        told = means[0] if len(names) == 1 else ", ".join(f"{n} {m}" for n, m in zip(names, means, strict=True))
        parts.append(f"MPJPE of the drawn frames, {how}: {told}")
    elif centred:
        parts.append("root removed from all")
    parts.append(f"{pose.skeleton.name}, {style.frames_text(pose)}, {pose.frame} frame")
    return [*parts[:-1], "  ·  ".join([parts[-1]] + [note] * bool(note))]


def _notes(names: list[str], errors: list[np.ndarray]) -> list[str] | None:
    """Mean error of each drawn frame, for the slider; none with several bodies, as the text would be too long."""
    if len(errors) != 1 or len(names) != 1:
        return None
    means = style.nanmean(errors[0], axis=1)
    return ["no joint to compare" if np.isnan(mean) else f"error {mean:.0f} mm" for mean in means]


def _viewpoint(points: np.ndarray, pose: Pose3D) -> np.ndarray:
    """Horizontal unit vector from the body to the eye: from the camera, or from halfway between its front and left."""
    ahead = np.array([0.0, -1.0]) if pose.frame == "camera" else facing(points, pose.skeleton)
    if ahead is None:
        ahead = np.array([0.0, -1.0])
    turn = np.deg2rad(12 if pose.frame == "camera" else 32)
    return np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ ahead


def _spacing(views: list[np.ndarray]) -> float:
    """Metres between neighbours: the widest body plus a margin."""
    widths = [np.nanmax(view[..., :2], axis=1) - np.nanmin(view[..., :2], axis=1) for view in map(some_frames, views)]
    return max(1.0, 0.25 + max(float(np.nanmax(width)) for width in widths))


def _scene(bodies: list[_Body], shown: Arranged, height: int) -> go.Figure:
    pose, frames, still = shown.pose, shown.frames, shown.still
    clouds = [body.points for body in bodies]
    floor = floor_height(clouds[-1], pose.frame == "world" and pose.root != "relative")
    box = scene_box(clouds, floor)
    traces, moved = [], []
    for body in bodies:
        trace, line = body_trace(body.name, pose.skeleton, body.points[still], body.ghost, body.tag)
        traces.append(trace)
        moved.append(line.trace(body.points))  # (T, V, 3)
    steps = [[{"type": "scatter3d", **coordinates(line[t])} for line in moved] for t in range(len(frames))]
    traces += floor_traces(box, floor)
    traces += legend_keys("truth" if any(body.ghost for body in bodies) else "")
    heads = [cloud + [0, 0, 0.12] for cloud in clouds] if any(body.tag for body in bodies) else []
    layout = style.base_layout(
        shown.lines[0],
        "<br>".join(shown.lines[1:]),
        height,
        scene=scene_layout(box, clouds + heads, floor, shown.eye, _AXES[pose.frame]),
        legend=style.legend_above(),
        **style.play_controls(frames, pose.fps, still, notes=_notes(shown.names, shown.errors)),
    )
    layout["margin"]["b"] = 84 if len(frames) > 1 else 16
    return style.make_figure(traces, layout, steps)
