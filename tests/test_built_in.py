"""The network that comes with the project: small, honest, and ready where nothing is trained."""

import json
import os
import subprocess
import sys
import tomllib

import numpy as np
import pandas as pd
import pytest
import soundfile
from conftest import RATE, tone

from soundfusion_lib import load_recognizer
from soundfusion_lib.models import count_parameters
from soundfusion_lib.paths import PROJECT
from soundfusion_lib.predict.evaluation import model_card
from soundfusion_lib.predict.recognizer import BUILT_IN

CONFIG = json.loads((BUILT_IN / "config.json").read_text(encoding="utf-8"))


def test_it_is_small_and_belongs_to_the_package():
    assert {file.name for file in BUILT_IN.iterdir()} == {"README.md", "config.json", "model.safetensors"}
    assert sum(file.stat().st_size for file in BUILT_IN.iterdir()) < 3e6
    data = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    assert {"built_in_model/*", "card.toml"} <= set(data["soundfusion_lib.predict"])


def test_it_is_the_network_that_its_card_says():
    recognizer = load_recognizer(device="cpu")
    assert recognizer.experiment.name == "SoundFusion-2"
    assert recognizer.labels == ["classical", "electronic", "pop", "rock"]
    assert count_parameters(recognizer.model) == CONFIG["parameters"] == 491_768
    assert not CONFIG["synthetic"] and (BUILT_IN / "README.md").read_text(encoding="utf-8") == model_card(CONFIG)


def test_its_accuracy_is_that_of_the_committed_table():
    table = pd.read_csv(PROJECT / "results" / "emotify" / "tables" / "05_performance.csv").set_index("model")
    [name] = [name for name in table.index if name.startswith("SoundFusion-2 (")]
    row, tested = table.loc[name], CONFIG["evaluation"]
    assert [tested["accuracy"], tested["low"], tested["high"]] == pytest.approx(
        [row["track_accuracy"], row["track_low"], row["track_high"]], abs=1e-5
    )
    assert tested["tracks"] == row["tracks"] and tested["folds"] == [4, 4]


def test_it_predicts_where_nothing_is_trained(tmp_path):
    soundfile.write(tmp_path / "x.wav", tone("low", 12, RATE, np.random.default_rng(0)), RATE)
    environment = os.environ | {name: str(tmp_path / "none") for name in ("SOUNDFUSION_DATA", "SOUNDFUSION_RESULTS")}
    code = "from soundfusion_lib.cli import main; main()"
    command = [sys.executable, "-c", code, "predict", "x.wav", "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=True)
    assert done.stdout.startswith("x.wav: ") and "trained on emotify" in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["x.wav"]
