"""A small real corpus on disk: three labels that sound different, four artists each."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from soundfusion_lib.audio.representations import MelSpectrogram, Waveform
from soundfusion_lib.audio.store import Store
from soundfusion_lib.datasets import Corpus
from soundfusion_lib.datasets.splits import Split
from soundfusion_lib.study.profile import Profile
from soundfusion_lib.study.study import Study
from soundfusion_lib.training import loop
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.result import Result
from soundfusion_lib.training.run import Run

RATE = 22_050
SMALL_MEL = MelSpectrogram(sample_rate=22_050, channels=2, n_mels=32, n_fft=512, hop_length=256)

SPECS = Waveform(), SMALL_MEL
TESTS_TOO = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}  # to import them

SMALL_SIGNALS = """\
waveform = { sample_rate = 8000 }
mel = { sample_rate = 22050, n_mels = 32, n_fft = 512, hop_length = 512 }
segmenting = { seconds = 2.0 }
split = { folds = 4 }
"""  # of a profile whose corpus is those files, above its tables


def copy_music(corpus: Corpus, folder: Path) -> None:
    """Copy a corpus's files, and describe them as a user would."""
    shutil.copytree(corpus.root, folder)
    rows = corpus.tracks.rename(columns={"path": "file_name", "label": "genre", "group": "artist"})
    rows.to_csv(folder / "metadata.csv", index=False)


def run_python(*arguments, **options) -> subprocess.CompletedProcess:
    """Python with these arguments, in a process that can import the tests, too; what it says is text."""
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **{"env": TESTS_TOO, "timeout": 300} | options)


@contextmanager
def at_home_in(folder: Path) -> Iterator[Path]:
    """Data and results lie in this folder, which is the working directory."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("data", "results"):
            patch.setenv(f"SOUNDFUSION_{name.upper()}", str(folder / name))
        patch.chdir(folder)
        yield folder


@contextmanager
def user(corpus: Corpus, folder: Path, profile: str) -> Iterator[Path]:
    """This folder is as a user has it, see `at_home_in`, with a corpus's files in music/ and a profile mine.toml."""
    copy_music(corpus, folder / "music")
    (folder / "mine.toml").write_text(profile, encoding="utf-8")
    with at_home_in(folder):
        yield folder


def tone(label: str, seconds: float, rate: int, rng: np.random.Generator) -> np.ndarray:
    """(time, 2), float32: a low or a high tone with an overtone, or noise."""
    time = np.arange(int(seconds * rate)) / rate
    frequency = {"low": 220, "high": 3000, "noise": 0}[label] * rng.uniform(0.8, 1.25)
    if label == "noise":
        left = rng.normal(0, 0.1, len(time))
    else:
        left = 0.2 * np.sin(2 * np.pi * frequency * time) + 0.1 * np.sin(4 * np.pi * frequency * time)
    right = 0.7 * left + rng.normal(0, 0.01, len(time))
    return np.stack([left, right], 1).astype(np.float32)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Corpus:
    """36 good clips of 4 s to 4.6 s: stereo, some mono, some at 48 kHz."""
    root = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    rows = {}
    for label in ("low", "high", "noise"):
        for number in range(12):
            rate = 48_000 if number == 3 else RATE
            samples = tone(label, 4 + 0.2 * (number % 4), rate, rng)
            samples = samples[:, :1] if number == 5 else samples
            track = f"{label}{number:02d}"
            soundfile.write(root / f"{track}.wav", samples, rate)
            rows[track] = {"path": f"{track}.wav", "label": label, "group": f"{label}-artist{number % 4}"}
    return Corpus("tones", root, pd.DataFrame.from_dict(rows, orient="index").rename_axis("track"))


def build(corpus: Corpus, cache: Path, specs=SPECS, **options) -> Store:
    return Store.build(corpus, list(specs), cache, **{"shortest": 1.0, "workers": 1, "progress": False, **options})


@pytest.fixture(scope="session")
def store(corpus, tmp_path_factory) -> Store:
    return build(corpus, tmp_path_factory.mktemp("cache"))


@pytest.fixture
def study(corpus, store, tmp_path, monkeypatch) -> Study:
    """A study of the small corpus, whose twelve clips a label are by four artists; classifiers have two splits."""
    monkeypatch.setenv("SOUNDFUSION_DATA", str(tmp_path))
    monkeypatch.setattr("soundfusion_lib.analysis.baselines.SPLITS", 2)
    study = object.__new__(Study)
    study.profile = Profile("test", {"kind": "demo"}, split=Split(folds=4), test_folds=(0, 1), seeds=(0, 1))
    study.device, study.device_name, study.progress, study._runs = torch.device("cpu"), "cpu", False, {}
    study.dry, study.kept, study.scheduler, study.classifiers = False, None, "", set()
    study.__dict__ |= {"corpus": corpus, "store": store}
    return study


def take_tracks(study: Study, tracks: pd.DataFrame) -> None:
    """Give a study's corpus these tracks in place of its own."""
    corpus = replace(study.corpus, tracks=tracks)
    study.__dict__ |= {"corpus": corpus, "store": Store(corpus, study.store.arrays)}


def games(synthetic: bool = False) -> Corpus:
    """A corpus whose labels are no genres; its files are not there."""
    labels = ["doom", "quake", "zelda"]
    tracks = pd.DataFrame({"path": "none.wav", "label": labels, "group": None}, index=labels)
    return Corpus("games", Path("games"), tracks, label_name="soundtrack", synthetic=synthetic)


def run_of(experiment: Experiment, losses=(1.0,), info=None, predictions=None, history=None) -> Run:
    """A run that nobody trained."""
    history = pd.DataFrame({"train_loss": losses}) if history is None else history
    return Run(experiment, "made up", {"parameters": 1000} | (info or {}), history, lambda: predictions, None)


def result_of(frames: list[pd.DataFrame], **about) -> Result:
    """A result with these predictions of the test set, one for each seed."""
    return Result(
        load=lambda part: {(seed, 0): frame for seed, frame in enumerate(frames)},
        **{"name": "made up", "input": "none"} | about,
    )


@contextmanager
def interrupted_after(epochs: int) -> Iterator[None]:
    """A training in this block is interrupted when its checkpoint holds so many more epochs."""
    save, saved = loop._save, []

    def save_and_stop(*arguments):
        save(*arguments)
        saved.append(1)
        if len(saved) == epochs:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "_save", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            yield


PARTS = [("resnet1d", {"width": 2}), ("resnet2d", {"width": 2, "pool": 1})]
NARROW = {  # options of every model, small enough for tests
    "simple_cnn": {"dropout": 0.1}, "resnet2d": {"width": 2}, "resnet1d": {"width": 2}, "nnet1": {"width": 4},
    "nnet2": {"width": 4}, "vgg16": {"width": 2}, "fusion_concat": {"parts": PARTS},
    "fusion_decision": {"parts": PARTS}, "fusion_gated": {"parts": PARTS}, "fusion_attention": {"parts": PARTS},
}  # fmt: skip


@pytest.fixture
def cpu() -> torch.device:
    return torch.device("cpu")
