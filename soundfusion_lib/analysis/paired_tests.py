"""Paired tests of a table's rows together, and how small a difference they can see."""

import numpy as np
import pandas as pd

from soundfusion_lib.analysis.statistics import LEVEL, Comparison
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.training.result import Result

HOLM = "p by Holm's method over these rows, each interval at the level of its row's test"  # for captions
NOTABLE = 0.03  # a difference of accuracy that would matter: tables say how many tracks it takes to see it
POWER = f"with 80 % power by a single test at 0.05; tracks needed to see a difference of {NOTABLE}"  # for captions
ONE_SEED = "one seed"
FMA_SMALL_TRACKS = 800  # in the test set of the report's single split


def comparisons(runs: dict[str, Result], pairs: list[tuple[str, str]]) -> pd.DataFrame:
    """Paired tests of whether the first is more accurate than the second: first, second and the columns of `tested`."""
    names = pd.DataFrame(pairs, columns=["first", "second"])
    return names.join(tested([(runs[a], runs[b]) for a, b in pairs]))


def tested(pairs: list[tuple[Result, Result]]) -> pd.DataFrame:
    """Paired tests of one table, by vote, each on the test tracks that both of a pair predicted.

    The chance of any false alarm in the table is at most `LEVEL`, by Holm's method (Scandinavian Journal of Statistics,
    1979): the smallest p is tested at `LEVEL` over the number of rows, the next at `LEVEL` over one fewer, up to the
    first that is not significant; all after it share its level.

    Returns:
        One row per pair: tracks; repeats ("3 seeds", or "1 seed and 10 splits"); difference of accuracy with low and
        high, the interval at the level of the row's test; p, two-sided and adjusted; significant: "yes", "no", or "one
        seed" where a side has a single one, as such a test is about two runs and tells little of their networks. The
        interval excludes 0 exactly where p < `LEVEL`.
    """
    tests = [common_test(*pair) for pair in pairs]
    p = np.array([test.p() for test in tests])
    shares = (p >= p[:, None]).sum(1)  # the part of the level of each row that is not decided before
    adjusted = np.array([(p * shares)[p <= row].max() for row in p]).clip(max=1)
    shares[adjusted >= LEVEL] = shares[adjusted >= LEVEL].max(initial=1)
    rows = []
    for pair, test, share, adjusted_p in zip(pairs, tests, shares, adjusted, strict=True):
        repeats = [result.repeats for result in pair]
        significant = ONE_SEED if "1 seed" in repeats else "yes" if adjusted_p < LEVEL else "no"
        numbers = test.difference, *test.interval(LEVEL / share), adjusted_p
        rows.append([test.tracks, " and ".join(dict.fromkeys(repeats)), *numbers, significant])
    return pd.DataFrame(rows, columns=["tracks", "repeats", "difference", "low", "high", "p", "significant"])


def common_test(first: Result, second: Result) -> Comparison:
    """By vote, on the test tracks that both predicted; raises SoundFusionError if there are none."""
    sides = [result.predictions("test") for result in (first, second)]
    common = set.intersection(*(set(frame["track"]) for frames in sides for frame in frames))
    if not common:
        raise SoundFusionError("no track was tested by all that are to be compared: give them a fold in common")
    return Comparison(*([frame[frame["track"].isin(common)] for frame in frames] for frames in sides))


def power(runs: dict[str, Result], pairs: pd.DataFrame) -> pd.DataFrame:
    """What a single test of each pair (columns `first`, `second`) can see, see `common_test`.

    Assumes a normally distributed difference, and that more tracks come with as many per artist, as much disagreement
    and more seeds. Source: Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988.

    Returns:
        One row per pair: first, second, tracks; difference of accuracy and its standard_error; smallest_difference that
        the test sees with 80 % power, here and on_800_tracks, as many as the report tests on; tracks_needed to see
        `NOTABLE`. Differences and errors in 0..1.
    """
    rows = []
    for first, second in zip(pairs["first"], pairs["second"], strict=True):
        test = common_test(runs[first], runs[second])
        rows.append([first, second, test.tracks, test.difference, test.standard_error, test.smallest_difference])
    columns = ["first", "second", "tracks", "difference", "standard_error", "smallest_difference"]
    table = pd.DataFrame(rows, columns=columns)
    table["on_800_tracks"] = table["smallest_difference"] * np.sqrt(table["tracks"] / FMA_SMALL_TRACKS)
    table["tracks_needed"] = (table["tracks"] * (table["smallest_difference"] / NOTABLE) ** 2).round()
    return table
