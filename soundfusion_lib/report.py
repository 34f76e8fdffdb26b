"""Tables of the study: DataFrames, what the report found beside what was reproduced."""

import pandas as pd

from soundfusion_lib.evaluation import accuracy, compare, interval
from soundfusion_lib.study import Runs, Study, results_dir


def corpus_table(study: Study) -> pd.DataFrame:
    """Tracks, artists, segments and minutes of each genre, and in all (usable tracks only)."""
    tracks = study.tracks
    segmenting = study.profile.segmenting
    tracks = tracks.assign(segments=[len(segmenting.starts(seconds)) for seconds in tracks["seconds"]])
    table = tracks.groupby("genre").agg(
        tracks=("genre", "size"), artists=("artist", "nunique"), segments=("segments", "sum"), minutes=("seconds", "sum")
    )
    total = table.sum()
    total["artists"] = tracks["artist"].nunique()
    table.loc["all"] = total
    table["minutes"] = (table["minutes"] / 60).round(1)
    return table.astype({"tracks": int, "artists": int, "segments": int})


def split_table(study: Study) -> pd.DataFrame:
    """Tracks, artists and segments of each part, and how many of its artists are in another part too."""
    tracks, segmenting = study.tracks, study.profile.segmenting
    rows = {}
    for part in ("train", "validation", "test"):
        own, others = tracks[tracks["split"] == part], tracks[tracks["split"] != part]
        rows[part] = {
            "tracks": len(own),
            "artists": own["artist"].nunique(),
            "artists shared with another part": len(set(own["artist"].dropna()) & set(others["artist"].dropna())),
            "segments": sum(len(segmenting.starts(seconds)) for seconds in own["seconds"]),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("part")


def reported(name: str) -> pd.DataFrame:
    """A table of the report's own numbers: results/reported/<name>.csv."""
    return pd.read_csv(results_dir() / "reported" / f"{name}.csv")


def performance(study: Study, runs: dict[str, Runs], reported_as: dict[str, str] | None = None) -> pd.DataFrame:
    """Test accuracy per segment and per track, with 95 % intervals, beside what was reported.

    Args:
        study: where the runs come from.
        runs: by the model's name in the table.
        reported_as: for each name the row of results/reported/table2_performance.csv (its column `model`).

    Returns:
        A row a model: model, parameters; segment_, track_ (majority vote) and mean_ (mean probability) _accuracy, each
        with _low and _high; segment_reported and track_reported on FMA-small. Accuracies are in 0..1.
    """
    published = reported("table2_performance").set_index("model")
    rows = []
    for name, group in runs.items():
        predictions = group.predictions("test")
        row = {"model": name, "parameters": group.runs[0].info["parameters"]}
        for column, by in (("segment", "segment"), ("track", "vote"), ("mean", "mean")):
            row[f"{column}_accuracy"] = accuracy(predictions, by)
            row[f"{column}_low"], row[f"{column}_high"] = interval(predictions, by)
        if reported_as and name in reported_as:
            original = published.loc[reported_as[name]]
            row |= {"segment_reported": original["test_accuracy"], "track_reported": original["aggregated_accuracy"]}
        rows.append(row)
    return pd.DataFrame(rows)


def comparisons(runs: dict[str, Runs], pairs: list[tuple[str, str]], by: str = "vote") -> pd.DataFrame:
    """Paired tests on the same test tracks: for each pair whether the first is more accurate than the second.

    Returns:
        A row a pair: first, second, difference (of accuracy), low, high (95 % interval), p (two-sided, see `compare`).
    """
    rows = [
        {"first": a, "second": b, **compare(runs[a].predictions("test"), runs[b].predictions("test"), by)}
        for a, b in pairs
    ]
    return pd.DataFrame(rows)


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """The same table for reading: an accuracy and its interval in one cell, rounded to three digits."""
    shown = pd.DataFrame(index=table.index)
    for column in table.columns:
        base, _, kind = column.rpartition("_")
        if kind in ("low", "high"):
            continue
        if kind == "accuracy":
            cells = table[[column, f"{base}_low", f"{base}_high"]].itertuples(index=False)
            shown[f"{base} [95 % interval]"] = [f"{value:.3f} [{low:.3f}, {high:.3f}]" for value, low, high in cells]
        elif column == "parameters":
            shown[column] = [f"{value:,}" for value in table[column]]
        elif table[column].dtype.kind == "f":
            shown[column.replace("_", " ")] = ["-" if pd.isna(value) else f"{value:.3f}" for value in table[column]]
        else:
            shown[column.replace("_", " ")] = table[column]
    return shown
