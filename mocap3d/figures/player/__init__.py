"""Sealed room: the player of 3D poses. `show(pose, truth)` returns a `Player`; `close_with_cell` is for other widgets.

Promised: a body stands upright and is never mirrored; left is orange, right is blue, the centre is grey, and the legend
names them in words. A Player appears wherever a notebook is read: as a viewer that moves and can be rotated (its own
JavaScript, within the output, no network), as a PNG where scripts are not run, as a sentence where pictures are not
shown. `.save()` writes HTML, PNG, GIF and MP4, `.figure()` is the plotly Figure of the same poses, `.widget()` the same
viewer driven from Python.
"""

from mocap3d.figures.player.player import Player, show
from mocap3d.figures.player.widget import close_with_cell

__all__ = ["Player", "close_with_cell", "show"]
