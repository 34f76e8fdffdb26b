"""Several paired tests in one table."""

import numpy as np
import pandas as pd
import pytest

from soundfusion_lib.analysis import tables
from soundfusion_lib.analysis.statistics import compare


class Made:
    """A group whose single run is right on the tracks from `first` to `last` of 100."""

    def __init__(self, first: int, last: int):
        number = np.arange(100)
        right = ((first <= number) & (number < last)).astype(float)
        names = [f"{n:03d}" for n in number]
        self.frame = pd.DataFrame({"track": names, "segment": 0, "target": 0, "p_a": right, "p_b": 1 - right})

    def predictions(self, part="test"):
        return [self.frame]


def test_p_and_interval_of_every_row_say_the_same_of_0():
    runs = {str(gain): Made(10, 60 + gain) for gain in (0, 5, 6, 7, 8, 9, 10, 30)}
    pairs = [(name, "0") for name in runs if name != "0"] + [("0", "10")]
    alone = [compare(runs[a].predictions(), runs[b].predictions()) for a, b in pairs]
    table = tables.comparisons(runs, pairs)
    significant = table["p"] < 0.05
    assert (significant == ~table["low"].le(0).mul(table["high"].ge(0))).all()
    assert (table["p"] >= [one["p"] for one in alone]).all()
    lost = [pair for pair, one, still in zip(pairs, alone, significant, strict=True) if one["p"] < 0.05 and not still]
    assert lost and significant.any()  # what is clear by itself need not be among eight
    assert (table["low"] <= [one["low"] for one in alone]).all() and (table["high"] >= [one["high"] for one in alone]).all()
    assert tables.comparisons(runs, pairs[:1]).iloc[0][2:].to_dict() == pytest.approx({"tracks": 100, **alone[0]})


def test_p_values_of_several_tests_are_adjusted_together(monkeypatch):
    """Worked by hand: the smallest of five times 5, the next times 4, ..., never below the one before, at most 1."""
    found = iter([0.04, 0.005, 0.9, 0.012, 0.02])
    values, levels = {}, {}

    def made(a, b, by, level=None):
        if level is None:
            values[id(a)] = next(found)
        else:
            levels[values[id(a)]] = 0.05 / level
        return {"difference": 0.1, "low": 0.0, "high": 0.2, "p": values[id(a)]}

    sides = {}
    monkeypatch.setattr(tables, "_on_common_tracks", lambda *pair: sides.setdefault(id(pair[0]), [one.predictions() for one in pair]))
    monkeypatch.setattr(tables, "compare", made)
    table = tables.tested([(Made(0, 50), Made(0, 50)) for _ in range(5)], "vote")
    assert table["p"].tolist() == pytest.approx([0.08, 0.025, 0.9, 0.048, 0.06])
    assert levels == pytest.approx({0.005: 5, 0.012: 4, 0.02: 3, 0.04: 3, 0.9: 3})  # parts of 0.05; the last three share one


def test_a_table_without_pairs_has_its_columns():
    assert tables.comparisons({}, []).columns.tolist() == ["first", "second", "tracks", "difference", "low", "high", "p"]
