"""Which tracks train, validate and test: official, group-aware, or plain stratified; one split or k folds."""

import warnings
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from soundfusion_lib.checks import Seed, Whole, checked
from soundfusion_lib.datasets.corpus import SPLITS
from soundfusion_lib.errors import SoundFusionError


@checked
class Split:
    """How to divide a corpus. All segments of a track go where the track goes, always.

    Args:
        scheme: "official" (the corpus's own), "artist" (stratified by label, each group on one side; a track without a
            group is a group of its own), "auto" (official where the corpus has one, else artist), "stratified" (by
            label, groups ignored: to show what leaks) or "all" (every track trains: for a network to use).
        folds: one tests, one validates, the others train. 10 gives 80/10/10.
        fold: which one tests, 0 to folds - 1. Over all folds every track is tested once.
        seed: of the shuffling.
    """

    scheme: Literal["auto", "official", "artist", "stratified", "all"] = "auto"
    folds: Annotated[Whole, Field(ge=3)] = 10
    fold: Annotated[Whole, Field(ge=0)] = 0
    seed: Seed = 0

    def resolved(self, tracks: pd.DataFrame) -> "Split":
        """This split with what "auto" stands for on these tracks, and without what has no effect."""
        if self.scheme == "official" or (self.scheme == "auto" and "split" in tracks):
            return Split("official")
        return replace(self, scheme="artist") if self.scheme == "auto" else self

    def assign(self, tracks: pd.DataFrame) -> pd.Series:
        """The set of every track, "train", "validation" or "test", indexed as `tracks`. Every label is in train; a
        warning says which is missing from validation or test, unless all tracks train.

        Raises:
            SoundFusionError: no official split, fewer tracks of a label than folds ("artist"), a set without tracks,
                or a label that train lacks.
        """
        parts = self.parts(tracks)
        if self.scheme == "all":
            return parts
        counts = pd.crosstab(tracks["label"], parts).reindex(columns=SPLITS, fill_value=0)
        scheme, lacking = self.resolved(tracks).scheme, []
        mend = "mend the column split" if scheme == "official" else "add tracks by more artists, or use fewer folds"
        for part in SPLITS:
            if not counts[part].any():
                raise SoundFusionError(f"the {scheme} split has no {part} part ({len(tracks)} usable tracks): {mend}")
            lacking += [f"no track of {label!r} is in {part}" for label in counts.index[counts[part] == 0]]
            if lacking and part == "train":
                raise SoundFusionError(f"by the {scheme} split {lacking[0]}: {mend}, or leave the label out")
        if lacking:
            message = f"{'; '.join(lacking)}: {mend}"
            warnings.warn_explicit(message, UserWarning, "soundfusion", 0)  # no line of ours helps here
        return parts

    def parts(self, tracks: pd.DataFrame) -> pd.Series:
        """As `assign`, but whichever parts or labels lack tracks."""
        scheme = self.resolved(tracks).scheme
        if scheme == "all":
            return pd.Series("train", index=tracks.index, name="split")
        if scheme == "official":
            if "split" not in tracks:
                raise SoundFusionError('this corpus has no official split: choose the scheme "artist" or "stratified"')
            return tracks["split"].astype(str).rename("split")
        parts = self._by_group(tracks) if scheme == "artist" else self._dealt(tracks)
        # training comes first: of a label that is not in train, what validates trains
        untrained = ~tracks["label"].isin(tracks["label"][parts == "train"])
        parts[untrained & (parts == "validation")] = "train"
        if scheme == "artist":  # and with it the other tracks of its groups
            torn = groups_of(tracks).isin(groups_of(tracks)[parts == "train"])
            parts[torn & (parts == "validation")] = "train"
        return parts

    def _dealt(self, tracks: pd.DataFrame) -> pd.Series:
        """The shuffled tracks of one label after the other, dealt in turn to the folds."""
        order = np.random.default_rng(self.seed).permutation(len(tracks))
        order = order[np.argsort(tracks["label"].to_numpy(str)[order], kind="stable")]
        parts = pd.Series("train", index=tracks.index, name="split")
        parts.iloc[order[self.fold :: self.folds]] = "test"
        parts.iloc[order[(self.fold + 1) % self.folds :: self.folds]] = "validation"
        return parts

    def _by_group(self, tracks: pd.DataFrame) -> pd.Series:
        """One of the folds tests; of the other tracks, folded again, the first fold validates."""
        from sklearn.model_selection import StratifiedGroupKFold  # here: it takes seconds to import

        sizes, artists, need = tracks["label"].value_counts(), groups_of(tracks).nunique(), self.folds
        least = "use fewer folds, of which 3 is the least"
        if artists < need:
            lack = f"{need} folds need {need} artists, and there are {artists}"
            raise SoundFusionError(f"{lack}: add artists, or {least}")
        if sizes.min() < need:
            lack = f"{need} folds need {need} tracks of every label, and {sizes.idxmin()!r} has {sizes.min()}"
            raise SoundFusionError(f"{lack}: add tracks, leave this label out, or {least}")
        parts = pd.Series("train", index=tracks.index, name="split")
        for part, folds, fold in (("test", self.folds, self.fold), ("validation", self.folds - 1, 0)):
            rest = tracks[parts == "train"]
            splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=self.seed)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of rare labels, which `assign` warns of itself
                positions = list(splitter.split(rest, rest["label"], groups_of(rest)))[fold][1]
            parts[rest.index[positions]] = part
        return parts


def groups_of(tracks: pd.DataFrame) -> pd.Series:
    """Group of every track; a track without one is a group of its own."""
    alone = [f"\0{track}" for track in tracks.index]
    return tracks["group"].astype(object).where(tracks["group"].notna(), alone)
