"""`show`, and the `Player` it returns."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import plotly.graph_objects as go

from mocap3d.arguments import Pixels, PositiveInt, check_arguments
from mocap3d.camera import Camera
from mocap3d.figures import style
from mocap3d.figures.cameras import check_cameras
from mocap3d.figures.player import page
from mocap3d.figures.player.drawing import MEANINGS, THEMES, VIEWS, Drawing, drawing
from mocap3d.figures.player.flat import flat
from mocap3d.figures.player.raster import Raster
from mocap3d.figures.skeleton3d import arrange, figure_3d
from mocap3d.poses import Pose2D, Pose3D

WIDTHS = (800, 700, 600, 500, 400)  # of the still, in points; the first that needs few enough bytes is taken
POSTER_BYTES = 40_000


def show(
    pose3d: Pose3D | dict[str, Pose3D],
    truth: Pose3D | None = None,
    *,
    pose2d: Pose2D | None = None,
    images: Sequence | np.ndarray | None = None,
    cameras: Camera | Sequence[Camera] = (),
    colour: str = "side",
    title: str | None = None,
    max_frames: PositiveInt = 3000,
    height: Pixels = 560,
    view: str | tuple[float, float] | None = None,
    follow: bool = True,
    theme: str = "light",
) -> Player:
    """Draw a 3D pose, or several side by side, in a viewer that plays and can be rotated.

    A pose in the camera frame is made upright by the rotation (x, y, z) -> (x, z, -y), never mirrored; if the
    camera is pitched down, an upright body leans towards it by the same angle. If only one of two poses has an
    absolute root, the root is removed from both, as stated in the subtitle.

    Args:
        pose3d: (T, J, 3) metres, world or camera frame, any skeleton; or a dict of name -> pose, drawn side by side.
        truth: same length, rate, skeleton and frame; drawn pale with every body.
        pose2d: (T, J, 2) pixels, any skeleton; its image is shown beside the bodies, in step with them.
        images: what `pose2d` was detected in, drawn under it: one array (H, W, 3), uint8, RGB, or one for each frame.
            At most 150 are stored, 480 pixels wide, 10 to 50 kB each; stills and moving images show them softly.
        cameras: drawn as frustums in the world; the pose must be in the world frame.
        colour: "side" (left, right, middle), or "error": joints by their distance to the truth in the frame shown, from
            0 mm to a value that 2 % of the joints exceed.
        title: replaces the title; with a truth, the mean joint error stays in the subtitle.
        max_frames: longer poses are strided to at most this many frames, as stated in the subtitle.
        height: pixels.
        view: "front", "side" (from the body's left), "top", or degrees (azimuth of the eye from the x axis, elevation);
            None looks from the camera, or from halfway between front and left.
        follow: whether the camera goes along with the body; if not, it holds the whole path in view.
        theme: "light" or "dark".
    Returns:
        A Player: what a notebook displays; it opens on the most open pose. `.figure()` is the plotly Figure, `.save()`
        writes a file, `.widget()` is driven from Python.
    Raises:
        FigureError: if there is nothing to draw, the poses, images or cameras do not match, an error is asked for
            without a truth, or view, colour or theme are unknown.
    Source: own.
    """
    check_arguments(show, locals())
    if view not in (None, *VIEWS) and not (isinstance(view, tuple) and len(view) == 2):
        raise style.FigureError(f"show(): view is {view!r}; give one of {', '.join(VIEWS)}, or (azimuth, elevation)")
    if theme not in THEMES:
        raise style.FigureError(f"show(): theme is {theme!r}; give one of {', '.join(THEMES)}")
    if colour not in MEANINGS:
        raise style.FigureError(f"show(): colour is {colour!r}; give one of {', '.join(MEANINGS)}")
    if colour == "error" and truth is None:
        raise style.FigureError('show(): colour="error" needs the truth; show(prediction, truth, colour="error")')
    if images is not None and pose2d is None:
        raise style.FigureError("show(): images are drawn under pose2d; give it too")
    shown = arrange(pose3d, truth, title, max_frames)
    cameras = [cameras] if isinstance(cameras, Camera) else list(cameras)
    if cameras:
        check_cameras(shown.pose, "show()")
    beside = None if pose2d is None else flat(pose2d, images, shown)
    drawn = drawing(shown, view, colour, cameras, beside)
    return Player(drawn, (pose3d, truth, title, max_frames, cameras), height, follow, theme)


class Player:
    """One or several 3D poses in motion; made by `show`."""

    def __init__(self, drawn: Drawing, given: tuple, height: Pixels, follow: bool, theme: str) -> None:
        self._drawing, self._given, self._height, self._follow, self._theme = drawn, given, height, follow, theme

    def __repr__(self) -> str:
        """One sentence: the alternative text of the picture."""
        shown = self._drawing.arranged
        what = "Skeleton in 3D" if len(shown.frames) == 1 else "Moving skeleton in 3D"
        return f"{what}: {'; '.join(shown.lines)}."

    def figure(self) -> go.Figure:
        """The same poses as a plotly Figure with at most 150 frames.

        Source: own.
        """
        pose3d, truth, title, most, _ = self._given
        return figure_3d(pose3d, truth, title=title, max_frames=min(most, 150), height=self._height)

    def save(self, path: str | Path) -> Path:
        """Write the motion, or its still frame, to a file; the suffix says the format.

        Args:
            path: ends in .html (the viewer, in one file), .png (the still frame), .gif, or .mp4 (needs
                imageio-ffmpeg). Images that move are played in real time, at most 25 frames per second.
        Returns:
            The path.
        Raises:
            FigureError: for another suffix, or without imageio-ffmpeg for .mp4.
        Source: own.
        """
        path = Path(path)
        if path.suffix == ".html":
            scene = self.scene()
            path.write_text(page.page(scene, page.still(scene, *self._poster)), encoding="utf-8")
        elif path.suffix == ".png":
            path.write_bytes(self._poster[0])
        elif path.suffix == ".gif":
            images, fps = self._images(scale=1)
            duration = max(20, round(100 / fps) * 10)  # GIF counts in hundredths of a second
            images[0].save(path, save_all=True, append_images=images[1:], duration=duration, loop=0)
        elif path.suffix == ".mp4":
            self._save_mp4(path)
        else:
            raise style.FigureError(f"save({path.name!r}): the suffix must be .html, .png, .gif or .mp4")
        return path

    def widget(self):
        """The same viewer as a widget that Python drives: set `.frame` (int) or `.playing` (bool), call `.draw(...)`.

        Returns:
            An anywidget; `.draw(pose3d, truth)` replaces the poses and keeps the viewpoint.
            It is closed when the notebook cell that made it runs again.
        Raises:
            ImportError: without the packages of the extra "course".
        Source: own.
        """
        from mocap3d.figures.player.widget import player_widget

        _, _, shown, most, cameras = self._given
        look = {"height": self._height, "follow": self._follow, "theme": self._theme}

        def other(pose3d, truth, title: str | None, pose2d: Pose2D | None, images: Sequence | None) -> dict:
            same = {"title": title or shown, "max_frames": most, "cameras": cameras}
            return show(pose3d, truth, pose2d=pose2d, images=images, **same, **look).scene()

        return player_widget(self.scene(), other)

    def scene(self) -> dict:
        """What the viewer needs: texts, shapes and coordinates, as JSON.

        Source: own.
        """
        look = {"height": self._height, "follow": self._follow, "theme": self._theme, "alt": repr(self)}
        return self._drawing.header() | look

    def _images(self, scale: int) -> tuple[list, float]:
        """Palette images of the motion, and how many to show in a second."""
        shown = self._drawing.arranged
        fps = shown.pose.fps / shown.frames.step
        step = max(1, round(fps / 25))
        raster = Raster(self._drawing, (720, 420), scale, self._theme, self._follow)
        return [raster.image(t) for t in range(0, len(shown.frames), step)], fps / step

    def _save_mp4(self, path: Path) -> None:
        try:
            import imageio_ffmpeg
        except ImportError:
            raise style.FigureError(
                "save(): .mp4 needs imageio-ffmpeg; pip install imageio-ffmpeg, or save a .gif"
            ) from None
        images, fps = self._images(scale=2)
        writer = imageio_ffmpeg.write_frames(str(path), images[0].size, fps=fps, macro_block_size=2)
        writer.send(None)
        for image in images:
            writer.send(image.convert("RGB").tobytes())
        writer.close()

    @cached_property
    def _poster(self) -> tuple[bytes, int]:
        """PNG of the still frame, two pixels per point, and its width in points: as wide as fits into 40 kB."""
        for width in WIDTHS:
            raster = Raster(self._drawing, (width, width * self._height // 900), 2, self._theme, self._follow)
            buffer = io.BytesIO()
            raster.image(self._drawing.arranged.still).save(buffer, "png", optimize=True)
            if buffer.tell() <= POSTER_BYTES:
                break
        return buffer.getvalue(), width

    def _repr_mimebundle_(self, include=None, exclude=None) -> tuple[dict, dict]:
        """The viewer over its still, for front ends that run scripts; the still; and a sentence."""
        png, width = self._poster
        picture = base64.b64encode(png).decode("ascii")
        html = page.output(self.scene(), *self._poster)
        sizes = {"width": width, "height": width * self._height // 900}
        return {"text/html": html, "image/png": picture, "text/plain": repr(self)}, {"image/png": sizes}
