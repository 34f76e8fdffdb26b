"""Figures of the study. Each function returns a matplotlib Figure whose axes name what they show and in which unit."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from soundfusion_lib.analysis import drawing
from soundfusion_lib.analysis.drawing import color_of, corpus_note, heat_map, name_rows, points, themed, titled
from soundfusion_lib.datasets.corpus import SPLITS
from soundfusion_lib.study.protocol import LABELS
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.result import Result

REPORTED = "reported, FMA-small"
GRID = {"index": "probability", "columns": "max_mask_fraction"}
DIFFERENCE = ["difference", "low", "high"]
BY_SEGMENT, BY_TRACK = ([f"{by}_accuracy", f"{by}_low", f"{by}_high"] for by in ("segment", "track"))
COSTS = {  # by its column, where a model is the best at most at its cost, and the cost's name
    "parameters": ("best_of_size", "parameters"),
    "core_minutes": ("best_of_time", "training of one network in core-minutes"),
}


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
    drawing.whole_numbers(axes[0])
    return titled(figure, f"Tracks of each {study.corpus.label_name} in each set ({corpus_note(study)})")


@themed
def training_curves(study: Study, runs: dict[str, Result]) -> Figure:
    """Loss (first row) and accuracy (second row) per epoch, one column per network; the epoch kept is marked."""
    size = (4.2 * len(runs), 5.6)
    figure, axes = plt.subplots(2, len(runs), figsize=size, sharex="col", sharey="row", squeeze=False)
    for column, (name, result) in zip(axes.T, runs.items(), strict=True):
        run = result.runs[0]
        for axis, quantity in zip(column, ("loss", "accuracy"), strict=True):
            for part, label in (("train", "training"), ("validation", "validation")):
                axis.plot(run.history["epoch"], run.history[f"{part}_{quantity}"], "o-", mec="white", label=label)
            axis.axvline(run.info["best_epoch"], color="black", linewidth=1, linestyle=":", label="the epoch kept")
        drawing.chance_line(column[1], study)
        column[0].set(title=name, ylabel="cross entropy in nats")
        column[1].set(xlabel="epoch", ylabel="accuracy per segment", ylim=(0, 1))
        column[1].xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        for axis in column:
            axis.label_outer()
    note = ", first seed and fold of each network" if any(len(result.runs) > 1 for result in runs.values()) else ""
    return titled(figure, f"Training{note} ({corpus_note(study)})")


@themed
def accuracies(study: Study, table: pd.DataFrame) -> Figure:
    """A table of `tables.performance` as points with their intervals, coloured by input; what was reported as open
    marks."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 0.4 * len(table) + 1.6), sharey=True, sharex=True)
    inputs = dict.fromkeys([*drawing.INPUTS, *table["input"]])
    panels = {"segment": ("per segment", BY_SEGMENT), "track": ("per track, by vote", BY_TRACK)}
    for axis, (by, (name, values)) in zip(axes, panels.items(), strict=True):
        points(axis, range(len(table)), table, values, "input", inputs)
        if f"{by}_reported" in table:
            drawing.reported(axis, table[f"{by}_reported"])
        name_rows(axis, table["model"], 1 / len(study.corpus.labels))
        axis.set(xlabel=f"test accuracy {name} (95 % interval)", xlim=(0, 1))
    return titled(figure, f"Accuracy ({corpus_note(study)})")


@themed
def cost(study: Study, table: pd.DataFrame, costs: tuple[str, ...] = ("core_minutes",)) -> Figure:
    """Accuracy by vote over the costs, one panel each, coloured by input, from a table of `tables.performance`. From
    `tables.best_of_their_size` a line joins the models that no other of at most their cost beats. A model whose cost is
    unknown is left out."""
    height = 0.25 * len(table) + 2.8
    figure, axes = plt.subplots(len(costs), 1, figsize=(10, len(costs) * height), sharey=True, squeeze=False)
    for axis, cost in zip(axes[:, 0], costs, strict=True):
        best, name = COSTS[cost]
        rows = table.dropna(subset=cost).sort_values(cost)
        if best in rows:
            front = rows[rows[best] == "yes"]
            axis.step(front[cost], front["track_accuracy"], where="post", color="0.5", label="best at its cost")
        points(axis, rows[cost], rows, BY_TRACK, "input", drawing.INPUTS, upright=True)
        by_accuracy = rows.sort_values("track_accuracy", kind="stable")[["model", cost, "track_accuracy"]]
        for y, (model, *point) in zip(np.linspace(0.02, 0.98, len(rows)), by_accuracy.to_numpy(), strict=True):
            line = {"arrowstyle": "-", "color": "0.7", "relpos": (0, 0.5)}  # from the name, beside the axes
            axis.annotate(model, point, (1.03, y), textcoords="axes fraction", va="center", arrowprops=line, zorder=0)
        drawing.logarithmic(axis, name)
        axis.set_ylabel("test accuracy by vote (95 % interval)")
    return titled(figure, f"Accuracy and its cost ({corpus_note(study)})")


