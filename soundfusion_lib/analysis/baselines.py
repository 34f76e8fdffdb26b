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
from soundfusion_lib.training.inference import GROUP, KEYS, PROBABILITY

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
    (Davis and Mermelstein, 1980), the mean of its channels; of each over time: mean, standard deviation, skewness,
    excess kurtosis, median, minimum and maximum, as in FMA's features.

    Returns:
        One row a track, (tracks, 140), columns named like "mfcc 01 mean". A coefficient that never changes has skewness
        and kurtosis 0.
    """
    from scipy.fft import dct  # here: scipy takes a second to import

    mel = store.arrays["mel"]
    rows = {}
    for track in store.tracks.index:
        bands = mel.clip(track).astype(np.float32).mean(1)  # (frames, bands)
        rows[track] = _statistics(dct(bands, type=2, norm="ortho")[:, :COEFFICIENTS])
    columns = [f"mfcc {number:02d} {name}" for name in STATISTICS for number in range(1, COEFFICIENTS + 1)]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("track")


def _statistics(values: np.ndarray) -> np.ndarray:
    """The seven statistics over time of (time, coefficients), one after the other."""
    from scipy.stats import kurtosis, skew  # here: it takes a second to import

    values = values.astype(np.float64)
    moments = [np.nan_to_num(moment(values - values[0])) for moment in (skew, kurtosis)]  # NaN where nothing changes
    return np.concatenate([values.mean(0), values.std(0), *moments, np.median(values, 0), values.min(0), values.max(0)])


def baselines(study: Study, folds: tuple[int, ...] = (), random: bool = False) -> dict[str, Baseline]:
    """Both baselines by name, fitted to the training part of each fold; the folds' predictions are pooled.

    The machine has scikit-learn's defaults (radial basis function, C = 1) on standardised statistics.

    Args:
        study: where the tracks come from.
        folds: those of the profile's test_folds by default.
        random: split by label alone, see `parts_of`.
    """
    from sklearn.pipeline import make_pipeline  # here: scikit-learn takes seconds to import
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    vectors, tracks = mfcc_statistics(study.store), study.store.tracks
    labels = tracks["label"]
    choices: dict[tuple[str, str], list[pd.Series]] = {}
    for fold in folds or study.profile.test_folds:
        parts = parts_of(study, fold, random)
        train = labels[parts == "train"]
        machine = make_pipeline(StandardScaler(), SVC()).fit(vectors.loc[train.index], train)
        for part in ("validation", "test"):
            own = vectors[parts == part]
            frequent = pd.Series(train.value_counts().sort_index().idxmax(), own.index)  # the first of equals
            choices.setdefault((MAJORITY, part), []).append(frequent)
            choices.setdefault((SVM, part), []).append(pd.Series(machine.predict(own), own.index))
    predictions = {key: _predictions(pd.concat(chosen), tracks, study.store.labels) for key, chosen in choices.items()}
    parts = ("validation", "test")
    return {name: Baseline({part: predictions[name, part] for part in parts}) for name in (MAJORITY, SVM)}


def parts_of(study: Study, fold: int, random: bool) -> pd.Series:
    """The part of every track in a fold of the profile's split; or in one by label alone, whoever the artists are.

    The random split has as many folds as the profile's, and no track is in the test part of two; where the profile's
    is official, as many as make a test part of that size. A label may have fewer tracks than folds: one whose only
    track is tested is in no training part.
    """
    tracks, split = study.store.tracks, study.split(fold)
    if not random:
        return split.assign(tracks)
    folds = split.folds
    if split.scheme == "official":
        folds = max(3, round(1 / (split.assign(tracks) == "test").mean()))
    return Split("stratified", folds, split.fold, split.seed).parts(tracks)


def _predictions(chosen: pd.Series, tracks: pd.DataFrame, genres: list[str]) -> pd.DataFrame:
    right = chosen.to_numpy()[:, None] == np.array(genres)
    table = pd.DataFrame(right.astype(float), columns=[PROBABILITY + genre for genre in genres])
    target = np.searchsorted(genres, tracks["label"][chosen.index].to_numpy(str))
    keys = pd.DataFrame(dict(zip(KEYS, (chosen.index, 0, target), strict=True)))
    return pd.concat([keys, table], axis=1).assign(**{GROUP: groups_of(tracks)[chosen.index].to_numpy()})
