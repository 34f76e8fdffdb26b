"""The site that `make site` wrote, opened from disk in Chromium: on a phone and on a desk, in light and in dark."""

import runpy

import pytest

from soundfusion_lib.paths import PROJECT

pytestmark = pytest.mark.browser
SITE = PROJECT / "site"
PAGES = [
    "index.html",
    "results/README.html",
    "results/emotify/README.html",
    "results/emotify/notebooks/05_fusion.html",  # formulas, figures, wide tables
    "results/soundtracks/notebooks/01_data.html",
    "notebooks/01_data.html",  # sounds
    "docs/reliability.html",
]


@pytest.fixture(scope="module")
def chromium():
    with runpy.run_path(str(PROJECT / "tooling" / "lab.py"))["chromium"]() as browser:
        yield browser


@pytest.mark.parametrize("width, scheme", [(375, "light"), (375, "dark"), (1280, "dark")])
def test_pages_fit_and_load_from_disk_without_errors(width, scheme, chromium):
    tab = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    errors, requests = [], []
    tab.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("request", lambda request: requests.append(request.url))
    for page in PAGES:
        tab.goto((SITE / page).as_uri())
        assert tab.evaluate("document.scrollingElement.scrollWidth <= innerWidth"), f"{page} is wider than {width}"
        assert tab.evaluate("document.documentElement.dataset.theme") == scheme
        tab.evaluate("document.querySelectorAll('img').forEach(image => { image.loading = 'eager' })")
        tab.wait_for_function("[...document.images].every(image => image.complete)")
        assert tab.evaluate("[...document.images].every(image => image.naturalWidth > 0)"), page
    assert not errors and all(url.startswith(("file:", "data:")) for url in requests)
    tab.close()


def test_results_on_real_music_come_first_and_every_link_leads_to_a_page(chromium):
    tab = chromium.new_page()
    tab.goto((SITE / "index.html").as_uri())
    script = "links => links.map(link => link.getAttribute('href'))"
    links = tab.eval_on_selector_all(".bd-links a.reference.internal", script)
    assert links[:3] == ["results/README.html", "results/emotify/README.html", "results/soundtracks/README.html"]
    assert links.index("results/emotify/notebooks/01_data.html") < links.index("notebooks/01_data.html")
    assert all((SITE / link).is_file() for link in links) and len(links) > 40
    assert tab.locator("figure, img").first.is_visible()
    tab.close()


def test_formulas_are_mathematics_and_sounds_play(chromium):
    tab = chromium.new_page()
    tab.goto((SITE / "notebooks/05_fusion.html").as_uri())
    assert tab.locator("math").count() > 0
    tab.goto((SITE / "notebooks/01_data.html").as_uri())
    script = """() => new Promise((done, fail) => {
        const sound = document.querySelector('audio')
        sound.onerror = fail
        sound.onloadedmetadata = () => done(sound.duration)
        sound.preload = 'metadata'
        sound.load()
    })"""
    assert tab.evaluate(script) > 1
    tab.close()
