"""Several paired tests in one table, and the folds that a table's runs are of."""

import numpy as np
import pandas as pd
import pytest
from conftest import SMALL_MEL, run_of

from soundfusion_lib.analysis import paired_tests
from soundfusion_lib.analysis.statistics import compare
from soundfusion_lib.datasets.splits import Split
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.fuse import average
from soundfusion_lib.training.result import folds_note, of_runs


class Made:
    """A group whose runs are all right on the tracks from `first` to `last` of 100."""

    def __init__(self, first: int, last: int, runs: int = 1):
        self.runs = runs
        number = np.arange(100)
        right = ((first <= number) & (number < last)).astype(float)
        names = [f"{n:03d}" for n in number]
        self.frame = pd.DataFrame({"track": names, "segment": 0, "target": 0, "p_a": right, "p_b": 1 - right})

    def predictions(self, part="test"):
        return [self.frame] * self.runs


def test_p_and_interval_of_every_row_say_the_same_of_0():
    runs = {str(gain): Made(10, 60 + gain) for gain in (0, 5, 6, 7, 8, 9, 10, 30)}
    pairs = [(name, "0") for name in runs if name != "0"] + [("0", "10")]
    alone = [compare(runs[a].predictions(), runs[b].predictions()) for a, b in pairs]
    table = paired_tests.comparisons(runs, pairs)
    significant = table["p"] < 0.05
    assert (significant == ~table["low"].le(0).mul(table["high"].ge(0))).all()
    assert (table["p"] >= [one["p"] for one in alone]).all()
    lost = [one for one, still in zip(alone, significant, strict=True) if one["p"] < 0.05 and not still]
    assert lost and significant.any()  # what is clear by itself need not be among eight
    assert (table["low"] <= [one["low"] for one in alone]).all()
    assert (table["high"] >= [one["high"] for one in alone]).all()
    row = paired_tests.comparisons(runs, pairs[:1]).iloc[0].to_dict()
    assert row == {
        "first": "5",
        "second": "0",
        "tracks": 100,
        "seeds": "1",
        **{k: pytest.approx(v) for k, v in alone[0].items()},
    }


def test_p_values_of_several_tests_are_adjusted_together(monkeypatch):
    """Worked by hand: the smallest of five times 5, the next times 4, ..., never below the one before, at most 1."""
    found = iter([0.04, 0.005, 0.9, 0.012, 0.02])
    again, levels = [], {}

    def made(a, b, by, level=None):
        if level is None:
            again.append(next(found))
            return {"p": again[-1]}
        levels[p := again.pop(0)] = 0.05 / level
        return {"difference": 0.1, "low": 0.0, "high": 0.2, "p": p}

    monkeypatch.setattr(paired_tests, "on_common_tracks", lambda *pair: [one.predictions() for one in pair])
    monkeypatch.setattr(paired_tests, "compare", made)
    table = paired_tests.tested([(Made(0, 50), Made(0, 50)) for _ in range(5)], "vote")
    assert table["p"].tolist() == pytest.approx([0.08, 0.025, 0.9, 0.048, 0.06])
    parts = {0.005: 5, 0.012: 4, 0.02: 3, 0.04: 3, 0.9: 3}  # of 0.05: all after the first that is not significant share
    assert levels == pytest.approx(parts)


def test_a_table_without_pairs_has_its_columns():
    columns = ["first", "second", "tracks", "seeds", "difference", "low", "high", "p"]
    assert paired_tests.comparisons({}, []).columns.tolist() == columns


def test_a_row_says_how_many_seeds_either_side_has():
    runs = {"three": Made(0, 60, 3), "one": Made(0, 50), "two": Made(0, 55, 2), "three, too": Made(0, 58, 3)}
    pairs = [("three", "one"), ("two", "three"), ("three", "three, too")]
    assert paired_tests.comparisons(runs, pairs)["seeds"].tolist() == ["3 and 1", "2 and 3", "3"]


def test_tracks_that_only_one_side_was_tested_on_are_an_error_in_words():
    here, there = Made(0, 60), Made(0, 60)
    there.frame = there.frame.assign(track="other " + there.frame["track"])
    with pytest.raises(SoundFusionError, match="no track was tested by all"):
        paired_tests.comparisons({"a": here, "b": there}, [("a", "b")])


def of_folds(*folds, scheme="artist"):
    experiments = [
        Experiment(f"{len(folds)} folds", "simple_cnn", (SMALL_MEL,), split=Split(scheme, 4, fold)) for fold in folds
    ]
    return of_runs([run_of(experiment) for experiment in experiments], pd.Series())


def test_captions_say_where_folds_are_missing():
    whole, one, official = of_folds(0, 1, 2, 3), of_folds(0), of_folds(0, scheme="official")
    assert folds_note({"a": whole, "b": official}) == "" == folds_note({})
    assert folds_note({"a": one, ("b", 0.5): one}) == "; fold 1 of 4"
    assert folds_note({"a": whole, ("b", 0.5): one, "c": average(one, one, "c")}) == "; fold 1 of 4 (b, 0.5; c)"
    assert folds_note({"a": of_folds(0, 2)}) == "; folds 1, 3 of 4"
    many = {str(number): one for number in range(9)}
    assert folds_note({"a": whole, **many}) == "; fold 1 of 4 (the rows of fewer tracks)"
