"""Linear probes: a linear classifier on the features that a frozen network gives each clip.

Alain and Bengio, "Understanding intermediate layers using linear classifier probes", 2017; for music van den Oord,
Dieleman and Schrauwen, "Transfer learning by supervised pre-training for audio-based music classification", ISMIR 2014.
"""

from collections.abc import Callable, Collection
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from soundfusion_lib.analysis.baselines import SVM, baselines, cross_validated, folds_of, parts_of
from soundfusion_lib.analysis.tables import tested_columns, with_interval
from soundfusion_lib.study.starts import IMAGENET, RANDOM, Start
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.features import Features
from soundfusion_lib.training.result import PROBE, Result

STRENGTHS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)  # C of the logistic regression, most regularized first
LAST = 3  # stages that a probe takes: the first ones know edges, not music
WITH_VALIDATION = ", validation set too"


def matrix(features: Features, blocks: Collection[str] = ()) -> np.ndarray:
    """(tracks, D): sign(x) log(1 + |x|) of the features of these stages side by side, by default the last `LAST`."""
    values = np.concatenate([features.blocks[block] for block in blocks or list(features.blocks)[-LAST:]], axis=1)
    return np.sign(values) * np.log1p(np.abs(values))


def probe(
    study: Study,
    about: list[Any],
    columns: Callable[[int, int], np.ndarray],
    seeds: Collection[int] = (),
    refit: bool = False,
    **fields: Any,
) -> Result:
    """Logistic regression on features, see `baselines.cross_validated`. C is picked by validation log-likelihood: on
    a few dozen tracks the accuracy is too coarse to choose by.

    Args:
        study: whose usable tracks, labels and splits.
        about: what the features depend on, as JSON can hold it.
        columns: gives the features for a split (or seed) and fold, (tracks, D), in the order of the store's tracks. The
            training set standardises them.
        seeds: of features that were learned under the profile's split.
        refit: with C picked, fit once more to the training and validation sets together (Kornblith, Shlens and Le,
            "Do better ImageNet models transfer better?", CVPR 2019).
        fields: of the result, and `core_seconds`.
    """
    labels, target = study.store.labels, study.store.targets

    def predict(parts: np.ndarray, repeat: int, fold: int) -> np.ndarray:
        x, classifiers, losses = _fitted(columns(repeat, fold), target, parts, len(labels))
        chosen = classifiers[np.argmin(losses)]
        if refit:
            chosen.fit(x[parts != "test"], target[parts != "test"])
        return _probabilities(chosen, x, len(labels))

    about = ["probe", about, seeds and list(seeds), refit, STRENGTHS]
    return cross_validated(study, about, predict, seeds, **{"input": "features", "role": PROBE, **fields})


def _fitted(x: np.ndarray, target: np.ndarray, parts: np.ndarray, labels: int) -> tuple[np.ndarray, list, list[float]]:
    """Features (tracks, D) standardised by the training set and rotated; a logistic regression of each strength fitted
    to it; and the loss of each on the validation set."""
    from sklearn.decomposition import PCA  # here: scikit-learn takes seconds to import
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train, validation = parts == "train", parts == "validation"
    # a rotation of the features, which changes no penalty, leaves as many as there are tracks
    x = make_pipeline(StandardScaler(), PCA(svd_solver="full")).fit(x[train]).transform(x)
    fits = [LogisticRegression(C=strength, max_iter=1000).fit(x[train], target[train]) for strength in STRENGTHS]
    given = [_probabilities(classifier, x[validation], labels) for classifier in fits]
    return x, fits, [log_loss(target[validation], probabilities, labels=range(labels)) for probabilities in given]


def _probabilities(classifier: Any, x: np.ndarray, labels: int) -> np.ndarray:
    """Of each label, (tracks, labels): 0 of one that the training set lacks."""
    probabilities = np.zeros((len(x), labels), x.dtype)  # in which scikit-learn expects them to sum to one
    probabilities[:, classifier.classes_] = classifier.predict_proba(x)
    return probabilities


