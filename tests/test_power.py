import numpy as np
import pandas as pd
import pytest
from conftest import result_of

from soundfusion_lib.analysis.paired_tests import NOTABLE, power
from soundfusion_lib.analysis.statistics import compare
from soundfusion_lib.training.inference import GROUP
from soundfusion_lib.training.result import Result

PAIR = pd.DataFrame({"first": ["a"], "second": ["b"]})


def right_on(right: np.ndarray, artist: np.ndarray | None = None) -> Result:
    """Right on these tracks, (tracks,) or (seeds, tracks), each by another artist if none is given."""
    number = np.arange(right.shape[-1])
    keys = {"track": number.astype(str), "segment": 0, "target": 0, GROUP: number if artist is None else artist}
    frames = [pd.DataFrame({**keys, "p_a": seed.astype(float), "p_b": 1.0 - seed}) for seed in np.atleast_2d(right)]
    return result_of(frames)


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
