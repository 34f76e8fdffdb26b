"""Tables of the study: DataFrames, what the report found beside what was reproduced."""

import warnings
from typing import Any

import numpy as np
import pandas as pd

from soundfusion_lib.analysis.statistics import accuracy, interval
from soundfusion_lib.datasets.corpus import SPLITS
from soundfusion_lib.study.protocol import reported
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.inference import classes_of, per_track
from soundfusion_lib.training.result import Result

pd.set_option("display.max_colwidth", None)  # notebooks show notes whole

COUNTS = {"tracks": ("label", "size"), "artists": ("group", "nunique"), "segments": ("segments", "sum")}
INTERVALS = ("difference", "recall")  # quantities whose bounds are in the columns low and high
WHOLE = ",.0f"  # beside formats by a part of the column's name
FORMATS = {"parameters": WHOLE, "epochs": WHOLE, "needed": WHOLE, "seconds": ".3g", "minutes": ".1f", "error": ".4f"}


def corpus_table(study: Study) -> pd.DataFrame:
    """Tracks, artists, segments and minutes of each label, and in the last row of all (usable tracks only). The index
    is named by the label."""
    tracks = _with_segments(study)
    minutes = ("seconds", lambda seconds: round(seconds.sum() / 60, 1))
    groupings = tracks["label"], np.full(len(tracks), "all")
    table = pd.concat([tracks.groupby(each).agg(**COUNTS, minutes=minutes) for each in groupings])
    return table.rename_axis(study.corpus.label_name)


def split_table(study: Study) -> pd.DataFrame:
    """Tracks, artists and segments of each part, and how many of its artists are in another part too."""
    tracks = _with_segments(study)
    parts_of_artist = tracks["group"].map(tracks.groupby("group")["split"].nunique())
    table = tracks.groupby("split").agg(**COUNTS)
    shared = tracks[parts_of_artist > 1].groupby("split")["group"].nunique()
    table.insert(2, "artists shared with another part", shared)
    return table.reindex(SPLITS).fillna(0).astype(int).rename_axis("part")


def _with_segments(study: Study) -> pd.DataFrame:
    """The usable tracks, and how many segments each has."""
    starts = study.profile.segmenting.starts
    return study.tracks.assign(segments=[len(starts(seconds)) for seconds in study.tracks["seconds"]])


def performance(study: Study, runs: dict[str, Result], reported_as: dict[str, str] | None = None) -> pd.DataFrame:
    """Test accuracy (0..1) with 95 % intervals, beside what was reported.

    Args:
        study: where the runs come from.
        runs: by the model's name in the table.
        reported_as: by name the row of results/reported/table2_performance.csv (its column `model`), beside the names
            that the slides' table has itself.

    Returns:
        One row per model: input, model; parameters, epochs, ended, core_minutes, see `Result`; tracks
        (tested); seeds; segment_, track_ (by vote) and mean_ (by mean probability) _accuracy, each with _low and _high;
        segment_reported and track_reported on FMA-small.
    """
    rows = [
        {
            **_named(group, input=group.input, model=name),
            "core_minutes": group.core_minutes,
            "tracks": group.predictions("test")[0]["track"].nunique(),
            "seeds": len(group.predictions("test")),
            **with_interval("segment", group, "segment"),
            **with_interval("track", group, "vote"),
            **with_interval("mean", group, "mean"),
        }
        for name, group in runs.items()
    ]
    missing = {"parameters": "Int64", "epochs": "Int64", "ended": "boolean"}  # whole also where a baseline has none
    table = pd.DataFrame(rows).astype(missing)
    published = reported("table2_performance").set_index("model")
    originals = table["model"].map({label: row for row, label in published["label"].items()} | (reported_as or {}))
    if originals.notna().any():
        table["segment_reported"] = originals.map(published["test_accuracy"])
        table["track_reported"] = originals.map(published["aggregated_accuracy"])
    return table


def as_in_slides(networks: dict[str, Result]) -> dict[str, Result]:
    """Networks by the keys of `protocol.performance`, by their names in the slides' table, or of their experiments."""
    labels = reported("table2_performance").set_index("model")["label"]
    return {labels.get(key, group.experiment.name): group for key, group in networks.items()}


def _named(group: Result, **names: Any) -> dict[str, Any]:
    """How a row begins: what it is of, and how it was trained."""
    return {**names, "parameters": group.parameters, "epochs": group.epochs, "ended": group.ended}


