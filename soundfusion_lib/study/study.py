"""A study: a profile's corpus, its decoded clips, and experiments trained on them."""

import os
import time
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import torch
from IPython.display import Image
from matplotlib.figure import Figure

from soundfusion_lib.audio.representations import Representation
from soundfusion_lib.audio.segments import Segmenting
from soundfusion_lib.audio.store import Store
from soundfusion_lib.datasets import open_corpus
from soundfusion_lib.datasets.corpus import Corpus
from soundfusion_lib.datasets.splits import Split, groups_of
from soundfusion_lib.device import choose_device, describe
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models import MODELS
from soundfusion_lib.paths import data_dir, results_dir, runs_dir
from soundfusion_lib.pool import prepare_pool
from soundfusion_lib.study.profile import REPORTED, Profile, load_profile
from soundfusion_lib.study.results import Results, edit_summary, entry_of
from soundfusion_lib.training.experiment import RANDOM, Experiment, FromParts, FromRun, Start
from soundfusion_lib.training.loop import Training
from soundfusion_lib.training.parallel import Wanted, train_many
from soundfusion_lib.training.result import Result, of_runs
from soundfusion_lib.training.run import Run, kept_run
from soundfusion_lib.training.train import train_or_find

Name = TypeVar("Name")
WHOLE_CLIP_MODELS = {"simple_cnn"}
MANY = 1000  # tracks of a corpus
UNEQUAL = 1.5  # labels are, where one has more than so many times the tracks of another
SCHEDULER, KEPT = "SOUNDFUSION_SCHEDULER", "SOUNDFUSION_KEPT"  # environment variables that notebooks' kernels inherit


class NothingYet(SoundFusionError):
    """A study that may make nothing lacks something; the message says what."""


