import dataclasses
import inspect
import json
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from conftest import SMALL_MEL, interrupted_after

from soundfusion_lib.audio.augment import AUGMENTATIONS
from soundfusion_lib.audio.representations import MelSpectrogram
from soundfusion_lib.audio.segments import Segmenting
from soundfusion_lib.datasets.splits import Split
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models import MODELS
from soundfusion_lib.training import parallel, run, train
from soundfusion_lib.training.experiment import REVISION, Experiment, FromParts, FromRun, ImageNet, Start
from soundfusion_lib.training.inference import log_probabilities
from soundfusion_lib.training.loop import Training
from soundfusion_lib.training.run import Run, load_run
from soundfusion_lib.training.train import segments_of, train_or_find

TRAINING = Training(epochs=3, batch_size=16, learning_rate=3e-3)
RECIPE = {"augment": {"mel": {"max_fraction": 0.2}}, "split": Split("artist", 4), "training": TRAINING}
EXPERIMENT = Experiment("small", "simple_cnn", (SMALL_MEL,), {"dropout": 0.1}, Segmenting(1.0, 0.25), **RECIPE)
FILES = {"experiment.json", "run.json", "history.csv", "predictions.parquet", "model.safetensors"}
CPU = torch.device("cpu")


def test_a_varied_experiment_has_all_else_as_it_was():
    changes = {"learning_rate": 1e-3, "dropout": 0.3, "max_fraction": 0.1}
    assert EXPERIMENT.vary(**changes).name == "small, learning_rate = 0.001, dropout = 0.3, max_fraction = 0.1"
    training = dataclasses.replace(TRAINING, learning_rate=1e-3)
    same = {"options": {"dropout": 0.3}, "augment": {"mel": {"max_fraction": 0.1}}, "training": training}
    assert EXPERIMENT.vary("mine", **changes) == dataclasses.replace(EXPERIMENT, name="mine", **same)
    assert EXPERIMENT.vary("small") == EXPERIMENT
    with pytest.raises(SoundFusionError, match="small: has no key 'noise_std'; there are: averaging, batch_size,"):
        EXPERIMENT.vary(noise_std=0.1)


def test_memory_is_estimated_from_parameters_and_batch(store):
    def estimated(batch_size, **changes):
        training = Training(batch_size=batch_size)
        return parallel.memory_of(dataclasses.replace(EXPERIMENT, training=training, **changes), store)

    vgg = {"model": "vgg16", "options": {}}  # 134 million parameters, of which training keeps six numbers each
    assert 24 * 134e6 * 4 / 3 < estimated(2, **vgg) - parallel.PROCESS < 24 * 134e6 * 3 / 2
    of_batches = [estimated(size, segmenting=Segmenting(30.0, None)) - parallel.PROCESS for size in (2, 64, 128)]
    assert of_batches[2] - of_batches[0] == pytest.approx((of_batches[1] - of_batches[0]) * 126 / 62, rel=0.01)
    of_input = 64 * 2 * 32 * 30 * 22_050 / 256 * 4  # bytes of a batch of spectrograms
    assert 2 * of_input < of_batches[1] < 10 * of_input


@pytest.mark.parametrize("gib, cores, workers", [(16, 8, 2), (64, 8, 8), (64, 2, 2), (1, 8, 1)])
def test_runs_side_by_side_fit_in_the_memory(gib, cores, workers, monkeypatch):
    asked = []
    monkeypatch.setattr(parallel, "memory", lambda: gib * 2**30)
    monkeypatch.setattr(parallel, "cores", lambda: cores)
    monkeypatch.setattr(parallel, "worker_pool", lambda workers: asked.append(workers) or ThreadPoolExecutor(workers))
    sizes = [5 * 2**30] + [2**20] * 8
    tasks = {str(n): parallel.Task(lambda device, progress: None, (), memory=size) for n, size in enumerate(sizes)}
    list(parallel.run_tasks(tasks, "cpu", False))
    assert asked == [workers]


@pytest.fixture(scope="module")
def train_in(store):
    """Train an experiment, or what differs from `EXPERIMENT`, in a folder of runs, or find it."""

    def train_in(folder, experiment=EXPERIMENT, **changes) -> Run:
        return train_or_find(dataclasses.replace(experiment, **changes), store, folder, CPU, progress=False)

    return train_in


@pytest.fixture(scope="module")
def trained(train_in, tmp_path_factory) -> Run:
    return train_in(tmp_path_factory.mktemp("runs"))


