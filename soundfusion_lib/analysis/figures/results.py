"""Figures of results."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from soundfusion_lib.analysis.figures import common
from soundfusion_lib.analysis.figures.common import color_of, corpus_note, name_rows, points, themed, titled
from soundfusion_lib.study.protocol import LABELS
from soundfusion_lib.study.study import Study

REPORTED = "reported, FMA-small"
LIGHT_BLUES = LinearSegmentedColormap.from_list("light blues", ["#ffffff", "#4292c6"])  # black text stays readable


@themed
def grid_search(study: Study, table: pd.DataFrame) -> Figure:
    """Heat maps of `tables.grid_search`: one column per number of masks, reproduced above reported."""
    axes_of_grid = ("n_masks", "probability", "max_mask_fraction")
    masks, probabilities, shares = (sorted(table[name].unique()) for name in axes_of_grid)
    figure, axes = plt.subplots(2, len(masks), figsize=(4.6 * len(masks), 6), sharex=True, sharey=True, squeeze=False)
    rows = {"best_validation_accuracy": study.corpus.name, "reported": "reported"}
    for row, (quantity, name) in zip(axes, rows.items(), strict=True):
        for axis, count in zip(row, masks, strict=True):
            cells = table[table["n_masks"] == count]
            cells = cells.pivot(index="probability", columns="max_mask_fraction", values=quantity)
            cells = cells.reindex(index=probabilities, columns=shares)
            image = _heat_map(axis, cells, table[quantity].min(), table[quantity].max(), cells.map("{:.3f}".format), 8)
            axis.set(title=f"{name}: {count} in time, {count} in frequency", xlabel="", ylabel="")
        row[0].set_ylabel("probability of a mask")
        figure.colorbar(image, ax=list(row), label="best validation accuracy")
    for axis in axes[1]:
        axis.set_xlabel("largest mask, share of the axis")
    return titled(figure, f"Grid search of SpecAugment on SimpleCNN ({corpus_note(study)}; {REPORTED})")


@themed
def width_scaling(study: Study, table: pd.DataFrame) -> Figure:
    """`tables.width_scaling`: accuracy per segment over parameters, one line per model with 95 % intervals, and what
    the slides' heat map reports as small diamonds. A hollow mark had other epochs, or other test tracks, than most."""
    figure, axis = plt.subplots(figsize=(10, 4.6))
    usual = table[["epochs", "tracks"]].mode().iloc[0]
    unequal = (table[["epochs", "tracks"]] != usual).any(axis=1)
    for series, (model, rows) in enumerate(table.groupby("model")):
        look = {"color": color_of(series), "marker": "os"[series % 2], "ms": 8}
        axis.vlines(rows["parameters"], rows["segment_low"], rows["segment_high"], color=look["color"])
        axis.plot(rows["parameters"], rows["segment_accuracy"], label=LABELS[model], **look)
        others = rows[unequal[rows.index]]
        axis.plot(others["parameters"], others["segment_accuracy"], ls="", mfc="white", **look)
        look |= {"ls": ":", "marker": "D", "ms": 4, "label": f"{LABELS[model]}, {REPORTED}"}
        axis.plot(rows["reported_parameters"], rows["reported_accuracy"], **look)
        end, gap, edge = (("segment_high", 3, "bottom"), ("segment_low", -3, "top"))[series % 2]  # above, or below
        for size, *point in rows[["size", "parameters", end]].itertuples(index=False):
            axis.annotate(size, point, (0, gap), textcoords="offset points", ha="center", va=edge)
    if unequal.any():
        axis.plot([], [], "o", mfc="white", mec="0.3", label="hollow: other epochs or tracks, see the table")
    common.chance_line(axis, study)
    axis.set(xscale="log", ylim=(0, 1), xlabel="parameters (logarithmic)")
    axis.set_ylabel("test accuracy per segment (95 % interval)")
    axis.xaxis.set(major_locator=LogLocator(subs=(1, 3)), major_formatter="{x:,.0f}", minor_formatter=NullFormatter())
    return titled(figure, f"Width scaling ({corpus_note(study)})", axis)


