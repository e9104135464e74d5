"""The viewer as HTML: a page of its own, and what a notebook stores. Nothing in it is loaded from elsewhere."""

from __future__ import annotations

import base64
import json
import re
from html import escape
from importlib.resources import files


def viewer() -> str:
    """The viewer's JavaScript without comments and most spaces; each statement in it ends with a semicolon or brace."""
    lines = (line.split(" // ")[0].strip() for line in _source("viewer.js").splitlines())
    whole = "\n".join(line for line in lines if line and not line.startswith("//"))
    chunks = re.split(r'(`[^`]*`|"[^"\n]*")', whole)  # code, then a string, in turn; shaders are strings
    for i, chunk in enumerate(chunks):
        if i % 2 == 0 or "#version" in chunk:
            chunks[i] = re.sub(r" *([][=*/<>?:&|{}(),;%!]+) *", r"\1", chunk)
            chunks[i] = re.sub(r"(?<![+-]) ?([+-]) ?(?![+-])", r"\1", chunks[i])
            chunks[i] = re.sub(r"(?<=[;{},(])\n", "", chunks[i])
        if i % 2 == 0:
            chunks[i] = re.sub(r"(?<!\w)\((\w+)\)=>", r"\1=>", chunks[i]).replace(";}", "}")
    return "".join(chunks)


def look() -> str:
    """The viewer's style sheet."""
    return _source("viewer.css").replace("\n", "")


def _source(name: str) -> str:
    return files("mocap3d.figures.player").joinpath(name).read_text(encoding="utf-8")


def still(scene: dict, png: bytes, width: int, style: str = "") -> str:
    """The picture as an image element."""
    data = base64.b64encode(png).decode("ascii")
    return f'<img alt="{escape(scene["alt"])}" src="data:image/png;base64,{data}" width="{width}" style="{style}">'


def page(scene: dict, without_scripts: str = "") -> str:
    """A page that holds the viewer and its data; `without_scripts` is shown where scripts are not run."""
    data = json.dumps(scene, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return (
        f'<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>{escape(scene["lines"][0])}</title>'
        f"<style>html,body{{margin:0}}{look()}</style><body><noscript>{without_scripts}</noscript>"
        f'<div id="player"></div><script type="module">{viewer()}\n'
        f'mount(document.getElementById("player"),{data})</script></body></html>'
    )


def output(scene: dict, png: bytes, width: int) -> str:
    """The still, and over it the viewer in a frame: an untrusted notebook loses the frame and keeps the still."""
    below = still(scene, png, width, "width:100%;height:100%;object-fit:contain;object-position:left top")
    over = "position:absolute;left:0;top:0;width:100%;height:100%;border:0"
    source = page(scene).replace("&", "&amp;").replace("'", "&#39;")
    return (
        f'<div style="position:relative;height:{scene["height"]}px">{below}<iframe title="{escape(scene["lines"][0])}" '
        f'sandbox="allow-scripts" style="{over}" srcdoc=\'{source}\'></iframe></div>'
    )