def folder_of(run: Run) -> Path:
    return run.weights_file.parent


@pytest.mark.parametrize(
    "start", [Start(), ImageNet("abc", frozen=True), FromRun("0123"), FromRun("0123", False), FromParts(("4", "5"))]
)
def test_an_experiment_and_its_start_survive_json(start):
    experiment = dataclasses.replace(EXPERIMENT, start=start)
    assert Experiment.from_dict(json.loads(json.dumps(experiment.to_dict()))) == experiment


OTHERS = [
    {"model": "resnet2d"},
    {"options": {"dropout": 0.2}},
    {"representations": (dataclasses.replace(SMALL_MEL, hop_length=128),)},
    {"segmenting": Segmenting(1.0, 0.5)},
    {"augment": {}},
    {"standardize": False},
    {"split": Split("artist", 4, fold=1)},
    {"training": Training(epochs=4, batch_size=16, learning_rate=3e-3)},
    {"seed": 1},
    {"start": ImageNet("torchvision")},
]


def key(**changes):
    return dataclasses.replace(EXPERIMENT, **changes).key("tracks")


def test_every_field_of_an_experiment_is_in_its_key():
    """But for its name, and what a study adds to it."""
    assert len({key(), EXPERIMENT.key("other tracks"), *(key(**other) for other in OTHERS)}) == len(OTHERS) + 2
    of_a_study = {"folds": (0, 1), "seeds": (2, 3), "role": "control"}
    assert key(name="other name", **of_a_study) == key()
    assert dataclasses.replace(EXPERIMENT, **of_a_study).to_dict() == EXPERIMENT.to_dict()
    tried = {name for other in OTHERS for name in other} | {"name", *of_a_study}
    assert tried == {field.name for field in dataclasses.fields(Experiment)}


def test_spelling_a_default_out_or_writing_a_number_otherwise_changes_no_key():
    spelt_out = {"n_time_masks": 2, "n_frequency_masks": 2, "probability": 1.0, "max_fraction": 0.2}
    assert key(augment={"mel": spelt_out}) == key()
    assert key(augment={"mel": {}}) != key(augment={})  # the report's augmentation, and none
    assert key(options={"dropout": 0.1, "n_mels": 32, "in_channels": 2}) == key()  # follow from the spectrogram
    assert key(options={"dropout": 0.1, "n_mels": 64}) != key()
    assert key(segmenting=Segmenting(1, 0.25)) == key()
    assert key(training=Training(epochs=3, batch_size=16, learning_rate=3e-3, weight_decay=0)) == key()
    parts = [("resnet1d", {"width": 2}), ("resnet2d", {"width": 2, "pool": 1})]
    same = [["resnet1d", {"width": 2.0, "variant": "soundfusion"}], ["resnet2d", {"width": 2, "pool": 1, "n_mels": 32}]]
    assert len({key(model="fusion_concat", options={"parts": each}) for each in (parts, same)}) == 1


DEFAULTS = {  # of revision 4; a key holds no value that is one of these. test_results.py holds those of dataclasses
    "simple_cnn": {"in_channels": 2, "n_mels": 64, "dropout": 0.0},
    "resnet2d": {"width": 16, "in_channels": 2, "n_mels": 64, "pool": 7, "dropout": 0.0, "depth": 34},
    "resnet1d": {"width": 16, "variant": "soundfusion", "dropout": 0.0},
    "nnet1": {"width": 256, "in_channels": 2, "n_mels": 64, "dropout": 0.5},
    "nnet2": {"width": 256, "in_channels": 2, "n_mels": 64, "dropout": 0.3},
    "vgg16": {"in_channels": 2, "n_mels": 64, "width": 64, "dropout": 0.0},
    "fusion_concat": {"in_channels": 2, "n_mels": 64, "dropout": 0.3},
    "fusion_decision": {"in_channels": 2, "n_mels": 64, "dropout": 0.3, "weighting": "equal"},
    "fusion_gated": {"in_channels": 2, "n_mels": 64, "dropout": 0.3},
    "fusion_attention": {"in_channels": 2, "n_mels": 64, "dropout": 0.3},
    "mel": {"n_time_masks": 2, "n_frequency_masks": 2, "probability": 1.0, "max_fraction": 0.3},
    "waveform": {"noise_std": 0.02, "min_db": -12.0, "max_db": 12.0},
}  # fmt: skip


