"""`live_history`: the monitor of a training run."""

from __future__ import annotations

import sys
from collections.abc import Callable

from tqdm.auto import tqdm

from mocap3d.figures.errors import show_history


def live_history(title: str | None = None, *, figure: bool = True, height: int = 420) -> Callable[[dict], None]:
    """Create a callback that shows training as it goes: loss, validation error, time left.

    fit(..., callback=live_history()) draws one figure again with each entry of the history; a plain figure, which
    remains when the notebook is saved, executed without a browser, or interrupted. With figure=False it is one line,
    for cells that train several networks. Outside notebooks it prints a line for each entry.

    Args:
        title: of the figure; the line begins with it.
        figure: whether a notebook shows curves.
        height: same as in `show_history`.
    Returns:
        a function of one entry of the history. An entry with an earlier step than the last starts anew.
    Source: own.
    """
    history, displays = [], []

    def draw(entry: dict) -> None:
        if history and entry["step"] <= history[-1]["step"]:
            history.clear(), displays.clear()
        history.append(entry)
        line = _line(entry, title)
        if not _in_notebook():
            tqdm.write(line)  # above a progress bar, if there is one
            return
        from IPython.display import display

        bundle = {"text/plain": line}
        if figure:  # for front ends that draw plotly figures; the line for others
            heading = f"{title or 'Training'}  ·  {_time(entry)}"
            bundle = show_history(history, title=heading, height=height)._repr_mimebundle_() | bundle
        if displays:
            displays[0].update(bundle, raw=True)
        else:
            displays.append(display(bundle, raw=True, display_id=True))

    return draw


def _line(entry: dict, title: str | None) -> str:
    """ "epoch 3, step 30 of 100: loss 0.05000, validation 61.0 mm MPJPE, 01:05 left"."""
    text = f"{title}: " if title else ""
    text += f"epoch {entry['epoch']:g}, step {entry['step']:,} of {entry['total_steps']:,}"
    text += f": loss {entry['train_loss']:.5f}"
    error = entry["validation_mpjpe_mm"]
    return f"{text}, {'' if error is None else f'validation {error:.1f} mm MPJPE, '}{_time(entry)}"


def _time(entry: dict) -> str:
    """ "01:05 left", at the pace so far; at the end "took 02:10"."""
    steps, seconds = entry["step"], entry["seconds"]
    if steps == entry["total_steps"]:
        return f"took {tqdm.format_interval(seconds)}"
    return f"{tqdm.format_interval(seconds / steps * (entry['total_steps'] - steps))} left"


def _in_notebook() -> bool:
    """Whether this runs in a Jupyter kernel, which IPython in a terminal does not have."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell is not None and shell.has_trait("kernel")
