"""The report's experiments: what each of its tables and plots takes, declared on a study.

Each function returns experiments by their names in the table. An experiment that several tables share is the same in
all of them, so it is trained once.
"""

from collections.abc import Collection
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models import count_parameters
from soundfusion_lib.models.vgg16 import FULL_WIDTH, imagenet_file, published_weights
from soundfusion_lib.paths import PROJECT
from soundfusion_lib.study.profile import SIZES
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.experiment import Experiment, FromParts, FromRun, ImageNet, Start
from soundfusion_lib.training.fuse import average
from soundfusion_lib.training.loop import Training
from soundfusion_lib.training.result import CONTROL, FUSION, PART, Result
from soundfusion_lib.training.run import checksum

LABELS = {"resnet1d": "ResNet1D", "resnet2d": "ResNet2D"}
REGULARIZATIONS: dict[str, dict[str, Any]] = {
    "none": {},
    "dropout": {"dropout": 0.3},
    "dropout+augmentation": {"dropout": 0.3, "augment": True},
}


def reported(name: str) -> pd.DataFrame:
    """A table of the report's own numbers: results/reported/<name>.csv of the project, wherever results go."""
    return pd.read_csv(PROJECT / "results" / "reported" / f"{name}.csv")


def resnet(study: Study, model: str, size: str = "small", regularization: str = "dropout+augmentation") -> Experiment:
    """ResNet1D or ResNet2D ("resnet1d", "resnet2d") of a size in `SIZES`, regularized as in the slides' table."""
    options = dict(REGULARIZATIONS[regularization])
    if size == "large":
        options |= {"batch_size": study.profile.large_batch, **study.profile.large}
    name = f"{LABELS[model]}-{size}"
    if regularization != "dropout+augmentation":
        name += ", " + regularization.replace("none", "no regularization")
    role = PART if size == "small" else "network"
    return study.experiment(name, model, role=role, width=study.profile.width(model, size), **options)


def simple_cnn(study: Study) -> Experiment:
    """SimpleCNN on the whole clip, with the report's SpecAugment: also the cell (1.0, 2, 0.3) of its grid search."""
    return study.experiment("SimpleCNN, whole clip", "simple_cnn", augment=True)


def nnets(study: Study) -> dict[str, Experiment]:
    """nnet1, nnet2, and nnet2 without regularization."""
    return {
        "nnet1": study.experiment("nnet1", "nnet1", augment=True),
        "nnet2, no regularization": study.experiment("nnet2, no regularization", "nnet2", dropout=0.0),
        "nnet2": study.experiment("nnet2", "nnet2", augment=True),
    }


def two_dimensional(study: Study) -> dict[str, Experiment]:
    """The networks on spectrograms, by name."""
    return {
        "SimpleCNN, whole clip": simple_cnn(study),
        "ResNet2D-small": resnet(study, "resnet2d"),
        **nnets(study),
    }


def regularization(study: Study, models: Collection[str] = tuple(LABELS)) -> dict[tuple[str, str], Experiment]:
    """By model and regularization, the slides' table of regularization techniques."""
    return {(model, kind): resnet(study, model, "small", kind) for model in models for kind in REGULARIZATIONS}


def widths(study: Study) -> dict[tuple[str, str], Experiment]:
    """By model and size, the slides' width scaling."""
    return {(model, size): resnet(study, model, size) for model in LABELS for size in SIZES}


def grid(study: Study) -> dict[tuple[float, int, float], Experiment]:
    """By probability, number of masks and largest fraction: the 36 cells of the report's grid search of SpecAugment, in
    the first fold; none where the profile leaves it out."""
    cells: dict[tuple[float, int, float], Experiment] = {}
    if "grid" in study.profile.leave_out:
        return cells
    for row in reported("grid_search_specaugment").itertuples():
        cell = (row.probability, row.n_masks, row.max_mask_fraction)
        options = {
            "n_time_masks": row.n_masks,
            "n_frequency_masks": row.n_masks,
            "probability": row.probability,
            "max_fraction": row.max_mask_fraction,
        }
        name = f"SimpleCNN, SpecAugment {cell}"
        experiment = study.experiment(name, "simple_cnn", augment={"mel": options}, **study.profile.grid)
        cells[cell] = replace(experiment, folds=study.profile.test_folds[:1])
    return cells