def test_defaults_are_those_of_the_revision():
    """Another default is another experiment under the same key: raise REVISION, and write both down here."""
    assert REVISION == 4 and Split().scheme == "auto"
    assert DEFAULTS.keys() == MODELS.keys() | AUGMENTATIONS.keys()
    for name, callable_ in {**MODELS, **AUGMENTATIONS}.items():
        parameters = inspect.signature(callable_).parameters.values()
        found = {one.name: one.default for one in parameters if one.name not in ("num_classes", "parts")}
        assert found == DEFAULTS[name], name
    for fusion in (name for name in MODELS if name.startswith("fusion_")):
        parts = inspect.signature(MODELS[fusion]).parameters["parts"].default
        assert parts == (("resnet1d", {"width": 16}), ("resnet2d", {"width": 16, "pool": 1}))


def test_a_run_s_folder_is_complete_gives_its_predictions_and_is_found_again(trained, train_in, store, monkeypatch):
    assert trained.trained and {file.name for file in folder_of(trained).iterdir()} == FILES
    assert len(trained.history) == 3
    info = trained.info
    assert info["genres"] == ["high", "low", "noise"] and info["tracks"] == {"train": 18, "validation": 9, "test": 9}
    assert info["versions"]["torch"] == torch.__version__.split("+")[0]
    probabilities = log_probabilities(trained.model(), segments_of(EXPERIMENT, store, CPU)["test"]).exp().numpy()
    saved = trained.predictions("test")
    assert abs(probabilities - saved[["p_high", "p_low", "p_noise"]].to_numpy()).max() < 1e-5
    assert set(saved["track"]).isdisjoint(trained.predictions("validation")["track"])
    monkeypatch.setattr(train, "fit", lambda *arguments, **options: pytest.fail("trained again"))
    again = train_in(folder_of(trained).parent, name="renamed")
    assert again.key == trained.key and not again.trained and again.experiment.name == "renamed"


def test_an_interrupted_run_leaves_nothing_under_its_name_and_goes_on(trained, train_in, tmp_path):
    with interrupted_after(1):
        train_in(tmp_path)
    assert [entry.suffix for entry in tmp_path.iterdir() if entry.is_dir()] == [".partial"]
    resumed = train_in(tmp_path)
    times = ["seconds", "core_seconds"]
    assert resumed.history.drop(columns=times).equals(trained.history.drop(columns=times))
    assert resumed.predictions().equals(trained.predictions())


def test_raw_decibels_are_possible(train_in, tmp_path):
    (standardize,) = train_in(tmp_path, standardize=False).model().standardize.values()
    assert (standardize.mean == 0).all() and (standardize.std == 1).all()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"representations": (MelSpectrogram(),)}, "which the store lacks"),
        ({"start": FromRun("0123")}, "a run whose weights 'small' starts from is not in"),
    ],
)
def test_a_run_that_lacks_its_clips_or_its_start_is_an_error_and_leaves_none(train_in, tmp_path, changes, message):
    with pytest.raises(SoundFusionError, match=message):
        train_in(tmp_path, **changes)
    assert {entry.suffix for entry in tmp_path.iterdir() if entry.is_dir()} <= {".partial"}


def test_what_names_no_run_or_several_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDFUSION_DATA", str(tmp_path))
    for key in ("ab0", "ab1"):
        (tmp_path / "runs" / key).mkdir(parents=True)
    for name, message in ((tmp_path, "no finished run"), ("ab", "2 runs have a key that begins with 'ab'")):
        with pytest.raises(SoundFusionError, match=message):
            load_run(name)


def test_provenance_names_the_commit_where_there_is_one_and_a_changed_library(tmp_path, monkeypatch):
    found = run.provenance()
    assert found["commit"] is None or len(found["commit"].removesuffix("-dirty")) == 12
    assert found["python"].count(".") == 2
    monkeypatch.setattr(run, "LIBRARY", tmp_path)
    for command in ("init -q", "-c user.name=x -c user.email=x commit -q --allow-empty -m x"):
        subprocess.run(["git", "-C", tmp_path, *command.split()], check=True)
    assert not run.provenance()["commit"].endswith("-dirty")
    (tmp_path / "new.py").touch()
    assert run.provenance()["commit"].endswith("-dirty")


