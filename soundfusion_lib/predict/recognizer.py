"""A trained network that predicts the labels of music files of any length; tables and pictures of what it says."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import wrap
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from scipy.special import softmax

from soundfusion_lib.analysis import drawing
from soundfusion_lib.analysis.probes import matrix
from soundfusion_lib.audio.clips import silent_in
from soundfusion_lib.audio.decode import UnusableAudio, stated_beyond
from soundfusion_lib.audio.representations import StreamedArray, streamed
from soundfusion_lib.audio.segments import Segmenting
from soundfusion_lib.datasets.folder import SUFFIXES, files_in, is_audio
from soundfusion_lib.device import choose_device
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models.musicnn import TAGS, MusiCNN, load_musicnn, musicnn_file
from soundfusion_lib.paths import whole
from soundfusion_lib.predict.export import CONFIG, WEIGHTS, find_model, read_exported, with_bounds
from soundfusion_lib.study.starts import MUSICNN, MusiCNNExperiment
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.features import UNUSED, Features, over_segments, pooled
from soundfusion_lib.training.inference import PROBABILITY, decide
from soundfusion_lib.training.run import load_run

BUILT_IN = Path(__file__).with_name("built_in_model")  # a small network
CLASSIFIER = Path(__file__).with_name("built_in_classifier")  # on musicnn, whose weights are not in the project
HEARD = 3  # of musicnn's 50 tags, that stand beside a label
BATCH = 16  # segments; more are no faster on a CPU, and take more memory


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a network says of one file."""

    file: Path  # as given
    label: str | None  # of most segments, or a classifier's of all together; None where the file cannot be used
    mean: pd.Series  # by label, the mean probability over the segments, the highest first
    segments: pd.DataFrame  # see `Recognizer.probabilities`
    error: str | None = None  # why the file cannot be used
    stated: float = 0.0  # the length that the file states, in s, where more than a second of it is missing
    tags: tuple[str, ...] = ()  # the most probable ones of musicnn's, where the classifier is on musicnn

    def in_words(self, top: int) -> str:
        """One line: file, label, and the most probable labels; or the error."""
        best = ", ".join(f"{label} {value:.2f}" for label, value in self.mean.head(top).items())
        cut = f" of a file cut short: it states {self.stated:.1f} s" if self.stated else ""
        tags = f"; musicnn's tags: {', '.join(self.tags)}" if self.tags else ""
        what = f"{best}; {len(self.segments)} segments{cut}{tags}"
        text = f"{self.label} ({what})" if self.label else f"error: {self.error}"
        return f"{self.file}: {text}".encode("utf-8", "replace").decode()  # a file's name may hold any bytes


@dataclass(frozen=True)
class Recognizer:
    """A trained network, its labels, and how its inputs are made. Each segment of a file votes;
    a linear classifier on a frozen network judges all of them together."""

    model: Any  # an `AudioClassifier`, in evaluation mode
    experiment: Experiment  # its representations, and how it cuts a file
    labels: list[str]  # in the order of the classes
    about: dict[str, Any]  # `name`, `corpus`, `synthetic`, and more; of an exported network all of config.json

    def describe(self) -> str:
        """One line: training data, labels, and accuracy where it is known."""
        synthetic = " (synthetic music)" if self.about["synthetic"] else ""
        line = f"{self.about['name']}, trained on {self.about['corpus']}{synthetic}: {', '.join(self.labels)}"
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
                yield self.hear(file)
            except UnusableAudio as reason:
                yield Prediction(file, None, pd.Series(dtype=float), pd.DataFrame(), str(reason))

    def probabilities(self, file: str | Path) -> pd.DataFrame:
        """One row per segment of a file of any length (for a model of whole clips, per window): `start` and `end` in s,
        and the probability of each label (`p_rock`).

        Raises:
            UnusableAudio: the file cannot be read or decoded, is shorter than one segment, or silent to the network.
            SoundFusionError: the temporary folder, which holds the decoded file, is full.
        """
        return self.hear(Path(file)).segments

    @torch.inference_mode()
    def hear(self, file: Path) -> Prediction:
        """The prediction of one file; raises as `probabilities`."""
        with self._segments(file) as (seconds, times, batches):
            values = np.concatenate([self.model(*inputs).softmax(1).cpu().numpy() for inputs in batches])
        voted, means = decide(values, np.zeros(len(values), int))
        return self._prediction(file, seconds, times, values, voted[0], means[0])

    @contextmanager
    def _segments(self, file: Path) -> Iterator[tuple[float, pd.DataFrame, Iterator[list[torch.Tensor]]]]:
        """The file's length, `start` and `end` of each segment, in s, and their raw inputs in batches; raises as
        `probabilities`."""
        segmenting, device = self.experiment.segmenting, next(self.model.parameters()).device
        length, specs = segmenting.seconds, {spec.kind: spec for spec in self.experiment.representations}
        with streamed(file, [specs[kind] for kind in self.model.inputs]) as (seconds, arrays):
            for reason in filter(None, map(silent_in, arrays)):
                raise UnusableAudio(reason)
            starts = segmenting.starts(seconds)
            if segmenting.overlap is None:  # a model of whole clips takes one window after the other
                starts = Segmenting(length, 0.0).starts(max(seconds, length))
            if len(starts) == 0:
                raise UnusableAudio(f"shorter than one segment ({length:g} s)")
            batches = np.split(starts, range(BATCH, len(starts), BATCH))
            inputs = ([_cut(array, batch, length).to(device) for array in arrays] for batch in batches)
            yield seconds, pd.DataFrame({"start": starts, "end": np.minimum(starts + length, seconds)}), inputs

    def _prediction(
        self, file: Path, seconds: float, times: pd.DataFrame, values: np.ndarray, label: int, mean: np.ndarray
    ) -> Prediction:
        segments = times.join(pd.DataFrame(values, columns=[PROBABILITY + label for label in self.labels]))
        mean = pd.Series(mean, self.labels).sort_values(ascending=False, kind="stable")
        return Prediction(file, self.labels[label], mean, segments, stated=stated_beyond(file, seconds))


