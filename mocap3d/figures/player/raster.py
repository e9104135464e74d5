"""The still and the moving image, drawn without a browser: capsules from far to near, smoothed by supersampling."""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mocap3d.figures import style
from mocap3d.figures.player.drawing import HEAT, THEMES, Drawing

FIELD = np.tan(np.deg2rad(14))  # of half the field of view; viewer.js uses the same
MARGIN = 0.13  # metres kept free around the joints
FINE = 2  # supersampling
GAP = 2  # points at the sides of each panel
_PLAIN = str.maketrans({"−": "-", "–": "-", "—": "-", "→": "->", "×": "x", "’": "'"})  # not in Pillow's own font


def axes(view: tuple[float, float]) -> np.ndarray:
    """Rows: right and up on the screen, and towards the eye; a rotation (determinant +1), so nothing is mirrored."""
    azimuth, elevation = view
    level = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
    right = np.array([-level[1], level[0], 0.0])
    back = np.cos(elevation) * level + [0, 0, np.sin(elevation)]
    return np.stack([right, np.cross(back, right), back])


def fitted(points: np.ndarray, rows: np.ndarray, aspect: float) -> tuple[np.ndarray, float]:
    """Where to look, relative to what is followed (3,), and the distance at which points (N, 3) just fill a panel."""
    right, up, deep = (points[np.isfinite(points).all(-1)] @ rows.T).T
    reach = []
    for across, field in ((right, FIELD * aspect), (up, FIELD)):
        high, low = (float((sign * across + deep * field).max()) + MARGIN for sign in (1, -1))
        reach.append(((high - low) / 2, (high + low) / 2 / field))
    return reach[0][0] * rows[0] + reach[1][0] * rows[1], max(distance for _, distance in reach)


