"""A figure of what a network hears along time: the labels' probabilities above the mel spectrogram.

In the form of the taggram of Pons and Serra, "musicnn: pre-trained convolutional neural networks for music audio
tagging", ISMIR 2019 (late-breaking).
"""

import math
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from soundfusion_lib.analysis.figures.data import themed
from soundfusion_lib.audio.representations import MelSpectrogram
from soundfusion_lib.audio.streaming import streamed
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.training.inference import PROBABILITY
from soundfusion_lib.use.recognizer import Heard, Recognizer

COLUMNS = 1200  # of the spectrogram, at most: each is the mean of the frames it stands for
STEPS = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800)  # between times on the axis, in s
DPI = 120


def write_timeline(heard: Heard, recognizer: Recognizer, file: Path) -> None:
    """Draw `timeline` into a picture file; raises SoundFusionError where the file's suffix names no kind of picture."""
    figure = timeline(heard, recognizer)
    aside = file.with_name(f".{file.name}.new{file.suffix}")
    try:
        figure.savefig(aside, dpi=DPI)
        os.replace(aside, file)
    except (ValueError, OSError) as error:
        raise SoundFusionError(f"the figure cannot be written to {file}: {error}") from error
    finally:
        aside.unlink(missing_ok=True)
        plt.close(figure)


@themed
def timeline(heard: Heard, recognizer: Recognizer) -> Figure:
    """Above, each label's probability (the most probable on top) over the segments, where these overlap the earlier
    one up to the middle; below, the mel spectrogram, the mean over channels."""
    labels = list(heard.mean.index)
    size = (11, 3.4 + 0.28 * len(labels))
    figure, (above, below) = plt.subplots(
        2, 1, figsize=size, sharex=True, height_ratios=[0.28 * len(labels) + 0.4, 2.2]
    )
    _probabilities(above, heard, labels)
    above.set_ylabel(recognizer.about.get("label", "label"))
    _spectrogram(below, heard.file, recognizer)
    seconds = heard.segments["end"].max()
    step = next((step for step in STEPS if seconds <= 10 * step), 3600 * math.ceil(seconds / 36_000))
    below.xaxis.set_major_locator(MultipleLocator(step))
    below.xaxis.set_major_formatter(lambda time, _: f"{time // 60:.0f}:{time % 60:04.1f}".removesuffix(".0"))
    below.set(xlabel="time in min:s", xlim=(0, seconds))
    name = heard.file.name.encode("utf-8", "replace").decode()  # which need be no text
    synthetic = ", which is synthetic music" if recognizer.about["synthetic"] else ""
    figure.suptitle(
        f"{name}: {heard.label}, mean probability {heard.mean[heard.label]:.2f}\n"
        f"{recognizer.name}, trained on {recognizer.about['corpus']}{synthetic}"
    )
    return figure


def _probabilities(axis: Axes, heard: Heard, labels: list[str]) -> None:
    start, end = heard.segments["start"].to_numpy(), heard.segments["end"].to_numpy()
    edges = np.concatenate([start[:1], (end[:-1] + start[1:]) / 2, end[-1:]])
    values = heard.segments[[PROBABILITY + label for label in labels]].to_numpy().T
    image = axis.pcolormesh(edges, np.arange(len(labels) + 1), values, vmin=0, vmax=1, cmap="Blues")
    axis.set(yticks=np.arange(len(labels)) + 0.5, ylim=(len(labels), 0))
    axis.set_yticklabels([f"{label} ({heard.mean[label]:.2f})" for label in labels])
    axis.grid(visible=False)
    axis.figure.colorbar(image, ax=axis, label="probability", pad=0.01)


def _spectrogram(axis: Axes, file: Path, recognizer: Recognizer) -> None:
    """Of the network's own spectrogram, or of the report's where it hears the waveform alone."""
    specs = [spec for spec in recognizer.experiment.representations if spec.kind == "mel"]
    spec = specs[0] if specs else MelSpectrogram()
    with streamed(file, [spec]) as (_, (array,)):
        step = -(-array.frames // COLUMNS)
        starts = range(0, array.frames, step)
        means = [array.read(start, start + step).astype(np.float32).mean((0, 1)) for start in starts]
    seconds = len(means) * step * spec.hop_length / spec.sample_rate
    extent = (0, seconds, 0.5, spec.n_mels + 0.5)
    look = {"origin": "lower", "aspect": "auto", "cmap": "magma", "interpolation": "nearest", "extent": extent}
    image = axis.imshow(np.transpose(means), **look)
    axis.set(ylabel="mel band")
    axis.grid(visible=False)
    axis.figure.colorbar(image, ax=axis, label="power in dB", pad=0.01)
