"""A picture of a clip: its waveform and spectrogram with the segments, and what networks predict along time."""

from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from soundfusion_lib.analysis.figures import common
from soundfusion_lib.audio.segments import Segmenting
from soundfusion_lib.explorer.judgements import Judgements
from soundfusion_lib.study.study import Study

WIDTH = 8.0  # inches
MOST_NAMED = 8  # segments with room for text
MOST_LABELS = 12  # rows of a network's probabilities
Rows = dict[str, tuple[Segmenting, pd.Series, pd.Series] | None]  # by name: each segment's probability and its text


class Heat(NamedTuple):
    """What speaks for a label, see `grad_cam`."""

    label: str
    values: np.ndarray  # (n_mels, frames), 0 or more


@common.themed
def clip(
    study: Study, track: str, judgements: Judgements | None = None, network: str = "", heat: Heat | None = None
) -> Figure:
    """A clip from top to bottom: the waveform with its segments; the mel spectrogram (mean over channels); and, given
    judgements, one network's probability of each label, and each network's probability of the true label.

    Args:
        network: whose probabilities of all labels are shown.
        heat: of that network, drawn over the spectrogram.
    """
    true, seconds = study.tracks.loc[track, ["label", "seconds"]]
    titles = [f"mel spectrogram, in colour what speaks for {heat.label} to {network}" if heat else "mel spectrogram"]
    heights, panels = [0.8, 1.3], []
    if judgements:
        titles.append(f"{network}: probability of each {study.corpus.label_name}")
        titles.append("each network: probability of the true label, and its prediction")
        panels = [_of_each_label(judgements, network, track, true), _of_each_network(judgements, track, true)]
        heights += [0.19 * len(rows) + 0.1 for rows in panels]
    size = (WIDTH, sum(heights) + 1.5)
    figure, axes = plt.subplots(len(heights), 1, figsize=size, height_ratios=heights, sharex=True)
    _waveform(axes[0], study, track)
    figure.colorbar(spectrogram(axes[1], study, track, heat), ax=axes[1], label="power in dB", pad=0.01)
    for axis, rows in zip(axes[2:], panels, strict=True):
        _along_time(axis, rows, seconds, true)
    if judgements:
        figure.colorbar(ScalarMappable(cmap="Blues"), ax=axes[2:], label="probability", pad=0.01)
    for axis, title in zip(axes[1:], titles, strict=True):
        axis.set_title(title, loc="left")
    axes[-1].set(xlabel="time in s", xlim=(0, seconds))
    return common.titled(figure, f"Track {track}: {true} ({common.corpus_note(study)})")


def description(study: Study, track: str, judgements: Judgements | None = None) -> str:
    """What `clip` shows, as a caption and for those who cannot see it."""
    predicted = f", and what networks predict ({judgements.tally(track)})" if judgements else ""
    label = study.tracks.loc[track, "label"]
    return f"Track {track} ({study.corpus.label_name}: {label}): its waveform and its mel spectrogram{predicted}"


def spectrogram(axis: Axes, study: Study, track: str, heat: Heat | None = None) -> AxesImage:
    """A clip's mel spectrogram, the mean over channels; grey under a heat, which is scaled to its highest value."""
    mel = study.store.arrays["mel"]
    decibels = mel.clip(track).astype(np.float32).mean(1)  # (frames, bands)
    image = common.spectrogram(axis, decibels, mel.representation, cmap="gray" if heat else "magma")
    if heat:
        share = heat.values / max(heat.values.max(), 1e-12)
        axis.imshow(share, cmap="inferno", alpha=0.75 * share, aspect="auto", origin="lower", extent=image.get_extent())
    return image


def _waveform(axis: Axes, study: Study, track: str) -> None:
    samples = common.waveform(axis, study.store, track, color="0.35", zorder=3)
    seconds, segmenting = study.tracks.loc[track, "seconds"], study.profile.segmenting
    top = max(0.1, 1.1 * float(np.abs(samples).max()))
    for number, start in enumerate(segmenting.starts(seconds)):
        end, color = start + segmenting.seconds, common.color_of(number % 2)
        axis.axvspan(start, end, color=color, alpha=0.18, linewidth=0)
        axis.text((start + end) / 2, top, str(number + 1), color=color, ha="center", va="bottom", weight="bold")
    axis.set(ylim=(-top, top))
    axis.set_title("waveform and segments", loc="left", pad=12)
    axis.grid(visible=False)


def _of_each_label(judgements: Judgements, network: str, track: str, true: str) -> Rows:
    """One network's probability of each label; of many labels the most probable ones and the true one."""
    table, segmenting = judgements.of_clip(network, track), judgements.runs[network].experiment.segmenting
    if table is None:
        return {"": None}
    best = {*table.mean().nlargest(MOST_LABELS - 1).index, true}
    labels = [label for label in table if label in best or table.shape[1] <= MOST_LABELS]
    return {label: (segmenting, table[label], table[label].map("{:.2f}".format)) for label in labels}


def _of_each_network(judgements: Judgements, track: str, true: str) -> Rows:
    """Each network's probability of the true label, and the label that it finds the most probable."""
    rows: Rows = {}
    for network, group in judgements.runs.items():
        table = judgements.of_clip(network, track)
        known = table is not None
        rows[network] = (group.experiment.segmenting, table[true], table.idxmax(axis=1)) if known else None
    return rows


def _along_time(axis: Axes, rows: Rows, seconds: float, true: str) -> None:
    """Draw each segment's probability as a shade of blue, up to the middle of where it overlaps the next, with its
    text if there is room; the true label is bold."""
    for number, row in enumerate(rows.values()):
        if row is None:
            axis.text(seconds / 2, number + 0.5, "not tested on this clip", ha="center", va="center", color="0.4")
            continue
        segmenting, values, texts = row
        starts = segmenting.starts(seconds)
        ends = np.minimum(starts + segmenting.seconds, seconds)
        edges = np.concatenate([starts[:1], (ends[:-1] + starts[1:]) / 2, ends[-1:]])
        axis.pcolormesh(edges, [number, number + 1], [values], vmin=0, vmax=1, cmap="Blues", edgecolor="white")
        for x, value, text in zip((edges[:-1] + edges[1:]) / 2, values, texts, strict=True):
            look = {"color": "white" if value > 0.6 else "black", "weight": "bold" if text == true else "normal"}
            if len(starts) <= MOST_NAMED:
                axis.text(x, number + 0.5, text, ha="center", va="center", size=7, clip_on=True, **look)
    axis.set(yticks=np.arange(len(rows)) + 0.5, ylim=(len(rows), 0), yticklabels=list(rows))
    for text in axis.get_yticklabels():
        text.set_weight("bold" if text.get_text() == true else "normal")
    axis.grid(visible=False)
