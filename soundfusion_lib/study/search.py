"""The search of hyper-parameters: Optuna proposes settings, and the validation set of one fold judges them.

Akiba, Sano, Yanase, Ohta and Koyama, "Optuna: a next-generation hyperparameter optimization framework", KDD 2019.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from soundfusion_lib.audio.augment import AUGMENTATIONS
from soundfusion_lib.audio.store import Store
from soundfusion_lib.checks import shown
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.paths import data_dir, lock, runs_dir, writing
from soundfusion_lib.study import protocol
from soundfusion_lib.study.further import rounded
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.loop import Diverged, fit
from soundfusion_lib.training.parallel import Task, memory_of, run_tasks
from soundfusion_lib.training.train import segments_of, untrained

try:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import FrozenTrial, TrialState
except ImportError as error:
    raise SoundFusionError("a search needs Optuna: pip install 'soundfusion[search]'") from error

optuna.logging.set_verbosity(optuna.logging.ERROR)
RUNGS = (0.5, 0.75, 1.0)  # shares of its epochs after which a trial may stop: before, one-cycle rates say little
STARTUP = 4  # trials with random settings; and complete trials before others may stop
EPOCHS, REASON = "epochs", "reason"  # of a trial: its history, and why it diverged


def search(study: Study) -> optuna.Study:
    """Search the profile's space for the settings of lowest validation loss, in the first fold with the first seed.

    The profile's own settings come first, if the space has them; then tree-structured Parzen estimators propose
    (Bergstra, Bardenet, Bengio and Kégl, NeurIPS 2011). A trial stops at a rung if its lowest loss is above the median
    of the complete trials there (Golovin et al., "Google Vizier", KDD 2017). No trial sees the test set. Interrupted,
    the search goes on another time; what was in training is proposed again, as the seed of each trial is its number.
    Returns Optuna's study, with as many ended trials as the profile says; raises SoundFusionError if no trial came to
    its end, and as `run_tasks`.
    """
    base, file = experiment_of(study), _file(study)
    trials, space = study.profile.search.trials, study.profile.search.space
    with writing(file.parent), lock(file.with_suffix(".lock")):
        found = open_search(study)
        begun = [trial.params for trial in ended(found)]
        if len(begun) < trials:
            for trial in found.get_trials(states=(TrialState.RUNNING,)):  # its process was killed
                found.tell(trial.number, state=TrialState.FAIL)
            own, waiting = settings_of(base, space), found.get_trials(states=(TrialState.WAITING,))
            if own and own not in begun and not waiting:
                found.enqueue_trial(own)
            fixed = file, study.store, base, space
            size, numbers = memory_of(base, study.store), range(len(begun), trials)
            tasks = {str(n): Task(run_trial, (*fixed, base.seed + n), (), size) for n in numbers}
            list(run_tasks(tasks, study.device_name, study.progress, study.scheduler, unit="trial"))
    if not any(trial.state == TrialState.COMPLETE for trial in found.trials):
        raise SoundFusionError("no trial of the search came to its end: give [search.space] lower learning rates")
    return found


def run_trial(
    file: Path, store: Store, base: Experiment, names: dict, seed: int, device: torch.device, progress: bool
) -> None:
    """Train `base` once with settings that Optuna proposes with this seed, and report the validation loss of each epoch
    in the search's file. `names` are the settings and their values, see `profile.Search`."""
    rungs = {max(1, round(share * base.training.epochs)) for share in RUNGS} - {base.training.epochs}

    def objective(trial: optuna.Trial) -> float:
        experiment = base.vary(f"trial {trial.number}", **suggest(trial, names))
        segments, epochs = segments_of(experiment, store, device), []
        model = untrained(experiment, store, segments["train"], runs_dir())

        def report(row: dict[str, float]) -> None:
            epochs.append(row)
            trial.report(row["validation_loss"], row["epoch"])
            if row["epoch"] in rungs and trial.should_prune():
                raise optuna.TrialPruned

        options = {"seed": experiment.seed, "description": experiment.name, "progress": progress, "on_epoch": report}
        try:
            _, best, _ = fit(model, segments["train"], segments["validation"], experiment.training, **options)
        except Diverged as error:
            trial.set_user_attr(REASON, str(error))
            raise
        finally:
            trial.set_user_attr(EPOCHS, pd.DataFrame(epochs).to_dict("list"))
        return epochs[best - 1]["validation_loss"]

    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP, constant_liar=True)
    _opened(file, sampler).optimize(objective, n_trials=1, catch=Diverged)


