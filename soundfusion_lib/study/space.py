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
    from optuna.distributions import BaseDistribution


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
    return "\n".join(["[searched]", *(f"{name} = {shown(value)}" for name, value in rounded(found).items())])


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
