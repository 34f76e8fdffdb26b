"""Notebook 9 in JupyterLab, in a real browser: `make test-browser`."""

import dataclasses
import runpy

import pytest
from conftest import SMALL_SIGNALS, copy_music

from soundfusion_lib import Study
from soundfusion_lib.paths import PROJECT
from soundfusion_lib.study import protocol

pytestmark = pytest.mark.browser
LAB = runpy.run_path(str(PROJECT / "tooling" / "lab.py"))
MARKED = "<i>low</i> & $low$"  # a label that is text, whatever it looks like
PROFILE = f"""\
{SMALL_SIGNALS}
clip_seconds = 4.0
test_folds = [0]
leave_out = ["vgg16"]

[corpus]
kind = "folder"
path = "music"
label = "sound"

[training]
epochs = 1
batch_size = 32

[models]
simple_cnn.batch_size = 32
nnet1.width = 8
nnet2.width = 8

[widths]
resnet1d = {{ small = 4, medium = 4 }}
resnet2d = {{ small = 4, medium = 4 }}"""


@pytest.fixture(scope="module")
def page(corpus, tmp_path_factory):
    """The notebook on a corpus of tones, all its cells run."""
    folder = tmp_path_factory.mktemp("lab")
    labels = corpus.tracks["label"].replace("low", MARKED)
    copy_music(dataclasses.replace(corpus, tracks=corpus.tracks.assign(label=labels)), folder / "music")
    (folder / "tones.toml").write_text(PROFILE, encoding="utf-8")
    environment = {name: str(folder / name) for name in ("SOUNDFUSION_DATA", "SOUNDFUSION_RESULTS")}
    with pytest.MonkeyPatch.context() as patch:  # trained here: the notebook would start processes for it
        for name, value in environment.items():
            patch.setenv(name, value)
        study = Study("09_listen", folder / "tones.toml", "cpu", progress=False)
        for experiment in protocol.performance(study).values():
            study.train(experiment)
    with LAB["opened"](folder, "tones.toml", **environment) as page:
        yield page


@pytest.fixture
def explorer(page):
    return page.locator(".soundfusion-explorer")


def changes(page, element, act):
    """Do something, and wait until an element of the explorer has another source."""
    before = page.locator(f".soundfusion-explorer {element}").get_attribute("src")
    act()
    script = "([element, old]) => (document.querySelector(`.soundfusion-explorer ${element}`)?.src ?? old) != old"
    page.wait_for_function(script, arg=[element, before], timeout=30_000)


def test_a_cell_of_the_matrix_lists_its_clips_with_sound_and_picture(page, explorer):
    for cell in explorer.locator("button[title*='predicted as']:not([disabled])").all()[:2]:
        true, count = cell.get_attribute("title").split(", predicted as ")[0], int(cell.inner_text())
        cell.click()
        script = """([label, count]) => {
            const options = [...document.querySelectorAll('.soundfusion-explorer select[size] option')]
            const clips = options.map(option => option.textContent.replaceAll("\\u00a0", " "))
            const text = document.querySelector('.soundfusion-explorer img')?.alt ?? ""
            return clips.length == count && [text, ...clips].every(clip => clip.includes(`: ${label}, `))
        }"""
        page.wait_for_function(script, arg=[true, count])
    assert explorer.locator("img").evaluate("picture => picture.naturalWidth") > 900
    assert explorer.locator("i:has-text('low')").count() == 0
    sound = explorer.locator("audio")
    page.wait_for_function("() => document.querySelector('.soundfusion-explorer audio').duration > 3.9")
    assert sound.evaluate("sound => [sound.currentTime, sound.error]") == [0, None]


def test_the_picture_stands_beside_the_choices_in_a_small_window(explorer):
    choices, picture = explorer.get_by_role("combobox").bounding_box(), explorer.locator("img").bounding_box()
    assert picture["x"] > choices["x"] + choices["width"] and picture["y"] < choices["y"] + choices["height"]


def test_another_clip_and_where_the_network_looked_are_other_pictures(page, explorer):
    explorer.get_by_role("combobox").select_option("ResNet2D-small")
    page.wait_for_timeout(5_000)  # until its matrix is there: it may be as before
    cells = explorer.locator("button[title*='predicted as']:not([disabled])").all()
    max(cells, key=lambda cell: int(cell.inner_text())).click()
    changes(page, "audio", lambda: explorer.get_by_role("listbox").press("End"))
    looked = explorer.get_by_role("button", name="what did it look at?")
    changes(page, "img", looked.click)
    changes(page, "img", looked.click)


def test_nothing_went_wrong_on_the_way(page):
    page.get_by_text("| Idle").wait_for(timeout=60_000)  # all cells are run
    assert page.locator("[data-mime-type='application/vnd.jupyter.error']").count() == 0
    assert page.errors == []
