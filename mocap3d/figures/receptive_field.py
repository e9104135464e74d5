"""`show_receptive_field`: the frames of a video that one lifted pose depends on, and the intermediate results."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from mocap3d.arguments import Pixels, PositiveInt, check_arguments
from mocap3d.figures import style

FPS = 50.0  # frame rate of the published models


def show_receptive_field(
    filter_widths: Sequence[int] = (3, 3, 3),
    causal: bool = False,
    strided: bool = False,
    *,
    outputs: PositiveInt = 9,
    title: str | None = None,
    height: Pixels = 430,
) -> go.Figure:
    """Draw a stack of convolutions over time; a slider selects a pose and highlights everything it is computed from.

    Args:
        filter_widths: frames each convolution sees, odd; their product R is the receptive field.
        causal: a pose belongs to the last frame of its window instead of its middle one.
        strided: draw the computation of the strided form, one window at a time; the dilated form computes every dot.
        outputs: number of neighbouring poses to choose from; R + outputs - 1 frames are drawn.
        title: replaces the title.
        height: pixels.
    Returns:
        A plotly Figure: frames from left to right, layers from bottom (2D) to top (3D), a dot for each computed
        feature vector; its hover text states its inputs and its receptive field.
    Raises:
        FigureError: for widths that are not odd, or no output.
    Source: own; the forms are those of Pavllo et al. 2019, section 3 and appendix A.
    """
    check_arguments(show_receptive_field, locals())
    widths = [int(width) for width in filter_widths]
    if not widths or any(width < 1 or width % 2 == 0 for width in widths):
        raise style.FigureError(f"filter_widths={filter_widths}: give odd numbers of frames, such as (3, 3, 3)")
    field = math.prod(widths)
    frames, levels = field + outputs - 1, len(widths)
    dots = [_places(widths, level, frames, causal) for level in range(levels + 1)]
    trees = [_tree(widths, int(place), causal) for place in dots[-1]]
    used = sum(map(len, trees[0][1:]))

    shown = outputs // 2
    steps = [[{"x": _lines(widths, tree, causal)[0]}, {"x": _xs(tree)}] for tree in trees]
    if strided:  # there is no pale dot below a highlighted one to hold the hover text
        texts = [_texts(widths, tree, causal) for tree in trees]
        for step, text in zip(steps, texts, strict=True):
            step[1]["text"] = text
        static = [_dots(dots[:1], _texts(widths, dots[:1], causal))]
    else:
        texts = [None] * outputs
        static = [_edges(*_lines(widths, dots, causal), pale=True), _dots(dots, _texts(widths, dots, causal))]
    moving = [_edges(*_lines(widths, trees[shown], causal)), _dots(trees[shown], texts[shown], lit=True)]
    if strided:
        cost = f"every window for itself: {used} columns a pose, none shared"
    else:
        computed = sum(map(len, dots[1:]))
        cost = f"whole sequence: {computed} columns for {outputs} poses; this pose uses {used} of them"
    kind = f"{'Strided' if strided else 'Dilated'}, {'causal' if causal else 'centred'}"
    notes = [f"the pose of frame {tree[-1][0]} sees frames {tree[0][0]} to {tree[0][-1]}" for tree in trees]
    rows = list(range(levels + 1))
    layout = style.base_layout(
        title or f"{kind}: one pose sees {field} frames",
        f"filter widths {', '.join(map(str, widths))}  ·  {cost}",
        height,
        showlegend=False,
        xaxis=style.axis("frame") | {"range": [-0.7, frames - 0.3], "autorange": False, "showgrid": False},
        yaxis=style.axis("")
        | {
            "range": [-0.35, levels + 0.35],
            "autorange": False,
            "showgrid": False,
            "ticks": "",
            "automargin": True,
            "tickvals": rows,
            "ticktext": [_level_name(widths, level).replace(", ", ",<br>") for level in rows],
        },
        **style.play_controls(range(outputs), FPS, shown, redraw=False, below=44, pace=1 / 15),
    )
    if outputs > 1:
        for step, note in zip(layout["sliders"][0]["steps"], notes, strict=True):
            step["label"] = note
    layout["margin"] |= {"b": 128 if outputs > 1 else 52, "t": layout["margin"]["t"] - 16}  # no legend
    still = [{"type": "scatter"}] * len(static)  # drawn first, so below; not animated
    steps = [[*still, *({"type": "scatter"} | part for part in step)] for step in steps]
    return style.make_figure([*static, *moving], layout, steps)


def _dilation(widths: list[int], level: int) -> int:
    """Frames between the taps of the convolution that computes `level` (1 is the stem)."""
    return math.prod(widths[: level - 1])


def _places(widths: list[int], level: int, frames: PositiveInt, causal: bool) -> np.ndarray:
    """The frames of a level's dots: the middle of their receptive field, or its end."""
    seen = math.prod(widths[:level])
    first = seen - 1 if causal else seen // 2
    return np.arange(first, first + frames - seen + 1)


