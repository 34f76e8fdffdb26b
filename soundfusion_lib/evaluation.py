"""From predictions of segments to accuracy per segment and per track, with intervals and paired tests."""

import numpy as np
import pandas as pd
import torch

from soundfusion_lib.device import autocast
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models import AudioClassifier
from soundfusion_lib.segments import Segments

BATCH = 32  # segments predicted at once: for 128, ResNet1D-large would take more than twice the memory of its training
RESAMPLES = 10_000
PARTS = 10
AGGREGATIONS = ("segment", "vote", "mean")
KEYS = ["track", "segment", "target"]  # columns of predictions beside the classes
ARTIST = "artist"  # one that they may have too: see `scores`


@torch.inference_mode()
def log_probabilities(model: AudioClassifier, segments: Segments, batch_size: int = BATCH) -> torch.Tensor:
    """Log-probabilities of all segments in evaluation mode, (segments, classes), float32, on the segments' device."""
    was_training = model.training
    model.eval()
    outputs = []
    for inputs, _ in segments.batches(batch_size):
        with autocast(segments.device):
            logits = model(*inputs)
        outputs.append(logits.float().log_softmax(1))
    model.train(was_training)
    return torch.cat(outputs)


def predictions_of(log_p: torch.Tensor, segments: Segments, genres: list[str]) -> pd.DataFrame:
    """Log-probabilities, (segments, classes), as predictions: one row a segment, columns `track`, `segment`, `target` and a
    probability for each genre."""
    probabilities = log_p.exp().cpu().numpy()
    table = segments.table.reset_index(drop=True)
    return pd.concat([table, pd.DataFrame(probabilities, columns=genres)], axis=1)


def classes_of(predictions: pd.DataFrame) -> list[str]:
    """The columns of predictions that hold a class's probability."""
    return [column for column in predictions.columns if column not in (*KEYS, ARTIST)]


def per_track(predictions: pd.DataFrame) -> pd.DataFrame:
    """One row a track from predictions of its segments.

    Returns:
        Indexed by track: `target`; `vote`, the class that most segments are given, ties to the lowest class index;
        `mean`, the class of highest mean probability; `segment`, the share of its segments that are right;
        `segments`, their number.
    """
    classes = classes_of(predictions)
    probabilities = predictions[classes].to_numpy()
    choice = probabilities.argmax(1)
    tracks, position = np.unique(predictions["track"].to_numpy(str), return_inverse=True)
    votes = np.zeros((len(tracks), len(classes)))
    np.add.at(votes, (position, choice), 1)
    totals = np.zeros((len(tracks), len(classes)))
    np.add.at(totals, position, probabilities)
    target = np.zeros(len(tracks), dtype=int)
    target[position] = predictions["target"]
    right = np.bincount(position, weights=choice == predictions["target"].to_numpy())
    count = votes.sum(1)
    return pd.DataFrame(
        {
            "target": target,
            "vote": votes.argmax(1),
            "mean": totals.argmax(1),
            "segment": right / count,
            "segments": count.astype(int),
        },
        index=pd.Index(tracks, name="track"),
    )


