"""What a network has to beat: the most frequent label, and an SVM on statistics of MFCCs; and what leaks by artist.

The SVM is the baseline that FMA comes with (Defferrard et al., "FMA: A Dataset for Music Analysis", ISMIR 2017).
"""

from collections.abc import Collection
from functools import lru_cache

import numpy as np
import pandas as pd

from soundfusion_lib.analysis.tables import with_interval
from soundfusion_lib.audio.store import Store
from soundfusion_lib.datasets.splits import Split, groups_of
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.inference import GROUP, PROBABILITY
from soundfusion_lib.training.result import BASELINE, ByRun, Result

COEFFICIENTS = 20
STATISTICS = ("mean", "std", "skew", "kurtosis", "median", "min", "max")
MAJORITY, SVM = "majority class", "SVM on MFCC statistics"


def track_predictions(probabilities: np.ndarray, tracks: pd.DataFrame, labels: list[str]) -> pd.DataFrame:
    """Probabilities of whole tracks, (tracks, labels), as predictions with a column `group`, see
    `inference.predictions_of`."""
    target = np.searchsorted(labels, tracks["label"].to_numpy(str))
    keys = pd.DataFrame({"track": tracks.index, "segment": 0, "target": target, GROUP: groups_of(tracks).to_numpy()})
    return keys.join(pd.DataFrame(probabilities.astype(float), columns=[PROBABILITY + label for label in labels]))


@lru_cache(maxsize=1)
def mfcc_statistics(store: Store) -> pd.DataFrame:
    """FMA's features of every usable track: (tracks, 140), columns named like "mfcc 01 mean".

    MFCCs are the first 20 coefficients of the orthonormal DCT-II over the bands of the stored log-mel spectrogram in dB
    (Davis and Mermelstein, 1980), mean of its channels; `STATISTICS` are over time, with excess kurtosis.
    """
    from scipy.fft import dct  # here: scipy takes a second to import

    rows = {}
    for track in store.tracks.index:
        bands = store.arrays["mel"].clip(track).astype(np.float32).mean(1)  # (frames, bands)
        rows[track] = _statistics(dct(bands, type=2, norm="ortho")[:, :COEFFICIENTS])
    columns = [f"mfcc {number:02d} {name}" for name in STATISTICS for number in range(1, COEFFICIENTS + 1)]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("track")


def _statistics(values: np.ndarray) -> np.ndarray:
    """The seven statistics over time of (time, coefficients), one after the other; skewness and kurtosis of what never
    changes are 0."""
    from scipy.stats import kurtosis, skew  # here: it takes a second to import

    values = values.astype(np.float64)
    moments = [np.nan_to_num(moment(values - values[0])) for moment in (skew, kurtosis)]
    return np.concatenate([values.mean(0), values.std(0), *moments, np.median(values, 0), values.min(0), values.max(0)])


def baselines(study: Study, random: bool = False, fitted: Collection[str] = ("train",)) -> dict[str, Result]:
    """Both baselines by name, in each of the profile's folds; the SVM has scikit-learn's defaults (radial basis
    function, C = 1) on standardised statistics.

    Args:
        random: split by label alone, see `parts_of`.
        fitted: the sets that they are fitted to.
    """
    from sklearn.pipeline import make_pipeline  # here: scikit-learn takes seconds to import
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    store, vectors = study.store, mfcc_statistics(study.store)
    frames: dict[str, dict[str, ByRun]] = {name: {"validation": {}, "test": {}} for name in (MAJORITY, SVM)}
    for fold in study.profile.test_folds:
        parts = parts_of(study, fold, random)
        train = store.tracks["label"][parts.isin(fitted)]
        svm = make_pipeline(StandardScaler(), SVC()).fit(vectors.loc[train.index], train)
        for part in ("validation", "test"):
            tracks = store.tracks[parts == part]
            frequent = np.full(len(tracks), train.mode()[0])  # the first of equals
            for name, chosen in ((MAJORITY, frequent), (SVM, svm.predict(vectors.loc[tracks.index]))):
                probabilities = chosen[:, None] == np.array(store.labels)
                frames[name][part][0, fold] = track_predictions(probabilities, tracks, store.labels)
    inputs = {MAJORITY: "none", SVM: "MFCC"}
    return {name: Result(name, by_part.__getitem__, inputs[name], BASELINE) for name, by_part in frames.items()}


def parts_of(study: Study, fold: int, random: bool) -> pd.Series:
    """The set of every track in a fold of the profile's split, or of a random split by label that ignores artists.

    The random split has as many folds as the profile's; beside an official one, as many as give a test set of its size.
    """
    tracks, split = study.store.tracks, study.split(fold)
    if not random:
        return split.assign(tracks)
    folds = split.folds
    if split.scheme == "official":
        folds = max(3, round(1 / (split.assign(tracks) == "test").mean()))
    return Split("stratified", folds, split.fold, split.seed).parts(tracks)


def leak(study: Study) -> pd.DataFrame:
    """The SVM under the profile's split and under a random one, which ignores artists: split; shared_artists, the share
    of test tracks whose artist is in the training set too; track_accuracy with track_low and track_high, in 0..1."""
    rows, artists = [], groups_of(study.store.tracks)
    for name, random in (("the profile's", False), ("random", True)):
        shared = []
        for fold in study.profile.test_folds:
            parts = parts_of(study, fold, random)
            shared.extend(artists[parts == "test"].isin(artists[parts == "train"]))
        svm = baselines(study, random)[SVM]
        rows.append({"split": name, "shared_artists": np.mean(shared), **with_interval("track", svm, "vote")})
    return pd.DataFrame(rows)
