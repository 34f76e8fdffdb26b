"""A trained network on files that no corpus lists, and the one that comes with the project."""

import json
import os
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from click.testing import CliRunner
from conftest import RATE, SMALL_MEL, tone
from odd_audio import mp3
from safetensors.torch import save_file
from torch.nn.modules.module import register_module_forward_hook

from soundfusion_lib import SoundFusionError, load_recognizer, load_run
from soundfusion_lib.audio.segments import Segmenting
from soundfusion_lib.cli import main
from soundfusion_lib.datasets.splits import Split
from soundfusion_lib.models import AudioClassifier, count_parameters
from soundfusion_lib.models.musicnn import TAGS, MusiCNN
from soundfusion_lib.paths import PROJECT
from soundfusion_lib.predict.export import render
from soundfusion_lib.predict.recognizer import BATCH, BUILT_IN, CLASSIFIER, Prediction, timeline
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.inference import per_track
from soundfusion_lib.training.loop import Training
from soundfusion_lib.training.train import train_or_find

LABELS = ["high", "low", "noise"]
COLUMNS = ["p_high", "p_low", "p_noise"]
RECIPE = {"split": Split("artist", 4), "training": Training(epochs=2, batch_size=16, learning_rate=3e-3)}
EXPERIMENT = Experiment("small", "simple_cnn", (SMALL_MEL,), segmenting=Segmenting(1.0, 0.0), **RECIPE)


def run_of(experiment, store, folder) -> Path:
    """The folder of an experiment's run."""
    return folder / train_or_find(experiment, store, folder, torch.device("cpu"), progress=False).key


