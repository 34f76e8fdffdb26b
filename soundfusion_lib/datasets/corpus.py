"""A corpus: a table of tracks, and where their files are."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from soundfusion_lib.errors import SoundFusionError

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Corpus:
    """Labelled tracks on disk.

    Args:
        name: short name, part of the names of files made from this corpus.
        root: folder that the paths of the tracks are relative to.
        tracks: one row per track, indexed by track id (str) and sorted by it here. Columns: ``path`` (relative to root,
            with ``/``), ``label``, ``group`` (the artist, or whatever must stay in one set of a split; None where
            unknown) and, where the source has an official one, ``split`` ("train", "validation" or "test").
        label_name: what the labels are, for titles and axes ("genre", or "soundtrack").
        synthetic: whether a program made the music; shown wherever results are.
        seconds: how much of each file is used, from its beginning; None for all.
        untried: the files in its folder that are no tracks, in words; empty where there are none.

    Raises SoundFusionError for no tracks, a repeated id, a track without a label or of an unknown split.
    """

    name: str
    root: Path
    tracks: pd.DataFrame
    label_name: str = "genre"
    synthetic: bool = False
    seconds: float | None = None
    untried: str = ""

    def __post_init__(self):
        # splits and batches follow the order of this table, which must not depend on the order of the source's rows
        tracks = self.tracks.rename_axis("track").sort_index()
        object.__setattr__(self, "tracks", tracks)
        where = f"corpus {self.name!r} at {self.root}:"
        if tracks.empty:
            raise SoundFusionError(f"{where} it holds no tracks")
        repeated, unlabelled = tracks.index.duplicated(), tracks["label"].isna()
        faults = {"occurs more than once": repeated, f"has no {self.label_name}": unlabelled}
        if "split" in tracks:
            faults[f"has a split that is none of {', '.join(SPLITS)}"] = ~tracks["split"].isin(SPLITS)
        for fault, has in faults.items():
            if has.any():
                raise SoundFusionError(f"{where} track {tracks.index[has][0]!r} {fault}: mend its row, or take it out")

    @property
    def labels(self) -> list[str]:
        """The labels in alphabetical order: a label's class index is its position here."""
        return sorted(self.tracks["label"].unique())

    @property
    def label_note(self) -> str:
        """What to add to a title or caption where the label is not a genre."""
        return "" if self.label_name == "genre" else f", label: {self.label_name}"

    @property
    def artists_note(self) -> str:
        """What to add to a caption where a split by artist lacks the artists of a tenth of the tracks or more."""
        unknown = 0 if "split" in self.tracks else int(self.tracks["group"].isna().sum())
        if unknown < len(self.tracks) / 10:
            return ""
        whose = "artists" if unknown == len(self.tracks) else f"artists of {unknown} of {len(self.tracks)} tracks"
        return f", {whose} unknown: tracks of one artist may be on both sides"

    def file(self, track: str) -> Path:
        """Absolute path of a track's file."""
        return Path(self.root) / self.tracks.loc[track, "path"]
