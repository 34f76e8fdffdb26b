"""From predictions of segments to accuracy per segment and per track, with intervals and paired tests.

Resampling is our own, as scipy's knows neither groups (artists with all their tracks) nor several seeds.
"""

from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd

from soundfusion_lib.datasets.splits import groups_of
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.training.inference import FOLD, GROUP, per_track

SEEDS, RESAMPLES = [(0, part) for part in range(10)], 1_000  # resamples for each seed: all at once take much memory
TRAINING_SETS = 2.0  # times the variance that artists give a difference: other artists are other training sets, too
TINY = 1e-12  # as good as 0
STANDARD_ERRORS = 0.84  # a true difference this far beyond what the test asks for is seen with 80 % power
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
        by: "vote" (share of tracks, see `per_track`) or "segment" (share of segments).

    Raises:
        SoundFusionError: unknown aggregation, no predictions, or the runs did not predict the same tracks, cut alike.
    """
    if by not in ("vote", "segment"):
        raise SoundFusionError(f"aggregation {by!r} is none of vote, segment")
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
    rights = [run["segment"] if by == "segment" else run["vote"] == run["target"] for run in runs]
    right = np.stack([np.bincount(artist, of_run * weight) for of_run in rights])
    share, folds = np.bincount(artist, weight) / weight.sum(), frames[0].get(FOLD, pd.Series(0)).nunique()
    return Scores(right / weight.sum(), share, pd.Series(artist, segments.index), folds)


def accuracy(predictions: Predictions, by: str = "vote") -> float:
    """Share of segments or tracks that are right, in 0..1; the mean over runs. Arguments as in `scores`."""
    return float(scores(predictions, by).right.sum(1).mean().round(12))  # the same in whichever order it is summed


def interval(predictions: Predictions, by: str = "vote") -> tuple[float, float]:
    """Bootstrap percentile interval (95 %) of the accuracy, (low, high) in 0..1. Arguments as in `scores`.

    We draw artists with all their tracks, which are not independent, and runs. With a single artist both bounds are
    NaN. Sources: Efron and Tibshirani, An Introduction to the Bootstrap, 1993; for groups Davison and Hinkley,
    Bootstrap Methods and their Application, 1997, section 3.8.
    """
    right, share, *_ = scores(predictions, by)
    runs, artists = right.shape
    if artists == 1:
        return float("nan"), float("nan")
    mean = right.sum(1).mean()
    if min(mean, 1 - mean) < TINY:  # every resample is the same: Clopper and Pearson's interval of artists, 1934
        from scipy.stats import binomtest  # here: it takes a second to import

        low, high = binomtest(round(mean) * artists, artists).proportion_ci(1 - LEVEL, "exact")
    else:
        resampled = []
        for random in map(np.random.default_rng, SEEDS):
            drawn = _times_drawn(artists, random)
            chosen = _times_drawn(runs, random) / runs
            total = np.einsum("na,nr,ra->n", drawn, chosen, right, optimize=True)
            resampled.append(total / (drawn @ share))
        low, high = np.quantile(resampled, [LEVEL / 2, 1 - LEVEL / 2])
    return float(low), float(high)


def _times_drawn(items: int, random: np.random.Generator) -> np.ndarray:
    """How often each item is in each of RESAMPLES draws of so many with replacement, (resamples, items)."""
    drawn = random.integers(0, items, (RESAMPLES, items)) + items * np.arange(RESAMPLES)[:, None]
    return np.bincount(drawn.ravel(), minlength=RESAMPLES * items).reshape(RESAMPLES, items)


class Comparison:
    """Paired test of whether a and b are equally accurate, on the same tracks. Arguments as in `scores`.

    A randomisation test (Noreen, Computer-Intensive Methods for Testing Hypotheses, 1989). If the true difference is
    delta, what an artist's tracks add beyond delta may as well have the other sign: the test sets the observed
    difference against those of random signs. For one run each and one track per artist it simulates McNemar's test.

    Seeds move the accuracy on all artists together, which signs do not show. So each random difference of several runs
    gets noise of Student's t, as large as the spread of the runs' accuracies. For a side with one run the test is about
    that very run; so is all of it where only two runs of one side could tell the spread. Sides that share runs count as
    independent, which finds too little rather than too much.
    A classifier fitted under several splits counts like one of several seeds.

    Where every track was tested in some fold, the artists that are tested also train, in the other folds: with other
    artists both would differ. No estimate of that is free of bias (Nadeau and Bengio, "Inference for the generalization
    error", Machine Learning 52, 2003), so we count the variance by artists `TRAINING_SETS` times, which keeps the level
    in the simulations of benchmarks/calibration.py.

    Raises:
        SoundFusionError: a and b did not predict the same tracks, or name different artists.
    """

    def __init__(self, a: Predictions, b: Predictions, by: str = "vote"):
        of_a, of_b = scores(a, by), scores(b, by)
        if not of_a.artist.index.equals(of_b.artist.index):
            raise SoundFusionError("a and b did not predict the same tracks: they cannot be compared track by track")
        if not of_a.artist.equals(of_b.artist):
            raise SoundFusionError(f"a and b give tracks to different artists: make their columns {GROUP!r} agree")
        self.tracks = len(of_a.artist)
        self.gain = of_a.right.mean(0) - of_b.right.mean(0)  # (artists,): what each adds to the difference
        self.share = (of_a.share + of_b.share) / 2  # (artists,): of all tracks or segments
        self.difference = float(self.gain.sum().round(12)) + 0.0  # accuracy of a minus that of b, in -1..1; no -0
        self.factor = TRAINING_SETS**0.5 if max(of_a.folds, of_b.folds) > 1 else 1.0  # of what artists add
        self.spread, self.freedom = _spread_of_seeds(of_a, of_b)

    @property
    def equal(self) -> bool:
        """Whether both sides are as right on each artist, and no seed says otherwise."""
        return max(np.abs(self.gain).max(), self.spread) < TINY

    @cached_property
    def _flipped(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Sums of gains and of shares under random signs, and the noise of seeds, (10 * RESAMPLES,) each."""
        sums, noise = [], []
        for random in map(np.random.default_rng, SEEDS):
            signs = random.integers(0, 2, (RESAMPLES, len(self.gain)), dtype=np.int8) * 2 - 1
            sums.append(signs @ np.stack([self.gain, self.share], 1))
            noise.append(self.spread * random.standard_t(max(self.freedom, 1), RESAMPLES))
        return *np.concatenate(sums).T, np.concatenate(noise)

    def by_chance(self, delta: float) -> np.ndarray:
        """What signs and seeds add to a true difference delta, (10 * RESAMPLES,)."""
        gains, shares, noise = self._flipped
        return self.factor * (gains - delta * shares) + noise

    def p(self, delta: float = 0.0) -> float:
        """Two-sided p of a true difference delta."""
        extreme = np.abs(self.by_chance(delta)) >= abs(self.difference - delta) - TINY
        return (1 + int(extreme.sum())) / (1 + len(extreme))

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """The range of every difference that the test does not reject at `level`: (low, high) in -1..1. It excludes 0
        exactly where p is below `level` (at 0.05 never for fewer than six artists)."""
        if self.equal:
            return -self._unseen(level), self._unseen(level)
        return self._bound(-1.0, level), self._bound(1.0, level)

    def _bound(self, end: float, level: float) -> float:
        """The last difference from the observed one towards `end` that the test does not reject."""
        kept, rejected = self.difference, end
        if kept * end < 0:  # by way of 0, so that p and interval agree about it
            kept, rejected = (kept, 0.0) if self.p() < level else (0.0, end)
        if self.p(rejected) >= level:
            return rejected
        while abs(rejected - kept) > 1e-6:
            middle = (kept + rejected) / 2
            kept, rejected = (middle, rejected) if self.p(middle) >= level else (kept, middle)
        return kept

    def _unseen(self, level: float = LEVEL) -> float:
        """The share of artists on which equal sides may still differ: the upper end of Clopper and Pearson's interval
        (1934) of none of so many."""
        return 1 - (level / 2) ** (1 / len(self.gain))

    @property
    def standard_error(self) -> float:
        """Of the difference, in 0..1."""
        by_artist = self.factor * (self.gain - self.difference * self.share)
        return float(np.sqrt((by_artist**2).sum() + self.spread**2))

    @property
    def smallest_difference(self) -> float:
        """The true difference that the test sees with 80 % power, if differences are normally distributed."""
        asked = self._unseen() if self.equal else np.quantile(np.abs(self.by_chance(self.difference)), 1 - LEVEL)
        return float(asked) + STANDARD_ERRORS * self.standard_error


def compare(a: Predictions, b: Predictions, by: str = "vote") -> dict[str, float]:
    """A `Comparison` as numbers: difference, low, high, p."""
    test = Comparison(a, b, by)
    low, high = test.interval()
    return {"difference": test.difference, "low": low, "high": high, "p": test.p()}


def _spread_of_seeds(*sides: Scores) -> tuple[float, int]:
    """Standard deviation that seeds give the difference, beyond what the artists' gains show; its degrees of freedom.
    Both are 0 where these would be fewer than two."""
    several = [side for side in sides if len(side.right) > 1]
    variance = 0.0
    for side in several:
        deviation = side.right - side.right.mean(0)
        residuals = deviation - np.outer(deviation.sum(1), side.share)
        of_artists = (residuals**2).sum() / max(1 - (side.share**2).sum(), TINY)  # n / (n - 1) for n equal artists
        variance += (deviation.sum(1) ** 2).sum() - of_artists
    freedom = sum(len(side.right) - 1 for side in several)
    if freedom < 2:
        return 0.0, 0
    of_mean = sum(1 / len(side.right) for side in several)
    return float(np.sqrt(max(variance, 0.0) / freedom * of_mean)), freedom
