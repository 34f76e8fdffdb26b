"""The committed results on real music: complete, and of committed code; and what is said of them."""

import json
import re

from soundfusion_lib.notebooks import notebook_files
from soundfusion_lib.paths import PROJECT
from soundfusion_lib.study.profiles import BUILT_IN

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


def not_in_tables(text: str, tables: str) -> list[str]:
    """The numbers of two or more decimals in a text that are no number of the tables, rounded to as many."""
    values = [float(number) for number in re.findall(r"\d+\.?\d*(?:e[-+]\d+)?", tables)]
    said = re.findall(r"\d+\.\d\d+", text)
    return [number for number in said if number not in {f"{value:.{len(number.split('.')[1])}f}" for value in values}]


def test_a_number_that_no_table_has_is_found():
    tables = "model,a\nx,0.654321\ny,-0.0651\nz,1.23e-01\n"
    assert not_in_tables("0.65 of 3.5, 0.123, -0.07 and 0.66", tables) == ["0.66"]


def test_the_numbers_in_findings_are_those_of_the_tables():
    for file in (BUILT_IN / "findings").glob("*.md"):
        tables = list((PROJECT / "results" / file.stem / "tables").glob("*.csv"))
        numbers = "\n".join(table.read_text(encoding="utf-8") for table in tables)
        wrong = not_in_tables(file.read_text(encoding="utf-8"), numbers) if tables else []
        assert not wrong, file.name
