"""Classifiers that are fitted in seconds, under ten splits, and their predictions kept like a network's; and what a
network has to beat: the most frequent label, and an SVM on statistics of MFCCs; and what leaks by artist.

The SVM is the baseline that FMA comes with (Defferrard et al., "FMA: A Dataset for Music Analysis", ISMIR 2017).
"""

import hashlib
import json
import time
from collections.abc import Callable, Collection
from functools import cache, lru_cache
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from soundfusion_lib.analysis.tables import tested_columns
from soundfusion_lib.audio.store import Store
from soundfusion_lib.datasets.splits import Split, groups_of
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.paths import data_dir, lock, whole
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.inference import GROUP, PROBABILITY
from soundfusion_lib.training.result import BASELINE, ByRun, Result
from soundfusion_lib.training.run import rows_of

COEFFICIENTS = 20
STATISTICS = ("mean", "std", "skew", "kurtosis", "median", "min", "max")
MAJORITY, SVM = "majority class", "SVM on MFCC statistics"
SPLITS = 10  # that a classifier is fitted under: a single one may be lucky
REVISION = 1  # raise it when the same features and split give other predictions
DIGITS = 4  # of a probability
KEPT = "classifiers.parquet"  # in results/<profile>/runs: one row group per classifier


def cross_validated(
    study: Study,
    about: list[Any],
    predict: Callable[[np.ndarray, int, int], np.ndarray],
    seeds: Collection[int] = (),
    random: bool = False,
    core_seconds: Callable[[], float] = float,
    **fields: Any,
) -> Result:
    """The result of a classifier that is fitted in all folds of `SPLITS` splits, or found as it was fitted before; it
    keeps the predictions of test sets alone.

    Args:
        study: whose usable tracks, labels and splits; an official split is the only one.
        about: all that its predictions depend on beside these, as JSON can hold it.
        predict: takes the set of each track, (tracks,), the number of the split (or the seed) and the fold; gives the
            probability of each label for each track, (tracks, labels), fitted to what it may of these sets.
        seeds: fit with each of these under the profile's split and in its folds, as for features that learned from it.
        random: split by label alone, see `parts_of`.
        core_seconds: that the features took, asked after fitting; the time to fit under one split is added.
        fields: of the `Result`.
    """
    store = study.store
    repeats = list(seeds or range(1 if study.split(0).scheme == "official" else SPLITS))
    folds = study.test_folds if seeds else folds_of(study)
    content = [REVISION, store.content_id, repr(study.split(0)), repeats, list(folds), bool(seeds), random, about]
    key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
    study.classifiers.add(key)
    columns = [PROBABILITY + label for label in store.labels]

    def fitted() -> pd.DataFrame:
        began, frames = time.process_time(), []
        for repeat, fold in product(repeats, folds):
            parts = parts_of(study, fold, 0 if seeds else repeat, random).to_numpy()
            if "validation" not in parts or store.tracks["label"][parts == "train"].nunique() < 2:
                lack = "no clip to validate by, or only one label to train on"
                mend = "add artists, or use fewer folds ([split] folds, at least 3)"
                raise SoundFusionError(f"profile {study.profile.name}: fold {fold} has {lack}: {mend}")
            keys = {"track": store.tracks.index, "segment": 0, "target": store.targets, "repeat": repeat, "fold": fold}
            probabilities = predict(parts, repeat, fold).astype(float).round(DIGITS)
            frame = pd.DataFrame(keys).join(pd.DataFrame(probabilities, columns=columns))
            frames.append(frame[parts == "test"])
        seconds = core_seconds() + (time.process_time() - began) / len(repeats)
        return pd.concat(frames, ignore_index=True).assign(core_seconds=seconds)

    table = find_or_fit(study, key, fitted)
    minutes = table.pop("core_seconds").iloc[0] / 60

    @cache
    def load(part: str) -> ByRun:
        if part != "test":
            raise SoundFusionError(f"{fields['name']}: predictions of {part} sets are not kept, only of test sets")
        rows = table.assign(**{GROUP: groups_of(store.tracks)[table["track"]].to_numpy()})
        by_run = rows.groupby(["repeat", "fold"], sort=False)
        return {run: frame.drop(columns=["repeat", "fold"]).reset_index(drop=True) for run, frame in by_run}

    return Result(load=load, core_minutes=minutes, unit="seed" if seeds else "split", **fields)


