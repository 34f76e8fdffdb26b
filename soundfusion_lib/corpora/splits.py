"""Which tracks train, validate and test: official, artist-aware, or plain stratified; one split or k folds."""

import warnings
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from soundfusion_lib import settings
from soundfusion_lib.corpora.corpus import SPLITS
from soundfusion_lib.errors import SoundFusionError


@dataclass(frozen=True)
class Split:
    """How to divide a corpus. All segments of a track go where the track goes, always.

    Args:
        scheme: "auto" (official where the corpus has one, else artist), "official" (the corpus's own), "artist"
            (stratified by genre, each artist on one side; a track whose artist is unknown counts as an artist of its
            own) or "stratified" (by genre, artists ignored: to show what leaks).
        folds: parts of equal size; one tests, as much validates, the others train. 10 gives 80/10/10.
        fold: which part tests, 0 to folds - 1. Over all folds every track is tested once.
        seed: of the shuffling.
    """

    scheme: str = "auto"
    folds: int = 10
    fold: int = 0
    seed: int = 0

    def __post_init__(self):
        settings.check(vars(self), "Split:")

    def resolved(self, tracks: pd.DataFrame) -> "Split":
        """This split with what "auto" stands for on these tracks; an official one with the default folds, fold and
        seed, which have no effect on it."""
        if self.scheme == "official" or (self.scheme == "auto" and "split" in tracks):
            return Split("official")
        return replace(self, scheme="artist") if self.scheme == "auto" else self

    def assign(self, tracks: pd.DataFrame) -> pd.Series:
        """The part of every track.

        Args:
            tracks: the usable tracks of a corpus, with columns genre, artist and, for "official", split.

        Returns:
            "train", "validation" or "test", indexed as `tracks`. Every genre is in train; one with so few artists
            that it cannot be in all three parts is missing from validation or test, and a warning says so.

        Raises:
            SoundFusionError: no official split, fewer tracks of a genre than folds ("artist"), a part without tracks,
                or a genre that train lacks.
        """
        parts = self.parts(tracks)
        counts = pd.crosstab(tracks["label"], parts).reindex(columns=SPLITS, fill_value=0)
        empty = [part for part in SPLITS if not counts[part].any()]
        if empty:
            scheme = self.resolved(tracks).scheme
            mend = (
                f'give some tracks {empty[0]!r} in the column split, or choose the scheme "artist"'
                if scheme == "official"
                else "the labels have too few artists for three parts: give them more, or choose another fold"
            )
            raise SoundFusionError(f"the {scheme} split has no {empty[0]} part ({len(tracks)} usable tracks): {mend}")
        lacking = []
        for genre, part in ((genre, part) for genre in counts.index for part in SPLITS if not counts.loc[genre, part]):
            artists = groups_of(tracks)[tracks["label"] == genre].nunique()
            lack = f"no track of {genre!r} is in {part} ({counts.loc[genre].sum()} tracks by {artists} artists)"
            if part == "train":
                raise SoundFusionError(f"{lack}: give it more artists, leave it out, or choose another fold or scheme")
            lacking.append(lack)
        if lacking:
            warnings.warn("; ".join(lacking), stacklevel=2)
        return parts

    def parts(self, tracks: pd.DataFrame) -> pd.Series:
        """As `assign`, but whichever parts or genres lack tracks."""
        scheme = self.resolved(tracks).scheme
        if scheme == "official":
            if "split" not in tracks:
                raise SoundFusionError('this corpus has no official split: choose the scheme "artist" or "stratified"')
            return tracks["split"].astype(str).rename("split")
        return self._by_artist(tracks) if scheme == "artist" else self._dealt(tracks)

    def _dealt(self, tracks: pd.DataFrame) -> pd.Series:
        """The shuffled tracks of one genre after the other, dealt in turn to the folds."""
        order = np.random.default_rng(self.seed).permutation(len(tracks))
        order = order[np.argsort(tracks["label"].to_numpy(str)[order], kind="stable")]
        fold = np.empty(len(tracks), dtype=int)
        fold[order] = np.arange(len(tracks)) % self.folds
        parts = pd.Series("train", index=tracks.index, name="split")
        parts[fold == self.fold] = "test"
        parts[fold == (self.fold + 1) % self.folds] = "validation"
        for genre in tracks["label"].unique():
            own = tracks["label"] == genre
            if not (parts[own] == "train").any():  # training comes first
                parts[own & (parts == "validation")] = "train"
        return parts

    def _by_artist(self, tracks: pd.DataFrame) -> pd.Series:
        sizes = tracks["label"].value_counts()
        if sizes.min() < self.folds:
            mend = f"use {sizes.min()} folds or fewer"
            if sizes.min() < 3:  # no split has fewer folds
                mend = "each label needs at least 3: add some, or leave it out"
            raise SoundFusionError(
                f"{self.folds} folds need at least {self.folds} tracks of every label, and {sizes.idxmin()!r} has "
                f"{sizes.min()}: {mend}"
            )
        groups = groups_of(tracks)
        parts = pd.Series("train", index=tracks.index, name="split")
        parts.iloc[self._fold(tracks, groups, self.folds, self.fold)] = "test"
        rest = tracks[parts == "train"]
        candidates = rest.iloc[self._fold(rest, groups[rest.index], self.folds - 1, 0)]
        for genre, of_genre in candidates.groupby("label"):
            owners = groups[of_genre.index].unique()
            trained = rest.index[(rest["label"] == genre) & ~groups[rest.index].isin(owners)]
            if len(trained):  # else these are all the artists left of this genre, and training comes first
                parts[of_genre.index] = "validation"
        # an artist of several genres, kept in train for one of them, stays there with all tracks
        torn = groups[parts == "train"].unique()
        parts[(parts == "validation") & groups.isin(torn)] = "train"
        return parts

    def _fold(self, tracks: pd.DataFrame, groups: pd.Series, folds: int, fold: int) -> np.ndarray:
        """Positions of the tracks in this fold."""
        from sklearn.model_selection import StratifiedGroupKFold  # here: it takes seconds to import

        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=self.seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of genres that are rare, which `assign` warns of itself
            return list(splitter.split(tracks, tracks["label"], groups))[fold][1]


def groups_of(tracks: pd.DataFrame) -> pd.Series:
    """Artist of every track; a track without one is a group of its own."""
    alone = pd.Series([f"\0{track}" for track in tracks.index], index=tracks.index)
    return tracks["group"].astype(object).where(tracks["group"].notna(), alone)
