"""The examples of CONTRIBUTING.md run, one after the other, on made-up sound."""

import re
import shutil

import pandas as pd

from soundfusion_lib import datasets, models
from soundfusion_lib.paths import PROJECT


def test_the_examples_run_as_written(corpus, tmp_path, monkeypatch):
    for registry, name in ((datasets.KINDS, "named"), (models.MODELS, "band_means")):
        monkeypatch.setitem(registry, name, None)  # the examples set it; taken out again afterwards
    (tmp_path / "music").mkdir()
    for track, row in corpus.tracks.iterrows():
        shutil.copy(corpus.file(track), tmp_path / "music" / f"{row.label}_{row.group}_{track}.wav")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOUNDFUSION_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SOUNDFUSION_RESULTS", str(tmp_path / "results"))
    text = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL)
    assert [language for language, _ in blocks] == ["python", "python", "toml", "python"]
    names = {"__name__": "example"}
    for language, block in blocks:
        if language == "python":
            exec(block, names)
        else:
            (tmp_path / "mine.toml").write_text(block, encoding="utf-8")
    table = pd.read_csv(tmp_path / "results" / "mine" / "tables" / "mine_aggregations.csv").set_index("by")
    assert list(table.index) == ["segment", "vote"] and set(table["model"]) == {"band means"}
    assert table.loc["vote", "accuracy"] > 2 / 3 and (table["low"] <= table["accuracy"]).all()
    assert (tmp_path / "results" / "mine" / "summary.json").exists()
