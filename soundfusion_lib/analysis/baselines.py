"""What a network has to beat: the most frequent label, and a support vector machine on statistics of MFCCs.

The machine is the baseline that FMA comes with (Defferrard et al., "FMA: A Dataset for Music Analysis", ISMIR 2017):
one vector a track, no training to speak of.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from soundfusion_lib.corpora.splits import Split, groups_of
from soundfusion_lib.signals.store import Store
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.inference import GROUP, PROBABILITY

COEFFICIENTS = 20
STATISTICS = ("mean", "std", "skew", "kurtosis", "median", "min", "max")
MAJORITY, SVM = "majority class", "SVM on MFCC statistics"


@dataclass(frozen=True)
class Baseline:
    """A classifier's predictions of whole tracks, which tables take as they take `RunGroup`.

    Args:
        parts: by part ("validation", "test"), its predictions, see `inference.predictions_of`: one row a track, and
            probability 1 for the class that it chose.
    """

    parts: dict[str, pd.DataFrame]
    parameters: float = float("nan")  # it has none that would compare to a network's
    epochs: float = float("nan")

    def predictions(self, part: str = "test") -> list[pd.DataFrame]:
        """In a list of one: nothing here is drawn, so all seeds would agree."""
        return [self.parts[part]]


@lru_cache(maxsize=1)
def mfcc_statistics(store: Store) -> pd.DataFrame:
    """A vector for every usable track.

    MFCCs are the first 20 coefficients of the orthonormal DCT-II over the bands of the stored log-mel spectrogram in dB
    (Davis and Mermelstein, 1980), the mean of its channels; of each the `STATISTICS` over time (excess kurtosis), as in
    FMA's features; a coefficient that never changes has skewness and kurtosis 0.

    Returns:
        One row a track, (tracks, 140), columns named like "mfcc 01 mean".
    """
    from scipy.fft import dct  # here: scipy takes a second to import

    rows = {}
    for track in store.tracks.index:
        bands = store.arrays["mel"].clip(track).astype(np.float32).mean(1)  # (frames, bands)
        rows[track] = _statistics(dct(bands, type=2, norm="ortho")[:, :COEFFICIENTS])
    columns = [f"mfcc {number:02d} {name}" for name in STATISTICS for number in range(1, COEFFICIENTS + 1)]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("track")


def _statistics(values: np.ndarray) -> np.ndarray:
    """The seven statistics over time of (time, coefficients), one after the other."""
    from scipy.stats import kurtosis, skew  # here: it takes a second to import

    values = values.astype(np.float64)
    moments = [np.nan_to_num(moment(values - values[0])) for moment in (skew, kurtosis)]  # NaN where nothing changes
    return np.concatenate([values.mean(0), values.std(0), *moments, np.median(values, 0), values.min(0), values.max(0)])


def baselines(study: Study, random: bool = False) -> dict[str, Baseline]:
    """Both baselines by name, fitted to the training part of each of the profile's folds, whose predictions are pooled;
    with a `random` split if so asked, see `parts_of`.

    The machine has scikit-learn's defaults (radial basis function, C = 1) on standardised statistics.
    """
    from sklearn.pipeline import make_pipeline  # here: scikit-learn takes seconds to import
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    store, vectors = study.store, mfcc_statistics(study.store)
    chosen = {name: {"validation": [], "test": []} for name in (MAJORITY, SVM)}
    for fold in study.profile.test_folds:
        parts = parts_of(study, fold, random)
        train = store.tracks["label"][parts == "train"]
        machine = make_pipeline(StandardScaler(), SVC()).fit(vectors.loc[train.index], train)
        for part in ("validation", "test"):
            own = vectors[parts == part]
            chosen[MAJORITY][part].append(pd.Series(train.mode()[0], own.index))  # the first of equals
            chosen[SVM][part].append(pd.Series(machine.predict(own), own.index))
    found = {}
    for name, by_part in chosen.items():
        labels = {part: pd.concat(series) for part, series in by_part.items()}
        found[name] = Baseline({part: _predictions(of_part, store) for part, of_part in labels.items()})
    return found


def parts_of(study: Study, fold: int, random: bool) -> pd.Series:
    """The part of every track in a fold of the profile's split; or in one by label alone, whoever the artists are.

    The random split has as many folds as the profile's, or, where that is official, as make a test part of its size.
    A label whose only track is tested is in no training part.
    """
    tracks, split = study.store.tracks, study.split(fold)
    if not random:
        return split.assign(tracks)
    folds = split.folds
    if split.scheme == "official":
        folds = max(3, round(1 / (split.assign(tracks) == "test").mean()))
    return Split("stratified", folds, split.fold, split.seed).parts(tracks)


def _predictions(chosen: pd.Series, store: Store) -> pd.DataFrame:
    """Predictions of tracks from the label chosen for each."""
    own = store.tracks.loc[chosen.index]
    target = np.searchsorted(store.labels, own["label"].to_numpy(str))
    keys = pd.DataFrame({"track": own.index, "segment": 0, "target": target})
    probabilities = pd.get_dummies(pd.Categorical(chosen, store.labels), PROBABILITY, "", dtype=float)
    return pd.concat([keys, probabilities], axis=1).assign(**{GROUP: groups_of(own).to_numpy()})