def with_interval(column: str, group: Result, by: str, part: str = "test") -> dict[str, float]:
    """Accuracy and its interval as columns of a table."""
    predictions = group.predictions(part)
    low, high = interval(predictions, by)
    return {f"{column}_accuracy": accuracy(predictions, by), f"{column}_low": low, f"{column}_high": high}


def regularization(runs: dict[tuple[str, str], Result]) -> pd.DataFrame:
    """The slides' table of regularization techniques, from runs by model ("resnet1d", "resnet2d") and regularization.

    Returns:
        One row each: model, regularization, ended; seeds; validation_ and test_ _accuracy per segment with _low and
        _high; validation_reported and test_reported, on FMA-small; in 0..1.
    """
    rows = [
        {
            "model": f"{model}_small",
            "regularization": kind,
            "ended": group.ended,
            "seeds": len(group.seeds),
            **with_interval("validation", group, "segment", "validation"),
            **with_interval("test", group, "segment"),
        }
        for (model, kind), group in runs.items()
    ]
    published = reported("table1_regularization").rename(columns=lambda name: name.replace("_accuracy", "_reported"))
    table = pd.DataFrame(rows).merge(published, "left")
    return table.assign(model=table["model"].str.removesuffix("_small"))


def grid_search(runs: dict[tuple[float, int, float], Result]) -> pd.DataFrame:
    """The grid search of SpecAugment, one row per cell: probability, n_masks, max_mask_fraction,
    best_validation_accuracy (mean over runs), reported."""
    table = reported("grid_search_specaugment").rename(columns={"best_validation_accuracy": "reported"})
    cells = table[["probability", "n_masks", "max_mask_fraction"]].itertuples(index=False, name=None)
    best = [np.mean([run.history["validation_accuracy"].max() for run in runs[cell].runs]) for cell in cells]
    table.insert(3, "best_validation_accuracy", best)
    return table


def transfer(runs: dict[str, Result], impossible: dict[str, str]) -> pd.DataFrame:
    """VGG16's starts: one row per experiment run, and for each that could not be, with the reason.

    Returns:
        model, trained_parameters, ended; training_ and validation_ lowest and highest accuracy per segment over the
        epochs of all runs; test_accuracy per segment and track_accuracy by vote, with _low and _high; note.
    """
    rows = []
    for name, group in runs.items():
        epochs = pd.concat([run.history for run in group.runs])
        lowest, highest = epochs.min(), epochs.max()
        row = {
            "model": name,
            "trained_parameters": group.runs[0].info["trained_parameters"],
            "ended": group.ended,
            "training_lowest": lowest["train_accuracy"],
            "training_highest": highest["train_accuracy"],
            "validation_lowest": lowest["validation_accuracy"],
            "validation_highest": highest["validation_accuracy"],
        }
        row |= with_interval("test", group, "segment") | with_interval("track", group, "vote")
        rows.append(row | {"note": ""})
    rows += [{"model": name, "ended": None, "note": reason} for name, reason in impossible.items()]
    return pd.DataFrame(rows).astype({"ended": "boolean"})


def width_scaling(runs: dict[tuple[str, str], Result]) -> pd.DataFrame:
    """The slides' width scaling, from runs by model and size.

    Returns:
        One row each: model, size, width, parameters, epochs (trained, in the first run), ended, tracks (tested),
        seeds, segment_ and track_ _accuracy with _low and _high, seconds_per_epoch (measured, validation included);
        reported_accuracy (per segment, on FMA-small), reported_parameters and reported_seconds_per_epoch (on the
        authors' machine).
    """
    rows = [
        {
            **_named(group, model=model, size=size, width=group.experiment.options["width"]),
            "tracks": group.predictions("test")[0]["track"].nunique(),
            "seeds": len(group.seeds),
            **with_interval("segment", group, "segment"),
            **with_interval("track", group, "vote"),
            "seconds_per_epoch": group.epoch_seconds,
        }
        for (model, size), group in runs.items()
    ]
    published = reported("figure1_width_scaling").set_index(["model", "size"])
    published = published[["test_accuracy", "parameters_reported", "seconds_per_epoch"]]
    published.columns = ["reported_accuracy", "reported_parameters", "reported_seconds_per_epoch"]
    return pd.DataFrame(rows).join(published, ["model", "size"])


