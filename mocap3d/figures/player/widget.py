"""The live form of the viewer: an anywidget."""

from __future__ import annotations

from collections.abc import Callable

from mocap3d.figures.player.page import viewer


def player_widget(scene: dict, other: Callable[..., dict]):
    """The viewer as a widget with the traits scene (dict), frame (int) and playing (bool).

    Args:
        scene: what it shows first.
        other: makes the scene of `widget.draw(pose3d, truth)`.
    Source: own.
    """
    try:
        import anywidget
        import traitlets
    except ImportError:
        raise ImportError('widget() needs anywidget; pip install "mocap3d[course]"') from None

    class PlayerWidget(anywidget.AnyWidget):
        """Skeletons in motion; drawn by viewer.js."""

        _esm = viewer()
        scene = traitlets.Dict().tag(sync=True)
        frame = traitlets.Int(0).tag(sync=True)
        playing = traitlets.Bool(False).tag(sync=True)

        def draw(self, pose3d, truth=None) -> None:
            """Show other poses from the same viewpoint; `pose3d` and `truth` as in `show`."""
            self.scene = other(pose3d, truth)

    return PlayerWidget(scene=scene, frame=scene["still"])