def experiment_of(study: Study) -> Experiment:
    """The small network whose settings are searched, in the first fold with the first seed."""
    base = protocol.resnet(study, study.profile.search.model)
    first = {"seeds": study.profile.seeds[:1], "folds": study.test_folds[:1]}
    return study.variants(replace(base, **first))[0]


def key_of(study: Study) -> str:
    """Hash of what a search depends on, but the number of trials: with more of them it goes on."""
    content = [study.key(experiment_of(study)), study.profile.search.space, RUNGS, STARTUP]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def open_search(study: Study) -> optuna.Study:
    """The profile's search as it stands. If `study.kept`, the one in results/<profile>/search.jsonl, where that has the
    search's key and all trials; such a file is a copy of data/search/<key>.jsonl."""
    key, kept = key_of(study), study.folder / "search.jsonl"
    if study.kept and kept.is_file() and key in optuna.get_all_study_names(storage := _storage(kept)):
        found = optuna.load_study(study_name=key, storage=storage)
        if len(ended(found)) >= study.profile.search.trials:
            return found
    return _opened(_file(study))


def ended(found: optuna.Study) -> list[FrozenTrial]:
    """The trials that ended, in order, without those that an interruption cut off, which failed for no reason."""
    finished = [trial for trial in found.trials if trial.state.is_finished()]
    return [trial for trial in finished if trial.state != TrialState.FAIL or REASON in trial.user_attrs]


def suggest(trial: optuna.Trial, names: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a trial, as Optuna's sampler proposes them."""
    for name, values in names.items():
        if isinstance(values, list):
            trial.suggest_categorical(name, values)
        elif isinstance(values["low"], int) and isinstance(values["high"], int):
            trial.suggest_int(name, **values)
        else:
            trial.suggest_float(name, **values)
    return trial.params


def settings_of(experiment: Experiment, names: Mapping[str, Any]) -> dict[str, Any]:
    """The experiment's settings that are searched; empty if one of them lies outside the space."""
    masks = {name: parameter.default for name, parameter in signature(AUGMENTATIONS["mel"]).parameters.items()}
    settings = {**masks, **experiment.augment.get("mel", {}), **experiment.options, **vars(experiment.training)}

    def inside(value: Any, values: Any) -> bool:
        return value in values if isinstance(values, list) else values["low"] <= value <= values["high"]

    own = {name: settings[name] for name in names}
    return own if all(inside(own[name], values) for name, values in names.items()) else {}


def as_toml(settings: Mapping[str, Any]) -> str:
    """The table [searched] of a profile with these settings."""
    return "\n".join(["[searched]", *(f"{name} = {shown(value)}" for name, value in rounded(settings).items())])


def _file(study: Study) -> Path:
    return data_dir() / "search" / f"{key_of(study)}.jsonl"


def _opened(file: Path, sampler: optuna.samplers.BaseSampler | None = None) -> optuna.Study:
    options = {"sampler": sampler, "pruner": optuna.pruners.MedianPruner(n_startup_trials=STARTUP)}
    return optuna.create_study(storage=_storage(file), study_name=file.stem, load_if_exists=True, **options)


def _storage(file: Path) -> JournalStorage:
    """Optuna's journal in a file."""
    return JournalStorage(JournalFileBackend(str(file), lock(file.with_suffix(".writing"))))
