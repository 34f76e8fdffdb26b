"""Notebook 9 in JupyterLab, in a real browser: `make test-browser`."""

import dataclasses
import runpy

import pytest
from conftest import copy_music

from soundfusion_lib import Study
from soundfusion_lib.paths import PROJECT
from soundfusion_lib.study import protocol

pytestmark = pytest.mark.browser
LAB = runpy.run_path(str(PROJECT / "tooling" / "lab.py"))
MARKED = "<i>low</i> & $low$"  # a label that is text, whatever it looks like
PROFILE = """
clip_seconds = 4.0
leave_out = ["vgg16"]

[corpus]
kind = "folder"
path = "music"
label = "sound"

[mel]
sample_rate = 22050
n_fft = 512

[segmenting]
seconds = 1.5

[split]
folds = 4

[training]
epochs = 1
batch_size = 32

[models.simple_cnn]
batch_size = 32

[models.nnet1]
width = 8

[models.nnet2]
width = 8

[widths]
resnet1d = { small = 4, medium = 4 }
resnet2d = { small = 4, medium = 4 }
"""


@pytest.fixture(scope="module")
def page(corpus, tmp_path_factory):
    """The notebook on a corpus of tones, all its cells run."""
    folder = tmp_path_factory.mktemp("lab")
    labels = corpus.tracks["label"].replace("low", MARKED)
    copy_music(dataclasses.replace(corpus, tracks=corpus.tracks.assign(label=labels)), folder / "music")
    (folder / "tones.toml").write_text(PROFILE, encoding="utf-8")
    LAB["copy_notebook"]("09_listen", folder, "tones.toml")
    environment = {name: str(folder / name) for name in ("SOUNDFUSION_DATA", "SOUNDFUSION_RESULTS")}
    with pytest.MonkeyPatch.context() as patch:  # trained here: the notebook would start processes for it
        for name, value in environment.items():
            patch.setenv(name, value)
        study = Study("09_listen", folder / "tones.toml", "cpu", progress=False)
        for experiment in protocol.performance(study).values():
            study.train(experiment)
    with LAB["opened"](folder, "09_listen", environment) as page:
        yield page


@pytest.fixture
def explorer(page):
    return page.locator(".soundfusion-player")


def changes(page, selector, attribute, act):
    """Do something, wait until an element of the explorer has another value of this attribute, and return both."""
    before = page.locator(selector).get_attribute(attribute)
    act()
    script = "([selector, name, old]) => document.querySelector(selector)?.getAttribute(name) != old"
    page.wait_for_function(script, arg=[selector, attribute, before], timeout=30_000)
    return before, page.locator(selector).get_attribute(attribute)


def test_a_label_chosen_brings_another_picture_and_another_sound(page, explorer):
    explorer.get_by_role("tab", name="by sound").click()
    for label in ("noise", MARKED):
        act = explorer.get_by_role("button", name=label, exact=True).click
        _, after = changes(page, ".soundfusion-player audio", "src", act)
        assert after.startswith("data:audio/mpeg;base64,") and len(after) > 10_000
        page.wait_for_function(
            "label => document.querySelector('.soundfusion-player img').alt.includes(label)", arg=label
        )
    assert explorer.locator("img").evaluate("picture => picture.naturalWidth") > 900
    assert explorer.locator("i:has-text('low')").count() == 0


def test_the_picture_stands_beside_the_choices_in_a_small_window(page, explorer):
    choices, picture = explorer.get_by_role("tablist").bounding_box(), explorer.locator("img").bounding_box()
    assert picture["x"] > choices["x"] + choices["width"] and picture["y"] < choices["y"] + choices["height"]


def test_the_next_clip_and_where_the_network_looked_are_other_pictures(page, explorer):
    explorer.get_by_role("tab", name="by sound").click()
    clips = explorer.get_by_role("listbox")
    changes(page, ".soundfusion-player img", "src", lambda: clips.press("ArrowDown"))
    explorer.get_by_role("combobox").select_option("ResNet2D-small")
    changes(page, ".soundfusion-player img", "src", explorer.get_by_role("button", name="what did it look at?").click)


def test_a_click_on_a_cell_of_the_matrix_lists_its_clips(page, explorer):
    explorer.get_by_role("tab", name="by confusion").click()
    cell = explorer.locator("button[title*='predicted as']:not([disabled])").first
    true, count = cell.get_attribute("title").split(", predicted as ")[0], int(cell.inner_text())
    cell.click()
    script = """([label, count]) => {
        const options = [...document.querySelectorAll('.soundfusion-player select[size] option')]
        const clips = options.map(option => option.textContent.replaceAll("\\u00a0", " "))
        return clips.length == count && clips.every(clip => clip.includes(`: ${label}, artist`))
    }"""
    page.wait_for_function(script, arg=[true, count])


def test_a_click_on_the_picture_plays_from_there_and_a_line_runs_with_the_sound(page, explorer):
    sound, line = explorer.locator("audio"), explorer.locator(".soundfusion-line")
    assert sound.evaluate("sound => [sound.currentTime, sound.error]") == [0, None]
    assert sound.evaluate("sound => sound.duration") == pytest.approx(4.3, abs=0.4)
    area = line.evaluate("line => line.parentElement.clientWidth")
    line.locator("..").click(position={"x": 0.6 * area, "y": 100})
    page.wait_for_function("() => document.querySelector('.soundfusion-player audio').currentTime > 1.5")
    sound.evaluate("sound => sound.pause()")
    runs = "least => document.querySelector('.soundfusion-player .soundfusion-line').offsetLeft > least"
    page.wait_for_function(runs, arg=0.5 * area)
    act = explorer.get_by_role("button", name="what did it look at?").click
    changes(page, ".soundfusion-player img", "src", act)
    page.wait_for_function(runs, arg=0.5 * area)  # in another picture, too


def test_nothing_went_wrong_on_the_way(page):
    page.locator(".jp-OutputArea-output", has_text="trained now").wait_for(timeout=60_000)  # the last cell's table
    assert page.locator("[data-mime-type='application/vnd.jupyter.error']").count() == 0
    assert page.errors == []
