"""Predictions written down: as CSV, as JSON, and as a picture along time."""

import csv
import json
import math
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from soundfusion_lib.analysis.figures.data import themed
from soundfusion_lib.audio.decode import UnusableAudio
from soundfusion_lib.audio.representations import MelSpectrogram
from soundfusion_lib.audio.streaming import streamed
from soundfusion_lib.datasets.folder import SUFFIXES
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.paths import whole
from soundfusion_lib.predict.recognizer import Prediction, Recognizer
from soundfusion_lib.training.inference import PROBABILITY

DIGITS = 6  # of probabilities; half as many of seconds
COLUMNS = 1200  # of the spectrogram drawn, at most: each is the mean of the frames it stands for
STEPS = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800)  # between times on the axis, in s
DPI = 120


def check_outputs(files: list[Path], csv: Path | None, json: Path | None, plot: Path | None) -> None:
    """Raise SoundFusionError where an output would overwrite a recording or another output, or cannot be written."""
    outputs = [path for path in (csv, json, plot) if path]
    for number, path in enumerate(outputs):
        if path.suffix.lower() in SUFFIXES or path.resolve() in {file.resolve() for file in files}:
            raise SoundFusionError(f"{path} is a recording, and would be overwritten: name another file to write")
        if path.resolve() in {other.resolve() for other in outputs[:number]}:
            raise SoundFusionError(f"{path} is named for two outputs: give each its own file")
        if not os.access(path.parent, os.W_OK):
            raise SoundFusionError(f"{path} cannot be written: {path.parent} is no folder that may be written to")
    if plot and len(files) > 1:
        raise SoundFusionError(f"--plot draws one file, and there are {len(files)}: call it for each")
    if plot and plot.suffix[1:].lower() not in FigureCanvasBase.get_supported_filetypes():
        raise SoundFusionError(f"{plot} is no picture: give it a name that ends in .png, .pdf or .svg")


def write_outputs(
    predictions: list[Prediction],
    recognizer: Recognizer,
    top: int,
    csv: Path | None,
    json: Path | None,
    plot: Path | None,
) -> None:
    """Write each output that has a path, whatever becomes of the others; raises SoundFusionError when all are tried."""
    failures = []
    for path, write in ((csv, write_csv), (json, partial(write_json, top=top)), (plot, write_plot)):
        try:
            if path:
                write(path, predictions, recognizer)
        except (SoundFusionError, UnusableAudio) as error:
            failures.append(f"{path}: {error}")
    if failures:
        raise SoundFusionError("; ".join(failures))


def write_csv(path: Path, predictions: list[Prediction], recognizer: Recognizer) -> None:
    """One row per segment and label: file, start and end in s, label, probability; none of a file with an error."""
    # a file's name that is no text holds surrogates: they become its bytes again
    with whole(path) as new, open(new, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["file", "start", "end", "label", "probability"])
        for prediction in predictions:
            for start, end, probabilities in _segments(prediction):
                rows.writerows([prediction.file, start, end, *item] for item in probabilities.items())


def write_json(path: Path, predictions: list[Prediction], recognizer: Recognizer, top: int) -> None:
    """The model, and for each file: file, prediction, top (the most probable labels), segments, error."""
    about = {name: recognizer.about.get(name) for name in ("corpus", "synthetic")}
    model = {"name": recognizer.experiment.name, **about, "labels": recognizer.labels}
    with whole(path) as new, open(new, "w", encoding="utf-8") as file:
        file.write(f'{{"model": {json.dumps(model)}, "files": [')
        for number, prediction in enumerate(predictions):
            best = prediction.mean.head(top).round(DIGITS).items()
            names = "start", "end", "probabilities"
            content = {
                "file": str(prediction.file),
                "prediction": prediction.label,
                "top": [{"label": label, "probability": value} for label, value in best],
                "segments": [dict(zip(names, segment, strict=True)) for segment in _segments(prediction)],
                "error": prediction.error,
            }
            file.write(",\n" * (number > 0) + json.dumps(content))
        file.write("]}\n")


