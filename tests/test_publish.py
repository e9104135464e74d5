"""The site and the slides: which cells become which slides, whole links, and both in a browser without a network."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import nbformat.v4 as nbf
import pytest

import mocap3d
from tests.test_browser import FLAGS, ROOT, check_playing, find_browser

NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))


def load_publish():
    spec = importlib.util.spec_from_file_location("publish", ROOT / "scripts" / "publish.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


publish = load_publish()


def code(source: str, tag: str = "", **data: str):
    printed = nbf.new_output("stream", text="41.3 mm\n")
    outputs = [nbf.new_output("display_data", data)] if data else [printed]
    return nbf.new_code_cell(source, outputs=outputs, metadata={"tags": [tag]} if tag else {})


def outline(*cells) -> list[tuple[str, str]]:
    """Of each cell of the deck: the kind of slide, and the first word of its source."""
    made = publish.deck(nbf.new_notebook(cells=list(cells))).cells
    return [(cell.metadata.slideshow.slide_type, cell.source.split("\n")[0]) for cell in made]


def test_headings_figures_and_what_to_see_become_slides():
    text, figure = nbf.new_markdown_cell, code("show()", **{"image/png": "AA=="})
    lesson = [
        text("# Time\n\nOne frame is not enough."),
        code("import mocap3d"),
        text("## Noise\n\nDetections are noisy."),
        text(f"**Predict:** does it help?\n\n{'Long. ' * 200}"),
        figure,
        text("**What to see.** It does.\n\n- Twice.\n\n## Motion"),
        code("print(error)"),
        text("**What to see.** A number. [Errors](02_measure_errors.ipynb)"),
        text("> **Checkpoint.** Why?"),
    ]
    assert outline(*lesson) == [
        ("slide", "# Time"),
        ("-", "One frame is not enough."),
        ("slide", "## Noise"),
        ("-", "Detections are noisy."),
        ("-", "**Predict:** does it help?"),
        ("notes", ("Long. " * 200).strip()),
        ("subslide", "show()"),
        ("fragment", "**What to see.** It does."),
        ("slide", "## Motion"),
        ("subslide", "print(error)"),  # shown, because the text speaks of it; "import mocap3d" is not
        ("fragment", "**What to see.** A number. Errors"),  # the other notebook is not beside the deck
        ("subslide", "### Motion"),
    ]


def test_tags_overrule_the_choice_of_slides():
    title, figure = nbf.new_markdown_cell("# Time"), {"image/png": "AA=="}
    assert outline(title, code("print(1)")) == [("slide", "# Time")]
    assert outline(title, code("print(1)", "slide"))[1:] == [("subslide", "```python"), ("-", "print(1)")]
    assert outline(title, code("show()", **figure))[1:] == [("subslide", "show()")]
    assert outline(title, code("show()", "no-slide", **figure)) == [("slide", "# Time")]


def test_a_stored_figure_is_a_picture_with_data_that_ends_no_script(tmp_path):
    figure = {"data": [{"name": "</script><b>"}], "layout": {"height": 300}}
    output = nbf.new_output("display_data", {publish.PLOTLY: figure, "image/png": "AA==\n", "text/plain": 'A "chart"'})
    path = tmp_path / "one.ipynb"
    nbformat.write(nbf.new_notebook(cells=[nbf.new_code_cell("", outputs=[output])]), path)
    (data,) = (output["data"] for output in publish.stored(path).cells[0].outputs)
    assert publish.PLOTLY not in data and "</script><b>" not in data["text/html"]
    assert 'alt="A &quot;chart&quot;" src="data:image/png;base64,AA=="' in data["text/html"]
    assert "height:300px" in data["text/html"]
    assert "height:600px" in publish.stored(path, height=600).cells[0].outputs[0]["data"]["text/html"]


def test_every_public_name_is_in_a_group_of_the_reference():
    grouped = [name for _, names in publish.public_names() for name in names]
    assert sorted(grouped) == sorted(mocap3d.__all__)


# Built, and opened in a browser


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with the site in site/ and the decks in slides/."""
    for package in ("sphinx", "myst_nb", "sphinx_revealjs"):
        pytest.importorskip(package, reason="the site's packages are not installed (make site installs them)")
    publish.BUILD = tmp_path_factory.mktemp("build")
    assert publish.site() == 0, "Sphinx warns; its warnings are above"
    assert publish.slides() == 0
    return publish.BUILD


class Page(HTMLParser):
    """The addresses that a page links to or loads, its anchors, and its text."""

    def __init__(self, path: Path):
        super().__init__()
        self.links, self.loaded, self.anchors = [], [], set()
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.anchors |= {found[name] for name in ("id", "name") if found.get(name)}
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        elif address := found.get("src") or (found.get("href") if tag == "link" else None):
            self.loaded.append(address)


