import dataclasses

import nbformat
import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from conftest import SMALL_MEL, SMALL_SIGNALS, run_of, user
from IPython.display import Image, Markdown

from soundfusion_lib import Study, build_model, explore
from soundfusion_lib.audio.segments import Segmenting
from soundfusion_lib.datasets.splits import Split
from soundfusion_lib.explorer.explore import BYTES, Explorer, sound
from soundfusion_lib.explorer.judgements import Judgements, along_clip, grad_cam, looked_at
from soundfusion_lib.notebooks import notebook_files
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.result import of_runs

SCRIPT = "<script>alert(1)</script> & $high$"  # a label is text, whatever it looks like
PROFILE = f"""
clip_seconds = 4.0
test_folds = [0]
corpus = {{ kind = "folder", path = "music", label = "sound" }}
training = {{ epochs = 1, batch_size = 16 }}
models = {{ simple_cnn = {{ batch_size = 16 }} }}
{SMALL_SIGNALS}"""


def result(name, runs):
    """Runs with these predictions: by seed and fold, rows of part, track, segment, target, probability of "a"."""
    made = []
    for (seed, fold), rows in runs.items():
        table = pd.DataFrame(rows, columns=["part", "track", "segment", "target", "p_a"])
        table = table.assign(p_b=1 - table["p_a"])
        experiment = Experiment(name, "simple_cnn", (SMALL_MEL,), split=Split(fold=fold), seed=seed)
        made.append(run_of(experiment, predictions=table))
    return of_runs(made, pd.Series({track: track for track in "tuvw"}))


def test_judgements_are_of_each_clip_s_runs_by_cell_and_in_the_mean_of_seeds():
    """Of "one" two seeds in two folds, of "two" one seed in one; neither was tested on v, and "two" not on w."""
    first = {
        (0, 0): [("test", "t", 0, 0, 0.9), ("test", "t", 1, 0, 0.8), ("validation", "u", 0, 1, 0.9)],
        (0, 1): [("test", "u", 0, 1, 0.6), ("test", "w", 0, 0, 0.7), ("validation", "t", 0, 0, 0.0)],
        (1, 0): [("test", "t", 0, 0, 0.1), ("test", "t", 1, 0, 0.2), ("validation", "u", 0, 1, 0.9)],
        (1, 1): [("test", "u", 0, 1, 0.8), ("test", "w", 0, 0, 0.9), ("validation", "t", 0, 0, 0.0)],
    }
    second = {(0, 0): [("test", "t", 0, 0, 0.4), ("test", "u", 0, 1, 0.7), ("validation", "v", 0, 1, 0.1)]}
    judgements = Judgements({"one": result("one", first), "two": result("two", second)})
    cells = {(true, predicted): judgements.cell("one", true, predicted) for true in "ab" for predicted in "ab"}
    assert cells == {("a", "a"): ["t", "w"], ("a", "b"): ["t"], ("b", "a"): ["u"], ("b", "b"): []}  # t: 1 of 3 right
    assert judgements.cell("two", "a", "b") == ["t"]
    assert judgements.missed == ["u"]
    assert judgements.right.to_dict() == {"one": {"t": 0.5, "u": 0}, "two": {"t": 0, "u": 0}}
    assert judgements.tally("w") == "2 of 2 runs right" and judgements.tally("t") == "1 of 3 runs right"
    assert judgements.probabilities["one"].loc["t", "a"].tolist() == pytest.approx([0.5, 0.5])
    assert judgements.probabilities["one"].loc["u"].loc[0].tolist() == pytest.approx([0.7, 0.3])
    tested = {name: set(table.index.unique("track")) for name, table in judgements.probabilities.items()}
    assert tested == {"one": {"t", "u", "w"}, "two": {"t", "u"}}
    run = judgements.run("one", "u").experiment
    assert (run.seed, run.split.fold) == (0, 1)


def test_grad_cam_is_the_gradient_s_mean_times_the_feature_maps():
    torch.manual_seed(0)
    model, x = build_model("simple_cnn", 3).eval(), torch.randn(2, 2, 64, 100)
    maps = model.layers[:9](x).detach().requires_grad_()  # up to the third stage: (2, 32, 8, 13)
    logits = model.head(model.layers[9:](maps).mean(dim=(2, 3)))
    logits[:, 1].sum().backward()
    expected = (maps.grad.mean((2, 3))[:, :, None, None] * maps).sum(1).relu()  # (2, 8, 13)
    heat = grad_cam(model, (x,), 1)
    assert heat.shape == (2, 64, 100) and heat.max() > 0
    rows = torch.nn.functional.interpolate(expected[:, None], (64, 100), mode="bilinear")[:, 0]
    torch.testing.assert_close(heat, rows)
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("name", ["resnet2d", "nnet1", "nnet2", "vgg16", "fusion_concat", "fusion_decision"])
def test_grad_cam_of_every_network_that_gets_spectrograms_frozen_ones_too(name):
    torch.manual_seed(0)
    options = {"width": 4} if name == "vgg16" else {}
    model = build_model(name, 3, **options).eval().requires_grad_(False)
    inputs = {"waveform": torch.randn(1, 1, 20_000), "mel": torch.randn(1, 2, 64, 87)}
    heats = [grad_cam(model, tuple(inputs[kind] for kind in model.inputs), label) for label in range(3)]
    assert all(heat.shape == (1, 64, 87) and (heat >= 0).all() for heat in heats)
    assert sum(heat.max() for heat in heats) > 0


