"""Hyper-parameters to search: how a profile declares them, and the experiment that a choice of them is.

    [search]
    model = "resnet2d"   # or "resnet1d": the small one
    trials = 24
    [search.space]
    learning_rate = { low = 5e-4, high = 2e-2, log = true }
    width = [8, 12, 16, 24]

Tables of their own in a profile: what is not there is as in `profile.Search`.
"""

from collections.abc import Mapping
from dataclasses import replace
from inspect import signature
from typing import TYPE_CHECKING, Any

from soundfusion_lib.audio.augment import AUGMENTATIONS
from soundfusion_lib.checks import shown
from soundfusion_lib.study.profile import OF_MASKS, OF_MODEL, OF_TRAINING
from soundfusion_lib.training.experiment import Experiment

if TYPE_CHECKING:
    import optuna


def suggest(trial: "optuna.Trial", space: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a trial, as Optuna's sampler proposes them."""
    for name, values in space.items():
        if isinstance(values, list):
            trial.suggest_categorical(name, values)
        else:
            whole = isinstance(values["low"], int) and isinstance(values["high"], int)
            propose = trial.suggest_int if whole else trial.suggest_float
            propose(name, values["low"], values["high"], log=values.get("log", False))
    return trial.params


def settings_of(experiment: Experiment, space: Mapping[str, Any]) -> dict[str, Any]:
    """The experiment's settings that a space searches; empty if one of them lies outside the space."""
    masks = {name: parameter.default for name, parameter in signature(AUGMENTATIONS["mel"]).parameters.items()}
    settings = {**masks, **experiment.augment.get("mel", {}), **experiment.options, **vars(experiment.training)}

    def inside(name: str, values: Any) -> bool:
        if isinstance(values, list):
            return settings[name] in values
        return values["low"] <= settings[name] <= values["high"]

    return {name: settings[name] for name in space} if all(map(inside, space, space.values())) else {}


def settled(experiment: Experiment, name: str, settings: Mapping[str, Any]) -> Experiment:
    """The experiment with these settings of training, model and masks, under another name."""

    def among(names: set[str]) -> dict[str, Any]:
        return {key: value for key, value in settings.items() if key in names}

    masks = {"mel": among(OF_MASKS)}
    return replace(
        experiment,
        name=name,
        options={**experiment.options, **among(OF_MODEL)},
        training=replace(experiment.training, **among(OF_TRAINING)),
        augment={kind: {**options, **masks.get(kind, {})} for kind, options in experiment.augment.items()},
    )


def rounded(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings to three digits, as a profile has them and as the winner is trained."""
    return {name: float(f"{value:.3g}") if isinstance(value, float) else value for name, value in settings.items()}


def as_toml(settings: Mapping[str, Any]) -> str:
    """The table [searched] of a profile with these settings."""
    return "\n".join(["[searched]", *(f"{name} = {shown(value)}" for name, value in rounded(settings).items())])
