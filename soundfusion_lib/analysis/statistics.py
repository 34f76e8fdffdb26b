"""From predictions of segments to accuracy per segment and per track, with intervals and paired tests.

Resampling is our own: scipy's `bootstrap` and `permutation_test` know neither groups (artists with all their tracks)
nor several seeds.
"""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from soundfusion_lib.datasets.splits import groups_of
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.training.inference import FOLD, GROUP, per_track

SEEDS, RESAMPLES = [(0, part) for part in range(10)], 1_000  # resamples for each seed: all at once take much memory
TRAINING_SETS = 2.0  # times the variance that artists give a difference: other artists are other training sets, too
TINY = 1e-12  # as good as 0
LEVEL = 0.05  # of tests; intervals are of 1 - LEVEL

Predictions = pd.DataFrame | list[pd.DataFrame]  # of one run, or of several


class Scores(NamedTuple):
    """How right runs are, artist by artist."""

    right: np.ndarray  # (runs, artists): what each artist's tracks add to a run's accuracy
    share: np.ndarray  # (artists,): their share of all tracks or segments
    artist: pd.Series  # by track, the number of its artist; a track of unknown artist has a number of its own
    folds: int  # that the runs were trained in


def scores(predictions: Predictions, by: str = "vote") -> Scores:
    """How right each run is on the tracks of each artist.

    Args:
        predictions: of one run, or of several (seeds) of the same segments. Their column `group` names the artists,
            `fold` the folds that were trained without them.
        by: "segment" (share of segments), or of tracks by "vote" or "mean" (see `per_track`).

    Raises:
        SoundFusionError: unknown aggregation, no predictions, or the runs did not predict the same tracks, cut alike.
    """
    if by not in ("segment", "vote", "mean"):
        raise SoundFusionError(f"aggregation {by!r} is none of segment, vote, mean")
    frames = [predictions] if isinstance(predictions, pd.DataFrame) else predictions
    if not sum(map(len, frames)):
        raise SoundFusionError("there are no predictions, so no accuracy: no track was tested")
    runs = [per_track(frame) for frame in frames]
    segments = runs[0]["segments"]
    if any(not run["segments"].equals(segments) for run in runs):
        raise SoundFusionError("these runs did not predict the same tracks, cut alike: they cannot be averaged")
    artist = np.arange(len(segments))
    if GROUP in frames[0]:
        of_track = frames[0].groupby(frames[0]["track"].astype(str))[GROUP].first()
        whose = groups_of(of_track[segments.index].to_frame())
        artist = np.unique(whose.to_numpy(str), return_inverse=True)[1]
    weight = segments if by == "segment" else np.ones(len(segments))
    rights = [run["segment"] if by == "segment" else run[by] == run["target"] for run in runs]
    right = np.stack([np.bincount(artist, of_run * weight) for of_run in rights])
    share, folds = np.bincount(artist, weight) / weight.sum(), frames[0].get(FOLD, pd.Series(0)).nunique()
    return Scores(right / weight.sum(), share, pd.Series(artist, segments.index), folds)


def accuracy(predictions: Predictions, by: str = "vote") -> float:
    """Share of segments or tracks that are right, in 0..1; the mean over runs. Arguments as in `scores`."""
    return float(scores(predictions, by).right.sum(1).mean().round(12))  # the same in whichever order it is summed


def interval(predictions: Predictions, by: str = "vote") -> tuple[float, float]:
    """Bootstrap percentile interval (95 %) of the accuracy, (low, high) in 0..1. Arguments as in `scores`.

    We draw artists with all their tracks, which are not independent, and runs. With a single artist both bounds are
    NaN, with a warning. Sources: Efron and Tibshirani, An Introduction to the Bootstrap, 1993; for groups Davison and
    Hinkley, Bootstrap Methods and their Application, 1997, section 3.8.
    """
    scored = scores(predictions, by)
    if (artists := len(scored.share)) == 1:
        warnings.warn("all tracks predicted are by one artist: their accuracy has no interval", stacklevel=2)
        return float("nan"), float("nan")
    right = scored.right.sum(1).mean()
    if min(right, 1 - right) < TINY:  # every resample is the same: Clopper and Pearson's interval of artists, 1934
        from scipy.stats import binomtest  # here: it takes a second to import

        low, high = binomtest(round(right) * artists, artists).proportion_ci(1 - LEVEL, "exact")
    else:
        draws = [_resampled(scored, random) for random in map(np.random.default_rng, SEEDS)]
        low, high = np.quantile(draws, [LEVEL / 2, 1 - LEVEL / 2])
    return float(low), float(high)


class Paired(NamedTuple):
    """The difference between two sides, artist by artist."""

    gain: np.ndarray  # (artists,): what each adds to the difference of the accuracies
    share: np.ndarray  # (artists,): its share of the weight
    spread: float  # standard deviation that seeds give the difference, beyond what the artists' gains show
    freedom: int  # its degrees of freedom, 0 where no side has several runs
    factor: float  # of the differences by artist, for the training sets

    @property
    def difference(self) -> float:
        """Of the accuracies, in -1..1."""
        return float(self.gain.sum().round(12)) + 0.0  # no -0

    @property
    def equal(self) -> bool:
        """Whether both sides are as right on each artist, and no seed says otherwise."""
        return max(np.abs(self.gain).max(), self.spread) < TINY


