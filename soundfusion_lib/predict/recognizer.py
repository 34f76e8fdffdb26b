"""Recognizer: a trained network that predicts the labels of music files of any length."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from soundfusion_lib.audio.decode import UnusableAudio
from soundfusion_lib.audio.segments import Segmenting
from soundfusion_lib.audio.streaming import StreamedArray, streamed
from soundfusion_lib.datasets.folder import SUFFIXES
from soundfusion_lib.device import choose_device
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models import AudioClassifier
from soundfusion_lib.predict.evaluation import with_bounds
from soundfusion_lib.predict.export import CONFIG, load_exported
from soundfusion_lib.study.find import find_model
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.inference import PROBABILITY, decide
from soundfusion_lib.training.run import load_run

BUILT_IN = Path(__file__).with_name("built_in_model")
BATCH = 16  # segments; more are no faster on a CPU, and take more memory


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a network says of one file.

    Args:
        file: as it was named.
        label: that of most segments, see `inference.decide`; None where the file cannot be used.
        mean: by label, its mean probability over the segments, the highest first.
        segments: see `Recognizer.probabilities`.
        error: why the file cannot be used.
    """

    file: Path
    label: str | None
    mean: pd.Series
    segments: pd.DataFrame
    error: str | None = None

    def in_words(self, top: int) -> str:
        """One line: file, label, and the most probable labels; or the error."""
        best = ", ".join(f"{label} {value:.2f}" for label, value in self.mean.head(top).items())
        text = f"{self.label} ({best}; {len(self.segments)} segments)" if self.label else f"error: {self.error}"
        return f"{self.file}: {text}".encode("utf-8", "replace").decode()  # a file's name need be no text


@dataclass(frozen=True)
class Recognizer:
    """A trained network, its labels, and how its inputs are made.

    Args:
        model: in evaluation mode.
        experiment: what was trained: its name, the representations, and how a file is cut.
        labels: in the order of the classes.
        about: what else is known: `corpus`, `synthetic`; of an exported network all of config.json.
    """

    model: AudioClassifier
    experiment: Experiment
    labels: list[str]
    about: dict[str, Any]

    def describe(self) -> str:
        """One line: training data, labels, and accuracy where it is known."""
        music = f"{self.about['corpus']}{' (synthetic music)' if self.about['synthetic'] else ''}"
        line = f"{self.experiment.name}, trained on {music}: {', '.join(self.labels)}"
        if accuracy := self.about.get("evaluation"):
            unheard = "artists" if accuracy["artists"] else "tracks"
            line += f"; accuracy on {unheard} not heard in training {with_bounds(accuracy['accuracy'], accuracy)}"
        return line

    def predict(self, *paths: str | Path) -> Iterator[Prediction]:
        """Predict audio files of any length, and all audio files in folders, one after the other.

        A file that cannot be used has an error in place of a label.

        Raises:
            SoundFusionError: a folder holds no audio files; no paths.
        """
        for file in audio_files(paths):
            try:
                segments = self.probabilities(file)
            except UnusableAudio as reason:
                yield Prediction(file, None, pd.Series(dtype=float), pd.DataFrame(), str(reason))
            else:
                labels, means = decide(segments.iloc[:, 2:].to_numpy(), np.zeros(len(segments), int))
                mean = pd.Series(means[0], self.labels).sort_values(ascending=False, kind="stable")
                yield Prediction(file, self.labels[labels[0]], mean, segments)

    def probabilities(self, file: str | Path) -> pd.DataFrame:
        """The labels' probabilities along a file of any length, in the memory of one batch.

        Returns:
            One row per segment (for a model of whole clips: per window): `start` and `end` in s, and the probability
            of each label (`p_rock`).

        Raises:
            UnusableAudio: the file cannot be read or decoded, or is shorter than one segment.
            SoundFusionError: the temporary folder, which holds the decoded file, is full.
        """
        length = self.experiment.segmenting.seconds
        specs = {spec.kind: spec for spec in self.experiment.representations}
        with streamed(Path(file), [specs[kind] for kind in self.model.inputs]) as (seconds, arrays):
            starts = _starts(self.experiment.segmenting, seconds)
            if len(starts) == 0:
                raise UnusableAudio(f"shorter than one segment ({length:g} s)")
            batches = [starts[first : first + BATCH] for first in range(0, len(starts), BATCH)]
            outputs = [self._batch(arrays, batch) for batch in batches]
        table = pd.DataFrame(np.concatenate(outputs), columns=[PROBABILITY + label for label in self.labels])
        table.insert(0, "start", starts)
        table.insert(1, "end", np.minimum(starts + length, seconds))
        return table

    @torch.inference_mode()
    def _batch(self, arrays: list[StreamedArray], starts: np.ndarray) -> np.ndarray:
        """Probabilities of the segments that start at these times in s: (segments, classes)."""
        device = next(self.model.parameters()).device
        inputs = [_cut(array, starts, self.experiment.segmenting.seconds).to(device) for array in arrays]
        return self.model(*inputs).softmax(1).cpu().numpy()


