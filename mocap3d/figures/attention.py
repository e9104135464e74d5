"""`show_attention` and `show_gates`: attention weights of a network, and the gates between its two streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import torch

from mocap3d.arguments import Pixels, check_arguments
from mocap3d.camera import pixels_to_screen
from mocap3d.figures import style
from mocap3d.figures.body import joint_label, polyline
from mocap3d.missing import fill_missing
from mocap3d.models.motionbert import MotionBERT
from mocap3d.normalise import known_intrinsics, normalise_points
from mocap3d.poses import Pose2D
from mocap3d.skeleton import Skeleton

STREAMS = ("st", "ts")
LINES = {4: 9.0, 2: 5.0, 1: 2.0}  # minimum weight, in equal shares -> width of the line, px
WHOLE = 64  # px, diameter of a dot of weight 1; a dot's area is proportional to its weight
LIT = style.OTHER_COLOURS[0]


def show_attention(
    model: MotionBERT,
    pose2d: Pose2D,
    joint: str | Sequence[str] = ("right_wrist", "left_foot", "head", "pelvis"),
    frame: int | None = None,
    *,
    depth: int = 0,
    stream: str = "st",
    head: int | None = None,
    title: str | None = None,
    height: Pixels = 560,
) -> go.Figure:
    """Draw what one joint in one frame attends to: on the skeleton, and on the timeline.

    Args:
        model: a trained MotionBERT.
        pose2d: (T, J, 2) pixels, any known skeleton, at the frame rate of the model's training. For a video longer
            than the model's clips, the clip around `frame` is used. A model with normalise="ray" reads it as filmed
            with 65 degrees.
        joint: whose attention is drawn; with several, a menu selects one, and the first is shown.
        frame: of `pose2d`; by default the middle one.
        depth, stream: the layers shown first; a menu has the others. Depth 0 is the first.
        head: whose weights are drawn on the skeleton; None for the mean over heads. The timeline shows all.
        title: replaces the title.
        height: pixels.
    Returns:
        A plotly Figure. Left: attention between joints; the area of a dot is a weight, and lines lead to the joints
        with more than an equal share. Right: attention between frames, in % over seconds.
    Raises:
        FigureError: for a joint, frame, depth, stream or head that does not exist, or a model without attention.
    Source: own.
    """
    check_arguments(show_attention, locals())
    x, pose2d, first, frame = _clip(model, pose2d, frame, "show_attention()")
    skeleton, names = pose2d.skeleton, [joint] if isinstance(joint, str) else list(joint)
    if unknown := [name for name in names if name not in skeleton.joints] or ([] if names else ["none"]):
        raise style.FigureError(f"show_attention(): no joint {unknown[0]!r}; give one of {', '.join(skeleton.joints)}")
    _in_range("depth", depth, model.depth)
    if stream not in STREAMS:
        raise style.FigureError(f"show_attention(): stream is {stream!r}; give 'st' or 'ts'")
    if head is not None:
        _in_range("head", head, model.heads)

    at, time = frame - first, (first + np.arange(len(pose2d))) / pose2d.fps
    layers = [(number, name) for number in range(model.depth) for name in STREAMS]
    shown = layers.index((depth, stream))
    between = []  # for each layer: weights between joints (J, J) in this frame, between frames (J, H, T)
    for number, name in layers:
        joints = model.attention(x, number, name, "joints")[0, at].cpu().numpy()  # (H, J, J)
        frames = model.attention(x, number, name, "frames")[0, :, :, at].cpu().numpy()  # (J, H, T)
        between.append((joints.mean(0) if head is None else joints[head], frames))
    steps = []
    for query in skeleton.indices(names):
        parts = [part for pair in between for part in _parts(pose2d.points[at], query, *pair)]
        steps.append(parts)

    bones = polyline(skeleton).trace(pose2d.points[at].astype(float))
    still = {"type": "scatter", "mode": "lines", "line": {"width": 3, "color": style.HAIR}, "hoverinfo": "skip"}
    still |= {"x": bones[:, 0], "y": bones[:, 1], "showlegend": False}
    labels = [joint_label(skeleton, j) for j in range(len(skeleton))]
    looks = _looks(labels, model.heads, pose2d.points[at], time)
    moving = [
        style.merged(look, part) | {"visible": number // len(looks) == shown}
        for number, (look, part) in enumerate(zip(looks * len(layers), steps[0], strict=True))
    ]
    whose = "mean over heads" if head is None else f"head {head}"
    token = f"frame {frame}, {frame / pose2d.fps:.2f} s"
    if len(names) == 1:
        token = f"{joint_label(skeleton, skeleton.index(names[0]))}, {token}"
    layout = _layout(
        title or "What one joint in one frame looks at",
        f"{token}  ·  on the skeleton: {whose}; the area of a dot is the weight",
        height,
        pose2d.points[at],
        between,
        time,
        at,
    )
    layout["updatemenus"] = [
        _menu(0, shown, [_layer_button(i, layer, len(layers), len(looks)) for i, layer in enumerate(layers)]),
        _menu(190, 0, [_joint_button(i, skeleton, name) for i, name in enumerate(names)]),
    ]
    del layout["updatemenus"][1 + (len(names) > 1) :]  # one joint needs no menu
    return style.make_figure([still, *moving], layout, [[{"type": "scatter"}, *parts] for parts in steps])


def show_gates(model: MotionBERT, pose2d: Pose2D, *, title: str | None = None, height: Pixels = 520) -> go.Figure:
    """Draw the weight that the learned gates give each stream, for each joint and depth, averaged over frames.

    Args:
        model: a MotionBERT with gates.
        pose2d: same as in `show_attention`; for a long video, the clip in its middle is used.
        title: replaces the title.
        height: pixels.
    Returns:
        A plotly Figure: a map of joints x depths, the share of the st stream in %; the rest is ts.
    Raises:
        FigureError: for a model without gates.
    Source: own.
    """
    check_arguments(show_gates, locals())
    x, pose2d, _, _ = _clip(model, pose2d, None, "show_gates()")
    if not model.fuse:
        raise style.FigureError(f"show_gates(): {model.name} averages its streams (fuse=False); it has no gates")
    share = 100 * model.shares(x)[:, 0, ..., 0].mean(1).cpu().numpy()  # (depth, J) %
    heat = {
        "type": "heatmap",
        "z": style.compact(share.T, 1),
        "x": [f"depth {i}" for i in range(len(share))],
        "y": [joint_label(pose2d.skeleton, j) for j in range(share.shape[1])],
        "zmin": 0,
        "zmax": 100,
        "colorscale": [[0, style.OTHER_COLOURS[1]], [0.5, "#FFFFFF"], [1, LIT]],
        "texttemplate": "%{z:.0f}",
        "hovertemplate": "<b>%{y}</b>, %{x}<br>st %{z:.1f} %<extra></extra>",
        "xgap": 2,
        "ygap": 1,
        "colorbar": style.colour_bar("% st"),
    }
    layout = style.base_layout(
        title or "Which stream goes on",
        "share of the st stream in %, mean over frames; the rest is ts",
        height,
        xaxis=style.axis("block") | {"showgrid": False},
        yaxis=style.axis("joint") | {"autorange": "reversed", "ticks": "", "showgrid": False, "automargin": True},
    )
    layout["margin"] |= {"b": 56}
    return style.make_figure([heat], layout)


def _clip(model: MotionBERT, pose2d: Pose2D, frame: int | None, caller: str) -> tuple[torch.Tensor, Pose2D, int, int]:
    """The network's input (1, T, 17, 3), its clip, the start of the clip in the video, and the frame."""
    style.check_pose(pose2d, caller)
    frame = len(pose2d) // 2 if frame is None else frame
    _in_range("frame", frame, len(pose2d))
    most = min(model.receptive_field, len(pose2d))
    first = min(max(frame - most // 2, 0), len(pose2d) - most)
    pose2d = pose2d.convert(model.input_skeleton).slice(first, first + most)
    device = next(model.parameters()).device
    pose2d = replace(pose2d, points=fill_missing(pose2d.points))
    screen = pixels_to_screen(pose2d.points, *pose2d.image_size)  # (T, 17, 2)
    screen = torch.from_numpy(screen.astype(np.float32)).to(device)
    seen = torch.from_numpy(np.asarray(pose2d.confidence, dtype=np.float32)).to(device)
    length, camera = torch.tensor([most], device=device), screen.new_tensor([known_intrinsics(pose2d.image_size)])
    points, _ = normalise_points(screen, length, model.normalise, model.receptive_field, intrinsics=camera)
    return model.encode(points[None], seen[None]), pose2d, first, frame


def _in_range(what: str, value: int, count: int) -> None:
    if not 0 <= value < count:
        raise style.FigureError(f"{what} is {value!r}; give 0 to {count - 1}")


def _parts(points: np.ndarray, query: int, joints: np.ndarray, frames: np.ndarray) -> list[dict]:
    """The data drawn for one joint and one layer. points (J, 2) px; weights (J, J) and (J, H, T)."""
    weights, parts = joints[query], []
    shares = weights * len(weights)
    for least, more in zip(LINES, (np.inf, *LINES), strict=False):
        keys = np.flatnonzero((shares >= least) & (shares < more) & (np.arange(len(shares)) != query))
        line = np.full((len(keys), 3, 2), np.nan)  # from the joint, to a joint, a gap
        line[:, 0], line[:, 1] = points[query], points[keys]
        x, y = style.compact(line.reshape(-1, 2), 1).T
        parts.append({"type": "scatter", "x": np.ascontiguousarray(x), "y": np.ascontiguousarray(y)})
    sizes = style.compact(WHOLE * np.sqrt(weights), 1)
    parts.append({"type": "scatter", "marker": {"size": sizes}, "customdata": style.compact(100 * weights, 2)})
    x, y = style.compact(points[query], 1).tolist()
    parts.append({"type": "scatter", "x": [x], "y": [y]})
    heads = [*frames[query], frames[query].mean(0)]
    return parts + [{"type": "scatter", "y": style.compact(100 * weight, 3)} for weight in heads]


def _looks(labels: list[str], heads: int, points: np.ndarray, time: np.ndarray) -> list[dict]:
    """The fixed properties of one layer's traces: lines, dots, the ring, a curve for each head and their mean."""
    x, y = (np.ascontiguousarray(axis) for axis in style.compact(points, 1).T)
    plain = {"type": "scatter", "showlegend": False, "hoverinfo": "skip"}
    line = plain | {"mode": "lines", "opacity": 0.55}
    looks = [line | {"line": {"width": width, "color": LIT}} for width in LINES.values()]
    dot = {"color": LIT, "opacity": 0.8, "line": {"width": 1, "color": "#FFFFFF"}}
    hover = "<b>%{text}</b><br>%{customdata:.1f} % of the weight<extra></extra>"
    looks.append(
        {
            "type": "scatter",
            "mode": "markers",
            "x": x,
            "y": y,
            "marker": dot,
            "text": labels,
            "showlegend": False,
            "hovertemplate": hover,
        }
    )
    ring = {"symbol": "circle-open", "size": 20, "color": style.INK, "line": {"width": 2.5}}
    looks.append(plain | {"mode": "markers", "marker": ring, "name": "who asks", "showlegend": True})
    right = {"type": "scatter", "mode": "lines", "x": style.compact(time, 3), "xaxis": "x2", "yaxis": "y2"}
    hover = "%{x:.2f} s: %{y:.2f} %<extra>"
    for number in range(heads):
        thin = {"width": 1.3, "color": "#8FCFBD"}
        looks.append(
            right
            | {
                "line": thin,
                "name": "each head",
                "showlegend": number == 0,
                "hovertemplate": f"{hover}head {number}</extra>",
            }
        )
    looks.append(
        right | {"line": {"width": 3, "color": LIT}, "name": "mean over heads", "hovertemplate": hover + "mean</extra>"}
    )
    return looks


def _layout(
    title: str, subtitle: str, height: Pixels, points: np.ndarray, between: list, time: np.ndarray, at: int
) -> dict:
    """Axes of both drawings: the body in its image, y down; weight over seconds, with the equal share."""
    middle, half = (np.nanmin(points, 0) + np.nanmax(points, 0)) / 2, np.nanmax(np.ptp(points, axis=0)) * 0.6
    low, high = (middle - half).round(1).tolist(), (middle + half).round(1).tolist()
    equal, top = 100 / len(time), 105 * max(frames.max() for _, frames in between)
    plain = {"showgrid": False, "zeroline": False}
    body = plain | {"constrain": "domain"}
    layout = style.base_layout(
        title,
        subtitle,
        height,
        xaxis=style.axis("x, right (px)") | body | {"domain": [0, 0.43], "range": [low[0], high[0]]},
        yaxis=style.axis("y, down (px)") | body | {"range": [high[1], low[1]], "scaleanchor": "x"},
        xaxis2=style.axis("time (s)") | plain | {"domain": [0.53, 1], "anchor": "y2"},
        yaxis2=style.axis("weight (%)") | {"anchor": "x2", "range": [0, float(round(top, 2))]},
        legend=style.legend_above(x=1, xanchor="right"),
        shapes=[
            {
                "type": "line",
                "xref": "x2 domain",
                "yref": "y2",
                "x0": 0,
                "x1": 1,
                "y0": equal,
                "y1": equal,
                "line": {"color": style.FAINT, "width": 1, "dash": "dash"},
            },
            {
                "type": "line",
                "xref": "x2",
                "yref": "y2 domain",
                "x0": time[at],
                "x1": time[at],
                "y0": 0,
                "y1": 1,
                "line": {"color": style.INK, "width": 1, "dash": "dot"},
            },
        ],
        annotations=[
            {
                "xref": "x2 domain",
                "yref": "y2",
                "x": 1,
                "y": equal,
                "text": "equal share",
                "showarrow": False,
                "xanchor": "right",
                "yanchor": "bottom",
                "font": {"size": 12, "color": style.FAINT},
            }
        ],
    )
    layout["margin"] |= {"t": layout["margin"]["t"] + 42, "b": 56, "l": 60}  # a row for the menus
    return layout


def _menu(left: int, active: int, buttons: list[dict]) -> dict:
    """A menu `left` pixels from the edge of the drawing, above the legend."""
    return {
        "type": "dropdown",
        "buttons": buttons,
        "active": active,
        "x": 0,
        "xanchor": "left",
        "y": 1,
        "yanchor": "bottom",
        "pad": {"l": left, "b": 32},
        "bgcolor": "#FFFFFF",
        "bordercolor": style.HAIR,
        "font": {"size": 12},
    }


def _layer_button(number: int, layer: tuple[int, str], layers: int, size: int) -> dict:
    """Menu entry that shows the traces of one layer, for the same joint."""
    visible = [i // size == number for i in range(layers * size)]
    args = [{"visible": visible}, list(range(1, layers * size + 1))]
    return {"label": f"depth {layer[0]}, {layer[1]} stream", "method": "restyle", "args": args}


def _joint_button(number: int, skeleton: Skeleton, name: str) -> dict:
    """Menu entry that updates the traces of all layers, without changing which are visible."""
    jump = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}, "transition": {"duration": 0}}
    label = joint_label(skeleton, skeleton.index(name))
    return {"label": label, "method": "animate", "args": [[str(number)], jump]}
