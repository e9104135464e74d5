"""How fast the player plays in a browser, how large it is, and how long until it shows something; plotly beside it.

    python benchmarks/viewer.py

Headless Chromium without a GPU: WebGL is computed by the processor. The rate of a loop that only clears a canvas of
the same size is the browser's own limit there, which neighbours on the machine lower. The turns alternate and the
median counts. First frame: from the start of the page to the first drawing, as the page's own clock says. Bytes: of
coordinates, and of a page with everything.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
from pathlib import Path

import numpy as np

import mocap3d

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
SIZE = {"width": 900, "height": 600}
TURNS, SECONDS = 3, 3.0
COUNTING = """async seconds => {
    const count = await new Promise(done => {
        let frames = 0, start = performance.now();
        const drawn = () => +document.querySelector('.m3d')?.dataset.drawn;
        const before = drawn();
        const step = now => {
            window.work?.();
            frames += 1;
            now - start < 1000 * seconds ? requestAnimationFrame(step)
                : done(1000 * (before >= 0 ? drawn() - before : frames) / (now - start)); };
        requestAnimationFrame(step); });
    return count }"""
CLEAR = """<canvas style="position:fixed;left:0;top:0"></canvas><script>
    const canvas = document.querySelector('canvas');
    [canvas.width, canvas.height] = [%d, %d];
    const gl = canvas.getContext('webgl2', {antialias: true, stencil: true, alpha: false});
    window.work = () => { gl.clearColor(Math.random(), 1, 1, 1); gl.clear(gl.COLOR_BUFFER_BIT); }</script>"""
PLOTLY = """async seconds => {
    const plot = document.querySelector('.js-plotly-plot');
    let drawn = 0;
    plot.on('plotly_animatingframe', () => drawn++);
    const start = performance.now();
    Plotly.animate(plot, null, {frame: {duration: 0, redraw: true}, transition: {duration: 0}, mode: 'immediate'});
    while (performance.now() - start < 1000 * seconds) await new Promise(requestAnimationFrame);
    return 1000 * drawn / (performance.now() - start) }"""


def walks(seconds: float, count: int) -> dict[str, mocap3d.Pose3D]:
    """Walks of `count` people, with 5 mm of noise, as a network would predict them."""
    rng = np.random.default_rng(0)
    poses = [mocap3d.synthesize(subject, "Walking", seconds=seconds) for subject in ("S1", "S5", "S9")[:count]]
    noisy = [mocap3d.Pose3D(p.points + rng.normal(0, 0.005, p.points.shape), fps=p.fps) for p in poses]
    return dict(zip("abc", noisy, strict=False))


def main() -> None:
    """Measure and print."""
    from playwright.sync_api import sync_playwright

    browser_path = os.environ.get("MOCAP3D_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)))
    long, short = mocap3d.show(walks(60, 3), title="Three walks"), mocap3d.show(walks(6, 2), title="Two walks")
    for name, player in (("3,000 frames x 3 bodies", long), ("300 frames x 2 bodies", short)):
        html, image = (len(player._repr_mimebundle_()[0][kind]) for kind in ("text/html", "image/png"))
        data = len(player.scene()["data"])
        print(f"{name}: coordinates {data / 1000:.0f} kB, HTML {html / 1000:.0f} kB, PNG {image * 0.75 / 1000:.0f} kB")
    rates, first = {}, []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        ours = long.save(Path(folder) / "player.html")
        plotly = Path(folder) / "plotly.html"
        long.figure().write_html(plotly, include_plotlyjs=True)
        browser = driver.chromium.launch(executable_path=browser_path, headless=True, args=FLAGS)
        canvas = (SIZE["width"], SIZE["height"])
        for turn in range(TURNS):
            page = browser.new_page(viewport=SIZE)
            page.goto(ours.as_uri())
            page.wait_for_selector(".m3d[data-first]")
            first.append(float(page.locator(".m3d").get_attribute("data-first")))
            canvas = tuple(
                page.evaluate("() => [...document.querySelectorAll('.stage canvas')].flatMap(c => [c.width, c.height])")
            )
            page.locator(".m3d .play").click()
            page.wait_for_timeout(500)
            rates.setdefault("player", []).append(page.evaluate(COUNTING, SECONDS))
            painter = page.locator(".m3d").get_attribute("data-painter")
            page.close()
            page = browser.new_page(viewport=SIZE)
            page.set_content(CLEAR % canvas)
            rates.setdefault("only clearing", []).append(page.evaluate(COUNTING, SECONDS))
            page.close()
            if turn == 0:
                page = browser.new_page(viewport=SIZE)
                page.goto(plotly.as_uri())
                page.wait_for_selector(".js-plotly-plot canvas")
                rates["plotly, 150 frames"] = [page.evaluate(PLOTLY, SECONDS)]
                page.close()
        browser.close()
    for name, values in rates.items():
        print(f"{name}: {statistics.median(values):.1f} frames a second  ({', '.join(f'{v:.1f}' for v in values)})")
    print(f"first frame after {statistics.median(first):.0f} ms ({painter}, {canvas[0]} x {canvas[1]} pixels)")


if __name__ == "__main__":
    main()