def test_a_run_killed_after_its_training_trains_no_epoch_again(trained, train_in, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "checksum", Mock(side_effect=KeyboardInterrupt))  # it is killed
    with pytest.raises(KeyboardInterrupt):
        train_in(tmp_path)
    monkeypatch.undo()
    (partial,) = tmp_path.glob("*.partial")
    before = (partial / "history.csv").read_text()
    (partial / "checkpoint.pt.new").write_bytes(b"cut")  # as a kill while saving leaves it
    resumed = train_in(tmp_path)
    assert (folder_of(resumed) / "history.csv").read_text() == before  # to the second: nothing was trained
    assert resumed.predictions().equals(trained.predictions())
    assert {file.name for file in folder_of(resumed).iterdir()} == FILES


def test_a_run_killed_before_it_has_its_name_is_not_trained_again(trained, train_in, tmp_path, monkeypatch):
    """When its checkpoint is gone already."""
    shutil.copytree(folder_of(trained), tmp_path / f"{trained.key}.partial")
    monkeypatch.setattr(train, "fit", lambda *arguments, **options: pytest.fail("trained again"))
    run = train_in(tmp_path)
    assert run.predictions().equals(trained.predictions()) and not list(tmp_path.glob("*.partial"))


HARM = {
    "empty experiment": lambda folder: (folder / "experiment.json").write_text(""),
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "cut predictions": lambda folder: os.truncate(folder / "predictions.parquet", 1000),
    "broken info": lambda folder: (folder / "run.json").write_text('{"genres": ["high"'),
}


@pytest.mark.parametrize("harm", HARM.values(), ids=HARM)
def test_a_damaged_run_is_named_and_made_anew(trained, train_in, tmp_path, harm):
    folder = Path(shutil.copytree(folder_of(trained), tmp_path / trained.key))
    harm(folder)
    with pytest.raises(SoundFusionError, match="damaged"):
        load_run(folder)
    with pytest.warns(UserWarning, match=f"{folder.name}.*damaged.*trained anew"):
        again = train_in(tmp_path)
    assert again.trained and folder_of(again) == folder and again.predictions().equals(trained.predictions())
    assert [entry.name for entry in tmp_path.glob("*.damaged")] == [f"{folder.name}.damaged"]
    assert not train_in(tmp_path).trained


def test_the_split_that_auto_means_is_part_of_the_key(trained, train_in):
    assert not train_in(folder_of(trained).parent, split=Split("auto", 4)).trained  # which is "artist" here


ONCE = Training(epochs=1, batch_size=32, learning_rate=1e-3)
VGG16 = dataclasses.replace(EXPERIMENT, model="vgg16", options={"width": 2}, augment={}, training=ONCE)


def test_a_run_may_start_from_another_s_weights_frozen_or_not(train_in, tmp_path):
    first = train_in(tmp_path, VGG16)
    frozen, tuned = (train_in(tmp_path, VGG16, start=FromRun(first.key, way), seed=1) for way in (True, False))
    source, kept, moved = (one.model().state_dict() for one in (first, frozen, tuned))
    inner = "convolutions.5.weight"
    assert torch.equal(source[inner], kept[inner]) and not torch.equal(source[inner], moved[inner])
    assert not torch.equal(source["convolutions.0.weight"], kept["convolutions.0.weight"])
    assert frozen.info["trained_parameters"] < tuned.info["trained_parameters"] == tuned.info["parameters"]


def test_a_fusion_starts_from_its_trained_parts(train_in, tmp_path):
    part = {"model": "resnet2d", "options": {"width": 2, "pool": 1}, "training": ONCE}
    parts = [train_in(tmp_path, **part, seed=seed) for seed in (0, 1)]
    still = dataclasses.replace(ONCE, learning_rate=1e-12)  # as good as none
    options, start = {"parts": [["resnet2d", part["options"]]] * 2}, FromParts(tuple(one.key for one in parts))
    fused = train_in(tmp_path, model="fusion_concat", options=options, start=start, training=still).model()
    for mine, trained in zip(fused.parts, parts, strict=True):
        name = "blocks.3.residual.0.weight"
        assert torch.allclose(mine.state_dict()[name], trained.model().state_dict()[name], atol=1e-6)


def test_the_weight_that_a_fusion_learned_is_told_by_its_run(train_in, tmp_path):
    options = {"parts": [["resnet2d", {"width": 2, "pool": 1}]] * 2, "weighting": "learned"}
    training = Training(epochs=1, batch_size=16, learning_rate=1e-2)
    run = train_in(tmp_path, model="fusion_decision", options=options, training=training)
    assert run.info["weight"] == pytest.approx(run.model().weight) and run.info["weight"] != 0.5
