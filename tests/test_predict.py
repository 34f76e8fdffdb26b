"""A trained model on files that no corpus lists."""

import json
import os
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from click.testing import CliRunner
from conftest import RATE, SMALL_MEL, tone
from torch.nn.modules.module import register_module_forward_hook

from soundfusion_lib import load_recognizer
from soundfusion_lib.audio.segments import Segmenting
from soundfusion_lib.cli import main
from soundfusion_lib.datasets.splits import Split
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models import AudioClassifier
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.inference import per_track
from soundfusion_lib.training.loop import Training
from soundfusion_lib.training.run import Run
from soundfusion_lib.training.train import train_or_find
from soundfusion_lib.use.predict import predict
from soundfusion_lib.use.recognizer import BATCH
from soundfusion_lib.use.timeline import timeline

EXPERIMENT = Experiment(
    name="small",
    model="simple_cnn",
    representations=(SMALL_MEL,),
    segmenting=Segmenting(1.0, 0.0),
    split=Split("artist", 4),
    training=Training(epochs=2, batch_size=16, learning_rate=3e-3),
)


@pytest.fixture(scope="module")
def trained(store, tmp_path_factory) -> Run:
    return train_or_find(EXPERIMENT, store, tmp_path_factory.mktemp("runs"), torch.device("cpu"), progress=False)


@pytest.fixture(scope="module")
def of_whole_clips(store, tmp_path_factory) -> Run:
    experiment = replace(EXPERIMENT, name="whole", segmenting=Segmenting(2.0, None), training=Training(20, 20, 8, 3e-3))
    return train_or_find(experiment, store, tmp_path_factory.mktemp("runs"), torch.device("cpu"), progress=False)


@contextmanager
def outputs():
    """The probabilities that any whole network gives meanwhile, a batch after the other, each (segments, classes)."""
    seen: list[np.ndarray] = []

    def keep(module, inputs, logits):
        if isinstance(module, AudioClassifier):
            seen.append(logits.detach().softmax(1).numpy())

    handle = register_module_forward_hook(keep)
    try:
        yield seen
    finally:
        handle.remove()


def test_files_are_predicted_as_the_run_predicted_them(trained, corpus, tmp_path):
    (tmp_path / "broken.mp3").write_bytes(b"nothing")
    test = trained.predictions("test")
    track = test["track"].iloc[0]
    table = predict(
        corpus.file(track), tmp_path / "broken.mp3", tmp_path / "none.wav", model=trained.folder, device="cpu"
    )
    own = test[test["track"] == track]
    assert table["prediction"][0] == trained.info["genres"][per_track(own)["vote"].item()]
    assert table["segments"].tolist() == [len(own), 0, 0]
    mean = own["p_" + table["prediction"][0]].mean()
    assert table["probability"][0] == pytest.approx(mean, abs=2e-3)  # training may predict in bfloat16
    assert table["error"][1].startswith("cannot be decoded") and table["error"][2] == "file not found"


def test_a_long_file_is_predicted_some_segments_at_a_time(trained, tmp_path):
    random = np.random.default_rng(0)
    seconds = 3 * BATCH + 5.5  # of sounds that change, so that segments out of order would be noticed
    samples = np.concatenate([tone("low", 40, RATE, random), tone("noise", seconds - 40, RATE, random)])
    soundfile.write(tmp_path / "long.wav", samples, RATE)
    with outputs() as batches:
        table = predict(tmp_path / "long.wav", model=trained.folder, device="cpu")
    assert [len(batch) for batch in batches] == [BATCH, BATCH, BATCH, 5]
    probabilities = np.concatenate(batches)
    chosen = [trained.info["genres"][k] for k in probabilities.argmax(1)]
    assert table["segments"][0] == len(chosen) == 3 * BATCH + 5
    assert table["prediction"][0] == max(set(chosen), key=chosen.count)
    winner = trained.info["genres"].index(table["prediction"][0])
    assert table["probability"][0] == pytest.approx(probabilities[:, winner].mean(), abs=1e-6)


