"""Several paired tests in one table, and the folds that a table's runs are of."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import SMALL_MEL, result_of, run_of

from soundfusion_lib.analysis import paired_tests
from soundfusion_lib.analysis.statistics import compare
from soundfusion_lib.datasets.splits import Split
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.fuse import average
from soundfusion_lib.training.result import Result, folds_note, of_runs


def made(first: int, last: int, runs: int = 1, prefix: str = "") -> Result:
    """A result whose runs are all right on the tracks from `first` to `last` of 100."""
    number = np.arange(100)
    right = ((first <= number) & (number < last)).astype(float)
    names = [f"{prefix}{n:03d}" for n in number]
    return result_of([pd.DataFrame({"track": names, "segment": 0, "target": 0, "p_a": right, "p_b": 1 - right})] * runs)


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


def test_a_table_without_pairs_has_its_columns():
    columns = ["first", "second", "tracks", "repeats", "difference", "low", "high", "p", "significant"]
    assert paired_tests.comparisons({}, []).columns.tolist() == columns


def test_a_row_says_how_many_seeds_either_side_has_and_one_gets_no_yes_or_no():
    runs = {"three": made(0, 60, 3), "one": made(0, 50), "two": made(0, 55, 2), "three, too": made(0, 58, 3)}
    runs["splits"] = replace(made(0, 99, 10), unit="split")
    pairs = [("three", "one"), ("two", "three"), ("three", "three, too"), ("splits", "three"), ("splits", "one")]
    table = paired_tests.comparisons(runs, pairs)
    expected = ["3 seeds and 1 seed", "2 seeds and 3 seeds", "3 seeds", "10 splits and 3 seeds", "10 splits and 1 seed"]
    assert table["repeats"].tolist() == expected
    assert table["significant"].tolist() == ["one seed", "no", "no", "yes", "one seed"]  # one seed answers nothing


def test_tracks_that_only_one_side_was_tested_on_are_an_error_in_words():
    with pytest.raises(SoundFusionError, match="no track was tested by all"):
        paired_tests.comparisons({"a": made(0, 60), "b": made(0, 60, prefix="other")}, [("a", "b")])


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


def test_a_fusion_of_trained_parts_costs_what_its_parts_cost_too():
    experiment = Experiment("x", "simple_cnn", (SMALL_MEL,))
    fusion, part = (run_of(experiment, info={"core_seconds": seconds}) for seconds in (60, 120))
    assert of_runs([fusion], pd.Series()).core_minutes == 1
    assert of_runs([fusion], pd.Series(), parts=[part, part]).core_minutes == 5
