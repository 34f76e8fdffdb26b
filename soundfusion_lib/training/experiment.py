"""Experiment: what to train, and from which start. All that the outcome depends on, except the corpus."""

import hashlib
import inspect
import json
from collections import ChainMap
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from soundfusion_lib.audio import representations
from soundfusion_lib.audio.augment import AUGMENTATIONS, augmentation
from soundfusion_lib.audio.representations import Representation
from soundfusion_lib.audio.segments import Segmenting
from soundfusion_lib.checks import check, one_sentence, options, options_of, table
from soundfusion_lib.datasets.splits import Split
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models import MODELS, AudioClassifier, build_model
from soundfusion_lib.training.loop import Training

# Raise it when a change to the library changes what runs come out as, a setting's default value among them: old runs
# are then not found again.
REVISION = 4
NESTED = {"segmenting": Segmenting, "split": Split, "training": Training}  # fields that are dataclasses
OF_THE_STUDY = "role", "folds", "seeds"  # fields that a run does not have


@dataclass(frozen=True)
class Start:
    """Where the weights of a network come from before it is trained: here, from torch's random generator."""

    def to_dict(self) -> dict[str, Any]:
        """The start as JSON holds it, and as keys of runs count it."""
        return {IN_JSON.get(name, name): value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class ImageNet(Start):
    """VGG16 trained on ImageNet: `weights` are the fingerprint of their file, or "torchvision"; where it is `frozen`,
    only what `vgg16.freeze` leaves is trained."""

    weights: str
    frozen: bool = False


@dataclass(frozen=True)
class FromRun(Start):
    """The same network, trained on another corpus: `run` is that run's key, or, before a study has resolved it, its
    experiment. `frozen` is None for a network that has nothing to freeze."""

    run: "Experiment | str"
    frozen: bool | None = None


@dataclass(frozen=True)
class FromParts(Start):
    """A fusion's networks, each trained before on the same tracks: `runs` as `FromRun.run`."""

    runs: "tuple[Experiment | str, ...]"


RANDOM = Start()
IN_JSON = {"weights": "imagenet", "run": "backbone", "runs": "parts"}  # names of a start's first field


def start_from_dict(content: dict[str, Any]) -> Start:
    """The inverse of `Start.to_dict`."""
    if "imagenet" in content:
        return ImageNet(content["imagenet"], content["frozen"])
    if "backbone" in content:
        return FromRun(content["backbone"], content.get("frozen"))
    return FromParts(tuple(content["parts"])) if content else RANDOM


@dataclass(frozen=True)
class Experiment:
    """What to train.

    Args:
        name: title in tables and figures.
        model: a name in `MODELS`.
        representations: one for each input of the model.
        options: of the model; `in_channels` and `n_mels` follow from the mel spectrogram.
        segmenting: how clips are cut.
        augment: options of the augmentation, by input: {"mel": {}, "waveform": {"noise_std": 0.01}}.
        standardize: give inputs mean 0 and standard deviation 1, per mel band, over the training set.
        split: which tracks train, validate and test.
        training: epochs, batch size, optimizer.
        seed: of the initial weights, the order of segments, dropout and augmentation.
        start: where the weights come from.
        role: what it stands for beside others, see `result.ROLES`.
        folds: in which a study trains it; empty for the study's `test_folds`.
        seeds: with which a study trains it; empty for the profile's.

    `name`, `role`, `folds` and `seeds` are not part of the key.
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
    start: Start = RANDOM
    role: str = "network"
    folds: tuple[int, ...] = ()
    seeds: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise SoundFusionError(f"experiment {self.name!r}: no model {self.model!r}, only {', '.join(MODELS)}")
        with one_sentence(f"experiment {self.name!r}:"):
            check(options_of(MODELS[self.model]), self.options, f"{self.model}:")
            for name, options in self.augment.items():
                augmentation(name, **options)

    def vary(self, name: str = "", **changes: Any) -> "Experiment":
        """The experiment with some settings changed: of its training, its model, or the augmentation that it has.

        Its name is by default the old one with the changes behind it. Raises SoundFusionError for a setting that the
        experiment does not have."""
        known = {"": options(MODELS[self.model]), "training": options(Training)}
        known |= {kind: options(AUGMENTATIONS[kind]) for kind in self.augment}
        check(table(ChainMap(*known.values())), changes, f"{self.name}:")
        new = {part: {key: changes[key] for key in changes if key in names} for part, names in known.items()}
        name = name or ", ".join([self.name, *(f"{key} = {value}" for key, value in changes.items())])
        training = replace(self.training, **new["training"])
        augment = {kind: old | new[kind] for kind, old in self.augment.items()}
        return replace(self, name=name, options=self.options | new[""], training=training, augment=augment)

    def to_dict(self) -> dict[str, Any]:
        """The experiment as JSON can hold it."""
        content = {**asdict(replace(self, start=RANDOM)), "start": self.start.to_dict()}
        content["representations"] = [representations.to_dict(spec) for spec in self.representations]
        return {name: value for name, value in content.items() if name not in OF_THE_STUDY}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "Experiment":
        """The inverse of `to_dict`."""
        specs: dict[str, Any] = {name: kind(**content[name]) for name, kind in NESTED.items()}
        specs["representations"] = tuple(representations.from_dict(spec) for spec in content["representations"])
        specs["start"] = start_from_dict(content["start"])
        return cls(**{**content, **specs})

    def key(self, content_id: str) -> str:
        """Hash of what the outcome depends on, 16 hexadecimal digits; `content_id` is of the tracks, see `Store`.

        Only settings that differ from their defaults count: spelling one out changes nothing, nor does a new setting
        whose default is what was done before. 4 and 4.0 are the same.
        """
        content = {
            "model": self.model,
            "representations": [{"kind": spec.kind, **_unusual(spec)} for spec in self.representations],
            "options": _unusual_options(self.model, self.options, self._input_shape),
            "augment": {name: _unusual(options, AUGMENTATIONS[name]) for name, options in self.augment.items()},
            "standardize": self.standardize,
            "seed": self.seed,
            "start": self.start.to_dict(),
            **{name: _unusual(getattr(self, name)) for name in NESTED},
        }
        content = json.loads(json.dumps(content), parse_float=_number)
        text = json.dumps([REVISION, content_id, content], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def starts_from(self) -> tuple[str, ...]:
        """Keys of the runs whose weights it starts from."""
        if isinstance(self.start, FromRun):
            return (self.start.run,)
        return self.start.runs if isinstance(self.start, FromParts) else ()

    @property
    def _input_shape(self) -> dict[str, int]:
        """The model's options that follow from its spectrogram."""
        mel = [spec for spec in self.representations if spec.kind == "mel"]
        return {"in_channels": mel[0].channels, "n_mels": mel[0].n_mels} if mel else {}

    def build(self, num_classes: int) -> AudioClassifier:
        """The untrained model, with random weights from torch's generator as it stands."""
        return build_model(self.model, num_classes, **{**self._input_shape, **self.options})


def _unusual(values: Any, function: Callable | None = None, **derived: Any) -> dict[str, Any]:
    """What of a dataclass, or of a function's arguments, differs from the default, or from what stands for it in
    `derived`."""
    options, function = (values, function) if function else (asdict(values), type(values))
    defaults = {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()} | derived
    return {name: value for name, value in options.items() if value != defaults[name]}


def _unusual_options(model: str, options: dict[str, Any], shape: dict[str, int]) -> dict[str, Any]:
    """The same of a model and of a fusion's parts, whose defaults follow the input's shape."""
    unusual = _unusual(options, MODELS[model], **shape)
    if "parts" in unusual:
        unusual["parts"] = [[part, _unusual_options(part, own, shape)] for part, own in unusual["parts"]]
    return unusual


def _number(text: str) -> float:
    """A number that JSON writes with a point, as an integer if it is whole."""
    value = float(text)
    return int(value) if value.is_integer() else value