@pytest.fixture(scope="module")
def trained(store, tmp_path_factory) -> Path:
    return run_of(EXPERIMENT, store, tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def of_whole_clips(store, tmp_path_factory) -> Path:
    experiment = replace(EXPERIMENT, name="whole", segmenting=Segmenting(2.0, None), training=Training(20, 20, 8, 3e-3))
    return run_of(experiment, store, tmp_path_factory.mktemp("runs"))


def predict(run: Path, *files: Path) -> list[Prediction]:
    return list(load_recognizer(run, device="cpu").predict(*files))


def write(file: Path, *sounds: tuple[str, float]) -> Path:
    """A file of these sounds, each a label and seconds, one after the other."""
    random = np.random.default_rng(0)
    soundfile.write(file, np.concatenate([tone(label, seconds, RATE, random) for label, seconds in sounds]), RATE)
    return file


def test_files_are_predicted_as_the_run_predicted_them(trained, corpus, tmp_path):
    (tmp_path / "broken.mp3").write_bytes(b"nothing")
    test = load_run(trained).predictions("test")
    track = test["track"].iloc[0]
    first, broken, missing = predict(trained, corpus.file(track), tmp_path / "broken.mp3", tmp_path / "none.wav")
    expected = test[test["track"] == track]
    assert first.label == LABELS[per_track(expected)["vote"].item()] and len(first.segments) == len(expected)
    for label in LABELS:  # training may predict in bfloat16
        assert first.mean[label] == pytest.approx(expected["p_" + label].mean(), abs=2e-3)
    assert first.mean.is_monotonic_decreasing and first.error is None
    assert broken.error.startswith("cannot be decoded") and missing.error == "file not found"
    assert broken.label is None and len(broken.segments) == 0


def test_a_long_file_is_predicted_some_segments_at_a_time(trained, tmp_path):
    batches: list[np.ndarray] = []  # the probabilities that the whole network gives, (segments, classes)

    def keep(module, inputs, logits):
        if isinstance(module, AudioClassifier):
            batches.append(logits.softmax(1).numpy())

    file = write(tmp_path / "long.wav", ("low", 40), ("noise", 3 * BATCH + 5.5 - 40))  # sounds that change: order shows
    handle = register_module_forward_hook(keep)
    [prediction] = predict(trained, file)
    handle.remove()
    assert [len(batch) for batch in batches] == [BATCH, BATCH, BATCH, 5]
    table, probabilities = prediction.segments, np.concatenate(batches)
    assert list(table) == ["start", "end", *COLUMNS] and table["end"].tolist() == [*range(1, 3 * BATCH + 6)]
    assert table["start"].tolist() == [*range(3 * BATCH + 5)]
    np.testing.assert_array_equal(table[COLUMNS].to_numpy(), probabilities)
    votes = [LABELS[k] for k in probabilities.argmax(1)]
    assert prediction.label == max(set(votes), key=votes.count)
    np.testing.assert_allclose(prediction.mean[LABELS], probabilities.mean(0), atol=1e-6)


@pytest.mark.parametrize("seconds, windows", [((0.8, 0), 1), ((2, 1.9), 1), ((2, 2), 2), ((2, 4), 3), ((2, 5.9), 3)])
def test_a_model_of_whole_clips_hears_a_longer_file_window_by_window(of_whole_clips, tmp_path, seconds, windows):
    file = write(tmp_path / "two sounds.wav", ("low", seconds[0]), ("noise", seconds[1]))
    [prediction] = predict(of_whole_clips, file)
    table = prediction.segments
    heard = [LABELS[k] for k in table[COLUMNS].to_numpy().argmax(1)]
    assert len(table) == windows and prediction.error is None and table["end"].max() <= sum(seconds)
    assert windows == 1 or (heard[0] == "low" and heard[2:] == ["noise"] * (windows - 2))
    assert windows < 3 or prediction.label == "noise"
    if sum(seconds) < 2:
        assert table[["start", "end"]].to_numpy().tolist() == [[0, 0.8]]  # a window ends with the file


@pytest.fixture
def folder(tmp_path):
    """Four files of three seconds, one broken, one that is no audio, one hidden."""
    folder = tmp_path / "music"
    (folder / "b").mkdir(parents=True)
    for name, label in (("b/low.wav", "low"), ("a.flac", "high"), ("c.ogg", "noise"), (".hidden.wav", "low")):
        write(folder / name, (label, 3))
    (folder / "b" / "broken.mp3").write_bytes(b"nothing")
    (folder / "cover.jpg").write_bytes(b"picture")
    return folder


def test_a_folder_is_its_audio_files_by_name(trained, folder, tmp_path):
    names = ["a.flac", "b/broken.mp3", "b/low.wav", "c.ogg", "a.flac"]
    predictions = predict(trained, folder, folder / "a.flac")
    assert [prediction.file for prediction in predictions] == [folder / name for name in names]
    assert [bool(prediction.error) for prediction in predictions] == [False, True, False, False, False]
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "notes.txt").write_text("none")
    with pytest.raises(SoundFusionError, match=f"{tmp_path / 'none'}: no audio files in it"):
        predict(trained, tmp_path / "none")


def call(*words):
    return CliRunner().invoke(main, ["predict", "--device", "cpu", *map(str, words)])