def vgg16(study: Study, name: str, **options: Any) -> Experiment:
    """VGG16 in the batches of the large networks."""
    return study.experiment(name, "vgg16", batch_size=study.profile.large_batch, **options)


def transfer(study: Study) -> tuple[dict[str, Experiment], dict[str, str]]:
    """VGG16 from random weights, and from ImageNet's and from a corpus in GTZAN's place, frozen and fine-tuned.

    Returns:
        Experiments by name; and, by name, why one that belongs here cannot be run, and what to do about it.
    """
    music = pretraining_name(study)
    try:
        refuse_left_out(study, "vgg16")
    except SoundFusionError as error:
        return {}, {f"VGG16, {source} start": f"not run: {error}" for source in ("random", "ImageNet", music)}
    possible, impossible = {"VGG16, random start": vgg16(study, "VGG16, random start")}, {}
    starts: dict[str, Start] = {}
    try:
        starts["ImageNet"] = ImageNet(imagenet_fingerprint(study))
    except SoundFusionError as error:
        impossible["VGG16, ImageNet start"] = f"not run: {error}"
    try:
        study.check_pretraining()
        starts[music] = FromRun(vgg16(study, "VGG16 on the pretraining corpus"))
    except SoundFusionError as error:
        impossible[f"VGG16, {music} start"] = f"not run: {error}"
    for source, start in starts.items():
        for way, frozen in (("frozen", True), ("fine-tuned", False)):
            name = f"VGG16, {source} start, {way}"
            possible[name] = vgg16(study, name, start=replace(start, frozen=frozen))
    return possible, impossible


def fine_tuned(study: Study) -> dict[str, Experiment]:
    """ResNet2D-small and SimpleCNN that start from the same network trained on other music, by network; none where
    there is no such corpus."""
    try:
        study.check_pretraining()
    except SoundFusionError:
        return {}
    experiments = {"ResNet2D-small": resnet(study, "resnet2d"), "SimpleCNN": simple_cnn(study)}
    music = pretraining_name(study)
    return {
        network: replace(one, name=f"{network}, {music} start, fine-tuned", start=FromRun(one))
        for network, one in experiments.items()
    }


def pretraining_name(study: Study) -> str:
    """What the corpus is called that networks may be trained on first."""
    corpus = study.profile.pretraining
    kind = corpus.get("kind", "gtzan")
    names = {"gtzan": "GTZAN", "demo_gtzan": "synthetic GTZAN", "folder": Path(corpus.get("path", "")).name}
    return names.get(kind, kind)


def refuse_left_out(study: Study, model: str) -> None:
    """Raise SoundFusionError for a model that the profile leaves out."""
    if model in study.profile.leave_out:
        raise SoundFusionError("the profile leaves it out, as it takes too long where this is run")


def imagenet_fingerprint(study: Study) -> str:
    """What ImageNet's weights are told apart by; raises SoundFusionError where they cannot be had."""
    width = study.profile.models.get("vgg16", {}).get("width", FULL_WIDTH)
    if width != FULL_WIDTH:
        raise SoundFusionError(
            f"this profile's VGG16 has width {width}, and ImageNet's weights are for width {FULL_WIDTH}; "
            "run a profile with the whole VGG16, such as fma_small"
        )
    if file := imagenet_file():
        return checksum(file)[:12]
    if not study.dry:
        published_weights()  # out of torchvision's cache, or downloaded now
    return "torchvision"


def parts_of(study: Study) -> list[tuple[str, dict[str, int]]]:
    """The fusions' parts, each ending in 4 F features: ResNet1D-small and ResNet2D-small."""
    return [
        ("resnet1d", {"width": study.profile.width("resnet1d", "small")}),
        ("resnet2d", {"width": study.profile.width("resnet2d", "small"), "pool": 1}),
    ]


def joint_fusions(study: Study) -> dict[str, Experiment]:
    """Both fusions, trained jointly from scratch: by features; by decisions, with equal and with a learned weight."""
    options = {"parts": parts_of(study), "augment": True, "role": FUSION}
    return {
        "SoundFusion-1": study.experiment("SoundFusion-1", "fusion_concat", **options),
        "SoundFusion-2": study.experiment("SoundFusion-2", "fusion_decision", **options),
        "SoundFusion-2, learned weight": study.experiment(
            "SoundFusion-2, learned weight", "fusion_decision", weighting="learned", **options
        ),
    }


