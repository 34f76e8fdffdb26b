"""Figures of results: grid search, width scaling, confusion matrices, recalls. See `data` for what they share."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from soundfusion_lib.analysis.figures.data import STYLE, corpus_note, whole_numbers
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.run_groups import RunGroup

REPORTED = "reported, FMA-small"


def comparison_curves(study: Study, runs: dict[str, RunGroup]) -> Figure:
    """Accuracy per segment on the training part (left) and on the validation part (right), a line for each experiment."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(10, 4.6), sharex=True, sharey=True)
        for axis, part in zip(axes, ("train", "validation"), strict=True):
            for (name, group), marker in zip(runs.items(), "osD^vPX*" * 4, strict=False):
                history = group.history
                axis.plot(history["epoch"], history[f"{part}_accuracy"], marker=marker, markersize=5, label=name)
            axis.axhline(1 / len(study.store.genres), color="tab:gray", linewidth=1, label="chance")
            axis.set(xlabel="epoch", ylim=(0, 1), title=f"{part} accuracy")
            whole_numbers(axis)
        axes[0].set(ylabel="accuracy per segment")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
        figure.suptitle(f"Accuracy per epoch ({corpus_note(study)})")
    return figure


def grid_search(study: Study, table: pd.DataFrame) -> Figure:
    """Heat maps of `tables.grid_search`: a column for each number of masks, reproduced above reported."""
    quantities = {"best_validation_accuracy": "reproduced", "reported": "reported"}
    masks = sorted(table["n_masks"].unique())
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(2, len(masks), figsize=(4.6 * len(masks), 6), sharex=True, sharey=True)
        for row, (quantity, name) in zip(axes, quantities.items(), strict=True):
            low, high = table[quantity].min(), table[quantity].max()
            for axis, count in zip(row, masks, strict=True):
                cells = table[table["n_masks"] == count]
                cells = cells.pivot(index="probability", columns="max_mask_fraction", values=quantity)
                cells = cells.reindex(
                    index=sorted(table["probability"].unique()), columns=sorted(table["max_mask_fraction"].unique())
                )
                image = _heat_map(axis, cells, low, high, "{:.3f}", fontsize=8)
                axis.set_title(f"{name}: {count} in time, {count} in frequency", fontsize=10)
            row[0].set_ylabel("probability of a mask")
            figure.colorbar(image, ax=list(row), label="best validation accuracy")
        for axis in axes[1]:
            axis.set_xlabel("largest mask, share of the axis")
        figure.suptitle(f"Grid search of SpecAugment on SimpleCNN ({corpus_note(study)}; {REPORTED})")
    return figure


def width_scaling(study: Study, table: pd.DataFrame) -> Figure:
    """Heat maps of `tables.width_scaling`: accuracy per segment of each model and size, with parameters and time an epoch;
    reproduced also with the number of epochs, which a profile may cut for the large networks."""
    panels = {
        f"reproduced, {corpus_note(study)}": ("segment_accuracy", "parameters", "epochs: {epochs} of {seconds_per_epoch:.3g} s"),
        REPORTED: ("reported_accuracy", "reported_parameters", "{reported_seconds_per_epoch:.3g} s an epoch"),
    }
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(11, 3.4))
        for axis, (title, (accuracy, parameters, time)) in zip(axes, panels.items(), strict=True):
            order = list(dict.fromkeys(table["size"]))
            cells = table.pivot(index="model", columns="size", values=accuracy)[order]
            text = {
                (row["model"], row["size"]): f"{row[accuracy]:.3f}\n{_short(row[parameters])} parameters\n{time.format(**row)}"
                for row in table.to_dict("records")
            }
            image = _heat_map(axis, cells, 0, max(0.6, float(cells.to_numpy().max())), text, fontsize=9)
            axis.set(title=title, xlabel="size", ylabel="")
        figure.colorbar(image, ax=list(axes), label="test accuracy per segment")
        figure.suptitle("Width scaling")
    return figure


