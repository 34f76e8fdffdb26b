"""Paired tests of a table's rows together, and how small a difference they can see."""

import numpy as np
import pandas as pd

from soundfusion_lib.analysis.statistics import LEVEL, compare, paired, random_differences
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.study.protocol import reported
from soundfusion_lib.training.result import Result

HOLM = "p by Holm's method over these rows, each interval at the level of its row's test"  # for captions
POWER = "with 80 % power by a single test at 0.05"  # for captions
STANDARD_ERRORS = 0.84  # a true difference this far beyond what the test asks for is seen with 80 % power
FMA_SMALL_TRACKS = 800  # in the test set of the report's single split


def comparisons(runs: dict[str, Result], pairs: list[tuple[str, str]], by: str = "vote") -> pd.DataFrame:
    """Paired tests of whether the first is more accurate than the second: first, second and the columns of `tested`."""
    names = pd.DataFrame(pairs, columns=["first", "second"])
    return names.join(tested([(runs[a], runs[b]) for a, b in pairs], by))


def tested(pairs: list[tuple[Result, Result]], by: str) -> pd.DataFrame:
    """Paired tests of one table, each on the test tracks that both of a pair predicted.

    The chance of any false alarm in the table is at most `LEVEL`, by Holm's method (Scandinavian Journal of Statistics,
    1979): the smallest p is tested at `LEVEL` over the number of rows, the next at `LEVEL` over one fewer, up to the
    first that is not significant; all after it share its level.

    Returns:
        One row per pair: tracks; seeds ("3", or "1 and 3"); difference of accuracy with low and high, the interval at
        the level of the row's test; p, two-sided and adjusted. The interval excludes 0 exactly where p < `LEVEL`.
    """
    sides = [on_common_tracks(*pair) for pair in pairs]
    p = np.array([compare(*side, by)["p"] for side in sides])
    shares = (p >= p[:, None]).sum(1)  # the part of the level of each row that is not decided before
    adjusted = np.array([(p * shares)[p <= row].max() for row in p]).clip(max=1)
    shares[adjusted >= LEVEL] = shares[adjusted >= LEVEL].max(initial=1)
    rows = [
        {
            "tracks": side[0][0]["track"].nunique(),
            "seeds": " and ".join(str(runs) for runs in dict.fromkeys(map(len, side))),
            **compare(*side, by, LEVEL / share),
            "p": adjusted_p,
        }
        for side, share, adjusted_p in zip(sides, shares, adjusted, strict=True)
    ]
    return pd.DataFrame(rows, columns=["tracks", "seeds", "difference", "low", "high", "p"])  # of no pairs, too


def on_common_tracks(*results: Result) -> list[list[pd.DataFrame]]:
    """Test predictions of each for the tracks that all predicted; raises SoundFusionError if there are none."""
    predictions = [result.predictions("test") for result in results]
    common = set.intersection(*(set(frame["track"]) for frames in predictions for frame in frames))
    if not common:
        raise SoundFusionError("no track was tested by all that are to be compared: give them a fold in common")
    return [[frame[frame["track"].isin(common)] for frame in frames] for frames in predictions]


def power(runs: dict[str, Result], pairs: pd.DataFrame, by: str = "vote") -> pd.DataFrame:
    """What a single `compare` can see on the test tracks that both of a pair predicted (columns `first`, `second`).

    Assumes a normally distributed difference, and that more tracks come with as many per artist, as much disagreement
    and more seeds. Source: Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988.

    Returns:
        One row per pair: first, second, tracks; difference of accuracy and its standard_error; smallest_difference that
        the test sees with 80 % power; tracks_needed to see the observed one. Differences and errors in 0..1.
    """
    rows, asked = [], []
    for first, second in zip(pairs["first"], pairs["second"], strict=True):
        predictions = on_common_tracks(runs[first], runs[second])
        sides = paired(*predictions, by)
        error = np.sqrt(((sides.gain - sides.difference * sides.share) ** 2).sum() + sides.spread**2)
        rows.append([first, second, predictions[0][0]["track"].nunique(), sides.difference, error])
        asked.append(np.quantile(np.abs(random_differences(sides)(sides.difference)), 1 - LEVEL))
    table = pd.DataFrame(rows, columns=["first", "second", "tracks", "difference", "standard_error"])
    table["smallest_difference"] = asked + STANDARD_ERRORS * table["standard_error"]
    table["tracks_needed"] = _tracks_needed(table, table["difference"])
    return table


def on_fma_small(table: pd.DataFrame) -> pd.DataFrame:
    """What the report could see by vote, if networks disagreed there as those of a table of `power` do here: first,
    second; smallest_difference; reported_difference of SoundFusion-1 and ResNet2D-small; tracks_needed to see that."""
    accuracy = reported("table2_performance").set_index("model")["aggregated_accuracy"]
    gain = accuracy["soundfusion1"] - accuracy["resnet2d_small"]
    smallest = table["smallest_difference"] * np.sqrt(table["tracks"] / FMA_SMALL_TRACKS)
    columns = {"reported_difference": gain, "tracks_needed": _tracks_needed(table, gain)}
    return table[["first", "second"]].assign(smallest_difference=smallest, **columns)


def _tracks_needed(table: pd.DataFrame, difference: pd.Series | float) -> pd.Series:
    """To see this difference with 80 % power; infinite for none."""
    return (table["tracks"] * (table["smallest_difference"] / difference) ** 2).round()
