"""Two trained models asked together: their probabilities averaged, with nothing to train."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.evaluation import KEYS, classes_of
from soundfusion_lib.runs import Runs

WEIGHTS = np.linspace(0, 1, 21)


@dataclass(frozen=True)
class Decision:
    """Decision weighting of two models' runs: w times the first's probabilities plus 1 - w times the second's.

    Args:
        first, second: runs on the same segments.
        weight: w in 0..1; None searches, for each seed, the best of `WEIGHTS` by accuracy per segment on the validation
            part (the one nearest to 0.5 among equals).
    """

    first: Runs
    second: Runs
    weight: float | None = 0.5

    @cached_property
    def weights(self) -> list[float]:
        """w for each seed."""
        pairs = list(zip(self.first.predictions("validation"), self.second.predictions("validation"), strict=True))
        return [self.weight if self.weight is not None else _search(*pair) for pair in pairs]

    @property
    def parameters(self) -> int:
        """Of both models."""
        return self.first.parameters + self.second.parameters

    def predictions(self, part: str = "test") -> list[pd.DataFrame]:
        """For each seed, predictions of a part; see `evaluation.predictions_of`.

        Raises:
            SoundFusionError: the two did not predict the same segments.
        """
        pairs = zip(self.first.predictions(part), self.second.predictions(part), self.weights, strict=True)
        return [_mixed(first, second, weight) for first, second, weight in pairs]


def _mixed(first: pd.DataFrame, second: pd.DataFrame, weight: float) -> pd.DataFrame:
    if not first[KEYS].equals(second[KEYS]):
        raise SoundFusionError("these two models did not predict the same segments: their decisions cannot be weighted")
    return first.assign(**{name: weight * first[name] + (1 - weight) * second[name] for name in classes_of(first)})


def _search(first: pd.DataFrame, second: pd.DataFrame) -> float:
    classes = classes_of(first)
    scores = [
        (_mixed(first, second, weight)[classes].to_numpy().argmax(1) == first["target"]).mean() for weight in WEIGHTS
    ]
    best = [weight for weight, score in zip(WEIGHTS, scores, strict=True) if score == max(scores)]
    return float(min(best, key=lambda weight: abs(weight - 0.5)))
