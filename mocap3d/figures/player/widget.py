"""The live form of the viewer: an anywidget."""

from __future__ import annotations

from collections.abc import Callable

from mocap3d.figures.player.page import look, viewer


def player_widget(scene: dict, other: Callable[..., dict]):
    """The viewer as a widget with the traits scene (dict), frame (int) and playing (bool).

    Args:
        scene: what it shows first.
        other: makes the scene of `widget.draw(pose3d, truth, title, pose2d)`.
    Source: own.
    """
    try:
        import anywidget
        import traitlets
    except ImportError:
        raise ImportError('widget() needs anywidget; pip install "mocap3d[course]"') from None

    class PlayerWidget(anywidget.AnyWidget):
        """Skeletons in motion; drawn by viewer.js."""

        _esm, _css = viewer(), look()
        scene = traitlets.Dict().tag(sync=True)
        frame = traitlets.Int(0).tag(sync=True)
        playing = traitlets.Bool(False).tag(sync=True)

        def draw(self, pose3d, truth=None, title: str | None = None, pose2d=None) -> None:
            """Show other poses from the same viewpoint, at the same time, playing or not.

            Fit for live use: 3 ms for 27 frames of two bodies, so that a slider may call it with every step.

            Args:
                pose3d, truth, pose2d: same as in `show`.
                title: replaces the title given to `show`.
            Raises:
                FigureError, TypeError: same as in `show`; what was shown stays.
            """
            self.scene = other(pose3d, truth, title, pose2d)

    return PlayerWidget(scene=scene, frame=scene["still"])
