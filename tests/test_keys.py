"""The committed runs took a day of computing: each must be found by its key."""

import json
from collections.abc import Iterator
from typing import Any

from soundfusion_lib.paths import PROJECT
from soundfusion_lib.training.experiment import Experiment


def committed_runs() -> Iterator[tuple[str, dict[str, Any]]]:
    """Key and description (experiment, content_id) of every run in results/."""
    for file in sorted((PROJECT / "results").glob("*/runs/*/experiment.json")):
        yield file.parent.name, json.loads(file.read_text(encoding="utf-8"))


def test_every_committed_run_has_the_key_of_its_experiment():
    runs = dict(committed_runs())
    keys = {key: Experiment.from_dict(run["experiment"]).key(run["content_id"]) for key, run in runs.items()}
    assert len(keys) > 400 and {key: now for key, now in keys.items() if key != now} == {}