def test_what_is_cut_short_silent_or_not_tried_is_said(trained, folder):
    whole = mp3(8)
    (folder / "half.mp3").write_bytes(whole[: len(whole) // 2])
    sound = tone("low", 3, RATE, np.random.default_rng(0))[:, :1]
    soundfile.write(folder / "rear.wav", np.hstack([np.zeros((len(sound), 3)), sound]), RATE)
    done = call(folder, "--model", trained)
    assert f"{folder}: not tried: 1 .jpg" in done.stderr
    [half] = [line for line in done.stdout.splitlines() if "half.mp3" in line]
    assert half.endswith("; 3 segments of a file cut short: it states 8.0 s)")
    assert "rear.wav: error: silent as mel spectrogram: its first two channels are silent" in done.stdout
    assert done.stdout.count("cut short") == 1


def test_the_command_writes_what_it_predicts_and_ends_with_1_for_a_broken_file(trained, folder, tmp_path):
    done = call(folder, "--model", trained, "--csv", tmp_path / "x.csv", "--top", 2)
    assert done.exit_code == 1 and "error: cannot be decoded" in done.stdout and len(done.stdout.splitlines()) == 4
    assert "small, trained on tones: high, low, noise" in done.stderr
    table = pd.read_csv(tmp_path / "x.csv")
    assert list(table) == ["file", "start", "end", "label", "probability"]
    assert table.iloc[:3]["label"].tolist() == LABELS and table["start"].iloc[2:4].tolist() == [0, 1]
    expected = predict(trained, folder)
    assert len(table) == 3 * sum(len(prediction.segments) for prediction in expected)
    mean = table.groupby(["file", "label"])["probability"].mean()
    for prediction, line in zip(expected, done.stdout.splitlines(), strict=True):
        assert line.startswith(f"{prediction.file}: {prediction.label or 'error'}")
        for label, value in prediction.mean.items():
            assert mean[str(prediction.file), label] == pytest.approx(value, abs=1e-6)
    first = expected[0]
    assert f"a.flac: {first.label} ({first.mean.index[0]} {first.mean.iloc[0]:.2f}, " in done.stdout.splitlines()[0]
    assert done.stdout.splitlines()[0].count(", ") == 1 and sorted(os.listdir(tmp_path)) == ["music", "x.csv"]


def test_no_output_overwrites_a_recording(trained, folder):
    """As where a shell makes `--csv a.flac b.flac` of `--csv *.flac`."""
    before = (folder / "a.flac").read_bytes()
    done = call(folder, "--model", trained, "--csv", folder / "a.flac")
    assert done.exit_code == 1 and "a.flac: give it a name that ends in .csv" in done.stderr
    assert (folder / "a.flac").read_bytes() == before


def test_the_timeline_shows_what_was_predicted_and_dollars_are_no_mathematics(trained, folder, tmp_path):
    recognizer, file = load_recognizer(trained, device="cpu"), folder / r"a$\bad$.flac"
    (folder / "a.flac").rename(file)
    [prediction] = recognizer.predict(file)
    axis = timeline(prediction, recognizer).axes[0]
    values = prediction.segments["p_" + prediction.mean.index].T.to_numpy()
    np.testing.assert_allclose(np.ravel(axis.collections[0].get_array()), values.ravel())
    names = [f"{label} ({value:.2f})" for label, value in prediction.mean.items()]
    assert [text.get_text() for text in axis.get_yticklabels()] == names
    assert axis.get_xlim() == (0, prediction.segments["end"].max())
    picture = tmp_path / "x.png"
    several = call(folder, "--model", trained, "--plot", picture)
    assert several.exit_code == 1 and "--plot draws a single file" in several.stderr and not picture.exists()
    assert call(file, "--model", trained, "--plot", picture).exit_code == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    dollars = replace(recognizer, labels=["Ba$$ & Drum <b>", "$x$", r"\frac$"])
    timeline(next(dollars.predict(file)), dollars).savefig(picture)


def test_a_picture_that_fails_leaves_the_table(trained, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("soundfusion_lib.predict.recognizer.timeline", Mock(side_effect=RuntimeError("no font")))
    outputs = "--csv", tmp_path / "y.csv", "--plot", tmp_path / "y.png"
    done = call(folder / "a.flac", "--model", trained, *outputs)
    assert isinstance(done.exception, RuntimeError) and len(pd.read_csv(tmp_path / "y.csv")) == 9


@pytest.mark.skipif(sys.platform != "linux", reason="names are text elsewhere")
def test_a_file_s_name_need_be_no_text(trained, folder, tmp_path):
    file = Path(os.fsdecode(os.fsencode(folder) + b"/\xff.flac"))
    (folder / "a.flac").rename(file)
    done = call(file, "--model", trained, "--csv", tmp_path / "x.csv")
    assert done.exit_code == 0 and "/?.flac" in done.stdout
    assert os.fsencode(file) in (tmp_path / "x.csv").read_bytes()


def test_a_model_that_is_not_there_is_an_error(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDFUSION_DATA", str(tmp_path / "data"))
    for words, why in (
        (("--model", "fma_small/resnet2d"), "resnet2d is an architecture: name one of its networks, ResNet2D-small, "),
        (("--model", "fma_small/Nothing"), "there is no experiment 'Nothing' on fma_small. There are: "),
        (("--model", "nowhere/ResNet2D-small"), "there is no profile 'nowhere'"),
        (("--model", "beef"), "no run has a key that begins with 'beef'"),
        (("--model", "fma_small/ResNet2D-small"), "soundfusion download fma"),
    ):
        done = call(folder / "a.flac", *words)
        assert done.exit_code == 1 and why in done.stderr
    assert not (tmp_path / "data").exists()


def config_of(folder: Path) -> dict:
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))


def test_the_built_in_network_is_small_belongs_to_the_package_and_predicts_where_nothing_is_trained(tmp_path):
    assert {file.name for file in BUILT_IN.iterdir()} == {"README.md", "config.json", "model.safetensors"}
    assert sum(file.stat().st_size for file in BUILT_IN.iterdir()) < 3e6
    data = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    assert {"built_in_model/*", "built_in_classifier/*", "texts/*"} <= set(data["soundfusion_lib.predict"])
    recognizer, config = load_recognizer(BUILT_IN, "cpu"), config_of(BUILT_IN)
    assert recognizer.experiment.name == "SoundFusion-2" and not config["synthetic"]
    assert recognizer.labels == ["classical", "electronic", "pop", "rock"]
    assert count_parameters(recognizer.model) == config["parameters"] == 491_768
    write(tmp_path / "x.wav", ("low", 12))
    environment = os.environ | {name: str(tmp_path / "none") for name in ("SOUNDFUSION_DATA", "SOUNDFUSION_RESULTS")}
    code = "from soundfusion_lib.cli import main; main()"
    command = [sys.executable, "-c", code, "predict", "x.wav", "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=True)
    assert done.stdout.startswith("x.wav: ") and "trained on emotify" in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["x.wav"]


@pytest.mark.parametrize(
    "built_in, file, model", [(BUILT_IN, "05_performance", "SoundFusion-2 ("), (CLASSIFIER, "03_probes", "musicnn")]
)
def test_what_is_built_in_is_what_its_card_says_and_as_accurate_as_the_committed_table(built_in, file, model):
    config, table = config_of(built_in), pd.read_csv(PROJECT / "results" / "emotify" / "tables" / f"{file}.csv")
    assert (built_in / "README.md").read_text(encoding="utf-8") == render("card.md", config)
    row, tested = table[table["model"].str.startswith(model)].iloc[-1], config["evaluation"]  # behind random weights
    for column in ("accuracy", "low", "high"):
        assert tested[column] == pytest.approx(row[f"track_{column}"], abs=1e-5)
    assert tested["tracks"] == row["tracks"] and tested["folds"] == [4, 4]
    assert tested.get("repeats", "3 seeds") == row["repeats"]


def test_the_built_in_classifier_takes_the_place_of_the_network_where_musicnn_s_weights_are(tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDFUSION_DATA", str(tmp_path))
    torch.manual_seed(0)
    state = MusiCNN(4).state_dict()  # random weights, as nothing is downloaded here
    state = {name: value for name, value in state.items() if not name.startswith(("head.", "log_mel."))}
    save_file(state, tmp_path / "musicnn.safetensors")
    write(tmp_path / "x.wav", ("low", 12))
    assert sum(file.stat().st_size for file in CLASSIFIER.iterdir()) < 3e4  # musicnn's weights are not in the package
    [prediction] = load_recognizer(device="cpu").predict(tmp_path / "x.wav")
    assert prediction.label in config_of(CLASSIFIER)["labels"] == load_recognizer(device="cpu").labels
    assert len(set(prediction.tags)) == 3 and set(prediction.tags) <= set(TAGS)
    assert f"musicnn's tags: {', '.join(prediction.tags)}" in prediction.in_words(3)