@themed
def grid_search(study: Study, table: pd.DataFrame) -> Figure:
    """Heat maps of `tables.grid_search`: one column per number of masks, reproduced above reported."""
    masks, probabilities, shares = (sorted(table[name].unique()) for name in ("n_masks", *GRID.values()))
    size = (4.6 * len(masks), 6)
    figure, axes = plt.subplots(2, len(masks), figsize=size, sharex=True, sharey=True, squeeze=False)
    rows = {"best_validation_accuracy": study.corpus.name, "reported": "reported"}
    for row, (quantity, name) in zip(axes, rows.items(), strict=True):
        limits = table[quantity].min(), table[quantity].max()
        for axis, count in zip(row, masks, strict=True):
            cells = table[table["n_masks"] == count].pivot(**GRID, values=quantity)
            cells = cells.reindex(index=probabilities, columns=shares)
            image = heat_map(axis, cells, *limits, annot=True, fmt=".3f", annot_kws={"fontsize": 8})
            axis.set(title=f"{name}: {count} in time, {count} in frequency", xlabel="", ylabel="")
        row[0].set_ylabel("probability of a mask")
        figure.colorbar(image, ax=list(row), label="best validation accuracy")
    figure.supxlabel("largest mask, share of the axis", size="medium")
    return titled(figure, f"Grid search of SpecAugment on SimpleCNN ({corpus_note(study)}; {REPORTED})")


@themed
def width_scaling(study: Study, table: pd.DataFrame) -> Figure:
    """`tables.width_scaling`: accuracy per segment over parameters, one line per model with 95 % intervals, and what
    the slides' heat map reports as small diamonds."""
    figure, axis = plt.subplots(figsize=(10, 4.6))
    points(axis, table["parameters"], table.replace(LABELS), BY_SEGMENT, "model", LABELS.values(), True, "-")
    for series, (model, rows) in enumerate(table.groupby("model")):
        look = {"color": color_of(series), "ms": 4, "label": f"{LABELS[model]}, {REPORTED}"}
        axis.plot(rows["reported_parameters"], rows["reported_accuracy"], "D:", **look)
        end, gap, edge = (("segment_high", 3, "bottom"), ("segment_low", -3, "top"))[series % 2]  # above, or below
        for size, *point in rows[["size", "parameters", end]].itertuples(index=False):
            axis.annotate(size, point, (0, gap), textcoords="offset points", ha="center", va=edge)
    drawing.chance_line(axis, study)
    drawing.logarithmic(axis, "parameters")
    axis.set(ylim=(0, 1), ylabel="test accuracy per segment (95 % interval)")
    return titled(figure, f"Width scaling ({corpus_note(study)})")


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
        image = heat_map(axis, shares.fillna(0), 0, 1, annot=matrix.round(1), fmt=",.9g", annot_kws={"fontsize": 9})
        recalls = ["no tracks" if np.isnan(share) else f"{share:.0%}" for share in np.diag(shares)]
        axis.set_yticklabels([f"{row} ({recall})" for row, recall in zip(matrix.index, recalls, strict=True)])
        axis.set_xticklabels(matrix.columns, rotation=45, ha="right")
        axis.set(title=title, xlabel=f"predicted {label}", ylabel=f"true {label} (recall)")
    figure.colorbar(image, ax=list(axes[0]), label="share of the row", shrink=0.8)
    return titled(figure, f"{name}: tracks by true and predicted {study.corpus.label_name}")


@themed
def conclusions(study: Study, table: pd.DataFrame) -> Figure:
    """The differences of `conclusions.conclusions`, with intervals (see `paired_tests.tested`), beside the reported
    ones; both answers stand behind the question."""
    figure, axis = plt.subplots(figsize=(10, 0.7 * len(table) + 1.8))
    here = f"{study.corpus.name}, interval at its test's level"
    points(axis, range(len(table)), table.assign(where=here), DIFFERENCE, "where", [here])
    drawing.reported(axis, table["reported"])
    names = []
    for row in table.itertuples():
        unequal = pd.notna(row.first_epochs) and row.first_epochs != row.second_epochs
        epochs = f" ({row.first_epochs} and {row.second_epochs} epochs)" if unequal else ""
        answers = f"{row.answer} (report: {row.reported_answer})"
        names.append(f"{row.question} {answers}\n{row.first} - {row.second}{epochs}")
    name_rows(axis, names, 0, "no difference")
    axis.set_xlabel("accuracy by vote, first minus second (interval at its test's level)")
    return titled(figure, f"The report's conclusions ({corpus_note(study)})")


@themed
def starts(tables: dict[str, pd.DataFrame]) -> Figure:
    """Frozen starts and baselines by vote, with 95 % intervals: one panel per corpus, coloured by what each start was
    trained on. Tables by the corpus's name: model, source (of the weights), track_accuracy, track_low, track_high."""
    both = pd.concat(tables.values())
    names, sources = list(both["model"].unique()), both["source"].unique()
    size = (10, 0.4 * len(names) + 1.6)
    figure, axes = plt.subplots(1, len(tables), figsize=size, sharex=True, sharey=True, squeeze=False)
    for axis, (corpus, table) in zip(axes[0], tables.items(), strict=True):
        points(axis, table["model"].map(names.index), table, BY_TRACK, "source", sources)
        name_rows(axis, names)
        axis.set(title=corpus, xlabel="test accuracy by vote (95 % interval)", xlim=(0, 1))
    return titled(figure, "What a network was trained on first")


@themed
def gains(study: Study, table: pd.DataFrame) -> Figure:
    """What each fusion and each control gains over the better of its two networks, the largest first: columns first,
    second, kind ("fusion" or "control"), difference, low and high."""
    table = table.sort_values("difference", ascending=False)
    figure, axis = plt.subplots(figsize=(10, 0.5 * len(table) + 1.6))
    points(axis, range(len(table)), table, DIFFERENCE, "kind", ["fusion", "control"])
    name_rows(axis, [f"{row.first}\n- {row.second}" for row in table.itertuples()], 0, "no difference")
    axis.set_xlabel("accuracy per track by vote, first minus second (interval at its test's level)")
    return titled(figure, f"What fusion gains ({corpus_note(study)})")
