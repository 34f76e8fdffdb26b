"""Pictures of a clip: its waveform and spectrogram with the segments, and what networks hear in them along time."""

from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from soundfusion_lib.analysis.figures.data import corpus_note, themed
from soundfusion_lib.audio.segments import Segmenting
from soundfusion_lib.explore.judgements import Judgements
from soundfusion_lib.study.study import Study

WIDTH = 9.0  # inches; a notebook's column is 870 px wide
MOST_NAMED = 8  # segments whose most probable labels have room
MOST_LABELS = 12  # rows of a network's probabilities
COLUMNS = 1200  # of the waveform, at most: each from the lowest to the highest of its samples
FRAMES = 400  # of the spectrogram, at most: each the mean of those that it stands for
STEP = 2  # dB, as the heat's 20 steps unseen: notebooks hold these pictures, which are a fifth smaller in fewer colours
BLUES = {"vmin": 0, "vmax": 1, "cmap": "Blues", "edgecolor": "white"}
TRAINED = "it trained on this clip"
TEXT = {"parse_math": False}  # a label with dollar signs is no formula


class Heat(NamedTuple):
    """What speaks for a label, see `grad_cam`."""

    label: str
    values: np.ndarray  # (n_mels, frames), 0 or more


@themed
def clip(
    study: Study,
    track: str,
    judgements: Judgements | None = None,
    network: str | None = None,
    heat: Heat | None = None,
) -> Figure:
    """A clip from top to bottom: the waveform with its segments; the mel spectrogram (mean over channels); where there
    are judgements the probabilities that one network gives each label, and those that each gives the true one.

    Args:
        network: whose probabilities of all labels are shown.
        heat: of that network, drawn over the spectrogram.
    """
    true, seconds = study.tracks.loc[track, ["label", "seconds"]]
    heights = [0.9, 1.5]
    if judgements:
        labels = _shown(judgements.of_clip(network, track), study.store.labels, true)
        heights += [0.22 * len(labels) + 0.1, 0.24 * len(judgements.runs) + 0.1]
    figure, axes = plt.subplots(
        len(heights), 1, figsize=(WIDTH, sum(heights) + 1.6), height_ratios=heights, sharex=True
    )
    _waveform(axes[0], study, track)
    image = spectrogram(axes[1], study, track, heat)
    figure.colorbar(image, ax=axes[1], label="power in dB", pad=0.01)
    speaks = f", in colour what speaks for {heat.label} to {network}" if heat else ""
    axes[1].set_title(f"mel spectrogram{speaks}", loc="left", **TEXT)
    if judgements:
        _all_labels(axes[2], study, judgements, network, track, labels)
        _all_networks(axes[3], study, judgements, track)
    axes[-1].set(xlabel="time in s", xlim=(0, seconds))
    figure.suptitle(f"Track {track}: {true} ({corpus_note(study)})", **TEXT)
    return figure


def described(study: Study, track: str, judgements: Judgements | None = None) -> str:
    """What `clip` shows, for a caption and for those who do not see it."""
    heard = f", and what networks hear in it ({judgements.tally(track)})" if judgements else ""
    label = study.tracks.loc[track, "label"]
    return f"Track {track} ({study.corpus.label_name}: {label}): its waveform and its mel spectrogram{heard}"