def confusion(study: Study, name: str, counts: pd.DataFrame, published: pd.DataFrame) -> Figure:
    """Confusion matrices of tracks: `counts`, reproduced, beside `published`; each cell its count (the
    mean over seeds), coloured by the row's share."""
    with plt.rc_context(STYLE):
        size = 0.75 * len(counts) + 1.2
        figure, axes = plt.subplots(1, 2, figsize=(2 * size + 1.5, size))
        titles = (f"reproduced, {corpus_note(study)}", REPORTED)
        labels = (study.corpus.label, "genre")  # what the rows of each are
        for axis, matrix, title, label in zip(axes, (counts, published), titles, labels, strict=True):
            shares = matrix.div(matrix.sum(axis=1), axis=0).fillna(0)
            text = {cell: f"{count:.3g}" for cell, count in matrix.stack().items()}
            image = _heat_map(axis, shares, 0, 1, text, fontsize=9)
            recall = np.diag(shares.to_numpy())
            tested = matrix.sum(axis=1) > 0
            of_row = [f"{value:.0%}" if any_track else "no tracks" for value, any_track in zip(recall, tested, strict=True)]
            axis.set_yticklabels([f"{row} ({share})" for row, share in zip(matrix.index, of_row, strict=True)])
            axis.set_xticklabels(matrix.columns, rotation=45, ha="right")
            axis.set(title=title, xlabel=f"predicted {label}", ylabel=f"true {label} (recall)")
        figure.colorbar(image, ax=list(axes), label="share of the row", shrink=0.8)
        figure.suptitle(f"{name}: tracks by true and predicted {study.corpus.label}")
    return figure


def recalls(study: Study, table: pd.DataFrame) -> Figure:
    """Recall of each label by each model, from `tables.recalls`, with 95 % intervals."""
    genres = list(dict.fromkeys(table["label"]))
    models = list(dict.fromkeys(table["model"]))
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(10, 0.5 * len(genres) + 1.8))
        for number, model in enumerate(models):
            rows = table[table["model"] == model].set_index("label").loc[genres]
            position = np.arange(len(genres)) + 0.5 * (number / max(1, len(models) - 1) - 0.5)
            error = [rows["recall"] - rows["low"], rows["high"] - rows["recall"]]
            axis.errorbar(rows["recall"], position, xerr=error, fmt="osD^"[number % 4], capsize=3, label=model)
        axis.axvline(1 / len(genres), color="tab:gray", linewidth=1, label="chance")
        axis.set(xlim=(-0.02, 1.02), ylim=(len(genres) - 0.5, -0.5), yticks=np.arange(len(genres)))
        axis.set_yticklabels(genres)
        axis.set(xlabel="recall: share of the tracks of a label that are recognised (95 % interval)", ylabel=study.corpus.label)
        axis.grid(axis="y", visible=False)
        figure.legend(loc="outside lower center", ncols=len(models) + 1)
        figure.suptitle(f"Recall of each {study.corpus.label} ({corpus_note(study)})")
    return figure


def conclusions(study: Study, table: pd.DataFrame) -> Figure:
    """The differences of `conclusions.conclusions` with their intervals (see `tables.tested`), and the reported ones."""
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(10, 0.62 * len(table) + 1.6))
        position = np.arange(len(table))
        error = [table["difference"] - table["low"], table["high"] - table["difference"]]
        axis.errorbar(table["difference"], position, xerr=error, fmt="o", capsize=3, label="reproduced, interval at its test's level")
        axis.plot(table["reported"], position, "D", mfc="none", color="tab:red", label="reported on FMA-small")
        axis.axvline(0, color="tab:gray", linewidth=1, label="no difference")
        axis.set(xlabel="accuracy per segment, first minus second", yticks=position, ylim=(len(table) - 0.5, -0.5))
        axis.set_yticklabels([f"{row.question} {row.answer}\n{row.first} - {row.second}{_unequal(row)}" for row in table.itertuples()])
        axis.grid(axis="y", visible=False)
        figure.legend(loc="outside lower center", ncols=3)
        figure.suptitle(f"The report's conclusions ({corpus_note(study)})")
    return figure


def _unequal(row) -> str:
    return "" if row.first_epochs == row.second_epochs else f" ({row.first_epochs} and {row.second_epochs} epochs)"


def _heat_map(axis: Axes, cells: pd.DataFrame, low: float, high: float, text, fontsize: int):
    """Draw a table as colours; `text` is a format of the values, or what each (row, column) says."""
    image = axis.imshow(cells, cmap="viridis", vmin=low, vmax=high, aspect="auto")
    axis.grid(visible=False)
    axis.set(xticks=range(cells.shape[1]), yticks=range(cells.shape[0]))
    axis.set_xticklabels(cells.columns)
    axis.set_yticklabels(cells.index)
    for i, row in enumerate(cells.index):
        for j, column in enumerate(cells.columns):
            value = cells.loc[row, column]
            if pd.notna(value):
                said = text.format(value) if isinstance(text, str) else text[row, column]
                bright = high > low and (value - low) / (high - low) > 0.55
                axis.text(j, i, said, ha="center", va="center", fontsize=fontsize, color="black" if bright else "white")
    return image


def _short(number: float) -> str:
    return f"{number / 1e6:.3g}M" if number >= 1e6 else f"{number / 1e3:.3g}k"
