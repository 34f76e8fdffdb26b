"""A picture of a clip: its waveform and spectrogram with the segments, and what networks predict along time."""

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

MOST_NAMED = 8  # segments with room for text
Heat = tuple[str, np.ndarray]  # a label and what speaks for it, (n_mels, frames), 0 or more, see `grad_cam`


@common.themed
def clip(
    study: Study, track: str, judgements: Judgements | None = None, network: str = "", heat: Heat | None = None
) -> Figure:
    """A clip's waveform with its segments; its mel spectrogram, under a heat if there is one; and, given judgements,
    the probability of each label to a network that was tested on the clip, and of the true label to each network."""
    true, seconds = study.tracks.loc[track, ["label", "seconds"]]
    title, panels = f"Track {track}: {true}", {}
    if judgements:
        title += f", {judgements.tally(track)}"
        tables = {name: table.loc[track] for name, table in judgements.probabilities.items() if track in table.index}
        cut = {name: judgements.runs[name].experiment.segmenting for name in tables}
        panels = {
            f"{network}: probability of each label": {
                label: (cut[network], p, p.map("{:.2f}".format)) for label, p in tables[network].items()
            },
            "each network: probability of the true label, and its prediction": {
                name: (cut[name], table[true], table.idxmax(axis=1)) for name, table in tables.items()
            },
        }
    heights = [0.8, 1.3, *(0.19 * len(rows) + 0.1 for rows in panels.values())]  # inches
    size = (8, sum(heights) + 1.5)
    figure, axes = plt.subplots(len(heights), 1, figsize=size, height_ratios=heights, sharex=True)
    _waveform(axes[0], study, track)
    figure.colorbar(_spectrogram(axes[1], study, track, heat), ax=axes[1], label="power in dB", pad=0.01)
    over = f", in colour what speaks for {heat[0]} to {network}" if heat else ""
    axes[1].set_title(f"mel spectrogram{over}", loc="left")
    for axis, (name, rows) in zip(axes[2:], panels.items(), strict=True):
        for number, row in enumerate(rows.values()):
            _along_time(axis, number, *row, seconds, true)
        axis.set(yticks=np.arange(len(rows)) + 0.5, ylim=(len(rows), 0), yticklabels=list(rows))
        axis.set_title(name, loc="left")
        axis.grid(visible=False)
    if judgements:
        figure.colorbar(ScalarMappable(cmap="Blues"), ax=axes[2:], label="probability", pad=0.01)
    axes[-1].set(xlabel="time in s", xlim=(0, seconds))
    return common.titled(figure, f"{title} ({common.corpus_note(study)})")


def _spectrogram(axis: Axes, study: Study, track: str, heat: Heat | None) -> AxesImage:
    """A clip's mel spectrogram, the mean over channels; grey under a heat, which is scaled to its highest value."""
    mel = study.store.arrays["mel"]
    decibels = mel.clip(track).astype(np.float32).mean(1)  # (frames, bands)
    image = common.spectrogram(axis, decibels, mel.representation, cmap="gray" if heat else "magma")
    if heat:
        share = heat[1] / max(heat[1].max(), 1e-12)
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


def _along_time(
    axis: Axes, number: int, segmenting: Segmenting, values: pd.Series, texts: pd.Series, seconds: float, true: str
) -> None:
    """Draw each segment's probability as a shade of blue, up to the middle of where it overlaps the next, with its
    text if there is room; the true label is bold."""
    starts = segmenting.starts(seconds)
    ends = np.minimum(starts + segmenting.seconds, seconds)
    edges = np.concatenate([starts[:1], (ends[:-1] + starts[1:]) / 2, ends[-1:]])
    axis.pcolormesh(edges, [number, number + 1], [values], vmin=0, vmax=1, cmap="Blues", edgecolor="white")
    for x, value, text in zip((edges[:-1] + edges[1:]) / 2, values, texts, strict=True):
        look = {"color": "white" if value > 0.6 else "black", "weight": "bold" if text == true else "normal"}
        if len(starts) <= MOST_NAMED:
            axis.text(x, number + 0.5, text, ha="center", va="center", size=7, **look)
