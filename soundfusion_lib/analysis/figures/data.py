"""Figures of data, of the fusions' structure and of training."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from soundfusion_lib.analysis.figures import common
from soundfusion_lib.analysis.figures.common import color_of, corpus_note, themed, titled
from soundfusion_lib.audio.store import Store
from soundfusion_lib.datasets.corpus import SPLITS
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.result import Result


@themed
def split_distribution(study: Study) -> Figure:
    """Number of tracks of each label in each set, and the label's share of each set."""
    counts = pd.crosstab(study.tracks["label"], study.tracks["split"])
    counts = counts.reindex(study.corpus.labels, columns=SPLITS, fill_value=0)
    panels = {"tracks": counts, "share of the set in %": 100 * counts / counts.sum()}
    figure, axes = plt.subplots(1, 2, figsize=(10, 0.36 * len(counts) + 1.6), sharey=True)
    for axis, (name, table) in zip(axes, panels.items(), strict=True):
        table.plot.barh(ax=axis, width=0.8, legend=False, xlabel=name, ylabel=study.corpus.label_name)
        axis.grid(axis="y", visible=False)
    axes[0].invert_yaxis()
    common.whole_numbers(axes[0])
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", title="set")
    return titled(figure, f"Tracks of each {study.corpus.label_name} in each set ({corpus_note(study)})")


@themed
def clip(store: Store, track: str) -> Figure:
    """A clip's waveform and its mel spectrogram (one panel per channel), as the networks get them, on one time axis."""
    spec = store.arrays["mel"].representation
    specgram = store.arrays["mel"].clip(track).astype(np.float32)  # (frames, channels, bands)
    figure, axes = plt.subplots(1 + spec.channels, 1, figsize=(10, 2 + 2 * spec.channels), sharex=True)
    common.waveform(axes[0], store, track)
    rate = store.arrays["waveform"].representation.sample_rate
    axes[0].set(ylabel="amplitude\n(full scale = 1)", ylim=(-1, 1), title=f"waveform, mono, {rate:,} Hz")
    names = ["left channel", "right channel"] if spec.channels == 2 else ["mono"]
    for channel, (axis, name) in enumerate(zip(axes[1:], names, strict=True)):
        image = common.spectrogram(axis, specgram[:, channel], spec, vmin=specgram.min(), vmax=specgram.max())
        axis.set_title(f"mel spectrogram, {name}, {spec.sample_rate:,} Hz")
    figure.colorbar(image, ax=list(axes[1:]), label="power in dB")
    axes[-1].set(xlabel="time in s")
    synthetic = ", synthetic" if store.corpus.synthetic else ""
    return titled(figure, f"Track {track}: {store.tracks.loc[track, 'label']}{synthetic}")


@themed
def fusions(study: Study) -> Figure:
    """SoundFusion-1 and SoundFusion-2 from the inputs to the probabilities, with the sizes of the profile."""
    seconds, mel = study.profile.segmenting.seconds, study.profile.mel
    inputs = [  # column, height, series that it is coloured as, text, height of the following box
        (0, 0.8, 0, f"waveform\n{study.profile.waveform.frames(seconds):,} samples", 0.8),
        (0, 0.2, 1, f"mel spectrogram\n{mel.channels} x {mel.n_mels} x {mel.frames(seconds):,}", 0.2),
    ]
    diagrams = {
        "SoundFusion-1: one decision from both features": [
            (1, 0.8, 0, "ResNet1D\nfeatures", 0.5),
            (1, 0.2, 1, "ResNet2D\nfeatures", 0.5),
            (2, 0.5, 2, "concatenation,\nlinear layer", 0.5),
            (3, 0.5, 2, "softmax:\nprobabilities", None),
        ],
        "SoundFusion-2: two decisions, weighted": [
            (1, 0.8, 0, "ResNet1D\nfeatures", 0.8),
            (1, 0.2, 1, "ResNet2D\nfeatures", 0.2),
            (2, 0.8, 0, "linear layer,\nsoftmax,\ntimes w", 0.5),
            (2, 0.2, 1, "linear layer,\nsoftmax,\ntimes 1 - w", 0.5),
            (3, 0.5, 2, "sum:\nprobabilities", None),
        ],
    }
    figure, axes = plt.subplots(1, 2, figsize=(11, 3.2))
    for axis, (title, boxes) in zip(axes, diagrams.items(), strict=True):
        axis.set(xlim=(0, 4.2), ylim=(0, 1), title=title)
        axis.axis("off")
        for column, y, series, text, following in inputs + boxes:
            x, color = 0.5 + 1.1 * column, color_of(series)
            box = {"boxstyle": "round,pad=0.5", "ec": color, "fc": [0.85 + 0.15 * part for part in color]}
            arrow = {"arrowstyle": "-|>", "color": "0.3", "shrinkB": 38} if following else None
            target = (x + 1.1, following) if following else (x, y)
            axis.annotate(text, target, (x, y), ha="center", va="center", bbox=box, arrowprops=arrow)
    return figure


@themed
def training_curves(study: Study, runs: dict[str, Result]) -> Figure:
    """Loss (first row) and accuracy (second row) per epoch, one column per network; the epoch kept is marked."""
    size = (4.2 * len(runs), 5.6)
    figure, axes = plt.subplots(2, len(runs), figsize=size, sharex="col", sharey="row", squeeze=False)
    for column, (name, result) in zip(axes.T, runs.items(), strict=True):
        for axis, quantity in zip(column, ("loss", "accuracy"), strict=True):
            for part, label in (("train", "training"), ("validation", "validation")):
                values = result.runs[0].history[f"{part}_{quantity}"]
                axis.plot(result.runs[0].history["epoch"], values, "o-", mec="white", label=label)
            best = result.runs[0].info["best_epoch"]
            axis.axvline(best, color="black", linewidth=1, linestyle=":", label="the epoch that was kept")
        common.chance_line(column[1], study)
        column[0].set(title=name, ylabel="cross entropy in nats")
        column[1].set(xlabel="epoch", ylabel="accuracy per segment", ylim=(0, 1))
        common.whole_numbers(column[1])
        for axis in column:
            axis.label_outer()
    note = ", first seed and fold of each network" if any(len(result.runs) > 1 for result in runs.values()) else ""
    return titled(figure, f"Training{note} ({corpus_note(study)})", axes[1, 0])
