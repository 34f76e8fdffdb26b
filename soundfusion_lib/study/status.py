"""How far a study is: which runs are there, and how long those that are missing will take."""

import json
from collections.abc import Collection
from contextlib import suppress
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