@dataclass(frozen=True)
class Probe(Recognizer):
    """A linear classifier on mean and deviation of a frozen network's features over a file's segments, as the study has
    them. Along time each segment's features stand in the mean's place."""

    weight: np.ndarray  # (labels, D)
    bias: np.ndarray  # (labels,)

    def hear(self, file: Path) -> Prediction:
        with self._segments(file) as (seconds, times, batches):
            device = next(self.model.parameters()).device
            outputs = pooled(self.model, (x for (x,) in batches), device, self.about["standardizes"])
        rows = {}
        for block, x in outputs.items():  # (segments, D)
            whole = over_segments(x, torch.zeros(len(x), dtype=int), 1)  # (1, 2 D)
            along = np.concatenate([x, whole[:, x.shape[1] :].repeat(len(x), 0)], axis=1)
            rows[block] = np.concatenate([along, whole])  # the file is the last row
        values = softmax(matrix(Features(rows, 0.0), self.about["blocks"]) @ self.weight.T + self.bias, axis=1)
        heard = outputs["block 4"].mean(0).topk(HEARD).indices if isinstance(self.model, MusiCNN) else ()
        prediction = self._prediction(file, seconds, times, values[:-1], values[-1].argmax(), values[-1])
        return replace(prediction, tags=tuple(TAGS[tag] for tag in heard))


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


@drawing.themed
def timeline(prediction: Prediction, recognizer: Recognizer) -> Figure:
    """Each label's probability over the segments, the most probable on top; where segments overlap, the earlier one up
    to the middle.

    Source: the taggram of Pons and Serra, "musicnn", ISMIR 2019 (late-breaking).
    """
    mean, segments = prediction.mean, prediction.segments
    figure, axis = plt.subplots(figsize=(11, 0.28 * len(mean) + 1.5))
    start, end = segments["start"].to_numpy(), segments["end"].to_numpy()
    edges = np.concatenate([start[:1], (end[:-1] + start[1:]) / 2, end[-1:]])
    values = segments[[PROBABILITY + label for label in mean.index]].to_numpy().T  # (labels, segments)
    image = axis.pcolormesh(edges, np.arange(len(mean) + 1), values, vmin=0, vmax=1, cmap="Blues")
    axis.set(ylim=(len(mean), 0), yticks=np.arange(len(mean)) + 0.5, xlabel="time in min:s")
    axis.set_yticklabels([f"{label} ({value:.2f})" for label, value in mean.items()])
    axis.xaxis.set_major_formatter(lambda time, _: f"{time // 60:.0f}:{time % 60:04.1f}".removesuffix(".0"))
    axis.grid(visible=False)
    figure.colorbar(image, label="probability", pad=0.01)
    figure.suptitle("\n".join([prediction.in_words(top=3), *wrap(recognizer.describe(), 150)]), fontsize="medium")
    return figure


def load_recognizer(model: str | Path | None = None, device: str = "auto") -> Recognizer:
    """A trained network or classifier, see `find_model`, ready to predict files; by default what comes with the
    project: Emotify's classifier on musicnn where `musicnn_file` is there, else a small network. Raises
    SoundFusionError if there is none, or it is damaged."""
    target = choose_device(device)
    built_in = CLASSIFIER if musicnn_file().is_file() else BUILT_IN
    folder = built_in if model is None else find_model(model)
    if not (folder / CONFIG).is_file():
        run = load_run(folder)
        return Recognizer(
            run.model().to(target), run.experiment, run.info["genres"], run.info | {"name": run.experiment.name}
        )
    with read_exported(folder) as (config, weights):
        kind = MusiCNNExperiment if config["experiment"]["model"] == MUSICNN.model else Experiment
        experiment, frozen = kind.from_dict(config["experiment"]), "frozen" in config
        linear = [weights.pop(name).numpy() for name in ("weight", "bias") if frozen]
        network = experiment.build(len(config["labels"]))
        if frozen and not weights:
            load_musicnn(network)
        else:
            network.load_weights(weights, str(folder / WEIGHTS), UNUSED if frozen else ())
        about = config["labels"], config
        return (Probe if frozen else Recognizer)(network.to(target).eval(), experiment, *about, *linear)


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
