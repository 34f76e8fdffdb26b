"""Tables of the study: DataFrames, what the report found beside what was reproduced."""

import warnings

import numpy as np
import pandas as pd

from soundfusion_lib.analysis.baselines import Baseline
from soundfusion_lib.analysis.statistics import accuracy, interval
from soundfusion_lib.study.reported import reported
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.decision_fusion import Decision
from soundfusion_lib.training.inference import classes_of, per_track
from soundfusion_lib.training.run_groups import RunGroup

pd.set_option("display.max_colwidth", None)  # notebooks show notes whole

INTERVALS = ("difference", "recall")  # quantities whose bounds are in the columns low and high


def corpus_table(study: Study) -> pd.DataFrame:
    """Tracks, artists, segments and minutes of each genre, and in the last row of all (usable tracks only). The index
    is named by the label."""
    tracks = study.tracks
    segmenting = study.profile.segmenting
    tracks = tracks.assign(segments=[len(segmenting.starts(seconds)) for seconds in tracks["seconds"]])
    table = tracks.groupby("label").agg(
        tracks=("label", "size"),
        artists=("group", "nunique"),
        segments=("segments", "sum"),
        minutes=("seconds", "sum"),
    )
    total = table.sum()
    total["artists"] = tracks["group"].nunique()
    table = pd.concat([table, total.to_frame("all").T])  # beside a label of that name, too
    table["minutes"] = (table["minutes"] / 60).round(1)
    return table.astype({"tracks": int, "artists": int, "segments": int}).rename_axis(study.corpus.label_name)


