"""Experiments and their runs by name; networks trained on all clips."""

import re
from dataclasses import replace
from pathlib import Path
from shlex import quote

from soundfusion_lib.datasets.splits import Split
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models import MODELS
from soundfusion_lib.paths import runs_dir
from soundfusion_lib.study.needs import needed_by
from soundfusion_lib.study.protocol import simple_cnn
from soundfusion_lib.study.status import Look
from soundfusion_lib.study.study import Study
from soundfusion_lib.study.summary import find_run
from soundfusion_lib.training.experiment import Experiment

KEY = re.compile("[0-9a-f]{1,16}")  # of a run, or its beginning


class AllClips(Study):
    """A study that trains each experiment once, with the first seed, on all clips: none is left to test by."""

    def split(self, fold: int) -> Split:
        return Split("all")

    def variants(self, experiment: Experiment) -> list[Experiment]:
        return super().variants(replace(experiment, folds=(0,), seeds=self.profile.seeds[:1]))


class LookAllClips(AllClips, Look):
    """The same, only looked at."""


class _Names(Study):
    """A study asked for its experiments alone: nothing is downloaded."""

    def fetch_published_weights(self) -> None:
        pass


def experiment_named(name: str, profile: str | Path) -> Experiment:
    """The experiment of a profile with this name, in any case: one of the report's, as `soundfusion status` and the
    tables show it (ResNet2D-small, SoundFusion-1; SimpleCNN for "SimpleCNN, whole clip"); or a model of `MODELS` with
    the profile's settings, augmented.

    Raises:
        SoundFusionError: there is no such profile or experiment; the profile leaves its model out.
    """
    study = _Names("names", profile, "cpu", progress=False)
    report = {one.name: one for experiments in needed_by(study).values() for one in experiments}
    report |= {"SimpleCNN": simple_cnn(study)}
    by_name = {one.casefold(): experiment for one, experiment in report.items()}
    if name.casefold() in by_name:
        return by_name[name.casefold()]
    if name not in MODELS:
        shown = "; ".join(one for one in report if "SpecAugment (" not in one)
        raise SoundFusionError(
            f"there is no experiment {name!r} on {study.profile.name}. There are: {shown}. Or a model alone: "
            f"{', '.join(MODELS)}"
        )
    return study.experiment(name, name, augment=True)


def find_model(named: str | Path, profile: str = "demo") -> Path:
    """The folder of a trained network.

    Args:
        named: the folder, of a run or an exported network; or an experiment's name, alone or behind a profile's
            ("demo/ResNet2D-small"): its run on all clips where there is one, else that of the first seed and fold; or
            a run's key, of which a beginning that no other has is enough.
        profile: whose experiment it is, where the name does not say: its name, or its TOML file.

    Raises:
        SoundFusionError: there is no such network, or more than one key begins so.
    """
    if Path(named).is_dir():
        return Path(named)
    name, owner = str(named).rpartition("/")[2], profile_named(named, profile)
    if KEY.fullmatch(name):
        return find_run(str(named), profile)
    try:
        if trained := _trained(name, owner):
            return trained[0]
        reason = SoundFusionError(f"{name} of {owner} is not trained: `soundfusion train {owner} {quote(name)}`")
    except SoundFusionError as error:
        reason = error
    try:
        return find_run(str(named), profile)  # that the results name
    except SoundFusionError:
        raise reason from None


def profile_named(named: str | Path, profile: str) -> str:
    """The profile before the name of an experiment ("emotify/SoundFusion-2"), or else this one."""
    return profile if Path(named).is_dir() else str(named).rpartition("/")[0] or profile


def _trained(name: str, profile: str) -> list[Path]:
    """Folders of an experiment's runs, those on all clips first; raises SoundFusionError where there is no such
    experiment, or no corpus."""
    experiment = experiment_named(name, profile)
    studies = LookAllClips(profile), Look(profile)
    found = [runs_dir() / study.key(one) for study in studies for one in study.variants(experiment)]
    return [folder for folder in found if folder.is_dir()]
