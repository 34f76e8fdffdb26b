"""Runs and results by hand: paired tests of several in one table, and how small a difference these can see; whether
trainings had ended, what they took, and which folds they are of."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import SMALL_MEL, result_of, run_of

from soundfusion_lib.analysis import paired_tests
from soundfusion_lib.analysis.paired_tests import NOTABLE, power
from soundfusion_lib.analysis.statistics import compare
from soundfusion_lib.datasets.splits import Split
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.fuse import average
from soundfusion_lib.training.inference import GROUP
from soundfusion_lib.training.loop import Training
from soundfusion_lib.training.result import Result, folds_note, of_runs
from soundfusion_lib.training.run import Run

PAIR = pd.DataFrame({"first": ["a"], "second": ["b"]})


def right_on(right: np.ndarray, artist: np.ndarray | None = None) -> Result:
    """Right on these tracks, (tracks,) or (seeds, tracks), each by another artist if none is given."""
    number = np.arange(right.shape[-1])
    keys = {"track": number.astype(str), "segment": 0, "target": 0, GROUP: number if artist is None else artist}
    frames = [pd.DataFrame({**keys, "p_a": seed.astype(float), "p_b": 1.0 - seed}) for seed in np.atleast_2d(right)]
    return result_of(frames)


def made(first: int, last: int, runs: int = 1) -> Result:
    """A result whose runs are all right on the tracks from `first` to `last` of 100."""
    number = np.arange(100)
    return right_on(np.tile((first <= number) & (number < last), (runs, 1)))


def test_p_and_interval_of_every_row_say_the_same_of_0():
    runs = {str(gain): made(10, 60 + gain) for gain in (0, 5, 6, 7, 8, 9, 10, 30)}
    pairs = [(name, "0") for name in runs if name != "0"] + [("0", "10")]
    alone = [compare(runs[a].predictions(), runs[b].predictions()) for a, b in pairs]
    table = paired_tests.comparisons(runs, pairs)
    significant, single = table["p"] < 0.05, pd.DataFrame(alone)
    assert (significant == ~table["low"].le(0).mul(table["high"].ge(0))).all()
    assert ((single["p"] < 0.05) & ~significant).any() and significant.any()  # clear by itself, but not among eight
    assert (table["p"] >= single["p"]).all()
    assert (table["low"] <= single["low"]).all() and (table["high"] >= single["high"]).all()
    assert paired_tests.comparisons({}, []).columns.tolist() == table.columns.tolist()
    row = paired_tests.comparisons(runs, pairs[:1]).iloc[0].to_dict()
    about = [row.pop(name) for name in ("first", "second", "tracks", "repeats", "significant")]
    assert about == ["5", "0", 100, "1 seed", "one seed"]
    assert row == pytest.approx(alone[0])


def test_p_values_of_several_tests_are_adjusted_together(monkeypatch):
    """Worked by hand: the smallest of five times 5, the next times 4, ..., never below the one before, at most 1."""
    values, levels = iter([0.04, 0.005, 0.9, 0.012, 0.02]), []

    def interval(self, level):
        levels.append(0.05 / level)
        return 0.0, 0.2

    monkeypatch.setattr(paired_tests.Comparison, "p", lambda self: next(values))
    monkeypatch.setattr(paired_tests.Comparison, "interval", interval)
    table = paired_tests.tested([(made(0, 50), made(0, 50))] * 5)
    assert table["p"].tolist() == pytest.approx([0.08, 0.025, 0.9, 0.048, 0.06])
    assert levels == pytest.approx([3, 5, 3, 4, 3])  # all after the first that is not significant share its level


def test_a_row_says_how_many_seeds_either_side_has_and_one_gets_no_yes_or_no():
    runs = {"three": made(0, 60, 3), "one": made(0, 50), "two": made(0, 55, 2), "three, too": made(0, 58, 3)}
    runs["splits"] = replace(made(0, 99, 10), unit="split")
    pairs = [("three", "one"), ("two", "three"), ("three", "three, too"), ("splits", "three"), ("splits", "one")]
    table = paired_tests.comparisons(runs, pairs)
    expected = ["3 seeds and 1 seed", "2 seeds and 3 seeds", "3 seeds", "10 splits and 3 seeds", "10 splits and 1 seed"]
    assert table["repeats"].tolist() == expected
    assert table["significant"].tolist() == ["one seed", "no", "no", "yes", "one seed"]  # one seed answers nothing


def test_tracks_that_only_one_side_was_tested_on_are_an_error_in_words():
    other = made(0, 60).predictions()[0].assign(track=lambda frame: "other " + frame["track"])
    with pytest.raises(SoundFusionError, match="no track was tested by all"):
        paired_tests.comparisons({"a": made(0, 60), "b": result_of([other])}, [("a", "b")])


def test_the_standard_error_is_that_of_a_paired_difference():
    random = np.random.default_rng(0)
    first, second = random.random((2, 400)) < 0.6
    row = power({"a": right_on(first), "b": right_on(second)}, PAIR).iloc[0]
    gains = first.astype(float) - second
    assert (row["tracks"], row["difference"]) == (400, pytest.approx(gains.mean()))
    assert row["standard_error"] == pytest.approx(gains.std() / 20)
    assert row["smallest_difference"] == pytest.approx((1.96 + 0.84) * row["standard_error"], rel=0.03)
    assert row["tracks_needed"] == round(400 * (row["smallest_difference"] / NOTABLE) ** 2)
    assert row["on_800_tracks"] == pytest.approx(row["smallest_difference"] / 2**0.5)
    same = power({"a": right_on(first)}, PAIR.assign(second="a")).iloc[0]
    assert (same["difference"], same["standard_error"]) == (0, 0)
    assert same["smallest_difference"] == pytest.approx(1 - 0.025 ** (1 / 400))  # none of 400 artists


def test_artists_that_cancel_out_leave_nothing_however_they_are_added_up():
    assert 0.1 + 0.2 - 0.3 != 0
    artist = np.repeat([0, 1, 2, 3], [1, 2, 3, 4])
    sides = {"a": right_on(artist < 2, artist), "b": right_on(artist == 2, artist)}
    row = power(sides, PAIR).iloc[0]
    assert row["difference"] == 0 and row["tracks_needed"] > 0
    for first, second in ("ab", "ba"):
        difference = compare(*(sides[name].predictions()[0] for name in (first, second)))["difference"]
        assert str(difference) == "0.0"  # and not -0.0, which a table would show


def test_seeds_that_spread_and_artists_that_are_all_alike_make_it_larger():
    random = np.random.default_rng(0)
    first, second = random.random((2, 100)) < 0.5
    spread, artist = random.random((3, 100)) < [[0.2], [0.5], [0.8]], np.arange(100).repeat(5)
    plain, albums, seeds = (
        power({"a": a, "b": b}, PAIR).loc[0, "standard_error"]
        for a, b in (
            (right_on(first), right_on(second)),
            (right_on(first.repeat(5), artist), right_on(second.repeat(5), artist)),  # five times the tracks
            (right_on(spread), right_on(second)),
        )
    )
    assert albums == pytest.approx(plain) and seeds > 1.5 * plain


def test_four_of_five_tests_see_the_smallest_difference():
    """400 tracks on 0.2 of which two networks disagree."""
    smallest, seen = 2.8 * np.sqrt(0.2 / 400), []
    for seed in range(60):
        gain = np.random.default_rng(seed).choice([1, -1, 0], 400, p=[0.1 + smallest / 2, 0.1 - smallest / 2, 0.8])
        groups = right_on(gain >= 0), right_on(gain <= 0)
        seen.append(compare(*(group.predictions() for group in groups))["p"] < 0.05)
    assert 0.65 < np.mean(seen) < 0.93  # three deviations of 60 repetitions


def test_few_seeds_that_spread_ask_for_more_than_a_normal_distribution_would():
    """Student's t, as in `compare`: what is asked for is what it finds at p = 0.05."""
    random = np.random.default_rng(0)
    seeds = {"a": right_on(random.random((3, 400)) < [[0.45], [0.55], [0.65]]), "b": right_on(random.random(400) < 0.5)}
    row = power(seeds, PAIR).iloc[0]
    assert row["smallest_difference"] > 1.4 * 2.8 * row["standard_error"]
    result = compare(seeds["a"].predictions(), seeds["b"].predictions())
    asked = row["smallest_difference"] - 0.84 * row["standard_error"]
    assert result["high"] - result["difference"] == pytest.approx(asked, rel=0.2)


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


