"""The site as a reader sees it, opened from disk in Chromium: on a phone and on a desk, in light and in dark."""

import runpy
import shutil

import pytest

from soundfusion_lib.paths import PROJECT
from soundfusion_lib.site.build import write_site

pytestmark = pytest.mark.browser
WIDTHS = 390, 1280  # of a phone and of a desk, in CSS pixels
HEIGHT, TALL = "document.scrollingElement.scrollHeight", 3000  # CSS pixels of a page that a screenshot keeps
READABLE = 4.5  # contrast that WCAG 2.2 asks of text (AA)

# contrast of each visible text with the nearest background behind it, as WCAG computes it: the worst, and its element
CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const known = new Map();
  const rgba = colour => {
    if (!known.has(colour)) {
      canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
      known.set(colour, [...canvas.getImageData(0, 0, 1, 1).data]);
    }
    return known.get(colour);
  };
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const colour = rgba(getComputedStyle(e).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255, 255];
  };
  let worst = [99, ""];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility() || element.closest("audio")) continue;
    const [a, b] = [light(rgba(getComputedStyle(element).color)), light(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < worst[0]) worst = [ratio, element.outerHTML.slice(0, 200)];
  }
  return worst;
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return write_site(tmp_path_factory.mktemp("site") / "site")


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    names = runpy.run_path(str(PROJECT / "tooling" / "lab.py"))["BROWSERS"]
    executable = next(filter(None, map(shutil.which, names)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_pages_fit_load_from_disk_alone_and_can_be_read(width, scheme, site, chromium, tmp_path):
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    tab, said, asked = context.new_page(), [], []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("requestfailed", lambda request: said.append(f"failed: {request.url}"))
    tab.on("request", lambda request: asked.append(request.url))
    files = sorted(site.rglob("*.html"))
    for file in files:
        name = file.relative_to(site).as_posix()
        tab.goto(file.as_uri())
        tab.evaluate("document.querySelectorAll('img').forEach(image => { image.loading = 'eager' })")
        tab.evaluate("document.querySelectorAll('details').forEach(folded => { folded.open = true })")
        tab.wait_for_function("[...document.images].every(image => image.complete)")
        shown = {"x": 0, "y": 0, "width": width, "height": min(TALL, tab.evaluate(HEIGHT))}
        tab.screenshot(path=tmp_path / f"{name.replace('/', '-')}.png", full_page=True, clip=shown)
        assert tab.evaluate("document.scrollingElement.scrollWidth <= innerWidth"), f"{name} is wider than {width}"
        assert tab.evaluate("[...document.images].every(image => image.naturalWidth > 0)"), name
        ratio, element = tab.evaluate(CONTRAST)
        assert ratio >= READABLE, f"{name}: contrast {ratio:.2f} of {element}"
    assert not said and all(url.startswith(("file:", "data:")) for url in asked)
    assert len(list(tmp_path.glob("*.png"))) == len(files) > 20
    context.close()


def test_the_two_schemes_differ_and_figures_stay_on_white(site, chromium):
    papers = []
    for scheme in ("light", "dark"):
        tab = chromium.new_page(color_scheme=scheme)
        tab.goto((site / "index.html").as_uri())
        papers.append(tab.evaluate("getComputedStyle(document.body).backgroundColor"))
        plate = tab.evaluate("getComputedStyle(document.querySelector('figure img')).backgroundColor")
        assert plate == "rgb(255, 255, 255)"
        tab.close()
    assert papers[0] == "rgb(255, 255, 255)" != papers[1]


def test_the_keyboard_reaches_the_content_first_and_a_table_scrolls_within_its_box(site, chromium):
    tab = chromium.new_page(viewport={"width": 390, "height": 900})
    tab.goto((site / "results" / "emotify" / "index.html").as_uri())
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    tab.keyboard.press("Enter")
    assert tab.evaluate("location.hash") == "#main"
    boxes = tab.locator(".table")
    wide = next(box for box in boxes.all() if box.evaluate("box => box.scrollWidth > box.clientWidth"))
    wide.focus()
    tab.keyboard.press("ArrowRight")
    tab.wait_for_function("box => box.scrollLeft > 0", arg=wide.element_handle())
    tab.close()


def test_a_sound_plays(site, chromium):
    tab = chromium.new_page()
    tab.goto((site / "sounds" / "index.html").as_uri())
    seconds = tab.evaluate(
        "() => new Promise((done, fail) => { const sound = document.querySelector('audio'); sound.onerror = fail;"
        "sound.onloadedmetadata = () => done(sound.duration); sound.load(); sound.preload = 'metadata'; })"
    )
    assert 3.4 < seconds < 3.7
    tab.close()
