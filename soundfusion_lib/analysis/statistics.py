"""From predictions of segments to accuracy per segment and per track, with intervals and paired tests.

Resampling is our own, as scipy's `bootstrap` and `permutation_test` know neither groups (artists with all their tracks)
nor several seeds.
"""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.training.inference import GROUP, per_track

RESAMPLES = 10_000
TINY = 1e-12  # as good as 0, for what divides
PARTS = 10
LEVEL = 0.05  # of tests; intervals are of 1 - LEVEL
AGGREGATIONS = ("segment", "vote", "mean")

Predictions = pd.DataFrame | list[pd.DataFrame]  # of one run, or of several


class Scores(NamedTuple):
    """How right runs are on each track, see `scores`."""

    right: np.ndarray  # (runs, tracks), in 0..1
    weight: np.ndarray  # (tracks,): a track's segments, or 1
    group: np.ndarray  # (tracks,): number of the track's artist, or of the track itself where no artist is known
    tracks: pd.Index  # their ids, sorted


def scores(predictions: Predictions, by: str = "vote") -> Scores:
    """How right each run is on each track.

    Args:
        predictions: of one run, or of several (seeds) that predicted the same segments. A column `group`, if there is
            one, says whose tracks these are.
        by: "segment" (share of a track's segments), "vote" or "mean" (see `per_track`).

    Raises:
        SoundFusionError: unknown aggregation, or the runs did not predict the same tracks, cut alike.
    """
    if by not in AGGREGATIONS:
        raise SoundFusionError(f"aggregation {by!r} is none of {', '.join(AGGREGATIONS)}")
    frames = _frames(predictions)
    runs = [per_track(frame) for frame in frames]
    if any(not run["segments"].equals(runs[0]["segments"]) for run in runs):
        raise SoundFusionError("these runs did not predict the same tracks, cut alike: they cannot be averaged")
    artist = np.arange(len(runs[0]))
    if GROUP in frames[0]:
        of_track = frames[0].assign(track=frames[0]["track"].astype(str)).groupby("track")[GROUP].first()
        artist = np.unique(of_track[runs[0].index].to_numpy(str), return_inverse=True)[1]
    if by == "segment":
        right, weight = np.stack([run["segment"] for run in runs]), runs[0]["segments"].to_numpy(float)
    else:
        right, weight = np.stack([run[by] == run["target"] for run in runs]).astype(float), np.ones(len(runs[0]))
    return Scores(right, weight, artist, runs[0].index)


def accuracy(predictions: Predictions, by: str = "vote") -> float:
    """Share of segments or tracks that are right, in 0..1; the mean over runs. Arguments as in `scores`."""
    scored = scores(predictions, by)
    return float(np.average(scored.right.mean(0), weights=scored.weight))


