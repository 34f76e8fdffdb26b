"""Figures of results. See `data` for what they share."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from soundfusion_lib.analysis.figures.data import (
    accuracy_by_epoch,
    corpus_note,
    legend_below,
    name_rows,
    points,
    themed,
    whole_numbers,
    with_reported,
)
from soundfusion_lib.study.protocol import LABELS
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.result import Result

REPORTED = "reported, FMA-small"
LIGHT_BLUES = LinearSegmentedColormap.from_list("light blues", ["#ffffff", "#4292c6"])  # black text stays readable


@themed
def comparison_curves(study: Study, runs: dict[str, Result]) -> Figure:
    """Accuracy per segment on the training part (left) and on the validation part (right), a line an experiment."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.6), sharex=True, sharey=True)
    for axis, part in zip(axes, ("train", "validation"), strict=True):
        for number, (name, group) in enumerate(runs.items()):
            look = {"marker": "oXsPDv^"[number % 7], "mec": "white", "label": name}
            axis.plot(group.history["epoch"], group.history[f"{part}_accuracy"], **look)
        accuracy_by_epoch(axis, study)
        axis.set_title(f"{part} accuracy")
    legend_below(axes[0], 2)
    figure.suptitle(f"Accuracy per epoch ({corpus_note(study)})")
    return figure


@themed
def grid_search(study: Study, table: pd.DataFrame) -> Figure:
    """Heat maps of `tables.grid_search`: a column for each number of masks, reproduced above reported."""
    axes_of_grid = ("n_masks", "probability", "max_mask_fraction")
    masks, probabilities, shares = (sorted(table[name].unique()) for name in axes_of_grid)
    figure, axes = plt.subplots(2, len(masks), figsize=(4.6 * len(masks), 6), sharex=True, sharey=True)
    for row, quantity in zip(axes, ("best_validation_accuracy", "reported"), strict=True):
        name = "reported" if quantity == "reported" else study.corpus.name
        for axis, count in zip(row, masks, strict=True):
            cells = table[table["n_masks"] == count]
            cells = cells.pivot(index="probability", columns="max_mask_fraction", values=quantity)
            cells = cells.reindex(index=probabilities, columns=shares)
            image = _heat_map(axis, cells, table[quantity].min(), table[quantity].max(), True, ".3f", 8)
            axis.set(title=f"{name}: {count} in time, {count} in frequency", xlabel="", ylabel="")
        row[0].set_ylabel("probability of a mask")
        figure.colorbar(image, ax=list(row), label="best validation accuracy")
    for axis in axes[1]:
        axis.set_xlabel("largest mask, share of the axis")
    figure.suptitle(f"Grid search of SpecAugment on SimpleCNN ({corpus_note(study)}; {REPORTED})")
    return figure