def _segments(prediction: Prediction) -> Iterator[tuple[float, float, dict[str, float]]]:
    """Start and end in s, and probabilities by label, of each segment, in as many digits as are written."""
    table = prediction.segments.astype(float).round({"start": DIGITS // 2, "end": DIGITS // 2}).round(DIGITS)
    labels = [column.removeprefix(PROBABILITY) for column in table.columns[2:]]
    for start, end, *values in table.itertuples(index=False, name=None):
        yield start, end, dict(zip(labels, values, strict=True))


def write_plot(path: Path, predictions: list[Prediction], recognizer: Recognizer) -> None:
    """Draw the `timeline` of the first file, unless it has an error."""
    if predictions[0].error is None:
        figure = timeline(predictions[0], recognizer)
        with whole(path) as new:
            figure.savefig(new, dpi=DPI)
        plt.close(figure)


@themed
def timeline(prediction: Prediction, recognizer: Recognizer) -> Figure:
    """Above, each label's probability over the segments, the most probable on top; where segments overlap, the earlier
    one up to the middle. Below, the mel spectrogram, the mean over channels.

    Source: the taggram of Pons and Serra, "musicnn", ISMIR 2019 (late-breaking).
    """
    mean, segments = prediction.mean, prediction.segments
    height = 0.28 * len(mean)
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(11, 3.4 + height), sharex=True, height_ratios=[height + 0.4, 2.2]
    )
    start, end = segments["start"].to_numpy(), segments["end"].to_numpy()
    edges = np.concatenate([start[:1], (end[:-1] + start[1:]) / 2, end[-1:]])
    values = segments[[PROBABILITY + label for label in mean.index]].to_numpy().T  # (labels, segments)
    image = above.pcolormesh(edges, np.arange(len(mean) + 1), values, vmin=0, vmax=1, cmap="Blues")
    # what a user wrote is no mathematics, with however many dollars
    above.set(ylim=(len(mean), 0), yticks=np.arange(len(mean)) + 0.5)
    above.set_yticklabels([f"{label} ({value:.2f})" for label, value in mean.items()], parse_math=False)
    above.set_ylabel(recognizer.about.get("label", "label"), parse_math=False)
    figure.colorbar(image, ax=above, label="probability", pad=0.01)
    _spectrogram(below, prediction.file, recognizer)
    seconds = end.max()
    step = next((step for step in STEPS if seconds <= 10 * step), 3600 * math.ceil(seconds / 36_000))
    below.xaxis.set_major_locator(MultipleLocator(step))
    below.xaxis.set_major_formatter(lambda time, _: f"{time // 60:.0f}:{time % 60:04.1f}".removesuffix(".0"))
    below.set(xlabel="time in min:s", xlim=(0, seconds))
    for axis in (above, below):
        axis.grid(visible=False)
    name = prediction.file.name.encode("utf-8", "replace").decode()  # which need be no text
    music = f"{recognizer.about['corpus']}{', which is synthetic music' if recognizer.about['synthetic'] else ''}"
    title = f"{name}: {prediction.label}, mean probability {mean[prediction.label]:.2f}\n"
    title += f"{recognizer.experiment.name}, trained on {music}"
    figure.suptitle(title, parse_math=False)
    return figure


def _spectrogram(axis: Axes, file: Path, recognizer: Recognizer) -> None:
    """The network's own spectrogram, or the report's where the network takes the waveform alone."""
    specs = [spec for spec in recognizer.experiment.representations if spec.kind == "mel"]
    spec = specs[0] if specs else MelSpectrogram()
    with streamed(file, [spec]) as (_, (array,)):
        step = -(-array.frames // COLUMNS)
        starts = range(0, array.frames, step)
        means = [array.read(start, start + step).astype(np.float32).mean((0, 1)) for start in starts]
    extent = (0, len(means) * step * spec.hop_length / spec.sample_rate, 0.5, spec.n_mels + 0.5)
    image = axis.imshow(
        np.transpose(means), origin="lower", aspect="auto", cmap="magma", interpolation="nearest", extent=extent
    )
    axis.set(ylabel="mel band")
    axis.figure.colorbar(image, ax=axis, label="power in dB", pad=0.01)
