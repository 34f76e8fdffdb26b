"""What a network has to beat: the most frequent label, and an SVM on statistics of MFCCs; and what leaks by artist.

The SVM is the baseline that FMA comes with (Defferrard et al., "FMA: A Dataset for Music Analysis", ISMIR 2017).
"""

from functools import lru_cache

import numpy as np
import pandas as pd

from soundfusion_lib.analysis.classifiers import cross_validated, parts_of
from soundfusion_lib.analysis.tables import tested_columns
from soundfusion_lib.audio.store import Store
from soundfusion_lib.datasets.splits import groups_of
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.result import BASELINE, Result

COEFFICIENTS = 20
STATISTICS = ("mean", "std", "skew", "kurtosis", "median", "min", "max")
MAJORITY, SVM = "majority class", "SVM on MFCC statistics"


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


def baselines(study: Study, random: bool = False, refit: bool = False) -> dict[str, Result]:
    """Both baselines by name; the SVM has scikit-learn's defaults (radial basis function, C = 1) on standardised
    statistics. See `classifiers.cross_validated`.

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
        machine = make_pipeline(StandardScaler(), SVC()).fit(vectors[train], label[train])
        return machine.predict(vectors)[:, None] == np.array(study.store.labels)

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
        for fold in study.profile.test_folds:
            parts = parts_of(study, fold, random=random)
            shared.extend(artists[parts == "test"].isin(artists[parts == "train"]))
        columns = tested_columns(baselines(study, random)[SVM])
        columns = {key: columns[key] for key in ("track_accuracy", "track_low", "track_high", "lowest", "highest")}
        rows.append({"split": name, "shared_artists": np.mean(shared), **columns})
    return pd.DataFrame(rows)
