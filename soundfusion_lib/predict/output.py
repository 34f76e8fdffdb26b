"""Predictions written down: as CSV, and as a picture along time."""

import csv
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from soundfusion_lib.analysis.figures import common
from soundfusion_lib.audio.representations import MelSpectrogram
from soundfusion_lib.audio.streaming import streamed
from soundfusion_lib.datasets.folder import SUFFIXES
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.paths import whole
from soundfusion_lib.predict.recognizer import Prediction, Recognizer, printable
from soundfusion_lib.training.inference import PROBABILITY

COLUMNS = 1200  # of the spectrogram drawn, at most: each is the mean of the frames it stands for


def check_outputs(files: list[Path], table: Path | None, plot: Path | None) -> None:
    """Raise SoundFusionError where an output would overwrite a recording or another output, or cannot be written."""
    for path in filter(None, (table, plot)):
        if path.suffix.lower() in SUFFIXES or path.resolve() in {file.resolve() for file in files}:
            raise SoundFusionError(f"{path} is a recording, and would be overwritten: name another file to write")
        if not os.access(path.parent, os.W_OK):
            raise SoundFusionError(f"{path} cannot be written: {path.parent} is no folder that may be written to")
    if table and plot and table.resolve() == plot.resolve():
        raise SoundFusionError(f"{table} is named for two outputs: give each its own file")
    if plot and len(files) > 1:
        raise SoundFusionError(f"--plot draws one file, and there are {len(files)}: call it for each")
    if plot and plot.suffix[1:].lower() not in FigureCanvasBase.get_supported_filetypes():
        raise SoundFusionError(f"{plot} is no picture: give it a name that ends in .png, .pdf or .svg")


def write_csv(path: Path, predictions: list[Prediction], labels: list[str]) -> None:
    """One row per segment and label: file, start and end in s, label, probability; none of a file with an error."""
    # a file's name that is no text holds surrogates: they become its bytes again
    with whole(path) as new, open(new, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["file", "start", "end", "label", "probability"])
        for prediction in predictions:
            for start, end, *values in prediction.segments.astype(float).itertuples(index=False, name=None):
                place = prediction.file, round(start, 3), round(end, 3)
                rows.writerows([*place, label, round(value, 6)] for label, value in zip(labels, values, strict=True))


def write_plot(path: Path, prediction: Prediction, recognizer: Recognizer) -> None:
    """Draw the `timeline` of a file."""
    figure = timeline(prediction, recognizer)
    with whole(path) as new:
        figure.savefig(new, dpi=120)
    plt.close(figure)


@common.themed
def timeline(prediction: Prediction, recognizer: Recognizer) -> Figure:
    """Above, each label's probability over the segments, the most probable on top; where segments overlap, the earlier
    one up to the middle. Below, the mel spectrogram, the mean over channels.

    Source: the taggram of Pons and Serra, "musicnn", ISMIR 2019 (late-breaking).
    """
    mean, segments = prediction.mean, prediction.segments
    height = 0.28 * len(mean)
    ratios, size = [height + 0.4, 2.2], (11, 3.4 + height)
    figure, (above, below) = plt.subplots(2, 1, sharex=True, height_ratios=ratios, figsize=size)
    start, end = segments["start"].to_numpy(), segments["end"].to_numpy()
    edges = np.concatenate([start[:1], (end[:-1] + start[1:]) / 2, end[-1:]])
    values = segments[[PROBABILITY + label for label in mean.index]].to_numpy().T  # (labels, segments)
    image = above.pcolormesh(edges, np.arange(len(mean) + 1), values, vmin=0, vmax=1, cmap="Blues")
    above.set(ylim=(len(mean), 0), yticks=np.arange(len(mean)) + 0.5)
    above.set_yticklabels([f"{label} ({value:.2f})" for label, value in mean.items()])
    above.set_ylabel(recognizer.about.get("label", "label"))
    above.grid(visible=False)
    figure.colorbar(image, ax=above, label="probability", pad=0.01)
    _spectrogram(below, prediction.file, recognizer)
    below.xaxis.set_major_locator(MaxNLocator(10, steps=[1, 1.5, 3, 6, 10]))  # of minutes, too
    below.xaxis.set_major_formatter(lambda time, _: f"{time // 60:.0f}:{time % 60:04.1f}".removesuffix(".0"))
    below.set(xlabel="time in min:s", xlim=(0, end.max()))
    title = f"{prediction.file.name}: {prediction.label}, mean probability {mean[prediction.label]:.2f}"
    figure.suptitle(printable(f"{title}\n{recognizer.title}"))
    return figure


def _spectrogram(axis: Axes, file: Path, recognizer: Recognizer) -> None:
    """The network's spectrogram, or the report's where the network takes the waveform alone."""
    specs = [spec for spec in recognizer.experiment.representations if spec.kind == "mel"]
    spec = specs[0] if specs else MelSpectrogram()
    with streamed(file, [spec]) as (_, (array,)):
        step = -(-array.frames // COLUMNS)
        starts = range(0, array.frames, step)
        means = [array.read(start, start + step).astype(np.float32).mean((0, 1)) for start in starts]
    extent = (0, len(means) * step * spec.hop_length / spec.sample_rate, 0.5, spec.n_mels + 0.5)
    image = common.spectrogram(axis, np.stack(means), spec, interpolation="nearest", extent=extent)
    axis.figure.colorbar(image, ax=axis, label="power in dB", pad=0.01)
