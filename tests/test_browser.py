"""The first notebook in a real browser: JupyterLab as `make lab` starts it, every cell run, a skeleton that moves.

And read without running anything: its pictures are there, and its file stays the same.

Needs playwright and a Chromium or Chrome that is already installed; skipped with the reason otherwise.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "notebooks" / "00_start_here.ipynb"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# No sandbox: it needs rights that containers do not give. The rest keeps the browser from calling home.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
TOKEN = "browser-test"

IDLE = "() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
CODE_CELLS = """window.jupyterapp.shell.currentWidget.content.widgets
    .filter(w => w.model.type === 'code' && w.model.sharedModel.getSource().trim())"""
ALL_RUN = f"() => {CODE_CELLS}.every(w => w.model.executionCount !== null)"
ERRORS = f"""() => {CODE_CELLS}
    .filter(w => !(w.model.getMetadata('tags') || []).includes('raises-exception'))
    .flatMap(w => w.model.outputs.toJSON())
    .filter(o => o.output_type === 'error').map(o => o.ename + ': ' + o.evalue)"""
# The first figure that has frames to play: its element gets a name to be found by.
FIND = """() => {
    const plots = [...document.querySelectorAll('.js-plotly-plot')];
    const moving = plots.find(p => p._transitionData && p._transitionData._frames.length > 1);
    if (moving) moving.setAttribute('data-under-test', 'moving');
    return plots.length && Boolean(moving) }"""
DRAWN = """() => JSON.stringify(document.querySelector('[data-under-test]')._fullData
    .map(t => [t.x, t.y, t.z].map(v => v ? Array.from(v) : null)))"""
PNGS = f"{CODE_CELLS}.flatMap(w => w.model.outputs.toJSON()).flatMap(o => o.data?.['image/png'] ?? [])"
REPLACED = f"stored => !{PNGS}.includes(stored)"
SAVED = "() => !window.jupyterapp.shell.currentWidget.context.model.dirty"


def find_browser() -> str:
    found = os.environ.get("MOCAP3D_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)
    return found or pytest.skip("no Chromium or Chrome on the path (apt install chromium, or set MOCAP3D_BROWSER)")


def wait_for_server(url: str, server: subprocess.Popen, log: Path, seconds: float = 90) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert server.poll() is None, log.read_text()[-2000:]
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"JupyterLab did not answer within {seconds:.0f} s:\n{log.read_text()[-2000:]}")


@pytest.fixture
def jupyterlab(tmp_path):
    """Serve an unexecuted copy of the first notebook; give the address that opens it."""
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell |= {"execution_count": None, "outputs": []}
    with serving(tmp_path, json.dumps(notebook).encode()) as (address, _):
        yield address


@contextmanager
def serving(tmp_path: Path, content: bytes) -> Iterator[tuple[str, Path]]:
    """JupyterLab on a folder with one notebook: the address that opens it, and its file."""
    spec = importlib.util.spec_from_file_location("project_setup", ROOT / "scripts" / "setup.py")
    setup = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(setup)
    served = tmp_path / "served" / "notebooks"
    served.mkdir(parents=True)
    (served / NOTEBOOK.name).write_bytes(content)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["-y", "--no-browser", "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0"]
    options += [f"--IdentityProvider.token={TOKEN}", "--LabApp.expose_app_in_browser=True"]
    command = setup.lab_command(None, *options, root=served.parent)
    command[0] = sys.executable
    log = tmp_path / "jupyterlab.log"
    environment = setup.jupyter_environment(tmp_path / "jupyter") | {"MOCAP3D_PROFILE": "ci"}
    with log.open("w") as out:
        server = subprocess.Popen(command, env=environment, cwd=served, stdout=out, stderr=subprocess.STDOUT)
    try:
        wait_for_server(f"http://127.0.0.1:{port}/api?token={TOKEN}", server, log)
        address = f"http://127.0.0.1:{port}/lab/workspaces/test/tree/notebooks/{NOTEBOOK.name}?token={TOKEN}&reset"
        yield address, served / NOTEBOOK.name
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@contextmanager
def opened(address: str, **viewport: int) -> Iterator:
    """A browser page with the notebook in it, its kernel idle."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    browser_path = find_browser()
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=browser_path, headless=True, args=FLAGS)
        page = browser.new_page(viewport=viewport)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address, timeout=60_000)
        page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60_000)
        # Running before the kernel is idle opens a "Select Kernel" dialog instead.
        page.wait_for_function(IDLE, timeout=60_000)
        yield page
        browser.close()
    local = ("http://127.0.0.1", "ws://127.0.0.1", "data:", "blob:")
    assert not [url for url in asked if not url.startswith(local)], "the page must work without a network"


