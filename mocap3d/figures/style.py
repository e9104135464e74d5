"""Shared by all figures: colours, fonts, the play button and frame slider, and checks of the input.

The rules come from measurements of plotly in notebooks: a figure is a plain `go.Figure` (widgets break and bloat
saved notebooks), a body is one trace, arrays are rounded float32 (stored as base64), frames are capped, ranges are
fixed so that nothing jumps, and the template is empty (the default one adds 7 kB to every figure).
"""

from __future__ import annotations

import textwrap

import numpy as np
import plotly.graph_objects as go

from mocap3d.poses import Pose2D, Pose3D

# Okabe and Ito's palette: distinguishable with all common kinds of colour blindness, and in greyscale by lightness.
LEFT, RIGHT, CENTRE = "#E69F00", "#0072B2", "#4D4D4D"
SIDE_COLOURS = {"left": LEFT, "right": RIGHT, "centre": CENTRE}
GHOST_COLOURS = {"left": "#F2CF85", "right": "#8CBEDC", "centre": "#A9A9A9"}  # the same, lighter: truth
SIDE_NAMES = {"left": "left", "right": "right", "centre": "middle"}
OTHER_COLOURS = ("#009E73", "#CC79A7", "#56B4E9", "#D55E00")  # for things without left and right
INK, FAINT, HAIR, FLOOR = "#24292F", "#57606A", "#D5DAE0", "#F4F6F8"
FONT = "Inter, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


_MODEBAR_CLUTTER = ["pan3d", "zoom3d", "orbitRotation", "tableRotation", "resetCameraLastSave3d", "lasso2d", "select2d"]


class FigureError(ValueError):
    """Input that cannot be drawn: it is empty, or two inputs do not match."""


def base_layout(title: str, subtitle: str = "", height: int = 560, **more) -> dict:
    """Base layout of every figure: empty template, white background (legible on light and dark pages), fonts."""
    heading, top = heading_layout(title, subtitle)
    return {
        "template": {},
        "title": heading,
        "height": height,
        "paper_bgcolor": "#FFFFFF",
        "plot_bgcolor": "#FFFFFF",
        "font": {"family": FONT, "size": 12, "color": INK},
        "hoverlabel": {"font": {"family": FONT, "size": 12}},
        "margin": {"l": 16, "r": 16, "t": top, "b": 16},
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": HAIR, "activecolor": FAINT, "remove": _MODEBAR_CLUTTER},
        "uirevision": "keep",  # keeps the user's camera and zoom in every redraw
    } | more


def heading_layout(title: str, subtitle: str = "") -> tuple[dict, int]:
    """A title wrapped for a figure 650 pixels wide, and the top margin it needs, with a row for the legend below it."""
    lines = textwrap.wrap(title, 69)
    small = [line for part in subtitle.split("<br>") for line in textwrap.wrap(part, 100)]
    text = f"<b>{'<br>'.join(lines)}</b>"
    if small:
        text += f"<br><span style='font-size:12px;color:{FAINT}'>{'<br>'.join(small)}</span>"
    heading = {"text": text, "x": 0.02, "xanchor": "left", "y": 1, "yref": "container", "yanchor": "top"}
    heading |= {"pad": {"t": 18}, "font": {"size": 16, "color": INK}}
    return heading, 50 + 21 * len(lines) + 17 * len(small)


def legend_above(**more) -> dict:
    """Legend in a row between the title and the drawing, where it covers neither."""
    look = {"x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom", "orientation": "h"}
    return look | {"font": {"size": 12}, "itemwidth": 30} | more


def compact(values: np.ndarray, decimals: int = 4) -> np.ndarray:
    """Float32 rounded to 0.1 mm: precise enough for figures, small, and the same on every machine."""
    return np.round(np.asarray(values, dtype=np.float64), decimals).astype(np.float32) + np.float32(0)  # no -0.0


def nanmean(values: np.ndarray, axis: int) -> np.ndarray:
    """Mean ignoring NaN; NaN without a warning where all values are NaN."""
    present = np.isfinite(values)
    count = present.sum(axis)
    return np.where(count > 0, np.where(present, values, 0).sum(axis) / np.maximum(count, 1), np.nan)


def round_up(value: float) -> float:
    """The next larger number with one or two digits: 37.2 -> 40, 0 -> 1."""
    if not value > 0:
        return 1.0
    unit = 10.0 ** np.floor(np.log10(value)) / 2
    return float(np.ceil(value / unit) * unit)


