"""A trained network that predicts the labels of music files of any length; tables and pictures of what it says."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from soundfusion_lib.analysis.figures import common
from soundfusion_lib.audio.clips import silent_in
from soundfusion_lib.audio.decode import UnusableAudio, stated_beyond
from soundfusion_lib.audio.representations import MelSpectrogram, StreamedArray, streamed
from soundfusion_lib.audio.segments import Segmenting
from soundfusion_lib.datasets.folder import SUFFIXES, files_in, is_audio
from soundfusion_lib.device import choose_device
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models import AudioClassifier
from soundfusion_lib.paths import whole
from soundfusion_lib.predict.export import CONFIG, load_exported, with_bounds
from soundfusion_lib.study.catalogue import find_model
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.inference import PROBABILITY, decide
from soundfusion_lib.training.run import load_run

BUILT_IN = Path(__file__).with_name("built_in_model")
BATCH = 16  # segments; more are no faster on a CPU, and take more memory
COLUMNS = 1200  # of the spectrogram drawn, at most: each is the mean of the frames it stands for


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a network says of one file."""

    file: Path  # as given
    label: str | None  # of most segments, see `inference.decide`; None where the file cannot be used
    mean: pd.Series  # by label, the mean probability over the segments, the highest first
    segments: pd.DataFrame  # see `Recognizer.probabilities`
    error: str | None = None  # why the file cannot be used
    stated: float = 0.0  # the length that the file states, in s, where more than a second of it is missing

    def in_words(self, top: int) -> str:
        """One line: file, label, and the most probable labels; or the error."""
        best = ", ".join(f"{label} {value:.2f}" for label, value in self.mean.head(top).items())
        cut = f" of a file cut short: it states {self.stated:.1f} s" if self.stated else ""
        text = f"{self.label} ({best}; {len(self.segments)} segments{cut})" if self.label else f"error: {self.error}"
        return f"{self.file}: {text}".encode("utf-8", "replace").decode()  # a file's name may hold any bytes


@dataclass(frozen=True)
class Recognizer:
    """A trained network, its labels, and how its inputs are made."""

    model: AudioClassifier  # in evaluation mode
    experiment: Experiment  # its name, its representations, and how it cuts a file
    labels: list[str]  # in the order of the classes
    about: dict[str, Any]  # `corpus`, `synthetic`, and more; of an exported network all of config.json

    def describe(self) -> str:
        """One line: training data, labels, and accuracy where it is known."""
        synthetic = " (synthetic music)" if self.about["synthetic"] else ""
        line = f"{self.experiment.name}, trained on {self.about['corpus']}{synthetic}: {', '.join(self.labels)}"
        if tested := self.about.get("evaluation"):
            unheard = "artists" if tested["artists"] else "tracks"
            line += f"; accuracy on {unheard} not heard in training {with_bounds(tested['accuracy'], tested)}"
        return line

    def predict(self, *paths: str | Path) -> Iterator[Prediction]:
        """Predict audio files, and those in folders, one after the other; SoundFusionError where a folder has none."""
        files = []
        for path in map(Path, paths):
            inside = list(filter(is_audio, files_in(path))) if path.is_dir() else [path]
            if not inside:
                raise SoundFusionError(f"{path}: no audio files in it. Their names end in {' '.join(sorted(SUFFIXES))}")
            files += inside
        for file in files:
            try:
                segments = self.probabilities(file)
            except UnusableAudio as reason:
                yield Prediction(file, None, pd.Series(dtype=float), pd.DataFrame(), str(reason))
            else:
                labels, means = decide(segments.iloc[:, 2:].to_numpy(), np.zeros(len(segments), int))
                mean = pd.Series(means[0], self.labels).sort_values(ascending=False, kind="stable")
                stated = stated_beyond(file, segments.attrs["length"])
                yield Prediction(file, self.labels[labels[0]], mean, segments, stated=stated)

    @torch.inference_mode()
    def probabilities(self, file: str | Path) -> pd.DataFrame:
        """One row per segment of a file of any length (for a model of whole clips, per window): `start` and `end` in s,
        and the probability of each label (`p_rock`). Its `attrs` hold the file's length in s.

        Raises:
            UnusableAudio: the file cannot be read or decoded, is shorter than one segment, or silent to the network.
            SoundFusionError: the temporary folder, which holds the decoded file, is full.
        """
        segmenting, outputs = self.experiment.segmenting, []
        length = segmenting.seconds
        specs = {spec.kind: spec for spec in self.experiment.representations}
        device = next(self.model.parameters()).device
        with streamed(Path(file), [specs[kind] for kind in self.model.inputs]) as (seconds, arrays):
            for reason in filter(None, map(silent_in, arrays)):
                raise UnusableAudio(reason)
            starts = segmenting.starts(seconds)
            if segmenting.overlap is None:  # a model of whole clips takes one window after the other
                starts = Segmenting(length, 0.0).starts(max(seconds, length))
            if len(starts) == 0:
                raise UnusableAudio(f"shorter than one segment ({length:g} s)")
            for batch in np.split(starts, range(BATCH, len(starts), BATCH)):
                inputs = [_cut(array, batch, length).to(device) for array in arrays]
                outputs.append(self.model(*inputs).softmax(1).cpu().numpy())  # (segments, classes)
        table = pd.DataFrame(np.concatenate(outputs), columns=[PROBABILITY + label for label in self.labels])
        table.insert(0, "start", starts)
        table.insert(1, "end", np.minimum(starts + length, seconds))
        table.attrs["length"] = seconds  # of the file
        return table


