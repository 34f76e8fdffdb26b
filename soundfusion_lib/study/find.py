"""Experiments and trained networks by name."""

import re
from pathlib import Path
from shlex import quote

from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models import MODELS
from soundfusion_lib.paths import runs_dir
from soundfusion_lib.study import catalogue
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.experiment import Experiment

KEY = re.compile("[0-9a-f]{1,16}")  # of a run, or its beginning


def experiment_named(study: Study, name: str) -> Experiment:
    """The experiment of a profile with this name, in any case: one of the report's, as tables show it (ResNet2D-small;
    SimpleCNN for "SimpleCNN, whole clip"), or a model of `MODELS` with the profile's settings, augmented. Raises
    SoundFusionError if there is none."""
    experiments = catalogue.experiments(study)
    for known, experiment in experiments.items():
        if known.casefold() in (name.casefold(), f"{name}, whole clip".casefold()):
            return experiment
    if name in MODELS:
        return study.experiment(name, name, augment=True)
    shown = "; ".join(known for known in experiments if "SpecAugment (" not in known)  # without the grid's 36 cells
    there = f"There are: {shown}. Or a model alone: {', '.join(MODELS)}"
    raise SoundFusionError(f"there is no experiment {name!r} on {study.profile.name}. {there}")


def find_model(model: str | Path, profile: str = "demo") -> Path:
    """The folder of a trained network; raises SoundFusionError if there is none.

    Args:
        model: the folder of a run or of an exported network; a run's key or its beginning; or an experiment's name,
            alone or behind a profile's ("demo/ResNet2D-small"): its run on all clips, else of the first seed and fold.
        profile: whose experiment it is, where the name does not say: its name, or its TOML file.
    """
    if Path(model).is_dir():
        return Path(model)
    profile, name = profile_and_name(model, profile)
    if KEY.fullmatch(name):
        folders = [folder for folder in runs_dir().glob(f"{name}*") if not folder.suffix]
        if len(folders) != 1:
            count = f"{len(folders)} runs have" if folders else "no run has"
            raise SoundFusionError(f"{count} a key that begins with {name!r}: `soundfusion train` prints the keys")
        return folders[0]
    study = Study("find", profile, "cpu", progress=False, dry=True)
    experiment = experiment_named(study, name)
    for run in study.variants(study.on_all_clips(experiment)) + study.variants(experiment):
        if (folder := runs_dir() / study.key(run)).is_dir():
            return folder
    raise SoundFusionError(f"{name} of {profile} is not trained: `soundfusion train {profile} {quote(name)}`")


def profile_and_name(model: str | Path, profile: str) -> tuple[str, str]:
    """The profile and the name of an experiment: of "emotify/SoundFusion-2" both, else this profile."""
    before, _, name = str(model).rpartition("/")
    if not before or Path(model).is_dir():
        return profile, name
    return (f"{before}.toml" if Path(f"{before}.toml").is_file() else before), name
