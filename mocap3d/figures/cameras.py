"""`show_cameras`: positions and views of the cameras, and the body between them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from mocap3d.arguments import Pixels, Positive, PositiveInt, check_arguments
from mocap3d.camera import Camera
from mocap3d.figures import style
from mocap3d.figures.body import body_trace, coordinates, legend_keys, most_open
from mocap3d.figures.scene import floor_height, floor_traces, scene_box, scene_layout
from mocap3d.poses import Pose3D

COLOURS = (*style.OTHER_COLOURS, "#6A3D9A", "#B8860B", "#E7298A", "#1B4F72")  # eight cameras before one repeats


def show_cameras(
    cameras: Camera | Sequence[Camera],
    pose3d: Pose3D | None = None,
    *,
    depth: Positive = 0.7,
    title: str | None = None,
    max_frames: PositiveInt = 150,
    height: Pixels = 560,
) -> go.Figure:
    """Draw cameras as frustums in the world, and the body they film.

    Each frustum extends from the camera's centre to its image rectangle `depth` metres ahead (pinhole, without
    distortion); the small triangle marks the upper edge of the image.

    Args:
        cameras: one or more cameras, placed in the world.
        pose3d: (T, J, 3) metres, world frame; it is animated, with its path on the floor.
        depth: metres from a camera's centre to the drawn rectangle.
        title, max_frames, height: same as in `show`.
    Returns:
        A plotly Figure; z is up.
    Raises:
        FigureError: if there is no camera, or the pose is not in the world frame.
    Source: own.
    """
    check_arguments(show_cameras, locals())
    cameras = [cameras] if isinstance(cameras, Camera) else list(cameras)
    if not cameras:
        raise style.FigureError("show_cameras() was given no camera; give at least one Camera")
    check_cameras(pose3d, "show_cameras()")
    shapes = [frustum(camera, depth) for camera in cameras]
    clouds, moving, traces, controls = list(shapes), [], [], {}
    floor = min(0.0, float(min(np.nanmin(shape[:, 2]) for shape in shapes)) - 0.1)
    subtitle = f"{len(cameras)} camera{'s' * (len(cameras) > 1)}, world frame"
    if pose3d is not None:
        body, path, moving, frames, still, note = _subject(pose3d, max_frames)
        floor = min(floor_height(pose3d.points, True), float(np.nanmin(pose3d.points[..., 2])))
        path[:, 2] = floor + 0.004
        clouds.append(np.asarray(pose3d.points, dtype=np.float64))
        traces += [body, _path_trace(path)]
        controls = style.play_controls(frames, pose3d.fps, still)
        subtitle += f"  ·  {pose3d.skeleton.name}, {style.frames_text(pose3d)}" + (f"  ·  {note}" if note else "")

    traces += [_camera_trace(camera, shape, i) for i, (camera, shape) in enumerate(zip(cameras, shapes, strict=True))]
    box = scene_box(clouds, floor)
    traces += floor_traces(box, floor) + (legend_keys() if pose3d is not None else [])
    middle = np.mean([camera.translation for camera in cameras], axis=0)
    away = _open_side(cameras, middle)
    scene = scene_layout(box, clouds, floor, away, ("x (m)", "y (m)", "z, up (m)"), rise=0.65)
    eye = scene["camera"]["eye"]
    scene["camera"]["eye"] = {axis: round(1.2 * value, 4) for axis, value in eye.items()}  # room for the names
    layout = style.base_layout(
        title or ("Cameras and subject" if pose3d is not None else "Cameras"),
        subtitle,
        height,
        scene=scene,
        legend=style.legend_above(),
        **controls,
    )
    layout["margin"]["b"] = 84 if controls else 16
    return style.make_figure(traces, layout, moving)


def check_cameras(pose: Pose3D | None, caller: str) -> None:
    """Raise unless the pose, if any, has a place among the cameras."""
    if pose is None:
        return
    style.check_pose(pose, caller)
    if pose.frame != "world":
        raise style.FigureError(
            f"{caller}: cameras stand in the world, the pose is in the camera frame; use pose3d.in_world(camera)"
        )
    if pose.root == "relative":
        raise style.FigureError(f"{caller}: the pose's root is 'relative', so its place among the cameras is unknown")


def frustum(camera: Camera, depth: float) -> np.ndarray:
    """Line points (V, 3) in the world, metres: edges from the centre, image rectangle, up mark, with NaN gaps."""
    width, height = float(camera.width), float(camera.height)
    focal, centre = np.asarray(camera.focal, dtype=np.float64), np.asarray(camera.centre, dtype=np.float64)
    pixels = np.array([[0, 0], [width, 0], [width, height], [0, height], [width / 2, -height * 0.18]])
    rays = np.concatenate([(pixels - centre) / focal, np.ones((5, 1))], axis=1) * depth
    rays[4] = [rays[4, 0], min(rays[4, 1], rays[0, 1]), depth]
    corners = np.asarray(camera.camera_to_world(rays), dtype=np.float64)
    apex, gap = np.asarray(camera.translation, dtype=np.float64), np.full(3, np.nan)
    a, b, c, d, up = corners
    return np.array([apex, a, b, apex, c, d, apex, gap, b, c, gap, d, a, gap, a, up, b])


def _camera_trace(camera: Camera, shape: np.ndarray, number: int) -> dict:
    colour = COLOURS[number % len(COLOURS)]
    name = camera.name or f"camera {number + 1}"
    place = "centre at " + ", ".join(f"{value:.2f}" for value in np.asarray(camera.translation)) + " m"
    return {
        "type": "scatter3d",
        "mode": "lines+markers+text",
        "name": name,
        "showlegend": False,
        **coordinates(style.compact(shape)),
        "line": {"width": 5, "color": colour},
        "marker": {"size": [5] + [0] * (len(shape) - 1), "color": colour},
        "text": [f"<b>{name}</b>"] + [""] * (len(shape) - 1),
        "textposition": "top center",
        "textfont": {"size": 12, "color": style.INK},
        "hovertemplate": f"<b>{name}</b><br>{place}<br>{camera.width} × {camera.height} px<extra></extra>",
    }


def _subject(pose: Pose3D, max_frames: PositiveInt):
    """Trace of the body, its path (T, 3), the animation frames, and the frame shown first."""
    frames, note = style.chosen_frames(len(pose), max_frames)
    points = np.asarray(pose.points, dtype=np.float64)[:: frames.step]
    style.check_drawn(points, "show_cameras()")
    still = most_open(points)
    trace, line = body_trace("subject", pose.skeleton, points[still], far=True)
    moved = line.trace(points)
    steps = [[{"type": "scatter3d", **coordinates(moved[t])}] for t in range(len(frames))]
    present = np.isfinite(points).all(-1)[..., None]
    path = np.where(present, points, 0).sum(1) / np.where(present.any(1), present.sum(1), np.nan)  # (T, 3)
    return trace, path, steps, frames, still, note


def _path_trace(path: np.ndarray) -> dict:
    return {
        "type": "scatter3d",
        "mode": "lines",
        "name": "path on the floor",
        **coordinates(style.compact(path)),
        "line": {"width": 4, "color": "#A9A9A9"},
        "hoverinfo": "skip",
    }


def _open_side(cameras: list[Camera], middle: np.ndarray) -> np.ndarray:
    """Horizontal viewing direction: through the widest gap between the cameras, seen from their middle."""
    angles = np.sort([np.arctan2(*(np.asarray(camera.translation) - middle)[1::-1]) for camera in cameras])
    if len(angles) == 1:
        forward = cameras[0].camera_to_world(np.array([0.0, 0.0, 1.0])) - np.asarray(cameras[0].translation)
        angle = np.arctan2(forward[1], forward[0]) + 2.2
    else:
        gaps = np.diff(np.append(angles, angles[0] + 2 * np.pi))
        widest = int(np.argmax(np.round(gaps, 6)))
        angle = angles[widest] + gaps[widest] / 2
    return np.array([np.cos(angle), np.sin(angle)])
