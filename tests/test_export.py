"""A network that the command trains, exported with its card, and loaded elsewhere."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from click.testing import CliRunner
from conftest import RATE, SMALL_SIGNALS, tone, user
from safetensors.torch import load_file, save_file
from scipy.special import softmax

from soundfusion_lib import SoundFusionError, Study, load_recognizer, load_run
from soundfusion_lib.analysis import probes
from soundfusion_lib.analysis.statistics import accuracy, interval
from soundfusion_lib.cli import main
from soundfusion_lib.datasets.splits import groups_of
from soundfusion_lib.models.musicnn import MusiCNN, musicnn_file
from soundfusion_lib.paths import runs_dir
from soundfusion_lib.predict.export import export, find_model, render
from soundfusion_lib.study.catalogue import experiment_named
from soundfusion_lib.study.starts import musicnn

PROFILE = f"""
clip_seconds = 4
test_folds = [1]
corpus = {{ kind = "folder", path = "music" }}
training = {{ epochs = 2, batch_size = 16, learning_rate = 3e-3, keep = "last" }}
widths = {{ resnet2d = {{ small = 4 }} }}

{SMALL_SIGNALS}
[models]
nnet1 = {{ width = 8 }}
nnet2 = {{ width = 8 }}
simple_cnn = {{ epochs = 2, batch_size = 16 }}
"""


@pytest.fixture(scope="module")
def music(corpus, tmp_path_factory):
    """A folder with the small corpus as a user has it, a profile, and data and results of its own."""
    with user(corpus, tmp_path_factory.mktemp("user"), PROFILE) as folder:
        yield folder


@pytest.fixture(scope="module")
def of_one_fold(music):
    """nnet2, trained in the first fold: the study, and its runs."""
    study = Study("train", "mine.toml", "cpu", progress=False)
    return study, study.train(experiment_named(study, "nnet2"))


@pytest.fixture(scope="module")
def exported(music, of_one_fold):
    return export("mine.toml/nnet2", music / "exported")


def call(*words: str):
    done = CliRunner().invoke(main, words)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def train(*words: str) -> str:
    done = call("train", "mine.toml", *words, "--device", "cpu")
    assert done.exit_code == 0, done.output
    return done.stdout


def config_of(folder) -> dict:
    return json.loads((folder / "config.json").read_text())


def test_a_network_is_trained_once_and_found_by_its_name_and_by_notebooks(music):
    first = train("simplecnn")
    [key] = re.findall(r"^ *([0-9a-f]{16}) ", first, re.MULTILINE)
    run = load_run(runs_dir() / key)
    assert run.experiment.name == "SimpleCNN, whole clip" and run.experiment.split.fold == 1
    vote = accuracy(run.predictions("test"))
    assert len(run.history) == 2 and "(9 tracks, 1 seed)" in first
    assert f"SimpleCNN, whole clip on mine: test accuracy by track vote {vote:.3f} [" in first
    assert train("SimpleCNN, whole clip") == first and load_run(run.weights_file.parent).info == run.info
    names = "mine.toml/SimpleCNN", "mine/simplecnn, whole clip", "mine/SimpleCNN"
    for name in (*names, key[:6], f"mine.toml/{key}", str(runs_dir() / key)):
        assert find_model(name) == runs_dir() / key
    for name in (key[:6], key, str(runs_dir() / key)):
        assert load_run(name).info == run.info
    with pytest.raises(SoundFusionError, match="vgg16 of mine.* is not trained: `soundfusion train mine.toml vgg16`"):
        find_model("mine.toml/vgg16")
    study = Study("02", "mine.toml", "cpu", progress=False)
    assert not any(run.trained for run in study.train(experiment_named(study, "SimpleCNN")).runs)
    assert experiment_named(study, "ResNet2D-small").options["width"] == 4  # the profile's
    alone = experiment_named(study, "vgg16")  # a model that no experiment's name has
    assert (alone.name, alone.training.epochs, alone.augment) == ("vgg16", 2, {"mel": {}})


def test_an_unknown_network_or_setting_is_an_error_that_writes_nothing(music):
    for change, said in {
        "training.epocs=3": "[training] has no key 'epocs'; there are: averaging, batch_size, class_weights",
        "training": "give a key and a value, such as training.epochs=3",
        "name=demo": "a built-in profile has this name",
        "split.scheme=all": "leaves nothing to test",
    }.items():
        for command in (["train", "mine.toml", "SimpleCNN"], ["reproduce", "mine.toml"]):
            done = call(*command, "--set", change)
            assert done.exit_code == 1 and said in done.output, (change, done.output)
    done = call("train", "mine.toml", "ResNet3D")
    assert all(name in done.output for name in ("'ResNet3D' on mine", "SoundFusion-1;", "vgg16-imagenet"))
    assert done.exit_code == 1 and "SpecAugment (" not in done.output  # 36 cells of a grid
    assert call("reproduce", "mine.toml", "--only", "99", "--set", "name=refused").exit_code == 1
    assert not list(runs_dir().parent.glob("profiles/refused*"))


def test_a_change_trains_another_run_and_leaves_the_first(music):
    runs = {folder.name for folder in runs_dir().glob("*") if not folder.suffix}
    done = call("train", "mine.toml", "SimpleCNN", "--set", "models.simple_cnn.epochs=1", "--device", "cpu")
    assert done.exit_code == 0
    [changed] = re.findall(r"on (mine-models-simple-cnn-epochs-1-\w+): ", done.output)
    new = {folder.name for folder in runs_dir().glob("*") if not folder.suffix}
    assert runs < new and len(new) == len(runs) + 1
    assert {find_model(f"{changed}/SimpleCNN").name} == new - runs


def test_a_name_finds_the_profile_that_was_used_last_by_it_from_another_folder(music, tmp_path, monkeypatch):
    assert call("train", "mine.toml", "SimpleCNN", "--device", "cpu").exit_code == 0
    here = find_model("mine/SimpleCNN")
    monkeypatch.chdir(tmp_path)
    assert find_model("mine/SimpleCNN") == here


def test_reproduce_says_what_is_left_and_files_a_changed_profile_apart(music):
    changes = "--set", "clip_seconds=3", "--set", "name=short"
    done = call("reproduce", "mine.toml", *changes, "--only", "01", "--device", "cpu")
    assert "0 of 0 runs are there" in done.output and done.exit_code == 0, done.output
    folder = runs_dir().parents[1] / "results" / "short"
    assert (folder / "notebooks" / "01_data.ipynb").is_file() and (folder / "README.md").is_file()
    assert json.loads((folder / "summary.json").read_text())["profile"] == "short"
    assert tomllib.loads((runs_dir().parent / "profiles" / "short.toml").read_text())["clip_seconds"] == 3
    assert not (runs_dir().parents[1] / "results" / "mine").exists()


ELSEWHERE = """
import sys
from soundfusion_lib import load_recognizer
print(load_recognizer(sys.argv[1], device="cpu").probabilities(sys.argv[2]).to_json(double_precision=15))
"""


def test_it_loads_elsewhere_without_a_corpus_or_a_store(exported, of_one_fold, corpus, tmp_path):
    assert sorted(file.name for file in exported.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    environment = os.environ | {name: str(tmp_path / "none") for name in ("SOUNDFUSION_DATA", "SOUNDFUSION_RESULTS")}
    file = corpus.file("low03")
    command = [sys.executable, "-c", ELSEWHERE, str(exported), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env=environment)
    elsewhere = pd.DataFrame(json.loads(done.stdout))
    here = load_recognizer(runs_dir() / of_one_fold[1].runs[0].key, device="cpu").probabilities(file)
    assert list(elsewhere) == ["start", "end", "p_high", "p_low", "p_noise"] and list(tmp_path.iterdir()) == []
    np.testing.assert_allclose(elsewhere.to_numpy(float), here.to_numpy(float), atol=1e-6)


def test_the_card_says_how_accurate_the_experiment_is(exported, of_one_fold):
    study, result = of_one_fold
    config, card = config_of(exported), (exported / "README.md").read_text()
    tested, predictions = config["evaluation"], result.predictions("test")
    low, high = interval(predictions)
    assert (tested["accuracy"], tested["low"], tested["high"]) == (accuracy(predictions), low, high)
    assert tested["tracks"] == predictions[0]["track"].nunique() and tested["folds"] == [1, 4]
    assert tested["artists"] == groups_of(study.store.tracks)[predictions[0]["track"]].nunique()
    assert f"**{accuracy(predictions):.3f} [{low:.3f}, {high:.3f}]**" in card and "clips of fold 2 of 4" in card
    assert [row["label"] for row in tested["recalls"]] == config["labels"] == ["high", "low", "noise"]
    assert all(f"| {row['label']} | {row['tracks']} | {row['recall']:.3f} [" in card for row in tested["recalls"])


@pytest.mark.parametrize(
    "changes, said, unsaid",
    [
        ({}, ["artists not heard in training", "of 3 artists.", "A collection of the user's own."], "no genres"),
        ({"artists": 0}, ["tracks not heard in training", "unknown artists.", "bootstrap over tracks"], "artists not"),
        ({"label": "soundtrack"}, ["gets the soundtrack that it sounds most like", "| soundtrack | tracks"], "genre "),
        ({"corpus": "emotify"}, ["A collection of the user's own."], "Magnatune"),  # a folder may be called so
        ({"kind": "fma", "corpus": "x"}, ["https://github.com/mdeff/fma"], "the user's own"),
        ({"kind": "demo", "synthetic": True}, ["**Synthetic music**", "has never heard music"], "the user's own"),
    ],
)
def test_a_card_says_what_the_data_are_and_their_limits(exported, changes, said, unsaid):
    config = config_of(exported)
    config["evaluation"] |= {key: value for key, value in changes.items() if key == "artists"}
    card = render("card.md", config | changes)
    assert all(words in card for words in said) and unsaid not in card


def test_a_network_of_all_clips_has_the_accuracy_of_cross_validation(music, of_one_fold, exported):
    tested = config_of(exported)["evaluation"]
    output = train("nnet2", "--all-clips")
    assert "nnet2 on mine: trained on all clips: none is left to test it" in output
    folder = export("mine/nnet2", music / "of all")  # by its name it is the one that comes first now
    config, card = config_of(folder), (folder / "README.md").read_text()
    assert config["run"] in output and config["run"] != of_one_fold[1].runs[0].key
    assert config["tracks"] == {"train": 36} and config["evaluation"] == tested
    assert "trained on all 36 clips" in card and "This network itself has no test clips" in card


def test_an_experiment_without_a_test_set_has_no_accuracy(music):
    (music / "best.toml").write_text(PROFILE.replace('keep = "last"', 'keep = "best"'))
    done = call("train", "best.toml", "ResNet2D-small", "--all-clips", "--device", "cpu")
    assert done.exit_code == 1 and 'set keep = "last"' in done.output  # nothing is left to choose an epoch by
    train("nnet1", "--all-clips")
    folder = export("mine.toml/nnet1", music / "unknown")
    assert config_of(folder)["evaluation"] is None
    assert "Unknown: the experiment's runs" in (folder / "README.md").read_text()


def test_an_export_replaces_nothing_and_leaves_nothing_where_it_fails(music, of_one_fold, tmp_path, monkeypatch):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "thesis.txt").write_text("years")
    full = Mock(side_effect=OSError(28, "No space left on device"))
    monkeypatch.setattr("soundfusion_lib.predict.export.write_json", full)
    there = "is there already: remove it, or give another folder"
    for name, said in (("kept", there), ("kept/thesis.txt", there), ("new", "No space left")):
        with pytest.raises(SoundFusionError, match=said):
            export("mine.toml/nnet2", tmp_path / name)
    assert [path.name for path in tmp_path.rglob("*")] == ["kept", "thesis.txt"]


def test_a_run_on_other_clips_is_not_the_profile_s(music, of_one_fold, tmp_path):
    (music / "other.toml").write_text(PROFILE.replace('path = "music"', 'path = "other/music"'))  # of the same name
    shutil.copytree(music / "music", music / "other" / "music")
    tracks = pd.read_csv(music / "music" / "metadata.csv").iloc[:-1]
    tracks.to_csv(music / "other" / "music" / "metadata.csv", index=False)
    call("prepare", "other.toml")
    with pytest.raises(SoundFusionError, match="not trained: `soundfusion train other.toml nnet2`"):
        export("other.toml/nnet2", tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def random_musicnn(music):
    """Random weights in the data folder: musicnn's own are a download."""
    torch.manual_seed(0)
    weights = {key: value for key, value in MusiCNN(3).state_dict().items() if not key.startswith(("head", "log_mel"))}
    musicnn_file().parent.mkdir(exist_ok=True)
    save_file(weights, musicnn_file())
    yield
    musicnn_file().unlink(missing_ok=True)


