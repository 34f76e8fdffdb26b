"""Which tracks train, validate and test: official, artist-aware, or plain stratified; one split or k folds."""

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd

from soundfusion_lib.corpora.corpus import SPLITS
from soundfusion_lib.errors import SoundFusionError

SCHEMES = ("auto", "official", "artist", "stratified")


@dataclass(frozen=True)
class Split:
    """How to divide a corpus. All segments of a track go where the track goes, always.

    Args:
        scheme: "auto" (official where the corpus has one, else artist), "official" (the corpus's own), "artist" (stratified by genre, each artist on one side; a track
            whose artist is unknown counts as an artist of its own) or "stratified" (by genre, artists ignored:
            to show what leaks).
        folds: parts of equal size; one tests, as much validates, the others train. 10 gives 80/10/10.
        fold: which part tests, 0 to folds - 1. Over all folds every track is tested once.
        seed: of the shuffling.
    """

    scheme: str = "auto"
    folds: int = 10
    fold: int = 0
    seed: int = 0

    def __post_init__(self):
        if self.scheme not in SCHEMES:
            raise SoundFusionError(f"split scheme {self.scheme!r} is none of {', '.join(SCHEMES)}")
        if self.folds < 3 or not 0 <= self.fold < self.folds:
            raise SoundFusionError(f"fold {self.fold} of {self.folds}: folds must be at least 3, and 0 <= fold < folds")

    def assign(self, tracks: pd.DataFrame) -> pd.Series:
        """The part of every track.

        Args:
            tracks: the usable tracks of a corpus, with columns genre, artist and, for "official", split.

        Returns:
            "train", "validation" or "test", indexed as `tracks`. Every genre is in train; one with so few artists
            that it cannot be in all three parts is missing from validation or test, and a warning says so.

        Raises:
            SoundFusionError: no official split, fewer tracks of a genre than folds, or a genre that train lacks.
        """
        if self.scheme == "official" or (self.scheme == "auto" and "split" in tracks):
            if "split" not in tracks:
                raise SoundFusionError('this corpus has no official split: choose the scheme "artist" or "stratified"')
            parts = tracks["split"].astype(str).rename("split")
        else:
            parts = self._divide(tracks)
        counts = pd.crosstab(tracks["genre"], parts).reindex(columns=SPLITS, fill_value=0)
        lacking = []
        for genre, part in ((genre, part) for genre in counts.index for part in SPLITS if not counts.loc[genre, part]):
            artists = groups_of(tracks)[tracks["genre"] == genre].nunique()
            lack = f"no track of {genre!r} is in {part} ({counts.loc[genre].sum()} tracks by {artists} artists)"
            if part == "train":
                raise SoundFusionError(f"{lack}: give it more artists, leave it out, or choose another fold or scheme")
            lacking.append(lack)
        if lacking:
            warnings.warn("; ".join(lacking), stacklevel=2)
        return parts

    def _divide(self, tracks: pd.DataFrame) -> pd.Series:
        sizes = tracks["genre"].value_counts()
        if sizes.min() < self.folds:
            raise SoundFusionError(
                f"{self.folds} folds need at least {self.folds} tracks of every label, and {sizes.idxmin()!r} has "
                f"{sizes.min()}: use fewer folds"
            )
        groups = groups_of(tracks) if self.scheme != "stratified" else pd.Series(tracks.index, index=tracks.index)
        parts = pd.Series("train", index=tracks.index, name="split")
        parts.iloc[self._fold(tracks, groups, self.folds, self.fold)] = "test"
        rest = tracks[parts == "train"]
        candidates = rest.iloc[self._fold(rest, groups[rest.index], self.folds - 1, 0)]
        for genre, of_genre in candidates.groupby("genre"):
            owners = groups[of_genre.index].unique()
            trained = rest.index[(rest["genre"] == genre) & ~groups[rest.index].isin(owners)]
            if len(trained):  # else these are all the artists left of this genre, and training comes first
                parts[of_genre.index] = "validation"
        # an artist of several genres, kept in train for one of them, stays there with all tracks
        torn = groups[parts == "train"].unique()
        parts[(parts == "validation") & groups.isin(torn)] = "train"
        return parts

    def _fold(self, tracks: pd.DataFrame, groups: pd.Series, folds: int, fold: int) -> np.ndarray:
        """Positions of the tracks in this fold."""
        from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold  # here: it takes seconds to import

        kind = StratifiedKFold if self.scheme == "stratified" else StratifiedGroupKFold
        splitter = kind(folds, shuffle=True, random_state=self.seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of genres that are rare, which `assign` warns of itself
            return list(splitter.split(tracks, tracks["genre"], groups))[fold][1]


def groups_of(tracks: pd.DataFrame) -> pd.Series:
    """Artist of every track; a track without one is a group of its own."""
    alone = pd.Series([f"\0{track}" for track in tracks.index], index=tracks.index)
    return tracks["artist"].astype(object).where(tracks["artist"].notna(), alone)
