"""What a network hears along a file, as a picture."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from soundfusion_lib.analysis.figures import common
from soundfusion_lib.audio.representations import MelSpectrogram, streamed
from soundfusion_lib.paths import whole
from soundfusion_lib.predict.recognizer import Prediction, Recognizer
from soundfusion_lib.training.inference import PROBABILITY

COLUMNS = 1200  # of the spectrogram drawn, at most: each is the mean of the frames it stands for


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
    figure.suptitle(f"{prediction.in_words(3)}\n{recognizer.describe()}", fontsize="medium")
    return figure


def write_plot(path: Path, prediction: Prediction, recognizer: Recognizer) -> None:
    """Draw the `timeline` of a file into a picture."""
    figure = timeline(prediction, recognizer)
    with whole(path) as new:
        figure.savefig(new, dpi=120)
    plt.close(figure)
