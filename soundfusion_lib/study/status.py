"""What is trained, and what is left to train: looked up only, nothing is made, decoded or downloaded."""

from functools import cached_property
from pathlib import Path

import pandas as pd

from soundfusion_lib.corpora.corpus import Corpus
from soundfusion_lib.corpora.kinds import is_to_be_made
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.paths import data_dir, runs_dir
from soundfusion_lib.signals.representations import Representation
from soundfusion_lib.signals.store import Store
from soundfusion_lib.study import protocol
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.runs import list_runs


class NothingYet(SoundFusionError):
    """A study has not begun: its corpus is not made, or not decoded."""


class Look(Study):
    """A study that raises NothingYet where it would have to synthesise or decode, and downloads nothing."""

    def __init__(self, profile: str | Path):
        super().__init__("status", profile, "cpu", progress=False)

    @cached_property
    def corpus(self) -> Corpus:
        self._refuse_to_make(self.profile.corpus)
        return super().corpus

    @cached_property
    def pretraining(self) -> Store:
        self._refuse_to_make(self.profile.pretraining)
        return super().pretraining

    def _refuse_to_make(self, spec: dict) -> None:
        if spec and is_to_be_made(spec):
            raise NothingYet(f"nothing is there yet: the corpus {spec['kind']} is not made: `soundfusion prepare`")

    def fetch_published_weights(self) -> None:
        """Nothing is downloaded to look."""

    def _build_store(self, corpus: Corpus, specs: list[Representation]) -> Store:
        store = Store.open(corpus, specs, data_dir() / "store", shortest=self.profile.segmenting.seconds)
        if store is None:
            raise NothingYet(f"nothing is there yet: corpus {corpus.name!r} is not decoded: `soundfusion prepare`")
        return store


def trained(study: Look) -> pd.DataFrame:
    """The runs on the study's tracks, see `list_runs`.

    Raises:
        SoundFusionError: the corpus is not there, or (NothingYet) not made or not decoded.
    """
    return list_runs(runs_dir(), study.decoded.content_id)


def left(study: Look, runs: pd.DataFrame) -> pd.DataFrame:
    """What each notebook has yet to train.

    Args:
        study: where they belong.
        runs: from `trained`.

    Returns:
        A row a notebook: notebook, runs (that it shows), left (not trained yet, nor shown by a notebook above) and time
        (of training these one after the other, all their epochs, each as long as the median of the runs of that model
        that are done; "unknown" where there are none).
    """
    done = runs[runs["state"] == "done"]
    seconds = done.groupby("model")["epoch_seconds"].median()
    known, rows = set(done["run"]), []
    for notebook, experiments in protocol.needed_by(study).items():
        wanted = {}
        for experiment in experiments:
            try:
                wanted |= {study.key(one): one for one in study.variants(experiment)}
            except NothingYet:  # it starts from a corpus that is not there yet
                wanted[experiment.name] = experiment
        new = [one for key, one in wanted.items() if key not in known]
        known |= wanted.keys()
        time = sum(one.training.epochs * seconds.get(one.model, float("nan")) for one in new)
        rows.append({"notebook": notebook, "runs": len(wanted), "left": len(new), "time": _shown(time)})
    return pd.DataFrame(rows)


def _shown(seconds: float) -> str:
    if pd.isna(seconds):
        return "unknown"
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.0f} min"