def confusion(group: Result) -> pd.DataFrame:
    """Tracks by true label (rows) and voted label (columns), both in alphabetical order; the mean over seeds."""
    from sklearn.metrics import confusion_matrix  # here: scikit-learn takes seconds to import

    genres = classes_of(group.predictions("test")[0])
    runs = [per_track(predictions) for predictions in group.predictions("test")]
    counts = [confusion_matrix(run["target"], run["vote"], labels=range(len(genres))) for run in runs]
    return pd.DataFrame(np.mean(counts, axis=0), pd.Index(genres, name="true"), pd.Index(genres, name="predicted"))


def reported_confusion(name: str) -> pd.DataFrame:
    """The report's confusion matrix of one of `protocol.confused`, rightly labelled."""
    file = name.lower().replace("-1", "1").replace("-", "_")  # resnet1d_medium, soundfusion1
    table = reported(f"figure2_confusion_{file}").set_index("true\\predicted")
    return table.rename_axis(index="true", columns="predicted")


def reported_recalls(matrices: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Recall of each genre (rows) by each model (columns), 0..1, from confusion matrices by model."""
    shares = {model: np.diag(matrix) / matrix.sum(axis=1) for model, matrix in matrices.items()}
    return pd.DataFrame(shares).rename_axis(index="genre", columns="model")


def recalls(runs: dict[str, Result]) -> pd.DataFrame:
    """Recall of each label by each model: the share of its test tracks that get it by vote, mean over seeds; NaN
    without test tracks.

    Returns:
        One row per model and label: model, label, tracks, recall, low, high (see `statistics.interval`).
    """
    rows = []
    for model, group in runs.items():
        predictions = group.predictions("test")
        for target, label in enumerate(classes_of(predictions[0])):
            own = [frame[frame["target"] == target] for frame in predictions]
            row = {"model": model, "label": label, "tracks": own[0]["track"].nunique()}
            if row["tracks"]:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", UserWarning)  # of single artists: the table says so
                    row["recall"], (row["low"], row["high"]) = accuracy(own), interval(own)
            rows.append(row)
    return pd.DataFrame(rows, columns=["model", "label", "tracks", "recall", "low", "high"])


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """The same table for reading: a quantity and its interval in one cell, numbers rounded; the accuracy by mean
    probability, which is seldom far from that by vote, is left to the file."""
    table = table.drop(columns=table.filter(regex="^mean_"))
    shown, bounds = pd.DataFrame(index=table.index), _bounds(table)
    ends = {end for pair in bounds.values() for end in pair}
    for column, values in table.drop(columns=ends).items():
        name = column.replace("_", " ")
        form = next((form for part, form in FORMATS.items() if part in column), ".3f")
        if column in bounds:
            of = "interval at its test's level" if column == "difference" else "95 % interval"
            cells = table[[column, *bounds[column]]].itertuples(index=False)
            shown[f"{name.removesuffix(' accuracy')} [{of}]"] = [_with_bounds(*cell) for cell in cells]
        elif column == "ended" and values.dtype.kind in "bO":
            shown[name] = values.astype(object).map({True: "yes", False: "no"}).fillna("-")
        elif column == "p" and (values.dtype.kind == "f" or "difference" in bounds):  # whole where all are 1
            shown["p (Holm)"] = ["<0.001" if value < 0.001 else f"{value:.3f}" for value in values]
        elif values.dtype.kind == "f" or form == WHOLE:
            shown[name] = ["-" if pd.isna(value) else f"{value:{form}}" for value in values]
        else:
            shown[name] = values
    return shown


def _bounds(table: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """By column, those of the table that hold its interval."""
    pairs = dict.fromkeys(INTERVALS, ("low", "high"))
    for column in table.columns[table.columns.str.endswith("_accuracy")]:
        stem = column.removesuffix("accuracy")
        pairs[column] = (f"{stem}low", f"{stem}high")
    return {column: pair for column, pair in pairs.items() if {column, *pair} <= set(table.columns)}


def _with_bounds(value: float, low: float, high: float) -> str:
    if pd.isna(value):
        return "-"
    bounds = "one artist" if pd.isna(low) else f"{low:.3f}, {high:.3f}"
    return f"{value:.3f} [{bounds}]".replace(" ", "\N{NO-BREAK SPACE}")
