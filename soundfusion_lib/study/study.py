"""A study: a profile's corpus, its store, and the experiments of the report run on them."""

import os
import platform
import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import matplotlib.pyplot as plt
import pandas as pd
import torch
from IPython.display import Image, Markdown
from matplotlib.figure import Figure

from soundfusion_lib.audio.representations import Representation
from soundfusion_lib.audio.segments import Segmenting
from soundfusion_lib.audio.store import Store
from soundfusion_lib.datasets.corpus import Corpus
from soundfusion_lib.datasets.kinds import is_to_be_made, open_corpus
from soundfusion_lib.datasets.splits import Split, groups_of
from soundfusion_lib.device import choose_device, describe
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models import MODELS
from soundfusion_lib.models.vgg16 import published_weights
from soundfusion_lib.paths import data_dir, results_dir, runs_dir, whole
from soundfusion_lib.pool import cores, prepare_pool
from soundfusion_lib.study import graph
from soundfusion_lib.study.profile import BUILT_IN, Profile, load_profile
from soundfusion_lib.study.summary import edit_summary, entry_of
from soundfusion_lib.training import train
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.loop import Training
from soundfusion_lib.training.parallel import Wanted, train_many
from soundfusion_lib.training.provenance import provenance
from soundfusion_lib.training.result import RunGroup
from soundfusion_lib.training.run import Run

Name = TypeVar("Name")
REPORTED = asdict(Training())
REPORTED_OF = {"simple_cnn": {"learning_rate": 1e-3, "weight_decay": 1e-3, "batch_size": 256}}  # where it differs
WHOLE_CLIP_MODELS = {"simple_cnn"}
DPI = 120
SCHEDULER = "SOUNDFUSION_SCHEDULER"  # a variable of the environment, by which it comes into the notebooks' kernels


