"""Runs and results by hand: whether a training had ended, and what it took."""

import math

import pandas as pd
import pytest
from conftest import SMALL_MEL, run_of

from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.fuse import average
from soundfusion_lib.training.loop import Training
from soundfusion_lib.training.result import of_runs
from soundfusion_lib.training.run import Run

STILL, FALLING = [1.0] * 16 + [0.5, 0.5, 0.45, 0.45], [1.0] * 16 + [0.5, 0.5, 0.44, 0.44]


def run_with(losses, info=None, **training) -> Run:
    """A run with these training losses, one per epoch."""
    return run_of(Experiment("x", "simple_cnn", (SMALL_MEL,), training=Training(**training)), losses, info)


@pytest.mark.parametrize(
    "losses, training, ended",
    [
        (FALLING, {"epochs": 21, "patience": 5}, True),  # patience stopped it
        (STILL, {"epochs": 20}, False),  # a constant rate whose epochs ran out
        (STILL, {"epochs": 20, "schedule": "one_cycle", "keep": "last"}, True),
        (FALLING, {"epochs": 20, "schedule": "one_cycle", "keep": "last"}, False),
        (FALLING[:17] + [0.4] * 2, {"epochs": 19, "schedule": "one_cycle"}, True),  # a tenth is one epoch
        ([0.5, 0.44], {"epochs": 2, "schedule": "one_cycle"}, False),
        ([0.5], {"epochs": 1, "schedule": "one_cycle"}, False),
    ],
)
def test_a_training_has_ended_by_patience_or_with_its_one_cycle(losses, training, ended):
    assert run_with(losses, **training).ended is ended


def test_a_result_has_ended_when_all_its_runs_have():
    cycle = {"epochs": 20, "schedule": "one_cycle"}
    still, falling = run_with(STILL, **cycle), run_with(FALLING, **cycle)
    ended, other = of_runs([still, still], pd.Series()), of_runs([still, falling], pd.Series())
    assert ended.ended and not other.ended
    assert average(ended, ended, "x").ended
    assert not average(ended, other, "x").ended and not average(other, ended, "x").ended


def test_core_minutes_are_the_mean_of_runs_and_the_sum_of_both_that_are_averaged():
    one, two = (run_with([1.0], {"core_seconds": 60 * minutes}) for minutes in (1, 4))
    result = of_runs([one, two], pd.Series())
    assert result.core_minutes == 2.5 and average(result, of_runs([one], pd.Series()), "x").core_minutes == 3.5
    assert math.isnan(of_runs([one, run_with([1.0])], pd.Series()).core_minutes)  # of a version that did not count them