class Raster:
    """Pictures of a drawing, in one theme and at one size.

    Args:
        drawing: what to draw.
        size: width and height in points.
        scale: pixels per point.
        theme: a key of THEMES.
        follow: whether the camera follows the bodies.
    """

    def __init__(self, drawing: Drawing, size: tuple[int, int], scale: int, theme: str, follow: bool) -> None:
        self.drawing, self.size, self.scale = drawing, size, scale
        self.colours = {name: _rgb(colour) for name, colour in THEMES[theme].items()}
        several = drawing.arranged.several
        self.heat = None
        if drawing.colour == "error":
            levels = np.linspace(0, len(HEAT) - 1.001, 25)
            self.heat = [_mix(_rgb(HEAT[int(v)]), _rgb(HEAT[int(v) + 1]), v % 1) for v in levels]
        self.shown = drawing.names[: len(drawing.names) - drawing.truth] if several else drawing.names[:1]
        self.flat = drawing.flat
        self.legend = 62 + 16 * (len(drawing.arranged.lines) - 2)
        self.top = self.legend + (48 if len(self.shown) > 1 or self.flat else 22)
        self.rows = axes(drawing.view)
        points, aims = drawing.points[:, :, :-1], drawing.points[:, :, -1]  # (T, N, P, 3), (T, N, 3)
        lead = -1 if drawing.truth and not several else 0
        self.aims = [aims[:, i if several else lead] for i in range(len(self.shown))]
        if not follow:
            self.aims = [np.broadcast_to(aim.mean(0), aim.shape) for aim in self.aims]
        around = [points[:, i] - aim[:, None] for i in range(len(self.shown)) for aim in [self.aims[i]]]
        if drawing.truth:
            around += [points[:, -1] - aim[:, None] for aim in self.aims]
        lines = [line for _, _, lines in drawing.cameras for line in lines]
        around += [line - aim[::10, None] for line in lines for aim in self.aims]
        wide = size[0] * (1 - (self.flat.share if self.flat else 0))
        self.panel = (wide / len(self.shown), size[1] - self.top)
        near = np.concatenate([cloud.reshape(-1, 3) for cloud in around])
        self.aside, self.distance = fitted(near, self.rows, self.panel[0] / self.panel[1])

    def image(self, t: int) -> Image.Image:
        """Frame `t`, as a palette image."""
        picture = Image.new("RGB", [side * self.scale for side in self.size], self.colours["page"])
        for i in range(len(self.shown)):
            left, right = (round((self.panel[0] * (i + k) + GAP * (1 - 2 * k)) * self.scale) for k in (0, 1))
            picture.paste(
                self._panel(i, t, (right - left, round(self.panel[1] * self.scale))), (left, self._px(self.top))
            )
        if self.flat:
            left, right = self._px(self.panel[0] * len(self.shown) + GAP), self._px(self.size[0] - GAP)
            picture.paste(self._image(t, (right - left, self._px(self.panel[1]))), (left, self._px(self.top)))
        self._texts(ImageDraw.Draw(picture), t)
        if self.flat and self.flat.images:
            return picture.quantize(64, dither=Image.Dither.NONE)
        palette, nearest = _palette(tuple(self._base()))
        index = Image.fromarray(nearest[tuple(np.asarray(picture).transpose(2, 0, 1) >> 2)])
        index.putpalette(palette)
        return index

    def _px(self, points: float) -> int:
        return round(points * self.scale)

    def _panel(self, i: int, t: int, size: tuple[int, int]) -> Image.Image:
        """One body, and the truth behind or before it, over the floor."""
        width, height = (side * FINE for side in size)
        picture = Image.new("RGB", (width, height), self.colours["page"])
        pen, aim = ImageDraw.Draw(picture), self.aims[i][t]
        eye = aim + self.aside + self.rows[2] * self.distance

        def project(points: np.ndarray) -> np.ndarray:  # (..., 3) -> pixels and pixels per metre (..., 3)
            seen = (points - eye) @ self.rows.T
            per_metre = height / 2 / FIELD / np.maximum(-seen[..., 2], 0.05)
            return np.stack(
                [width / 2 + seen[..., 0] * per_metre, height / 2 - seen[..., 1] * per_metre, per_metre], -1
            )

        self._floor(pen, project, aim)
        self._path(pen, project, i, t)
        for _, colour, lines in self.drawing.cameras:
            for line in lines:
                pen.line([*project(line)[:, :2].ravel()], _rgb(colour), round(1.2 * self.scale * FINE))
        capsules = self._capsules(i, t)
        light = np.array([0.16, -0.1])
        for a, b, ra, rb, _ in capsules:
            ends = np.array([[*(p[:2] + (p[2] - self.drawing.floor) * light), self.drawing.floor] for p in (a, b)])
            _capsule(pen, project(ends), np.array([ra, rb]), [self.colours["shadow"]])
        eye_distance = [np.linalg.norm((a + b) / 2 - eye) - (ra + rb) / 4 for a, b, ra, rb, _ in capsules]
        for k in np.argsort(eye_distance)[::-1]:
            a, b, ra, rb, colours = capsules[k]
            self._limb(pen, project(np.array([a, b])), np.array([ra, rb]), colours)
        return picture.resize(size, Image.Resampling.BOX)

    def _limb(self, pen: ImageDraw.ImageDraw, ends: np.ndarray, radii: np.ndarray, colours: list[tuple]) -> None:
        """A capsule with a dark edge and a light stripe towards the upper left; ends as in _capsule."""
        _capsule(pen, ends, radii, [_mix(colour, (0, 0, 0), 0.38) for colour in colours])
        _capsule(pen, ends, radii - 1.6 * FINE * self.scale / 2 / ends[:, 2], colours)
        lit = ends - np.stack([ends[:, 2] * 0.28 * radii] * 2 + [np.zeros(2)], 1)
        _capsule(pen, lit, 0.42 * radii, [_mix(colour, (255, 255, 255), 0.28) for colour in colours])

    def _image(self, t: int, size: tuple[int, int]) -> Image.Image:
        """The 2D view: keypoints over their image."""
        width, height = (side * FINE for side in size)
        picture = Image.new("RGB", (width, height), self.colours["page"])
        pen, (left, top, right, bottom) = ImageDraw.Draw(picture), self.flat.crop
        zoom = min(width / (right - left), height / (bottom - top))
        corner = np.array([width / 2 - (left + right) / 2 * zoom, height / 2 - (top + bottom) / 2 * zoom])
        box = [*corner, *(corner + np.array(self.flat.size) * zoom)]
        pen.rectangle(box, self.colours["floor"], self.colours["faint"], self.scale * FINE)
        if self.flat.images:
            image = Image.open(io.BytesIO(self.flat.images[t // self.flat.every]))
            image.thumbnail((72, 72))  # soft and of few colours, for few bytes
            image = image.resize([round(box[k + 2]) - round(box[k]) for k in (0, 1)], Image.Resampling.BICUBIC)
            picture.paste(image.quantize(10, dither=Image.Dither.NONE).convert("RGB"), [*map(round, corner)])
        for a, b, ra, rb, side in self.flat.parts:
            ends = self.flat.points[t, [a, b]]
            if np.isfinite(ends).all():
                ends = np.concatenate([corner + ends * zoom, np.full((2, 1), zoom)], axis=1)
                self._limb(pen, ends, np.array([ra, rb]), [self.colours[side]])
        return picture.resize(size, Image.Resampling.BOX)

    def _capsules(self, i: int, t: int) -> list[tuple]:
        """The ends, radii and colours of what is present in a frame of one panel."""
        found = []
        for body in [i] + [len(self.drawing.names) - 1] * self.drawing.truth:
            ghost = self.drawing.truth and body == len(self.drawing.names) - 1
            thick = self.drawing.sizes[body] * (0.8 if ghost else 1)
            for a, b, ra, rb, side in self.drawing.parts:
                ends = self.drawing.points[t, body, [a, b]]
                if np.isfinite(ends).all():
                    colours = [self._colour(side, ghost)] if self.heat is None else self._heats(t, body, a, b)
                    found.append((*ends, ra * thick, rb * thick, colours))
        return found

    def _heats(self, t: int, body: int, a: int, b: int) -> list[tuple]:
        """The colours of a part from point a to point b by their errors; the truth, and what it lacks, in grey."""
        points = self.drawing.points[t, :, [a, b]]  # (2, N, 3)
        errors = 1000 * np.linalg.norm(points[:, body] - points[:, -1], axis=-1)
        if body == len(self.drawing.names) - 1 or np.isnan(errors).any():
            return [self._colour("centre", body == len(self.drawing.names) - 1)]
        low, high = np.minimum(errors / self.drawing.most * (len(self.heat) - 1), len(self.heat) - 1).astype(int)
        return self.heat[low : high + 1] if low <= high else self.heat[high : low + 1][::-1]

    def _colour(self, side: str, ghost: bool) -> tuple[int, int, int]:
        return _mix(self.colours[side], self.colours["page"], 0.55) if ghost else self.colours[side]

    def _floor(self, pen: ImageDraw.ImageDraw, project, aim: np.ndarray) -> None:
        """A round floor with a grid that stands still in the world, as wide as the view."""
        height, reach = self.drawing.floor, max(1.3, 0.42 * self.distance)
        circle = np.linspace(0, 2 * np.pi, 73)
        ring = np.stack([np.cos(circle), np.sin(circle)], 1)
        edge = project(np.concatenate([aim[:2] + ring * reach, np.full((73, 1), height)], 1))[:, :2]
        pen.polygon([*map(tuple, edge)], fill=self.colours["floor"])
        step = 0.5 if reach < 4 else 1.0
        first = np.ceil((aim[:2] - reach) / step) * step
        for axis in (0, 1):
            for fixed in np.arange(first[axis], aim[axis] + reach, step):
                half = np.sqrt(max(reach**2 - (fixed - aim[axis]) ** 2, 0))
                ends = [[fixed, aim[1 - axis] + side * half][:: 1 - 2 * axis] + [height] for side in (-1, 1)]
                ends = project(np.array(ends))[:, :2]
                pen.line([*ends.ravel()], self.colours["hair"], self.scale * FINE)

    def _path(self, pen: ImageDraw.ImageDraw, project, i: int, t: int) -> None:
        """The way of the root on the floor, so far and to come, as far as the floor is drawn."""
        if self.drawing.path is None:
            return
        way = self.drawing.points[:, i, self.drawing.path] * [1, 1, 0] + [0, 0, self.drawing.floor]
        near = np.linalg.norm(way[:, :2] - self.aims[i][t, :2], axis=1) < max(1.3, 0.42 * self.distance)  # not at NaN
        for k in range(len(way) - 1):
            if near[k] and near[k + 1]:
                colour = self.colours["faint" if k < t else "shadow"]
                pen.line([*project(way[k : k + 2])[:, :2].ravel()], colour, 2 * self.scale * FINE)

    def _texts(self, pen: ImageDraw.ImageDraw, t: int) -> None:
        """Title, facts and time above; the legend in words at the right; a name above each of several bodies."""
        shown, ink, faint = self.drawing.arranged, self.colours["ink"], self.colours["faint"]
        width = self.size[0]
        self._write(pen, 20, 14, shown.lines[0], 17, ink, width - 40)
        for k, line in enumerate(shown.lines[1:]):
            self._write(pen, 20, 38 + 16 * k, line, 12, faint, width - 40)
        x, y = 20, self.legend
        sides = ("left", "right", "centre") if self.heat is None or self.flat else ()
        entries = [(style.SIDE_NAMES[side], self.colours[side]) for side in sides]
        entries += [("truth (pale)", self._colour("centre", True))] * self.drawing.truth
        for name, colour in entries:
            box = [self._px(x), self._px(y + 3), self._px(x + 22), self._px(y + 11)]
            pen.rounded_rectangle(box, self._px(4), colour)
            x += 46 + self._write(pen, x + 28, y - 1, name, 13, ink)
        if self.heat is not None:
            for k, colour in enumerate(self.heat):
                pen.rectangle([self._px(x + 4 * k), self._px(y + 3), self._px(x + 4 * k + 4), self._px(y + 11)], colour)
            self._write(pen, x + 4 * len(self.heat) + 6, y - 1, f"error, 0 to {self.drawing.most:g} mm", 13, ink)
        if len(shown.frames) > 1:
            text = f"{shown.frames[t] / shown.pose.fps:.2f} s"
            self._write(pen, width - 20 - _font(13 * self.scale).getlength(text) / self.scale, y - 1, text, 13, faint)
        if len(self.shown) > 1 or self.flat:
            panels = [(name, self.panel[0] * i, self.panel[0]) for i, name in enumerate(self.shown)]
            if self.flat:
                panels = panels if len(panels) > 1 else [("3D", 0, self.panel[0])]
                panels.append((self.flat.title, self.panel[0] * len(panels), width * self.flat.share))
            for name, start, room in panels:
                wide = min(_font(14 * self.scale).getlength(_plain(name)) / self.scale, room - 12)
                self._write(pen, start + (room - wide) / 2, self.top - 22, name, 14, ink, room - 12)

    def _write(self, pen, x: float, y: float, text: str, size: int, colour, room: float = np.inf) -> float:
        """Write one line, smaller where it would not fit into `room`; its width in points."""
        font, text = _font(size * self.scale), _plain(text)
        if (length := font.getlength(text) / self.scale) > room:
            font = _font(int(size * self.scale * room / length))
        pen.text((self._px(x), self._px(y)), text, fill=colour, font=font)
        return font.getlength(text) / self.scale

    def _base(self) -> Iterable[tuple[tuple, tuple]]:
        """Pairs of colours that meet in a picture; their blends are the palette."""
        page, floor, shadow = (self.colours[name] for name in ("page", "floor", "shadow"))
        yield from [(page, floor), (floor, self.colours["hair"]), (floor, shadow), (page, self.colours["faint"])]
        yield (page, self.colours["ink"])
        for colour in [*(self.heat or []), *(_rgb(colour) for _, colour, _ in self.drawing.cameras)]:
            yield from [(_mix(colour, (0, 0, 0), 0.38), colour), (colour, _mix(colour, (255, 255, 255), 0.28))]
        for ghost in (False, True) if self.drawing.truth else (False,):
            for side in ("left", "right", "centre"):
                colour = self._colour(side, ghost)
                dark = _mix(colour, (0, 0, 0), 0.38)
                yield from [(colour, dark), (colour, _mix(colour, (255, 255, 255), 0.28)), (page, dark), (page, colour)]


def _capsule(pen: ImageDraw.ImageDraw, ends: np.ndarray, radii: np.ndarray, colours: list[tuple]) -> None:
    """A disc at each end (2, 3: pixels, pixels per metre) and what lies between; several colours follow in turn."""
    if len(colours) > 1:
        shares = np.linspace(0, 1, len(colours) + 1)[:, None]
        along, wide = (1 - shares) * ends[0] + shares * ends[1], ((1 - shares) * radii[0] + shares * radii[1])[:, 0]
        for k, colour in enumerate(colours):
            _capsule(pen, along[k : k + 2], wide[k : k + 2], [colour])
        return
    widths = np.maximum(ends[:, 2] * radii, 0.5)
    for (x, y, _), r in zip(ends, widths, strict=True):
        pen.ellipse([x - r, y - r, x + r, y + r], fill=colours[0])
    along = ends[1, :2] - ends[0, :2]
    length = np.hypot(*along)
    if length > 0.5:
        normal = np.array([-along[1], along[0]]) / length
        corners = [ends[k, :2] + sign * normal * widths[k] for k, sign in ((0, 1), (1, 1), (1, -1), (0, -1))]
        pen.polygon([*map(tuple, corners)], fill=colours[0])


@lru_cache(maxsize=8)
def _palette(pairs: tuple) -> tuple[list[int], np.ndarray]:
    """At most 256 colours, each pair and its middle; and the nearest of them to every colour, in steps of 4."""
    colours = np.array([*dict.fromkeys(_mix(a, b, share) for a, b in pairs for share in (0, 0.5, 1))][:256])
    levels = np.linspace(0, 255, 64)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(-1, 3)
    apart = (colours**2).sum(1) - 2 * grid @ colours.T  # squared distance, up to what all share
    return colours.ravel().tolist(), apart.argmin(1).astype(np.uint8).reshape(64, 64, 64)


@lru_cache(maxsize=32)
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)


def _plain(text: str) -> str:
    """In the letters of Pillow's own font."""
    return unicodedata.normalize("NFKD", text.translate(_PLAIN)).encode("latin-1", "ignore").decode("latin-1")


def _rgb(colour: str) -> tuple[int, int, int]:
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))


def _mix(a: tuple, b: tuple, share: float) -> tuple[int, int, int]:
    return tuple(round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
