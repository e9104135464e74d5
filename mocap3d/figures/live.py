"""`live_history`: a training run's curves, drawn while it trains."""

from __future__ import annotations

import sys
from collections.abc import Callable

from tqdm.auto import tqdm

from mocap3d.figures.errors import show_history


def live_history(*, title: str | None = None, height: int = 420) -> Callable[[dict], None]:
    """Create a callback that shows loss and validation error during training: `fit(..., callback=live_history())`.

    In a notebook it draws one figure again with each entry; a plain figure, which remains when the notebook is
    saved, executed without a browser, or interrupted. Elsewhere it prints a line of text for each entry.

    Args:
        title, height: same as in `show_history`.
    Returns:
        a function of one entry of the history. An entry with an earlier step than the last starts a new figure.
    Source: own.
    """
    history, displays = [], []

    def draw(entry: dict) -> None:
        if history and entry["step"] <= history[-1]["step"]:
            history.clear(), displays.clear()
        history.append(entry)
        line = _line(entry)
        if not _in_notebook():
            tqdm.write(line)  # above a progress bar, if there is one
            return
        from IPython.display import display

        # the data for front ends that draw plotly figures, and the line for others
        bundle = show_history(history, title=title, height=height)._repr_mimebundle_() | {"text/plain": line}
        if displays:
            displays[0].update(bundle, raw=True)
        else:
            displays.append(display(bundle, raw=True, display_id=True))

    return draw


def _line(entry: dict) -> str:
    text = f"epoch {entry['epoch']:g}, step {entry['step']:,}: loss {entry['train_loss']:.5f}"
    error = entry["validation_mpjpe_mm"]
    return text if error is None else f"{text}, validation {error:.1f} mm MPJPE"


def _in_notebook() -> bool:
    """Whether this runs in a Jupyter kernel, which IPython in a terminal does not have."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell is not None and shell.has_trait("kernel")
