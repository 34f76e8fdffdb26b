"""README, results/README.md and docs/ say what results/, benchmarks/ and tests/ hold; their links lead somewhere."""

import re
import runpy
import shutil

import pandas as pd
import pytest
from conftest import at_home_in

from soundfusion_lib import datasets, models
from soundfusion_lib.paths import PROJECT

README = (PROJECT / "README.md").read_text(encoding="utf-8")
filled = runpy.run_path(str(PROJECT / "tooling" / "readme.py"))["filled"]
PAGES = [PROJECT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "results/README.md")]
PAGES += sorted((PROJECT / "docs").glob("*.md"))


def test_the_readme_is_one_page_whose_table_is_that_of_the_results():
    assert filled(README) == README and len(README.splitlines()) <= 150
    outdated = README.replace("0.761 [0.696, 0.824] |", "0.111 [0.100, 0.122] |")
    assert outdated != README == filled(outdated)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.is_file(), target
        headings = re.findall(r"^#+ (.*)", file.read_text(encoding="utf-8"), re.MULTILINE) if anchor else []
        assert not anchor or anchor in {re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in headings}


def test_every_test_that_a_promise_names_is_there():
    named = re.findall(r"`(test_\w+\.py)(?:::(test_\w+))?`", (PROJECT / "docs" / "reliability.md").read_text())
    assert len(named) > 20
    for file, test in named:
        assert not test or f"def {test}(" in (PROJECT / "tests" / file).read_text(encoding="utf-8"), test


def test_the_examples_of_contributing_run_as_written_one_after_the_other(corpus, tmp_path, monkeypatch):
    for registry, name in ((datasets.KINDS, "named"), (models.MODELS, "band_means")):
        monkeypatch.setitem(registry, name, None)  # the examples set it; taken out again afterwards
    (tmp_path / "music").mkdir()
    for track, row in corpus.tracks.iterrows():
        shutil.copy(corpus.file(track), tmp_path / "music" / f"{row.label}_{row.group}_{track}.wav")
    text = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL)
    assert [language for language, _ in blocks] == ["python", "python", "toml", "python"]
    names = {"__name__": "example"}
    with at_home_in(tmp_path):
        for language, block in blocks:
            if language == "python":
                exec(block, names)
            else:
                (tmp_path / "mine.toml").write_text(block, encoding="utf-8")
    table = pd.read_csv(tmp_path / "results" / "mine" / "tables" / "mine_aggregations.csv").set_index("by")
    assert list(table.index) == ["segment", "vote"] and set(table["model"]) == {"band means"}
    assert table.loc["vote", "accuracy"] > 2 / 3 and (table["low"] <= table["accuracy"]).all()
    assert (tmp_path / "results" / "mine" / "summary.json").exists()
