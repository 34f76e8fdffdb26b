"""Every experiment of the study: by notebook, and by name."""

from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.study import further, protocol
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.experiment import Experiment


def by_notebook(study: Study) -> dict[str, list[Experiment]]:
    """By notebook, the experiments whose runs it shows.

    Of the controls in notebook 5 that is ResNet2D's, since which part is the better one is known only when both are
    trained; of notebook 10 neither the search's trials nor its winner.

    Raises:
        SoundFusionError: the profile gives seeds to an experiment that there is not.
    """
    regularized = list(protocol.regularization(study).values())
    starts = list(protocol.transfer(study)[0].values())
    table = list(protocol.performance(study).values())
    small = protocol.resnet(study, "resnet2d")
    shown = {
        "02_models_2d": [
            *protocol.two_dimensional(study).values(),
            *protocol.regularization(study, ["resnet2d"]).values(),
            *protocol.grid(study).values(),
        ],
        "03_transfer_learning": [small, protocol.simple_cnn(study), *protocol.fine_tuned(study).values(), *starts],
        "04_models_1d": regularized,
        "05_fusion": [
            *protocol.fusions(study).values(),
            protocol.as_large(study, "resnet2d"),
            protocol.twin(study, small),
            *regularized,
            *table,
            *further.searched(study).values(),
        ],
        "06_width_scaling": list(protocol.widths(study).values()),
        "07_confusion_matrices": list(protocol.confused(study).values()),
        "08_beyond_the_report": [
            *table,
            *protocol.widths(study).values(),
            *regularized,
            *starts,
            *protocol.ablation(study).values(),
        ],
        "09_listen": table,
        "10_search": [*further.fusions(study).values(), protocol.resnet(study, study.profile.search.model)],
    }
    names = {experiment.name for experiments in shown.values() for experiment in experiments}
    if unknown := sorted(study.profile.seeds_of.keys() - names):
        there = ", ".join(sorted(f'"{name}"' for name in names if "SpecAugment" not in name))
        raise SoundFusionError(
            f"profile {study.profile.name}: [seeds_of] has no experiment {unknown[0]!r}; there are: {there}"
        )
    return shown


def experiments(study: Study) -> dict[str, Experiment]:
    """All of them by name, each once. A twin, which has other seeds, stands under its name and seeds."""
    named: dict[str, Experiment] = {}
    for shown in by_notebook(study).values():
        for experiment in shown:
            twins = f", seeds {experiment.seeds}" if experiment.seeds else ""
            named.setdefault(experiment.name + twins, experiment)
    return named
