"""The course as a site and as slides, from the outputs stored in the notebooks: nothing is executed or fetched.

    python scripts/publish.py site     build/site/index.html: notebooks, guides, API reference, search (Sphinx)
    python scripts/publish.py slides   build/slides/NN_name.html: a reveal.js deck for each notebook (nbconvert)

Both open from the disk without a network. `make site` and `make slides` install what they need and call this file.
"""

from __future__ import annotations

import argparse
import html
import inspect
import json
import re
import shutil
import sys
from collections.abc import Iterator
from functools import partial
from importlib.metadata import distribution
from importlib.resources import files
from pathlib import Path

import nbformat

import mocap3d

ROOT = Path(__file__).resolve().parent.parent
BUILD, DOCS = ROOT / "build", ROOT / "docs"
PLOTLY = "application/vnd.plotly.v1+json"
LINK = re.compile(r"\[([^]]*)\]\(([^)#:\s]+)[^)]*\)")
TOC = "\n```{toctree}\n:hidden:\n:caption: %s\n\n%s\n```\n"


def stored(path: Path, height: int | None = None) -> nbformat.NotebookNode:
    """A notebook whose plotly figures are HTML: the stored picture, and the data from which figures.js draws.

    Args:
        height: of every figure, in pixels; its own where None.
    """
    notebook = nbformat.read(path, as_version=4)
    for data in (output["data"] for cell in notebook.cells for output in cell.get("outputs", []) if "data" in output):
        if PLOTLY in data:
            figure, alt = data.pop(PLOTLY), html.escape("".join(data["text/plain"]))
            high = figure["layout"]["height"] = height or figure["layout"].get("height") or 420
            picture = f'<img alt="{alt}" src="data:image/png;base64,{"".join(data["image/png"]).strip()}">'
            code = json.dumps(figure, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
            script = f'<script type="application/json">{code}</script>'
            data["text/html"] = f'<div class="figure" style="height:{high}px">{picture}{script}</div>'
    return notebook


def assets(folder: Path) -> None:
    """plotly.js, MathJax and our own style sheets and scripts."""
    shutil.copytree(DOCS / "_site", folder, dirs_exist_ok=True)
    shutil.copy(files("plotly") / "package_data" / "plotly.min.js", folder)
    mathjax = distribution("sphinx-mathjax-offline")
    shutil.copy(mathjax.locate_file("sphinx-mathjax-offline/static/mathjax/tex-svg.js"), folder)


def public_names() -> Iterator[tuple[str, list[str]]]:
    """The groups of mocap3d.__all__, by the comments above them."""
    text = (ROOT / "mocap3d" / "__init__.py").read_text(encoding="utf-8")
    for group in text.split("__all__ = [")[1].split("\n    # ")[1:]:
        title, *names = group.splitlines()
        yield title[0].upper() + title[1:], re.findall(r'"(\w+)"', "".join(names))


def write_reference(folder: Path) -> None:
    """A page for each group of public names, from docstrings, and one that lists them all."""
    folder.mkdir()
    index, pages = "# API reference\n\nEvery name is an attribute of `mocap3d`: `mocap3d.lift`, and so on.\n", []
    for title, names in public_names():
        text = f"{title}\n{'=' * len(title)}\n\n"
        index += f"\n## {title}\n\n| | |\n|---|---|\n"
        for name in names:
            value = getattr(mocap3d, name)
            if inspect.isclass(value) or inspect.isroutine(value) or inspect.ismodule(value):
                kind = "class" if inspect.isclass(value) else "module" if inspect.ismodule(value) else "function"
                text += f".. auto{kind}:: mocap3d.{name}\n" + "   :members:\n" * (kind != "function") + "\n"
                says = re.split(r"(?<=\.)\s", inspect.getdoc(value))[0].replace("\n", " ")
            else:
                named = [value.name] if isinstance(value, mocap3d.Skeleton) else value  # of a dict: its keys
                says = f"`{value}`" if isinstance(value, str) else ", ".join(f"`{part}`" for part in named)
                text += f".. py:data:: mocap3d.{name}\n\n   {says}\n\n"
            role = "mod" if inspect.ismodule(value) else "obj"
            index += f"| {{py:{role}}}`~mocap3d.{name}` | {says.replace('|', chr(92) + '|')} |\n"
        pages.append("_".join(re.findall(r"\w+", title.lower())))
        (folder / f"{pages[-1]}.rst").write_text(text, encoding="utf-8")
    (folder / "index.md").write_text(index + TOC % ("Names", "\n".join(pages)), encoding="utf-8")


def link(found: re.Match, page: Path, source: Path) -> str:
    """A link of a page as it was, its target copied if it is a file to download; the words alone if it is a folder."""
    target = (page.parent / found[2]).resolve()
    copy = source / target.relative_to(ROOT)
    if target.is_file() and not copy.exists():
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(target, copy)
    return found[1] if target.is_dir() else found[0]


def site() -> int:
    """Lay out the source under build/ and build the site from it; a warning is an error."""
    from sphinx.cmd.build import build_main

    source, out = BUILD / "site-source", BUILD / "site"
    for folder in (source, out):
        shutil.rmtree(folder, ignore_errors=True)
    assets(source / "_static")
    guides = [*sorted(DOCS.glob("*.md")), *sorted((ROOT / "notebooks").rglob("*.md")), ROOT / "CONTRIBUTING.md"]
    lessons = sorted((ROOT / "notebooks").glob("*.ipynb"))
    for path in (ROOT / "README.md", *guides, *lessons):
        with_links = partial(LINK.sub, partial(link, page=path, source=source))
        place = source / path.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".md":
            place.write_text(with_links(path.read_text(encoding="utf-8")), encoding="utf-8")
            continue
        notebook = stored(path)
        for cell in (cell for cell in notebook.cells if cell.cell_type == "markdown"):
            cell.source = with_links(cell.source)
        nbformat.write(notebook, place)
    tocs = [("Course", lessons), ("Guides", guides), ("Reference", [ROOT / "api" / "index"])]
    with (source / "README.md").rename(source / "index.md").open("a", encoding="utf-8") as index:
        for caption, paths in tocs:
            names = (path.relative_to(ROOT).with_suffix("").as_posix() for path in paths)
            index.write(TOC % (caption, "\n".join(names)))
    write_reference(source / "api")
    options = ["-c", str(DOCS), "-d", str(BUILD / "site-cache"), "-D", f"html_static_path={source / '_static'}"]
    return build_main([*options, "-W", "-q", str(source), str(out)])


def blocks(cell: nbformat.NotebookNode) -> list[str]:
    """The paragraphs of a Markdown cell; a listing, or an answer that unfolds, stays in one."""
    found = re.findall(r"(?:```.*?```|<details>.*?</details>|.)+?(?=\n\n|\Z)", cell.source, re.DOTALL)
    return [re.sub(r"\[([^]]*)\]\((?!http)[^)]*\)", r"\1", block.strip()) for block in found]  # other pages: no links


def deck(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook of a slide deck.

    A heading starts a slide, with the text under it as far as there is room. Each figure or table is a slide; "What to
    see" appears beside it with the next key. Quotes and "Predict" are always shown; all other text becomes speaker
    notes. The tags `slide` and `no-slide` of a code cell overrule this: code and output, or neither.
    """
    cells, room, printed, section, first = [], 0, None, "", False

    def add(kind: str, cell: nbformat.NotebookNode | str) -> None:
        cells.append(nbformat.v4.new_markdown_cell(cell) if isinstance(cell, str) else cell)
        cells[-1].metadata["slideshow"] = {"slide_type": kind}

    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if cell.cell_type == "code":
            rich = [o for o in cell.outputs if {"text/html", "image/png"} & o.get("data", {}).keys()]
            printed = cell if cell.outputs and "no-slide" not in tags else None
            if "slide" in tags:
                add("subslide", f"```python\n{cell.source}\n```")
            if printed and (rich or "slide" in tags):
                cell.outputs = rich or cell.outputs
                add("-" if "slide" in tags else "subslide", cell)
                printed, room = None, 0
            continue
        for text in blocks(cell):
            if heading := re.match(r"#+ (.+)", text):
                add("subslide" if text.startswith("###") else "slide", text)
                room, section, first = 700, heading[1], True
            elif text.startswith("**What to see"):
                if printed:
                    add("subslide", printed)
                add("fragment", text)
                room = 0
            elif text.startswith("- ") and cells[-1].metadata.slideshow.slide_type == "fragment":
                cells[-1].source += "\n\n" + text
            elif len(text) < room or (room and first):
                add("-", text)
                room, first = max(room - len(text), 0), False
            elif text.startswith(">") or "**Predict" in text:
                add("subslide", f"### {section}\n\n{text}")
                room = 0
            else:
                add("notes", text)
                room = 0
            printed = None
    notebook.cells, notebook.metadata["title"] = cells, cells[0].source.splitlines()[0].strip("# ")
    return notebook


def slides() -> int:
    """Write a deck for each notebook."""
    from nbconvert import SlidesExporter

    out = BUILD / "slides"
    shutil.rmtree(out, ignore_errors=True)
    assets(out / "_static")
    reveal = files("sphinx_revealjs") / "_static" / "revealjs"
    for name in ("dist/reveal.css", "dist/reveal.js", "plugin/notes/notes.js"):
        shutil.copy(reveal / name, out / "_static")
    options = {"template_name": "slides", "extra_template_basedirs": [str(DOCS)]}
    exporter = SlidesExporter(**options, exclude_input=True, exclude_output_prompt=True)
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        page, _ = exporter.from_notebook_node(deck(stored(path, height=600)))
        (out / f"{path.stem}.html").write_text(page, encoding="utf-8")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["site", "slides"])
    return site() if parser.parse_args().what == "site" else slides()


if __name__ == "__main__":
    sys.exit(main())