class Study:
    """A profile at work in one notebook.

    Args:
        notebook: its name, which its results are filed under.
        profile: see `load_profile`.
        device: see `choose_device`.
        progress: show progress bars.
        scheduler: address of a Dask scheduler, tcp://host:port, whose workers train, each on a device of its own by
            this name; by default SOUNDFUSION_SCHEDULER, and without that all is trained here.
    """

    def __init__(
        self,
        notebook: str,
        profile: str | Path = "demo",
        device: str = "auto",
        progress: bool = True,
        scheduler: str = "",
    ):
        self.notebook = notebook
        self.scheduler = scheduler or os.environ.get(SCHEDULER, "")
        self.device_name = device
        self.profile: Profile = load_profile(profile)
        self.device: torch.device = choose_device(device)
        self.progress = progress
        self.kept = False  # whether to show what is kept among the results
        if self.device.type == "cpu" and not self.scheduler:
            prepare_pool()
        self._began = time.perf_counter()
        self._runs: dict[str, Run] = {}
        self._results: dict[str, str] = {}  # caption of each file, in the order of the notebook

    @cached_property
    def corpus(self) -> Corpus:
        """The profile's corpus; raises SoundFusionError if it has a split of its own and the profile asks for folds."""
        corpus, folds = self._open_corpus(self.profile.corpus), list(self.profile.test_folds)
        if self.profile.split.resolved(corpus.tracks).scheme == "official" and folds != [0]:
            raise SoundFusionError(
                f"profile {self.profile.name}: test_folds = {folds}, and corpus {corpus.name!r} has one split of its "
                'own: leave test_folds out, or set scheme = "artist" in [split]'
            )
        return corpus

    @cached_property
    def decoded(self) -> Store:
        """All clips in both representations, decoded first where they are not there yet; see `store`."""
        return self._build_store(self.corpus, self.profile.representations)

    @cached_property
    def store(self) -> Store:
        """The same, for experiments; raises SoundFusionError if a label has no usable clip, or there is only one, and
        warns of copies that leak."""
        self.decoded.check_labels()
        if copies := self.decoded.copies:
            where = f"corpus {self.corpus.name!r} at {self.corpus.root}"
            more = f" (and {len(copies) - 1} more: `soundfusion prepare` lists them)" if copies[1:] else ""
            message = f"{where} leaks what it tests by: {copies[0]}{more}. Keep one of each"
            warnings.warn_explicit(message, UserWarning, "soundfusion", 0)
        return self.decoded

    @cached_property
    def tracks(self) -> pd.DataFrame:
        """The usable tracks, with `split`: the part that each is in (in the first fold)."""
        return self.store.tracks.assign(split=self.split(self.profile.test_folds[0]).assign(self.store.tracks))

    def split(self, fold: int) -> Split:
        """The profile's split with this fold for testing; the corpus's own where it has one."""
        return replace(self.profile.split, fold=fold).resolved(self.corpus.tracks)

    def experiment(
        self, name: str, model: str, *, augment: bool | dict = False, start: dict | None = None, **options: Any
    ) -> Experiment:
        """An experiment with the report's settings, the profile's over them, and `options` over both.

        A fusion trains for as many epochs as the part that trains longest, unless the profile sets its epochs.

        Args:
            name: title in tables and figures.
            model: a name in `MODELS`.
            augment: True augments the model's inputs as the report does; or options of it by input, {"mel": {...}}.
            start: see `Experiment`; parts are runs of the same seed and fold.
            options: of the model, or fields of `Training`.
        """
        profile = self.profile
        parts = [self._settings(part) for part, _ in options.get("parts", ())]
        longest = {key: max(part[key] for part in parts) for key in ("epochs", "patience") if parts}
        settings = {**self._settings(model), **longest, **profile.models.get(model, {}), **options}
        training = Training(**{key: settings.pop(key) for key in REPORTED})
        inputs = MODELS[model].inputs
        return Experiment(
            name,
            model,
            representations=tuple(spec for spec in profile.representations if spec.kind in inputs),
            options=settings,
            segmenting=Segmenting(profile.clip_seconds, None) if model in WHOLE_CLIP_MODELS else profile.segmenting,
            augment={kind: profile.augment.get(kind, {}) for kind in inputs} if augment is True else augment or {},
            training=training,
            start=start or {},
        )

    def _settings(self, model: str) -> dict[str, Any]:
        """What the report and the profile say of a model's training and options."""
        return REPORTED | REPORTED_OF.get(model, {}) | self.profile.training | self.profile.models.get(model, {})

    def train_missing(self, runs: Mapping[str, Wanted]) -> None:
        """Train the runs that are not trained yet, see `graph.wanted`, side by side or on the scheduler's workers."""
        for run in train_many(runs, runs_dir(), self.device_name, self.progress, self.scheduler):
            self._runs.setdefault(run.folder.name, run)

    def train(self, experiment: Experiment) -> RunGroup:
        """Train an experiment with its seeds and in its folds, or find what is trained; first what it starts from."""
        if self.scheduler:
            self.train_missing(graph.wanted(self, [experiment]))
        for part in graph.parts(self, experiment):
            self.train(part)
        runs = [self._one(one, self.store) for one in self._ready(experiment)]
        return RunGroup(runs, groups_of(self.store.tracks))

    def train_all(self, experiments_by_name: Mapping[Name, Experiment]) -> dict[Name, RunGroup]:
        """As `train`, for several experiments. On a CPU each core trains another run: for networks of this size that is
        faster than all cores on one. Where there is a scheduler, all of them go to its workers at once."""
        self.train_missing(graph.wanted(self, experiments_by_name.values()))
        return {name: self.train(experiment) for name, experiment in experiments_by_name.items()}

    def key(self, experiment: Experiment) -> str:
        """The key of a run on the study's tracks."""
        return experiment.key(self.store.content_id)

    def variants(self, experiment: Experiment) -> list[Experiment]:
        """The runs of an experiment: with each seed and fold, and what it starts from as keys of runs."""
        return graph.variants(self, experiment)

    def _ready(self, experiment: Experiment) -> list[Experiment]:
        """The runs of an experiment, once what they start from on another corpus is trained."""
        if "pretrained" in experiment.start:
            self.pretrained(experiment.start["pretrained"])
        return self.variants(experiment)

    @cached_property
    def pretraining(self) -> Store:
        """The clips of the profile's corpus for pretraining, as spectrograms; raises as `check_pretraining`."""
        self.check_pretraining()
        return self._build_store(self._open_corpus(self.profile.pretraining), [self.profile.mel])

    def check_pretraining(self) -> None:
        """Raise SoundFusionError if the profile names no corpus for pretraining, or one that cannot be had."""
        if not self.profile.pretraining:
            raise SoundFusionError('the profile names no corpus for pretraining: add [pretraining] kind = "gtzan"')
        if not is_to_be_made(self.profile.pretraining):
            open_corpus(self.profile.pretraining)

    def fetch_published_weights(self) -> None:
        """See that ImageNet's weights are there: out of torchvision's cache, or downloaded now."""
        published_weights()

    def pretrained(self, experiment: Experiment) -> Run:
        """Train an experiment on the corpus for pretraining, by its own split and with the first seed, or find it."""
        wanted = graph.pretraining(self, experiment)
        if self.scheduler:
            self.train_missing(wanted)
        return self._one(*wanted.popitem()[1])

    def _one(self, experiment: Experiment, store: Store) -> Run:
        run = train.train_or_find(experiment, store, runs_dir(), self.device, progress=self.progress)
        return self._runs.setdefault(run.folder.name, run)

    def _open_corpus(self, spec: dict[str, Any]) -> Corpus:
        return open_corpus(spec)

    def _build_store(self, corpus: Corpus, specs: list[Representation]) -> Store:
        shortest = self.profile.segmenting.seconds
        return Store.build(corpus, specs, data_dir() / "store", shortest=shortest, progress=self.progress)

    @property
    def folder(self) -> Path:
        """Where results go: results/<profile>."""
        return results_dir() / self.profile.name

    def save_table(self, table: pd.DataFrame, name: str, caption: str, of_corpus: bool = True) -> pd.DataFrame:
        """Write a table to tables/<name>.csv of the results, with its index where that has a name; returns it.

        The caption of a table `of_corpus` names the label where that is no genre.
        """
        note = self.corpus.label_note if of_corpus else ""
        with whole(self._file("tables", f"{name}.csv", caption + note)) as path:
            table.to_csv(path, index=table.index.name is not None, float_format="%.6g", lineterminator="\n")
        return table

    def save_figure(self, figure: Figure, name: str, caption: str) -> Image:
        """Write a figure to figures/<name>.png of the results; returns that picture, for the notebook to show."""
        path = self._file("figures", f"{name}.png", caption)
        with whole(path) as aside:
            figure.savefig(aside, dpi=DPI, bbox_inches="tight", metadata={"Software": None})
        plt.close(figure)  # shown once, as the cell's value
        return Image(path, width=round(figure.get_figwidth() * 96), alt=caption)  # a screen's points to an inch

    def findings(self) -> Markdown:
        """What was found on the profile's corpus: this notebook's section of study/built_in/findings/<profile>.md."""
        file = BUILT_IN / "findings" / f"{self.profile.name}.md"
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
        for section in f"\n{text}".split("\n## "):
            title, _, prose = section.partition("\n")
            if title.strip() == self.notebook:
                return Markdown(prose.strip())
        return Markdown(f"*No findings are written down for {self.notebook} on the profile {self.profile.name}.*")

    def _file(self, kind: str, name: str, caption: str) -> Path:
        self._results[f"{kind}/{name}"] = caption
        return self.folder / kind / name

    def finish(self) -> pd.DataFrame:
        """File what this notebook ran in summary.json; returns the number of runs trained and found."""
        trained = sum(run.trained for run in self._runs.values())
        entry = {
            "runs_trained": trained,
            "runs_found": len(self._runs) - trained,
            "cpu_count": cores(),
            "platform": platform.platform(),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.perf_counter() - self._began, 1),
            "device": describe(self.device),
            "results": self._results,
            **provenance(),
            "runs": {key: entry_of(run) for key, run in self._runs.items()},
        }
        about = {
            "profile": self.profile.name,
            "corpus": self.corpus.name,
            "label": self.corpus.label_name,
            "synthetic": self.corpus.synthetic,
            "tracks": len(self.store.tracks),
            "left_out": len(self.store.left_out),
        }
        with edit_summary(self.folder / "summary.json") as summary:
            notebooks = summary.get("notebooks", {}) | {self.notebook: entry}
            summary.update(about, notebooks=dict(sorted(notebooks.items())))
        counts = {"runs": len(self._runs), "trained now": trained, "found": len(self._runs) - trained}
        return pd.DataFrame([counts], index=pd.Index([self.notebook], name="notebook"))
