"""Figures of what accuracy costs, and of what a search tried."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from soundfusion_lib.analysis.figures.common import color_of, corpus_note, themed, titled, whole_numbers
from soundfusion_lib.study.study import Study

BEST = {"parameters": "best_of_size", "core_minutes": "best_of_time"}  # columns
COSTS = {"parameters": "parameters", "core_minutes": "training of one network in core-minutes"}


@themed
def cost(study: Study, table: pd.DataFrame, costs: tuple[str, ...] = ("core_minutes",)) -> Figure:
    """Accuracy by vote over the costs, one panel each, coloured by input, from a table of `tables.performance`. From
    `searches.best_of_their_size` a line joins the models that no other of at most their cost beats. A model whose cost
    is unknown is left out."""
    inputs = list(dict.fromkeys(["1D", "2D", "mix", "features", *table["input"]]))
    height = 0.25 * len(table) + 2.8
    figure, axes = plt.subplots(len(costs), 1, figsize=(10, len(costs) * height), sharey=True, squeeze=False)
    for axis, cost in zip(axes[:, 0], costs, strict=True):
        rows = table.dropna(subset=cost).sort_values(cost)
        if BEST[cost] in rows:
            front = rows[rows[BEST[cost]] == "yes"]
            look = {"color": "0.5", "drawstyle": "steps-post", "label": "best at its cost"}
            axis.plot(front[cost], front["track_accuracy"], **look)
        for series, kind in enumerate(inputs):
            if len(models := rows[rows["input"] == kind]):
                color = color_of(series)
                axis.vlines(models[cost], models["track_low"], models["track_high"], color=color)
                look = {"color": color, "edgecolor": "white", "label": kind, "zorder": 3}
                axis.scatter(models[cost], models["track_accuracy"], 40, **look)
        _name_models(axis, rows, cost)
        axis.set(xscale="log", xlabel=f"{COSTS[cost]} (logarithmic)", ylabel="test accuracy by vote (95 % interval)")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter("{x:,g}" if cost == "core_minutes" else "{x:,.0f}")
        axis.xaxis.set_minor_formatter(NullFormatter())
    return titled(figure, f"Accuracy and its cost ({corpus_note(study)})", axes[0, 0], len(inputs) + 1)


def _name_models(axis: Axes, rows: pd.DataFrame, cost: str) -> None:
    """Write the models' names beside the axes, by accuracy, with lines from there to their points."""
    line = {"arrowstyle": "-", "color": "0.7", "relpos": (0, 0.5)}
    rows = rows.sort_values("track_accuracy", kind="stable")
    for height, (_, row) in zip(np.linspace(0.02, 0.98, len(rows)), rows.iterrows(), strict=True):
        point, beside = (row[cost], row["track_accuracy"]), (1.03, height)
        axis.annotate(row["model"], point, beside, textcoords="axes fraction", va="center", arrowprops=line, zorder=0)


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
