"""What a study costs can be told before its music is there: clips of noise, as many and as long, take as long."""

from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from soundfusion_lib.audio.representations import Representation
from soundfusion_lib.audio.store import Store, StoredArray
from soundfusion_lib.datasets.corpus import Corpus
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.study.status import Look, NothingYet

SHAPES = {"small": (8_000, 8), "medium": (25_000, 16)}  # tracks and genres of FMA's subsets
SECONDS = 30.0
NOISE = "noise"  # name of the corpus
PARTS = ["train"] * 8 + ["validation", "test"]


class StandIn(Look):
    """A study of FMA's tracks, all of which are one clip of noise: to be timed, not to be learned from."""

    def __init__(self, profile: str | Path):
        super().__init__(profile)
        self._folder = TemporaryDirectory()

    @cached_property
    def corpus(self) -> Corpus:
        tracks, genres = SHAPES[self.profile.corpus.get("subset", "small")]
        numbers = np.arange(tracks)
        table = {"path": "", "label": (numbers % genres).astype(str), "group": numbers.astype(str)}
        index = pd.Index([f"{number:06d}" for number in numbers])
        split = [PARTS[number // genres % 10] for number in numbers]
        return Corpus(NOISE, Path(self._folder.name), pd.DataFrame({**table, "split": split}, index), synthetic=True)

    @cached_property
    def decoded(self) -> Store:
        return Store(self.corpus, {spec.kind: self._array(spec) for spec in self.profile.representations})

    def _array(self, spec: Representation) -> StoredArray:
        folder, frames = Path(self._folder.name) / spec.kind, spec.frames(SECONDS)
        folder.mkdir()
        noise = np.random.default_rng(0).normal(0, 10, (frames, spec.channels, spec.bands))
        noise.astype(spec.dtype).tofile(folder / "data.bin")
        clip = {"start": 0, "frames": frames, "seconds": SECONDS, "silence": 0.0, "reason": None}
        names = self.corpus.tracks.index
        return StoredArray(spec, folder, pd.DataFrame(clip, names).assign(digest=names))  # none is another's copy

    def check_pretraining(self) -> None:
        """That corpus is not there either, and nothing is asked of it."""

    @property
    def pretraining(self) -> Store:
        raise NothingYet("the corpus for pretraining is not asked for", self._asked)


def look(profile: str | Path) -> Look:
    """A study to be looked at; where it is of FMA, and that is not there, with noise in its place."""
    study = Look(profile)
    if study.profile.corpus["kind"] == "fma":
        try:
            _ = study.corpus
        except SoundFusionError:
            return StandIn(profile)
    return study
