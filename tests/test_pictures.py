"""Stored figures are seen without running anything: a PNG and a sentence beside each, and files that stay the same."""

from __future__ import annotations

import base64
import copy
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import mocap3d
from mocap3d.figures import style

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LARGEST = 40_000  # bytes of a PNG
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def load_script(name: str):
    spec = importlib.util.spec_from_file_location(f"project_{name}", ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pictures, unmodified = load_script("pictures"), load_script("unmodified")


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def is_one_sentence(text: str) -> bool:
    return text.endswith(".") and len(text) > 20 and not re.search(r"[.!?]\s+[A-Z]|\n|<", text)


# What is stored


@every_notebook
def test_no_stored_figure_lacks_a_picture(path):
    stored = list(pictures.figures(read(path)))
    assert stored and not [output for output in stored if "image/png" not in output["data"]]
    for output in stored:
        png = base64.b64decode(output["data"]["image/png"])
        told, image = output["metadata"]["image/png"], Image.open(io.BytesIO(png))
        assert len(png) <= LARGEST
        assert 1.5 <= image.width / told["width"] <= 2 and image.width / image.height == told["width"] / told["height"]


@every_notebook
def test_every_stored_figure_is_named_in_one_sentence(path):
    for output in pictures.figures(read(path)):
        text = "".join(output["data"]["text/plain"])
        assert is_one_sentence(text), text
        assert output["metadata"]["image/png"]["alt"] == text


@every_notebook
def test_a_notebook_as_html_shows_every_figure(path):
    from nbconvert import HTMLExporter

    page, _ = HTMLExporter().from_filename(str(path))
    shown = re.findall(r"<img\s[^>]*?src=\"data:image/png;base64,[^>]*>", page)
    count = len(list(pictures.figures(read(path))))
    assert len(shown) >= count > 0
    assert not re.search(r"<img[^>]+src=\"https?:", page)  # nothing has to be fetched to see them


@every_notebook
def test_stored_numbers_are_written_as_browsers_write_them(path):
    """A whole number with a decimal point would change when a browser saves the notebook."""
    for output in pictures.figures(read(path)):
        text = json.dumps(output["data"][pictures.PLOTLY])
        assert not re.search(r"[\[ ]-?\d+\.0[,\]}]", text)


@every_notebook
def test_stored_figures_are_laid_out_by_todays_rules(path):
    notebook = read(path)
    again = copy.deepcopy(notebook)
    pictures.restyle(again)
    assert again == notebook


# How it is made


def a_figure(**layout) -> dict:
    return {"data": [{"type": "bar", "y": [1]}], "layout": {"height": 300} | layout}


def an_output(figure: dict) -> dict:
    return {"output_type": "display_data", "data": {pictures.PLOTLY: figure}, "metadata": {}}


class Page:
    """Stands in for the browser: draws two colours in the asked size."""

    drawn = 0

    def evaluate(self, script: str, options: dict) -> str:
        self.drawn += 1
        size = tuple(round(options[side] * options["scale"]) for side in ("width", "height"))
        image, out = Image.new("RGB", size, "#FFFFFF"), io.BytesIO()
        image.paste("#E69F00", (10, 10, 50, 50))
        image.save(out, "PNG")
        return base64.b64encode(out.getvalue()).decode()


def test_pictures_are_added_only_where_they_are_missing():
    notebook = {"cells": [{"cell_type": "markdown"}, {"outputs": [an_output(a_figure()), an_output(a_figure())]}]}
    first, second = notebook["cells"][1]["outputs"]
    first["data"] |= {"image/png": "AAAA", "text/plain": "Mine."}
    first["metadata"]["image/png"] = {"width": 1, "height": 1}
    page = Page()
    assert pictures.add_pictures(notebook, page) == page.drawn == 1
    assert (first["data"]["image/png"], first["data"]["text/plain"]) == ("AAAA", "Mine.")
    image = Image.open(io.BytesIO(base64.b64decode(second["data"]["image/png"])))
    assert image.size == (1600, 600) and image.mode == "P"
    assert second["metadata"]["image/png"] == {"width": 800, "height": 300, "alt": "Bar chart: untitled."}
    assert pictures.add_pictures(notebook, page) == 0
    assert pictures.add_pictures(notebook, page, redraw=True) == 2 and first["data"]["image/png"] != "AAAA"


def test_alt_texts_name_kind_title_and_axes_or_are_given():
    axes = {"xaxis": {"title": {"text": "time (s)"}}, "yaxis": {"title": {"text": "error (mm)"}}}
    title = {"text": "<b>It falls. Then<br>it rises</b><br><span style='font-size:12px'>numbers</span>"}
    assert (
        pictures.alt_text(a_figure(title=title, **axes))
        == "Bar chart: It falls; Then it rises; error (mm) over time (s)."
    )
    assert pictures.alt_text(a_figure(meta={"alt": "A hand."})) == "A hand."
    pose = mocap3d.synthesize("S1", "Walking", seconds=0.1)
    shown = json.loads(mocap3d.show_cameras(mocap3d.h36m_cameras("S1"), pose, title="Where they stand").to_json())
    assert pictures.alt_text(shown) == "3D view: Where they stand."


def test_a_palette_takes_its_colours_from_the_picture():
    """Median cut once turned a green body blue: rare colours far from all others must survive."""
    pixels = np.full((100, 100, 3), 255, dtype=np.uint8)
    pixels[:50, :, 0] = np.arange(100)  # many shades of one colour
    pixels[99, 95:] = (0, 158, 115)
    found = np.asarray(pictures.in_palette(Image.fromarray(pixels), 16).convert("RGB"))
    assert tuple(found[99, 99]) == (0, 158, 115) and tuple(found[70, 50]) == (255, 255, 255)
    assert np.abs(found.astype(int) - pixels).max() < 20
    assert len(np.unique(found.reshape(-1, 3), axis=0)) <= 16


@pytest.mark.parametrize("browser", ["no-such-browser", sys.executable])
def test_without_a_browser_one_sentence_says_so_and_notebooks_stay(tmp_path, browser):
    path = tmp_path / "some.ipynb"
    notebook = read(NOTEBOOKS[0])
    for output in pictures.figures(notebook):
        del output["data"]["image/png"]
    path.write_text(json.dumps(notebook), encoding="utf-8")
    before = path.read_bytes()
    command = [sys.executable, "scripts/run_notebooks.py", "--pictures", str(path)]
    environment = os.environ | {"MOCAP3D_BROWSER": browser, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and path.read_bytes() == before and os.listdir(tmp_path) == ["some.ipynb"]
    assert len(done.stderr.strip().splitlines()) == 1 and "need a browser" in done.stderr, done.stderr


# The layout


def test_long_titles_are_wrapped_and_make_room_for_themselves():
    short, top = style.heading_layout("Short", "one line")
    long, more = style.heading_layout("Quite a long title that goes on " * 4, "facts, " * 30)
    assert "<br>" not in short["text"].split("<br><span")[0] and long["text"].count("<br>") >= 3
    assert more > top and all(len(line) < 80 for line in re.sub("<span[^>]*>", "", long["text"]).split("<br>")[:2])


def test_buttons_and_slider_share_no_pixel_at_any_width():
    controls = style.play_controls(range(10), 50.0, 0)
    (slider,), (buttons,) = controls["sliders"], controls["updatemenus"]
    assert slider["x"] == buttons["x"] == 0 and slider["len"] == 1
    assert slider["pad"]["l"] >= 190  # what two buttons of this text take


def test_eight_cameras_have_eight_colours():
    studio = mocap3d.h36m_cameras("S1") + mocap3d.h36m_cameras("S5")
    drawn = [trace for trace in mocap3d.show_cameras(studio).data if getattr(trace, "text", None)]
    assert len({trace.line.color for trace in drawn}) == len(drawn) == len(studio) == 8


# What `make lab` adds


def saved(tmp_path, stored: dict, sent: dict) -> dict:
    (tmp_path / "n.ipynb").write_text(json.dumps(stored), encoding="utf-8")
    model = {"type": "notebook", "content": copy.deepcopy(sent)}
    unmodified.keep_stored(model, "/n.ipynb", SimpleNamespace(root_dir=str(tmp_path)))
    return model["content"]


def a_notebook() -> dict:
    output = an_output(a_figure())
    output["data"] |= {"image/png": "AAAA", "text/plain": ["Bar chart: ", "untitled."]}
    output["metadata"] = {"image/png": {"alt": "Bar chart: untitled."}}
    cell = {"cell_type": "code", "id": "a", "source": "show()", "outputs": [output]}
    return {"cells": [cell], "metadata": {"language_info": {"name": "python"}}}


def test_what_a_browser_adds_to_a_notebook_is_not_saved(tmp_path):
    stored, sent = a_notebook(), a_notebook()
    sent["metadata"] = {"language_info": {"name": "python", "version": "3.12.1"}, "own": 1}
    sent["cells"][0]["outputs"][0]["data"] |= {"image/png": "BBBB", "text/plain": "Bar chart: untitled."}
    kept = saved(tmp_path, stored, sent)
    assert kept["metadata"] == {"language_info": {"name": "python"}, "own": 1}
    assert kept["cells"][0]["outputs"][0]["data"]["image/png"] == "AAAA"
    assert kept["cells"][0]["outputs"][0]["data"]["text/plain"] == "Bar chart: untitled."


def test_what_its_user_changed_is_saved(tmp_path):
    sent = a_notebook()
    sent["metadata"]["language_info"] = {"name": "julia"}
    ran = an_output(a_figure(height=500))
    ran["data"]["image/png"] = "BBBB"
    sent["cells"][0] |= {"source": "show(2)", "outputs": [ran]}
    assert saved(tmp_path, a_notebook(), sent) == sent
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    model = {"type": "notebook", "content": sent}
    unmodified.keep_stored(model, "new.ipynb", SimpleNamespace(root_dir=str(tmp_path)))  # a file that is not there yet
    assert model["content"] == sent


def test_of_a_widget_its_still_is_stored(monkeypatch):
    """Without a kernel a widget is an error message; an explorer brings a still, a progress bar nothing."""
    nbformat = pytest.importorskip("nbformat")
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    run_notebooks = load_script("run_notebooks")
    sources = ["from ipywidgets import IntProgress; IntProgress()", "import mocap3d; mocap3d.explore_receptive_field()"]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    run_notebooks.execute(book, ROOT / "book.ipynb")
    bar, explorer = (cell.outputs for cell in book.cells)
    assert bar == [] and len(explorer) == 1
    assert pictures.PLOTLY in explorer[0].data and not [kind for kind in explorer[0].data if "widget" in kind]
