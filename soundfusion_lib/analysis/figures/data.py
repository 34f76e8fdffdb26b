"""Figures of data and of training, and what all figures share."""

from collections.abc import Callable
from functools import wraps

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from soundfusion_lib.audio.segments import Segmenting
from soundfusion_lib.audio.store import Store
from soundfusion_lib.datasets.corpus import SPLITS
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.result import Result


def themed(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Give a function that draws a figure the theme of all of them; rcParams stay as they are outside."""

    @wraps(draw)
    def drawn(*args, **options) -> Figure:
        import seaborn as sns  # here, not above: it takes a second, which only figures are worth

        with plt.rc_context():
            layout = {"figure.constrained_layout.use": True}
            sns.set_theme("paper", "whitegrid", "colorblind", "DejaVu Sans", rc=layout)  # matplotlib brings this font
            return draw(*args, **options)

    return drawn


def corpus_note(study: Study) -> str:
    """What the numbers were obtained on, for titles: synthetic data is called so, a label that is no genre named."""
    synthetic = ", synthetic music" if study.corpus.synthetic else ""
    return f"{study.corpus.name} corpus{synthetic}{study.corpus.label_note}"


def legend_below(axis: Axes, columns: int) -> None:
    """Name what an axis shows, under all axes of its figure."""
    axis.figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=columns)


def whole_numbers(axis: Axes) -> None:
    """Label whole numbers only on a horizontal axis of counts, also where it holds a single one."""
    axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)


def accuracy_by_epoch(axis: Axes, study: Study) -> None:
    """Name the axes of such curves, and mark what guessing reaches."""
    axis.axhline(1 / len(study.corpus.labels), color="tab:gray", linewidth=1, label="chance")
    axis.set(xlabel="epoch", ylabel="accuracy per segment", ylim=(0, 1))
    whole_numbers(axis)


def points(axis: Axes, position: np.ndarray, rows: pd.DataFrame, label: str, series: int = 0) -> None:
    """Values on their intervals (the first three columns: value, low, high), one above the other; a point alone where
    the bounds are not known (NaN)."""
    values, low, high = rows.iloc[:, :3].to_numpy(float).T
    known, color = ~np.isnan(low), to_rgb(f"C{series}")  # now: a figure is drawn when its theme is gone
    axis.hlines(position[known], low[known], high[known], color=color)
    look = {"s": 40, "edgecolor": "white", "marker": "osD^"[series % 4]}
    axis.scatter(values, position, color=color, label=label, zorder=3, **look)


def with_reported(axis: Axes, study: Study, rows: pd.DataFrame, interval: str = "95 % interval") -> None:
    """`points` of a table, and what was reported (a fourth column, where there is one) as open marks."""
    position = np.arange(len(rows))
    points(axis, position, rows, f"{study.corpus.name}, {interval}")
    for column in rows.columns[3:]:
        axis.plot(rows[column], position, "D", mfc="none", color=to_rgb("C3"), label="reported on FMA-small")


def name_rows(axis: Axes, names: list[str], line: float, meaning: str = "chance") -> None:
    """The names of `points`, from the top to the bottom, and a line to compare them with."""
    axis.axvline(line, color="tab:gray", linewidth=1, label=meaning)
    axis.set(ylim=(len(names) - 0.5, -0.5), yticks=range(len(names)), yticklabels=names)
    axis.grid(axis="y", visible=False)


@themed
def split_distribution(study: Study) -> Figure:
    """Number of tracks of each label in each part, and the label's share of each part."""
    counts = pd.crosstab(study.tracks["label"], study.tracks["split"])
    counts = counts.reindex(study.corpus.labels, columns=SPLITS, fill_value=0)
    panels = {"tracks": counts, "share of the part in %": 100 * counts / counts.sum()}
    figure, axes = plt.subplots(1, 2, figsize=(10, 0.36 * len(counts) + 1.6), sharey=True)
    for axis, (name, table) in zip(axes, panels.items(), strict=True):
        table.plot.barh(ax=axis, width=0.8, legend=False, xlabel=name, ylabel=study.corpus.label_name)
        axis.grid(axis="y", visible=False)
    axes[0].invert_yaxis()
    whole_numbers(axes[0])
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", title="part")
    figure.suptitle(f"Where the tracks of each {study.corpus.label_name} go ({corpus_note(study)})")
    return figure


@themed
def clip(store: Store, track: str) -> Figure:
    """A clip's waveform and its mel spectrogram (of every channel), as the networks get them, over the same time."""
    wave, mel = store.arrays["waveform"], store.arrays["mel"]
    rate, spec = wave.representation.sample_rate, mel.representation
    samples = wave.clip(track)[:, 0, 0] * wave.representation.scale
    specgram = mel.clip(track).astype(np.float32)  # (frames, channels, bands)
    seconds = len(samples) / rate
    figure, axes = plt.subplots(1 + spec.channels, 1, figsize=(10, 2 + 2 * spec.channels), sharex=True)
    axes[0].plot(np.linspace(0, seconds, len(samples)), samples, linewidth=0.3)
    axes[0].set(ylabel="amplitude\n(full scale = 1)", xlim=(0, seconds), ylim=(-1, 1))
    axes[0].set_title(f"waveform, mono, {rate:,} Hz", loc="left")
    extent = (0, len(specgram) * spec.hop_length / spec.sample_rate, 0.5, spec.n_mels + 0.5)
    look = {"origin": "lower", "aspect": "auto", "cmap": "magma", "interpolation": "nearest", "extent": extent}
    names = ["left channel", "right channel"] if spec.channels == 2 else ["mono"]
    for channel, (axis, name) in enumerate(zip(axes[1:], names, strict=True)):
        image = axis.imshow(specgram[:, channel].T, vmin=specgram.min(), vmax=specgram.max(), **look)
        axis.set(ylabel="mel band")
        axis.set_title(f"mel spectrogram, {name}, {spec.sample_rate:,} Hz", loc="left")
        axis.grid(visible=False)
    figure.colorbar(image, ax=list(axes[1:]), label="power in dB")
    axes[-1].set(xlabel="time in s")
    synthetic = ", synthetic" if store.corpus.synthetic else ""
    figure.suptitle(f"Track {track}: {store.tracks.loc[track, 'label']}{synthetic}")
    return figure


@themed
def segments(seconds: float, segmenting: Segmenting) -> Figure:
    """Where the segments of a clip of so many seconds lie."""
    starts = segmenting.starts(seconds)
    figure, axis = plt.subplots(figsize=(10, 0.3 * len(starts) + 1.2))
    axis.barh(range(len(starts)), segmenting.seconds, left=starts, height=0.7, alpha=0.7)
    axis.axvspan(0, seconds, color="tab:gray", alpha=0.15, label=f"clip, {seconds:.1f} s")
    axis.set(xlabel="time in s", ylabel="segment", yticks=range(len(starts)), xlim=(0, None))
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    figure.legend(loc="outside right upper")
    overlap = "" if segmenting.overlap is None else f", {100 * segmenting.overlap:g} % overlap"
    axis.set_title(f"{len(starts)} segments of {segmenting.seconds:g} s{overlap}")
    return figure


@themed
def training_curves(study: Study, runs: dict[str, Result]) -> Figure:
    """Loss (first row) and accuracy (second row) per epoch, a column for each experiment; the epoch kept is marked."""
    size = (4.2 * len(runs), 5.6)
    figure, axes = plt.subplots(2, len(runs), figsize=size, sharex="col", sharey="row", squeeze=False)
    for column, (name, group) in zip(axes.T, runs.items(), strict=True):
        for axis, quantity in zip(column, ("loss", "accuracy"), strict=True):
            for part in ("train", "validation"):
                axis.plot(group.history["epoch"], group.history[f"{part}_{quantity}"], "o-", mec="white", label=part)
            best = group.runs[0].info["best_epoch"]
            axis.axvline(best, color="black", linewidth=1, linestyle=":", label="the epoch that was kept")
        column[0].set_title(name)
        accuracy_by_epoch(column[1], study)
        column[0].set_ylabel("cross entropy in nats")
        for axis in column:
            axis.label_outer()
    legend_below(axes[1, 0], 4)
    figure.suptitle(f"Training ({corpus_note(study)})")
    return figure


@themed
def accuracies(study: Study, table: pd.DataFrame) -> Figure:
    """A table of `tables.performance` as points with their intervals; what was reported as open marks."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 0.4 * len(table) + 1.6), sharey=True, sharex=True)
    for axis, by, name in zip(axes, ("segment", "track"), ("per segment", "per track, by vote"), strict=True):
        with_reported(axis, study, table.filter([f"{by}_{what}" for what in ("accuracy", "low", "high", "reported")]))
        name_rows(axis, table["model"], 1 / len(study.corpus.labels))
        axis.set(xlabel=f"test accuracy {name}", xlim=(0, 1))
    legend_below(axes[0], 3)
    figure.suptitle(f"Accuracy ({corpus_note(study)})")
    return figure
