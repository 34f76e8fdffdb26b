"""Frozen networks whose features the study probes: with random weights, ImageNet's, or trained on other music."""

from dataclasses import dataclass

import torch

from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models import AudioClassifier
from soundfusion_lib.models.vgg16 import load_imagenet
from soundfusion_lib.paths import data_dir
from soundfusion_lib.study import protocol
from soundfusion_lib.study.protocol import IMAGENET
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.features import Features, features

RANDOM = "random weights"


@dataclass(frozen=True)
class Start:
    """A network to probe.

    Args:
        network: its name in tables.
        source: of its weights: `RANDOM`, `IMAGENET`, or the corpus that it is trained on first.
        experiment: how it is built, its inputs are cut and, on other music, it is trained.
    """

    network: str
    source: str
    experiment: Experiment

    @property
    def name(self) -> str:
        return f"{self.network}, {self.source}"

    def build(self, study: Study, seed: int) -> AudioClassifier:
        """The network with its weights; where these are not random the seed has no effect."""
        if self.source not in (RANDOM, IMAGENET):
            return study.pretrained(self.experiment).model()
        torch.manual_seed(seed)
        model = self.experiment.build(len(study.store.labels))
        if self.source == IMAGENET:
            load_imagenet(model)
        return model

    def features(self, study: Study, seed: int = 0) -> Features:
        """Of the study's tracks, see `training.features.features`."""
        trained = self.source not in (RANDOM, IMAGENET)
        return features_of(study, self.build(study, seed), self.experiment, self.name, standardizes=trained)


def features_of(
    study: Study, model: AudioClassifier, experiment: Experiment, name: str, standardizes: bool = True
) -> Features:
    """What a network makes of the study's tracks, cut as the experiment cuts them; see `training.features.features`."""
    options = {"standardizes": standardizes, "name": name, "progress": study.progress}
    return features(study.store, model, experiment.segmenting, data_dir() / "store", study.device, **options)


def starts(study: Study) -> tuple[list[Start], dict[tuple[str, str], str]]:
    """The networks that can be had, in the order of the table; and, by network and source, why others cannot."""
    networks = {
        "VGG16": protocol.vgg16(study, "VGG16 on the pretraining corpus"),
        "ResNet2D-small": protocol.resnet(study, "resnet2d"),
        "SimpleCNN": protocol.simple_cnn(study),
    }
    possible, impossible = [], {}
    for network, experiment in networks.items():
        for source in (RANDOM, IMAGENET, protocol.pretraining_name(study)):
            if source == IMAGENET and network != "VGG16":
                continue  # its authors' weights are for this network only
            try:
                protocol.start_from(study, source, experiment)
                possible.append(Start(network, source, experiment))
            except SoundFusionError as error:
                impossible[network, source] = f"not run: {error}"
    return possible, impossible