def test_a_classifier_is_tested_fitted_to_all_clips_predicts_as_it_was_fitted_and_is_passed_on(
    music, random_musicnn, tmp_path
):
    output = train("musicnn")
    study = Study("train", "mine.toml", "cpu", progress=False)
    result, x = probes.probe_of(study, musicnn()), probes.matrix(musicnn().features(study), ["block 3"])
    weight, bias = probes.on_all_clips(study, musicnn())
    logits, vote = x @ weight.T + bias, accuracy(result.predictions())
    assert f"musicnn on mine: test accuracy by track vote {vote:.3f} [" in output and "(36 tracks, 10 splits)" in output
    assert "recall of high, 12 tracks" in output and "The most frequent label alone has 0.333" in output
    assert "balanced accuracy" in output and "intervals by artist" in output and "fitted to all 36 clips" in output
    recognizer = load_recognizer("mine.toml/musicnn", "cpu")
    predictions = list(recognizer.predict(*(study.corpus.file(track) for track in study.store.tracks.index)))
    assert [prediction.label for prediction in predictions] == [study.store.labels[k] for k in logits.argmax(1)]
    means = np.stack([prediction.mean[recognizer.labels] for prediction in predictions])
    np.testing.assert_allclose(means, softmax(logits, 1), atol=1e-3)  # in batches of other sizes
    folder = export("mine.toml/musicnn", tmp_path / "exported")
    musicnn_file().unlink()  # the folder holds all that it takes
    first = study.corpus.file(study.store.tracks.index[0])
    here, there = recognizer.probabilities(first), load_recognizer(folder, "cpu").probabilities(first)
    pd.testing.assert_frame_equal(here, there)
    card = (folder / "README.md").read_text()
    assert f"**{vote:.3f} [" in card and "Mean of 10 splits" in card and "trained on all 36 clips" in card


