"""`show_2d`: keypoints in their image."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from mocap3d.arguments import Pixels, PositiveInt, check_arguments
from mocap3d.figures import style
from mocap3d.figures.body import Polyline, joint_label, most_open, polyline
from mocap3d.poses import Pose2D

_SIDES = ("left", "right", "centre")


def show_2d(
    pose2d: Pose2D,
    other: Pose2D | None = None,
    *,
    names: tuple[str, str] = ("pose", "other"),
    title: str | None = None,
    max_frames: PositiveInt = 150,
    height: Pixels = 640,
) -> go.Figure:
    """Draw 2D keypoints in their image: y runs down, pixels are square, the image border is drawn.

    Joints fade with their confidence; missing joints and their bones are left out.

    Args:
        pose2d: (T, J, 2) pixels.
        other: drawn lighter and dashed over it, e.g. the true projection under detections; same length, rate,
            skeleton and image size.
        names: of the two poses, for title and hover text.
        title, max_frames, height: same as in `show`.
    Returns:
        A plotly Figure with a play button and a frame slider.
    Raises:
        FigureError: if there is nothing to draw, or the poses do not match.
    Source: own.
    """
    check_arguments(show_2d, locals())
    poses = [pose2d] if other is None else [pose2d, other]
    for pose in poses:
        style.check_pose(pose, "show_2d()")
        style.check_pair(pose2d, pose, "show_2d()")
        if pose.image_size != pose2d.image_size:
            raise style.FigureError(f"show_2d(): image sizes differ ({pose2d.image_size} and {pose.image_size} px)")
    frames, note = style.chosen_frames(len(pose2d), max_frames)
    picked = [(pose.points[:: frames.step].astype(np.float64), pose.confidence[:: frames.step]) for pose in poses]
    for points, _ in picked:
        style.check_drawn(points, "show_2d()")
    still = most_open(picked[0][0])

    line = polyline(pose2d.skeleton)
    parts = [part for points, confidence in picked for part in _parts(line, points, confidence)]
    steps = [[part[t] for part in parts] for t in range(len(frames))]
    traces = []
    for i, name in enumerate(names[: len(poses)]):
        looks = _looks(pose2d, line, name, ghost=i > 0)
        traces += [style.merged(look, part) for look, part in zip(looks, steps[still][3 * i : 3 * i + 3], strict=True)]
    if other is not None:
        key = {"width": 2, "color": style.GHOST_COLOURS["centre"], "dash": "dot"}
        traces.append({"type": "scatter", "x": [None], "y": [None], "mode": "lines", "name": names[1], "line": key})

    subtitle, notes = _texts(pose2d, picked, names, note)
    layout = style.base_layout(
        title or (" and ".join(names).capitalize() if other is not None else "2D pose"),
        subtitle,
        height,
        legend=style.legend_above(),
        **image_axes(pose2d.image_size, [points for points, _ in picked]),
        **style.play_controls(frames, pose2d.fps, still, redraw=False, notes=notes, below=44),
    )
    layout["margin"] |= {"b": 128 if len(frames) > 1 else 52, "l": 60}
    return style.make_figure(traces, layout, steps)


def _parts(line: Polyline, points: np.ndarray, confidence: np.ndarray) -> list[list[dict]]:
    """The animated properties: for each side, one entry per frame. points (T, J, 2), confidence (T, J)."""
    path = style.compact(line.trace(points), 1)  # (T, V, 2)
    opacity = style.compact(confidence[:, list(line.vertices)], 2)  # (T, V)
    fades = bool((confidence[np.isfinite(points).all(-1)] < 1).any())
    parts = []
    for side in _SIDES:
        keep = _of_side(line, side)
        x, y, shade = (np.ascontiguousarray(values[:, keep]) for values in (path[..., 0], path[..., 1], opacity))
        moving = [{"type": "scatter", "x": x[t], "y": y[t]} for t in range(len(points))]
        if fades:
            moving = [part | {"marker": {"opacity": shade[t]}} for t, part in enumerate(moving)]
        parts.append(moving)
    return parts


def _of_side(line: Polyline, side: str) -> list[int]:
    return [i for i, of in enumerate(line.sides) if of == side]


def _looks(pose: Pose2D, line: Polyline, name: str, ghost: bool) -> list[dict]:
    """The fixed properties: colours, names, marker sizes, one trace per side."""
    palette = style.GHOST_COLOURS if ghost else style.SIDE_COLOURS
    looks = []
    for side in _SIDES:
        keep = _of_side(line, side)
        joints = [line.vertices[i] for i in keep]
        sizes = [0 if not line.first[i] else 5 if ghost else 8 for i in keep]
        stroke = {"color": palette[side], "width": 2 if ghost else 4} | ({"dash": "dot"} if ghost else {})
        looks.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": style.SIDE_NAMES[side],
                "showlegend": not ghost,
                "line": stroke,
                "marker": {"color": palette[side], "size": sizes, "opacity": 1, "line": {"width": 0}},
                "customdata": [joint_label(pose.skeleton, j) if j >= 0 else "" for j in joints],
                "cliponaxis": False,
                "hovertemplate": f"<b>%{{customdata}}</b>  {name}<br>%{{x:.1f}}, %{{y:.1f}} px<br>"
                "confidence %{marker.opacity:.2f}<extra></extra>",
            }
        )
    return looks


def _texts(pose: Pose2D, picked: list, names: tuple[str, str], note: str) -> tuple[str, list[str] | None]:
    """Subtitle, and the mean pixel distance of each frame for the slider if there are two poses."""
    width, height = pose.image_size
    facts = f"{pose.skeleton.name}, {style.frames_text(pose)}, image {width} × {height} px"
    facts += f"  ·  {note}" if note else ""
    if len(picked) == 1:
        return facts, None
    distance = np.linalg.norm(picked[0][0] - picked[1][0], axis=-1)  # (T, J) px
    present = np.isfinite(distance)
    if not present.any():
        return facts, None
    means = style.nanmean(distance, axis=1)
    notes = ["no joint in both" if np.isnan(mean) else f"{mean:.1f} px apart" for mean in means]
    return (
        f"mean distance of {names[0]} and {names[1]} in the drawn frames: {distance[present].mean():.1f} px<br>{facts}",
        notes,
    )


def image_axes(size: tuple[int, int], clouds: list[np.ndarray]) -> dict:
    """Axes of an image plane in pixels: y down, square pixels, fixed range, and the border as a rectangle."""
    width, height = size
    points = np.concatenate([cloud.reshape(-1, 2) for cloud in clouds] + [np.array([[0, 0], [width, height]])])
    pad = 0.03 * max(size)
    most = 0.5 * np.array(size)  # a single outlier must not shrink the image
    low = np.maximum(np.nanmin(points, axis=0), -most) - pad
    high = np.minimum(np.nanmax(points, axis=0), size + most) + pad
    look = {
        "autorange": False,
        "zeroline": False,
        "gridcolor": "#ECEFF2",
        "ticks": "outside",
        "tickcolor": style.HAIR,
        "tickfont": {"size": 12, "color": style.FAINT},
        "constrain": "domain",
    }
    name = {"font": {"size": 12, "color": style.INK}, "standoff": 10}
    x = {"range": [float(low[0].round(1)), float(high[0].round(1))], "title": {"text": "x, right (px)", **name}}
    y = {"range": [float(high[1].round(1)), float(low[1].round(1))], "title": {"text": "y, down (px)", **name}}
    border = {"type": "rect", "x0": 0, "y0": 0, "x1": width, "y1": height, "layer": "below"}
    border |= {"line": {"color": "#8C959F", "width": 1.5}, "fillcolor": "#FAFBFC"}
    return {"xaxis": look | x, "yaxis": look | y | {"scaleanchor": "x", "scaleratio": 1}, "shapes": [border]}
