"""Figures of what accuracy costs, and of what a search tried."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from soundfusion_lib.analysis.figures.common import chance_line, color_of, corpus_note, themed, titled, whole_numbers
from soundfusion_lib.study.study import Study

BEST = {"parameters": "best_of_size", "core_minutes": "best_of_time"}  # columns
COSTS = {"parameters": "parameters", "core_minutes": "training of one network in core-minutes"}
ACCURACY = "test accuracy per track, by vote (95 % interval)"


@themed
def cost(study: Study, table: pd.DataFrame) -> Figure:
    """Accuracy by vote over the CPU time of one training, from a table of `tables.performance` with a column `input`;
    models whose time is unknown are left out."""
    rows = table.dropna(subset="core_minutes").sort_values("track_accuracy")
    inputs = list(dict.fromkeys(["1D", "2D", "mix", "features", *rows["input"]]))
    figure, axis = plt.subplots(figsize=(10, 0.25 * len(rows) + 2.8))
    for series, kind in enumerate(inputs):
        if len(models := rows[rows["input"] == kind]):
            color = color_of(series)
            axis.vlines(models["core_minutes"], models["track_low"], models["track_high"], color=color)
            look = {"color": color, "edgecolor": "white", "label": kind}
            axis.scatter(models["core_minutes"], models["track_accuracy"], 40, **look)
    _cost_axis(axis, rows, "core_minutes")
    return titled(figure, f"Accuracy and cost of training ({corpus_note(study)})", axis, len(inputs))


@themed
def fronts(study: Study, table: pd.DataFrame) -> Figure:
    """Accuracy by vote over parameters and over the time of training, from `tables.best_of_their_size`; a line joins
    the models that no other of at most their size, or time, beats."""
    figure, axes = plt.subplots(2, 1, figsize=(10, 9), sharey=True)
    for axis, (cost, best) in zip(axes, BEST.items(), strict=True):
        rows = table.sort_values(cost)
        front, color = rows[rows[best] == "yes"], color_of(0)
        axis.vlines(rows[cost], rows["track_low"], rows["track_high"], color="0.75")
        axis.plot(front[cost], front["track_accuracy"], color=color, drawstyle="steps-post", label="best at its cost")
        axis.scatter(rows[cost], rows["track_accuracy"], 40, color=color, edgecolor="white", zorder=3)
        chance_line(axis, study)
        _cost_axis(axis, rows, cost)
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    return titled(figure, f"Fusions at equal parameters and at equal time ({corpus_note(study)})", axes[0], 2)


@themed
def search(study: Study, table: pd.DataFrame, importances: pd.DataFrame) -> Figure:
    """The trials of a search in their order with the lowest loss so far, and which settings it depends on; from
    `tables.trials` and `tables.importances`."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), width_ratios=[1.6, 1])
    ended, stopped = (table[table["how"] == how] for how in ("to the end", "stopped"))
    color = color_of(0)
    axes[0].scatter(ended["trial"], ended["validation_loss"], 40, color=color, edgecolor="white", label="to the end")
    hollow = {"facecolor": "none", "edgecolor": color, "label": "stopped early"}
    axes[0].scatter(stopped["trial"], stopped["validation_loss"], 40, **hollow)
    lowest = ended["validation_loss"].cummin()
    axes[0].step(ended["trial"], lowest, where="post", color=color_of(1), label="lowest so far")
    axes[0].set(xlabel="trial", ylabel="validation loss in nats", title=f"{len(table)} trials")
    whole_numbers(axes[0])
    axes[1].barh(importances["setting"].str.replace("_", " "), importances["importance"], color=color)
    axes[1].invert_yaxis()
    axes[1].set(xlabel="share of the loss's variance", xlim=(0, 1), title="importance")
    return titled(figure, f"Search of hyper-parameters ({corpus_note(study)})", axes[0])


def _cost_axis(axis: Axes, rows: pd.DataFrame, cost: str) -> None:
    """Name the axes, and write the models' names beside them, by accuracy, with lines from there to their points."""
    axis.set(xscale="log", xlabel=f"{COSTS[cost]} (logarithmic)", ylabel=ACCURACY)
    axis.xaxis.set_major_formatter("{x:g}" if cost == "core_minutes" else "{x:,.0f}")
    axis.xaxis.set_minor_formatter(NullFormatter())
    line = {"arrowstyle": "-", "color": "0.7", "relpos": (0, 0.5)}
    rows = rows.sort_values("track_accuracy")
    for height, (_, row) in zip(np.linspace(0.02, 0.98, len(rows)), rows.iterrows(), strict=True):
        point, beside = (row[cost], row["track_accuracy"]), (1.03, height)
        axis.annotate(row["model"], point, beside, textcoords="axes fraction", va="center", arrowprops=line, zorder=0)