def on_all_clips(study: Study, start: Start) -> tuple[np.ndarray, np.ndarray]:
    """The probe of a start fitted to all clips: weight (labels, D) and bias (labels,) of the logits of a `matrix`. C
    has the lowest mean validation loss over the folds of the profile's split."""
    from sklearn.linear_model import LogisticRegression  # here: scikit-learn takes seconds to import
    from sklearn.preprocessing import StandardScaler

    x = matrix(start.features(study), start.blocks)
    labels, target = study.store.labels, study.store.targets
    losses = [_fitted(x, target, parts_of(study, fold).to_numpy(), len(labels))[2] for fold in folds_of(study)]
    scaler, strength = StandardScaler().fit(x), STRENGTHS[np.mean(losses, axis=0).argmin()]
    classifier = LogisticRegression(C=strength, max_iter=1000).fit(scaler.transform(x), target)
    weight, bias = classifier.coef_ / scaler.scale_, classifier.intercept_
    bias = bias - weight @ scaler.mean_
    if len(labels) == 2:  # scikit-learn has the second label's alone
        weight, bias = np.concatenate([0 * weight, weight]), np.append(0, bias)
    return weight, bias


def probe_of(study: Study, start: Start, blocks: Collection[str] = (), refit: bool = False) -> Result:
    """A probe of a frozen network on these stages, by default on the start's."""
    blocks = list(blocks or start.blocks)

    @cache
    def features() -> Features:
        return start.features(study)

    columns = cache(lambda: matrix(features(), blocks))
    fields = {"name": start.name, "network": start.network, "start": start.source}
    fields["core_seconds"] = lambda: features().core_seconds
    return probe(study, [start.about(study), blocks], lambda *_: columns(), refit=refit, **fields)


def probes(study: Study, starts: Collection[Start]) -> dict[str, Result]:
    """A probe of each start by name."""
    return {start.name: probe_of(study, start) for start in starts}


def with_validation(study: Study, start: Start) -> dict[str, Result]:
    """A probe of the start and the SVM, both fitted to the training and validation sets together: more tracks than any
    network of the study trains on."""
    name = f"probe of {start.name}{WITH_VALIDATION}"
    svm = baselines(study, refit=True)[SVM]
    return {name: replace(probe_of(study, start, refit=True), name=name), f"{SVM}{WITH_VALIDATION}": svm}


def by_block(study: Study, starts: Collection[Start]) -> pd.DataFrame:
    """Accuracy by vote of a probe of each stage alone: network, weights, block, track_accuracy, _low and _high."""
    rows = []
    for start in starts:
        for block in start.experiment.build(1).stages():
            row = {"network": start.network, "weights": start.source, "block": int(block.split()[-1])}
            predictions = probe_of(study, start, [block]).predictions("test")
            rows.append(row | with_interval("track", predictions, "vote"))
    return pd.DataFrame(rows)


def pairs(starts: Collection[Start]) -> list[tuple[str, str]]:
    """To compare: each start with random weights of its network, where they were probed; pre-trained on music with
    pre-trained on ImageNet."""
    random = {start.network: start.name for start in starts if start.source == RANDOM}
    imagenet = [start.name for start in starts if start.source == IMAGENET]
    music = [start.name for start in starts if start.source not in (RANDOM, IMAGENET)]
    pretrained = [start for start in starts if start.source != RANDOM and start.network in random]
    against_random = [(start.name, random[start.network]) for start in pretrained]
    return against_random + [(name, against) for name in music for against in imagenet]


def table(probed: dict[str, Result], impossible: dict[tuple[str, str], str]) -> pd.DataFrame:
    """Probes; and, by network and start, why others are missing (note): model, weights, core_minutes (of the features
    and the fit under one split), the columns of `tables.tested_columns`, note."""
    rows = [
        {"model": result.network, "weights": result.start, "core_minutes": result.core_minutes}
        | tested_columns(result)
        | {"note": ""}
        for result in probed.values()
    ]
    rows += [{"model": model, "weights": weights, "note": why} for (model, weights), why in impossible.items()]
    return pd.DataFrame(rows).astype({"tracks": "Int64"})


def ways(trained: dict[str, Result], tuned: dict[str, Result], probed: dict[str, Result]) -> dict[str, Result]:
    """The same networks three ways: from scratch (`trained`, by network); first on other music, then fine-tuned
    (`tuned`, by network); on other music only, probed."""
    of_music = {result.network: result for result in probed.values() if result.start not in (RANDOM, IMAGENET)}
    rows: dict[str, Result] = dict(trained)
    for network, result in tuned.items():
        rows |= {result.name: result, f"{of_music[network].name} start, probed": of_music[network]}
    return rows