@pytest.mark.extended
def test_the_first_notebook_runs_and_its_skeleton_moves(jupyterlab, tmp_path):
    with opened(jupyterlab, width=1280, height=1400) as page:
        page.evaluate("async () => { await window.jupyterapp.commands.execute('notebook:run-all-cells'); return 1 }")
        page.wait_for_function(ALL_RUN, timeout=180_000)
        assert page.evaluate(ERRORS) == []
        check_the_figure(page, tmp_path)
        page.screenshot(path=tmp_path / "page.png")


@pytest.mark.extended
def test_reading_a_stored_notebook_leaves_its_file_as_it_is(tmp_path):
    """Pictures fit the page of an untrusted notebook; opening it and touching a figure change nothing that is saved."""
    before = NOTEBOOK.read_bytes()
    with serving(tmp_path, before) as (address, file), opened(address, width=1100, height=900) as page:
        picture = page.locator(".jp-RenderedPlotly img").first
        picture.scroll_into_view_if_needed()
        box = picture.bounding_box()
        assert 300 < box["width"] <= page.locator(".jp-RenderedPlotly").first.bounding_box()["width"]
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 100)  # the renderer now draws, and adds its own PNG
        page.wait_for_function(REPLACED, arg=first_picture(before), timeout=30_000)
        page.screenshot(path=tmp_path / "page.png")
        written = file.stat().st_mtime_ns
        page.evaluate("async () => { await window.jupyterapp.commands.execute('docmanager:save'); return 1 }")
        page.wait_for_function(SAVED, timeout=30_000)
        assert file.stat().st_mtime_ns > written
        page.evaluate("async () => { await window.jupyterapp.commands.execute('application:close'); return 1 }")
        page.wait_for_timeout(1000)
        assert file.read_bytes() == before


def first_picture(notebook: bytes) -> str:
    outputs = (output for cell in json.loads(notebook)["cells"] for output in cell.get("outputs", []))
    return next(output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {}))


def check_the_figure(page, folder: Path) -> None:
    """The play button and the slider each change the coordinates, and the picture, of the first moving figure."""
    page.wait_for_function(FIND, timeout=30_000)
    plot = page.locator("[data-under-test]")
    plot.scroll_into_view_if_needed()
    scene = plot.locator("canvas").first
    page.wait_for_timeout(1000)  # the first WebGL drawing, in software where there is no GPU
    still, picture = page.evaluate(DRAWN), scene.screenshot(path=folder / "still.png")
    assert len(still) > 100, "nothing is drawn"

    plot.locator(".updatemenu-button").first.click()  # play
    page.wait_for_function(f"before => ({DRAWN})() !== before", arg=still, timeout=20_000)
    buttons = plot.locator(".updatemenu-button")
    if buttons.count() > 1:
        buttons.nth(1).click()  # pause
    page.wait_for_timeout(1000)
    played = scene.screenshot(path=folder / "played.png")
    assert played != picture, "the coordinates changed, but the picture did not"

    at_rest = page.evaluate(DRAWN)
    rail = plot.locator(".slider-rail-touch-rect").first.bounding_box()
    for part in (0.85, 0.35):  # wherever playing stopped, one of the two is elsewhere
        page.mouse.click(rail["x"] + part * rail["width"], rail["y"] + rail["height"] / 2)
        page.wait_for_timeout(500)
        if page.evaluate(DRAWN) != at_rest:
            break
    assert page.evaluate(DRAWN) != at_rest, "moving the slider changed nothing"
    page.wait_for_timeout(500)
    assert scene.screenshot(path=folder / "slid.png") != played