def split_table(study: Study) -> pd.DataFrame:
    """Tracks, artists and segments of each part, and how many of its artists are in another part too."""
    tracks, segmenting = study.tracks, study.profile.segmenting
    rows = {}
    for part in ("train", "validation", "test"):
        own, others = tracks[tracks["split"] == part], tracks[tracks["split"] != part]
        rows[part] = {
            "tracks": len(own),
            "artists": own["group"].nunique(),
            "artists shared with another part": len(set(own["group"].dropna()) & set(others["group"].dropna())),
            "segments": sum(len(segmenting.starts(seconds)) for seconds in own["seconds"]),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("part")


def performance(
    study: Study, runs: dict[str, RunGroup | Decision | Baseline], reported_as: dict[str, str] | None = None
) -> pd.DataFrame:
    """Test accuracy per segment and per track, with 95 % intervals, beside what was reported.

    Args:
        study: where the runs come from.
        runs: by the model's name in the table.
        reported_as: for each name the row of results/reported/table2_performance.csv (its column `model`).

    Returns:
        A row a model: model, parameters, epochs (trained, in the first run; of two models asked together, of the one
        that trained longer), tracks (tested); segment_, track_ (majority vote) and mean_ (mean probability) _accuracy,
        each with _low and _high; segment_reported and track_reported on FMA-small. Accuracies are in 0..1.
    """
    published = reported("table2_performance").set_index("model")
    rows = []
    for name, group in runs.items():
        row = {"model": name, "parameters": group.parameters, "epochs": group.epochs}
        row["tracks"] = group.predictions("test")[0]["track"].nunique()
        for column, by in (("segment", "segment"), ("track", "vote"), ("mean", "mean")):
            row |= with_interval(column, group, by)
        if reported_as and name in reported_as:
            original = published.loc[reported_as[name]]
            row |= {"segment_reported": original["test_accuracy"], "track_reported": original["aggregated_accuracy"]}
        rows.append(row)
    whole = {"parameters": "Int64", "epochs": "Int64"}  # also where a baseline has none
    return pd.DataFrame(rows).astype(whole)


def with_interval(column: str, group: RunGroup | Decision | Baseline, by: str, part: str = "test") -> dict[str, float]:
    """Accuracy and its interval as columns of a table."""
    predictions = group.predictions(part)
    low, high = interval(predictions, by)
    return {f"{column}_accuracy": accuracy(predictions, by), f"{column}_low": low, f"{column}_high": high}


def regularization(runs: dict[tuple[str, str], RunGroup]) -> pd.DataFrame:
    """The slides' table of regularization techniques.

    Args:
        runs: by model ("resnet1d", "resnet2d") and regularization.

    Returns:
        A row for each: model, regularization; validation_ and test_ _accuracy per segment with _low and _high, in 0..1;
        validation_reported and test_reported, on FMA-small.
    """
    published = reported("table1_regularization").set_index(["model", "regularization"])
    rows = []
    for (model, kind), group in runs.items():
        original = published.loc[f"{model}_small", kind]
        rows.append(
            {"model": model, "regularization": kind}
            | with_interval("validation", group, "segment", "validation")
            | with_interval("test", group, "segment")
            | {"validation_reported": original["validation_accuracy"], "test_reported": original["test_accuracy"]}
        )
    return pd.DataFrame(rows)


def grid_search(runs: dict[tuple[float, int, float], RunGroup]) -> pd.DataFrame:
    """The grid search of SpecAugment: for each cell the best validation accuracy (mean over runs), and the reported
    one.

    Returns:
        A row a cell: probability, n_masks, max_mask_fraction, best_validation_accuracy, reported.
    """
    table = reported("grid_search_specaugment").rename(columns={"best_validation_accuracy": "reported"})
    cells = table[["probability", "n_masks", "max_mask_fraction"]].itertuples(index=False, name=None)
    best = [
        sum(run.history["validation_accuracy"].max() for run in runs[cell].runs) / len(runs[cell].runs)
        for cell in cells
    ]
    table.insert(3, "best_validation_accuracy", best)
    return table


def transfer(runs: dict[str, RunGroup], impossible: dict[str, str]) -> pd.DataFrame:
    """VGG16's starts: a row for each experiment run, and for each that could not be, with the reason.

    Returns:
        model, trained_parameters; training_ and validation_ lowest and highest accuracy over the epochs (per segment);
        test_accuracy per segment and track_accuracy by vote, with _low and _high; note.
    """
    rows = []
    for name, group in runs.items():
        history = group.history
        row = {"model": name, "trained_parameters": group.runs[0].info["trained_parameters"]}
        for column, part in (("training", "train"), ("validation", "validation")):
            row[f"{column}_lowest"] = history[f"{part}_accuracy"].min()
            row[f"{column}_highest"] = history[f"{part}_accuracy"].max()
        rows.append(
            row | with_interval("test", group, "segment") | with_interval("track", group, "vote") | {"note": ""}
        )
    rows += [{"model": name, "note": reason} for name, reason in impossible.items()]
    return pd.DataFrame(rows)


def width_scaling(runs: dict[tuple[str, str], RunGroup]) -> pd.DataFrame:
    """The slides' width scaling.

    Args:
        runs: by model and size.

    Returns:
        A row for each: model, size, width, parameters, epochs (trained, in the first run), segment_ and track_
            _accuracy with _low and _high, seconds_per_epoch (measured, validation included); reported_accuracy (per
            segment, on FMA-small), reported_parameters and reported_seconds_per_epoch (on the authors' machine).
    """
    published = reported("figure1_width_scaling").set_index(["model", "size"])
    rows = []
    for (model, size), group in runs.items():
        original = published.loc[model, size]
        rows.append(
            {
                "model": model,
                "size": size,
                "width": group.experiment.options["width"],
                "parameters": group.parameters,
                "epochs": group.epochs,
            }
            | with_interval("segment", group, "segment")
            | with_interval("track", group, "vote")
            | {
                "seconds_per_epoch": group.epoch_seconds,
                "reported_accuracy": original["test_accuracy"],
                "reported_parameters": original["parameters_reported"],
                "reported_seconds_per_epoch": original["seconds_per_epoch"],
            }
        )
    return pd.DataFrame(rows).astype({"reported_parameters": int})


def confusion(group: RunGroup | Decision) -> pd.DataFrame:
    """Tracks by true label (rows) and voted label (columns), both in alphabetical order; the mean over seeds."""
    from sklearn.metrics import confusion_matrix  # here: scikit-learn takes seconds to import

    genres = classes_of(group.predictions("test")[0])
    runs = [per_track(predictions) for predictions in group.predictions("test")]
    counts = [confusion_matrix(run["target"], run["vote"], labels=range(len(genres))) for run in runs]
    return pd.DataFrame(np.mean(counts, axis=0), pd.Index(genres, name="true"), pd.Index(genres, name="predicted"))


def reported_confusion(name: str) -> pd.DataFrame:
    """The report's confusion matrix of "resnet1d_medium", "resnet2d_medium" or "soundfusion1", rightly labelled."""
    table = reported(f"figure2_confusion_{name}").set_index("true\\predicted")
    return table.rename_axis(index="true", columns="predicted")


def reported_recalls(matrices: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Recall of each genre (rows) by each model (columns), 0..1, from confusion matrices by model."""
    shares = {model: np.diag(matrix) / matrix.sum(axis=1) for model, matrix in matrices.items()}
    return pd.DataFrame(shares).rename_axis(index="genre", columns="model")


def recalls(runs: dict[str, RunGroup | Decision]) -> pd.DataFrame:
    """Recall of each label by each model: the share of its test tracks that are recognised, by vote; the mean over
    seeds.

    Returns:
        A row for each model and label: model, label, tracks, recall, low, high (95 % interval, see
        `statistics.interval`: NaN where all tracks are by one artist). A label without test tracks has no recall: NaN.
    """
    rows = []
    for model, group in runs.items():
        predictions = group.predictions("test")
        for target, name in enumerate(classes_of(predictions[0])):
            own = [frame[frame["target"] == target] for frame in predictions]
            row = {"model": model, "label": name, "tracks": own[0]["track"].nunique()}
            row |= dict.fromkeys(("recall", "low", "high"), np.nan)
            if row["tracks"]:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", UserWarning)  # of single artists: the table says so
                    low, high = interval(own)
                row |= {"recall": accuracy(own), "low": low, "high": high}
            rows.append(row)
    return pd.DataFrame(rows)


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """The same table for reading: a quantity and its interval in one cell, numbers rounded."""
    shown = pd.DataFrame(index=table.index)
    for column in table.columns:
        base, _, kind = column.rpartition("_")
        bounded = [f"{base}_accuracy"] if base else INTERVALS
        if kind in ("low", "high") and any(name in table for name in bounded):
            continue
        bounds = [f"{base}_low", f"{base}_high"] if kind == "accuracy" else ["low", "high"] if kind in INTERVALS else []
        name, values = column.replace("_", " "), table[column]
        if bounds and set(bounds) <= set(table.columns):
            of = "interval at its test's level" if column == "difference" else "95 % interval"
            name = f"{name.removesuffix(' accuracy')} [{of}]"
            shown[name] = [_cell(*cells) for cells in table[[column, *bounds]].itertuples(index=False)]
        elif "parameters" in column or column == "epochs":
            shown[name] = ["-" if pd.isna(value) else f"{value:,.0f}" for value in values]
        elif values.dtype.kind != "f":
            shown[name] = values
        elif "seconds" in column:
            shown[name] = [f"{value:.3g}" for value in values]
        elif column == "minutes":
            shown[name] = [f"{value:.1f}" for value in values]
        elif column == "p":
            shown["p (Holm)"] = ["<0.001" if value < 0.001 else f"{value:.3f}" for value in values]
        else:
            shown[name] = [_cell(value) for value in values]
    return shown


def _cell(value: float, low: float | None = None, high: float | None = None) -> str:
    if pd.isna(value):
        return "-"
    if low is None:
        return f"{value:.3f}"
    bounds = "one artist" if pd.isna(low) else f"{low:.3f}, {high:.3f}"
    return f"{value:.3f} [{bounds}]".replace(" ", "\N{NO-BREAK SPACE}")