@themed
def confusion(study: Study, name: str, counts: pd.DataFrame, published: pd.DataFrame) -> Figure:
    """Confusion matrix of tracks, coloured by the row's share, each cell its count (the mean over seeds); beside it
    `published`, if that has the same labels."""
    panels = [(counts, corpus_note(study), study.corpus.label_name)]
    if list(published.index) == list(counts.index):
        panels.append((published, REPORTED, "genre"))
    size = 0.62 * len(counts) + 1.2
    figure, axes = plt.subplots(1, len(panels), figsize=(len(panels) * size + 1.5, size), squeeze=False)
    for axis, (matrix, title, label) in zip(axes[0], panels, strict=True):
        shares = matrix.div(matrix.sum(axis=1), axis=0)  # NaN, drawn as 0, where no track was tested
        image = _heat_map(axis, shares.fillna(0), 0, 1, matrix.map(lambda count: f"{count:.1f}".removesuffix(".0")))
        recalls = ["no tracks" if np.isnan(share) else f"{share:.0%}" for share in np.diag(shares)]
        axis.set_yticklabels([f"{row} ({recall})" for row, recall in zip(matrix.index, recalls, strict=True)])
        axis.set_xticklabels(matrix.columns, rotation=45, ha="right")
        axis.set(title=title, xlabel=f"predicted {label}", ylabel=f"true {label} (recall)")
    figure.colorbar(image, ax=list(axes[0]), label="share of the row", shrink=0.8)
    return titled(figure, f"{name}: tracks by true and predicted {study.corpus.label_name}")


@themed
def recalls(study: Study, table: pd.DataFrame) -> Figure:
    """Recall of each label by each model, from `tables.recalls`, with 95 % intervals."""
    labels, models = table["label"].unique(), table["model"].unique()
    figure, axis = plt.subplots(figsize=(10, 0.5 * len(labels) + 1.8))
    for series, model in enumerate(models):
        position = np.arange(len(labels)) + 0.5 * (series / max(1, len(models) - 1) - 0.5)
        points(axis, position, table.loc[table["model"] == model, ["recall", "low", "high"]], model, series)
    name_rows(axis, labels, 1 / len(labels))
    what = "recall: share of a label's tracks that are predicted as such (95 % interval)"
    axis.set(xlim=(-0.02, 1.02), xlabel=what, ylabel=study.corpus.label_name)
    return titled(figure, f"Recall of each {study.corpus.label_name} ({corpus_note(study)})", axis, len(models) + 1)


@themed
def conclusions(study: Study, table: pd.DataFrame) -> Figure:
    """The differences of `conclusions.conclusions`, with intervals (see `paired_tests.tested`), beside the reported
    ones; both answers stand at the right."""
    figure, axis = plt.subplots(figsize=(10, 0.7 * len(table) + 1.8))
    differences = table[["difference", "low", "high", "reported"]]
    common.with_reported(axis, study, differences, "interval at its test's level")
    names = []
    for row in table.itertuples():
        unequal = pd.notna(row.first_epochs) and row.first_epochs != row.second_epochs
        epochs = f" ({row.first_epochs} and {row.second_epochs} epochs)" if unequal else ""
        names.append(f"{row.question}\n{row.first} - {row.second}{epochs}")
    name_rows(axis, names, 0, "no difference")
    beside = axis.get_yaxis_transform()
    for column, heading, x in (("answer", "here", 1.02), ("reported_answer", "report", 1.19)):
        axis.text(x, -0.6, heading, transform=beside, weight="bold", va="bottom")
        for y, answer in enumerate(table[column]):
            axis.text(x, y, answer, transform=beside, va="center")
    axis.set_xlabel("accuracy per segment, first minus second")
    return titled(figure, f"The report's conclusions ({corpus_note(study)})", axis)