@themed
def width_scaling(study: Study, table: pd.DataFrame) -> Figure:
    """`tables.width_scaling`: accuracy per segment over parameters, a line a model with 95 % intervals, beside the
    slides' heat map. A hollow mark was trained for other epochs, or tested on other tracks, than most."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4), width_ratios=[1.3, 1])
    usual = table[["epochs", "tracks"]].mode().iloc[0]
    unequal = (table[["epochs", "tracks"]] != usual).any(axis=1)
    for number, (model, rows) in enumerate(table.groupby("model")):
        color, marker = to_rgb(f"C{number}"), "os"[number % 2]
        axes[0].vlines(rows["parameters"], rows["segment_low"], rows["segment_high"], color=color)
        axes[0].plot(
            rows["parameters"], rows["segment_accuracy"], color=color, marker=marker, ms=8, label=LABELS[model]
        )
        hollow = rows[unequal[rows.index]]
        axes[0].plot(hollow["parameters"], hollow["segment_accuracy"], marker, ms=8, mfc="white", mec=color)
        end, gap, edge = (("segment_high", 3, "bottom"), ("segment_low", -3, "top"))[number % 2]  # above, or below
        for size, *place in rows[["size", "parameters", end]].itertuples(index=False):
            axes[0].annotate(size, place, (0, gap), textcoords="offset points", ha="center", va=edge)
    if unequal.any():
        axes[0].plot([], [], "o", mfc="white", mec="0.3", label="hollow: on other terms, see the table")
    axes[0].axhline(1 / len(study.corpus.labels), color="tab:gray", linewidth=1, label="chance")
    axes[0].set(xscale="log", ylim=(0, 1), xlabel="parameters (logarithmic)")
    axes[0].xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axes[0].xaxis.set_major_formatter("{x:,.0f}")
    axes[0].xaxis.set_minor_formatter("")
    axes[0].set(title=corpus_note(study), ylabel="test accuracy per segment (95 % interval)")
    cells = table.pivot(index="model", columns="size")[["reported_accuracy", "reported_parameters"]]
    sizes = table["size"].unique()
    accuracy, parameters = (cells[name][sizes] for name in ("reported_accuracy", "reported_parameters"))
    accuracy.index = [LABELS[model] for model in accuracy.index]
    parameters.index = accuracy.index
    said = accuracy.map("{:.3f}\n".format) + parameters.map("{:,.0f} parameters".format)
    _heat_map(axes[1], accuracy, 0, 0.8, said, size=8)
    axes[1].set(title=f"{REPORTED}, accuracy per segment", xlabel="size", ylabel="")
    legend_below(axes[0], 4)
    figure.suptitle("Width scaling")
    return figure


@themed
def confusion(study: Study, name: str, counts: pd.DataFrame, published: pd.DataFrame) -> Figure:
    """Confusion matrix of tracks, coloured by the row's share, each cell its count (the mean over seeds); beside it
    `published`, where that has the same labels."""
    panels = [(counts, corpus_note(study), study.corpus.label_name)]
    if list(published.index) == list(counts.index):
        panels.append((published, REPORTED, "genre"))
    size = 0.62 * len(counts) + 1.2
    figure, axes = plt.subplots(1, len(panels), figsize=(len(panels) * size + 1.5, size), squeeze=False)
    for axis, (matrix, title, label) in zip(axes[0], panels, strict=True):
        shares = matrix.div(matrix.sum(axis=1), axis=0)  # NaN, and drawn as 0, where nothing was tested
        image = _heat_map(axis, shares.fillna(0), 0, 1, matrix.map(lambda count: f"{count:.1f}".removesuffix(".0")))
        recalls = ["no tracks" if np.isnan(share) else f"{share:.0%}" for share in np.diag(shares)]
        axis.set_yticklabels([f"{row} ({recall})" for row, recall in zip(matrix.index, recalls, strict=True)])
        axis.set_xticklabels(matrix.columns, rotation=45, ha="right")
        axis.set(title=title, xlabel=f"predicted {label}", ylabel=f"true {label} (recall)")
    figure.colorbar(image, ax=list(axes[0]), label="share of the row", shrink=0.8)
    figure.suptitle(f"{name}: tracks by true and predicted {study.corpus.label_name}")
    return figure


@themed
def recalls(study: Study, table: pd.DataFrame) -> Figure:
    """Recall of each label by each model, from `tables.recalls`, with 95 % intervals."""
    labels, models = table["label"].unique(), table["model"].unique()
    figure, axis = plt.subplots(figsize=(10, 0.5 * len(labels) + 1.8))
    for number, model in enumerate(models):
        position = np.arange(len(labels)) + 0.5 * (number / max(1, len(models) - 1) - 0.5)
        points(axis, position, table.loc[table["model"] == model, ["recall", "low", "high"]], model, number)
    name_rows(axis, labels, 1 / len(labels))
    what = "recall: share of the tracks of a label that are recognised (95 % interval)"
    axis.set(xlim=(-0.02, 1.02), xlabel=what, ylabel=study.corpus.label_name)
    legend_below(axis, len(models) + 1)
    figure.suptitle(f"Recall of each {study.corpus.label_name} ({corpus_note(study)})")
    return figure


@themed
def conclusions(study: Study, table: pd.DataFrame) -> Figure:
    """The differences of `conclusions.conclusions`, with intervals (see `paired_tests.tested`), beside the reported
    ones; both answers stand at the right."""
    figure, axis = plt.subplots(figsize=(10, 0.7 * len(table) + 1.8))
    differences = table[["difference", "low", "high", "reported"]]
    with_reported(axis, study, differences, "interval at its test's level")
    names = []
    for row in table.itertuples():
        unequal = pd.notna(row.first_epochs) and row.first_epochs != row.second_epochs
        epochs = f" ({row.first_epochs} and {row.second_epochs} epochs)" if unequal else ""
        names.append(f"{row.question}\n{row.first} - {row.second}{epochs}")
    name_rows(axis, names, 0, "no difference")
    beside = axis.get_yaxis_transform()
    for column, heading, place in (("answer", "here", 1.02), ("reported_answer", "report", 1.19)):
        axis.text(place, -0.6, heading, transform=beside, weight="bold", va="bottom")
        for position, answer in enumerate(table[column]):
            axis.text(place, position, answer, transform=beside, va="center")
    axis.set_xlabel("accuracy per segment, first minus second")
    legend_below(axis, 3)
    figure.suptitle(f"The report's conclusions ({corpus_note(study)})")
    return figure


@themed
def performance(study: Study, table: pd.DataFrame) -> Figure:
    """Accuracy by vote from a table of `tables.performance` with a column `input`, the best on top and coloured by
    input; what was reported on FMA-small, another corpus, in a panel of its own."""
    ours = table.sort_values("track_accuracy", ascending=False)
    theirs = table.dropna(subset="track_reported").sort_values("track_reported", ascending=False)
    figure, axes = plt.subplots(1, 2, figsize=(11, 0.36 * len(table) + 1.8), sharex=True, width_ratios=[1.5, 1])
    colors = {kind: number for number, kind in enumerate(dict.fromkeys(table["input"]))}
    for axis, rows, columns in zip(axes, (ours, theirs), (["accuracy", "low", "high"], ["reported"]), strict=True):
        values = rows.reindex(columns=[f"track_{column}" for column in columns])
        values = values.assign(low=values.get("track_low", np.nan), high=values.get("track_high", np.nan))
        for kind, number in colors.items():
            own = (rows["input"] == kind).to_numpy()
            points(axis, np.flatnonzero(own), values[own].iloc[:, [0, -2, -1]], kind, number)
    name_rows(axes[0], list(ours["model"]), 1 / len(study.corpus.labels))
    name_rows(axes[1], list(theirs["model"]), 1 / 8)
    axes[0].set(title=corpus_note(study), xlabel="test accuracy by vote (95 % interval)", xlim=(0, 1))
    axes[1].set(title=REPORTED, xlabel="test accuracy by vote")
    legend_below(axes[0], len(colors) + 1)
    return figure


@themed
def by_block(study: Study, table: pd.DataFrame) -> Figure:
    """Probes of each stage by itself, see `probes.by_block`: a panel a network, a line a start, with 95 % intervals."""
    networks = list(dict.fromkeys(table["network"]))
    weights = list(dict.fromkeys(table["weights"]))
    figure, axes = plt.subplots(1, len(networks), figsize=(3.6 * len(networks), 3.8), sharey=True, squeeze=False)
    for axis, network in zip(axes[0], networks, strict=True):
        for number, start in enumerate(weights):
            own = table[(table["network"] == network) & (table["weights"] == start)]
            beside = own["block"] + 0.08 * (number - 1)  # so that intervals stay apart
            color = to_rgb(f"C{number}")
            axis.vlines(beside, own["track_low"], own["track_high"], color=color)
            axis.plot(beside, own["track_accuracy"], "osD"[number % 3], ls="-", color=color, label=start)
        axis.axhline(1 / len(study.corpus.labels), color="tab:gray", linewidth=1, label="chance")
        axis.set(title=network, xlabel="stage", ylim=(0, 1))
        whole_numbers(axis)
    axes[0, 0].set_ylabel("test accuracy per track (95 % interval)")
    legend_below(axes[0, 0], len(weights) + 1)
    figure.suptitle(f"Linear probes of each stage ({corpus_note(study)})")
    return figure


@themed
def gains(study: Study, table: pd.DataFrame) -> Figure:
    """What each fusion and each control gains over the better part, the largest first: columns first, second, kind
    ("fusion" or "control"), difference, low and high."""
    table = table.sort_values("difference", ascending=False)
    figure, axis = plt.subplots(figsize=(10, 0.5 * len(table) + 1.6))
    for number, kind in enumerate(("fusion", "control")):
        own = (table["kind"] == kind).to_numpy()
        points(axis, np.flatnonzero(own), table.loc[own, ["difference", "low", "high"]], kind, number)
    name_rows(axis, [f"{row.first}\n- {row.second}" for row in table.itertuples()], 0, "no difference")
    axis.set_xlabel("accuracy per track by vote, first minus second (interval at its test's level)")
    legend_below(axis, 3)
    figure.suptitle(f"What fusion gains ({corpus_note(study)})")
    return figure


def _heat_map(
    axis: Axes, cells: pd.DataFrame, low: float, high: float, text: pd.DataFrame | bool, form: str = "", size: int = 9
) -> ScalarMappable:
    """Draw a table as colours; `text` is what each cell says, or True for its value, as `form` has it."""
    import seaborn as sns

    said = {"annot": text, "fmt": form, "annot_kws": {"fontsize": size}, "xticklabels": True, "yticklabels": True}
    sns.heatmap(cells, vmin=low, vmax=high, cmap=LIGHT_BLUES, cbar=False, ax=axis, **said)
    axis.tick_params(axis="y", rotation=0)
    axis.grid(visible=False)
    axis.set_facecolor("0.92")  # where there is no cell
    return axis.collections[0]
