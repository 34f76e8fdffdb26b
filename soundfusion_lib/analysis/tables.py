"""Tables of the study as DataFrames: what the report found beside what was reproduced."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from soundfusion_lib.analysis.statistics import accuracy, interval
from soundfusion_lib.datasets.corpus import SPLITS
from soundfusion_lib.study.protocol import reported
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.inference import classes_of, per_track
from soundfusion_lib.training.result import Result

if TYPE_CHECKING:
    import optuna

pd.set_option("display.max_colwidth", None)  # notebooks show notes whole

COUNTS = {"tracks": ("label", "size"), "artists": ("group", "nunique"), "segments": ("segments", "sum")}
INTERVALS = ("difference", "recall")  # quantities whose bounds are in the columns low and high
WHOLE = ",.0f"  # beside formats by a part of the column's name
FORMATS = {"parameters": WHOLE, "epochs": WHOLE, "needed": WHOLE, "seconds": ".3g", "minutes": ".1f", "error": ".4f"}
TYPES = {"parameters": "Int64", "epochs": "Int64", "ended": "boolean"}  # whole also where a baseline has none
STATES = {"COMPLETE": "to the end", "PRUNED": "stopped", "FAIL": "diverged"}  # of a trial


def corpus_table(study: Study) -> pd.DataFrame:
    """Usable tracks, their artists, segments and minutes, one row per label and a last one of all."""
    tracks = _with_segments(study)
    minutes = ("seconds", lambda seconds: round(seconds.sum() / 60, 1))
    groupings = tracks["label"], np.full(len(tracks), "all")
    table = pd.concat([tracks.groupby(each).agg(**COUNTS, minutes=minutes) for each in groupings])
    table["artists"] = table["artists"].astype(object).where(table["artists"] > 0, "unknown")
    return table.rename_axis(study.corpus.label_name)


def split_table(study: Study) -> pd.DataFrame:
    """Tracks, artists and segments of each set, and how many of its artists are in another set too."""
    tracks = _with_segments(study)
    sets_of_artist = tracks["group"].map(tracks.groupby("group")["split"].nunique())
    table = tracks.groupby("split").agg(**COUNTS)
    shared = tracks[sets_of_artist > 1].groupby("split")["group"].nunique()
    table.insert(2, "artists shared with another part", shared)
    table = table.reindex(SPLITS).fillna(0).astype(int).rename_axis("part")
    unknown = tracks["group"].isna().all()
    return table.assign(**dict.fromkeys(table.columns[1:3], "unknown")) if unknown else table


def _with_segments(study: Study) -> pd.DataFrame:
    starts = study.profile.segmenting.starts
    return study.tracks.assign(segments=[len(starts(seconds)) for seconds in study.tracks["seconds"]])


def with_interval(column: str, predictions: list[pd.DataFrame], by: str) -> dict[str, float]:
    """Accuracy (0..1) and its 95 % interval as columns of a table, <column>_accuracy, _low and _high."""
    low, high = interval(predictions, by)
    return {f"{column}_accuracy": accuracy(predictions, by), f"{column}_low": low, f"{column}_high": high}


def _trained(result: Result) -> dict[str, float | bool | None]:
    return {"parameters": result.parameters, "epochs": result.epochs, "ended": result.ended}


def tested_columns(result: Result) -> dict[str, float | str]:
    """What tables say of a result's test: tracks; repeats ("3 seeds", "10 splits"); segment_ and track_accuracy, each
    with _low and _high; lowest and highest, of the repeats' track accuracies; the columns of `over_labels`. All but the
    first two in 0..1."""
    predictions = result.predictions("test")
    right = [(run["vote"] == run["target"]).mean() for run in map(per_track, predictions)]
    return {
        "tracks": predictions[0]["track"].nunique(),
        "repeats": result.repeats,
        **with_interval("segment", predictions, "segment"),
        **with_interval("track", predictions, "vote"),
        **{"lowest": min(right), "highest": max(right)},
        **over_labels(predictions),
    }


def over_labels(predictions: list[pd.DataFrame]) -> dict[str, float]:
    """balanced_accuracy and macro_f1 by vote, in which each label that was tested counts alike; means over repeats."""
    from sklearn.metrics import precision_recall_fscore_support  # here: scikit-learn takes seconds to import

    by_repeat = []
    for run in map(per_track, predictions):
        of_labels = {"labels": run["target"].unique(), "average": "macro", "zero_division": 0}
        by_repeat.append(precision_recall_fscore_support(run["target"], run["vote"], **of_labels)[1:3])
    return dict(zip(("balanced_accuracy", "macro_f1"), np.mean(by_repeat, axis=0), strict=True))


def performance(runs: dict[str, Result], reported_as: dict[str, str] | None = None) -> pd.DataFrame:
    """Test accuracy beside what was reported: input, model; parameters, epochs, ended, core_minutes, see `Result`; the
    columns of `tested_columns`; where any was reported segment_reported and track_reported, on FMA-small. Runs are by
    the model's name; `reported_as` has the row of results/reported/table2_performance.csv by name, beside the names in
    that table."""
    rows = [
        {"input": result.input, "model": name, **_trained(result), "core_minutes": result.core_minutes}
        | tested_columns(result)
        for name, result in runs.items()
    ]
    table = pd.DataFrame(rows).astype(TYPES)
    published = reported("table2_performance").set_index("model")
    originals = table["model"].map({label: row for row, label in published["label"].items()} | (reported_as or {}))
    if originals.notna().any():
        table["segment_reported"] = originals.map(published["test_accuracy"])
        table["track_reported"] = originals.map(published["aggregated_accuracy"])
    return table


def as_in_slides(networks: dict[str, Result]) -> dict[str, Result]:
    """The networks of `protocol.performance`, each by its name in the slides' table, or by its experiment's."""
    labels = reported("table2_performance").set_index("model")["label"]
    return {labels.get(key, result.experiment.name): result for key, result in networks.items()}


def regularization(runs: dict[tuple[str, str], Result]) -> pd.DataFrame:
    """The slides' table of regularization techniques, from runs by model and regularization: model, regularization,
    ended, repeats; validation_ and test_ _accuracy per segment with _low and _high, and _reported, on FMA-small;
    track_accuracy by vote with _low and _high; the columns of `over_labels`."""
    rows = [
        {"model": f"{model}_small", "regularization": kind, "ended": result.ended, "repeats": result.repeats}
        | with_interval("validation", result.predictions("validation"), "segment")
        | with_interval("test", result.predictions("test"), "segment")
        | with_interval("track", result.predictions("test"), "vote")
        | over_labels(result.predictions("test"))
        for (model, kind), result in runs.items()
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
    """VGG16's starts, and in `note` why others cannot be run: model, trained_parameters, ended; training_ and
    validation_ lowest and highest accuracy per segment over the epochs of all runs; test_accuracy per segment and
    track_accuracy by vote, with _low and _high; the columns of `over_labels`; note."""
    rows = []
    for name, result in runs.items():
        epochs = pd.concat([run.history for run in result.runs])
        row = {"model": name, "trained_parameters": result.runs[0].info["trained_parameters"], "ended": result.ended}
        for part, column in (("training", "train_accuracy"), ("validation", "validation_accuracy")):
            row |= {f"{part}_lowest": epochs[column].min(), f"{part}_highest": epochs[column].max()}
        predictions = result.predictions("test")
        row |= with_interval("test", predictions, "segment") | with_interval("track", predictions, "vote")
        rows.append(row | over_labels(predictions) | {"note": ""})
    rows += [{"model": name, "ended": None, "note": reason} for name, reason in impossible.items()]
    return pd.DataFrame(rows).astype({"ended": "boolean"})


def width_scaling(runs: dict[tuple[str, str], Result]) -> pd.DataFrame:
    """The slides' width scaling, from runs by model and size: model, size, width, parameters, epochs (of the first
    run), ended, the columns of `tested_columns`, seconds_per_epoch (validation included); reported_accuracy (per
    segment, on FMA-small), reported_parameters and reported_seconds_per_epoch (on the authors' machine)."""
    rows = [
        {"model": model, "size": size, "width": result.experiment.options["width"], **_trained(result)}
        | tested_columns(result)
        | {"seconds_per_epoch": result.epoch_seconds}
        for (model, size), result in runs.items()
    ]
    published = reported("figure1_width_scaling").set_index(["model", "size"])
    published = published[["test_accuracy", "parameters_reported", "seconds_per_epoch"]]
    published.columns = ["reported_accuracy", "reported_parameters", "reported_seconds_per_epoch"]
    return pd.DataFrame(rows).join(published, ["model", "size"])


def confusion(result: Result) -> pd.DataFrame:
    """Tracks by true label (rows) and voted label (columns), both in alphabetical order; the mean over seeds."""
    from sklearn.metrics import confusion_matrix  # here: scikit-learn takes seconds to import

    predictions = result.predictions("test")
    labels, runs = classes_of(predictions[0]), map(per_track, predictions)
    counts = [confusion_matrix(run["target"], run["vote"], labels=range(len(labels))) for run in runs]
    return pd.DataFrame(np.mean(counts, axis=0), pd.Index(labels, name="true"), pd.Index(labels, name="predicted"))


def reported_confusion(name: str) -> pd.DataFrame:
    """The report's confusion matrix of one of `protocol.confused`, rightly labelled."""
    file = name.lower().replace("-1", "1").replace("-", "_")  # resnet1d_medium, soundfusion1
    table = reported(f"figure2_confusion_{file}").set_index("true\\predicted")
    return table.rename_axis(index="true", columns="predicted")


def recalls(runs: dict[str, Result]) -> pd.DataFrame:
    """Recall, precision and F1 of each label by each model, by vote, means over seeds; NaN without test tracks.
    Columns: model, label, tracks, recall, low, high (see `statistics.interval`), precision, f1."""
    from sklearn.metrics import precision_recall_fscore_support  # here: scikit-learn takes seconds to import

    columns, rows = ["model", "label", "tracks", "recall", "low", "high", "precision", "f1"], []
    for model, result in runs.items():
        predictions, scores = result.predictions("test"), []
        labels = classes_of(predictions[0])
        for run in map(per_track, predictions):
            of_labels = {"labels": range(len(labels)), "zero_division": 0}
            scores.append(precision_recall_fscore_support(run["target"], run["vote"], **of_labels))
        precision, _, f1, tracks = np.mean(scores, axis=0)
        for target, label in enumerate(labels):
            row = {"model": model, "label": label, "tracks": int(tracks[target])}
            if row["tracks"]:
                of_label = [frame[frame["target"] == target] for frame in predictions]
                row["recall"], (row["low"], row["high"]) = accuracy(of_label), interval(of_label)
                row |= {"precision": precision[target], "f1": f1[target]}
            rows.append(row)
    return pd.DataFrame(rows, columns=columns)


def trials(study: "optuna.Study") -> pd.DataFrame:
    """The trials of `study.search.search` in their order: trial; how ("to the end", "stopped" or "diverged"); a column
    for each setting; epochs; the last epoch's validation_loss and validation_accuracy (per segment); core_minutes."""
    from soundfusion_lib.study.search import EPOCHS, ended  # here: Optuna is optional

    rows = []
    for number, trial in enumerate(ended(study)):
        epochs = pd.DataFrame(trial.user_attrs.get(EPOCHS, {}))
        row = {"trial": number, "how": STATES[trial.state.name], **trial.params, "epochs": len(epochs)}
        for name in ("validation_loss", "validation_accuracy"):
            row[name] = epochs[name].iloc[-1] if len(epochs) else np.nan
        rows.append(row | {"core_minutes": epochs["core_seconds"].sum() / 60 if len(epochs) else np.nan})
    return pd.DataFrame(rows)


def importances(study: "optuna.Study") -> pd.DataFrame:
    """Which settings the validation loss depends on: setting and importance, which sum to 1, the largest first; empty
    with fewer than two complete trials. Source: functional ANOVA, Hutter, Hoos and Leyton-Brown, ICML 2014."""
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    shares = {}
    if sum(trial.state.name == "COMPLETE" for trial in study.trials) > 1:
        shares = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))
    return pd.DataFrame(shares.items(), columns=["setting", "importance"])


