"""Experiment: what to train. Everything that its outcome depends on, but the corpus."""

import hashlib
import inspect
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from soundfusion_lib.audio import representations
from soundfusion_lib.audio.augment import AUGMENTATIONS, augmentation
from soundfusion_lib.audio.representations import Representation
from soundfusion_lib.audio.segments import Segmenting
from soundfusion_lib.checks import check, one_sentence, options_of
from soundfusion_lib.datasets.splits import Split
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models import MODELS, AudioClassifier, build_model
from soundfusion_lib.training.loop import Training

# Raise it when a change to the library changes what runs come out as, a setting's default value among them: old runs
# are then not found again.
REVISION = 4
NESTED = {"segmenting": Segmenting, "split": Split, "training": Training}  # fields that are dataclasses


@dataclass(frozen=True)
class Experiment:
    """What to train.

    Args:
        name: title in tables and figures; not part of the key.
        model: a name in `MODELS`.
        representations: one for each of the model's inputs.
        options: of the model; `in_channels` and `n_mels` follow from the mel spectrogram.
        segmenting: how clips are cut.
        augment: options of each input's augmentation, if it has one: {"mel": {}, "waveform": {"noise_std": 0.01}}.
        standardize: give inputs mean 0 and deviation 1 (per mel band; over the training part). False: raw dB.
        split: which tracks train, validate and test.
        training: epochs, batch size, optimizer.
        seed: of the initial weights, the order of segments, dropout and augmentation.
        start: where the weights come from, random ones if empty: {"imagenet": fingerprint of a weights file, or
            "torchvision"}, for VGG16; {"backbone": key of the same network's run on another corpus}; for VGG16 with
            "frozen": True to train only what the authors trained (see `vgg16.freeze`); {"parts": keys of the parts'
            runs}, for a fusion. Before a study trains them, these runs are experiments: {"pretrained": one} for a
            backbone, {"trained": [...]} for parts.
        folds: which a study runs it in, the profile's test_folds if empty; neither in the key nor in a run.
        seeds: which a study runs it with, the profile's if empty; neither in the key nor in a run.
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

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise SoundFusionError(f"experiment {self.name!r}: no model {self.model!r}, only {', '.join(MODELS)}")
        with one_sentence(None, f"experiment {self.name!r}:"):
            check(options_of(MODELS[self.model]), self.options, f"{self.model}:")
            for name, options in self.augment.items():
                augmentation(name, **options)

    def to_dict(self) -> dict[str, Any]:
        """The experiment as JSON can hold it."""
        content = asdict(self)
        content["representations"] = [representations.to_dict(spec) for spec in self.representations]
        del content["folds"], content["seeds"]
        return content

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "Experiment":
        """The inverse of `to_dict`."""
        training = {name: value for name, value in content["training"].items() if (name, value) != ("steps", 0)}
        content = {**content, "training": training}  # older runs have a setting `steps`, which was 0
        specs: dict[str, Any] = {name: kind(**content[name]) for name, kind in NESTED.items()}
        specs["representations"] = tuple(representations.from_dict(spec) for spec in content["representations"])
        return cls(**{**content, **specs})

    def key(self, content_id: str) -> str:
        """Hash of what the outcome depends on, 16 hexadecimal digits.

        Only settings that differ from their defaults count: spelling one out changes nothing, nor does a new setting
        whose default is what was done before. 4 and 4.0 are the same.

        Args:
            content_id: of the tracks it is trained on, see `Store.content_id`.
        """
        content = {
            "model": self.model,
            "representations": [{"kind": spec.kind, **_unusual_of(spec)} for spec in self.representations],
            "options": _unusual_options(self.model, self.options, self._input_shape),
            "augment": {name: _unusual(AUGMENTATIONS[name], options) for name, options in self.augment.items()},
            "standardize": self.standardize,
            "seed": self.seed,
            "start": self.start,
            **{name: _unusual_of(getattr(self, name)) for name in NESTED},
        }
        content = json.loads(json.dumps(content), parse_float=_number)
        text = json.dumps([REVISION, content_id, content], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def starts_from(self) -> tuple[str, ...]:
        """Keys of the runs whose weights it starts from."""
        return (*self.start.get("parts", ()), *([self.start["backbone"]] if "backbone" in self.start else ()))

    @property
    def _input_shape(self) -> dict[str, int]:
        """The model's options that follow from its spectrogram."""
        for spec in self.representations:
            if spec.kind == "mel":
                return {"in_channels": spec.channels, "n_mels": spec.n_mels}
        return {}

    def build(self, num_classes: int) -> AudioClassifier:
        """The untrained model, with random weights from torch's generator as it stands."""
        return build_model(self.model, num_classes, **{**self._input_shape, **self.options})


def _unusual(function: Callable, options: dict[str, Any], **derived: Any) -> dict[str, Any]:
    """The arguments that differ from the function's defaults, or from what stands for these in `derived`."""
    defaults = {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()} | derived
    return {name: value for name, value in options.items() if value != defaults[name]}


def _unusual_of(spec: Any) -> dict[str, Any]:
    """The same of a dataclass."""
    return _unusual(type(spec), asdict(spec))


def _unusual_options(model: str, options: dict[str, Any], shape: dict[str, int]) -> dict[str, Any]:
    """The same of a model and of a fusion's parts, whose defaults follow the input's shape."""
    unusual = _unusual(MODELS[model], options, **shape)
    if "parts" in unusual:
        unusual["parts"] = [[part, _unusual_options(part, own, shape)] for part, own in unusual["parts"]]
    return unusual


def _number(text: str) -> float:
    """A number that JSON writes with a point, as an integer if it is whole."""
    value = float(text)
    return int(value) if value.is_integer() else value
