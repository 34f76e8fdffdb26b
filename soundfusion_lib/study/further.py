"""Beyond the report: other ways to fuse its two networks, other networks to fuse, a recipe and searched settings."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.study.protocol import LABELS, joint_fusions, parts_of, resnet
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.loop import Training

REPORTED = "SoundFusion-1"
WAYS = {"fusion_gated": "Gated fusion", "fusion_attention": "Attention fusion"}


def backbones(study: Study) -> tuple[dict[str, tuple[str, dict[str, Any]]], dict[str, tuple[str, dict[str, Any]]]]:
    """Networks on waveforms and on spectrograms, by name, as parts of a fusion: the report's, a larger ResNet1D, and
    ResNet18; without those that the profile leaves out."""
    resnet1d, resnet2d = parts_of(study)
    waveform = {"ResNet1D-small": resnet1d}
    if "large" not in study.profile.leave_out:
        waveform["ResNet1D-large"] = "resnet1d", {**resnet1d[1], "width": study.profile.width("resnet1d", "large")}
    mel = {"ResNet2D-small": resnet2d, "ResNet18-small": ("resnet2d", {**resnet2d[1], "depth": 18})}
    for name in ("SimpleCNN", "nnet1", "nnet2", "VGG16"):
        kind = {"SimpleCNN": "simple_cnn", "VGG16": "vgg16"}.get(name, name)
        mel[name] = kind, {key: value for key, value in study.profile.models.get(kind, {}).items() if key == "width"}
    return waveform, {name: part for name, part in mel.items() if part[0] not in study.profile.leave_out}


def pairs(study: Study) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """Parts of fusions by name, "ResNet1D-small + nnet2": the profile's `pairs`, or all pairs of `backbones`. Raises
    SoundFusionError if the profile names a pair that there is not."""
    waveform, mel = backbones(study)
    every = {f"{one} + {two}": [waveform[one], mel[two]] for one in waveform for two in mel}
    named = study.profile.pairs or list(every)
    if unknown := [name for name in named if name not in every]:
        raise SoundFusionError(f"profile {study.profile.name}: pairs: no {unknown[0]!r}; there are: {', '.join(every)}")
    return {name: every[name] for name in named}


def fusions(study: Study) -> dict[str, Experiment]:
    """SoundFusion-1; the same parts fused by a gate and by attention; and other pairs of networks, fused as it is. All
    are trained as SoundFusion-1 is: as many epochs, in batches of the same size, at the same rate."""
    reported = joint_fusions(study)[REPORTED]
    found = {REPORTED: reported}
    found |= {name: replace(reported, name=name, model=model) for model, name in WAYS.items()}
    for name, parts in pairs(study).items():
        if parts != reported.options["parts"]:
            found[name] = replace(reported, name=name, options={**reported.options, "parts": parts})
    return found


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


def searched(study: Study) -> dict[str, Experiment]:
    """ "searched": the network whose settings the profile has from a search of its own; none where it has none."""
    found = study.profile.searched
    return {"searched": winner(study, found)} if found else {}


def winner(study: Study, settings: dict[str, Any]) -> Experiment:
    """The small network that the profile's search is about with the settings that were found. It is tested in the
    search's fold alone: in others some of the tracks that it was chosen by would test it."""
    model = study.profile.search.model
    experiment = resnet(study, model).vary(f"{LABELS[model]}, searched", **rounded(settings))
    return replace(experiment, folds=study.test_folds[:1])


def rounded(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings to three digits, as a profile has them and as the winner is trained."""
    return {name: float(f"{value:.3g}") if isinstance(value, float) else value for name, value in settings.items()}
