"""How far a study is: which runs are there, and how long those that are missing will take."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import pandas as pd

from soundfusion_lib.paths import results_dir, runs_dir
from soundfusion_lib.pool import cores
from soundfusion_lib.study import catalogue
from soundfusion_lib.study.study import NothingYet, Study
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.run import ABOUT, INFO, UNREADABLE, read_json


def progress(study: Study, notebooks: Collection[str] = ()) -> pd.DataFrame:
    """How far each notebook is; nothing is decoded, downloaded or trained where the study is `dry`.

    A run counts in the first notebook that shows it. A missing run takes as long per epoch as the recorded runs most
    like it: the same experiment with another seed or fold, else the same network on any tracks.

    Args:
        notebooks: names of those to count; all by default.

    Returns:
        One row per notebook: notebook, runs, done, core_hours_left (NaN where nothing like a missing run is recorded).

    Raises:
        NothingYet: the study is `dry` and its corpus is not decoded.
    """
    recorded, seen, rows = _recorded_seconds(), set(), []
    for notebook, experiments in catalogue.by_notebook(study).items():
        if notebooks and notebook not in notebooks:
            continue
        runs, done, seconds = 0, 0, 0.0
        for experiment in experiments:
            like = recorded[_likeness(experiment)] or recorded[experiment.model] or [math.nan]
            for key in _keys(study, experiment):
                if key in seen:
                    continue
                seen.add(key)
                there = study.is_trained(key)
                runs, done = runs + 1, done + there
                seconds += 0 if there else experiment.training.epochs * float(np.mean(like))
        rows.append([notebook, runs, done, seconds / 3600])
    return pd.DataFrame(rows, columns=["notebook", "runs", "done", "core_hours_left"])


def _keys(study: Study, experiment: Experiment) -> list[str]:
    """Keys of an experiment's runs; made up where the corpus for pre-training is not decoded, so that none is there."""
    try:
        return [study.key(run) for run in study.variants(experiment)]
    except NothingYet:
        study.store  # noqa: B018  raises where it is the study's own corpus that is not decoded
        runs = len(study.seeds(experiment)) * len(experiment.folds or study.profile.test_folds)
        return [f"{experiment.name} {number}" for number in range(runs)]


def sentence(study: Study, table: pd.DataFrame) -> str:
    """A table of `progress` in words: n of m runs are there, and the hours that the others take on this machine."""
    done, runs, name, hours = table["done"].sum(), table["runs"].sum(), study.profile.name, table["core_hours_left"]
    if done == runs:
        return f"{name}: all {runs} runs are there" if runs else f"{name}: these notebooks train nothing"
    if hours.isna().all():
        return f"{name}: {done} of {runs} runs are there; no run is recorded that tells how long the others take"
    more = " or more, since some are like no recorded run" if hours.isna().any() else ""
    return (
        f"{name}: {done} of {runs} runs are there; the others take about {hours.sum() / cores():.1f} hours on "
        f"{cores()} cores{more}"
    )


def left_to_train(profile: str, notebooks: Collection[str], kept: bool) -> str:
    """What `soundfusion reproduce` has to train for these notebooks, in words, said before it starts."""
    study = Study("status", profile, "cpu", kept=kept, dry=True)
    try:
        return sentence(study, progress(study, notebooks))
    except NothingYet:
        return f"{study.profile.name}: clips are decoded first, then all networks are trained"


def _likeness(experiment: Experiment) -> str:
    return f"{experiment.model} {experiment.options} {experiment.segmenting} {experiment.training.batch_size}"


def _recorded_seconds() -> dict[str, list[float]]:
    """Core-seconds per epoch of recorded runs, by what `_likeness` says of them, and by model."""
    recorded = defaultdict(list)
    for content, info in _recorded():
        experiment = Experiment.from_dict(content)
        seconds = info.get("core_seconds", math.nan) * info["epoch_seconds"] / info["seconds"]
        if not math.isnan(seconds):
            recorded[_likeness(experiment)].append(seconds)
            recorded[experiment.model].append(seconds)
    return recorded


def _recorded() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Experiment and info of every run, trained here or kept among the results."""
    for file in sorted(runs_dir().glob(f"*/{INFO}")):
        try:
            if not file.parent.suffix:
                yield read_json(file.with_name(ABOUT))["experiment"], read_json(file)
        except UNREADABLE:
            continue  # a damaged run says nothing; it is trained anew where it is needed
    for file in sorted(results_dir().glob("*/runs/runs.json")):
        yield from ((run["experiment"], run["info"]) for run in read_json(file).values())