def write_csv(path: Path, predictions: list[Prediction], labels: list[str]) -> None:
    """One row per segment and label: file, start and end in s, label, probability; none of a file with an error."""
    rows = [
        (prediction.file, start, end, label, value)
        for prediction in predictions
        for start, end, *values in prediction.segments.itertuples(index=False, name=None)
        for label, value in zip(labels, values, strict=True)
    ]
    table = pd.DataFrame(rows, columns=["file", "start", "end", "label", "probability"])
    table = table.round({"start": 3, "end": 3, "probability": 6})
    with whole(path) as new:  # a file's name that is no text holds surrogates: they become its bytes again
        table.to_csv(new, index=False, errors="surrogateescape")


@common.themed
def timeline(prediction: Prediction, recognizer: Recognizer) -> Figure:
    """Above, each label's probability over the segments, the most probable on top; where segments overlap, the earlier
    one up to the middle. Below, the mel spectrogram, the mean over channels.

    Source: the taggram of Pons and Serra, "musicnn", ISMIR 2019 (late-breaking).
    """
    mean, segments = prediction.mean, prediction.segments
    ratios = [0.28 * len(mean) + 0.4, 2.2]
    figure, (above, below) = plt.subplots(2, 1, sharex=True, height_ratios=ratios, figsize=(11, sum(ratios) + 0.8))
    start, end = segments["start"].to_numpy(), segments["end"].to_numpy()
    edges = np.concatenate([start[:1], (end[:-1] + start[1:]) / 2, end[-1:]])
    values = segments[[PROBABILITY + label for label in mean.index]].to_numpy().T  # (labels, segments)
    image = above.pcolormesh(edges, np.arange(len(mean) + 1), values, vmin=0, vmax=1, cmap="Blues")
    above.set(ylim=(len(mean), 0), yticks=np.arange(len(mean)) + 0.5)
    above.set_yticklabels([f"{label} ({value:.2f})" for label, value in mean.items()])
    above.grid(visible=False)
    figure.colorbar(image, ax=above, label="probability", pad=0.01)
    with streamed(prediction.file, [spec := MelSpectrogram()]) as (_, (array,)):
        step = -(-array.frames // COLUMNS)
        starts = range(0, array.frames, step)
        means = [array.read(first, first + step).astype(np.float32).mean((0, 1)) for first in starts]
    extent = (0, len(means) * step * spec.hop_length / spec.sample_rate, 0.5, spec.n_mels + 0.5)
    image = common.spectrogram(below, np.stack(means), spec, interpolation="nearest", extent=extent)
    figure.colorbar(image, ax=below, label="power in dB", pad=0.01)
    below.xaxis.set_major_formatter(lambda time, _: f"{time // 60:.0f}:{time % 60:04.1f}".removesuffix(".0"))
    below.set(xlabel="time in min:s", xlim=(0, end.max()))
    figure.suptitle(f"{prediction.in_words(top=3)}\n{recognizer.describe()}", fontsize="medium")
    return figure


def write_plot(path: Path, prediction: Prediction, recognizer: Recognizer) -> None:
    """Draw the `timeline` of a file into a picture."""
    figure = timeline(prediction, recognizer)
    with whole(path) as new:
        figure.savefig(new, dpi=120)
    plt.close(figure)


def load_recognizer(model: str | Path | None = None, device: str = "auto") -> Recognizer:
    """A trained network, see `find_model`, ready to predict files; by default the one that comes with the project.
    Raises SoundFusionError if there is none, or it is damaged."""
    target = choose_device(device)
    folder = BUILT_IN if model is None else find_model(model)
    if (folder / CONFIG).is_file():
        network, experiment, config = load_exported(folder)
        return Recognizer(network.to(target), experiment, config["labels"], config)
    run = load_run(folder)
    return Recognizer(run.model().to(target), run.experiment, run.info["genres"], run.info)


def _cut(array: StreamedArray, starts: np.ndarray, seconds: float) -> torch.Tensor:
    """The segments that start at these times, in s, padded with silence where the file ends: waveform (N, 1, length),
    mel (N, channels, bands, length)."""
    spec, windows = array.spec, []
    length = spec.frames(seconds)
    for start in starts:
        first = max(0, min(spec.position(start), array.frames - length))
        window = array.read(first, first + length)
        missing = ((0, length - len(window)), (0, 0), (0, 0))
        windows.append(np.pad(window, missing, constant_values=array.silence))
    x = torch.from_numpy(np.stack(windows)).permute(0, 2, 3, 1).float() * spec.scale  # (N, channels, bands, length)
    return x.squeeze(2) if spec.kind == "waveform" else x
