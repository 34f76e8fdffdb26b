"""The search of hyper-parameters: Optuna proposes, the workers of the study train, the validation part of one fold
judges. Interrupted, it goes on where it was.

Akiba, Sano, Yanase, Ohta and Koyama, "Optuna: a next-generation hyperparameter optimization framework", KDD 2019.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import AbstractContextManager
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pandas as pd
from tqdm import tqdm

from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.paths import data_dir, lock, writing
from soundfusion_lib.study import protocol, space
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.loop import Diverged
from soundfusion_lib.training.trainers import Trainers, trainers_here

if TYPE_CHECKING:
    import optuna

RUNGS = (0.5, 0.75, 1.0)  # shares of its epochs after which a trial may be stopped; before, one-cycle rates tell little
STARTUP = 4  # trials that are drawn at random, and after whose end others may be stopped
EPOCHS = "epochs"  # of a trial, beside its settings: what `fit` returned


def search(study: Study) -> "optuna.Study":
    """Search the profile's space, in the first fold and with the first seed, for the lowest loss of the validation part
    at the end of training; trials that are there already count. The profile's own settings are a trial, too, the first
    one, unless they lie outside the space.

    Tree-structured Parzen estimators propose (Bergstra, Bardenet, Bengio and Kégl, NeurIPS 2011); a trial whose lowest
    loss up to a rung is above the median loss there of those that ended is stopped (Golovin et al., "Google Vizier",
    KDD 2017). No trial predicts the test part. One worker gives the same trials again; several end theirs in another
    order, which the proposals follow.

    Args:
        study: its `scheduler`'s workers train, or the cores or the GPU here.

    Returns:
        Optuna's study, kept in data/search/<key>.db: as many trials as the profile wants, complete, pruned or (of a
        loss that was no longer finite) failed.

    Raises:
        SoundFusionError: Optuna is not installed; no trial came to its end; see also `train.train_or_find`.
    """
    wanted, base = study.profile.search.trials, experiment_of(study)
    folder = data_dir() / "search"
    with writing(folder), lock(folder / f"{key_of(study)}.lock"):
        found = open_search(study)
        left = wanted - len(_ended(found))
        if left > 0:
            name = f"search/{key_of(study)}"
            with _trainers(study, name) as trainers, tqdm(**_bar(study, wanted, left)) as bar:
                for _ in _trials(study, found, trainers, base, name):
                    bar.update()
            shutil.rmtree(data_dir() / name, ignore_errors=True)
    if not any(trial.state.name == "COMPLETE" for trial in found.trials):
        raise SoundFusionError("no trial of the search came to its end: give [search.space] lower learning rates")
    return found


def experiment_of(study: Study) -> Experiment:
    """What is searched: the small network in the first fold, with the first seed."""
    profile = study.profile
    base = protocol.resnet(study, profile.search.model)
    return replace(base, seed=profile.seeds[0], split=study.split(profile.test_folds[0]))


def key_of(study: Study) -> str:
    """Hash of what a search depends on, but the number of trials: one more goes on with those that are there."""
    content = [study.key(experiment_of(study)), study.profile.search.space, RUNGS, STARTUP]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def open_search(study: Study) -> "optuna.Study":
    """The profile's search as it stands, in its file; an empty one if there is none."""
    return _opened(key_of(study))


def _check_installed() -> None:
    """Raise SoundFusionError where Optuna is not installed."""
    if find_spec("optuna") is None:
        raise SoundFusionError("a search takes Optuna: pip install 'soundfusion[search]'")


def _opened(key: str) -> "optuna.Study":
    _check_installed()
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    file = data_dir() / "search" / f"{key}.db"
    file.parent.mkdir(parents=True, exist_ok=True)
    options = {"study_name": "search", "pruner": optuna.pruners.MedianPruner(n_startup_trials=STARTUP)}
    return optuna.create_study(storage=f"sqlite:///{file}", load_if_exists=True, **options)


def written(study: Study) -> list[dict[str, Any]]:
    """The finished trials of a study's search as JSON can hold them; none where it has not begun."""
    if not (data_dir() / "search" / f"{key_of(study)}.db").is_file():
        return []
    from optuna.distributions import distribution_to_json

    return [
        {
            "state": trial.state.name,
            "value": trial.value,
            "params": trial.params,
            "distributions": {name: distribution_to_json(drawn) for name, drawn in trial.distributions.items()},
            "losses": trial.intermediate_values,
            "user_attrs": trial.user_attrs,
        }
        for trial in _ended(open_search(study))
    ]


