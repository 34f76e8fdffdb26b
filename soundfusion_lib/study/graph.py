"""The runs of experiments, and which of them wait for which."""

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from soundfusion_lib.corpora.splits import Split
from soundfusion_lib.training.experiments import Experiment
from soundfusion_lib.training.train import Wanted

if TYPE_CHECKING:
    from soundfusion_lib.study.study import Study


def wanted(study: "Study", experiments: Iterable[Experiment]) -> dict[str, Wanted]:
    """By key, the runs of these experiments on a study's tracks, and before them those that they start from; raises as
    `Study.pretraining`."""
    runs: dict[str, Wanted] = {}
    for experiment in experiments:
        parts = experiment.start.get("trained", ())
        runs |= wanted(study, [replace(part, folds=experiment.folds, seeds=experiment.seeds) for part in parts])
        if "pretrained" in experiment.start:
            runs |= pretraining(study, experiment.start["pretrained"])
        runs |= {study.key(one): Wanted(one, study.store) for one in study.variants(experiment)}
    return runs


def pretraining(study: "Study", experiment: Experiment) -> dict[str, Wanted]:
    """By its key, the run of an experiment on the study's corpus for pretraining, by that one's own split and with the
    first seed."""
    first = replace(experiment, split=Split().resolved(study.pretraining.tracks), seed=study.profile.seeds[0])
    return {first.key(study.pretraining.content_id): Wanted(first, study.pretraining)}