def test_along_time_a_probe_says_what_it_hears_in_each_segment(music, random_musicnn, tmp_path):
    train("musicnn")
    sounds = [tone(label, 9, RATE, np.random.default_rng(0)) for label in ("noise", "low")]
    soundfile.write(tmp_path / "two.wav", np.concatenate(sounds), RATE)
    outputs = "--csv", str(tmp_path / "two.csv"), "--plot", str(tmp_path / "two.png")
    assert call("predict", "--model", "mine.toml/musicnn", str(tmp_path / "two.wav"), *outputs).exit_code == 0
    table = pd.read_csv(tmp_path / "two.csv").pivot(index="start", columns="label", values="probability")
    assert table.index.tolist() == [0, 3, 6, 9, 12, 15] and (tmp_path / "two.png").stat().st_size
    assert (table["noise"].iloc[:3].mean() > table["noise"].iloc[3:].mean()) and table.sum(axis=1).round(3).eq(1).all()


def test_a_classifier_without_its_weights_or_not_trained_says_what_to_do(music, tmp_path):
    shutil.rmtree(runs_dir().parent / "classifiers" / "mine" / "musicnn", ignore_errors=True)
    with pytest.raises(SoundFusionError, match="not trained: `soundfusion train mine.toml musicnn`"):
        load_recognizer("mine.toml/musicnn")
    done = call("train", "mine.toml", "musicnn", "--device", "cpu")
    assert done.exit_code == 1 and "`soundfusion download musicnn` brings them" in done.output


def other_weights(folder):
    weights = load_file(folder / "model.safetensors")
    save_file({name: value + 1 for name, value in weights.items()}, folder / "model.safetensors")


@pytest.mark.parametrize(
    "harm, reason",
    [
        (other_weights, "is not the file that config.json names"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no network that can be loaded"),
        (lambda folder: (folder / "config.json").write_text("{}"), "no network that can be loaded"),
    ],
)
def test_a_damaged_export_says_so(exported, tmp_path, harm, reason):
    shutil.copytree(exported, tmp_path / "copy")
    harm(tmp_path / "copy")
    with pytest.raises(SoundFusionError, match=reason):
        load_recognizer(tmp_path / "copy", device="cpu")
