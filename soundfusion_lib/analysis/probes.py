"""Linear probes: how far a linear classifier gets on what a frozen network makes of each clip.

Alain and Bengio, "Understanding intermediate layers using linear classifier probes", 2017; for music van den Oord,
Dieleman and Schrauwen, "Transfer learning by supervised pre-training for audio-based music classification", ISMIR 2014.
"""

import time
from collections.abc import Callable, Collection
from functools import partial

import numpy as np
import pandas as pd

from soundfusion_lib.analysis.baselines import SVM, Baseline, baselines, track_predictions
from soundfusion_lib.analysis.tables import with_interval
from soundfusion_lib.study.starts import IMAGENET, RANDOM, Start
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.features import Features
from soundfusion_lib.training.result import RunGroup

STRENGTHS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)  # C of the logistic regression, most regularized first
LAST = 3  # stages that a probe takes: the first ones know edges, not music
PARTS = "validation", "test"
WITH_VALIDATION = ", validation part too"


def matrix(features: Features, blocks: Collection[str] = ()) -> np.ndarray:
    """(tracks, D): features of these stages side by side, the last `LAST` by default, by the logarithm of 1 + x.

    What is below 0 gets the mirrored value.
    """
    values = np.concatenate([features.blocks[block] for block in blocks or list(features.blocks)[-LAST:]], axis=1)
    return np.sign(values) * np.log1p(np.abs(values))


def probe(
    study: Study,
    columns: Callable[[int, int], np.ndarray],
    seeds: Collection[int] = (0,),
    core_seconds: float = 0.0,
    refit: bool = False,
) -> Baseline:
    """Logistic regression on features, in all folds of the study; its strength is chosen on the validation part, by the
    likelihood: of a few dozen tracks the accuracy hardly tells strengths apart.

    Args:
        study: whose usable tracks, labels and splits.
        columns: (tracks, D) for a seed and fold, in the order of the store's tracks; standardised here by the training
            part.
        seeds: that the features were made with.
        core_seconds: that the features took; the time to fit, all folds together, is added.
        refit: with the strength chosen, fit once more to the training and validation parts together, as Kornblith,
            Shlens and Le, "Do better ImageNet models transfer better?", CVPR 2019.

    Returns:
        Its predictions of whole tracks; `parameters` are the classifier's.
    """
    from sklearn.linear_model import LogisticRegression  # here: scikit-learn takes seconds to import
    from sklearn.metrics import log_loss
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    store, began = study.store, time.process_time()
    target = np.searchsorted(store.labels, store.tracks["label"].to_numpy(str))
    by_seed = []
    for seed in seeds:
        frames: dict[str, list[pd.DataFrame]] = {part: [] for part in PARTS}
        for fold in study.profile.test_folds:
            x, parts = columns(seed, fold), study.split(fold).assign(store.tracks).to_numpy()
            of = {part: parts == part for part in ("train", *PARTS)}
            least = np.inf
            for strength in STRENGTHS:
                classifier = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))
                classifier.fit(x[of["train"]], target[of["train"]])
                predicted = classifier.predict_proba(x[of["validation"]])
                loss = log_loss(target[of["validation"]], predicted, labels=range(len(store.labels)))
                if loss < least:
                    least, chosen = loss, classifier
            if refit:
                chosen.fit(x[~of["test"]], target[~of["test"]])
            for part, own in frames.items():
                probabilities = chosen.predict_proba(x[of[part]])  # every label is in the training part
                own.append(track_predictions(probabilities, store.tracks[of[part]], store.labels))
        by_seed.append({part: pd.concat(own, ignore_index=True) for part, own in frames.items()})
    minutes = (core_seconds + (time.process_time() - began) / len(by_seed)) / 60
    return Baseline("features", by_seed, parameters=(x.shape[1] + 1) * len(store.labels), core_minutes=minutes)


def probes(study: Study, starts: Collection[Start], blocks: Collection[str] = ()) -> dict[str, Baseline]:
    """A probe of each start by its name, of these stages of it; of random weights one for each of the study's seeds."""
    found = {}
    for start in starts:
        seeds = study.profile.seeds if start.source == RANDOM else (0,)
        of_seed = {seed: start.features(study, seed) for seed in seeds}
        columns = {seed: matrix(features, blocks) for seed, features in of_seed.items()}
        found[start.name] = probe(study, partial(_in_all_folds, columns), seeds, of_seed[seeds[0]].core_seconds)
    return found


def with_validation(study: Study, start: Start) -> dict[str, Baseline]:
    """A probe of the start and the machine of `baselines`, both fitted to the training and validation parts together:
    more tracks than any network of the study trains on."""
    own = start.features(study)
    machine = baselines(study, fitted=("train", "validation"))[SVM]
    refitted = probe(study, partial(_in_all_folds, {0: matrix(own)}), core_seconds=own.core_seconds, refit=True)
    return {f"probe of {start.name}{WITH_VALIDATION}": refitted, f"{SVM}{WITH_VALIDATION}": machine}


def _in_all_folds(columns: dict[int, np.ndarray], seed: int, fold: int) -> np.ndarray:
    return columns[seed]


def by_block(study: Study, starts: Collection[Start]) -> pd.DataFrame:
    """Accuracy by vote of a probe of each stage alone: network, weights, block, track_accuracy, _low and _high."""
    rows = []
    for start in starts:
        for block in start.experiment.build(len(study.store.labels)).stages():
            group = probes(study, [start], [block])[start.name]
            rows.append(
                {"network": start.network, "weights": start.source, "block": int(block.split()[-1])}
                | with_interval("track", group, "vote")
            )
    return pd.DataFrame(rows)


def pairs(starts: Collection[Start]) -> list[tuple[str, str]]:
    """To be compared: each start with random weights of its network, and music first with pictures first."""
    names = [start.name for start in starts]
    against_random = [(start.name, f"{start.network}, {RANDOM}") for start in starts if start.source != RANDOM]
    pictures = f"VGG16, {IMAGENET}"
    of_music = [start.name for start in starts if start.source not in (RANDOM, IMAGENET)]
    return against_random + [(name, pictures) for name in of_music if pictures in names]


def table(found: dict[str, Baseline], impossible: dict[str, str]) -> pd.DataFrame:
    """Probes by name, and why others are missing.

    Returns:
        A row a start: model, weights, parameters (of the classifier), core_minutes (of the features and the fit),
        track_accuracy with track_low and track_high, note.
    """
    rows = []
    for name, group in found.items():
        model, weights = name.split(", ")
        row = {"model": model, "weights": weights, "parameters": group.parameters, "core_minutes": group.core_minutes}
        rows.append(row | with_interval("track", group, "vote") | {"note": ""})
    for name, reason in impossible.items():
        model, weights = name.split(", ")
        rows.append({"model": model, "weights": weights, "note": reason})
    return pd.DataFrame(rows).astype({"parameters": "Int64"})


def ways(
    trained: dict[str, RunGroup], tuned: dict[str, RunGroup], found: dict[str, Baseline]
) -> dict[str, RunGroup | Baseline]:
    """The same networks three ways: from scratch; first on other music, then fine-tuned; on other music only, probed.

    Args:
        trained, tuned: by network, from `protocol.resnet`, `simple_cnn` and from `protocol.fine_tuned`.
        found: from `probes`.
    """
    rows: dict[str, RunGroup | Baseline] = dict(trained)
    for group in tuned.values():
        name = group.experiment.name
        rows[name] = group
        start = name.removesuffix(" start, fine-tuned")
        rows[f"{start} start, probed"] = found[start]
    return rows
