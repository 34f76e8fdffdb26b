"""Recognizer: a trained network with all that it takes to use it on a file."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from soundfusion_lib.audio.decode import UnusableAudio
from soundfusion_lib.audio.segments import Segmenting
from soundfusion_lib.audio.streaming import StreamedArray, streamed
from soundfusion_lib.device import choose_device
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models import AudioClassifier
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.inference import PROBABILITY, classes_of, decide, probability_columns
from soundfusion_lib.training.run import load_run
from soundfusion_lib.use import exported
from soundfusion_lib.use.card import with_bounds
from soundfusion_lib.use.finding import find_model

BUILT_IN = Path(__file__).with_name("built_in")
BATCH = 16  # segments heard at once; more are no faster on a CPU, and take more memory


@dataclass(frozen=True)
class Heard:
    """What a network hears in a file.

    Args:
        file: as it was named.
        segments: see `Recognizer.probabilities`; empty where the file cannot be used, which then has no label.
        error: why it cannot.
    """

    file: Path
    segments: pd.DataFrame
    error: str | None = None

    @property
    def mean(self) -> pd.Series:
        """By label, its mean probability over the segments, the highest first."""
        return self._decided[1].sort_values(ascending=False, kind="stable")

    @property
    def label(self) -> str:
        """The label that most segments are given, see `inference.decide`."""
        return self._decided[0]

    @cached_property
    def _decided(self) -> tuple[str, pd.Series]:
        probabilities = self.segments[probability_columns(self.segments)].to_numpy()
        vote, mean = decide(probabilities, np.zeros(len(probabilities), int))
        labels = classes_of(self.segments)
        return labels[vote[0]], pd.Series(mean[0], labels)


@dataclass(frozen=True)
class Recognizer:
    """A trained network, its labels, and how its inputs are made.

    Args:
        model: in evaluation mode.
        experiment: what was trained: its name, the representations and how a file is cut.
        labels: in the order of the classes.
        about: what else is known of it: `corpus`, `synthetic`; of an exported one all that config.json says.
    """

    model: AudioClassifier
    experiment: Experiment
    labels: list[str]
    about: dict

    @property
    def name(self) -> str:
        return self.experiment.name

    def describe(self) -> str:
        """One line: what it was trained on, its labels, and how accurate it is where that is known."""
        music = f"{self.about['corpus']}{' (synthetic music)' if self.about['synthetic'] else ''}"
        line = f"{self.name}, trained on {music}: {', '.join(self.labels)}"
        if found := self.about.get("evaluation"):
            unheard = "artists" if found["artists"] else "tracks"
            line += f"; accuracy on {unheard} not heard before {with_bounds(found['accuracy'], found)}"
        return line

    def probabilities(self, file: Path) -> pd.DataFrame:
        """What it hears in all of a file, however long: memory is that of a batch. A model of whole clips hears it
        window by window.

        Returns:
            A row a segment: `start` and `end` in s, and for each label its probability (`p_rock`).

        Raises:
            UnusableAudio: the file cannot be read or decoded, or is shorter than one segment.
            SoundFusionError: the temporary folder, which holds what is decoded, is full.
        """
        length = self.experiment.segmenting.seconds
        specs = {spec.kind: spec for spec in self.experiment.representations}
        with streamed(Path(file), [specs[kind] for kind in self.model.inputs]) as (seconds, arrays):
            starts = _starts(self.experiment.segmenting, seconds)
            if len(starts) == 0:
                raise UnusableAudio(f"shorter than one segment ({length:g} s)")
            batches = [starts[first : first + BATCH] for first in range(0, len(starts), BATCH)]
            outputs = [self._of_batch(arrays, batch) for batch in batches]
        columns = [PROBABILITY + label for label in self.labels]
        table = pd.DataFrame(np.concatenate(outputs), columns=columns)
        times = {"start": starts, "end": np.minimum(starts + length, seconds)}
        return pd.concat([pd.DataFrame(times), table], axis=1)

    @torch.inference_mode()
    def _of_batch(self, arrays: list[StreamedArray], starts: np.ndarray) -> np.ndarray:
        """Probabilities of the segments that start at these times, (segments, classes)."""
        device = next(self.model.parameters()).device
        inputs = [_cut(array, starts, self.experiment.segmenting.seconds).to(device) for array in arrays]
        return self.model(*inputs).softmax(1).cpu().numpy()

    def hear(self, files: Iterable[Path]) -> Iterator[Heard]:
        """What it hears in each file; of one that cannot be used, why."""
        for file in files:
            try:
                yield Heard(file, self.probabilities(file))
            except UnusableAudio as reason:
                yield Heard(file, pd.DataFrame(columns=["start", "end"]), str(reason))


def load_recognizer(model: str | Path | None = None, profile: str | None = None, device: str = "auto") -> Recognizer:
    """A trained network, ready to hear files.

    Args:
        model: see `find_model`; None for the one that comes with the project.
        profile: whose experiment it is, where its name does not say; None for the demo.
        device: see `choose_device`.

    Raises:
        SoundFusionError: there is no such model or device, its files are damaged, or a profile comes without a model.
    """
    if profile and model is None:
        raise SoundFusionError(f"the profile {profile} says whose network it is, and not which: name it by --model")
    where = choose_device(device)
    folder = BUILT_IN if model is None else find_model(model, profile or "demo")
    if model is None or exported.is_exported(folder):
        network, experiment, config = exported.load(folder)
        return Recognizer(network.to(where), experiment, config["labels"], config)
    run = load_run(folder)
    return Recognizer(run.model().to(where), run.experiment, run.info["genres"], run.info)


def _starts(segmenting: Segmenting, seconds: float) -> np.ndarray:
    """Start times, in s, of what a model hears of a file of so many seconds: segments cut as in its training.

    A model of whole clips hears one window after the other, and, where half a window or more is left, one that ends
    with the file.
    """
    if segmenting.overlap is not None:
        return segmenting.starts(seconds)
    starts = segmenting.seconds * np.arange(max(1, int(seconds / segmenting.seconds)))
    rest = seconds - starts[-1] - segmenting.seconds
    return np.append(starts, seconds - segmenting.seconds) if rest >= segmenting.seconds / 2 else starts


def _cut(array: StreamedArray, starts: np.ndarray, seconds: float) -> torch.Tensor:
    """Segments of a file that start at these times, with silence behind a file that is shorter than one: waveform
    (N, 1, length), mel (N, channels, bands, length)."""
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
