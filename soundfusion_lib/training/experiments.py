"""Experiment: what to train. Everything that its outcome depends on, but the corpus."""

import dataclasses
import hashlib
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from soundfusion_lib.corpora.splits import Split
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models import MODELS, AudioClassifier, build_model
from soundfusion_lib.signals import representations
from soundfusion_lib.signals.augment import AUGMENTATIONS
from soundfusion_lib.signals.representations import Representation
from soundfusion_lib.signals.segments import Segmenting
from soundfusion_lib.training.fitting import Training

# Raise it when a change to the library changes what runs come out as, a setting's default value among them: old runs
# are then not found again.
REVISION = 4


@dataclass(frozen=True)
class Experiment:
    """What to train; everything its outcome depends on but the corpus.

    Args:
        name: title in tables and figures; not part of the content.
        model: a name in `MODELS`.
        representations: what the model's inputs are computed with, one of each kind that it takes.
        options: of the model; `in_channels` and `n_mels` follow from the mel spectrogram.
        segmenting: how clips are cut.
        augment: options of the augmentation of each input that has one: {"mel": {}, "waveform": {"noise_std": 0.01}}.
        standardize: give inputs mean 0 and deviation 1 (per mel band; over the training part). False: raw dB.
        split: which tracks train, validate and test.
        training: epochs, batch size, optimizer.
        seed: of the initial weights, the order of segments, dropout and augmentation.
        start: where the weights come from, random ones if empty: {"imagenet": fingerprint of a weights file, or
            "torchvision"} or {"backbone": key of another VGG16's run}, for VGG16, with "frozen": True to train only
            what the authors trained (see `vgg16.freeze`); {"parts": keys of the parts' runs}, for a fusion. Before a
            study
            trains them, these runs are experiments: {"pretrained": one} for a backbone, {"trained": [...]} for parts.
        folds: which a study runs it in, the profile's test_folds if empty; not part of the content, nor of a run.
        seeds: which a study runs it with, the profile's if empty; not part of the content either.
    """

    name: str
    model: str
    representations: tuple[Representation, ...]
    options: dict[str, Any] = field(default_factory=dict)
    segmenting: Segmenting = Segmenting()
    augment: dict[str, dict[str, float]] = field(default_factory=dict)
    standardize: bool = True
    split: Split = Split()
    training: Training = Training()
    seed: int = 0
    start: dict[str, Any] = field(default_factory=dict)
    folds: tuple[int, ...] = ()
    seeds: tuple[int, ...] = ()

    def __post_init__(self):
        if self.model not in MODELS:
            raise SoundFusionError(
                f"experiment {self.name!r}: there is no model {self.model!r}, only {', '.join(MODELS)}"
            )

    def to_dict(self) -> dict[str, Any]:
        """The experiment as JSON can hold it."""
        content = {name: value for name, value in vars(self).items() if name not in ("folds", "seeds")}
        content["representations"] = [representations.to_dict(spec) for spec in self.representations]
        for name in ("segmenting", "split", "training"):
            content[name] = dataclasses.asdict(content[name])
        return content

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "Experiment":
        """The inverse of `to_dict`."""
        content = dict(content)
        content["representations"] = tuple(representations.from_dict(spec) for spec in content["representations"])
        for name, kind in (("segmenting", Segmenting), ("split", Split), ("training", Training)):
            content[name] = kind(**content[name])
        return cls(**content)

    def key(self, content_id: str) -> str:
        """Hash of what the experiment's outcome depends on, 16 hexadecimal digits.

        Only settings that differ from their defaults count, so that spelling one out changes nothing, and neither does
        a new setting whose default is what was done before. 4 and 4.0 are the same; the name does not count.

        Args:
            content_id: of the tracks it is trained on, see `Store.content_id`.
        """
        content = {
            "model": self.model,
            "representations": [{"kind": spec.kind, **_unusual(spec)} for spec in self.representations],
            "options": _unusual_options(self.model, self.options, self._input_shape),
            "segmenting": _unusual(self.segmenting),
            "augment": {name: _unusual_of(AUGMENTATIONS[name], options) for name, options in self.augment.items()},
            "standardize": self.standardize,
            "split": _unusual(self.split),
            "training": _unusual(self.training),
            "seed": self.seed,
            "start": self.start,
        }
        text = json.dumps([REVISION, content_id, _plain_numbers(content)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def _input_shape(self) -> dict[str, int]:
        """The model's options that follow from its spectrogram."""
        accepted = inspect.signature(MODELS[self.model]).parameters
        shape = {}
        for spec in self.representations:
            if spec.kind == "mel":
                shape = {"in_channels": spec.channels, "n_mels": spec.n_mels}
        return {name: value for name, value in shape.items() if name in accepted}

    def build(self, num_classes: int) -> AudioClassifier:
        """The untrained model, with random weights from torch's generator as it stands."""
        return build_model(self.model, num_classes, **{**self._input_shape, **self.options})


def _unusual(spec: Any) -> dict[str, Any]:
    """The fields of a dataclass that differ from their defaults."""
    values = {item.name: getattr(spec, item.name) for item in dataclasses.fields(spec)}
    return {item.name: values[item.name] for item in dataclasses.fields(spec) if values[item.name] != item.default}


def _unusual_of(function: Callable, options: dict[str, Any], **derived: Any) -> dict[str, Any]:
    """The arguments of a function that differ from their defaults, or from what stands for these in `derived`."""
    defaults = {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()} | derived
    return {name: value for name, value in options.items() if value != defaults[name]}


def _unusual_options(model: str, options: dict[str, Any], shape: dict[str, int]) -> dict[str, Any]:
    """The same of a model and of a fusion's parts, whose defaults follow the input's shape where they have to."""
    unusual = _unusual_of(MODELS[model], options, **shape)
    if "parts" in unusual:
        unusual["parts"] = [[part, _unusual_options(part, own, shape)] for part, own in unusual["parts"]]
    return unusual


def _plain_numbers(content: Any) -> Any:
    """The same with whole numbers written as such: 4 where it says 4.0."""
    if isinstance(content, dict):
        return {name: _plain_numbers(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [_plain_numbers(value) for value in content]
    return int(content) if isinstance(content, float) and content.is_integer() else content
