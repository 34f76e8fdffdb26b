"""The committed results on real music: of committed code, and of trainings that had ended; and what is said of them."""

import json
import re

import pandas as pd
import pytest

from soundfusion_lib.notebooks import notebook_files
from soundfusion_lib.paths import PROJECT
from soundfusion_lib.study.profile import BUILT_IN
from soundfusion_lib.training.run import kept_run

RESULTS = PROJECT / "results"
REAL = ("emotify", "soundtracks")


def notebooks_of(name: str) -> dict:
    return json.loads((RESULTS / name / "summary.json").read_text(encoding="utf-8"))["notebooks"]


@pytest.mark.parametrize("name", REAL)
def test_the_results_on_real_music_are_of_its_notebooks_of_committed_code_and_of_trainings_that_had_ended(name):
    executed, notebooks = RESULTS / name / "notebooks", notebooks_of(name)
    assert set(notebooks) <= {file.stem for file in notebook_files()}
    assert sorted(notebooks) == sorted(file.stem for file in executed.glob("*.ipynb"))
    commits = {about["commit"] for entry in notebooks.values() for about in (entry, *entry["runs"].values())}
    assert all(commit and "dirty" not in commit for commit in commits)
    assert len({entry["commit"] for entry in notebooks.values()}) == 1  # of the notebooks: runs may be older
    for file in executed.iterdir():
        assert file.stat().st_size < 1.3e6
        assert "data:audio" not in file.read_text(encoding="utf-8"), f"music of others is in {file}"
    tables = [pd.read_csv(file) for file in (RESULTS / name / "tables").glob("*.csv")]
    ended = pd.concat([table["ended"].dropna() for table in tables if "ended" in table])
    assert len(ended) and ended.astype(str).eq("True").all()


def test_on_the_demo_each_network_of_the_table_of_performance_learns():
    """But VGG16, frozen as the authors' code did it, on what some hundred synthetic clips taught it."""
    table = pd.read_csv(RESULTS / "demo" / "tables" / "05_performance.csv").set_index("model")
    networks = table.dropna(subset="parameters").drop("pre-trained VGG16")
    assert len(networks) == 7
    assert (networks["track_accuracy"] > table.loc["SVM on MFCC statistics", "track_low"]).all()


@pytest.mark.parametrize("name", ["demo", *REAL])
def test_no_table_or_figure_is_left_of_a_study_before(name):
    folder = RESULTS / name
    listed = {file for entry in notebooks_of(name).values() for file in entry["results"]}
    kept = {file.relative_to(folder).as_posix() for kind in ("tables", "figures") for file in (folder / kind).iterdir()}
    assert kept == listed


def test_every_kept_run_is_whole_and_has_the_key_of_its_experiment():
    """They took a day of computing: each must be found by its key."""
    files = {file: json.loads(file.read_text(encoding="utf-8")) for file in RESULTS.glob("*/runs/runs.json")}
    assert sum(map(len, files.values())) > 400
    for file, runs in files.items():
        for key, about in runs.items():
            run = kept_run(key, file.parent)
            assert run.experiment.key(about["content_id"]) == key
            assert "dirty" not in run.info["commit"] and len(run.history) >= run.info["best_epoch"]
            assert len(run.predictions("test")) == run.info["segments"]["test"]


def not_in_tables(text: str, tables: str) -> list[str]:
    """The numbers of two or more decimals in a text that are no number of the tables, rounded to as many."""
    values = [float(number) for number in re.findall(r"\d+\.?\d*(?:e[-+]\d+)?", tables)]
    said = re.findall(r"\d+\.\d\d+", text)
    return [number for number in said if number not in {f"{value:.{len(number.split('.')[1])}f}" for value in values}]


def test_a_number_that_no_table_has_is_found():
    tables = "model,a\nx,0.654321\ny,-0.0651\nz,1.23e-01\n"
    assert not_in_tables("0.65 of 3.5, 0.123, -0.07 and 0.66", tables) == ["0.66"]


def read(files) -> str:
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


TABLES = [f"{name}/tables/*.csv" for name in REAL] + ["reported/*.csv"]
OF_STUDIES = read(file for tables in TABLES for file in RESULTS.glob(tables))


@pytest.mark.parametrize("name", REAL)
def test_the_numbers_in_findings_are_those_of_the_tables(name):
    tables = read((RESULTS / name / "tables").glob("*.csv"))
    assert not not_in_tables((BUILT_IN / "findings" / f"{name}.md").read_text(encoding="utf-8"), tables)


def test_the_numbers_in_readmes_are_those_of_the_tables():
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    first = readme.split("<!-- findings -->")[1].split("<!-- end of findings -->")[0]
    assert "0.761" in first and not not_in_tables(first, OF_STUDIES)
    page = (RESULTS / "README.md").read_text(encoding="utf-8")
    assert not not_in_tables(page.split("## In short")[1], OF_STUDIES)
