"""Frozen networks whose features the study probes: with random weights, ImageNet's, or trained on other music."""

from dataclasses import dataclass
from typing import Any

import torch

from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models import AudioClassifier
from soundfusion_lib.models.vgg16 import load_imagenet
from soundfusion_lib.paths import data_dir
from soundfusion_lib.study import protocol
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.features import FEATURES_REVISION, Features, features

RANDOM, IMAGENET, MILLION_SONGS = "random weights", "ImageNet", "Million Song Dataset"


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

    def about(self, study: Study) -> list[Any]:
        """What its features depend on, as JSON can hold it: how it is built and fed, and its weights."""
        weights = "random, seed 0"
        if self.source == IMAGENET:
            weights = protocol.imagenet_fingerprint(study)
        elif self.source != RANDOM:
            weights = study.key_pretrained(self.experiment)
        experiment = self.experiment.to_dict()
        built = [experiment[part] for part in ("model", "options", "representations", "segmenting")]
        return [FEATURES_REVISION, *built, weights]

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
            start = Start(network, source, experiment)
            try:
                if source == IMAGENET:
                    if network != "VGG16":
                        continue  # its authors' weights are for this network only
                    protocol.imagenet_fingerprint(study)
                elif source != RANDOM:
                    protocol.refuse_left_out(study, experiment.model)
                    study.check_pretraining()
                possible.append(start)
            except SoundFusionError as error:
                impossible[network, source] = f"not run: {error}"
    return possible, impossible