def interval(
    predictions: Predictions, by: str = "vote", level: float = 1 - LEVEL, seed: int = 0
) -> tuple[float, float]:
    """Bootstrap percentile interval of the accuracy: (low, high), in 0..1. Arguments as in `scores`.

    Artists are drawn with all their tracks (tracks where no artist is known), not segments, since what one artist made
    is not independent; where there are several runs, they are drawn too. A single artist tells nothing of others: then
    both bounds are NaN, and a warning says so. Sources: Efron and Tibshirani, An Introduction to the Bootstrap, 1993;
    Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8, for groups.
    """
    contribution, share = _by_artist(scores(predictions, by))
    if len(share) == 1:
        warnings.warn("all tracks predicted are by one artist: their accuracy has no interval", stacklevel=2)
        return float("nan"), float("nan")
    right = contribution.sum() / len(contribution)
    if min(right, 1 - right) < TINY:  # every resample is the same: Clopper and Pearson's interval of artists, 1934
        from scipy.stats import binomtest  # here: it takes a second to import

        low, high = binomtest(round(right) * len(share), len(share)).proportion_ci(level, "exact")
        return float(low), float(high)
    draws = np.concatenate([_resampled(contribution, share, random) for random in _generators(seed)])
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def compare(
    a: Predictions,
    b: Predictions,
    by: str = "vote",
    level: float = LEVEL,
    seed: int = 0,
) -> dict[str, float]:
    """Paired test of whether a and b are equally accurate, on the same tracks. Arguments as in `scores`.

    A randomisation test. Were the true difference delta, what an artist's tracks (a track, where no artist is known)
    add to the observed one beyond delta might as well have the other sign: the observed difference is set against those
    of random signs. For one run each, a vote and a track an artist this is McNemar's test, by simulation.

    Signs know nothing of seeds, which move the accuracy on all artists together. So each random difference of several
    runs has a share of chance added, as large as the spread of the runs' accuracies says, and drawn from Student's t
    with as many degrees of freedom as that spread has. Of a side with one run nothing is known of seeds: the test is
    about that very run. benchmarks/calibration.py checks how often the test errs.

    The interval holds every delta that this test does not reject at `level`, so it excludes 0 exactly where p is below
    that. With fewer than six artists that cannot be, at 0.05.

    Source of the signs: Noreen, Computer-Intensive Methods for Testing Hypotheses, 1989.

    Returns:
        difference (accuracy of a minus that of b), its interval low, high, of 1 - `level`, all in -1..1, and the
        two-sided p.

    Raises:
        SoundFusionError: a and b did not predict the same tracks, or name different artists.
    """
    scored = [scores(side, by) for side in (a, b)]
    _refuse_unpaired(a, b, *scored)
    (of_a, share_a), (of_b, share_b) = map(_by_artist, scored)
    gain, share = of_a.mean(0) - of_b.mean(0), (share_a + share_b) / 2  # of each artist
    difference = float(gain.sum())
    spread, freedom = _spread_of_seeds((of_a, share_a), (of_b, share_b))
    flipped, chance = [], []
    for random in _generators(seed):
        signs = random.integers(0, 2, (RESAMPLES // PARTS, len(gain)), dtype=np.int8) * 2 - 1
        flipped.append(signs @ np.stack([gain, share], 1))
        chance.append(spread * random.standard_t(freedom, len(signs)) if freedom else np.zeros(len(signs)))
    (gains, shares), chance = np.concatenate(flipped).T, np.concatenate(chance)

    def p(delta: float) -> float:
        extreme = np.abs(gains - delta * shares + chance) >= abs(difference - delta) - TINY
        return (1 + int(extreme.sum())) / (1 + RESAMPLES)

    def bound(end: float) -> float:
        held = difference
        for stop in (0.0, end) if difference * end < 0 else (end,):  # by 0, so that p and interval say the same of it
            if p(stop) < level:
                return _boundary(p, held, stop, level)
            held = stop
        return held

    return {"difference": difference, "low": bound(-1.0), "high": bound(1.0), "p": p(0.0)}


def _boundary(p: Callable[[float], float], held: float, refused: float, level: float) -> float:
    """The last difference from `held`, which a test does not reject, to `refused`, which it does."""
    while abs(refused - held) > 1e-6:
        middle = (held + refused) / 2
        held, refused = (middle, refused) if p(middle) >= level else (held, middle)
    return held


def _spread_of_seeds(*sides: tuple[np.ndarray, np.ndarray]) -> tuple[float, int]:
    """Standard deviation that seeds give a difference, beyond what they do to single artists (that the signs have in
    them already); and its degrees of freedom, 0 where no side has several runs.

    Args:
        sides: from `_by_artist`.
    """
    variance, freedom, share_of_runs = 0.0, 0, 0.0
    for contribution, share in sides:
        runs = len(contribution)
        if runs > 1:
            deviation = contribution - contribution.mean(0)
            residuals = deviation - np.outer(deviation.sum(1), share)
            of_artists = (residuals**2).sum() / max(1 - (share**2).sum(), TINY)  # n / (n - 1) for n equal artists
            variance += (deviation.sum(1) ** 2).sum() - of_artists
            freedom += runs - 1
            share_of_runs += 1 / runs
    return np.sqrt(max(variance, 0.0) / max(freedom, 1) * share_of_runs), freedom


def _frames(predictions: Predictions) -> list[pd.DataFrame]:
    return [predictions] if isinstance(predictions, pd.DataFrame) else predictions


def _refuse_unpaired(a: Predictions, b: Predictions, of_a: Scores, of_b: Scores) -> None:
    if not of_a.tracks.equals(of_b.tracks):
        raise SoundFusionError("a and b did not predict the same tracks: they cannot be compared track by track")
    named = [all(GROUP in frame for frame in _frames(side)) for side in (a, b)]
    if named[0] != named[1]:
        with_artists, without = ("a", "b") if named[0] else ("b", "a")
        raise SoundFusionError(
            f"the predictions of {with_artists} have a column {GROUP!r}, those of {without} have none: "
            "add it, or drop it"
        )
    if not np.array_equal(of_a.group, of_b.group):
        raise SoundFusionError(f"the columns {GROUP!r} of a and b give tracks to different artists: make them agree")


def _generators(seed: int) -> list[np.random.Generator]:
    """One generator for each part of the resamples: all at once would take too much memory."""
    return [np.random.default_rng([seed, part]) for part in range(PARTS)]


def _by_artist(scored: Scores) -> tuple[np.ndarray, np.ndarray]:
    """What each artist adds to the accuracy of each run, (runs, artists), and its share of the weight, (artists,)."""
    contribution = np.stack([np.bincount(scored.group, run * scored.weight) for run in scored.right])
    return contribution / scored.weight.sum(), np.bincount(scored.group, scored.weight) / scored.weight.sum()


def _resampled(contribution: np.ndarray, share: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Accuracies of RESAMPLES // PARTS resamples of the artists, see `_by_artist`, and of several runs."""
    runs, artists = contribution.shape
    drawn = _times_drawn(artists, random)  # (resamples, artists)
    if runs == 1:
        return drawn @ contribution[0] / (drawn @ share)
    chosen = _times_drawn(runs, random) / runs  # (resamples, runs)
    return np.einsum("nt,nr,rt->n", drawn, chosen, contribution, optimize=True) / (drawn @ share)


def _times_drawn(items: int, random: np.random.Generator) -> np.ndarray:
    """How often each item is in each of RESAMPLES // PARTS draws of so many with replacement, (resamples, items)."""
    count = RESAMPLES // PARTS
    drawn = random.integers(0, items, (count, items)) + items * np.arange(count)[:, None]
    return np.bincount(drawn.ravel(), minlength=count * items).reshape(count, items)