class Study(Results):
    """A profile at work in one notebook.

    Args:
        notebook: its name; results are filed under it.
        profile, device: see `load_profile` and `choose_device`.
        progress: show progress bars.
        kept: look for runs among those committed in results/<profile>/runs, too; by default SOUNDFUSION_KEPT=1.
        dry: decode, download and train nothing; raise NothingYet where that would be needed.
        scheduler: address of a Dask scheduler, tcp://host:port, whose workers train; by default SOUNDFUSION_SCHEDULER.
    """

    def __init__(
        self,
        notebook: str,
        profile: str | Path = "demo",
        device: str = "auto",
        progress: bool = True,
        kept: bool | None = None,
        dry: bool = False,
        scheduler: str = "",
    ):
        self.profile: Profile = load_profile(profile)
        super().__init__(notebook, self.profile.name)
        self.device_name = device  # of each worker, where there is a scheduler
        self.device: torch.device = choose_device(device)
        self.progress = progress
        self.dry = dry
        self.scheduler = scheduler or os.environ.get(SCHEDULER, "")
        kept = os.environ.get(KEPT) == "1" if kept is None else kept
        self.kept: Path | None = results_dir() / self.profile.name / "runs" if kept else None
        if self.device.type == "cpu" and not (self.scheduler or dry):
            prepare_pool()
        self._began = time.perf_counter()
        self._runs: dict[str, Run] = {}
        self.classifiers: set[str] = set()  # keys of those fitted or found, see `baselines.cross_validated`

    # The corpus and its clips

    @cached_property
    def corpus(self) -> Corpus:
        return open_corpus(self.profile.corpus)

    @cached_property
    def decoded(self) -> Store:
        """All clips in both representations; they are decoded first where they are not there yet."""
        return self.build_store(self.corpus, self.profile.representations)

    @cached_property
    def store(self) -> Store:
        """The same, for experiments. Raises SoundFusionError if a label has no usable clip or there is only one label;
        warns of copies that leak from one set into another."""
        self.decoded.check_labels()
        if copies := self.decoded.copies:
            where = f"corpus {self.corpus.name!r} at {self.corpus.root}"
            more = f" (and {len(copies) - 1} more: `soundfusion prepare` lists them)" if copies[1:] else ""
            message = f"{where} leaks from one set into another: {copies[0]}{more}. Keep one of each"
            warnings.warn_explicit(message, UserWarning, "soundfusion", 0)
        return self.decoded

    @cached_property
    def tracks(self) -> pd.DataFrame:
        """The usable tracks, with `split`: the set that each is in (in the first fold)."""
        return self.store.tracks.assign(split=self.split(self.test_folds[0]).assign(self.store.tracks))

    @property
    def test_folds(self) -> tuple[int, ...]:
        """The folds to test: the one of an official split; else the profile's; if it names none, all of them for a
        corpus of fewer than `MANY` tracks, for a larger one the first."""
        split, tracks = self.profile.split, self.corpus.tracks
        if split.resolved(tracks).scheme == "official":
            return (0,)
        return self.profile.test_folds or tuple(range(split.folds if len(tracks) < MANY else 1))

    def split(self, fold: int, repeat: int = 0) -> Split:
        """The profile's split with this fold for testing, shuffled anew for another `repeat`; the corpus's official
        split where it has one."""
        seed = self.profile.split.seed + repeat
        return replace(self.profile.split, fold=fold, seed=seed).resolved(self.corpus.tracks)

    @cached_property
    def pretraining(self) -> Store:
        """The clips that networks are trained on first, as spectrograms; raises as `check_pretraining`."""
        return self.build_store(self.check_pretraining(), [self.profile.mel])

    def check_pretraining(self) -> Corpus:
        """The corpus for pre-training; raises SoundFusionError if the profile names none, or one that is not there."""
        if not self.profile.pretraining:
            raise SoundFusionError('the profile names no corpus for pre-training: add [pretraining] kind = "gtzan"')
        return open_corpus(self.profile.pretraining)

    def build_store(self, corpus: Corpus, specs: list[Representation]) -> Store:
        """The clips of a corpus in these representations; they are decoded first where they are not there yet."""
        options = {"shortest": self.profile.segmenting.seconds, "progress": self.progress, "decode": not self.dry}
        store = Store.build(corpus, specs, data_dir() / "store", **options)
        if store is None:
            raise NothingYet(f"corpus {corpus.name!r} is not decoded: `soundfusion prepare {self.profile.name}`")
        return store

    # Experiments and their runs

    def experiment(
        self,
        name: str,
        model: str,
        *,
        augment: bool | dict = False,
        start: Start = RANDOM,
        role: str = "network",
        **options: Any,
    ) -> Experiment:
        """An `Experiment` with the settings of `Profile.settings`, and `options` (of model or `Training`) over them. It
        is augmented as in the report (True), or by options of each input, {"mel": {...}}.

        A fusion trains for as many epochs as the part that trains longest, unless the profile sets its epochs.
        """
        profile = self.profile
        parts = [profile.settings(part) for part, _ in options.get("parts", ())]
        longest = {key: max(part[key] for part in parts) for key in ("epochs", "patience") if parts}
        settings = {**profile.settings(model), **longest, **profile.models.get(model, {}), **options}
        training = Training(**{key: settings.pop(key) for key in REPORTED})
        inputs = MODELS[model].inputs if model in MODELS else ()  # `Experiment` says which there are
        return Experiment(
            name,
            model,
            representations=tuple(spec for spec in profile.representations if spec.kind in inputs),
            options=settings,
            segmenting=Segmenting(profile.clip_seconds, None) if model in WHOLE_CLIP_MODELS else profile.segmenting,
            augment={kind: profile.augment.get(kind, {}) for kind in inputs} if augment is True else augment or {},
            training=training,
            start=start,
            role=role,
        )

    def vary(self, name: str, **changes: Any) -> Experiment:
        """The profile's experiment of this name with some settings changed, and all else as it is, its seeds too: see
        `catalogue.experiment_named` and `Experiment.vary`."""
        from soundfusion_lib.study.catalogue import experiment_named  # here: it imports this module

        experiment = experiment_named(self, name)
        return replace(experiment.vary(**changes), seeds=self.seeds(experiment))

    def on_all_clips(self, experiment: Experiment) -> Experiment:
        """The experiment trained once, with the first seed, on all clips: none is left to test it."""
        return replace(experiment, split=Split("all"), seeds=self.profile.seeds[:1], folds=(0,))

    def seeds(self, experiment: Experiment) -> tuple[int, ...]:
        """With which an experiment is trained: its own seeds, the profile's for its name, or the profile's."""
        return experiment.seeds or tuple(self.profile.seeds_of.get(experiment.name, self.profile.seeds))

    def variants(self, experiment: Experiment) -> list[Experiment]:
        """The experiment for each seed and fold, with its start resolved to keys of runs."""
        variants = []
        for seed, fold in product(self.seeds(experiment), experiment.folds or self.test_folds):
            split = experiment.split if experiment.split.scheme == "all" else self.split(fold)
            variants.append(self._variant(experiment, seed, split))
        return variants

    @property
    def _unequal(self) -> bool:
        tracks = self.corpus.tracks["label"].value_counts()
        return tracks.max() > UNEQUAL * tracks.min()

    def _variant(self, experiment: Experiment, seed: int, split: Split) -> Experiment:
        start, training = experiment.start, experiment.training
        match start:
            case FromParts(parts):
                start = FromParts(tuple(self.key(self._variant(part, seed, split)) for part in parts))
            case FromRun(Experiment() as first):
                start = replace(start, run=self.key_pretrained(first))
        if training.keep == "best" and self._unequal:
            training = replace(training, keep="lowest_loss")
        return replace(experiment, seed=seed, split=split, start=start, training=training, folds=(), seeds=())

    def key(self, experiment: Experiment) -> str:
        """The key of a run on the study's tracks."""
        return experiment.key(self.store.content_id)

    def _pretrained(self, experiment: Experiment) -> Experiment:
        """The experiment on the corpus for pre-training: by that one's split, with the profile's first seed."""
        return replace(experiment, split=Split().resolved(self.pretraining.tracks), seed=self.profile.seeds[0])

    def key_pretrained(self, experiment: Experiment) -> str:
        """The key of the run of `pretrained`."""
        return self._pretrained(experiment).key(self.pretraining.content_id)

    def wanted(self, experiments: Iterable[Experiment]) -> dict[str, Wanted]:
        """By key, the runs of experiments, each behind those it starts from."""
        runs: dict[str, Wanted] = {}
        for experiment in experiments:
            same = {"seeds": self.seeds(experiment), "folds": experiment.folds, "split": experiment.split}
            if isinstance(experiment.start, FromParts):
                runs |= self.wanted(replace(part, **same) for part in experiment.start.runs)
            if isinstance(experiment.start, FromRun):
                first = experiment.start.run
                runs[self.key_pretrained(first)] = Wanted(self._pretrained(first), self.pretraining)
            runs |= {self.key(run): Wanted(run, self.store) for run in self.variants(experiment)}
        return runs

    def train(self, experiments: Experiment | Mapping[Name, Experiment]) -> Any:
        """Train with every seed and in every fold, or find what is trained; first what an experiment starts from. Runs
        train side by side: one on each core, or on the scheduler's workers. Returns a `Result`, or several by name.
        Raises SoundFusionError, before anything is trained, if a fold cannot be split: see `Split.assign`."""
        if isinstance(experiments, Experiment):
            return self.train({experiments.name: experiments})[experiments.name]
        wanted = self.wanted(experiments.values())
        missing = {key: run for key, run in wanted.items() if not self.is_trained(key)}
        if self.dry and missing:
            raise NothingYet(f"{len(missing)} runs are not trained: `soundfusion reproduce {self.profile.name}`")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of rare labels: `tracks` warns of them
            for run, store in {(run.experiment.split, id(run.store)): run for run in missing.values()}.values():
                run.split.assign(store.tracks)
        options = self.device_name, self.progress, self.scheduler, self.kept
        for run in train_many(missing, runs_dir(), *options):
            self._runs.setdefault(run.key, run)
        runs = {key: self._run(*run) for key, run in wanted.items()}
        return {name: self._result(experiment, runs) for name, experiment in experiments.items()}

    def is_trained(self, key: str) -> bool:
        """Whether the run of this key is there, or kept and looked for."""
        return (runs_dir() / key).is_dir() or kept_run(key, self.kept) is not None

    def pretrained(self, experiment: Experiment) -> Run:
        """Train an experiment on the corpus for pre-training, with the first seed, or find it."""
        return self._run(self._pretrained(experiment), self.pretraining)

    def _result(self, experiment: Experiment, runs: Mapping[str, Run]) -> Result:
        variants = self.variants(experiment)
        parts = [runs[key] for run in variants if isinstance(run.start, FromParts) for key in run.start.runs]
        return of_runs([runs[self.key(run)] for run in variants], groups_of(self.store.tracks), parts=parts)

    def _run(self, experiment: Experiment, store: Store) -> Run:
        run = train_or_find(experiment, store, runs_dir(), self.device, self.progress, self.kept)
        return self._runs.setdefault(run.key, run)

    def save_table(self, table: pd.DataFrame, name: str, caption: str, of_corpus: bool = True) -> pd.DataFrame:
        """As `Results.save_table`; the caption of a table `of_corpus` names the label where that is not the genre,
        and says where artists are unknown."""
        note = self.corpus.label_note + self.corpus.artists_note
        return super().save_table(table, name, caption + (note if of_corpus else ""))

    def save_figure(self, figure: Figure, name: str, caption: str, of_corpus: bool = True) -> Image:
        """As `Results.save_figure`; the caption of one `of_corpus`, not of a clip, says where artists are unknown, as
        titles name the label already."""
        return super().save_figure(figure, name, caption + (self.corpus.artists_note if of_corpus else ""))

    def finish(self) -> pd.DataFrame:
        """File what this notebook ran in summary.json; returns the number of runs trained and found."""
        seconds, corpus = time.perf_counter() - self._began, self.corpus
        entry = entry_of(self._runs, self.classifiers, self.captions, describe(self.device), seconds)
        about = {"profile": self.profile.name, "corpus": corpus.name, "label": corpus.label_name}
        counts = {"tracks": len(self.store.tracks), "left_out": len(self.store.left_out)}
        with edit_summary(self.folder / "summary.json") as summary:
            notebooks = summary.get("notebooks", {}) | {self.notebook: entry}
            summary.update(about, synthetic=corpus.synthetic, **counts, notebooks=dict(sorted(notebooks.items())))
        trained, found = entry["runs_trained"], entry["runs_found"]
        counts = {"runs": trained + found, "trained now": trained, "found": found}
        return pd.DataFrame([counts], index=pd.Index([self.notebook], name="notebook"))
