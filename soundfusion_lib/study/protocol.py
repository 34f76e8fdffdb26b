"""The report's experiments: what each of its tables and plots takes, declared on a study, by their names in the table.
An experiment that several tables share is the same in all of them, so it is trained once."""

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
from soundfusion_lib.study.profile import REPORTED, SIZES
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.experiment import RANDOM, Experiment, FromParts, FromRun, ImageNet, Start
from soundfusion_lib.training.fuse import average
from soundfusion_lib.training.result import CONTROL, FUSION, PART, Result
from soundfusion_lib.training.run import checksum

IMAGENET = "ImageNet"
LEFT_OUT = "the profile leaves it out, as it takes too long where this is run"
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
    options = REGULARIZATIONS[regularization] | ({"batch_size": study.profile.large_batch} if size == "large" else {})
    name = f"{LABELS[model]}-{size}"
    if regularization != "dropout+augmentation":
        name += ", " + regularization.replace("none", "no regularization")
    role = PART if size == "small" else "network"
    return study.experiment(name, model, role=role, width=study.profile.width(model, size), **options)


def simple_cnn(study: Study) -> Experiment:
    """SimpleCNN on the whole clip, with the report's SpecAugment: also the cell (1.0, 2, 0.3) of its grid search."""
    return study.experiment("SimpleCNN, whole clip", "simple_cnn", augment=True)


def _named(*experiments: Experiment) -> dict[str, Experiment]:
    return {experiment.name: experiment for experiment in experiments}


def two_dimensional(study: Study) -> dict[str, Experiment]:
    """The networks on spectrograms, by name."""
    return _named(
        simple_cnn(study),
        resnet(study, "resnet2d"),
        study.experiment("nnet1", "nnet1", augment=True),
        study.experiment("nnet2, no regularization", "nnet2", dropout=0.0),
        study.experiment("nnet2", "nnet2", augment=True),
    )


def regularization(study: Study, models: Collection[str] = tuple(LABELS)) -> dict[tuple[str, str], Experiment]:
    """By model and regularization, the slides' table of regularization techniques."""
    return {(model, kind): resnet(study, model, "small", kind) for model in models for kind in REGULARIZATIONS}


def widths(study: Study) -> dict[tuple[str, str], Experiment]:
    """By model and size, the slides' width scaling; without the large ones where the profile leaves them out."""
    sizes = [size for size in SIZES if size not in study.profile.leave_out]
    return {(model, size): resnet(study, model, size) for model in LABELS for size in sizes}


def grid(study: Study) -> dict[tuple[float, int, float], Experiment]:
    """By probability, number of masks and largest fraction: the 36 cells of the report's grid search of SpecAugment, in
    the first fold; none where the profile leaves it out."""
    if "grid" in study.profile.leave_out:
        return {}
    cells = {}
    for cell in reported("grid_search_specaugment").iloc[:, :3].itertuples(index=False, name=None):
        probability, masks, share = cell
        mel = {"probability": probability, "n_time_masks": masks, "n_frequency_masks": masks, "max_fraction": share}
        name = f"SimpleCNN, SpecAugment {cell}"
        experiment = study.experiment(name, "simple_cnn", augment={"mel": mel}, **study.profile.grid)
        cells[cell] = replace(experiment, folds=(study.profile.test_folds or (0,))[:1])
    return cells


def vgg16(study: Study, name: str, **options: Any) -> Experiment:
    """VGG16 in the batches of the large networks."""
    return study.experiment(name, "vgg16", batch_size=study.profile.large_batch, **options)


def transfer(study: Study) -> tuple[dict[str, Experiment], dict[str, str]]:
    """By name, VGG16 from random weights, and from ImageNet's and from other music, frozen and fine-tuned; and, by
    name, why one that belongs here cannot be run, and what to do about it."""
    possible, impossible = {}, {}
    for source in ("random", IMAGENET, pretraining_name(study)):
        try:
            if "vgg16" in study.profile.leave_out:
                raise SoundFusionError(LEFT_OUT)
            start = start_from(study, source, vgg16(study, "VGG16 on the pretraining corpus"))
        except SoundFusionError as error:
            impossible[f"VGG16, {source} start"] = f"not run: {error}"
            continue
        for way in [""] if start == RANDOM else [", frozen", ", fine-tuned"]:
            name = f"VGG16, {source} start{way}"
            possible[name] = vgg16(study, name, start=replace(start, frozen=way == ", frozen") if way else start)
    return possible, impossible


def start_from(study: Study, source: str, network: Experiment) -> Start:
    """The start of a network by its source: `IMAGENET`; `pretraining_name`, where it is trained first; else random.
    Raises SoundFusionError where it cannot be had."""
    if source == IMAGENET:
        return ImageNet(imagenet_fingerprint(study))
    if source != pretraining_name(study):
        return RANDOM
    if network.model in study.profile.leave_out:
        raise SoundFusionError(LEFT_OUT)
    study.check_pretraining()
    return FromRun(network)


def fine_tuned(study: Study) -> dict[str, Experiment]:
    """ResNet2D-small and SimpleCNN that start from the same network trained on other music, by network; none where
    there is no such corpus."""
    try:
        study.check_pretraining()
    except SoundFusionError:
        return {}
    networks = {"ResNet2D-small": resnet(study, "resnet2d"), "SimpleCNN": simple_cnn(study)}
    named = f"{pretraining_name(study)} start, fine-tuned"
    return {name: replace(one, name=f"{name}, {named}", start=FromRun(one)) for name, one in networks.items()}