def test_core_minutes_are_the_mean_of_runs_and_the_sum_of_both_that_are_averaged_or_of_a_fusion_and_its_parts():
    one, two = (run_with([1.0], {"core_seconds": 60 * minutes}) for minutes in (1, 4))
    result = of_runs([one, two], pd.Series())
    assert result.core_minutes == 2.5 and of_runs([one], pd.Series(), parts=[two, two]).core_minutes == 9
    assert average(result, of_runs([one], pd.Series()), "x").core_minutes == 3.5
    assert math.isnan(of_runs([one, run_with([1.0])], pd.Series()).core_minutes)  # of a version that did not count them


def of_folds(*folds, scheme="artist"):
    splits = [Split(scheme, 4, fold) for fold in folds]
    return of_runs([run_of(Experiment("x", "simple_cnn", (SMALL_MEL,), split=split)) for split in splits], pd.Series())


def test_captions_say_where_folds_are_missing():
    whole, first, official = of_folds(0, 1, 2, 3), of_folds(0), of_folds(0, scheme="official")
    assert folds_note({"a": whole, "b": official}) == "" == folds_note({})
    assert folds_note({"a": first, ("b", 0.5): first}) == "; fold 1 of 4"
    both = average(first, first, "c")
    assert folds_note({"a": whole, ("b", 0.5): first, "c": both}) == "; fold 1 of 4 (the rows of fewer tracks)"
    assert folds_note({"a": of_folds(0, 2)}) == "; folds 1, 3 of 4"
