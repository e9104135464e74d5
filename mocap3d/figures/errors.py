"""`show_errors` and `show_history`: errors of a prediction, and the course of training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from mocap3d.arguments import Pixels, PositiveInt, check_arguments
from mocap3d.figures import style
from mocap3d.figures.body import joint_label
from mocap3d.poses import Pose3D


def show_errors(
    prediction: Pose3D, truth: Pose3D, *, title: str | None = None, max_columns: PositiveInt = 500, height: Pixels = 500
) -> go.Figure:
    """Draw the error of every joint over time, next to each joint's mean.

    Args:
        prediction, truth: (T, J, 3) metres, same length, rate, skeleton and frame; if only one has an absolute
            root, the root is removed from both.
        title: replaces the title.
        max_columns: longer poses are averaged over time to at most this many columns, as stated in the subtitle.
        height: pixels.
    Returns:
        A plotly Figure: a map of joints x seconds in mm (yellow is worse, grey is missing), bars of the means.
    Raises:
        FigureError: if nothing can be compared, or the poses do not match.
    Source: own.
    """
    check_arguments(show_errors, locals())
    for pose in (prediction, truth):
        style.check_pose(pose, "show_errors()")
    style.check_pair(prediction, truth, "show_errors()")
    (a, b), centred = style.same_root([prediction, truth])
    errors = np.linalg.norm(a.points.astype(np.float64) - b.points.astype(np.float64), axis=-1) * 1000  # (T, J) mm
    if not np.isfinite(errors).any():
        raise style.FigureError("show_errors(): no joint is present in both poses of any frame")
    stride = -(-len(a) // max_columns)
    cells = style.nanmean(_in_blocks(errors, stride), axis=1)  # (T / stride, J)
    means = style.nanmean(errors, axis=0)  # (J,)

    names = [joint_label(a.skeleton, j) for j in range(len(a.skeleton))]
    how = "root-relative" if centred or a.root == "relative" else "as placed"
    subtitle = f"MPJPE {np.nanmean(errors):.1f} mm, {how}  ·  {style.frames_text(a)}"
    subtitle += f"  ·  each column is the mean of {stride} frames" if stride > 1 else ""
    top = style.round_up(float(np.nanpercentile(cells, 99)))
    heat = {
        "type": "heatmap",
        "z": style.compact(cells.T, 1),
        "y": names,
        "x0": (stride - 1) / 2 / a.fps,
        "dx": stride / a.fps,
        "colorscale": "Cividis",
        "zmin": 0,
        "zmax": top,
        "hoverongaps": False,
        "hovertemplate": "<b>%{y}</b><br>%{x:.2f} s: %{z:.1f} mm<extra></extra>",
        "colorbar": style.colour_bar("mm") | {"x": 1.0, "xpad": 6},
    }
    bars = {
        "type": "bar",
        "orientation": "h",
        "x": style.compact(means, 1),
        "y": names,
        "xaxis": "x2",
        "showlegend": False,
        "marker": {"color": [style.SIDE_COLOURS[a.skeleton.side(joint)] for joint in a.skeleton.joints]},
        "text": [f"{mean:.0f}" if np.isfinite(mean) else "missing" for mean in means],
        "textposition": "outside",
        "textfont": {"size": 11, "color": style.FAINT},
        "cliponaxis": False,
        "hovertemplate": "<b>%{y}</b>: mean %{x:.1f} mm<extra></extra>",
    }
    layout = style.base_layout(
        title or "Error of each joint over time",
        subtitle,
        height,
        bargap=0.35,
        xaxis=style.axis("time (s)") | {"domain": [0, 0.74], "showgrid": False},
        xaxis2=style.axis("mean over time (mm)") | {"domain": [0.76, 0.97], "rangemode": "tozero", "nticks": 4},
        yaxis=style.axis("") | {"autorange": "reversed", "ticks": "", "showgrid": False, "automargin": True},
        shapes=[
            {
                "type": "rect",
                "xref": "x domain",
                "yref": "y domain",
                "x0": 0,
                "x1": 1,
                "y0": 0,
                "y1": 1,
                "fillcolor": "#E4E7EB",
                "line": {"width": 0},
                "layer": "below",
            }
        ],
    )
    layout["margin"] |= {"b": 56, "r": 28}
    return style.make_figure([heat, bars], layout)


def show_history(history: Sequence[dict], *, title: str | None = None, height: Pixels = 420) -> go.Figure:
    """Draw training loss and validation error over epochs; over steps in a run of less than one.

    Args:
        history: one dict per epoch (or step) with the keys "epoch" (or "step"), "train_loss" and, if measured,
            "validation_mpjpe_mm": validation MPJPE in mm; other keys are ignored, None and missing values are skipped.
        title: replaces the title.
        height: pixels.
    Returns:
        A plotly Figure: loss on a logarithmic axis above, validation error below with the best value marked.
    Raises:
        FigureError: if no entry holds a loss or a validation error.
    Source: own.
    """
    check_arguments(show_history, locals())
    history = list(history)
    epochs, steps = _column(history, "epoch"), _column(history, "step")
    short = np.isfinite(steps).all() and not (epochs >= 1).any()
    unit = "epoch" if np.isfinite(epochs).any() and not short else "step"
    at = _column(history, unit, default=range(len(history)))
    loss, validation = _column(history, "train_loss"), _column(history, "validation_mpjpe_mm")
    if not np.isfinite(np.append(loss, validation)).any():
        raise style.FigureError(
            'show_history(): no entry has a "train_loss" or a "validation_mpjpe_mm"; give the history of a run'
        )
    both = np.isfinite(loss).any() and np.isfinite(validation).any()
    traces, axes, subtitle = [], {}, ""
    if np.isfinite(loss).any():
        traces.append(_curve(at, loss, "loss", style.CENTRE, "y", "%{y:.4g}"))
        axes["yaxis"] = style.axis("training loss") | {"domain": [0.56 if both else 0, 1], "nticks": 5}
        if np.nanmin(loss) > 0:
            axes["yaxis"] |= {"type": "log", **_log_ticks(float(np.nanmin(loss)), float(np.nanmax(loss)))}
    if np.isfinite(validation).any():
        axis = "y2" if both else "y"
        traces.append(_curve(at, validation, "validation", style.RIGHT, axis, "%{y:.1f} mm"))
        best = int(np.nanargmin(validation))
        subtitle = f"best validation MPJPE {validation[best]:.1f} mm at {unit} {at[best]:g}"
        traces.append(
            {
                "type": "scatter",
                "x": [float(at[best])],
                "y": [round(float(validation[best]), 2)],
                "yaxis": axis,
                "mode": "markers",
                "marker": {"size": 11, "color": style.LEFT, "symbol": "star"},
                "name": "best",
                "hoverinfo": "skip",
                "showlegend": False,
            }
        )
        axes["yaxis2" if both else "yaxis"] = style.axis("validation MPJPE (mm)") | {
            "domain": [0, 0.44 if both else 1],
            "nticks": 5,
        }
    layout = style.base_layout(
        title or "Training history",
        subtitle,
        height,
        hovermode="x unified",
        showlegend=False,
        xaxis=style.axis(unit) | {"anchor": "y2" if both else "y"},
        **axes,
    )
    layout["margin"] |= {"b": 52, "l": 70}
    return style.make_figure(traces, layout)


def _curve(x: np.ndarray, y: np.ndarray, name: str, colour: str, axis: str, value: str) -> dict:
    x, y = x[np.isfinite(y)], y[np.isfinite(y)]  # epochs without a measurement do not break the line
    return {
        "type": "scatter",
        "x": style.compact(x),
        "y": y.astype(np.float32),
        "yaxis": axis,
        "name": name,
        "mode": "lines+markers" if len(x) < 60 else "lines",
        "line": {"color": colour, "width": 2.5},
        "marker": {"size": 5, "color": colour},
        "hovertemplate": f"{name} {value}<extra></extra>",
    }


def _log_ticks(low: float, high: float) -> dict:
    """Ticks at 1, 2, 5 times powers of ten between two numbers; only the powers if there are many.

    Where fewer than two of them lie between the numbers: ticks at equal distances.
    """
    decades = np.arange(np.floor(np.log10(low)) - 1, np.ceil(np.log10(high)) + 1)
    steps = (1, 2, 5) if high < 100 * low else (1,)
    ticks = [float(f"{step}e{int(decade)}") for decade in decades for step in steps]
    if low < high and sum(low <= tick <= high for tick in ticks) < 2:
        distance = 10 ** np.floor(np.log10((high - low) / 2))
        distance *= max(step for step in (1, 2, 5) if step * distance <= (high - low) / 2)
        ticks = [float(f"{k * distance:.6g}") for k in range(max(int(low / distance), 1), int(high / distance) + 2)]
    return {"tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}


def _column(history: list[dict], key: str, default: Sequence[int] | None = None) -> np.ndarray:
    fallback = default if default is not None else [np.nan] * len(history)
    return np.array(
        [
            float(entry[key]) if entry.get(key) is not None else float(instead)
            for entry, instead in zip(history, fallback, strict=True)
        ]
    )


def _in_blocks(values: np.ndarray, size: int) -> np.ndarray:
    """(T, J) -> (ceil(T / size), size, J), the last block filled with NaN."""
    missing = -len(values) % size
    return np.pad(values, ((0, missing), (0, 0)), constant_values=np.nan).reshape(-1, size, values.shape[1])
