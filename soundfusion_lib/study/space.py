"""Hyper-parameters to search: how a profile declares them, and the experiment that a choice of them is.

    [search]
    model = "resnet2d"   # or "resnet1d": the small one
    trials = 24
    [search.space]
    learning_rate = { low = 5e-4, high = 2e-2, log = true }
    width = [8, 12, 16, 24]

Tables of their own in a profile: what is not there is as in `DEFAULTS`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from inspect import signature
from typing import TYPE_CHECKING, Any

from soundfusion_lib import settings
from soundfusion_lib.audio.augment import AUGMENTATIONS
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.loop import Training

if TYPE_CHECKING:
    import optuna

MODELS = "resnet2d", "resnet1d"
DEFAULTS: dict[str, Any] = {
    "model": "resnet2d",
    "trials": 24,
    "space": {
        "learning_rate": {"low": 5e-4, "high": 2e-2, "log": True},
        "weight_decay": {"low": 1e-3, "high": 0.3, "log": True},
        "mixup": {"low": 0.0, "high": 0.6},
        "max_fraction": {"low": 0.0, "high": 0.4},  # of an axis that a mask hides
        "width": [8, 12, 16, 24],
    },
}
RANGE = {"low", "high", "log"}
OF_TRAINING = {field.name for field in fields(Training)} - {"epochs", "patience", "keep"}  # which make trials unequal
OF_MODEL = {"width", "dropout"}
OF_MASKS = set(signature(AUGMENTATIONS["mel"]).parameters)


@dataclass(frozen=True)
class Search:
    """What to search."""

    model: str = DEFAULTS["model"]
    trials: int = DEFAULTS["trials"]
    space: dict[str, Any] = field(default_factory=lambda: DEFAULTS["space"])


def check(search: dict[str, Any], where: str) -> None:
    """Raise SoundFusionError for what a profile's [search] may not say.

    Args:
        where: whose it is, "profile mine.toml:".
    """
    settings.check_keys(search, DEFAULTS, f"{where} [search]")
    if search.get("model", MODELS[0]) not in MODELS:
        raise SoundFusionError(f"{where} [search] model = {settings.shown(search['model'])}: {' or '.join(MODELS)}")
    settings.check({"trials": search.get("trials", DEFAULTS["trials"])}, f"{where} [search]")
    space = search.get("space", DEFAULTS["space"])
    if not isinstance(space, dict) or not space:
        raise SoundFusionError(f"{where} [search] space must be a table, [search.space], with a setting or more")
    allowed = _settings(search.get("model", MODELS[0]))
    settings.check_keys(space, allowed, f"{where} [search.space]")
    for name, values in space.items():
        _check_values(name, values, f"{where} [search.space]")


def check_found(found: dict[str, Any], where: str) -> None:
    """The same for [searched], the settings that a search has found."""
    settings.check_keys(found, OF_TRAINING | OF_MODEL | OF_MASKS, f"{where} [searched]")
    settings.check(found, f"{where} [searched]")


def _settings(model: str) -> set[str]:
    return OF_TRAINING | OF_MODEL | (OF_MASKS if model == "resnet2d" else set())


def _check_values(name: str, values: Any, where: str) -> None:
    said = f"{where} {name} = {settings.shown(values)}"
    if isinstance(values, list):
        if len(values) < 2:
            raise SoundFusionError(f"{said}: give two values or more to choose from")
        tried = values
    elif isinstance(values, dict) and {"low", "high"} <= values.keys() <= RANGE:
        tried = [values["low"], values["high"]]
    else:
        raise SoundFusionError(f"{said}: give a list of values, or {{ low = …, high = …, log = true }}")
    for value in tried:
        settings.check({name: value}, where)
    if isinstance(values, dict) and not (0 if values.get("log") else -float("inf")) < tried[0] < tried[1]:
        raise SoundFusionError(f"{said}: low must be below high" + ", and above 0" * bool(values.get("log")))


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
    return "\n".join(["[searched]", *(f"{name} = {json.dumps(value)}" for name, value in rounded(settings).items())])