def test_a_file_s_tie_of_votes_goes_where_a_table_s_does(trained, tmp_path):
    """Files of one second of either sound: where the two votes differ, the surer one wins."""
    genres, ties = trained.info["genres"], []
    random = np.random.default_rng(0)
    for number in range(40):
        halves = [tone(label, 1.0, RATE, random) for label in random.choice(genres, 2, replace=False)]
        file = tmp_path / f"{number}.wav"
        soundfile.write(file, np.concatenate(halves), RATE)
        with outputs() as batches:
            table = predict(file, model=trained.folder, device="cpu")
        (probabilities,) = batches
        frame = pd.DataFrame(probabilities, columns=["p_" + genre for genre in genres])
        expected = per_track(frame.assign(track="t", segment=[0, 1], target=0))["vote"].item()
        assert table["prediction"][0] == genres[expected]
        first, second = sorted(probabilities.argmax(1))
        if first != second:
            ties.append(int(expected == second))
    assert 0 < sum(ties) < len(ties)  # neither the first of the alphabet nor the last


@pytest.mark.parametrize(
    "seconds, windows", [((0.8, 0), 1), ((2, 0.9), 1), ((2, 1), 2), ((2, 3.99), 3), ((2, 4), 3), ((2, 4.99), 3)]
)
def test_a_model_of_whole_clips_hears_a_longer_file_to_its_end(of_whole_clips, tmp_path, seconds, windows):
    random = np.random.default_rng(0)
    first, then = (tone(label, length, RATE, random) for label, length in zip(("low", "noise"), seconds, strict=True))
    soundfile.write(tmp_path / "two sounds.wav", np.concatenate([first, then]), RATE)
    with outputs() as batches:
        table = predict(tmp_path / "two sounds.wav", model=of_whole_clips.folder, device="cpu")
    heard = [of_whole_clips.info["genres"][k] for k in np.concatenate(batches).argmax(1)]
    assert table["segments"][0] == windows and table["error"][0] is None
    assert windows == 1 or (heard[0] == "low" and heard[2:] == ["noise"] * (windows - 2))
    assert windows < 3 or table["prediction"][0] == "noise"


def test_segments_have_their_times_and_the_network_s_probabilities(trained, tmp_path):
    soundfile.write(tmp_path / "x.wav", tone("low", 3.4, RATE, np.random.default_rng(0)), RATE)
    with outputs() as batches:
        table = load_recognizer(trained.folder, device="cpu").probabilities(tmp_path / "x.wav")
    assert list(table) == ["start", "end", "p_high", "p_low", "p_noise"]
    assert table["start"].tolist() == [0, 1, 2] and table["end"].tolist() == [1, 2, 3]
    np.testing.assert_array_equal(table.iloc[:, 2:].to_numpy(), np.concatenate(batches))


def test_a_window_longer_than_the_file_ends_with_it(of_whole_clips, tmp_path):
    soundfile.write(tmp_path / "x.wav", tone("low", 0.8, RATE, np.random.default_rng(0)), RATE)
    table = load_recognizer(of_whole_clips.folder, device="cpu").probabilities(tmp_path / "x.wav")
    assert table[["start", "end"]].to_numpy().tolist() == [[0, 0.8]]


@pytest.fixture
def folder(tmp_path):
    """Four files of three seconds, one broken, one that is no audio, one hidden."""
    random, folder = np.random.default_rng(1), tmp_path / "music"
    (folder / "b").mkdir(parents=True)
    for name, label in (("b/low.wav", "low"), ("a.flac", "high"), ("c.ogg", "noise"), (".hidden.wav", "low")):
        soundfile.write(folder / name, tone(label, 3, RATE, random), RATE)
    (folder / "b" / "broken.mp3").write_bytes(b"nothing")
    (folder / "cover.jpg").write_bytes(b"picture")
    return folder