def test_along_a_clip_segments_are_averaged_where_they_overlap(store):
    torch.manual_seed(0)
    model = build_model("simple_cnn", 3, n_mels=32).eval()
    half = Experiment("x", "simple_cnn", (), segmenting=Segmenting(2.0, 0.5))  # of 4 s: from 0, 1 and 2 s
    heat = along_clip(model, half, store, "low00", 0)
    array = store.arrays["mel"]
    specgram, spec = torch.from_numpy(array.clip("low00").astype(np.float32)).permute(1, 2, 0), array.representation
    length, second = spec.frames(2.0), spec.position(1.0)
    cut = [specgram[None, :, :, start : start + length] for start in (0, second)]
    own = [grad_cam(model, (segment,), 0)[0].numpy() for segment in cut]
    assert heat.shape == (32, len(array.clip("low00")))
    np.testing.assert_allclose(heat[:, :second], own[0][:, :second], rtol=1e-4)
    np.testing.assert_allclose(heat[:, second + 5], (own[0][:, second + 5] + own[1][:, 5]) / 2, rtol=1e-4)


@pytest.fixture(scope="module")
def study(corpus, tmp_path_factory):
    tracks = corpus.tracks.assign(label=corpus.tracks["label"].replace("high", SCRIPT))
    with user(dataclasses.replace(corpus, tracks=tracks), tmp_path_factory.mktemp("explore"), PROFILE):
        yield Study("09_listen", "mine.toml", "cpu", progress=False)


@pytest.fixture(scope="module")
def runs(study):
    networks = study.experiment("cnn", "simple_cnn"), study.experiment("waves", "resnet1d", width=4)
    return {experiment.name: study.train(experiment) for experiment in networks}


def listed(shown):
    return [track for _, track in shown._clip.options]


def test_without_a_front_end_it_is_a_picture_that_is_saved(study, runs):
    assert isinstance(explore(study), Image)
    still, file = explore(study, runs), study.folder / "figures" / "09_explore.png"
    assert file.read_bytes() == still.data and "of 2 runs right" in still.alt


def test_without_runs_a_label_lists_its_clips_with_sound_and_picture(study):
    shown = Explorer(study, None)
    shown._choice.value = SCRIPT
    assert listed(shown) == list(study.tracks.index[study.tracks["label"] == SCRIPT])
    assert shown._clip.value == listed(shown)[0]
    before = shown._picture.value
    shown._clip.index = 1
    assert shown._picture.value != before and 'src="data:audio/mpeg;base64,' in shown._sound.value
    assert "<script>" not in shown._picture.value and "&lt;script&gt;" in shown._picture.value


def test_with_runs_each_cell_of_the_matrix_lists_its_clips(study, runs):
    shown, judgements = Explorer(study, Judgements(runs)), Judgements(runs)
    for network in runs:
        shown._choice.value = network
        for (true, predicted), button in shown._buttons.items():
            tracks = judgements.cell(network, true, predicted)
            assert button.disabled == (not tracks)
            if tracks:
                button.click()
                assert listed(shown) == tracks and len(tracks) == int(button.description)
                assert shown._clip.value == tracks[0] and button.layout.border_top
    texts = "".join(cell.value for cell in shown._matrix.children if hasattr(cell, "value"))
    assert "<script>" not in texts and "&lt;script&gt;" in texts


def test_where_a_network_looked_takes_spectrograms_and_weights(study, runs):
    without = dataclasses.replace(runs["cnn"], runs=(dataclasses.replace(runs["cnn"].runs[0], weights_file=None),))
    shown = Explorer(study, Judgements(runs))
    shown._choice.value, before = "cnn", shown._picture.value
    shown._looked.value = True
    assert shown._picture.value != before and not shown._note.value
    assert isinstance(looked_at(study, runs["cnn"]), Image)
    for name, result, reason in (("waves", runs["waves"], "it gets no spectrogram"), ("cnn", without, "are not kept")):
        sentence = looked_at(study, result)
        assert isinstance(sentence, Markdown)
        assert sentence.data.startswith(f"*No picture of where {name} looked: ") and reason in sentence.data
        shown = Explorer(study, Judgements({name: result}))
        shown._looked.value = True
        assert f"Where {name} looked cannot be shown" in shown._note.value and "<img" in shown._picture.value
        shown._looked.value = False
        assert not shown._note.value


def test_what_is_heard_is_what_is_used_of_the_file(corpus, tmp_path, monkeypatch):
    whole, cut = sound(corpus, "low00"), sound(dataclasses.replace(corpus, seconds=1.0), "low00")
    assert 3.5 < len(whole) / len(cut) < 4.5  # of 4 s
    samples, rate = soundfile.read(corpus.file("low00"))
    long = dataclasses.replace(corpus, root=tmp_path)
    soundfile.write(long.file("low00"), np.tile(samples, (12, 1)), rate)  # 48 s, at 83 kbit/s
    assert 0.8 * BYTES < len(sound(long, "low00")) < 1.1 * BYTES
    monkeypatch.setattr("soundfusion_lib.explorer.explore.LONGEST", 4)
    assert len(sound(long, "low00")) == pytest.approx(len(whole), rel=0.05)


def test_notebooks_in_git_hold_no_widgets_and_the_explorer_is_a_picture_with_a_text():
    texts = [file.read_text(encoding="utf-8") for file in notebook_files()]
    assert not any("widget-view" in text or "widget-state" in text for text in texts)
    cells = [cell for text in texts for cell in nbformat.reads(text, as_version=4).cells]
    shown = [cell.outputs for cell in cells if cell.cell_type == "code" and cell.source.startswith("explore(")]
    assert len(shown) == 3
    for [output] in shown:
        assert set(output.data) == {"image/png", "text/plain"} and output.metadata["image/png"]["alt"]
