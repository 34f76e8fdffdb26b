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
        tracks: one row a track, indexed by track id (str) and sorted by it here. Columns: ``path`` (relative to root,
            with ``/``), ``label``, ``group`` (the artist, or whatever must stay on one side of a split; None
            where unknown) and, where the source has an official one, ``split`` ("train", "validation" or "test").
        label_name: what the labels are, for titles and axes ("genre", or "soundtrack").
        synthetic: whether the music was made by a program; shown wherever results are.
        seconds: how much of each file is used, from its beginning; None for all.

    Raises:
        SoundFusionError: no tracks, a missing column, a repeated id, a track without a label, an unknown split.
    """

    name: str
    root: Path
    tracks: pd.DataFrame
    label_name: str = "genre"
    synthetic: bool = False
    seconds: float | None = None

    def __post_init__(self):
        def refuse(what):
            raise SoundFusionError(f"corpus {self.name!r} at {self.root}: {what}")

        missing = [column for column in ("path", "label", "group") if column not in self.tracks]
        if missing:
            refuse(f"the table of tracks has no column {', '.join(missing)}")
        if self.tracks.empty:
            refuse("it holds no tracks")
        repeated = self.tracks.index[self.tracks.index.duplicated()]
        if len(repeated):
            refuse(f"track id {repeated[0]!r} occurs more than once")
        unlabelled = self.tracks.index[self.tracks["label"].isna()]
        if len(unlabelled):
            refuse(f"track {unlabelled[0]!r} has no {self.label_name} ({len(unlabelled)} such tracks)")
        if "split" in self.tracks:
            unknown = sorted(set(self.tracks["split"].astype(str)) - set(SPLITS))
            if unknown:
                refuse(f"split {unknown[0]!r} is none of {', '.join(SPLITS)}")
        # splits and batches follow the order of the table, which that of the source's rows must not change
        object.__setattr__(self, "tracks", self.tracks.sort_index())

    @property
    def labels(self) -> list[str]:
        """The labels in alphabetical order: a label's class index is its position here."""
        return sorted(self.tracks["label"].unique())

    def file(self, track: str) -> Path:
        """Absolute path of a track's file."""
        return Path(self.root) / self.tracks.loc[track, "path"]
