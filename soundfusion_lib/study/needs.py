"""Which experiments each notebook shows."""

from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.study import further, protocol
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.experiment import Experiment


def needed_by(study: Study) -> dict[str, list[Experiment]]:
    """By notebook, the experiments whose runs it shows; of the controls in notebook 5 ResNet2D's, as which part is the
    better one is known only when both are trained, and of notebook 10 neither the search nor what it finds.

    Raises:
        SoundFusionError: the profile gives seeds to an experiment that there is not.
    """
    regularized = protocol.regularization(study)
    starts, _ = protocol.transfer(study)
    table = list(protocol.performance(study).values())
    searched = protocol.searched(study).values()
    in_2d = protocol.two_dimensional(study) | protocol.regularization(study, ["resnet2d"]) | protocol.grid(study)
    scratch = [protocol.resnet(study, "resnet2d"), protocol.simple_cnn(study)]
    needed = {
        "02_models_2d": list(in_2d.values()),
        "03_transfer_learning": [*scratch, *protocol.fine_tuned(study).values(), *starts.values()],
        "04_models_1d": list(regularized.values()),
        "05_fusion": [
            *protocol.fusions(study).values(),
            protocol.as_large(study, "resnet2d"),
            protocol.twin(study, protocol.resnet(study, "resnet2d")),
            *regularized.values(),
            *table,
            *searched,
        ],
        "06_width_scaling": list(protocol.widths(study).values()),
        "07_confusion_matrices": list(protocol.confused(study).values()),
        "08_beyond_the_report": [
            *table,
            *protocol.widths(study).values(),
            *regularized.values(),
            *starts.values(),
            *protocol.ablation(study).values(),
        ],
        "09_listen": table,
        "10_search": [*further.fusions(study).values(), protocol.resnet(study, study.profile.search.model)],
    }
    names = {experiment.name for experiments in needed.values() for experiment in experiments}
    if unknown := sorted(study.profile.seeds_of.keys() - names):
        raise SoundFusionError(
            f"profile {study.profile.name}: [seeds_of] has no experiment {unknown[0]!r}; there are: "
            + ", ".join(sorted(f'"{name}"' for name in names if "SpecAugment" not in name))
        )
    return needed