def chosen_frames(count: int, max_frames: int) -> tuple[range, str]:
    """Indices of the frames to draw, evenly strided to at most `max_frames`, and a note that states it."""
    stride = -(-count // max_frames)
    if stride == 1:
        return range(count), ""
    ordinal = {2: "2nd", 3: "3rd"}.get(stride, f"{stride}th")
    if stride > 20 and stride % 100 not in (11, 12, 13):
        ordinal = f"{stride}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(stride % 10, 'th') }"
    return range(0, count, stride), f"every {ordinal} of {count} frames drawn"


def frames_text(pose: Pose2D | Pose3D) -> str:
    """ "150 frames at 50 fps"."""
    return f"{len(pose)} frame{'s' * (len(pose) != 1)} at {pose.fps:g} fps"


def play_controls(
    frames: range,
    fps: float,
    active: int,
    redraw: bool = True,
    notes: list[str] | None = None,
    below: int = 0,
    pace: float = 1.0,
) -> dict:
    """Layout entries of the play and pause buttons and the frame slider.

    Args:
        frames: frame numbers drawn; their position in this range is the name of the plotly frame.
        fps: frames per second of the pose, before striding.
        active: position shown first.
        redraw: must be True for 3D traces, which cannot be animated otherwise.
        notes: text per drawn frame added to the slider's current value.
        below: pixels kept free under the drawing for its axis.
        pace: playback speed, as a fraction of real time.
    """
    if len(frames) == 1:
        return {}

    def arguments(milliseconds: float, **more) -> dict:
        return {
            "mode": "immediate",
            "frame": {"duration": round(milliseconds, 2), "redraw": redraw},
            "transition": {"duration": 0},
        } | more

    def button(label: str, *args) -> dict:
        return {"label": label, "method": "animate", "args": list(args)}

    jump = arguments(0)
    steps = []
    for position, frame in enumerate(frames):
        label = f"{frame / fps:.2f} s  ·  frame {frame}" + (f"  ·  {notes[position]}" if notes else "")
        steps.append({"label": label, "method": "animate", "args": [[str(position)], jump]})
    play = button("▶  Play", None, arguments(1000 * frames.step / fps / pace, fromcurrent=True))
    pause = button("❚❚  Pause", [None], jump)
    look = {"bgcolor": "#FFFFFF", "bordercolor": HAIR, "borderwidth": 1}
    return {
        "updatemenus": [
            {
                "type": "buttons",
                "direction": "left",
                "showactive": False,
                "buttons": [play, pause],
                **look,
                "x": 0,
                "xanchor": "left",
                "y": 0,
                "yanchor": "top",
                "pad": {"t": below + 26, "r": 8},
                "font": {"size": 12},
            }
        ],
        "sliders": [
            {
                "active": active,
                "steps": steps,
                "x": 0,
                "len": 1,
                "xanchor": "left",
                "y": 0,
                "yanchor": "top",
                "pad": {"t": below + 8, "b": 4, "l": 200, "r": 16},  # pixels: beside the buttons at any width
                "ticklen": 0,
                "minorticklen": 0,
                "font": {"color": "rgba(0,0,0,0)", "size": 1},  # shown in the current value, not under the slider
                "bgcolor": "#AEB6BF",
                "activebgcolor": FAINT,
                "bordercolor": "#AEB6BF",
                "borderwidth": 0,
                "currentvalue": {"font": {"size": 12, "color": FAINT}, "xanchor": "left", "offset": 8},
                "transition": {"duration": 0},
            }
        ],
    }


def make_figure(traces: list[dict], layout: dict, frames: list[list[dict]] = ()) -> go.Figure:
    """A plain Figure of trace dictionaries; frame i updates the first len(frames[i]) traces."""
    moving = [{"name": str(i), "data": data, "traces": list(range(len(data)))} for i, data in enumerate(frames)]
    return go.Figure({"data": traces, "layout": layout, "frames": moving if len(moving) > 1 else []})


def check_pose(pose: Pose2D | Pose3D, caller: str) -> None:
    """Raise unless `pose` has at least one joint in one frame."""
    if not np.isfinite(pose.points).all(-1).any():
        raise FigureError(
            f"{caller}: no joint is present in any of the {len(pose)} frames, so there is nothing to draw"
        )


def check_drawn(points: np.ndarray, caller: str) -> None:
    """Raise if the frames to draw (T, J, C) hold no joint: striding, or a missing root, can leave none."""
    if not np.isfinite(points).all(-1).any():
        raise FigureError(
            f"{caller}: no joint is left in the {len(points)} frames to draw; raise max_frames, or look for frames "
            "whose root is missing"
        )


def check_pair(a: Pose2D | Pose3D, b: Pose2D | Pose3D, caller: str) -> None:
    """Raise unless two poses share skeleton, frame rate, length and (3D) coordinate frame."""
    if a.skeleton.joints != b.skeleton.joints:
        raise FigureError(
            f"{caller}: skeletons differ ({a.skeleton.name!r} and {b.skeleton.name!r}); bring both to one with "
            '.convert("h36m17")'
        )
    if abs(a.fps - b.fps) > 1e-6 * max(a.fps, b.fps):
        raise FigureError(
            f"{caller}: frame rates differ ({a.fps:g} and {b.fps:g} fps); use .resample({a.fps:g}) on one"
        )
    if len(a) != len(b):
        raise FigureError(
            f"{caller}: lengths differ ({len(a)} and {len(b)} frames); cut both with .slice(0, {min(len(a), len(b))})"
        )
    if isinstance(a, Pose3D) and a.frame != b.frame:
        raise FigureError(
            f"{caller}: one pose is in the {a.frame} frame, the other in the {b.frame} frame; "
            "use .in_camera(camera) or .in_world(camera) on one"
        )


def same_root(poses: list[Pose3D]) -> tuple[list[Pose3D], bool]:
    """Remove the root of every pose if any is root-relative; also returns whether it did."""
    relative = [pose.root == "relative" for pose in poses]
    if not any(relative) or all(relative):
        return poses, False
    return [pose.root_relative() for pose in poses], True


def merged(look: dict, part: dict) -> dict:
    """A trace of fixed properties and animated ones; both may hold some of its marker."""
    return look | part | ({"marker": look["marker"] | part.get("marker", {})} if "marker" in look else {})


def colour_bar(unit: str) -> dict:
    """The narrow bar beside a heat map."""
    title = {"text": unit, "side": "top"}
    return {"title": title, "thickness": 10, "outlinewidth": 0, "tickfont": {"size": 12, "color": FAINT}}


def axis(text: str) -> dict:
    """A named axis of a flat figure."""
    return {
        "title": {"text": text, "font": {"size": 12, "color": INK}, "standoff": 8},
        "tickfont": {"size": 12, "color": FAINT},
        "gridcolor": "#ECEFF2",
        "zeroline": False,
        "ticks": "outside",
        "tickcolor": HAIR,
        "ticklen": 4,
    }
