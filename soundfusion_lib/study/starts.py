"""Frozen networks whose features the study probes: with random weights, ImageNet's, or trained on other music, by us or
by others."""

from dataclasses import dataclass
from typing import Any

import torch

from soundfusion_lib.audio.representations import Waveform
from soundfusion_lib.audio.segments import Segmenting
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models import AudioClassifier
from soundfusion_lib.models.musicnn import SAMPLE_RATE, SECONDS, MusiCNN, load_musicnn, musicnn_file
from soundfusion_lib.models.vgg16 import load_imagenet
from soundfusion_lib.paths import data_dir
from soundfusion_lib.study import protocol
from soundfusion_lib.study.protocol import IMAGENET
from soundfusion_lib.study.study import Study
from soundfusion_lib.training.experiment import Experiment
from soundfusion_lib.training.features import FEATURES_REVISION, Features, features

RANDOM, MILLION_SONGS = "random weights", "Million Song Dataset"
PUBLISHED = {IMAGENET: load_imagenet, MILLION_SONGS: load_musicnn}  # by the source of the weights


@dataclass(frozen=True)
class Start:
    """A network to probe.

    Args:
        network: its name in tables.
        source: of its weights: `RANDOM`, `IMAGENET`, or the corpus that it is trained on first.
        experiment: how it is built, its inputs are cut and, on other music, it is trained.
        blocks: stages that its probe takes; the last ones if there are none.
    """

    network: str
    source: str
    experiment: Experiment
    blocks: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.network}, {self.source}"

    @property
    def standardizes(self) -> bool:
        """Whether it was trained on a corpus of sound, see `training.features.features`."""
        return self.source not in (RANDOM, IMAGENET)

    def build(self, study: Study, seed: int) -> AudioClassifier:
        """The network with its weights; where these are not random the seed has no effect.

        Raises SoundFusionError where published weights are not at hand.
        """
        if self.source not in (RANDOM, *PUBLISHED):
            return study.pretrained(self.experiment).model()
        torch.manual_seed(seed)
        model = self.experiment.build(len(study.store.labels))
        if self.source in PUBLISHED:
            PUBLISHED[self.source](model)
        return model

    def about(self, study: Study) -> list[Any]:
        """What its features depend on, as JSON can hold it: how it is built and fed, and its weights."""
        if self.experiment == MUSICNN:
            return [FEATURES_REVISION, self.network, SAMPLE_RATE, SECONDS, self.source]
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
        model = self.build(study, seed)
        return features_of(study, model, self.experiment, self.name, standardizes=self.standardizes)


@dataclass(frozen=True)
class MusiCNNExperiment(Experiment):
    """How musicnn hears every profile's clips: as it was trained to, at 16 kHz, in segments of 3 s."""

    def __post_init__(self) -> None:
        """It is none of `MODELS`, and has no options."""

    def build(self, num_classes: int) -> MusiCNN:
        return MusiCNN(num_classes)


MUSICNN = MusiCNNExperiment("musicnn", "musicnn", (Waveform(SAMPLE_RATE),), segmenting=Segmenting(SECONDS, 0.0))


def musicnn(source: str = MILLION_SONGS) -> Start:
    """musicnn trained by its authors, or with `RANDOM` weights. Its probe takes the penultimate layer."""
    return Start(MUSICNN.name, source, MUSICNN, ("block 3",))


def features_of(
    study: Study, model: AudioClassifier, experiment: Experiment, name: str, standardizes: bool = True
) -> Features:
    """What a network makes of the study's tracks, cut as the experiment cuts them; see `training.features.features`."""
    store, specs = study.store, list(experiment.representations)
    if any(spec not in [array.representation for array in store.arrays.values()] for spec in specs):
        store = study.build_store(study.corpus, specs)
    options = {"standardizes": standardizes, "name": name, "progress": study.progress}
    return features(store, model, experiment.segmenting, data_dir() / "store", study.device, **options)


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
    if musicnn_file().is_file() or study.kept:
        possible += [musicnn(RANDOM), musicnn()]
    else:
        impossible["musicnn", MILLION_SONGS] = "not run: `soundfusion download musicnn` brings its weights, 29 MB"
    return possible, impossible
