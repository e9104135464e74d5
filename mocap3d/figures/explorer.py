"""`Explorer`: controls beside a live view, over a still that tells the same where nobody answers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from html import escape

import plotly.graph_objects as go

from mocap3d.figures import style
from mocap3d.figures.player import Player
from mocap3d.figures.skeleton2d import show_2d
from mocap3d.poses import Pose2D

WIDGET = "application/vnd.jupyter.widget-view+json"
_open: dict[str, Explorer] = {}  # by cell


class Explorer:
    """Controls, and what they change; made by the functions `explore_...` and by `what_if`.

    With a kernel the controls answer. Where a notebook is read without one, `still` stands in their place.

    Args:
        controls: ipywidgets by name. Setting `.value` of one has the same effect as moving it.
        views: widgets that `draw` changes.
        draw: called with the controls' values by name; returns HTML that is shown below the controls. A ValueError
            from it is shown in its place.
        still: tells without a kernel what the explorer tells with one.
        alt: one sentence, what it explores.
    Raises:
        ImportError: without the packages of the extra "course".
    Source: own.
    """

    def __init__(
        self, controls: dict, views: list, draw: Callable[..., str], still: Player | go.Figure, alt: str
    ) -> None:
        ipywidgets = widgets()
        self.controls, self.still, self._draw, self._alt = controls, still, draw, alt
        self.text = ipywidgets.HTML()
        wide = ("3 1 560px", "2 1 400px")  # views are side by side where there is room
        places = [ipywidgets.VBox([view], layout={"flex": flex}) for view, flex in zip(views, wide, strict=False)]
        rows = [ipywidgets.Box(row, layout={"flex_flow": "row wrap"}) for row in ([*controls.values()], places)]
        self.widget = ipywidgets.VBox([rows[0], self.text, rows[1]])
        self.draw()
        for control in controls.values():
            control.observe(self.draw, "value")

    def __repr__(self) -> str:
        return self._alt

    def draw(self, change: object = None) -> None:
        """Show what the controls are set to."""
        try:
            self.text.value = self._draw(**{name: control.value for name, control in self.controls.items()})
        except ValueError as problem:
            self.text.value = f"<b>{escape(str(problem))}</b>"

    def close(self) -> None:
        """Remove the widgets, here and in the browser."""
        todo = [self.widget]
        for widget in todo:  # grows while it is read: children, layouts, styles
            for value in widget.trait_values(sync=True).values():
                inside = value if isinstance(value, tuple) else (value,)
                todo += [part for part in inside if isinstance(part, widgets().Widget)]
            widget.unobserve_all()
            widget.close()

    def _repr_mimebundle_(self, include=None, exclude=None) -> tuple[dict, dict]:
        """The live widget, and the still for readers without a kernel."""
        if cell := _cell():  # run again, it would leave its widgets behind
            if cell in _open and _open[cell] is not self:
                _open[cell].close()
            _open[cell] = self
        bundle = self.still._repr_mimebundle_()
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        live = self.widget._repr_mimebundle_()
        return data | {WIDGET: live[WIDGET], "text/plain": self._alt}, metadata


def _cell() -> str | None:
    """What a notebook calls the cell that is running."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None or not shell.has_trait("kernel"):
        return None
    return shell.get_parent().get("metadata", {}).get("cellId")


def widgets():
    """The package ipywidgets.

    Raises:
        ImportError: with the command that installs it.
    """
    try:
        import ipywidgets
    except ImportError:
        raise ImportError('explorers need ipywidgets; pip install "mocap3d[course]"') from None
    return ipywidgets


LOOK = {"style": {"description_width": "130px"}, "layout": {"width": "320px"}}


def slider(text: str, value: float, low: float, high: float, step: float, unit: str = ""):
    """A slider with its unit in the readout; of whole numbers if the step is one."""
    kind = widgets().IntSlider if isinstance(step, int) else widgets().FloatSlider
    shown = f"{'d' if isinstance(step, int) else '.2f' if step < 0.1 else '.1f'}"
    name = f"{text} ({unit})" if unit else text
    return kind(value=value, min=low, max=high, step=step, description=name, readout_format=shown, **LOOK)


def choice(text: str, options: list | dict, value: object = None):
    """A list to choose from."""
    values = [*options.values()] if isinstance(options, dict) else list(options)
    pairs = [*options.items()] if isinstance(options, dict) else values
    return widgets().Dropdown(options=pairs, value=values[0] if value is None else value, description=text, **LOOK)


def switch(text: str, value: bool = False):
    """A box to tick."""
    return widgets().Checkbox(
        value=value, description=text, indent=False, layout=LOOK["layout"] | {"padding": "0 0 0 30px"}
    )


class LiveImage:
    """`show_2d` of the frame that a live player shows, as a widget whose poses can be replaced.

    Args:
        player: made by `show(...).widget()`.
        pose2d, other, options: same as in `show_2d`.
    """

    def __init__(self, player, pose2d: Pose2D, other: Pose2D | None = None, **options: object) -> None:
        self._player, self._poses, self._options = player, (pose2d, other), {"height": 460} | options
        figure = self._figure()
        self.widget = go.FigureWidget(figure.data, figure.layout)
        player.observe(self._follow, "frame")

    def draw(self, pose2d: Pose2D, other: Pose2D | None = None) -> None:
        """Show other poses, as many as before."""
        self._poses = pose2d, other
        self._follow()

    def _figure(self) -> go.Figure:
        at = min(self._player.frame * self._player.scene["stride"], len(self._poses[0]) - 1)
        pose2d, other = (None if pose is None else pose.slice(at, at + 1) for pose in self._poses)
        return show_2d(pose2d, other, **self._options)

    def _follow(self, change: object = None) -> None:
        figure = self._figure()
        with self.widget.batch_update():
            for shown, new in zip(self.widget.data, figure.data, strict=True):
                shown.update(x=new.x, y=new.y)
                if new.customdata is not None:  # else it explains the legend
                    shown.marker.opacity = new.marker.opacity
            for name in ("title", "xaxis", "yaxis"):  # comparing is quick, updating is not
                if self.widget.layout[name] != figure.layout[name]:
                    self.widget.layout[name] = figure.layout[name]


def bars(rows: dict[str, float], notes: dict[str, str] | None = None) -> str:
    """HTML: for each name a number in mm, a bar, scaled to the longest, and perhaps a note."""
    most = max([*rows.values(), 1e-9])
    lines = [
        f'<div style="display:flex;gap:0 10px;flex-wrap:wrap"><span style="width:130px">{escape(name)}</span>'
        f'<b style="width:75px;text-align:right">{value:.1f} mm</b><span style="width:160px;align-self:center">'
        f'<i style="display:block;background:{style.RIGHT};height:9px;width:{160 * value / most:.0f}px"></i></span>'
        f"<span>{escape((notes or {}).get(name, ''))}</span></div>"
        for name, value in rows.items()
    ]
    return f'<div style="line-height:1.6;margin:6px 0">{"".join(lines)}</div>'