@pytest.mark.extended
def test_links_of_the_site_lead_somewhere_and_nothing_is_loaded_from_elsewhere(built):
    site = built / "site"
    pages = {path: Page(path) for path in site.rglob("*.html")}
    wanted = [*(f"notebooks/{name}.html" for name in NOTEBOOKS), "index.html", "search.html", "api/index.html"]
    wanted += [f"docs/{path.stem}.html" for path in (ROOT / "docs").glob("*.md")]
    assert {site / name for name in wanted} <= pages.keys()
    dead, remote, count = [], [], 0
    for path, page in pages.items():
        for address in page.links + page.loaded:
            parts = urlsplit(address)
            if parts.scheme:
                remote += [(path, address)] * (address in page.loaded and parts.scheme != "data")
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            count += 1
            if not target.is_file() or (
                parts.fragment and unquote(parts.fragment) not in pages[target].anchors | {"#"}
            ):
                dead.append((path.relative_to(site).as_posix(), address))
    assert count > 1000 and not dead and not remote
    assert all("CC BY 4.0" in page.text for page in pages.values())
    anchors = {anchor for path, page in pages.items() if path.parent.name == "api" for anchor in page.anchors}
    assert {name for name in mocap3d.__all__ if f"mocap3d.{name}" not in anchors} <= {"metrics", "zoo"}
    assert {"module-mocap3d.metrics", "mocap3d.metrics.p_mpjpe"} <= anchors


@contextmanager
def opened() -> Iterator:
    """A page of a browser without a network; in the end there was no request to elsewhere, and no error."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    browser_path = find_browser()
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=browser_path, headless=True, args=FLAGS)
        page = browser.new_context(offline=True, viewport={"width": 1320, "height": 760}).new_page()  # slides: scale 1
        asked, wrong = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("requestfailed", lambda request: wrong.append(request.url))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        yield page
        browser.close()
    assert asked and all(url.startswith(("file:", "data:", "blob:", "about:")) for url in asked)
    assert not wrong


PICTURES = """() => [...document.images].filter(image => image.checkVisibility())
    .map(image => [image.alt, image.complete && image.naturalWidth > 0])"""
UNDRAWN = "() => document.querySelectorAll('.figure:not([data-drawn])').length"


@pytest.mark.extended
def test_the_site_works_from_the_disk(built, tmp_path):
    with opened() as page:
        page.goto((built / "site" / "index.html").as_uri())
        assert page.evaluate(PICTURES) and all(loaded for _, loaded in page.evaluate(PICTURES))

        page.get_by_role("link", name=re.compile("^02 ")).first.click()  # formulas and charts
        page.locator("mjx-container svg").first.wait_for(timeout=30_000)
        assert page.locator("mjx-container").count() >= 5 and page.locator("[data-mjx-error]").count() == 0
        figures = page.locator(".figure")
        assert figures.count() >= 3
        for i in range(figures.count()):
            figures.nth(i).scroll_into_view_if_needed()
            figures.nth(i).locator(".main-svg").first.wait_for(state="attached", timeout=60_000)
        page.wait_for_function("() => !document.querySelector('.figure:not([data-drawn])')", timeout=60_000)
        assert all(loaded for _, loaded in page.evaluate(PICTURES))

        page.get_by_role("link", name=re.compile("^00 ")).first.click()
        player = page.locator("iframe[srcdoc]").first
        player.scroll_into_view_if_needed()
        check_playing(player.content_frame, tmp_path)
        page.screenshot(path=tmp_path / "player.png")

        page.locator("input[name=q]").first.fill("procrustes")
        page.locator("input[name=q]").first.press("Enter")
        page.locator("ul.search li a").first.wait_for(timeout=20_000)
        page.goto((built / "site" / "api" / "index.html").as_uri())
        page.get_by_role("link", name="fit", exact=True).first.click()
        assert page.url.endswith("#mocap3d.fit")


@pytest.mark.extended
def test_a_deck_opens_from_the_disk(built, tmp_path):
    decks = {path.stem: path for path in (built / "slides").glob("*.html")}
    assert sorted(decks) == NOTEBOOKS
    assert all(Page(path).text.count("<section") > 10 for path in decks.values())
    with opened() as page:
        page.goto(decks["01_see_skeletons_and_cameras"].as_uri())
        page.wait_for_function("() => window.Reveal?.isReady()", timeout=30_000)
        page.locator("mjx-container svg").first.wait_for(state="attached", timeout=30_000)
        assert page.locator("section.present h1").inner_text().startswith("01")
        played = beside = False
        for _ in range(page.evaluate("() => 2 * Reveal.getTotalSlides()")):
            if page.evaluate("() => Reveal.isLastSlide() && !Reveal.availableFragments().next"):
                break
            page.keyboard.press("Space")
            player = page.locator("section.present:not(.stack) iframe[srcdoc]")
            if player.count() and player.content_frame.locator(".play").is_visible() and not played:
                check_playing(player.content_frame, tmp_path)
                page.screenshot(path=tmp_path / "deck.png")
                page.mouse.click(5, 5)  # back from the player's keys to the deck's
                played = True
            text = page.locator("section.present:not(.stack) .fragment.visible")
            if text.count() and not beside:
                figure, words = (
                    page.locator("section.present:not(.stack) .jp-CodeCell").bounding_box(),
                    text.bounding_box(),
                )
                beside = words["x"] >= figure["x"] + figure["width"] and words["x"] + words["width"] <= 1320
                assert beside
        assert played and beside and page.evaluate("() => Reveal.isLastSlide()")
        assert page.evaluate(UNDRAWN) == 0 and all(loaded for _, loaded in page.evaluate(PICTURES))