def scores(
    predictions: pd.DataFrame | list[pd.DataFrame], by: str = "vote"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How right each run is on each track.

    Args:
        predictions: of one run, or of several (seeds) that predicted the same tracks. A column `artist`, if there is one, says
            whose tracks these are.
        by: "segment" (share of a track's segments), "vote" or "mean" (see `per_track`).

    Returns:
        right, (runs, tracks), in 0..1; the tracks' weights, (tracks,): their segments, or 1; the number of each track's artist,
        (tracks,), or of the track itself where no artist is known. Tracks are sorted by id.

    Raises:
        SoundFusionError: unknown aggregation, or the runs did not predict the same tracks.
    """
    if by not in AGGREGATIONS:
        raise SoundFusionError(f"aggregation {by!r} is none of {', '.join(AGGREGATIONS)}")
    frames = [predictions] if isinstance(predictions, pd.DataFrame) else predictions
    runs = [per_track(frame) for frame in frames]
    if any(not run.index.equals(runs[0].index) for run in runs):
        raise SoundFusionError("these runs did not predict the same tracks: they cannot be compared track by track")
    artist = np.arange(len(runs[0]))
    if ARTIST in frames[0]:
        of_track = frames[0].assign(track=frames[0]["track"].astype(str)).groupby("track")[ARTIST].first()
        artist = np.unique(of_track[runs[0].index].to_numpy(str), return_inverse=True)[1]
    if by == "segment":
        return np.stack([run["segment"] for run in runs]), runs[0]["segments"].to_numpy(float), artist
    return np.stack([run[by] == run["target"] for run in runs]).astype(float), np.ones(len(runs[0])), artist


def accuracy(predictions: pd.DataFrame | list[pd.DataFrame], by: str = "vote") -> float:
    """Share of segments or tracks that are right, in 0..1; the mean over runs. Arguments as in `scores`."""
    right, weight, _ = scores(predictions, by)
    return float(np.average(right.mean(0), weights=weight))


def interval(
    predictions: pd.DataFrame | list[pd.DataFrame], by: str = "vote", level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Bootstrap percentile interval of the accuracy: (low, high), in 0..1. Arguments as in `scores`.

    Artists are drawn with all their tracks (tracks where no artist is known), not segments, since what one artist made is not
    independent; where there are several runs, they are drawn too. Sources: Efron and Tibshirani, An Introduction to the Bootstrap,
    1993; Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8, for groups.
    """
    right, weight = _by_artist(*scores(predictions, by))
    draws = np.concatenate([_resampled(right, weight, part) for part in _generators(seed)])
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def compare(
    a: pd.DataFrame | list[pd.DataFrame], b: pd.DataFrame | list[pd.DataFrame], by: str = "vote", seed: int = 0
) -> dict[str, float]:
    """Paired test of whether a and b are equally accurate, on the same tracks. Arguments as in `scores`.

    Under that hypothesis a and b may be exchanged on all tracks of an artist (on a track, where no artist is known): the observed
    difference is set against those of random exchanges. For one run each, a vote and a track an artist this is McNemar's
    test, by simulation.
    Source: Noreen, Computer-Intensive Methods for Testing Hypotheses, 1989.

    Returns:
        difference (accuracy of a minus that of b), its 95 % bootstrap interval low, high, and the two-sided p.
    """
    of_a, of_b = scores(a, by), scores(b, by)
    tracks = [set(frame["track"]) for runs in (a, b) for frame in ([runs] if isinstance(runs, pd.DataFrame) else runs)]
    if any(own != tracks[0] for own in tracks):
        raise SoundFusionError("a and b did not predict the same tracks: they cannot be compared track by track")
    (right_a, weight), (right_b, _) = _by_artist(*of_a), _by_artist(*of_b)
    gain = (right_a.mean(0) - right_b.mean(0)) / weight.sum()  # each artist's share of the difference
    observed = abs(gain.sum()) - 1e-12
    draws, extreme = [], 0
    for part in _generators(seed):
        signs = part.integers(0, 2, (RESAMPLES // PARTS, gain.size), dtype=np.int8) * 2 - 1
        extreme += int((np.abs(signs @ gain) >= observed).sum())
        draws.append(_resampled(right_a, weight, np.random.default_rng(part.bit_generator.seed_seq)))
        draws[-1] -= _resampled(right_b, weight, np.random.default_rng(part.bit_generator.seed_seq))
    low, high = np.quantile(np.concatenate(draws), [0.025, 0.975])
    p = (1 + extreme) / (1 + RESAMPLES)
    return {"difference": float(gain.sum()), "low": float(low), "high": float(high), "p": p}


def _generators(seed: int) -> list[np.random.Generator]:
    """One generator for each part of the resamples: all at once would take too much memory."""
    return [np.random.default_rng([seed, part]) for part in range(PARTS)]


def _by_artist(right: np.ndarray, weight: np.ndarray, artist: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each artist, from `scores`: the weighted sum of what is right, (runs, artists), and of the weights, (artists,)."""
    return np.stack([np.bincount(artist, run * weight) for run in right]), np.bincount(artist, weight)


def _resampled(right: np.ndarray, weight: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Accuracies of RESAMPLES // PARTS resamples of the artists, see `_by_artist`, and of the runs where there are several."""
    runs, artists = right.shape
    drawn = _times_drawn(artists, random)  # (resamples, artists)
    if runs == 1:
        return drawn @ right[0] / (drawn @ weight)
    chosen = _times_drawn(runs, random) / runs  # (resamples, runs)
    return np.einsum("nt,nr,rt->n", drawn, chosen, right, optimize=True) / (drawn @ weight)


def _times_drawn(items: int, random: np.random.Generator) -> np.ndarray:
    """How often each item is in each of RESAMPLES // PARTS draws of so many with replacement, (resamples, items)."""
    count = RESAMPLES // PARTS
    drawn = random.integers(0, items, (count, items)) + items * np.arange(count)[:, None]
    return np.bincount(drawn.ravel(), minlength=count * items).reshape(count, items)