def restore(key: str, trials: list[dict[str, Any]]) -> None:
    """Make the search of a key of trials that were `written`, where none has begun; raises as `search`."""
    _check_installed()
    from optuna.distributions import json_to_distribution
    from optuna.trial import TrialState, create_trial

    created = [
        create_trial(
            state=TrialState[trial["state"]],
            value=trial["value"],
            params=trial["params"],
            distributions={name: json_to_distribution(text) for name, text in trial["distributions"].items()},
            intermediate_values={int(epoch): loss for epoch, loss in trial["losses"].items()},
            user_attrs=trial["user_attrs"],
        )
        for trial in trials
    ]
    with lock(data_dir() / "search" / f"{key}.lock"):
        found = _opened(key)
        if not found.trials:
            found.add_trials(created)


def trials_left(study: Study) -> int:
    """How many trials of the profile's search have not ended; makes nothing."""
    return max(0, study.profile.search.trials - len(written(study)))


def _ended(found: "optuna.Study") -> list["optuna.trial.FrozenTrial"]:
    return [trial for trial in found.trials if trial.state.is_finished()]


def _bar(study: Study, wanted: int, left: int) -> dict[str, Any]:
    look = {"desc": "search", "unit": "trial", "leave": False, "disable": not study.progress}
    return {"total": wanted, "initial": wanted - left, **look}


def _trainers(study: Study, checkpoints: str) -> AbstractContextManager[Trainers]:
    if study.scheduler:
        from soundfusion_lib.training.cluster import trainers  # here: Dask is an extra

        return trainers(study.store, study.scheduler, study.device_name, study.progress, checkpoints)
    return trainers_here(study.store, study.device)


def _trials(
    study: Study, found: "optuna.Study", trainers: Trainers, base: Experiment, folder: str
) -> Iterator["optuna.trial.FrozenTrial"]:
    """Train until there are as many trials as the profile wants; each as it ends. Those that an interruption left go
    on first."""
    import optuna

    wanted = study.profile.search
    drawn = space.distributions(wanted.space)
    if own := space.settings_of(base, wanted.space):
        found.enqueue_trial(own, skip_if_exists=True)
    left = [trial for trial in found.trials if trial.state.name == "RUNNING"]
    # a trial that was cut off with its rung reported, and not judged, is judged first: its checkpoint has that epoch
    waiting = [(optuna.trial.Trial(found, trial._trial_id), len(trial.intermediate_values) - 1) for trial in left]
    running: dict[Future, tuple[optuna.trial.Trial, int]] = {}

    def train(trial: "optuna.trial.Trial", known: int) -> None:
        until = next_rung(base, known)
        experiment = space.settled(base, f"trial {trial.number}", trial.params)
        running[trainers.submit(experiment, f"{folder}/{trial.number}.pt", until)] = trial, until

    while True:
        while len(running) < trainers.workers and (waiting or _asked(found) < wanted["trials"]):
            if not waiting:  # a sampler of each trial's own, so that an interrupted search draws as it would have
                seed = base.seed + _asked(found)
                found.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP, constant_liar=True)
                waiting.append((found.ask(drawn), 0))
            train(*waiting.pop(0))
        if not running:
            return
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            trial, until = running.pop(future)
            if _has_ended(found, trial, future, until, base):
                yield found.trials[trial.number]
            else:
                train(trial, until)


def _asked(found: "optuna.Study") -> int:
    """How many trials have begun."""
    return sum(trial.state.name != "WAITING" for trial in found.trials)


def next_rung(base: Experiment, known: int) -> int:
    """The epoch that a trial of so many known epochs is trained to next."""
    rungs = (max(1, round(share * base.training.epochs)) for share in RUNGS)
    return next(rung for rung in rungs if rung > known)


def _losses(found: "optuna.Study", trial: "optuna.trial.Trial") -> dict[int, float]:
    """Validation loss by epoch, as far as it is known."""
    return found.trials[trial.number].intermediate_values


def _has_ended(
    found: "optuna.Study", trial: "optuna.trial.Trial", future: Future, until: int, base: Experiment
) -> bool:
    """Tell Optuna what came out of a rung; whether the trial has ended with that."""
    from optuna.trial import TrialState

    try:
        history: pd.DataFrame = future.result()
    except Diverged as reason:
        trial.set_user_attr("reason", str(reason))
        found.tell(trial, state=TrialState.FAIL)
        return True
    for row in history.iloc[len(_losses(found, trial)) :].itertuples():
        trial.report(row.validation_loss, row.epoch)
    trial.set_user_attr(EPOCHS, history.to_dict("list"))
    if len(history) < until or until >= base.training.epochs:  # it ran out of patience, or of epochs
        best = history["validation_accuracy"].idxmax() if base.training.keep == "best" else len(history) - 1
        found.tell(trial, history["validation_loss"][best])
    elif trial.should_prune():
        found.tell(trial, state=TrialState.PRUNED)
    return found.trials[trial.number].state.is_finished()