def test_a_folder_is_its_audio_files_by_name(trained, folder):
    table = predict(folder, folder / "a.flac", model=trained.folder, device="cpu")
    names = ["a.flac", "b/broken.mp3", "b/low.wav", "c.ogg", "a.flac"]
    assert table["file"].tolist() == [str(folder / name) for name in names]
    assert table["error"].notna().tolist() == [False, True, False, False, False]
    known = table[table["error"].isna()]
    columns = ["p_high", "p_low", "p_noise"]
    assert known[columns].sum(axis=1).to_numpy() == pytest.approx(1) and table.loc[1, columns].isna().all()
    assert known["probability"].tolist() == [row["p_" + row["prediction"]] for row in known.to_dict("records")]


def test_a_folder_without_audio_is_an_error(trained, tmp_path):
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(SoundFusionError, match=f"{tmp_path}: no audio files in it"):
        predict(tmp_path, model=trained.folder)


def call(*words):
    return CliRunner().invoke(main, ["predict", "--device", "cpu", *map(str, words)])


def test_the_command_writes_what_it_hears_and_ends_with_1_for_a_broken_file(trained, folder, tmp_path):
    files = "--csv", tmp_path / "x.csv", "--json", tmp_path / "x.json"
    done = call(folder, "--model", trained.folder, *files, "--top", 2)
    assert done.exit_code == 1 and "cannot be decoded" in done.stdout and len(done.stdout.splitlines()) == 5
    expected = predict(folder, model=trained.folder, device="cpu")
    content = json.loads((tmp_path / "x.json").read_text())
    assert content["model"] == {
        "name": "small", "corpus": "tones", "synthetic": False, "labels": ["high", "low", "noise"],
    }  # fmt: skip
    assert [file["file"] for file in content["files"]] == expected["file"].tolist()
    for row, file in zip(expected.to_dict("records"), content["files"], strict=True):
        assert file["error"] == row["error"] and file["prediction"] == row["prediction"]
        assert len(file["segments"]) == row["segments"] and len(file["top"]) == (0 if row["error"] else 2)
    top = content["files"][0]["top"][0]
    line = next(line for line in done.stdout.splitlines() if "a.flac" in line)
    assert f"{top['label']} {top['probability']:.2f}, " in line
    table = pd.read_csv(tmp_path / "x.csv")
    assert list(table) == ["file", "start", "end", "label", "probability"]
    assert len(table) == 3 * expected["segments"].sum()
    mean = table.groupby(["file", "label"])["probability"].mean()
    for row in expected[expected["error"].isna()].to_dict("records"):
        assert mean[row["file"], "low"] == pytest.approx(row["p_low"], abs=1e-6)
    assert table.iloc[:3]["label"].tolist() == ["high", "low", "noise"] and table["start"].iloc[2:4].tolist() == [0, 1]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["music", "x.csv", "x.json"]


def test_the_command_ends_with_0_where_all_went_well(trained, folder):
    done = call(folder / "a.flac", "--model", trained.folder)
    assert done.exit_code == 0 and "error" not in done.stdout and "small, trained on tones: high, low" in done.stderr


def test_a_plot_is_of_one_file(trained, folder, tmp_path):
    picture = tmp_path / "x.png"
    done = call(folder, "--model", trained.folder, "--plot", picture)
    assert done.exit_code == 1 and "draws one file, and there are 4" in done.stderr and not picture.exists()
    done = call(folder / "b" / "broken.mp3", "--model", trained.folder, "--plot", picture)
    assert done.exit_code == 1 and not picture.exists()
    assert call(folder / "a.flac", "--model", trained.folder, "--plot", picture).exit_code == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    done = call(folder / "a.flac", "--model", trained.folder, "--plot", tmp_path / "x.mp4")
    assert done.exit_code == 1 and "cannot be written to" in done.stderr
    assert sorted(file.name for file in tmp_path.iterdir()) == ["music", "x.png"]


