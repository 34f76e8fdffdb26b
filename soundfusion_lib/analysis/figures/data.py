"""Figures of the study. Each function returns a matplotlib Figure whose axes name what they show and in which unit."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from soundfusion_lib.corpora.corpus import SPLITS
from soundfusion_lib.signals.segments import Segmenting
from soundfusion_lib.signals.store import Store
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.run_groups import RunGroup

PART_COLORS = dict(zip(SPLITS, ("#0173b2", "#de8f05", "#029e73"), strict=True))  # told apart by the colour-blind
STYLE = {
    **plt.style.library["seaborn-v0_8-whitegrid"],
    "font.family": ["DejaVu Sans"],  # comes with matplotlib
    "figure.constrained_layout.use": True,
    "font.size": 10,
}


def corpus_note(study: Study) -> str:
    """What the numbers were obtained on, for titles: synthetic data is called synthetic, and a label that is no genre is named."""
    synthetic = ", synthetic music" if study.corpus.synthetic else ""
    return f"{study.corpus.name} corpus{synthetic}{label_note(study.corpus.label)}"


def label_note(label: str) -> str:
    """What to add to a title or caption where the label is no genre."""
    return "" if label == "genre" else f", label: {label}"


def whole_numbers(axis: Axes) -> None:
    """Label whole numbers only on a horizontal axis of counts, also where it holds a single one."""
    axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)


def split_distribution(study: Study) -> Figure:
    """Number of tracks of each genre in each part, and the genre's share of each part."""
    tracks, label = study.tracks, study.corpus.label
    counts = pd.crosstab(tracks["genre"], tracks["split"]).reindex(columns=SPLITS, fill_value=0)
    shares = 100 * counts / counts.sum()
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(10, 0.36 * len(counts) + 1.6), sharey=True)
        for axis, table, name in zip(axes, (counts, shares), ("tracks", "share of the part in %"), strict=True):
            table.plot.barh(ax=axis, color=PART_COLORS, width=0.8, legend=False)
            axis.set(xlabel=name, ylabel=label)
            axis.grid(axis="y", visible=False)
        axes[0].invert_yaxis()
        whole_numbers(axes[0])
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", title="part")
        figure.suptitle(f"Where the tracks of each {label} go ({corpus_note(study)})")
    return figure


def clip(store: Store, track: str) -> Figure:
    """A clip's waveform and its mel spectrogram (of every channel), as the networks get them, over the same time axis."""
    wave, mel = store.arrays["waveform"], store.arrays["mel"]
    samples = wave.clip(track)[:, 0, 0] * wave.representation.scale
    specgram = mel.clip(track).astype(np.float32)  # (frames, channels, bands)
    seconds = len(samples) / wave.representation.sample_rate
    spec = mel.representation
    names = ["left channel", "right channel"] if spec.channels == 2 else ["mono"]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1 + spec.channels, 1, figsize=(10, 2 + 2 * spec.channels), sharex=True)
        axes[0].plot(np.linspace(0, seconds, len(samples)), samples, linewidth=0.3)
        axes[0].set(ylabel="amplitude\n(full scale = 1)", xlim=(0, seconds), ylim=(-1, 1))
        axes[0].set_title(f"waveform, mono, {wave.representation.sample_rate:,} Hz", loc="left")
        for channel, (axis, name) in enumerate(zip(axes[1:], names, strict=True)):
            image = axis.imshow(
                specgram[:, channel].T,
                origin="lower",
                aspect="auto",
                extent=(0, len(specgram) * spec.hop_length / spec.sample_rate, 0.5, spec.n_mels + 0.5),
                vmin=specgram.min(),
                vmax=specgram.max(),
                cmap="magma",
                interpolation="nearest",
            )
            axis.set(ylabel="mel band")
            axis.set_title(f"mel spectrogram, {name}, {spec.sample_rate:,} Hz", loc="left")
            axis.grid(visible=False)
        figure.colorbar(image, ax=list(axes[1:]), label="power in dB")
        axes[-1].set(xlabel="time in s")
        row = store.tracks.loc[track]
        figure.suptitle(f"Track {track}: {row['genre']}" + (", synthetic" if store.corpus.synthetic else ""))
    return figure


def segments(seconds: float, segmenting: Segmenting) -> Figure:
    """Where the segments of a clip of so many seconds lie."""
    starts = segmenting.starts(seconds)
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(10, 0.3 * len(starts) + 1.2))
        axis.barh(np.arange(len(starts)), segmenting.seconds, left=starts, height=0.7, color="#0173b2", alpha=0.7)
        axis.axvspan(0, seconds, color="tab:gray", alpha=0.15, label=f"clip, {seconds:.1f} s")
        axis.set(xlabel="time in s", ylabel="segment", yticks=np.arange(len(starts)), xlim=(0, None))
        axis.invert_yaxis()
        axis.grid(axis="y", visible=False)
        figure.legend(loc="outside right upper")
        overlap = "" if segmenting.overlap is None else f", {segmenting.overlap:.0%} overlap"
        axis.set_title(f"{len(starts)} segments of {segmenting.seconds:g} s{overlap}")
    return figure


def training_curves(study: Study, runs: dict[str, RunGroup]) -> Figure:
    """Loss (first row) and accuracy (second row) per epoch, a column for each experiment; the best epoch is marked."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(2, len(runs), figsize=(4.2 * len(runs), 5.6), sharex="col", sharey="row", squeeze=False)
        for column, (name, group) in zip(axes.T, runs.items(), strict=True):
            history, best = group.history, group.runs[0].info["best_epoch"]
            for axis, quantity in zip(column, ("loss", "accuracy"), strict=True):
                for part in ("train", "validation"):
                    values = history[f"{part}_{quantity}"]
                    axis.plot(history["epoch"], values, color=PART_COLORS[part], label=part, marker=".")
                axis.axvline(best, color="black", linewidth=1, linestyle=":", label="best epoch on validation")
            column[0].set_title(name)
            column[1].set(xlabel="epoch", ylim=(0, 1))
            column[1].axhline(1 / len(study.corpus.genres), color="tab:gray", linewidth=1, label="chance")
            whole_numbers(column[1])
        axes[0, 0].set(ylabel="cross entropy in nats")
        axes[1, 0].set(ylabel="accuracy per segment")
        figure.legend(*axes[1, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
        figure.suptitle(f"Training ({corpus_note(study)})")
    return figure


def accuracies(study: Study, table: pd.DataFrame) -> Figure:
    """A table of `tables.performance` as points with their intervals; what was reported as open marks."""
    quantities = {"segment": "per segment", "track": "per track, by vote"}
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(10, 0.5 * len(table) + 1.9), sharey=True, sharex=True)
        position = np.arange(len(table))
        for axis, (by, name) in zip(axes, quantities.items(), strict=True):
            middle = table[f"{by}_accuracy"]
            error = [middle - table[f"{by}_low"], table[f"{by}_high"] - middle]
            axis.errorbar(middle, position, xerr=error, fmt="o", capsize=3, label="reproduced, 95 % interval")
            if f"{by}_reported" in table:
                axis.plot(table[f"{by}_reported"], position, "D", mfc="none", color="tab:red", label="reported on FMA-small")
            chance = 1 / len(study.corpus.genres)
            axis.axvline(chance, color="tab:gray", linewidth=1, label="chance")
            axis.set(xlabel=f"test accuracy {name}", xlim=(0, 1), yticks=position, ylim=(len(table) - 0.5, -0.5))
            axis.set_yticklabels(table["model"])
            axis.grid(axis="y", visible=False)
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
        figure.suptitle(f"Accuracy ({corpus_note(study)})")
    return figure
