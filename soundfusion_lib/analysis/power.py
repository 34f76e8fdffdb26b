"""How small a difference a paired test on these tracks can see, and how many tracks a smaller one takes.

Source: Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988 (normal approximation).
"""

import numpy as np
import pandas as pd

from soundfusion_lib.analysis.paired_tests import on_common_tracks
from soundfusion_lib.analysis.statistics import LEVEL, paired, random_differences
from soundfusion_lib.study.protocol import reported
from soundfusion_lib.training.result import Result

POWER = "with 80 % power by a single test at 0.05"  # for captions
STANDARD_ERRORS = 0.84  # the true difference this far beyond what the test asks for is seen with 80 % power
FMA_SMALL_TRACKS = 800  # in the test part of the report's single split


def power(runs: dict[str, Result], pairs: pd.DataFrame, by: str = "vote") -> pd.DataFrame:
    """What `statistics.compare` can see on the test tracks that both of a pair predicted: columns `first` and `second`,
    names of `runs`. That is a single test: one of several in a table, by Holm's method, takes a larger difference.

    Assumes that the difference is normally distributed about the true one, and, of more tracks, that artists have as
    many each as here, that networks disagree as often, and that there are more seeds, too: alone, more tracks do not
    lessen the seeds' part of the error.

    Returns:
        One row per pair: first, second, tracks; difference of accuracy; its standard_error, the deviation of the test's
        random signs and chance of seeds about it; smallest_difference seen with 80 % power, which is what the test asks
        for and so many standard errors more; tracks_needed to see the one found. Differences and errors in 0..1.
    """
    rows, asked = [], []
    for first, second in zip(pairs["first"], pairs["second"], strict=True):
        sides = on_common_tracks(runs[first], runs[second])
        found = paired(*sides, by)
        error = np.sqrt(((found.gain - found.difference * found.share) ** 2).sum() + found.spread**2)
        rows.append([first, second, sides[0][0]["track"].nunique(), found.difference, error])
        asked.append(np.quantile(np.abs(random_differences(found)(found.difference)), 1 - LEVEL))
    table = pd.DataFrame(rows, columns=["first", "second", "tracks", "difference", "standard_error"])
    table["smallest_difference"] = asked + STANDARD_ERRORS * table["standard_error"]
    table["tracks_needed"] = _tracks_needed(table, table["difference"])
    return table


def on_fma_small(table: pd.DataFrame) -> pd.DataFrame:
    """What the report could see by vote, were networks to disagree there as those of a table of `power` do here.

    Returns:
        One row per pair: first, second; smallest_difference that its test set shows with 80 % power;
        reported_difference of SoundFusion-1 and ResNet2D-small; tracks_needed to see that.
    """
    accuracy = reported("table2_performance").set_index("model")["aggregated_accuracy"]
    gain = accuracy["soundfusion1"] - accuracy["resnet2d_small"]
    found = table[["first", "second"]].copy()
    found["smallest_difference"] = table["smallest_difference"] * np.sqrt(table["tracks"] / FMA_SMALL_TRACKS)
    found["reported_difference"] = gain
    found["tracks_needed"] = _tracks_needed(table, gain)
    return found


def _tracks_needed(table: pd.DataFrame, difference: pd.Series | float) -> pd.Series:
    """To see it with 80 % power; infinite for none."""
    return (table["tracks"] * (table["smallest_difference"] / difference) ** 2).round()