def test_the_timeline_shows_what_was_heard(trained, of_whole_clips, folder):
    for run in (trained, of_whole_clips):
        recognizer = load_recognizer(run.folder, device="cpu")
        [heard] = recognizer.hear([folder / "b" / "low.wav"])
        figure = timeline(heard, recognizer)
        above, below = figure.axes[:2]
        drawn = above.collections[0]
        labels = list(heard.mean.index)
        assert [text.get_text() for text in above.get_yticklabels()] == [f"{x} ({heard.mean[x]:.2f})" for x in labels]
        np.testing.assert_allclose(
            np.ravel(drawn.get_array()), heard.segments["p_" + pd.Index(labels)].T.to_numpy().ravel()
        )
        assert below.get_xlim() == (0, heard.segments["end"].max()) and below.get_xlabel() == "time in min:s"
        assert below.get_ylabel() == "mel band" and heard.label in figure.get_suptitle()


def test_a_file_that_cannot_be_written_is_an_error(trained, folder, tmp_path):
    done = call(folder / "a.flac", "--model", trained.folder, "--csv", tmp_path / "none" / "x.csv")
    assert done.exit_code == 1 and "x.csv cannot be written (No such file or directory)" in done.stderr


def test_no_output_overwrites_a_recording_or_another_output(trained, folder, tmp_path):
    """As where a shell makes `--csv a.flac b.flac` of `--csv *.flac`."""
    before = {file: file.read_bytes() for file in folder.rglob("*.flac")}
    (tmp_path / "song").write_bytes((folder / "a.flac").read_bytes())
    same = "--csv", tmp_path / "x.txt", "--json", tmp_path / "x.txt"
    for heard, outputs, why in (
        (folder / "a.flac", ("--csv", folder / "b.flac"), "b.flac is a recording, and would be overwritten"),
        (tmp_path / "song", ("--json", tmp_path / "song"), "song is a recording"),
        (folder / "a.flac", same, "x.txt is to be written twice"),
    ):
        done = call(heard, "--model", trained.folder, *outputs)
        assert done.exit_code == 1 and why in done.stderr
    assert {file: file.read_bytes() for file in folder.rglob("*.flac")} == before
    assert [file.name for file in tmp_path.iterdir() if file != folder] == ["song"]


def test_a_profile_alone_names_no_network(folder):
    done = call(folder / "a.flac", "--profile", "emotify")
    assert done.exit_code == 1 and "name it by --model" in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="names are text elsewhere")
def test_a_file_s_name_need_be_no_text(trained, folder, tmp_path):
    file = Path(os.fsdecode(os.fsencode(folder) + b"/\xff.flac"))
    (folder / "a.flac").rename(file)
    outputs = "--csv", tmp_path / "x.csv", "--json", tmp_path / "x.json", "--plot", tmp_path / "x.png"
    done = call(file, "--model", trained.folder, *outputs)
    assert done.exit_code == 0 and "/?.flac" in done.stdout
    assert os.fsencode(file) in (tmp_path / "x.csv").read_bytes()
    assert json.loads((tmp_path / "x.json").read_text())["files"][0]["file"] == str(file)
    assert predict(file, model=trained.folder, device="cpu")["file"].tolist() == [str(file)]


def test_a_model_that_is_not_there_is_an_error(folder):
    done = call(folder / "a.flac", "--model", "Nothing")
    assert done.exit_code == 1 and "there is no experiment 'Nothing' on demo. There are: " in done.stderr
    done = call(folder / "a.flac", "--model", "nowhere/ResNet2D-small")
    assert done.exit_code == 1 and "there is no profile 'nowhere'" in done.stderr
    done = call(folder / "a.flac", "--model", "beef")
    assert done.exit_code == 1 and "there is no run 'beef' of demo" in done.stderr