def load_recognizer(model: str | Path | None = None, profile: str | None = None, device: str = "auto") -> Recognizer:
    """A trained network, ready to predict files.

    Args:
        model: see `find_model`; by default the network that comes with the project.
        profile: whose experiment it is, where its name does not say; demo by default.
        device: see `choose_device`.

    Raises:
        SoundFusionError: there is no such model or device; its files are damaged; a profile without a model.
    """
    if profile and model is None:
        raise SoundFusionError(f"the profile {profile} does not say which network: name it by --model")
    target = choose_device(device)
    folder = BUILT_IN if model is None else find_model(model, profile or "demo")
    if (folder / CONFIG).is_file():
        network, experiment, config = load_exported(folder)
        return Recognizer(network.to(target), experiment, config["labels"], config)
    run = load_run(folder)
    return Recognizer(run.model().to(target), run.experiment, run.info["genres"], run.info)


def audio_files(paths: Iterable[str | Path]) -> list[Path]:
    """These files, there or not; in place of each folder its audio files, however deep, by name, without hidden ones.

    Raises:
        SoundFusionError: a folder holds no audio file; no paths.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        inside = [
            file
            for file in sorted(path.rglob("*"))
            if file.suffix.lower() in SUFFIXES and not any(name[0] == "." for name in file.relative_to(path).parts)
        ]
        if path.is_dir() and not any(map(Path.is_file, inside)):
            raise SoundFusionError(f"{path}: no audio files in it. Their names end in {' '.join(sorted(SUFFIXES))}")
        files += filter(Path.is_file, inside) if path.is_dir() else [path]
    if not files:
        raise SoundFusionError("no files given: name audio files, or folders that hold some")
    return files


def _starts(segmenting: Segmenting, seconds: float) -> np.ndarray:
    """Start times, in s, of the segments of a file of so many seconds, cut as in training.

    A model of whole clips takes one window after the other, and, where at least half a window is left, one that ends
    with the file.
    """
    if segmenting.overlap is not None:
        return segmenting.starts(seconds)
    starts = segmenting.seconds * np.arange(max(1, int(seconds / segmenting.seconds)))
    rest = seconds - starts[-1] - segmenting.seconds
    return np.append(starts, seconds - segmenting.seconds) if rest >= segmenting.seconds / 2 else starts


def _cut(array: StreamedArray, starts: np.ndarray, seconds: float) -> torch.Tensor:
    """The segments that start at these times, padded with silence where the file ends: waveform (N, 1, length), mel
    (N, channels, bands, length)."""
    spec = array.spec
    length = spec.frames(seconds)
    windows = []
    for start in starts:
        first = max(0, min(spec.position(start), array.frames - length))
        window = array.read(first, first + length)
        padding = np.full((length - len(window), *window.shape[1:]), array.silence, window.dtype)
        windows.append(np.concatenate([window, padding]))
    x = torch.from_numpy(np.stack(windows)).permute(0, 2, 3, 1).float() * spec.scale  # (N, channels, bands, length)
    return x.squeeze(2) if spec.kind == "waveform" else x
