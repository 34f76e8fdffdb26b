"""Classifiers that are fitted in seconds: under ten splits, and their predictions kept like a network's."""

import hashlib
import json
import time
from collections.abc import Callable, Collection
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from soundfusion_lib.datasets.splits import Split, groups_of
from soundfusion_lib.paths import data_dir, lock, whole
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.inference import GROUP, PROBABILITY
from soundfusion_lib.training.result import ByRun, Result
from soundfusion_lib.training.run import rows_of

SPLITS = 10  # that a classifier is fitted under: a single one may be lucky
REVISION = 1  # raise it when the same features and split give other predictions
DIGITS = 4  # of a probability
KEPT = "classifiers.parquet"  # in results/<profile>/runs: one row group per classifier
PARTS = "validation", "test"
Predict = Callable[[np.ndarray, int, int], np.ndarray]


def cross_validated(
    study: Study,
    about: list[Any],
    predict: Predict,
    seeds: Collection[int] = (),
    random: bool = False,
    core_seconds: Callable[[], float] = float,
    **fields: Any,
) -> Result:
    """The result of a classifier, fitted in all folds of `SPLITS` splits, or found as it was fitted before.

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
    official = study.split(0).scheme == "official"
    repeats = list(seeds or range(1 if official else SPLITS))
    folds = study.profile.test_folds if seeds or official else range(study.profile.split.folds)
    content = [REVISION, store.content_id, repr(study.split(0)), repeats, list(folds), bool(seeds), random, about]
    key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
    study.classifiers.add(key)

    def fitted() -> pd.DataFrame:
        began, frames = time.process_time(), []
        for repeat, fold in product(repeats, folds):
            parts = parts_of(study, fold, 0 if seeds else repeat, random).to_numpy()
            probabilities = predict(parts, repeat, fold).astype(float).round(DIGITS)
            for part in PARTS:
                tested = parts == part
                frame = track_predictions(probabilities[tested], store.tracks[tested], store.labels)
                frames.append(frame.assign(part=part, repeat=repeat, fold=fold))
        seconds = core_seconds() + (time.process_time() - began) / len(repeats)
        return pd.concat(frames, ignore_index=True).assign(core_seconds=seconds)

    table = find_or_fit(study, key, fitted)
    minutes = table.pop("core_seconds").iloc[0] / 60

    def load(part: str) -> ByRun:
        groups = groups_of(store.tracks)
        rows = table[table["part"] == part].drop(columns="part")
        rows[GROUP] = groups[rows["track"]].to_numpy()
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


@cache
def parts_of(study: Study, fold: int, repeat: int = 0, random: bool = False) -> pd.Series:
    """The set of every track in a fold of the profile's split, or of a random split by label that ignores artists.

    The random split has as many folds as the profile's; beside an official one, as many as give a test set of its size.
    """
    tracks, split = study.store.tracks, study.split(fold, repeat)
    if not random:
        return split.parts(tracks)
    folds = split.folds
    if split.scheme == "official":
        folds = max(3, round(1 / (split.parts(tracks) == "test").mean()))
    return Split("stratified", folds, split.fold, study.profile.split.seed + repeat).parts(tracks)


def track_predictions(probabilities: np.ndarray, tracks: pd.DataFrame, labels: list[str]) -> pd.DataFrame:
    """Probabilities of whole tracks, (tracks, labels), as predictions, see `inference.predictions_of`."""
    target = np.searchsorted(labels, tracks["label"].to_numpy(str))
    keys = pd.DataFrame({"track": tracks.index, "segment": 0, "target": target})
    return keys.join(pd.DataFrame(probabilities, columns=[PROBABILITY + label for label in labels]))
