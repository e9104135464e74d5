"""`Explorer`: controls beside a live view, over a still that tells the same where nobody answers."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

import plotly.graph_objects as go

from mocap3d.figures import style
from mocap3d.figures.player import Player, close_with_cell

WIDGET = "application/vnd.jupyter.widget-view+json"


class Explorer:
    """Controls, and what they change; made by the functions `explore_...` and by `what_if`.

    With a kernel the controls answer. Where a notebook is read without one, `still` stands in their place.

    Args:
        controls: ipywidgets by name. Setting `.value` of one has the same effect as moving it.
        view: widget that `draw` changes.
        draw: called with the controls' values by name; returns HTML that is shown below the controls. A ValueError
            from it is shown in its place.
        still: tells without a kernel what the explorer tells with one.
        alt: one sentence, what it explores.
    Raises:
        ImportError: without the packages of the extra "course".
    Source: own.
    """

    def __init__(self, controls: dict, view, draw: Callable[..., str], still: Player | go.Figure, alt: str) -> None:
        ipywidgets = widgets()
        self.controls, self.still, self._draw, self._alt = controls, still, draw, alt
        self.text = ipywidgets.HTML()
        row = ipywidgets.Box([*controls.values()], layout={"flex_flow": "row wrap"})
        self.view, self.widget = view, ipywidgets.VBox([row, self.text, view])
        close_with_cell(self.close)
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
        bundle = self.still._repr_mimebundle_()
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        live = self.widget._repr_mimebundle_()
        return data | {WIDGET: live[WIDGET], "text/plain": self._alt}, metadata


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
    kind, digits = (widgets().IntSlider, "d") if isinstance(step, int) else (widgets().FloatSlider, ".2f")
    name = f"{text} ({unit})" if unit else text
    return kind(value=value, min=low, max=high, step=step, description=name, readout_format=digits, **LOOK)


def choice(text: str, options: list | dict, value: object = None):
    """A list to choose from."""
    pairs = [*options.items()] if isinstance(options, dict) else [(str(value), value) for value in options]
    value = pairs[0][1] if value is None else value
    return widgets().Dropdown(options=pairs, value=value, description=text, **LOOK)


def switch(text: str, value: bool = False):
    """A box to tick."""
    return widgets().Checkbox(
        value=value, description=text, indent=False, layout=LOOK["layout"] | {"padding": "0 0 0 30px"}
    )


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
