"""Every experiment of the study, by notebook and by name; and trained networks by name."""

import re
from pathlib import Path
from shlex import quote

from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models import MODELS
from soundfusion_lib.paths import runs_dir
from soundfusion_lib.study import further, protocol
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.experiment import Experiment


def by_notebook(study: Study) -> dict[str, list[Experiment]]:
    """By notebook, the experiments whose runs it shows.

    Of the controls in notebook 5 that is ResNet2D's, since which part is the better one is known only when both are
    trained; of notebook 10 neither the search's trials nor its winner.

    Raises:
        SoundFusionError: the profile gives seeds to an experiment that there is not.
    """
    regularized = list(protocol.regularization(study).values())
    starts = list(protocol.transfer(study)[0].values())
    table = list(protocol.performance(study).values())
    small = protocol.resnet(study, "resnet2d")
    shown = {
        "02_models_2d": [
            *protocol.two_dimensional(study).values(),
            *protocol.regularization(study, ["resnet2d"]).values(),
            *protocol.grid(study).values(),
        ],
        "03_transfer_learning": [small, protocol.simple_cnn(study), *protocol.fine_tuned(study).values(), *starts],
        "04_models_1d": regularized,
        "05_fusion": [
            *protocol.fusions(study).values(),
            protocol.as_large(study, "resnet2d"),
            protocol.twin(study, small),
            *regularized,
            *table,
            *further.searched(study).values(),
        ],
        "06_width_scaling": list(protocol.widths(study).values()),
        "07_confusion_matrices": list(protocol.confused(study).values()),
        "08_beyond_the_report": [
            *table,
            *protocol.widths(study).values(),
            *regularized,
            *starts,
            *further.ablation(study).values(),
        ],
        "09_listen": table,
        "10_search": [*further.fusions(study).values(), protocol.resnet(study, study.profile.search.model)],
    }
    names = {experiment.name for experiments in shown.values() for experiment in experiments}
    if unknown := sorted(study.profile.seeds_of.keys() - names):
        there = ", ".join(sorted(f'"{name}"' for name in names if "SpecAugment" not in name))
        raise SoundFusionError(
            f"profile {study.profile.name}: [seeds_of] has no experiment {unknown[0]!r}; there are: {there}"
        )
    return shown


def experiment_named(study: Study, name: str) -> Experiment:
    """The experiment of a profile with this name, in any case: one of the report's, as tables show it (ResNet2D-small;
    SimpleCNN for "SimpleCNN, whole clip"), or a model of `MODELS` with the profile's settings, augmented. Raises
    SoundFusionError if there is none."""
    experiments = [experiment for shown in by_notebook(study).values() for experiment in shown]
    for experiment in experiments:  # a twin, which has other seeds, stands behind the one it is a twin of
        if experiment.name.casefold() in (name.casefold(), f"{name}, whole clip".casefold()):
            return experiment
    if name in MODELS:
        return study.experiment(name, name, augment=True)
    names = dict.fromkeys(one.name for one in experiments if "SpecAugment (" not in one.name)  # the grid has 36 cells
    there = f"There are: {'; '.join(names)}. Or a model alone: {', '.join(MODELS)}"
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
    if re.fullmatch("[0-9a-f]{1,16}", name):
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