def find_or_fit(study: Study, key: str, fit: Callable[[], pd.DataFrame] | None = None) -> pd.DataFrame:
    """The predictions of this key: kept among the results if `study.kept`, in the data folder, or fitted now."""
    if study.kept and (study.kept / KEPT).is_file() and len(rows := rows_of(study.kept / KEPT, key)):
        return rows
    file = data_dir() / "classifiers" / f"{key}.parquet"
    with lock(file.with_suffix(".lock")):
        if not file.is_file():
            with whole(file) as aside:
                fit().to_parquet(aside)
        return pd.read_parquet(file)


def folds_of(study: Study) -> range:
    """All folds of the profile's split; an official split is a single one."""
    return range(1 if study.split(0).scheme == "official" else study.profile.split.folds)


@cache
def parts_of(study: Study, fold: int, repeat: int = 0, random: bool = False) -> pd.Series:
    """The set of every track in a fold of the profile's split, or of a random split by label that ignores artists and
    has as many folds."""
    split = study.split(fold, repeat)
    if random:
        split = Split("stratified", split.folds, split.fold, study.profile.split.seed + repeat)
    return split.parts(study.store.tracks)


@lru_cache(maxsize=1)
def mfcc_statistics(store: Store) -> pd.DataFrame:
    """FMA's features of every usable track: (tracks, 140), columns named like "mfcc 01 mean".

    MFCCs are the first 20 coefficients of the orthonormal DCT-II over the bands of the stored log-mel spectrogram in dB
    (Davis and Mermelstein, 1980), mean of its channels; `STATISTICS` are over time, with excess kurtosis.
    """
    from scipy.fft import dct  # here: scipy takes a second to import

    rows = {}
    for track in store.tracks.index:
        decibels = store.arrays["mel"].clip(track).astype(np.float32).mean(1)  # (frames, bands)
        rows[track] = _statistics(dct(decibels, type=2, norm="ortho")[:, :COEFFICIENTS])
    columns = [f"mfcc {number:02d} {name}" for name in STATISTICS for number in range(1, COEFFICIENTS + 1)]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("track")


def _statistics(values: np.ndarray) -> np.ndarray:
    """The seven statistics over time of (time, coefficients), one after the other; skewness and kurtosis of what never
    changes are 0."""
    from scipy.stats import kurtosis, skew  # here: it takes a second to import

    values = values.astype(np.float64)
    moments = [np.nan_to_num(moment(values - values[0])) for moment in (skew, kurtosis)]
    return np.concatenate([values.mean(0), values.std(0), *moments, np.median(values, 0), values.min(0), values.max(0)])


def baselines(study: Study, random: bool = False, refit: bool = False) -> dict[str, Result]:
    """Both baselines by name; the SVM has scikit-learn's defaults (radial basis function, C = 1) on standardised
    statistics. See `cross_validated`.

    Args:
        random: split by label alone.
        refit: fit them to the training and validation sets together.
    """
    from sklearn.pipeline import make_pipeline  # here: scikit-learn takes seconds to import
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    label, fitted = study.store.tracks["label"].to_numpy(str), ("train", "validation") if refit else ("train",)

    def frequent(parts: np.ndarray, *_: int) -> np.ndarray:
        most = pd.Series(label[np.isin(parts, fitted)]).mode()[0]  # the first of equals
        return np.tile(np.array(study.store.labels) == most, (len(label), 1))

    def svm(parts: np.ndarray, *_: int) -> np.ndarray:
        train, vectors = np.isin(parts, fitted), mfcc_statistics(study.store).to_numpy()
        classifier = make_pipeline(StandardScaler(), SVC()).fit(vectors[train], label[train])
        return classifier.predict(vectors)[:, None] == np.array(study.store.labels)

    results = {}
    for name, predict, source in ((MAJORITY, frequent, "none"), (SVM, svm, "MFCC")):
        fields = {"name": name, "input": source, "role": BASELINE}
        results[name] = cross_validated(study, [name, fitted], predict, random=random, **fields)
    return results


def leak(study: Study) -> pd.DataFrame:
    """The SVM under splits by artist and under random ones, which ignore artists: split; shared_artists, the share of
    test tracks whose artist is in the training set too (in the first split); track_accuracy with track_low and
    track_high, lowest and highest, in 0..1."""
    rows, artists = [], groups_of(study.store.tracks)
    for name, random in (("by artist", False), ("random", True)):
        shared = []
        for fold in study.test_folds:
            parts = parts_of(study, fold, random=random)
            shared.extend(artists[parts == "test"].isin(artists[parts == "train"]))
        columns = tested_columns(baselines(study, random)[SVM])
        columns = {key: columns[key] for key in ("track_accuracy", "track_low", "track_high", "lowest", "highest")}
        rows.append({"split": name, "shared_artists": np.mean(shared), **columns})
    return pd.DataFrame(rows)
