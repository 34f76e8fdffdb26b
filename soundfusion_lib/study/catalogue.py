"""Every experiment of the study, by notebook and by name; trained networks by name; and how far the study is."""

import json
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models import MODELS
from soundfusion_lib.paths import data_dir, results_dir, runs_dir
from soundfusion_lib.pool import cores
from soundfusion_lib.study import further, protocol
from soundfusion_lib.study.study import NothingYet, Study
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.run import ABOUT, INFO, UNREADABLE, read_json


def by_notebook(study: Study, better: str = "resnet2d") -> dict[str, list[Experiment]]:
    """By notebook, the experiments whose runs it shows; raises SoundFusionError for seeds of one that there is not.

    Of the controls in notebook 5 those of the `better` part, which is known only when both are trained; of notebook 10
    neither the search's trials nor its winner.
    """
    regularized = list(protocol.regularization(study).values())
    starts = list(protocol.transfer(study)[0].values())
    table = list(protocol.performance(study).values())
    widths = list(protocol.widths(study).values())
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
            protocol.as_large(study, better),
            protocol.twin(study, protocol.resnet(study, better)),
            *regularized,
            *table,
            *further.searched(study).values(),
        ],
        "06_width_scaling": widths,
        "07_confusion_matrices": list(protocol.confused(study).values()),
        "08_beyond_the_report": [*table, *widths, *regularized, *starts, *further.ablation(study).values()],
        "09_listen": table,
        "10_search": [*further.fusions(study).values(), protocol.resnet(study, study.profile.search.model)],
    }
    names = {experiment.name for experiments in shown.values() for experiment in experiments}
    if "search" in study.profile.leave_out:
        del shown["10_search"]
    if unknown := sorted(study.profile.seeds_of.keys() - names):
        there = ", ".join(sorted(f'"{name}"' for name in names if "SpecAugment" not in name))
        where = f"profile {study.profile.name}: [seeds_of]"
        raise SoundFusionError(f"{where} has no experiment {unknown[0]!r}; there are: {there}")
    return shown


def experiment_named(study: Study, name: str) -> Experiment:
    """The experiment of a profile with this name, in any case: one of the report's, as tables show it (ResNet2D-small;
    SimpleCNN for "SimpleCNN, whole clip"), or a model of `MODELS` that none of these is of, with the profile's
    settings, augmented. Raises SoundFusionError if there is none."""
    experiments = [experiment for shown in by_notebook(study).values() for experiment in shown]
    for experiment in experiments:  # a twin, which has other seeds, stands behind the one it is a twin of
        if experiment.name.casefold() in (name.casefold(), f"{name}, whole clip".casefold()):
            return experiment
    networks = dict.fromkeys(one.name for one in experiments if one.model == name and "," not in one.name)
    if networks:
        raise SoundFusionError(f"{name} is an architecture: name one of its networks, {', '.join(networks)}")
    if name in MODELS:
        return study.experiment(name, name, augment=True)
    names = dict.fromkeys(one.name for one in experiments if "SpecAugment (" not in one.name)  # the grid has 36 cells
    there = f"There are: {'; '.join(names)}. Or a classifier: musicnn, vgg16-imagenet, svm"
    raise SoundFusionError(f"there is no experiment {name!r} on {study.profile.name}. {there}")


def profile_and_name(model: str) -> tuple[str, str]:
    """The profile and the name of a model: of "emotify/SoundFusion-2" both; a name alone is of the demo."""
    before, _, name = model.rpartition("/")
    if not before:
        return "demo", name
    files = Path(f"{before}.toml"), data_dir() / "profiles" / f"{before}.toml"  # the last that was used by this name
    return next((str(file) for file in files if file.is_file()), before), name


def progress(study: Study, notebooks: Collection[str] = ()) -> pd.DataFrame:
    """How far these notebooks are, all by default: notebook, runs, done, core_hours_left (NaN where unknown).

    A run counts in the first notebook that shows it. A missing run takes as long per epoch as the recorded runs most
    like it: the same experiment with another seed or fold, else the same network on any tracks. Raises NothingYet if
    the study is `dry` and its corpus is not decoded.
    """
    recorded, seen, rows = _recorded_seconds(), set(), []
    better = "resnet2d"
    if not notebooks or "05_fusion" in notebooks:
        twins = study.variants(protocol.twin(study, protocol.resnet(study, "resnet1d")))
        better = "resnet1d" if all(study.is_trained(study.key(run)) for run in twins) else "resnet2d"
    for notebook, experiments in by_notebook(study, better).items():
        if not notebooks or notebook in notebooks:
            keys = {key: one for one in experiments for key in _keys(study, one) if key not in seen}
            missing = [one for key, one in keys.items() if not study.is_trained(key)]
            like = [recorded.get(_likeness(one.to_dict()), recorded.get(one.model, np.nan)) for one in missing]
            seconds = sum(each * one.training.epochs for each, one in zip(like, missing, strict=True))
            rows.append([notebook, len(keys), len(keys) - len(missing), seconds / 3600])
            seen |= keys.keys()
    return pd.DataFrame(rows, columns=["notebook", "runs", "done", "core_hours_left"])


def _keys(study: Study, experiment: Experiment) -> list[str]:
    """Keys of an experiment's runs; made up where the corpus for pre-training is not decoded, so that none is there."""
    try:
        return [study.key(run) for run in study.variants(experiment)]
    except NothingYet:
        study.store  # noqa: B018  raises where it is the study's own corpus that is not decoded
        runs = len(study.seeds(experiment)) * len(experiment.folds or study.test_folds)
        return [f"{experiment.name} {number}" for number in range(runs)]


def left_to_train(study: Study, notebooks: Collection[str] = ()) -> str:
    """The `progress` of a dry study in words: n of m runs are there, and the hours that the others take here."""
    try:
        table = progress(study, notebooks)
    except NothingYet as reason:
        return f"{study.profile.name}: nothing is there yet: {reason}"
    done, runs, hours = table["done"].sum(), table["runs"].sum(), table["core_hours_left"]
    there = f"{study.profile.name}: {done} of {runs} runs are there"
    if done == runs:
        return there
    more = " or more, since some are like no recorded run" if hours.isna().any() else ""
    return f"{there}; the others take about {hours.sum() / cores():.1f} hours on {cores()} cores{more}"


def _likeness(experiment: dict[str, Any]) -> str:
    """What runs that take as long have in common; of an experiment as `Experiment.to_dict` has it."""
    return json.dumps([experiment[name] for name in ("model", "options", "segmenting")])


def _recorded_seconds() -> dict[str, float]:
    """Mean core-seconds per epoch of runs that are trained here or kept among the results, by `_likeness` and by model;
    a damaged run says nothing."""
    runs = [run for file in results_dir().glob("*/runs/runs.json") for run in read_json(file).values()]
    for file in runs_dir().glob(f"*/{INFO}"):
        with suppress(*UNREADABLE):
            runs.append({**read_json(file.with_name(ABOUT)), "info": read_json(file)})
    rows = []
    for experiment, info in ((run["experiment"], run["info"]) for run in runs):
        seconds = info.get("core_seconds", np.nan) * info["epoch_seconds"] / info["seconds"]
        rows += [(_likeness(experiment), seconds), (experiment["model"], seconds)]
    return pd.DataFrame(rows, columns=["like", "seconds"]).groupby("like")["seconds"].mean().dropna().to_dict()
