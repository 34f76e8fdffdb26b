"""Training one network of a profile, by itself."""

import pandas as pd

from soundfusion_lib.analysis.statistics import accuracy, interval
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.result import RunGroup
from soundfusion_lib.use.card import with_bounds
from soundfusion_lib.use.evaluation import evaluation
from soundfusion_lib.use.finding import AllClips, experiment_named

COLUMNS = ["run", "seed", "fold", "epochs", "seconds", "validation_accuracy"]


def train_network(profile: str, name: str, all_clips: bool = False, device: str = "auto") -> tuple[Study, RunGroup]:
    """Train an experiment with the profile's seeds, in its folds, or find what is trained.

    Args:
        profile: see `load_profile`.
        name: see `experiment_named`.
        all_clips: train on all clips instead, once, with the first seed, and test nothing.
        device: see `choose_device`.

    Raises:
        SoundFusionError: no such profile, experiment or device, or see `train_or_find`.
    """
    experiment = experiment_named(name, profile)
    study = AllClips("train", profile, device) if all_clips else Study("train", profile, device)
    return study, study.train_all({name: experiment})[name]


def runs_table(group: RunGroup) -> pd.DataFrame:
    """A row a run: run (its key), seed, fold, epochs, seconds, validation_accuracy (of the best epoch;
    not where all clips train)."""
    rows = [
        [
            run.folder.name,
            run.experiment.seed,
            run.experiment.split.fold,
            len(run.history),
            round(run.info["seconds"], 1),
            round(run.history["validation_accuracy"].max(), 3),
        ]
        for run in group.runs
    ]
    return pd.DataFrame(rows, columns=COLUMNS).dropna(axis=1, how="all")


def verdict(study: Study, group: RunGroup) -> str:
    """The accuracy in words: of runs on all clips that of the same experiment's runs by another split."""
    labels = len(study.store.labels)
    if group.experiment.split.scheme == "all":
        found = evaluation(group.runs[0], study.store)
        known = f"in cross-validation {with_bounds(found['accuracy'], found)}" if found else "not known"
        return f"trained on all {len(study.store.tracks)} clips; accuracy by vote {known}; chance {1 / labels:.3f}"
    predictions = group.predictions("test")
    tracks = predictions[0]["track"].nunique()
    words = []
    for by, unit in (("vote", f"by vote ({tracks} tracks)"), ("segment", "per segment")):
        low, high = interval(predictions, by)
        words.append(f"{with_bounds(accuracy(predictions, by), {'low': low, 'high': high})} {unit}")
    return f"test accuracy {', '.join(words)}; chance {1 / labels:.3f}; in brackets 95 % intervals by artist"
