"""The live form of the viewer: an anywidget."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from mocap3d.figures.player.page import look, viewer

# A page keeps every module that it has imported: the viewer is imported once, and each widget only these lines.
ONCE = """export default { async render(given) {
  const { model } = given, known = (globalThis.mocap3dViewers ??= {});
  const code = new Blob([model.get("code")], { type: "text/javascript" });
  const viewer = await (known[model.get("version")] ??= import(URL.createObjectURL(code)));
  return viewer.default.render(given);
} };"""

_made: dict[str, tuple[str, list]] = {}  # cell -> its last run, and what closes the widgets that this made


def close_with_cell(close: Callable[[], None]) -> None:
    """Close widgets when the cell that made them runs again: their comms would stay open as long as the kernel lives.

    Args:
        close: closes them; it may be called twice.
    Source: own.
    """
    from IPython import get_ipython

    shell = get_ipython()
    if shell is None or not shell.has_trait("kernel"):
        return
    parent = shell.get_parent()
    cell, run = parent["metadata"].get("cellId"), parent["header"]["msg_id"]
    if cell is None:  # this front end does not tell
        return
    if cell in _made and _made[cell][0] != run:
        for close_old in _made.pop(cell)[1]:
            close_old()
    _made.setdefault(cell, (run, []))[1].append(close)


def player_widget(scene: dict, other: Callable[..., dict]):
    """The viewer as a widget with the traits scene (dict), frame (int) and playing (bool).

    Args:
        scene: what it shows first.
        other: makes the scene of `widget.draw(pose3d, truth, title, pose2d, images)`.
    Source: own.
    """
    try:
        import anywidget
        import traitlets
    except ImportError:
        raise ImportError('widget() needs anywidget; pip install "mocap3d[course]"') from None

    class PlayerWidget(anywidget.AnyWidget):
        """Skeletons in motion; drawn by viewer.js."""

        _esm, _css = ONCE, look()
        code = traitlets.Unicode(viewer()).tag(sync=True)
        version = traitlets.Unicode(str(zlib.crc32(viewer().encode()))).tag(sync=True)
        scene = traitlets.Dict().tag(sync=True)
        frame = traitlets.Int(0).tag(sync=True)
        playing = traitlets.Bool(False).tag(sync=True)

        def draw(self, pose3d, truth=None, title: str | None = None, pose2d=None, images=None) -> None:
            """Show other poses from the same viewpoint, at the same time, playing or not.

            Fit for live use: 3 ms for 27 frames of two bodies, so that a slider may call it with every step.

            Args:
                pose3d, truth, pose2d, images: same as in `show`.
                title: replaces the title given to `show`.
            Raises:
                FigureError, TypeError: same as in `show`; what was shown stays.
            """
            self.scene = other(pose3d, truth, title, pose2d, images)

    widget = PlayerWidget(scene=scene, frame=scene["still"])
    close_with_cell(widget.layout.close)
    close_with_cell(widget.close)
    return widget