def _taps(widths: list[int], level: int, causal: bool) -> np.ndarray:
    """Positions of a dot's inputs in the level below, relative to the dot."""
    width = widths[level - 1]
    return (np.arange(width) - (width - 1 if causal else width // 2)) * _dilation(widths, level)


def _tree(widths: list[int], place: int, causal: bool) -> list[np.ndarray]:
    """The dots one pose depends on: for each level, from the 2D up, their frames."""
    tree = [np.array([place])]
    for level in range(len(widths), 0, -1):
        tree.insert(0, np.unique(tree[0][:, None] + _taps(widths, level, causal)))
    return tree


def _lines(widths: list[int], dots: list[np.ndarray], causal: bool) -> tuple[np.ndarray, np.ndarray]:
    """All connections as one line, x and y, with a gap after each."""
    path = [
        [(place + tap, level - 1), (place, level), (np.nan, np.nan)]
        for level, places in enumerate(dots[1:], 1)
        for place in places
        for tap in _taps(widths, level, causal)
    ]
    x, y = style.compact(np.reshape(path, (-1, 2))).T
    return np.ascontiguousarray(x), np.ascontiguousarray(y)


def _xs(dots: list[np.ndarray]) -> np.ndarray:
    return style.compact(np.concatenate(dots))


def _texts(widths: list[int], dots: list[np.ndarray], causal: bool) -> list[str]:
    """For each dot, its inputs and its receptive field."""
    texts = [f"2D of frame {place}" for place in dots[0].tolist()]
    for level, places in enumerate(dots[1:], 1):
        seen, name = math.prod(widths[:level]), _level_name(widths, level).split(":")[0]
        for place in places.tolist():
            reads = ", ".join(map(str, place + _taps(widths, level, causal)))
            first = place - (seen - 1 if causal else seen // 2)
            texts.append(
                f"<b>{name}, frame {place}</b><br>reads {reads} of the row below"
                f"<br>sees frames {first} to {first + seen - 1}: {seen / FPS:.2f} s at {FPS:g} fps"
            )
    return texts


def _edges(x: np.ndarray, y: np.ndarray, pale: bool = False) -> dict:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "y": y,
        "hoverinfo": "skip",
        "line": {"width": 1, "color": "#E4E7EB"} if pale else {"width": 1.8, "color": style.OTHER_COLOURS[0]},
    }


def _dots(dots: list[np.ndarray], texts: list[str] | None, lit: bool = False) -> dict:
    """One trace for the dots of all levels, pale or highlighted in their colours."""
    counts = [len(places) for places in dots]
    colours = np.repeat([style.RIGHT, *[style.OTHER_COLOURS[0]] * (len(dots) - 2), style.LEFT][: len(dots)], counts)
    pale = {"size": 6, "color": "#FFFFFF", "line": {"width": 1, "color": "#AEB6BF"}}
    told = {"text": texts, "hovertemplate": "%{text}<extra></extra>", "hoverlabel": {"bgcolor": "#FFFFFF"}}
    return {
        "type": "scatter",
        "mode": "markers",
        "x": _xs(dots),
        "y": np.repeat(np.arange(len(dots), dtype=np.float32), counts),
        "marker": {"size": 8, "color": colours.tolist(), "line": {"width": 0}} if lit else pale,
    } | (told if texts else {"hoverinfo": "skip"})


def _level_name(widths: list[int], level: int) -> str:
    if level == 0:
        return "2D joints"
    name = "stem" if level == 1 else f"block {level - 1}"
    apart = f", {_dilation(widths, level)} apart" if level > 1 and widths[level - 1] > 1 else ""
    pose = " → 3D pose" if level == len(widths) else ""
    return f"{name}: {widths[level - 1]} frame{'s' * (widths[level - 1] > 1)}{apart}{pose}"