def best_of_their_size(table: pd.DataFrame) -> pd.DataFrame:
    """A table of `performance` with two columns more: best_of_size, "yes" where no row with at most as many parameters
    has a higher accuracy by vote; best_of_time, the same for core_minutes. "-" where the cost is unknown."""
    by_vote = table["track_accuracy"].to_numpy()

    def best(cost: str) -> list[str]:
        costs = table[cost].to_numpy(float)
        highest = [by_vote[costs <= cost].max(initial=0) for cost in costs]
        return np.where(np.isnan(costs), "-", np.where(by_vote >= highest, "yes", "no")).tolist()

    return table.assign(best_of_size=best("parameters"), best_of_time=best("core_minutes"))


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """A table for reading: a quantity and its interval in one cell, numbers rounded."""
    shown, bounds = pd.DataFrame(index=table.index), _bounds(table)
    ends = {end for pair in bounds.values() for end in pair}
    for column, values in table.drop(columns=ends).items():
        name = column.replace("_", " ")
        form = next((form for part, form in FORMATS.items() if part in column), WHOLE if column == "tracks" else ".3f")
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
    accuracies = [column.removesuffix("accuracy") for column in table if column.endswith("_accuracy")]
    pairs = dict.fromkeys(INTERVALS, ("low", "high"))
    pairs |= {f"{kind}accuracy": (f"{kind}low", f"{kind}high") for kind in accuracies}
    return {column: pair for column, pair in pairs.items() if {column, *pair} <= set(table)}


def _with_bounds(value: float, low: float, high: float) -> str:
    if pd.isna(value):
        return "-"
    bounds = "one artist" if pd.isna(low) else f"{low:.3f}, {high:.3f}"
    return f"{value:.3f} [{bounds}]".replace(" ", "\N{NO-BREAK SPACE}")
