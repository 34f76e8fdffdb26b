"""The page of a profile's results, and the summary that it is made from."""

import json
import subprocess
import sys

import pandas as pd
import pytest
from conftest import games
from matplotlib import pyplot as plt

from soundfusion_lib.analysis.page import write_page
from soundfusion_lib.analysis.tables import readable
from soundfusion_lib.study.protocol import reported
from soundfusion_lib.study.results import Results, edit_summary, read_summary
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


def test_tables_of_the_corpus_alone_name_its_label_reported_bounds_stay_and_runs_are_counted_by_seed(study):
    runs = {key: {"seed": seed, "device": "cpu", "seconds": 1.0} for key, seed in (("a", 0), ("b", 2), ("c", 0))}
    study.save_table(pd.DataFrame({"model": ["x"]}), "own", "Ours")
    study.save_table(reported("transfer_learning"), "reported", "Theirs, FMA-small", of_corpus=False)
    page = page_of(study, runs, ("02_x", "04_x"))
    assert f"**Ours, label: soundtrack{study.corpus.artists_note}** ([CSV](tables/own.csv))" in page
    assert "**Theirs, FMA-small** ([CSV](tables/reported.csv))" in page
    for part in ("training", "validation"):
        assert f"| {part} accuracy low | {part} accuracy high |" in page
    assert "| none | 0.160 | 0.178 | 0.134 | 0.135 | flat over 10 epochs |" in page
    assert "3 runs, of these 2 with seed 0, 1 with seed 2." in page


def test_a_figure_s_caption_says_that_artists_are_unknown_its_title_names_the_label(study):
    study.save_figure(plt.figure(), "own", "Ours")
    assert study.corpus.artists_note and study.captions == {"figures/own.png": f"Ours{study.corpus.artists_note}"}


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


WRITER = """
import sys
from pathlib import Path
from soundfusion_lib.study.results import edit_summary

for number in range(100):
    with edit_summary(Path(sys.argv[1])) as summary:
        summary.setdefault("notebooks", {})[f"{sys.argv[2]}{number}"] = {"seconds": number}
"""


def test_two_processes_that_write_at_once_keep_all_entries(tmp_path):
    file = tmp_path / "results" / "summary.json"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(file), name]) for name in "ab"]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    expected = {f"{name}{number}": {"seconds": number} for name in "ab" for number in range(100)}
    assert read_summary(file) == {"notebooks": expected}


def test_there_need_be_none_and_an_error_leaves_it_as_it_was(tmp_path):
    file = tmp_path / "summary.json"
    assert read_summary(file) == {}
    with edit_summary(file) as summary:
        summary["profile"] = "mine"
    with pytest.raises(ZeroDivisionError), edit_summary(file) as summary:
        summary["profile"] = 1 / 0
    assert json.loads(file.read_text(encoding="utf-8")) == {"profile": "mine"}
