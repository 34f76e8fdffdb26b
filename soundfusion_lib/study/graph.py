"""The runs of experiments, and which of them wait for which."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

from soundfusion_lib.datasets.splits import Split
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.parallel import Wanted

if TYPE_CHECKING:
    from soundfusion_lib.study.study import Study


def wanted(study: "Study", experiments: Iterable[Experiment]) -> dict[str, Wanted]:
    """By key, the runs of these experiments on a study's tracks, and before them those that they start from; raises as
    `Study.pretraining`."""
    runs: dict[str, Wanted] = {}
    for experiment in experiments:
        runs |= wanted(study, parts(study, experiment))
        if "pretrained" in experiment.start:
            runs |= pretraining(study, experiment.start["pretrained"])
        runs |= {study.key(one): Wanted(one, study.store) for one in study.variants(experiment)}
    return runs


def seeds(study: "Study", experiment: Experiment) -> tuple[int, ...]:
    """What an experiment is run with: its own seeds, or those that the profile has for its name, or for all."""
    return experiment.seeds or tuple(study.profile.seeds_of.get(experiment.name, study.profile.seeds))


def parts(study: "Study", experiment: Experiment) -> list[Experiment]:
    """What an experiment starts from on the study's tracks, with the same seeds and in the same folds."""
    same = {"seeds": seeds(study, experiment), "folds": experiment.folds}
    return [replace(part, **same) for part in experiment.start.get("trained", ())]


def variants(study: "Study", experiment: Experiment) -> list[Experiment]:
    """See `Study.variants`."""
    found = []
    for seed, fold in product(seeds(study, experiment), experiment.folds or study.profile.test_folds):
        split, start = study.split(fold), dict(experiment.start)
        if "trained" in start:
            start["parts"] = [study.key(replace(part, seed=seed, split=split)) for part in start.pop("trained")]
        if "pretrained" in start:
            [start["backbone"]] = pretraining(study, start.pop("pretrained"))
        found.append(replace(experiment, seed=seed, split=split, start=start, folds=(), seeds=()))
    return found


def pretraining(study: "Study", experiment: Experiment) -> dict[str, Wanted]:
    """By its key, the run of an experiment on the study's corpus for pretraining, by that one's own split and with the
    first seed."""
    first = replace(experiment, split=Split().resolved(study.pretraining.tracks), seed=study.profile.seeds[0])
    return {first.key(study.pretraining.content_id): Wanted(first, study.pretraining)}
