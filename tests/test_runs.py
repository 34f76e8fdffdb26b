"""Runs out of files written by hand: whether a training had ended, and what it took."""

import json
import math

import pandas as pd
import pytest

from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.fuse import Decision
from soundfusion_lib.training.loop import Training
from soundfusion_lib.training.result import RunGroup
from soundfusion_lib.training.run import Run

STILL, FALLING = [1.0] * 16 + [0.5, 0.5, 0.45, 0.45], [1.0] * 16 + [0.5, 0.5, 0.44, 0.44]


def of(folder, losses, info=None, **training) -> Run:
    """A run with these training losses, one an epoch."""
    folder.mkdir(exist_ok=True)
    pd.DataFrame({"train_loss": losses}).to_csv(folder / "history.csv", index=False)
    (folder / "run.json").write_text(json.dumps(info or {}))
    return Run(Experiment("made", "simple_cnn", (), training=Training(**training)), folder)


@pytest.mark.parametrize(
    "losses, training, ended",
    [
        (FALLING, {"epochs": 21, "patience": 5}, True),  # patience stopped it
        (STILL, {"epochs": 20}, False),  # a constant rate whose epochs ran out
        (STILL, {"epochs": 20, "schedule": "one_cycle", "keep": "last"}, True),
        (STILL, {"epochs": 20, "schedule": "one_cycle"}, True),
        (FALLING, {"epochs": 20, "schedule": "one_cycle", "keep": "last"}, False),
        (FALLING[:17] + [0.4] * 2, {"epochs": 19, "schedule": "one_cycle"}, True),  # a tenth is one epoch
        ([0.5, 0.46], {"epochs": 2, "schedule": "one_cycle"}, True),
        ([0.5, 0.44], {"epochs": 2, "schedule": "one_cycle"}, False),
        ([0.5, 0.6], {"epochs": 2, "schedule": "one_cycle"}, True),
        ([0.5], {"epochs": 1, "schedule": "one_cycle"}, False),
    ],
)
def test_a_training_has_ended_by_patience_or_with_its_one_cycle(tmp_path, losses, training, ended):
    assert of(tmp_path, losses, **training).ended is ended


def test_groups_and_decisions_have_ended_when_all_their_runs_have(tmp_path):
    cycle = {"epochs": 20, "schedule": "one_cycle"}
    still, falling = of(tmp_path / "still", STILL, **cycle), of(tmp_path / "falling", FALLING, **cycle)
    ended, other = RunGroup([still, still], pd.Series()), RunGroup([still, falling], pd.Series())
    assert ended.ended and not other.ended
    assert Decision(ended, ended).ended and not Decision(ended, other).ended and not Decision(other, ended).ended


def test_core_minutes_are_the_mean_of_runs_and_the_sum_of_a_decision_s_models(tmp_path):
    one, two = (of(tmp_path / str(minutes), [1.0], {"core_seconds": 60 * minutes}) for minutes in (1, 4))
    before = of(tmp_path / "before", [1.0])  # a run of a version that did not count them
    group = RunGroup([one, two], pd.Series())
    assert group.core_minutes == 2.5 and Decision(group, RunGroup([one], pd.Series())).core_minutes == 3.5
    assert math.isnan(RunGroup([one, before], pd.Series()).core_minutes)
