"""The committed results on real music: complete, of committed code, and what the README says of them is what their tables hold."""

import json

import pandas as pd
import pytest

from soundfusion_lib.notebooks import notebook_files
from soundfusion_lib.paths import PROJECT

FOLDER = PROJECT / "results" / "soundtracks"


def performance(row) -> str:
    accuracy = f"{row.track_accuracy:.3f} [{row.track_low:.3f}, {row.track_high:.3f}]"
    reported = "" if pd.isna(row.track_reported) else f"{row.track_reported:.3f}"
    return f"| {row.input} | {row.model} | {row.tracks} | {accuracy} | {reported} |"


def conclusion(row) -> str:
    difference = f"{row.difference:+.3f} [{row.low:+.3f}, {row.high:+.3f}]"
    return f"| {row.question} | {row.first} - {row.second} | {row.reported:+.3f} | {difference} | {row.p:.3f} | {row.answer} |"


@pytest.mark.parametrize("table, text", [("05_performance", performance), ("08_conclusions", conclusion)])
def test_the_readme_says_what_the_tables_on_soundtracks_hold(table, text):
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    for row in pd.read_csv(FOLDER / "tables" / f"{table}.csv").itertuples():
        assert text(row) in readme


def test_the_results_on_soundtracks_are_whole_and_of_committed_code():
    notebooks = json.loads((FOLDER / "summary.json").read_text(encoding="utf-8"))["notebooks"]
    assert list(notebooks) == [file.stem for file in notebook_files()]
    commits = {one["commit"] for entry in notebooks.values() for one in (entry, *entry["runs"].values())}
    assert all(commit and "dirty" not in commit for commit in commits)
    listed = {file for entry in notebooks.values() for file in entry["results"]}
    kept = {file.relative_to(FOLDER).as_posix() for kind in ("tables", "figures") for file in (FOLDER / kind).iterdir()}
    assert kept == listed
    assert all((FOLDER / "notebooks" / f"{name}.ipynb").stat().st_size < 1e6 for name in notebooks)
