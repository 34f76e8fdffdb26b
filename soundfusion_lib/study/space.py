"""Hyper-parameters to search: how a profile declares them, and the experiment that a choice of them is.

    [search]
    model = "resnet2d"   # or "resnet1d": the small one
    trials = 24
    [search.space]
    learning_rate = { low = 5e-4, high = 2e-2, log = true }
    width = [8, 12, 16, 24]

Tables of their own in a profile: what is not there is as in `DEFAULTS`.
"""

from collections.abc import Mapping
from dataclasses import fields, replace
from inspect import signature
from typing import TYPE_CHECKING, Any

from soundfusion_lib import settings
from soundfusion_lib.audio.augment import AUGMENTATIONS
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.loop import Training

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

    from soundfusion_lib.study.profile import Profile

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


def of(profile: "Profile") -> dict[str, Any]:
    """What a profile searches: model, trials and space, by default those of `DEFAULTS`."""
    return DEFAULTS | profile.search


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


def distributions(space: Mapping[str, Any]) -> dict[str, "BaseDistribution"]:
    """What Optuna draws each setting from."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    drawn: dict[str, BaseDistribution] = {}
    for name, values in space.items():
        if isinstance(values, list):
            drawn[name] = CategoricalDistribution(values)
        else:
            whole = isinstance(values["low"], int) and isinstance(values["high"], int)
            kind = IntDistribution if whole else FloatDistribution
            drawn[name] = kind(values["low"], values["high"], log=values.get("log", False))
    return drawn


def settings_of(experiment: Experiment, space: Mapping[str, Any]) -> dict[str, Any]:
    """What an experiment has for each setting of a space; nothing where one lies outside of it."""
    masks = {name: parameter.default for name, parameter in signature(AUGMENTATIONS["mel"]).parameters.items()}
    own = {**masks, **experiment.augment.get("mel", {}), **experiment.options, **vars(experiment.training)}

    def inside(name: str, values: Any) -> bool:
        return own[name] in values if isinstance(values, list) else values["low"] <= own[name] <= values["high"]

    return {name: own[name] for name in space} if all(map(inside, space, space.values())) else {}


def as_toml(found: Mapping[str, Any]) -> str:
    """Settings that were found, as a profile has them."""
    return "\n".join(["[searched]", *(f"{name} = {settings.shown(value)}" for name, value in rounded(found).items())])


def rounded(found: Mapping[str, Any]) -> dict[str, Any]:
    """Settings to three digits, as they are written down and trained with."""
    return {name: float(f"{value:.3g}") if isinstance(value, float) else value for name, value in found.items()}


def settled(experiment: Experiment, name: str, found: Mapping[str, Any]) -> Experiment:
    """An experiment with settings of a space: of training, of the model and of the spectrogram's masks."""

    def own(names: set[str]) -> dict[str, Any]:
        return {key: value for key, value in found.items() if key in names}

    masks = {"mel": own(OF_MASKS)}
    augment = {kind: {**options, **masks.get(kind, {})} for kind, options in experiment.augment.items()}
    return replace(
        experiment,
        name=name,
        options={**experiment.options, **own(OF_MODEL)},
        training=replace(experiment.training, **own(OF_TRAINING)),
        augment=augment,
    )
