"""Figures of what accuracy costs, and of what a search tried. See `data` for what figures share."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from soundfusion_lib.analysis.figures.data import corpus_note, legend_below, themed, whole_numbers
from soundfusion_lib.study.study import Study


@themed
def cost(study: Study, table: pd.DataFrame) -> Figure:
    """Accuracy by vote over the CPU time of one training, from a table of `tables.performance` with a column `input`;
    models whose time is not known are left out."""
    rows = table.dropna(subset="core_minutes").sort_values("track_accuracy")
    inputs = list(dict.fromkeys(["1D", "2D", "mix", "features", *rows["input"]]))
    figure, axis = plt.subplots(figsize=(10, 0.25 * len(rows) + 2.8))
    for number, kind in enumerate(inputs):
        own, color = rows[rows["input"] == kind], to_rgb(f"C{number}")
        if len(own):
            axis.vlines(own["core_minutes"], own["track_low"], own["track_high"], color=color)
            axis.scatter(own["core_minutes"], own["track_accuracy"], 40, color=color, edgecolor="white", label=kind)
    axis.set(xscale="log", xlabel="training of one network in core-minutes (logarithmic)")
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set(ylabel="test accuracy per track, by vote (95 % interval)")
    _names_beside(axis, rows, "core_minutes")
    legend_below(axis, len(inputs))
    figure.suptitle(f"Accuracy and cost of training ({corpus_note(study)})")
    return figure


@themed
def fronts(study: Study, table: pd.DataFrame) -> Figure:
    """Accuracy by vote over parameters and over the time of training, from `searches.best_of_their_size`; a line joins
    those that none of their size, or time, beats."""
    figure, axes = plt.subplots(2, 1, figsize=(10, 9), sharey=True)
    costs = {"parameters": "best_of_size", "core_minutes": "best_of_time"}
    names = {"parameters": "parameters", "core_minutes": "training of one network in core-minutes"}
    for axis, (cost, best) in zip(axes, costs.items(), strict=True):
        rows = table.sort_values(cost)
        front, color = rows[rows[best] == "yes"], to_rgb("C0")
        axis.vlines(rows[cost], rows["track_low"], rows["track_high"], color="0.75")
        axis.plot(front[cost], front["track_accuracy"], color=color, drawstyle="steps-post", label="best of its cost")
        axis.scatter(rows[cost], rows["track_accuracy"], 40, color=color, edgecolor="white", zorder=3)
        axis.axhline(1 / len(study.corpus.labels), color="tab:gray", linewidth=1, label="chance")
        axis.set(xscale="log", xlabel=f"{names[cost]} (logarithmic)", ylabel="test accuracy by vote (95 % interval)")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
        axis.xaxis.set_major_formatter("{x:g}" if cost == "core_minutes" else "{x:,.0f}")
        axis.xaxis.set_minor_formatter(NullFormatter())
        _names_beside(axis, rows, cost)
    legend_below(axes[0], 2)
    figure.suptitle(f"Fusions at equal parameters and at equal time ({corpus_note(study)})")
    return figure


@themed
def search(study: Study, table: pd.DataFrame, importances: pd.DataFrame) -> Figure:
    """The trials of a search in their order with the lowest loss so far, and which settings it depends on; from
    `searches.trials` and `searches.importances`."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), width_ratios=[1.6, 1])
    ended, stopped = (table[table["how"] == how] for how in ("to the end", "stopped"))
    color = to_rgb("C0")
    axes[0].scatter(ended["trial"], ended["validation_loss"], 40, color=color, edgecolor="white", label="to the end")
    hollow = {"facecolor": "none", "edgecolor": color}
    axes[0].scatter(stopped["trial"], stopped["validation_loss"], 40, label="stopped early", **hollow)
    axes[0].step(
        ended["trial"], ended["validation_loss"].cummin(), where="post", color=to_rgb("C1"), label="lowest so far"
    )
    axes[0].set(xlabel="trial", ylabel="validation loss in nats", title=f"{len(table)} trials")
    whole_numbers(axes[0])
    axes[1].barh(importances["setting"].str.replace("_", " "), importances["importance"], color=color)
    axes[1].invert_yaxis()
    axes[1].set(xlabel="share of the loss's variance", xlim=(0, 1), title="importance")
    legend_below(axes[0], 3)
    figure.suptitle(f"Search of hyper-parameters ({corpus_note(study)})")
    return figure


def _names_beside(axis: Axes, rows: pd.DataFrame, cost: str) -> None:
    """Write the models' names beside an axis, in order of their accuracy, and lines from there to their points."""
    line = {"arrowstyle": "-", "color": "0.7", "relpos": (0, 0.5)}
    rows = rows.sort_values("track_accuracy")
    for height, (_, row) in zip(np.linspace(0.02, 0.98, len(rows)), rows.iterrows(), strict=True):
        point, place = (row[cost], row["track_accuracy"]), (1.03, height)
        axis.annotate(row["model"], point, place, textcoords="axes fraction", va="center", arrowprops=line, zorder=0)
