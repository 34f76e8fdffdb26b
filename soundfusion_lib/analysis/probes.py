"""Linear probes: a linear classifier on the features that a frozen network gives each clip.

Alain and Bengio, "Understanding intermediate layers using linear classifier probes", 2017; for music van den Oord,
Dieleman and Schrauwen, "Transfer learning by supervised pre-training for audio-based music classification", ISMIR 2014.
"""

import time
from collections.abc import Callable, Collection
from dataclasses import replace
from operator import itemgetter

import numpy as np
import pandas as pd

from soundfusion_lib.analysis.baselines import SVM, baselines, track_predictions
from soundfusion_lib.analysis.tables import with_interval
from soundfusion_lib.study.starts import IMAGENET, RANDOM, Start
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.features import Features
from soundfusion_lib.training.result import PROBE, ByRun, Result

STRENGTHS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)  # C of the logistic regression, most regularized first
LAST = 3  # stages that a probe takes: the first ones know edges, not music
PARTS = "validation", "test"
WITH_VALIDATION = ", validation part too"


def matrix(features: Features, blocks: Collection[str] = ()) -> np.ndarray:
    """(tracks, D): sign(x) log(1 + |x|) of the features of these stages side by side, by default the last `LAST`."""
    values = np.concatenate([features.blocks[block] for block in blocks or list(features.blocks)[-LAST:]], axis=1)
    return np.sign(values) * np.log1p(np.abs(values))


def probe(
    study: Study,
    name: str,
    columns: Callable[[int, int], np.ndarray],
    seeds: Collection[int] = (0,),
    core_seconds: float = 0.0,
    refit: bool = False,
    role: str = PROBE,
    start: Start | None = None,
) -> Result:
    """Logistic regression on features, in all folds of the study. C is picked by validation log-likelihood: on a few
    dozen tracks the accuracy is too coarse to choose by.

    Args:
        study: whose usable tracks, labels and splits.
        name, role, start: of the result; `start` is the frozen network, also of a fusion.
        columns: gives the features for a seed and fold, (tracks, D), in the order of the store's tracks. The training
            set standardises them.
        seeds: that the features were made with.
        core_seconds: that the features took; the time to fit is added.
        refit: with C picked, fit once more to the training and validation sets together (Kornblith, Shlens and Le,
            "Do better ImageNet models transfer better?", CVPR 2019).
    """
    from sklearn.linear_model import LogisticRegression  # here: scikit-learn takes seconds to import
    from sklearn.metrics import log_loss
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    store, began = study.store, time.process_time()
    target = np.searchsorted(store.labels, store.tracks["label"].to_numpy(str))
    frames: dict[str, ByRun] = {part: {} for part in PARTS}
    for seed in seeds:
        for fold in study.profile.test_folds:
            x, parts = columns(seed, fold), study.split(fold).assign(store.tracks).to_numpy()
            of = {part: parts == part for part in ("train", *PARTS)}
            candidates = []
            for strength in STRENGTHS:
                classifier = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))
                classifier.fit(x[of["train"]], target[of["train"]])
                predicted = classifier.predict_proba(x[of["validation"]])
                loss = log_loss(target[of["validation"]], predicted, labels=range(len(store.labels)))
                candidates.append((loss, classifier))
            _, chosen = min(candidates, key=itemgetter(0))
            if refit:
                chosen.fit(x[~of["test"]], target[~of["test"]])
            for part, by_run in frames.items():
                probabilities = chosen.predict_proba(x[of[part]])  # every label is in the training set
                by_run[seed, fold] = track_predictions(probabilities, store.tracks[of[part]], store.labels)
    minutes = (core_seconds + (time.process_time() - began) / len(seeds)) / 60
    parameters = (x.shape[1] + 1) * len(store.labels)
    of_start = {"network": start.network, "start": start.source} if start else {}
    load = frames.__getitem__
    return Result(name, load, "features", role, parameters=parameters, core_minutes=minutes, **of_start)


def probe_of(study: Study, start: Start, blocks: Collection[str] = (), refit: bool = False) -> Result:
    """A probe of a frozen network on these stages, or the start's; of random weights with each seed of the study."""
    seeds = study.profile.seeds if start.source == RANDOM else (0,)
    features = {seed: start.features(study, seed) for seed in seeds}
    columns = {seed: matrix(of_seed, blocks or start.blocks) for seed, of_seed in features.items()}
    seconds = features[seeds[0]].core_seconds
    return probe(study, start.name, lambda seed, fold: columns[seed], seeds, seconds, refit, start=start)


def probes(study: Study, starts: Collection[Start]) -> dict[str, Result]:
    """A probe of each start by name."""
    return {start.name: probe_of(study, start) for start in starts}


def with_validation(study: Study, start: Start) -> dict[str, Result]:
    """A probe of the start and the SVM, both fitted to the training and validation sets together: more tracks than any
    network of the study trains on."""
    name = f"probe of {start.name}{WITH_VALIDATION}"
    svm = baselines(study, fitted=("train", "validation"))[SVM]
    return {name: replace(probe_of(study, start, refit=True), name=name), f"{SVM}{WITH_VALIDATION}": svm}


def by_block(study: Study, starts: Collection[Start]) -> pd.DataFrame:
    """Accuracy by vote of a probe of each stage alone: network, weights, block, track_accuracy, _low and _high."""
    rows = []
    for start in starts:
        for block in start.features(study).blocks:
            row = {"network": start.network, "weights": start.source, "block": int(block.split()[-1])}
            rows.append(row | with_interval("track", probe_of(study, start, [block]), "vote"))
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
    """Probes; and, by network and start, why others are missing (note): model, weights, parameters (of the classifier),
    core_minutes (of the features and the fit), track_accuracy with track_low and track_high, note."""
    rows = [
        {"model": result.network, "weights": result.start, "parameters": result.parameters}
        | {"core_minutes": result.core_minutes, **with_interval("track", result, "vote"), "note": ""}
        for result in probed.values()
    ]
    rows += [{"model": model, "weights": weights, "note": why} for (model, weights), why in impossible.items()]
    return pd.DataFrame(rows).astype({"parameters": "Int64"})


def ways(trained: dict[str, Result], tuned: dict[str, Result], probed: dict[str, Result]) -> dict[str, Result]:
    """The same networks three ways: from scratch (`trained`, by network); first on other music, then fine-tuned
    (`tuned`, by network); on other music only, probed."""
    of_music = {result.network: result for result in probed.values() if result.start not in (RANDOM, IMAGENET)}
    rows: dict[str, Result] = dict(trained)
    for network, result in tuned.items():
        rows |= {result.name: result, f"{of_music[network].name} start, probed": of_music[network]}
    return rows