def paired(a: Predictions, b: Predictions, by: str = "vote") -> Paired:
    """The difference between a and b on the same tracks, artist by artist. Arguments as in `scores`.

    Raises:
        SoundFusionError: a and b did not predict the same tracks, or name different artists.
    """
    of_a, of_b = scores(a, by), scores(b, by)
    if not of_a.artist.index.equals(of_b.artist.index):
        raise SoundFusionError("a and b did not predict the same tracks: they cannot be compared track by track")
    if not of_a.artist.equals(of_b.artist):
        raise SoundFusionError(f"a and b give tracks to different artists: make their columns {GROUP!r} agree")
    gain = of_a.right.mean(0) - of_b.right.mean(0)
    factor = TRAINING_SETS**0.5 if max(of_a.folds, of_b.folds) > 1 else 1.0
    return Paired(gain, (of_a.share + of_b.share) / 2, *_spread_of_seeds(of_a, of_b), factor)


def compare(a: Predictions, b: Predictions, by: str = "vote", level: float = LEVEL) -> dict[str, float]:
    """Paired test of whether a and b are equally accurate, on the same tracks. Arguments and errors as in `paired`.

    A randomisation test (Noreen, Computer-Intensive Methods for Testing Hypotheses, 1989). If the true difference is
    delta, what an artist's tracks add beyond delta may as well have the other sign: the test sets the observed
    difference against those of random signs. For one run each and one track per artist it simulates McNemar's test.

    Seeds move the accuracy on all artists together, which signs do not show. So each random difference of several runs
    gets noise of Student's t, as large as the spread of the runs' accuracies. For a side with one run the test is about
    that very run. Sides that share runs count as independent, which finds too little rather than too much.
    A classifier fitted under several splits counts like one of several seeds.

    Where every track was tested in some fold, the artists that are tested also train, in the other folds: with other
    artists both would differ. No estimate of that is free of bias (Nadeau and Bengio, "Inference for the generalization
    error", Machine Learning 52, 2003), so we count the variance by artists `TRAINING_SETS` times, which keeps the level
    in the simulations of benchmarks/calibration.py.

    Returns:
        difference (accuracy of a minus that of b); low and high, the range of every delta that the test does not reject
        at `level`, all in -1..1; and the two-sided p. The range excludes 0 exactly where p is below `level` (at 0.05
        never for fewer than six artists). Of sides that are right on the same tracks it is `unseen` either way.
    """
    sides = paired(a, b, by)
    if sides.equal:
        return {"difference": 0.0, "low": -unseen(sides, level), "high": unseen(sides, level), "p": 1.0}
    difference, by_chance = sides.difference, random_differences(sides)

    def p(delta: float) -> float:
        extreme = np.abs(by_chance(delta)) >= abs(difference - delta) - TINY
        return (1 + int(extreme.sum())) / (1 + len(extreme))

    def bound(end: float) -> float:
        """The last delta from the difference towards `end` that the test does not reject."""
        kept, rejected = difference, end
        if difference * end < 0:  # by way of 0, so that p and interval agree about it
            kept, rejected = (difference, 0.0) if p(0.0) < level else (0.0, end)
        if p(rejected) >= level:
            return rejected
        while abs(rejected - kept) > 1e-6:
            middle = (kept + rejected) / 2
            kept, rejected = (middle, rejected) if p(middle) >= level else (kept, middle)
        return kept

    return {"difference": difference, "low": bound(-1.0), "high": bound(1.0), "p": p(0.0)}


def unseen(sides: Paired, level: float = LEVEL) -> float:
    """The share of artists on which equal sides may still differ: the upper end of Clopper and Pearson's interval
    (1934) of none of so many."""
    return 1 - (level / 2) ** (1 / len(sides.gain))


def random_differences(sides: Paired) -> Callable[[float], np.ndarray]:
    """By true difference, what signs and seeds add to it by chance, (10 * RESAMPLES,); see `compare`."""
    flipped, chance = [], []
    for random in map(np.random.default_rng, SEEDS):
        signs = random.integers(0, 2, (RESAMPLES, len(sides.gain)), dtype=np.int8) * 2 - 1
        flipped.append(signs @ np.stack([sides.gain, sides.share], 1))
        chance.append(sides.spread * random.standard_t(max(sides.freedom, 1), RESAMPLES))
    (gains, shares), chances = np.concatenate(flipped).T, np.concatenate(chance)
    return lambda delta: sides.factor * (gains - delta * shares) + chances


def _spread_of_seeds(*sides: Scores) -> tuple[float, int]:
    """`Paired.spread` and `Paired.freedom`."""
    several = [side for side in sides if len(side.right) > 1]
    variance = 0.0
    for side in several:
        deviation = side.right - side.right.mean(0)
        residuals = deviation - np.outer(deviation.sum(1), side.share)
        of_artists = (residuals**2).sum() / max(1 - (side.share**2).sum(), TINY)  # n / (n - 1) for n equal artists
        variance += (deviation.sum(1) ** 2).sum() - of_artists
    freedom = sum(len(side.right) - 1 for side in several)
    of_mean = sum(1 / len(side.right) for side in several)
    return float(np.sqrt(max(variance, 0.0) / max(freedom, 1) * of_mean)), freedom


def _resampled(scored: Scores, random: np.random.Generator) -> np.ndarray:
    """Mean accuracies of RESAMPLES resamples of the artists and of the runs."""
    runs, artists = scored.right.shape
    drawn = _times_drawn(artists, random)  # (resamples, artists)
    chosen = _times_drawn(runs, random) / runs  # (resamples, runs)
    return np.einsum("na,nr,ra->n", drawn, chosen, scored.right, optimize=True) / (drawn @ scored.share)


def _times_drawn(items: int, random: np.random.Generator) -> np.ndarray:
    """How often each item is in each of RESAMPLES draws of so many with replacement, (resamples, items)."""
    drawn = random.integers(0, items, (RESAMPLES, items)) + items * np.arange(RESAMPLES)[:, None]
    return np.bincount(drawn.ravel(), minlength=RESAMPLES * items).reshape(RESAMPLES, items)
