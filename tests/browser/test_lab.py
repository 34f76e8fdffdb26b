"""Notebook 9 in JupyterLab, in a real browser that chooses, hears and sees: `make test-browser`."""

import runpy
import shutil

import pytest

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
    shutil.copytree(corpus.root, folder / "music")
    tracks = corpus.tracks.rename(columns={"path": "file_name", "group": "artist"})
    tracks = tracks.assign(genre=tracks["label"].replace("low", MARKED))
    tracks[["file_name", "genre", "artist"]].to_csv(folder / "music" / "metadata.csv", index=False)
    (folder / "tones.toml").write_text(PROFILE, encoding="utf-8")
    LAB["copy_notebook"]("09_listen", folder, "tones.toml")
    environment = {name: str(folder / name) for name in ("SOUNDFUSION_DATA", "SOUNDFUSION_RESULTS")}
    with pytest.MonkeyPatch.context() as patch:  # trained here: the notebook would start processes for it
        for name, value in environment.items():
            patch.setenv(name, value)
        study = Study("09_listen", folder / "tones.toml", "cpu", progress=False)
        for experiment in protocol.performance(study).values():
            study.train(experiment)
    with LAB["opened"](folder, "09_listen", environment, height=1000) as page:
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


def test_the_next_clip_and_what_the_network_looked_at_are_other_pictures(page, explorer):
    explorer.get_by_role("tab", name="by sound").click()
    changes(page, ".soundfusion-player img", "src", lambda: explorer.locator("button[title=next]").click())
    explorer.get_by_role("button", name="ResNet2D-small").click()
    changes(page, ".soundfusion-player img", "src", explorer.get_by_role("button", name="what did it look at?").click)


def test_a_click_on_a_cell_of_the_matrix_lists_its_clips(page, explorer):
    explorer.get_by_role("tab", name="by confusion").click()
    cell = explorer.locator("button[title*='heard as']:not([disabled])").first
    true, count = cell.get_attribute("title").split(", heard as ")[0], int(cell.inner_text())
    cell.click()
    script = """([label, count]) => {
        const options = [...document.querySelectorAll('.soundfusion-player select option')]
        const clips = options.map(one => one.textContent.replaceAll("\\u00a0", " "))
        return clips.length == count && clips.every(clip => clip.includes(`: ${label}, artist`))
    }"""
    page.wait_for_function(script, arg=[true, count])


def test_a_click_on_the_picture_plays_from_there_and_a_line_runs_with_the_sound(page, explorer):
    sound, line = explorer.locator("audio"), explorer.locator("[data-seconds]")
    assert sound.evaluate("sound => [sound.currentTime, sound.error, Math.abs(sound.duration - 4.3) < 0.4]") == [
        0,
        None,
        True,
    ]
    box = explorer.locator("img").bounding_box()
    start = float(line.evaluate("line => line.offsetLeft"))
    explorer.locator("img").click(position={"x": box["width"] * 0.6, "y": 100})
    page.wait_for_function("() => document.querySelector('.soundfusion-player audio').currentTime > 1.5")
    runs = "start => document.querySelector('.soundfusion-player [data-seconds]').offsetLeft > start + 100"
    page.wait_for_function(runs, arg=start)
    sound.evaluate("sound => sound.pause()")
    act = explorer.get_by_role("button", name="what did it look at?").click
    changes(page, ".soundfusion-player img", "src", act)
    page.wait_for_function(runs, arg=start)  # in another picture, too


def test_nothing_went_wrong_on_the_way(page):
    page.locator(".jp-OutputArea-output", has_text="trained now").wait_for(timeout=60_000)  # the last cell's table
    assert page.locator("[data-mime-type='application/vnd.jupyter.error']").count() == 0
    assert page.errors == []
