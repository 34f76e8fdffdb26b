import json

import pandas as pd
import pytest
from conftest import games

from soundfusion_lib.analysis.page import write_page
from soundfusion_lib.analysis.tables import readable
from soundfusion_lib.study.protocol import reported
from soundfusion_lib.study.results import Results
from soundfusion_lib.study.study import Study

NOTEBOOK = {"runs": {}, "device": "cpu", "commit": "abc"}
SUMMARY = {"corpus": "games", "label": "soundtrack", "synthetic": False, "tracks": 2, "left_out": 0}


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDFUSION_RESULTS", str(tmp_path))
    study = Study.__new__(Study)
    Results.__init__(study, "03_x", "demo")
    study.__dict__["corpus"] = games()
    return study


def page_of(study, runs=(), notebooks=("03_x",)):
    entry = NOTEBOOK | {"runs": dict(runs), "results": study.captions}
    summary = SUMMARY | {"notebooks": dict.fromkeys(notebooks, entry)}
    (study.folder / "summary.json").write_text(json.dumps(summary))
    return write_page("demo").read_text()


def test_reported_bounds_are_data_and_stay(study):
    study.save_table(reported("transfer_learning"), "03_reported", "Reported", of_corpus=False)
    page = page_of(study)
    for part in ("training", "validation"):
        assert f"| {part} accuracy low | {part} accuracy high |" in page
    assert "| none | 0.160 | 0.178 | 0.134 | 0.135 | flat over 10 epochs |" in page


def test_only_tables_of_the_corpus_name_its_label(study):
    study.save_table(pd.DataFrame({"model": ["x"]}), "own", "Ours")
    study.save_table(pd.DataFrame({"model": ["x"]}), "reported", "Theirs, FMA-small", of_corpus=False)
    page = page_of(study)
    assert f"**Ours, label: soundtrack{study.corpus.artists_note}** ([CSV](tables/own.csv))" in page
    assert "**Theirs, FMA-small** ([CSV](tables/reported.csv))" in page


def test_the_page_counts_the_runs_of_each_seed(study):
    runs = {key: {"seed": seed, "device": "cpu", "seconds": 1.0} for key, seed in (("a", 0), ("b", 2), ("c", 0))}
    study.save_table(pd.DataFrame({"model": ["x"]}), "own", "Ours")
    assert "3 runs, of these 2 with seed 0, 1 with seed 2." in page_of(study, runs, ("02_x", "04_x"))


def test_p_is_holm_s_where_all_of_them_are_1(study):
    tests = {"first": ["x", "y"], "difference": 0.5, "low": -0.1, "high": 1.1, "p": [1.0, 1.0]}
    study.save_table(pd.DataFrame(tests), "own", "Ours")
    page = page_of(study)
    assert page.count(" | p (Holm) |") == 1 and page.count(" | 1.000 |") == 2


def test_notes_are_whole_and_intervals_on_one_line():
    note = "not run: " + "a long reason " * 20
    table = pd.DataFrame({"test_accuracy": [0.5], "test_low": [0.4], "test_high": [0.6], "note": [note]})
    html = readable(table)._repr_html_()
    assert note.strip() in html and "0.500\N{NO-BREAK SPACE}[0.400,\N{NO-BREAK SPACE}0.600]" in html


def test_names_are_text_on_the_page(study):
    label = "<script>alert(1)</script> & &lt;b&gt; | <0.001"
    study.save_table(pd.DataFrame({"track": [label], label: [1]}), "own", f"Of {label}", of_corpus=False)
    page = page_of(study)
    assert "<script" not in page and "</script" not in page
    shown = "&lt;script>alert(1)&lt;/script> & &amp;lt;b&amp;gt; \\| <0.001"
    assert f"| {shown} |" in page and f"**Of {shown}**" in page
