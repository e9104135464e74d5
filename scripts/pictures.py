"""Pictures of stored plotly figures: a PNG and a sentence beside each, for readers that do not draw plotly.

GitHub, nbconvert and documentation sites show an output's `image/png`; JupyterLab shows it until the pointer enters
the figure, and adds one of its own (which modifies the file) where there is none. The PNG is plotly's own export, by
the plotly.js inside the plotly package, in a Chromium or Chrome that is installed; nothing is fetched.
"""

from __future__ import annotations

import base64
import html
import io
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image

from mocap3d.figures import style

PLOTLY = "application/vnd.plotly.v1+json"
WIDTH, SCALE = 800, 2  # points; device pixels a point
LARGEST = 40_000  # bytes of a PNG
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--no-first-run"]
EXPORT = """async ({figure, width, height, scale}) => {
    const place = document.createElement('div');
    const {data, layout} = figure;
    await Plotly.newPlot(place, data, layout, {staticPlot: true});
    const url = await Plotly.toImage(place, {format: 'png', width, height, scale});
    Plotly.purge(place);
    return url.split(',')[1] }"""
KINDS = {"heatmap": "Heat map", "bar": "Bar chart", "scatter": "Chart", "scatter3d": "3D view"}


class PictureError(RuntimeError):
    """Pictures cannot be made on this machine."""


@contextmanager
def plotly_page() -> Iterator:
    """A browser page with plotly.js in it, and without a network.

    Raises:
        PictureError: if playwright or a browser is missing.
    """
    advice = "install Chromium or Chrome (apt install chromium, or set MOCAP3D_BROWSER to its path)"
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        raise PictureError("pictures of figures need playwright: pip install -e '.[test]'") from None
    from plotly.offline import get_plotlyjs

    path = os.environ.get("MOCAP3D_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if not path:
        raise PictureError(f"pictures of figures need a browser, and none is on the path; {advice}")
    with sync_playwright() as driver:
        try:
            browser = driver.chromium.launch(executable_path=path, headless=True, args=FLAGS)
        except Error:
            raise PictureError(f"pictures of figures need a browser, and {path} does not start; {advice}") from None
        context = browser.new_context(offline=True)
        page = context.new_page()
        page.add_script_tag(content=get_plotlyjs())
        yield page
        browser.close()


def picture(page, figure: dict, width: int = WIDTH, largest: int = LARGEST) -> tuple[bytes, int, int]:
    """A figure as PNG of at most `largest` bytes, and its width and height in points.

    An animated figure is drawn as it opens; its other frames are left out.
    """
    height = int(figure["layout"].get("height") or 420)
    figure = {"data": figure["data"], "layout": figure["layout"]}
    for scale, palettes in ((SCALE, (32, 24, 16)), (1.5, (32, 24, 16))):
        options = {"figure": figure, "width": width, "height": height, "scale": scale}
        raw = base64.b64decode(page.evaluate(EXPORT, options))
        image = Image.open(io.BytesIO(raw)).convert("RGB")
        for colours in palettes:
            data = _saved(in_palette(image, colours), scale)
            if len(data) <= largest:
                return data, width, height
    raise PictureError(f"a figure of {width} x {height} points needs more than {largest} bytes; draw fewer points")


def in_palette(image: Image.Image, colours: int) -> Image.Image:
    """An RGB image with at most that many colours, all of them its own, so that no line changes its hue.

    The most frequent colours come first; later ones only if they are far from all before.
    """
    pixels = np.asarray(image).reshape(-1, 3).astype(np.int64)
    codes, back, counts = np.unique(pixels @ [65536, 256, 1], return_inverse=True, return_counts=True)
    found = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1).astype(np.float64)
    chosen = [int(np.argmax(counts))]
    nearest = np.zeros(len(found), dtype=np.int64)
    far = ((found - found[chosen[0]]) ** 2).sum(1)
    for number in range(1, min(colours, len(found))):
        chosen.append(int(np.argmax(far * counts**0.5)))
        distance = ((found - found[chosen[-1]]) ** 2).sum(1)
        nearest[distance < far] = number
        far = np.minimum(far, distance)
    result = Image.fromarray(nearest[back.reshape(-1)].astype(np.uint8).reshape(image.size[::-1]), mode="P")
    result.putpalette(found[chosen].astype(np.uint8).tobytes())
    return result


def _saved(image: Image.Image, scale: float) -> bytes:
    """PNG bytes that state their size in points (72 an inch), so that browsers show them at that size."""
    exif = Image.Exif()
    exif[0x011A] = exif[0x011B] = 72.0 * scale  # resolution, x and y
    exif[0x0128] = 2  # per inch
    exif.get_ifd(0x8769).update({0xA002: round(image.width / scale), 0xA003: round(image.height / scale)})
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True, dpi=(72 * scale, 72 * scale), exif=exif)
    return out.getvalue()


