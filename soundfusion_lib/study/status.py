"""A study that is only looked at: nothing is made, decoded or downloaded."""

from pathlib import Path

from soundfusion_lib.audio.representations import Representation
from soundfusion_lib.audio.store import Store
from soundfusion_lib.datasets.corpus import Corpus
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.paths import data_dir
from soundfusion_lib.study.study import Study


class NothingYet(SoundFusionError):
    """A study has not begun: its corpus is not decoded."""

    def __init__(self, why: str, profile: str | Path):
        super().__init__(f"nothing is there yet: {why}: `soundfusion prepare {profile}`")


class Look(Study):
    """A study that raises NothingYet where it would have to decode, and downloads nothing."""

    def __init__(self, profile: str | Path):
        self._asked = profile
        super().__init__("status", profile, "cpu", progress=False)

    def fetch_published_weights(self) -> None:
        """Nothing is downloaded to look."""

    def _build_store(self, corpus: Corpus, specs: list[Representation]) -> Store:
        shortest = self.profile.segmenting.seconds
        store = Store.build(corpus, specs, data_dir() / "store", shortest=shortest, progress=False, decode=False)
        if store is None:
            raise NothingYet(f"corpus {corpus.name!r} is not decoded", self._asked)
        return store