def pretraining_name(study: Study) -> str:
    """What the corpus is called that networks may be trained on first."""
    corpus = {"kind": "gtzan", "path": ""} | study.profile.pretraining
    names = {"gtzan": "GTZAN", "demo_gtzan": "synthetic GTZAN", "folder": Path(corpus["path"]).name}
    return names.get(corpus["kind"], corpus["kind"])


def imagenet_fingerprint(study: Study) -> str:
    """What ImageNet's weights are told apart by; raises SoundFusionError where they cannot be had."""
    width = study.profile.settings("vgg16").get("width", FULL_WIDTH)
    if width != FULL_WIDTH:
        raise SoundFusionError(f"this profile's VGG16 has width {width}, and ImageNet's weights have {FULL_WIDTH}")
    if file := imagenet_file():
        return checksum(file)[:12]
    if not study.dry:
        published_weights()  # out of torchvision's cache, or downloaded now
    return "torchvision"


def parts_of(study: Study) -> list[tuple[str, dict[str, Any]]]:
    """The fusions' parts, ResNet1D-small and ResNet2D-small with the profile's options of them. Each ends in 4 F
    features, whatever [models.resnet2d] says of its pooling."""
    parts = []
    for model, fixed in (("resnet1d", {}), ("resnet2d", {"pool": 1})):
        of_profile = {key: value for key, value in study.profile.models.get(model, {}).items() if key not in REPORTED}
        parts.append((model, {**of_profile, "width": study.profile.width(model, "small"), **fixed}))
    return parts


def joint_fusions(study: Study) -> dict[str, Experiment]:
    """Both fusions, trained jointly from scratch: by features; by decisions, with equal and with a learned weight."""
    options = {"parts": parts_of(study), "augment": True, "role": FUSION}
    return _named(
        study.experiment("SoundFusion-1", "fusion_concat", **options),
        study.experiment("SoundFusion-2", "fusion_decision", **options),
        study.experiment("SoundFusion-2, learned weight", "fusion_decision", weighting="learned", **options),
    )


def fusion_of_trained(study: Study) -> Experiment:
    """SoundFusion-1 that starts from the trained ResNet1D-small and ResNet2D-small."""
    start = FromParts(tuple(resnet(study, model) for model in LABELS))
    return replace(joint_fusions(study)["SoundFusion-1"], name="SoundFusion-1 of trained parts", start=start)


def fusions(study: Study) -> dict[str, Experiment]:
    """The fusions' parts, and all fusions that take training, by name."""
    parts = (resnet(study, model) for model in LABELS)
    return _named(*parts, *joint_fusions(study).values(), fusion_of_trained(study))


def as_large(study: Study, model: str) -> Experiment:
    """A control of the fusions: one part alone, wide enough to have as many parameters as SoundFusion-1."""
    small, parameters = resnet(study, model), _parameters(joint_fusions(study)["SoundFusion-1"])
    for width in count(study.profile.width(model, "small")):
        wider = small.vary(f"{LABELS[model]}, F = {width}", width=width)
        if _parameters(wider) >= parameters:
            return replace(wider, role=CONTROL)


def twin(study: Study, experiment: Experiment) -> Experiment:
    """A control of the fusions: the same with as many other seeds, the next ones. Averaged with it, an experiment makes
    an ensemble for each seed, and no two of these have a run in common."""
    seeds = study.seeds(experiment)
    return replace(experiment, seeds=tuple(range(max(seeds) + 1, max(seeds) + 1 + len(seeds))), role=CONTROL)


def _parameters(experiment: Experiment) -> int:
    with torch.device("meta"):  # shapes only
        return count_parameters(experiment.build(num_classes=8))


def decisions_of_trained(one: Result, two: Result) -> dict[str, Result]:
    """SoundFusion-2 of two trained networks: nothing to train."""
    equal, searched = (f"SoundFusion-2 of trained parts, {how}" for how in ("equal weights", "weight searched"))
    return {equal: average(one, two, equal), searched: average(one, two, searched, searched=True)}


def performance(study: Study) -> dict[str, Experiment]:
    """The slides' table of performance, by its row in results/reported/table2_performance.csv."""
    frozen = [one for one in transfer(study)[0].values() if getattr(one.start, "frozen", False)]
    on_mel, fused = two_dimensional(study), joint_fusions(study)
    return {
        "resnet1d_medium": resnet(study, "resnet1d", "medium"),
        **({"vgg16_pretrained": frozen[0]} if frozen else {}),  # ImageNet's, where it could be had
        "resnet2d_small": on_mel["ResNet2D-small"],
        "nnet1": on_mel["nnet1"],
        "nnet2": on_mel["nnet2"],
        "simple_cnn": on_mel["SimpleCNN, whole clip"],
        "soundfusion1": fused["SoundFusion-1"],
        "soundfusion2": fused["SoundFusion-2"],
    }


def confused(study: Study) -> dict[str, Experiment]:
    """The networks whose confusion matrices the slides show, by name."""
    return _named(*(resnet(study, model, "medium") for model in LABELS), joint_fusions(study)["SoundFusion-1"])