def _waveform(axis: Axes, study: Study, track: str) -> None:
    array = study.store.arrays["waveform"]
    samples = array.clip(track)[:, 0, 0] * array.representation.scale
    seconds = study.tracks.loc[track, "seconds"]
    step = max(1, len(samples) // COLUMNS)
    blocks = samples[: len(samples) // step * step].reshape(-1, step)
    loudest = max(0.1, 1.1 * float(np.abs(samples).max()))
    look = {"color": "0.35", "linewidth": 0.3, "zorder": 3}
    axis.fill_between(np.linspace(0, seconds, len(blocks)), blocks.min(1), blocks.max(1), **look)
    for number, start in enumerate(study.profile.segmenting.starts(seconds)):
        end, color = start + study.profile.segmenting.seconds, to_rgb(f"C{number % 2}")
        axis.axvspan(start, end, color=color, alpha=0.18, linewidth=0)
        axis.text((start + end) / 2, loudest, str(number + 1), color=color, ha="center", va="bottom", weight="bold")
    axis.set(ylim=(-loudest, loudest), ylabel="amplitude")
    axis.set_title("waveform and segments", loc="left", pad=12)
    axis.grid(visible=False)


def spectrogram(axis: Axes, study: Study, track: str, heat: Heat | None = None) -> AxesImage:
    """A clip's mel spectrogram, the mean over channels; grey under a heat, which is scaled to its highest value."""
    array = study.store.arrays["mel"]
    spec = array.representation
    decibels = array.clip(track).astype(np.float32).mean(1)  # (frames, bands)
    seconds = len(decibels) * spec.hop_length / spec.sample_rate
    starts = np.arange(0, len(decibels), -(-len(decibels) // FRAMES))
    counts = np.diff(starts, append=len(decibels))
    decibels = np.add.reduceat(decibels, starts) / counts[:, None]
    decibels = STEP * (decibels / STEP).round().T  # (bands, columns)
    extent = (0, seconds, 0.5, spec.n_mels + 0.5)
    look = {"origin": "lower", "aspect": "auto", "extent": extent}
    image = axis.imshow(decibels, cmap="gray" if heat else "magma", interpolation="nearest", **look)
    if heat:
        share = (20 * heat.values / max(heat.values.max(), 1e-12)).round() / 20
        axis.imshow(share, cmap="inferno", alpha=0.75 * share, vmin=0, vmax=1, **look)
    axis.set(ylabel="mel band")
    axis.grid(visible=False)
    return image


def _shown(probabilities: pd.DataFrame | None, labels: list[str], true: str) -> list[str]:
    """The labels that have room: the most probable ones, and the true one."""
    if len(labels) <= MOST_LABELS or probabilities is None:
        return labels[:MOST_LABELS]
    best = {*probabilities.mean().nlargest(MOST_LABELS - 1).index, true}
    return [label for label in labels if label in best]


def _all_labels(axis: Axes, study: Study, judgements: Judgements, network: str, track: str, labels: list[str]) -> None:
    """A network's probability of each label, as a heat map over time; the true label in bold."""
    true, seconds = study.tracks.loc[track, ["label", "seconds"]]
    axis.set_title(f"{network}: probability of each {study.corpus.label_name}", loc="left", **TEXT)
    probabilities, bold = judgements.of_clip(network, track), np.array(labels) == true
    if probabilities is not None:
        edges = _edges(judgements.runs[network].experiment.segmenting, seconds)
        values = probabilities[labels].to_numpy().T  # (labels, segments)
        axis.pcolormesh(edges, np.arange(len(labels) + 1), values, **BLUES)
        _write(axis, edges, values, [[f"{value:.2f}" for value in row] for row in values], bold[:, None])
    else:
        axis.text(seconds / 2, len(labels) / 2, TRAINED, ha="center", va="center", color="0.4")
    _name(axis, labels, bold)


def _all_networks(axis: Axes, study: Study, judgements: Judgements, track: str) -> None:
    """A row a network: the probability that it gives the true label, and by name the label that it finds the most
    probable."""
    true, seconds = study.tracks.loc[track, ["label", "seconds"]]
    image = None
    for row, (network, group) in enumerate(judgements.runs.items()):
        probabilities = judgements.of_clip(network, track)
        if probabilities is None:
            axis.text(seconds / 2, row + 0.5, TRAINED, ha="center", va="center", color="0.4")
            continue
        edges, values = _edges(group.experiment.segmenting, seconds), probabilities[[true]].to_numpy().T
        image = axis.pcolormesh(edges, [row, row + 1], values, **BLUES)
        best = probabilities.idxmax(axis=1).to_numpy()
        _write(axis, edges, values, [best], (best == true)[None], row)
    axis.set_title("each network: probability of the true label; in words the most probable one", loc="left")
    _name(axis, list(judgements.runs), np.zeros(len(judgements.runs), bool))
    if image:
        axis.figure.colorbar(image, ax=axis.figure.axes[2:4], label="probability", pad=0.01)


def _edges(segmenting: Segmenting, seconds: float) -> np.ndarray:
    """Where what is said of each segment is drawn, in s: where two overlap the earlier one up to the middle."""
    starts = segmenting.starts(seconds)
    ends = np.minimum(starts + segmenting.seconds, seconds)
    return np.concatenate([starts[:1], (ends[:-1] + starts[1:]) / 2, ends[-1:]])


def _write(
    axis: Axes, edges: np.ndarray, values: np.ndarray, texts: list[list[str]], bold: np.ndarray, first: int = 0
) -> None:
    """A text in each cell of a heat map, (rows, segments), whose rows begin with this one, where there is room."""
    if values.shape[1] > MOST_NAMED:
        return
    bold = np.broadcast_to(bold, values.shape)
    for (row, column), value in np.ndenumerate(values):
        look = {"color": "white" if value > 0.6 else "black", "weight": "bold" if bold[row, column] else "normal"}
        place = (edges[column] + edges[column + 1]) / 2, first + row + 0.5
        axis.text(*place, texts[row][column], ha="center", va="center", size=7, clip_on=True, **look, **TEXT)


def _name(axis: Axes, names: list[str], bold: np.ndarray) -> None:
    axis.set(yticks=np.arange(len(names)) + 0.5, ylim=(len(names), 0))
    axis.set_yticklabels(names, **TEXT)
    for text, is_bold in zip(axis.get_yticklabels(), bold, strict=True):
        text.set_weight("bold" if is_bold else "normal")
    axis.grid(visible=False)
