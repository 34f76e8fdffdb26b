"""Fusion of decisions: two trained classifiers asked together, with nothing or little to train."""

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import numpy as np
import pandas as pd

from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.training.inference import KEYS, probability_columns
from soundfusion_lib.training.result import FUSION, ByRun, Result

WEIGHTS = sorted(np.linspace(0, 1, 21).tolist(), key=lambda weight: abs(weight - 0.5))  # tried in this order
Pair = tuple[pd.DataFrame, pd.DataFrame]  # predictions of the same segments by both


def average(first: Result, second: Result, name: str, role: str = FUSION, searched: bool = False) -> Result:
    """Mean of both classifiers' probabilities, weighted by `search_weights` if `searched`. They are fused in the folds
    that both have; the nth seed of one goes with the nth of the other."""

    @cache
    def weights() -> dict[tuple[int, int], float]:
        return search_weights(first, second) if searched else {}

    def load(part: str) -> ByRun:
        return {key: mix(*pair, weights().get(key, 0.5)) for key, pair in _pairs(first, second, part).items()}

    return _fused(first, second, name, role, load)


def search_weights(first: Result, second: Result) -> dict[tuple[int, int], float]:
    """By seed and fold, the weight of the first in `WEIGHTS` that gets most segments of the validation set right; of
    equals the one nearest to 0.5."""

    def right(first: pd.DataFrame, second: pd.DataFrame, weight: float) -> int:
        mixed = mix(first, second, weight)
        return (mixed[probability_columns(mixed)].to_numpy().argmax(1) == mixed["target"]).sum()

    pairs = _pairs(first, second, "validation")
    return {key: max(WEIGHTS, key=partial(right, *pair)) for key, pair in pairs.items()}


def stack(first: Result, second: Result, name: str) -> Result:
    """Logistic regression on both classifiers' log-probabilities of a segment, fitted to each run's validation set.

    Source: Wolpert, "Stacked generalization", Neural Networks, 1992. Its predictions of the validation set are of
    segments that it has learned from.
    """

    @cache
    def classifiers() -> dict[tuple[int, int], Any]:
        from sklearn.linear_model import LogisticRegression  # here: scikit-learn takes seconds to import

        return {
            key: LogisticRegression(max_iter=1000).fit(_log_probabilities(*pair), pair[0]["target"])
            for key, pair in _pairs(first, second, "validation").items()
        }

    def load(part: str) -> ByRun:
        fused = {}
        for key, pair in _pairs(first, second, part).items():
            frame, classifier = mix(*pair, 0.5), classifiers()[key]
            columns = probability_columns(frame)
            frame[columns] = 0.0  # of a label that the validation set lacks
            known = [columns[label] for label in classifier.classes_]
            frame[known] = classifier.predict_proba(_log_probabilities(*pair))
            fused[key] = frame
        return fused

    return _fused(first, second, name, FUSION, load)


def mix(first: pd.DataFrame, second: pd.DataFrame, weight: float) -> pd.DataFrame:
    """Predictions with `weight` times the first's probabilities plus 1 - `weight` times the second's."""
    if not first[KEYS].equals(second[KEYS]):
        raise SoundFusionError("two classifiers can be fused only where they predicted the same segments")
    columns = probability_columns(first)
    return first.assign(**{name: weight * first[name] + (1 - weight) * second[name] for name in columns})


def _fused(first: Result, second: Result, name: str, role: str, load: Callable[[str], ByRun]) -> Result:
    return Result(
        name,
        load,
        first.input if first.input == second.input else "mix",
        role,
        parameters=first.parameters + second.parameters,
        epochs=max(first.epochs, second.epochs),
        core_minutes=first.core_minutes + second.core_minutes,
        ended=first.ended and second.ended,
        fewer_folds=first.fewer_folds or second.fewer_folds,
    )


def _pairs(first: Result, second: Result, part: str) -> Mapping[tuple[int, int], Pair]:
    """By the first's seed and fold, both predictions; raises ValueError unless both have as many seeds."""
    one, two = first.by_run(part), second.by_run(part)
    partner = dict(zip(*(sorted({seed for seed, _ in frames}) for frames in (one, two)), strict=True))
    keys = {(seed, fold): (partner[seed], fold) for seed, fold in one}
    return {key: (one[key], two[partner]) for key, partner in keys.items() if partner in two}


def _log_probabilities(first: pd.DataFrame, second: pd.DataFrame) -> np.ndarray:
    values = np.concatenate([frame[probability_columns(frame)].to_numpy() for frame in (first, second)], axis=1)
    return np.log(values.clip(1e-6))