def alt_text(figure: dict) -> str:
    """One sentence that names a figure: its own (`layout.meta["alt"]`), or kind, title and axes."""
    layout = figure["layout"]
    if given := (layout.get("meta") or {}).get("alt"):
        return given
    kinds = [trace.get("type", "scatter") for trace in figure["data"]]
    kind = next((name for known, name in KINDS.items() if known in kinds), "Figure")
    title = _plain(_text(layout.get("title")).split("<br><span")[0])
    axes = "" if "scatter3d" in kinds else _axes(layout)
    return f"{kind}: {title.rstrip('.') or 'untitled'}{axes}.".replace("?.", ".")


def _axes(layout: dict) -> str:
    """The titles of the first pair of axes."""
    x, y = (_plain(_text((layout.get(name) or {}).get("title"))) for name in ("xaxis", "yaxis"))
    return f"; {y} over {x}" if x and y else f"; x axis: {x}" if x else ""


def _text(title: dict | str | None) -> str:
    return (title.get("text") if isinstance(title, dict) else title) or ""


def _plain(text: str) -> str:
    """Text without tags; a sentence's end inside it becomes a semicolon."""
    words = html.unescape(re.sub(r"<[^>]+>", " ", text))
    return re.sub(r"[.!?]\s+(?=[A-Z])", "; ", " ".join(words.split()))


def figures(notebook) -> Iterator[dict]:
    """The outputs of a notebook that hold a plotly figure."""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            if PLOTLY in output.get("data", {}):
                yield output


def add_pictures(notebook, page, redraw: bool = False) -> int:
    """Give every figure that has none a PNG and an alt text; returns how many were drawn."""
    drawn = 0
    for output in figures(notebook):
        data = output["data"]
        if redraw or "image/png" not in data:
            png, width, height = picture(page, data[PLOTLY])
            data["image/png"] = base64.b64encode(png).decode()
            output["metadata"]["image/png"] = {"width": width, "height": height}
            drawn += 1
        if redraw or not "".join(data.get("text/plain", "")).endswith("."):  # none, or a line of live_history()
            data["text/plain"] = alt_text(data[PLOTLY])
        output["metadata"]["image/png"]["alt"] = "".join(data["text/plain"])
    return drawn


def restyle(notebook) -> None:
    """Lay stored figures out by today's rules, where a training would have to run again to draw them anew.

    Titles are wrapped, small pale text becomes larger and darker, the legend and the slider move to where they cover
    nothing. What a figure shows stays as it is; doing it twice changes nothing more.
    """
    for output in figures(notebook):
        layout = output["data"][PLOTLY]["layout"]
        _enlarge(output["data"][PLOTLY]["data"])
        _enlarge(layout)
        if found := re.fullmatch(r"<b>(.*?)</b>(?:<br><span[^>]*>(.*)</span>)?", _text(layout.get("title")), re.DOTALL):
            heading, top = style.heading_layout(found[1].replace("<br>", " "), found[2] or "")
            layout["title"] = heading
            layout["margin"]["t"] = max(layout["margin"]["t"], top)
        if (layout.get("legend") or {}).get("x") == 0.98:
            layout["legend"] = style.legend_above()
        controls = style.play_controls(range(2), 1.0, 0)
        for kind in ("sliders", "updatemenus"):
            for old in layout.get(kind) or []:
                if "pad" in old and (kind == "sliders" or old.get("type") == "buttons"):  # play controls
                    new = controls[kind][0]
                    old |= {name: new[name] for name in ("x", "len") if name in new}
                    old["pad"] = new["pad"] | {"t": old["pad"]["t"]}
        for menu in layout.get("updatemenus") or []:
            if menu.get("y") == 1.03:  # made by show_attention()
                layout["legend"] = style.legend_above(x=1, xanchor="right")
                menu |= {"y": 1, "pad": {"b": 32, "l": 190 if menu["x"] else 0}, "x": 0}
        for axis in (layout.get(name, {}) for name in ("xaxis", "yaxis")):
            if axis.get("constrain") == "domain" and axis.get("title"):
                axis["title"].setdefault("standoff", 10)
            if layout.get("template") and axis.get("title"):
                axis["title"].setdefault("font", {"size": 13})
        if layout.get("template") and "scene" not in layout and "xaxis" in layout:  # made by chart()
            layout["xaxis"] |= {"autotickangles": [0, -40, -90], "automargin": True}


def _enlarge(part: dict | list) -> None:
    """Text below 12 pixels and paler than today's becomes 12 pixels high and dark."""
    for name, value in part.items() if isinstance(part, dict) else enumerate(part):
        if name in ("font", "tickfont") and 2 < value.get("size", 12) < 12:
            value |= {"size": 12, "color": style.FAINT if name == "tickfont" else style.INK}
        elif isinstance(value, dict | list):
            _enlarge(value)