def fusions(study: Study) -> dict[str, Experiment]:
    """The fusions' parts, and all fusions that take training, by name."""
    return {
        "ResNet1D-small": resnet(study, "resnet1d"),
        "ResNet2D-small": resnet(study, "resnet2d"),
        **joint_fusions(study),
        "SoundFusion-1 of trained parts": fusion_of_trained(study),
    }


def as_large(study: Study, model: str) -> Experiment:
    """A control of the fusions: one part alone, wide enough to have as many parameters as SoundFusion-1."""
    wanted = _parameters(joint_fusions(study)["SoundFusion-1"])
    small = resnet(study, model)
    for width in count(study.profile.width(model, "small")):
        options = {**small.options, "width": width}
        wider = replace(small, name=f"{LABELS[model]}, F = {width}", options=options, role=CONTROL)
        if _parameters(wider) >= wanted:
            return wider


def twin(study: Study, experiment: Experiment) -> Experiment:
    """A control of the fusions: the same with as many other seeds, the next ones. Averaged with it, an experiment makes
    an ensemble for each seed, and no two of these have a run in common."""
    seeds = study.seeds(experiment)
    return replace(experiment, seeds=tuple(max(seeds) + 1 + nth for nth in range(len(seeds))), role=CONTROL)


def _parameters(experiment: Experiment) -> int:
    with torch.device("meta"):  # shapes only
        return count_parameters(experiment.build(num_classes=8))


def ablation(study: Study) -> dict[str, Experiment]:
    """What each part of the newer recipe is worth: ResNet2D-small by all of it, without one part each, and by Adam at a
    constant rate for up to 60 epochs, near the report's recipe. Empty where the profile trains so, or leaves it out."""
    whole = resnet(study, "resnet2d")
    if whole.training.schedule != "one_cycle" or "ablation" in study.profile.leave_out:
        return {}
    without = {
        "weight decay": {"weight_decay": 0.0},
        "averaged weights": {"averaging": 0.0},
        "mixup": {"mixup": 0.0},
        "label smoothing": {"label_smoothing": 0.0},
        "random starts": {"random_starts": False},
        "the last epoch (the best on validation)": {"keep": "best", "patience": whole.training.epochs},
    }
    parts = {f"without {part}": replace(whole.training, **changes) for part, changes in without.items()}
    recipes = {"the newer recipe": whole.training, **parts, "Adam at a constant rate": Training()}
    return {name: replace(whole, name=f"ResNet2D-small, {name}", training=one) for name, one in recipes.items()}


def fusion_of_trained(study: Study) -> Experiment:
    """SoundFusion-1 that starts from the trained ResNet1D-small and ResNet2D-small."""
    return study.experiment(
        "SoundFusion-1 of trained parts",
        "fusion_concat",
        parts=parts_of(study),
        augment=True,
        start=FromParts(tuple(resnet(study, model) for model in LABELS)),
        role=FUSION,
    )


def decisions_of_trained(one: Result, two: Result) -> dict[str, Result]:
    """SoundFusion-2 of two trained networks: nothing to train."""
    name = "SoundFusion-2 of trained parts"
    equal, searched = f"{name}, equal weights", f"{name}, weight searched"
    return {equal: average(one, two, equal), searched: average(one, two, searched, searched=True)}


def performance(study: Study) -> dict[str, Experiment]:
    """The slides' table of performance, by its row in results/reported/table2_performance.csv."""
    frozen = [one for one in transfer(study)[0].values() if getattr(one.start, "frozen", False)]
    pretrained = {"vgg16_pretrained": frozen[0]} if frozen else {}  # ImageNet's, where it could be had
    fused = joint_fusions(study)
    return {
        "resnet1d_medium": resnet(study, "resnet1d", "medium"),
        **pretrained,
        "resnet2d_small": resnet(study, "resnet2d", "small"),
        "nnet1": nnets(study)["nnet1"],
        "nnet2": nnets(study)["nnet2"],
        "simple_cnn": simple_cnn(study),
        "soundfusion1": fused["SoundFusion-1"],
        "soundfusion2": fused["SoundFusion-2"],
    }


def confused(study: Study) -> dict[str, Experiment]:
    """The networks whose confusion matrices the slides show, by name."""
    mediums = {f"{label}-medium": resnet(study, model, "medium") for model, label in LABELS.items()}
    return mediums | {"SoundFusion-1": joint_fusions(study)["SoundFusion-1"]}
