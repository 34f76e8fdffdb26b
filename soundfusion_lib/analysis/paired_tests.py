"""Paired tests of a table's rows together: is one network more accurate than another on the same test tracks?"""

import numpy as np
import pandas as pd

from soundfusion_lib.analysis.statistics import LEVEL, compare
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.training.result import Result

HOLM = "p by Holm's method over these rows, each interval at the level of its row's test"  # of `tested`, for captions


def comparisons(runs: dict[str, Result], pairs: list[tuple[str, str]], by: str = "vote") -> pd.DataFrame:
    """Paired tests of whether the first is more accurate than the second: first, second and the columns of `tested`."""
    names = pd.DataFrame(pairs, columns=["first", "second"])
    return names.join(tested([(runs[a], runs[b]) for a, b in pairs], by))


def tested(pairs: list[tuple[Result, Result]], by: str) -> pd.DataFrame:
    """Paired tests of one table, each on the test tracks that both of a pair predicted (some run on fewer folds).

    The chance of any false alarm in the table is at most `LEVEL`, by Holm's method (Scandinavian Journal of Statistics,
    1979): the smallest p is tested at `LEVEL` over the number of rows, the next at `LEVEL` over one fewer, up to the
    first that is not significant; all after it share its level.

    Returns:
        One row per pair: tracks; seeds ("3", or "1 and 3" where the two differ); difference (of accuracy) with low and
        high, the interval at the level of the row's test; p (two-sided, times what its level is divided by). So 0 is
        outside the interval exactly where p is below `LEVEL`.
    """
    sides = [on_common_tracks(*pair) for pair in pairs]
    p = np.array([compare(*side, by)["p"] for side in sides])
    shares = (p >= p[:, None]).sum(1)  # of the level, one for each row that is not decided before
    adjusted = np.array([(p * shares)[p <= one].max() for one in p]).clip(max=1)
    shares[adjusted >= LEVEL] = shares[adjusted >= LEVEL].max(initial=1)
    rows = [
        {
            "tracks": side[0][0]["track"].nunique(),
            "seeds": " and ".join(str(runs) for runs in dict.fromkeys(map(len, side))),
            **compare(*side, by, LEVEL / share),
            "p": one,
        }
        for side, share, one in zip(sides, shares, adjusted, strict=True)
    ]
    return pd.DataFrame(rows, columns=["tracks", "seeds", "difference", "low", "high", "p"])  # of no pairs, too


def on_common_tracks(*results: Result) -> list[list[pd.DataFrame]]:
    """Test predictions of each for the tracks that all predicted; raises SoundFusionError if there are none."""
    predictions = [result.predictions("test") for result in results]
    common = set.intersection(*(set(frame["track"]) for frames in predictions for frame in frames))
    if not common:
        raise SoundFusionError("no track was tested by all that are to be compared: give them a fold in common")
    return [[frame[frame["track"].isin(common)] for frame in frames] for frames in predictions]
