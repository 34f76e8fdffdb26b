"""README.md and RELIABILITY.md say what results/, benchmarks/results/ and tests/ hold."""

import re
import runpy
import shutil

import pandas as pd

from soundfusion_lib.paths import PROJECT

SCRIPT = runpy.run_path(str(PROJECT / "tooling" / "readme.py"))
README, RELIABILITY = ((PROJECT / name).read_text(encoding="utf-8") for name in ("README.md", "RELIABILITY.md"))


def test_making_the_tables_changes_nothing():
    assert SCRIPT["filled"](README) == README and SCRIPT["filled"](RELIABILITY) == RELIABILITY


def test_every_table_has_its_place_once():
    text = README + RELIABILITY
    for name in SCRIPT["TABLES"]:
        assert text.count(f"<!-- table: {name} -->") == 1
    assert text.count("<!-- table: ") == text.count("<!-- end -->") == len(SCRIPT["TABLES"])


def test_every_test_that_a_promise_names_is_there():
    named = re.findall(r"`(test_\w+\.py)(?:::(test_\w+))?`", RELIABILITY)
    assert len(named) > 30
    for file, test in named:
        assert not test or f"def {test}(" in (PROJECT / "tests" / file).read_text(encoding="utf-8"), test


def test_links_within_a_page_lead_to_one_of_its_headings():
    for text in (README, RELIABILITY):
        headings = [line.lstrip("# ").lower() for line in text.splitlines() if line.startswith("#")]
        there = {re.sub(r"[^\w -]", "", heading).replace(" ", "-") for heading in headings}  # as GitHub names them
        assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= there
    assert len(re.findall(r"\]\(#", README)) > 5


def test_another_number_in_a_table_comes_into_the_readme(tmp_path):
    for part in ("tooling", "results/emotify/tables", "results/soundtracks/tables", "benchmarks/results"):
        shutil.copytree(PROJECT / part, tmp_path / part)
    (tmp_path / "README.md").write_text(README, encoding="utf-8")
    (tmp_path / "RELIABILITY.md").write_text(RELIABILITY, encoding="utf-8")
    file = tmp_path / "results" / "emotify" / "tables" / "05_performance.csv"
    table = pd.read_csv(file)
    table.loc[1, "track_high"] = 0.987654
    table.to_csv(file, index=False)
    runpy.run_path(str(tmp_path / "tooling" / "readme.py"), run_name="__main__")
    old, new = README.splitlines(), (tmp_path / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(old) == len(new)
    [changed] = [line for before, line in zip(old, new, strict=True) if before != line]
    assert ", 0.988] |" in changed
