"""From a network to predictions: log-probabilities of segments, tables of them, and what a track's segments decide."""

import numpy as np
import pandas as pd
import torch

from soundfusion_lib.audio.segments import Segments
from soundfusion_lib.device import autocast
from soundfusion_lib.models import AudioClassifier

BATCH = 32  # segments predicted at once: for 128, ResNet1D-large would take more than twice the memory of its training
KEYS = ["track", "segment", "target"]  # columns of predictions beside the classes
GROUP, FOLD = "group", "fold"  # those that they may have, too: see `statistics.scores`
PROBABILITY = "p_"  # begins the column of a class's probability, so that no label is taken for another column


@torch.inference_mode()
def log_probabilities(model: AudioClassifier, segments: Segments, batch_size: int = BATCH) -> torch.Tensor:
    """Log-probabilities of all segments, (segments, classes), float32, on the segments' device. The model is set to
    evaluation mode, and stays so."""
    model.eval()
    outputs = []
    for inputs, _ in segments.batches(batch_size):
        with autocast(segments.device):
            logits = model(*inputs)
        outputs.append(logits.float().log_softmax(1))
    return torch.cat(outputs)


def predictions_of(log_p: torch.Tensor, segments: Segments, labels: list[str]) -> pd.DataFrame:
    """Log-probabilities, (segments, classes), as predictions: one row a segment, columns `track`, `segment`, `target`
    and for each label its probability (`p_Rock`)."""
    probabilities = pd.DataFrame(log_p.exp().cpu().numpy(), columns=[PROBABILITY + label for label in labels])
    return pd.concat([segments.table.reset_index(drop=True), probabilities], axis=1)


def probability_columns(predictions: pd.DataFrame) -> list[str]:
    """The columns of predictions that hold a class's probability, in the order of the classes."""
    return [column for column in predictions.columns if column.startswith(PROBABILITY)]


def classes_of(predictions: pd.DataFrame) -> list[str]:
    """The labels that predictions hold probabilities of."""
    return [column.removeprefix(PROBABILITY) for column in probability_columns(predictions)]


def decide(probabilities: np.ndarray, track: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the segments of each track vote for.

    Args:
        probabilities: of the classes, (segments, classes).
        track: number of each segment's track, (segments,), 0 to tracks - 1.

    Returns:
        Each track's class, (tracks,): the one that most of its segments find most probable; of classes with as many
        votes the one of higher mean probability, of equals there the lowest class index (where the report's authors
        broke all ties). And each track's mean probabilities, (tracks, classes), in 0..1.
    """
    votes = np.zeros((track.max() + 1, probabilities.shape[1]))
    np.add.at(votes, (track, probabilities.argmax(1)), 1)
    mean = np.zeros_like(votes)
    np.add.at(mean, track, probabilities)
    mean = (mean / votes.sum(1, keepdims=True)).round(12)  # equal is equal, in whichever order it was added up
    return np.where(votes == votes.max(1, keepdims=True), mean, -1).argmax(1), mean


def per_track(predictions: pd.DataFrame) -> pd.DataFrame:
    """One row a track from predictions of its segments.

    Returns:
        Indexed by track: `target`; `vote`, the class that most segments are given, see `decide`; `mean`, the class of
        highest mean probability; `segment`, the share of its segments that are right; `segments`, their number.
    """
    probabilities = predictions[probability_columns(predictions)].to_numpy()
    track = predictions["track"].astype(str)
    right = probabilities.argmax(1) == predictions["target"]
    grouped = pd.DataFrame({"target": predictions["target"], "segment": right, "segments": 1}).groupby(track)
    table = grouped.agg({"target": "first", "segment": "mean", "segments": "sum"})
    vote, mean = decide(probabilities, table.index.get_indexer(track))
    return table.assign(vote=vote, mean=mean.argmax(1))[["target", "vote", "mean", "segment", "segments"]]
