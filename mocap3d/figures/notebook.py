"""Small helpers shared by several notebooks."""

from __future__ import annotations

from dataclasses import replace

import plotly.graph_objects as go
from torch import nn

from mocap3d.arguments import Pixels, PositiveInt, check_arguments
from mocap3d.data.dataset import PoseDataset
from mocap3d.figures import style
from mocap3d.poses import Clip


def chart(title: str, x: str, y: str, height: Pixels = 420, **layout: object) -> go.Figure:
    """An empty flat figure with a title and named axes, to add curves or bars to.

    Args:
        title: a sentence that states what the figure shows.
        x, y: axis titles, with the unit.
        height: pixels.
        layout: other settings of plotly's layout, e.g. barmode="group", margin_b=100; they override the defaults.
    Returns:
        plotly Figure, with the legend in a row above the drawing.
    Source: own.
    """
    check_arguments(chart, locals())
    heading, top = style.heading_layout(title)
    look = {
        "template": "none",
        "height": height,
        "margin": {"t": top + 16, "b": 60, "l": 70, "r": 20},  # room for a legend of two rows
        "title": heading,
        "legend": style.legend_above(),
        # Names of bars that do not fit are turned so that they end under their bars: the last one stays whole.
        "xaxis": {"title": {"text": x, "font": {"size": 13}}, "autotickangles": [0, -40, -90], "automargin": True},
        "yaxis": {"title": {"text": y, "font": {"size": 13}}},
    }
    return go.Figure(layout=look).update_layout(**layout)


def thin(dataset: PoseDataset, step: PositiveInt) -> PoseDataset:
    """Every `step`-th clip of a data set: a smaller one for a machine with less time.

    Args:
        step: 1 keeps all; the four views of a recording are consecutive, so an even step keeps only some cameras.
    Raises:
        ValueError: for a step below 1.
    Source: own.
    """
    check_arguments(thin, locals())
    return replace(dataset, clips=dataset.clips[::step])


def first_frames(clip: Clip, frames: PositiveInt) -> Clip:
    """A clip's first `frames` frames, or all if it has no more.

    Raises:
        ValueError: for fewer than one frame.
    Source: own.
    """
    check_arguments(first_frames, locals())
    return clip.slice(0, frames)


def count_parameters(module: nn.Module) -> int:
    """Number of parameters of a network.

    Source: own.
    """
    check_arguments(count_parameters, locals())
    return sum(parameter.numel() for parameter in module.parameters())
