"""Two trained models asked together: their probabilities averaged, with nothing to train."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.training.inference import KEYS, probability_columns
from soundfusion_lib.training.result import RunGroup, pooled

WEIGHTS = sorted(np.linspace(0, 1, 21).tolist(), key=lambda weight: abs(weight - 0.5))


@dataclass(frozen=True)
class Decision:
    """Decision weighting of two models' runs: w times the first's probabilities plus 1 - w times the second's.

    What it has of the same name as a `RunGroup` is that of both.

    Args:
        first, second: runs on the same segments, with the same seeds and folds.
        weight: w in 0..1; None searches, for each run, the best of `WEIGHTS` by accuracy per segment on that run's
            validation part (the one nearest to 0.5 among equals).
    """

    first: RunGroup
    second: RunGroup
    weight: float | None = 0.5

    @cached_property
    def weights(self) -> dict[tuple[int, int], float]:
        """w for each seed and fold."""
        pairs = self._pairs("validation")
        return {key: _search(*pair) if self.weight is None else self.weight for key, pair in pairs.items()}

    @property
    def fewer_folds(self) -> str:
        return self.first.fewer_folds

    @property
    def input(self) -> str:
        return self.first.input if self.first.input == self.second.input else "mix"

    @property
    def parameters(self) -> int:
        return self.first.parameters + self.second.parameters

    @property
    def epochs(self) -> int:
        """Of the model that trained longer."""
        return max(self.first.epochs, self.second.epochs)

    @property
    def core_minutes(self) -> float:
        return self.first.core_minutes + self.second.core_minutes

    @property
    def ended(self) -> bool:
        return self.first.ended and self.second.ended

    def predictions(self, part: str = "test") -> list[pd.DataFrame]:
        """For each seed, the mixed predictions of its folds together; see `RunGroup.by_run`.

        Raises:
            SoundFusionError: the two do not have the same seeds and folds, or did not predict the same segments.
        """
        return pooled({key: self._fused(key, *pair) for key, pair in self._pairs(part).items()})

    def _fused(self, key: tuple[int, int], first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
        return _mixed(first, second, self.weights[key])

    def _pairs(self, part: str) -> dict[tuple[int, int], tuple[pd.DataFrame, pd.DataFrame]]:
        first, second = self.first.by_run(part), self.second.by_run(part)
        if first.keys() != second.keys():
            raise SoundFusionError("two models can be weighted only where they were run with the same seeds and folds")
        return {key: (first[key], second[key]) for key in first}


@dataclass(frozen=True)
class Stacked(Decision):
    """A logistic regression on both models' log-probabilities of a segment, fitted to each run's validation part.

    Source: Wolpert, "Stacked generalization", Neural Networks, 1992. What it predicts of the validation part is of
    segments that it has learned from.
    """

    def _fused(self, key: tuple[int, int], first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
        predicted = self._machines[key].predict_proba(_log_probabilities(first, second))
        fused = _mixed(first, second, 0.5)
        columns = probability_columns(first)
        fused[columns] = 0.0  # of a label that the validation part lacks
        fused[[columns[label] for label in self._machines[key].classes_]] = predicted
        return fused

    @cached_property
    def _machines(self) -> dict[tuple[int, int], Any]:
        from sklearn.linear_model import LogisticRegression  # here: scikit-learn takes seconds to import

        return {
            key: LogisticRegression(max_iter=1000).fit(_log_probabilities(*pair), pair[0]["target"])
            for key, pair in self._pairs("validation").items()
        }


def _log_probabilities(first: pd.DataFrame, second: pd.DataFrame) -> np.ndarray:
    values = np.concatenate([frame[probability_columns(frame)].to_numpy() for frame in (first, second)], axis=1)
    return np.log(values.clip(1e-6))


def _mixed(first: pd.DataFrame, second: pd.DataFrame, weight: float) -> pd.DataFrame:
    if not first[KEYS].equals(second[KEYS]):
        raise SoundFusionError("two models can be weighted only where they predicted the same segments")
    columns = probability_columns(first)
    return first.assign(**{name: weight * first[name] + (1 - weight) * second[name] for name in columns})


def _search(first: pd.DataFrame, second: pd.DataFrame) -> float:
    """The weight of the most right segments."""

    def right(weight: float) -> int:
        mixed = _mixed(first, second, weight)
        return (mixed[probability_columns(mixed)].to_numpy().argmax(1) == mixed["target"]).sum()

    return max(WEIGHTS, key=right)
