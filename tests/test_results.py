"""The committed results on real music: complete, and of committed code."""

import json

from soundfusion_lib.notebooks import notebook_files
from soundfusion_lib.paths import PROJECT

FOLDER = PROJECT / "results" / "soundtracks"


def test_the_results_on_soundtracks_are_whole_and_of_committed_code():
    notebooks = json.loads((FOLDER / "summary.json").read_text(encoding="utf-8"))["notebooks"]
    assert list(notebooks) == [file.stem for file in notebook_files()]
    commits = {one["commit"] for entry in notebooks.values() for one in (entry, *entry["runs"].values())}
    assert all(commit and "dirty" not in commit for commit in commits)
    listed = {file for entry in notebooks.values() for file in entry["results"]}
    kept = {file.relative_to(FOLDER).as_posix() for kind in ("tables", "figures") for file in (FOLDER / kind).iterdir()}
    assert kept == listed
    assert all((FOLDER / "notebooks" / f"{name}.ipynb").stat().st_size < 1e6 for name in notebooks)
