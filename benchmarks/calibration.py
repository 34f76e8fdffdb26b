"""How often the paired test errs: the share of p below 0.05, and of 95 % intervals without 0, between networks that
are equally good.

    python benchmarks/calibration.py

Predictions are simulated: artists of uneven size, some easy and some hard for both networks, some that suit one
network more than the other, and seeds that make a whole run better or worse. `rejected` and `excludes 0` are to be
0.05 where `difference` is 0 (1,000 repetitions leave 0.014 either way), and are the power where it is not. `seeds
ignored` is the test that averages the seeds first and then only exchanges artists, as this project had it before.
`covered` is the share of intervals that hold the true difference.

Nothing tells a single run's luck from what its network is worth: with one seed and a spread the test is right about
these very runs, and wrong about the networks. So tables give no yes or no there. Two seeds tell little of their spread.

Rows with `splits` are of classifiers that are really fitted: nearest centroids, on features that tell both sides as
much of the label, in four folds by artist of so many splits. `Nadeau-Bengio` is the corrected t test over all folds
(Nadeau and Bengio, "Inference for the generalization error", Machine Learning 52, 2003).
"""

from itertools import product

import click
import numpy as np
import pandas as pd
from common import record
from scipy import stats

from soundfusion_lib.analysis.statistics import LEVEL, compare
from soundfusion_lib.training.inference import FOLD, GROUP, PROBABILITY

FOLDS, SIGNAL = 4, 0.4  # folds of a split; what a feature tells of the label, in deviations of a track
EASE, SUITS = 0.2, 0.1  # standard deviations over artists: of the chance to be right, and of what a network adds to it


def networks(
    random: np.random.Generator, artists: int, seeds: int, spread: float, difference: float
) -> list[list[pd.DataFrame]]:
    """Predictions of two networks with so many seeds each, one segment a track, see `inference.predictions_of`.

    Args:
        random: draws everything.
        artists: their number; each has one to some twenty tracks, three in the mean.
        seeds: runs of each network.
        spread: standard deviation of a run's accuracy over seeds.
        difference: of the two networks' expected accuracies.
    """
    artist = np.arange(artists).repeat(random.geometric(1 / 3, artists))
    ease = random.normal(0.55, EASE, artists)
    keys = {"track": np.arange(len(artist)).astype(str), "segment": 0, "target": 0, GROUP: artist}
    sides = []
    for better in (difference, 0.0):
        chance = ease + better + random.normal(0, SUITS, artists)
        runs = []
        for _ in range(seeds):
            right = (random.random(len(artist)) < chance[artist] + random.normal(0, spread)).astype(float)
            runs.append(pd.DataFrame({**keys, f"{PROBABILITY}a": right, f"{PROBABILITY}b": 1 - right}))
        sides.append(runs)
    return sides


def seeds_ignored(runs: list[pd.DataFrame]) -> pd.DataFrame:
    """All runs as one, whose segments they are: its accuracy per segment is their mean, and no test sees a seed."""
    return pd.concat([run.assign(segment=number) for number, run in enumerate(runs)])


def simulate(artists: int, seeds: int, spread: float, difference: float, repetitions: int) -> dict[str, float]:
    """Shares of repetitions, by column of the table."""
    outcomes = []
    for repetition in range(repetitions):
        a, b = networks(np.random.default_rng([repetition, artists, seeds]), artists, seeds, spread, difference)
        found = compare(a, b)
        outcomes.append(
            {
                "rejected": found["p"] < LEVEL,
                "excludes 0": not found["low"] <= 0 <= found["high"],
                "covered": found["low"] <= difference <= found["high"],
                "width": found["high"] - found["low"],
                "seeds ignored": compare(seeds_ignored(a), seeds_ignored(b), "segment")["p"] < LEVEL,
            }
        )
    return pd.DataFrame(outcomes).mean().to_dict()


def cross_validated(random: np.random.Generator, artists: int, splits: int) -> list[list[pd.DataFrame]]:
    """Predictions of two classifiers that are fitted in `FOLDS` folds by artist of so many splits, one segment a track.

    Both get features of their own that tell as much of the label, so that no difference between them is true."""
    artist = np.arange(artists).repeat(random.geometric(1 / 3, artists))
    target = (random.permutation(artists) % 2)[artist]
    keys = pd.DataFrame({"track": np.arange(len(artist)).astype(str), "segment": 0, "target": target, GROUP: artist})
    features = [
        SIGNAL * target[:, None] + random.normal(size=(artists, 8))[artist] + random.normal(size=(len(artist), 8))
        for _ in range(2)
    ]
    sides: list[list[pd.DataFrame]] = [[], []]
    for _ in range(splits):
        fold = (random.permutation(artists) % FOLDS)[artist]
        for runs, x in zip(sides, features, strict=True):
            score = np.empty(len(x))
            for tested in (fold == number for number in range(FOLDS)):
                low, high = (x[~tested & (target == label)].mean(0) for label in (0, 1))
                score[tested] = (x[tested] - (low + high) / 2) @ (high - low)
            chosen = (score > 0).astype(float)
            runs.append(keys.assign(**{FOLD: fold, f"{PROBABILITY}0": 1 - chosen, f"{PROBABILITY}1": chosen}))
    return sides


def nadeau_bengio(a: list[pd.DataFrame], b: list[pd.DataFrame]) -> float:
    """p of the corrected resampled t test over the folds of all splits."""
    gains = []
    for first, second in zip(a, b, strict=True):
        right = [(run[f"{PROBABILITY}1"] == run["target"]).groupby(run[FOLD]).mean() for run in (first, second)]
        gains.extend(right[0] - right[1])
    error = np.std(gains, ddof=1) * np.sqrt(1 / len(gains) + 1 / (FOLDS - 1))
    return float(2 * stats.t.sf(abs(np.mean(gains) / error), len(gains) - 1)) if error else 1.0


def simulate_splits(artists: int, splits: int, repetitions: int) -> dict[str, float]:
    """Shares of repetitions, by column of the table."""
    outcomes = []
    for repetition in range(repetitions):
        sides = cross_validated(np.random.default_rng([repetition, artists, splits]), artists, splits)
        found = compare(*sides)
        excluded = not found["low"] <= 0 <= found["high"]
        shares = {"rejected": found["p"] < LEVEL, "excludes 0": excluded, "covered": not excluded}
        shares |= {"width": found["high"] - found["low"], "Nadeau-Bengio": nadeau_bengio(*sides) < LEVEL}
        outcomes.append(shares)
    return pd.DataFrame(outcomes).mean().to_dict()


@click.command(help=__doc__)
@click.option("--repetitions", default=1000, show_default=True)
def main(repetitions: int) -> None:
    rows = []
    for difference, artists, seeds, spread in product((0.0, 0.1), (30, 100), (1, 2, 3), (0.0, 0.05)):
        setting = {"artists": artists, "seeds": seeds, "spread": spread, "difference": difference}
        rows.append({**setting, **simulate(**setting, repetitions=repetitions)})
    for artists, splits in product((30, 137), (1, 10)):
        setting = {"artists": artists, "splits": splits, "difference": 0.0}
        rows.append({**setting, **simulate_splits(artists, splits, repetitions)})
    record("calibration", pd.DataFrame(rows), repetitions=repetitions)


if __name__ == "__main__":
    main()
