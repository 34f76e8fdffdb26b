"""A trained network apart from its run: exported, carded, loaded elsewhere, as ONNX."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import soundfile
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from soundfusion_lib import load_recognizer
from soundfusion_lib.analysis.statistics import accuracy, interval
from soundfusion_lib.audio.decode import decode, resample, to_channels
from soundfusion_lib.audio.representations import MelSpectrogram, Waveform
from soundfusion_lib.audio.segments import Segmenting
from soundfusion_lib.cli import main
from soundfusion_lib.datasets.splits import groups_of
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models import MODELS
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.use.card import model_card
from soundfusion_lib.use.export import export
from soundfusion_lib.use.onnx_graph import TOLERANCE, write_onnx
from soundfusion_lib.use.training import train_network

PROFILE = """
[corpus]
kind = "folder"
path = "music"

[mel]
sample_rate = 22050
n_mels = 32
n_fft = 512
hop_length = 256

[segmenting]
seconds = 1.0

[split]
folds = 4

[training]
epochs = 2
batch_size = 16
learning_rate = 3e-3
keep = "last"

[models]
nnet1 = { width = 8 }
nnet2 = { width = 8 }
"""


@pytest.fixture(scope="module")
def music(corpus, tmp_path_factory):
    """A folder with the small corpus as a user has it, a profile, and an environment of its own."""
    folder = tmp_path_factory.mktemp("user")
    rows = corpus.tracks.rename(columns={"path": "file_name", "label": "genre", "group": "artist"})
    (folder / "music").symlink_to(corpus.root, target_is_directory=True)
    rows.to_csv(corpus.root / "metadata.csv", index=False)
    (folder / "mine.toml").write_text(PROFILE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOUNDFUSION_DATA", str(folder / "data"))
        patch.setenv("SOUNDFUSION_RESULTS", str(folder / "results"))
        yield folder
    (corpus.root / "metadata.csv").unlink()


@pytest.fixture(scope="module")
def of_one_fold(music):
    """nnet2, trained in the first fold."""
    return train_network(str(music / "mine.toml"), "nnet2", device="cpu")


@pytest.fixture(scope="module")
def exported(music, of_one_fold):
    return export("nnet2", music / "exported", str(music / "mine.toml"))


ELSEWHERE = """
import sys
from soundfusion_lib import load_recognizer
print(load_recognizer(sys.argv[1], device="cpu").probabilities(sys.argv[2]).to_json(double_precision=15))
"""


def test_it_loads_elsewhere_without_a_corpus_or_a_store(exported, of_one_fold, corpus, tmp_path):
    assert sorted(file.name for file in exported.iterdir()) == [
        "README.md",
        "config.json",
        "model.onnx",
        "model.safetensors",
    ]
    environment = os.environ | {name: str(tmp_path / "none") for name in ("SOUNDFUSION_DATA", "SOUNDFUSION_RESULTS")}
    file = corpus.file("low03")
    command = [sys.executable, "-c", ELSEWHERE, str(exported), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env=environment)
    elsewhere = pd.DataFrame(json.loads(done.stdout))
    here = load_recognizer(of_one_fold[1].runs[0].folder, device="cpu").probabilities(file)
    assert list(elsewhere) == ["start", "end", "p_high", "p_low", "p_noise"] and list(tmp_path.iterdir()) == []
    np.testing.assert_allclose(elsewhere.to_numpy(float), here.to_numpy(float), atol=1e-6)


def test_the_card_says_how_accurate_the_experiment_is(exported, of_one_fold):
    study, group = of_one_fold
    config = json.loads((exported / "config.json").read_text())
    found, card = config["evaluation"], (exported / "README.md").read_text()
    predictions = group.predictions("test")
    low, high = interval(predictions)
    assert (found["accuracy"], found["low"], found["high"]) == (accuracy(predictions), low, high)
    assert found["tracks"] == predictions[0]["track"].nunique() and found["folds"] == [1, 4]
    assert found["artists"] == groups_of(study.store.tracks)[predictions[0]["track"]].nunique()
    assert f"**{accuracy(predictions):.3f} [{low:.3f}, {high:.3f}]**" in card and "fold 1 of 4" in card
    assert [row["label"] for row in found["recalls"]] == config["labels"] == ["high", "low", "noise"]
    assert all(f"| {row['label']} | {row['tracks']} | {row['recall']:.3f} [" in card for row in found["recalls"])


def test_a_card_says_where_artists_are_not_known(exported):
    config = json.loads((exported / "config.json").read_text())
    known = model_card(config)
    config["evaluation"]["artists"] = 0
    card, tracks = model_card(config), config["evaluation"]["tracks"]
    assert "experiment on tracks that were not heard in training" in card and "a bootstrap over tracks" in card
    assert f"{tracks} tracks, whose artists are not known" in card and f"{tracks} tracks of " in known


def test_a_network_of_all_clips_has_the_accuracy_of_cross_validation(music, of_one_fold, exported):
    profile = str(music / "mine.toml")
    _, group = train_network(profile, "nnet2", all_clips=True, device="cpu")
    [run] = group.runs
    assert run.info["tracks"] == {"train": 36} and run.predictions("test").empty and run.predictions("validation").empty
    assert run.folder != of_one_fold[1].runs[0].folder and run.history["validation_accuracy"].isna().all()
    folder = export(f"{profile}/nnet2", music / "of all")  # by its name it is the one that comes first now
    config = json.loads((folder / "config.json").read_text())
    assert config["run"] == run.folder.name and config["tracks"] == {"train": 36}
    assert config["evaluation"] == json.loads((exported / "config.json").read_text())["evaluation"]
    card = (folder / "README.md").read_text()
    assert "trained on all 36 clips" in card and "no clips left to be tested on" in card


def test_all_clips_need_an_end_that_is_no_choice(music):
    best = music / "best.toml"
    best.write_text(PROFILE.replace('keep = "last"', 'keep = "best"'))
    with pytest.raises(SoundFusionError, match='no part validates: set keep = "last"'):
        train_network(str(best), "ResNet2D-small", all_clips=True, device="cpu")


def test_another_experiment_has_no_accuracy(music):
    """Of an experiment that was run on all clips alone nothing is known."""
    profile = str(music / "mine.toml")
    train_network(profile, "nnet1", all_clips=True, device="cpu")
    folder = export("nnet1", music / "unknown", profile)
    assert json.loads((folder / "config.json").read_text())["evaluation"] is None
    assert "Not known" in (folder / "README.md").read_text()


def test_an_export_is_replaced_and_nothing_else_is(music, of_one_fold, exported, tmp_path):
    profile = str(music / "mine.toml")
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "thesis.txt").write_text("years")
    with pytest.raises(SoundFusionError, match="holds something else"):
        export("nnet2", tmp_path / "kept", profile)
    assert (tmp_path / "kept" / "thesis.txt").read_text() == "years"
    (tmp_path / "kept" / "thesis.txt").unlink()
    (tmp_path / "kept" / "config.json").write_text('{"model_type": "bert"}')  # of another library
    with pytest.raises(SoundFusionError, match=r"holds something else than an exported network \(config.json\)"):
        export("nnet2", tmp_path / "kept", profile)
    shutil.copytree(exported, tmp_path / "new")
    (tmp_path / "new" / "README.md").write_text("old")
    export(of_one_fold[1].runs[0].folder.name[:8], tmp_path / "new", profile)
    assert (tmp_path / "new" / "README.md").read_text() == (exported / "README.md").read_text()
    (tmp_path / "new" / ".git").mkdir()
    with pytest.raises(SoundFusionError, match=r"holds something else than an exported network \(.git\)"):
        export("nnet2", tmp_path / "new", profile)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["kept", "new"] and (tmp_path / "new" / ".git").is_dir()


def test_a_run_on_other_clips_is_refused_and_leaves_nothing(music, of_one_fold, tmp_path):
    other = music / "other.toml"
    other.write_text(PROFILE.replace('path = "music"', 'path = "fewer"'))
    tracks = pd.read_csv(music / "music" / "metadata.csv").iloc[:-1]
    (music / "fewer").mkdir()
    for name in tracks["file_name"]:
        (music / "fewer" / name).symlink_to(music / "music" / name)
    tracks.to_csv(music / "fewer" / "metadata.csv", index=False)
    Study("prepare", str(other), "cpu", progress=False).store  # noqa: B018
    with pytest.raises(SoundFusionError, match="is on other clips"):
        export(of_one_fold[1].runs[0].folder, tmp_path / "new", str(other))
    assert list(tmp_path.iterdir()) == []


def other_weights(folder):
    weights = load_file(folder / "model.safetensors")
    save_file({name: value + 1 for name, value in weights.items()}, folder / "model.safetensors")


def newer(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"format": 99}))


@pytest.mark.parametrize(
    "harm, reason",
    [
        (other_weights, "is not the file that config.json names"),
        (newer, "newer version"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no network that can be loaded"),
        (lambda folder: (folder / "config.json").write_text("{"), "no network that can be loaded"),
        (lambda folder: (folder / "config.json").write_text("{}"), "no network that can be loaded"),
    ],
)
def test_a_damaged_export_says_so(exported, tmp_path, harm, reason):
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in exported.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    harm(folder)
    with pytest.raises(SoundFusionError, match=reason):
        load_recognizer(folder, device="cpu")


def test_the_graph_hears_what_the_network_does(exported, corpus):
    """On a file of one segment, which its spectrogram is the whole of."""
    recognizer = load_recognizer(exported, device="cpu")
    samples, rate = decode(corpus.file("high02"))
    file = exported.parent / "one segment.wav"
    soundfile.write(file, samples[:rate], rate, "FLOAT")
    session = onnxruntime.InferenceSession(exported / "model.onnx")
    assert [one.name for one in session.get_inputs()] == ["stereo_22050"]
    inputs = {"stereo_22050": to_channels(resample(samples[:rate], rate, 22_050), 2).T[None]}
    [given] = session.run(["probabilities"], inputs)
    expected = recognizer.probabilities(file)[["p_high", "p_low", "p_noise"]].to_numpy()
    np.testing.assert_allclose(given, expected, atol=2e-3)  # its spectrogram is kept in float16


def test_a_batch_is_a_file_whose_loudest_segment_sets_the_floor(exported, corpus):
    """A loud segment before a quiet one: heard alone, the quiet one has another floor."""
    recognizer = load_recognizer(exported, device="cpu")
    samples, rate = decode(corpus.file("noise02"))
    samples[rate : 2 * rate] *= 1e-5
    file = exported.parent / "loud and quiet.wav"
    soundfile.write(file, samples[: 2 * rate], rate, "FLOAT")
    assert recognizer.experiment.representations[0].sample_rate == rate
    recognizer = replace(recognizer, experiment=replace(recognizer.experiment, segmenting=Segmenting(1.0, 0.0)))
    expected = recognizer.probabilities(file)[["p_high", "p_low", "p_noise"]].to_numpy()
    session = onnxruntime.InferenceSession(exported / "model.onnx")
    segments = samples[: 2 * rate].reshape(2, rate, 2).transpose(0, 2, 1)
    [together] = session.run(None, {"stereo_22050": segments})
    [alone] = session.run(None, {"stereo_22050": segments[1:]})
    np.testing.assert_allclose(together, expected, atol=0.01)
    assert np.abs(alone - expected[1]).max() > 0.03


NARROW = {
    "simple_cnn": {},
    "resnet2d": {"width": 4},
    "resnet1d": {"width": 4},
    "nnet1": {"width": 8},
    "nnet2": {"width": 8},
    "vgg16": {"width": 4},
    "fusion_concat": {"parts": [["resnet1d", {"width": 4}], ["resnet2d", {"width": 4, "pool": 1}]]},
    "fusion_gated": {"parts": [["resnet1d", {"width": 4}], ["resnet2d", {"width": 4, "pool": 1, "depth": 18}]]},
    "fusion_attention": {"parts": [["resnet1d", {"width": 4}], ["simple_cnn", {}]]},
    "fusion_decision": {
        "parts": [["resnet1d", {"width": 4, "variant": "allamy"}], ["nnet2", {"width": 8}]],
        "weighting": "learned",
    },
}


@pytest.mark.parametrize("model", MODELS)
def test_every_network_has_a_graph_that_equals_it(model, tmp_path):
    specs = {"waveform": Waveform(11_025), "mel": MelSpectrogram(11_025, 1, 32, 512, 128)}
    kinds = MODELS[model].inputs
    whole = Experiment(model, model, tuple(specs[kind] for kind in kinds), NARROW[model], Segmenting(6.0))
    experiment = replace(whole, segmenting=Segmenting(6.0 if "allamy" in str(whole.options) else 1.5))
    torch.manual_seed(0)
    network = experiment.build(5)
    with torch.no_grad():
        for parameter in network.head.parameters():
            parameter.mul_(20)  # probabilities far from even, which would hide a difference
    graph = write_onnx(network.eval(), experiment, tmp_path / "model.onnx")
    assert graph["difference"] < TOLERANCE
    assert set(graph["inputs"]) == {"mono_11025"}  # one input feeds both representations


def test_a_graph_that_differs_is_not_written(exported, music, of_one_fold, tmp_path, monkeypatch):
    monkeypatch.setattr("soundfusion_lib.use.onnx_graph.TOLERANCE", -1.0)
    done = CliRunner().invoke(main, ["export", "nnet2", str(tmp_path / "new"), "--profile", str(music / "mine.toml")])
    assert done.exit_code == 1 and "differs from the network" in done.output and list(tmp_path.iterdir()) == []