@themed
def performance(study: Study, table: pd.DataFrame) -> Figure:
    """Accuracy by vote from a table of `tables.performance` with a column `input`, the best on top, coloured by input;
    what was reported on FMA-small, another corpus, has its panel."""
    here = table.sort_values("track_accuracy", ascending=False)
    reported = table.dropna(subset="track_reported").sort_values("track_reported", ascending=False)
    figure, axes = plt.subplots(1, 2, figsize=(11, 0.36 * len(table) + 1.8), sharex=True, width_ratios=[1.5, 1])
    inputs, chances = table["input"].unique(), (1 / len(study.corpus.labels), 1 / 8)
    columns = ["track_accuracy", "track_low", "track_high"], ["track_reported"]
    for axis, rows, values, chance in zip(axes, (here, reported), columns, chances, strict=True):
        common.points_by(axis, rows, "input", inputs, values)
        name_rows(axis, list(rows["model"]), chance)
    axes[0].set(title=corpus_note(study), xlabel="test accuracy by vote (95 % interval)", xlim=(0, 1))
    axes[1].set(title=REPORTED, xlabel="test accuracy by vote")
    return titled(figure, "", axes[0], len(inputs) + 1)


@themed
def by_block(study: Study, table: pd.DataFrame) -> Figure:
    """Probes of each stage by itself, see `probes.by_block`: one panel per network, one line per start, with 95 %
    intervals."""
    networks, starts = table["network"].unique(), table["weights"].unique()
    figure, axes = plt.subplots(1, len(networks), figsize=(3.6 * len(networks), 3.8), sharey=True, squeeze=False)
    for axis, network in zip(axes[0], networks, strict=True):
        for series, start in enumerate(starts):
            rows = table[(table["network"] == network) & (table["weights"] == start)]
            block, color = rows["block"] + 0.08 * (series - 1), color_of(series)  # so that intervals stay apart
            axis.vlines(block, rows["track_low"], rows["track_high"], color=color)
            axis.plot(block, rows["track_accuracy"], "osD"[series % 3], ls="-", color=color, label=start)
        common.chance_line(axis, study)
        axis.set(title=network, xlabel="stage", ylim=(0, 1))
        common.whole_numbers(axis)
    axes[0, 0].set_ylabel("test accuracy per track (95 % interval)")
    return titled(figure, f"Linear probes of each stage ({corpus_note(study)})", axes[0, 0], len(starts) + 1)


@themed
def gains(study: Study, table: pd.DataFrame) -> Figure:
    """What each fusion and each control gains over the better of its two networks, the largest first: columns first,
    second, kind ("fusion" or "control"), difference, low and high."""
    table = table.sort_values("difference", ascending=False)
    figure, axis = plt.subplots(figsize=(10, 0.5 * len(table) + 1.6))
    common.points_by(axis, table, "kind", ("fusion", "control"), ["difference", "low", "high"])
    name_rows(axis, [f"{row.first}\n- {row.second}" for row in table.itertuples()], 0, "no difference")
    axis.set_xlabel("accuracy per track by vote, first minus second (interval at its test's level)")
    return titled(figure, f"What fusion gains ({corpus_note(study)})", axis)


def _heat_map(
    axis: Axes, cells: pd.DataFrame, low: float, high: float, texts: pd.DataFrame, size: int = 9
) -> ScalarMappable:
    """Draw a table as colours between low and high, with a text in each cell."""
    import seaborn as sns

    look = {"cmap": LIGHT_BLUES, "cbar": False, "xticklabels": True, "yticklabels": True}
    sns.heatmap(cells, vmin=low, vmax=high, annot=texts, fmt="", annot_kws={"fontsize": size}, ax=axis, **look)
    axis.tick_params(axis="y", rotation=0)
    axis.grid(visible=False)
    axis.set_facecolor("0.92")  # where there is no cell
    return axis.collections[0]
