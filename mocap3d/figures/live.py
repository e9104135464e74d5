"""`live_history`: the monitor of a training run."""

from __future__ import annotations

import sys
from collections.abc import Callable

from tqdm.auto import tqdm

from mocap3d.arguments import Pixels, check_arguments
from mocap3d.figures.errors import show_history


def live_history(*, runs: int | None = None, title: str | None = None, height: Pixels = 420) -> Callable[[dict], None]:
    """Create a callback that shows training as it goes, with loss, validation error and the time left.

    `fit(..., callback=live_history())` draws one figure again with each entry of the history: a plain figure, which
    remains when the notebook is saved, executed without a browser, or interrupted. A cell that trains several networks
    gives all of them one callback, and states their number: then one line is updated. Outside notebooks a line of text
    is printed for each entry.

    Args:
        runs: number of runs that share the callback; None for a single one, with curves.
        title, height: same as in `show_history`.
    Returns:
        a function of one entry of the history. An entry with an earlier step than the last starts another run.
    Source: own.
    """
    check_arguments(live_history, locals())
    history, displays, before = [], [], []  # of this run; what is shown; seconds of earlier runs

    def draw(entry: dict) -> None:
        if history and entry["step"] <= history[-1]["step"]:
            before.append(history[-1]["seconds"])
            history.clear()
            if runs is None:
                displays.clear()
        history.append(entry)
        line = _line(entry) if runs is None else f"run {len(before) + 1} of {runs}: {_line(entry)}"
        if runs is not None and len(before) + 1 < runs:
            spent = sum(before) + entry["seconds"]
            left = spent * (runs / (len(before) + entry["step"] / entry["total_steps"]) - 1)
            line += f", about {tqdm.format_interval(left)} for all"
        if not _in_notebook():
            tqdm.write(line)  # above a progress bar, if there is one
            return
        from IPython.display import display

        bundle = {"text/plain": line}
        if runs is None:  # for front ends that draw plotly figures; the line for others
            heading = f"{title or 'Training'}  ·  {_time(entry)}"
            bundle = show_history(history, title=heading, height=height)._repr_mimebundle_() | bundle
        if displays:
            displays[0].update(bundle, raw=True)
        else:
            displays.append(display(bundle, raw=True, display_id=True))

    return draw


def _line(entry: dict) -> str:
    """ "epoch 3, step 30 of 100: loss 0.05000, validation 61.0 mm MPJPE, 01:05 left"."""
    error = entry["validation_mpjpe_mm"]
    text = f"epoch {entry['epoch']:g}, step {entry['step']:,} of {entry['total_steps']:,}"
    text += f": loss {entry['train_loss']:.5f}, "
    return text + ("" if error is None else f"validation {error:.1f} mm MPJPE, ") + _time(entry)


def _time(entry: dict) -> str:
    """ "01:05 left", at the pace so far; at the end "took 02:10"."""
    steps, total, seconds = entry["step"], entry["total_steps"], entry["seconds"]
    if steps == total:
        return f"took {tqdm.format_interval(seconds)}"
    return f"{tqdm.format_interval(seconds * (total / steps - 1))} left"


def _in_notebook() -> bool:
    """Whether this runs in a Jupyter kernel, which IPython in a terminal does not have."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell is not None and shell.has_trait("kernel")
