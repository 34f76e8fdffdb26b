"""Profiles: which corpus, how many epochs, seeds and sizes; a TOML file each."""

import tomllib
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, fields
from inspect import signature
from pathlib import Path
from typing import Any

from soundfusion_lib import settings
from soundfusion_lib.corpora.kinds import check_corpus
from soundfusion_lib.corpora.splits import Split
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models import MODELS
from soundfusion_lib.models.vgg16 import FULL_WIDTH
from soundfusion_lib.signals.augment import AUGMENTATIONS
from soundfusion_lib.signals.representations import MelSpectrogram, Representation, Waveform
from soundfusion_lib.signals.segments import Segmenting
from soundfusion_lib.training.fitting import Training

SIZES = {"small": 16, "medium": 32, "large": 64}  # F in the report
BUILT_IN = Path(__file__).with_name("built_in")
RESNETS = "resnet1d", "resnet2d"
PLAIN = {"name", "clip_seconds", "seeds", "test_folds", "performance_folds", "large_batch", "imagenet_weights"}
TABLES = {"waveform": Waveform, "mel": MelSpectrogram, "segmenting": Segmenting, "split": Split}
TRAINING = {item.name for item in fields(Training)}

# what the study sets itself, by table and key, and what to do instead
SET_BY_THE_STUDY = {
    "split.fold": "set test_folds",
    "large.batch_size": "set large_batch",
    "models.vgg16.batch_size": "set large_batch",
    **{f"models.{model}.width": f"set [widths.{model}]" for model in RESNETS},
    **{f"models.{model}.dropout": "the table of regularization compares its values" for model in RESNETS},
    **{f"models.{model}.parts": "they are the small ResNets" for model in ("fusion_concat", "fusion_decision")},
    "models.fusion_decision.weighting": "both are trained",
    **{f"models.{model}.in_channels": "set channels in [mel]" for model in MODELS},
    **{f"models.{model}.n_mels": "set n_mels in [mel]" for model in MODELS},
}


@dataclass(frozen=True)
class Profile:
    """What a study runs on, and how long.

    Args:
        name: of its folder in results/.
        corpus: `kind` ("demo", "fma", "gtzan", "soundtracks" or "folder") and its arguments, see `open_corpus`.
        waveform, mel: the two representations.
        segmenting: how clips are cut for the models fed by segments.
        clip_seconds: length of a whole clip for the models fed without segmentation.
        split: which tracks train, validate and test.
        test_folds: folds to run; their test predictions are pooled.
        performance_folds: folds to run for the table of performance and the conclusions; test_folds if empty.
        seeds: every experiment is run with each of them.
        training: overrides the report's settings (see `Training`) for all models,
        models: and those of single models, with the model's options: {"vgg16": {"width": 8, "learning_rate": 1e-3}}.
        augment: overrides the report's settings of the augmentation, by input: {"mel": {"max_fraction": 0.1}}.
        widths: F of the small, medium and large ResNets.
        large_batch: batch size of the large ResNets and of VGG16.
        large: overrides the settings of the large ResNets.
        grid: overrides the settings of SimpleCNN for the grid search of SpecAugment.
        pretraining: corpus that VGG16 is trained on first, in GTZAN's place; `kind` and arguments as in `corpus`.
        imagenet_weights: file of VGG16's ImageNet weights (see `vgg16.load_imagenet`); torchvision's if empty.
    """

    name: str
    corpus: dict[str, Any]
    waveform: Waveform = Waveform()
    mel: MelSpectrogram = MelSpectrogram()
    segmenting: Segmenting = Segmenting()
    clip_seconds: float = 30.0
    split: Split = Split()
    test_folds: tuple[int, ...] = (0,)
    performance_folds: tuple[int, ...] = ()
    seeds: tuple[int, ...] = (0,)
    training: dict[str, Any] = field(default_factory=dict)
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    augment: dict[str, dict[str, float]] = field(default_factory=dict)
    widths: dict[str, dict[str, int]] = field(default_factory=dict)
    large_batch: int = 16
    large: dict[str, Any] = field(default_factory=dict)
    grid: dict[str, Any] = field(default_factory=dict)
    pretraining: dict[str, Any] = field(default_factory=dict)
    imagenet_weights: str = ""

    def width(self, model: str, size: str) -> int:
        """F of the ResNet "resnet1d" or "resnet2d" of size "small", "medium" or "large"."""
        return self.widths.get(model, {}).get(size, SIZES[size])

    @property
    def representations(self) -> list[Representation]:
        return [self.waveform, self.mel]


def load_profile(name: str | Path) -> Profile:
    """The built-in profile of this name, or the one in a TOML file.

    Paths in a file are relative to that file. Its name is the file's if it does not give one.

    Raises:
        SoundFusionError: no such profile; the file is no TOML; a key that profiles do not have, a value that is not
            allowed (see `settings.RULES`), or one that the study sets itself; the name of a built-in profile.
    """
    path = Path(name).expanduser() if str(name).endswith(".toml") else BUILT_IN / f"{name}.toml"
    if not path.is_file():
        names = ", ".join(built_in())
        raise SoundFusionError(f"there is no profile {str(name)!r}: give one of {names}, or a TOML file")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # Windows's Notepad may write a byte order mark
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SoundFusionError(f"profile {path}: not valid TOML: {error}") from error
    return _parse(content, path)


def built_in() -> list[str]:
    """Names of the built-in profiles."""
    return sorted(file.stem for file in BUILT_IN.glob("*.toml"))


def _parse(content: dict[str, Any], path: Path) -> Profile:
    file = f"profile {path}:"
    content.setdefault("name", path.stem)
    settings.check_keys(content, {item.name for item in fields(Profile)}, f"profile {path}")
    spec = _table(content, "corpus", file)
    settings.check({key: value for key, value in content.items() if key in PLAIN}, file)
    if path.resolve().parent != BUILT_IN.resolve() and content["name"].casefold() in built_in():
        raise SoundFusionError(f'{file} name = "{content["name"]}": a built-in profile has this name: give another')
    check_corpus(spec, f"{file} [corpus]")
    if "pretraining" in content:
        check_corpus(_table(content, "pretraining", file), f"{file} [pretraining]")
    for key in ("training", "large", "grid"):
        settings.check(_table(content, key, file, TRAINING), f"{file} [{key}]")
    for model in _table(content, "models", file, MODELS):
        valid = TRAINING | _arguments(MODELS[model]) - {"num_classes"}
        options = _table(content["models"], model, file, valid, "models.")
        settings.check(options, f"{file} [models.{model}]")
    for kind in _table(content, "augment", file, AUGMENTATIONS):
        options = _table(content["augment"], kind, file, _arguments(AUGMENTATIONS[kind]), "augment.")
        defaults = {item.name: item.default for item in signature(AUGMENTATIONS[kind]).parameters.values()}
        settings.check(defaults | options, f"{file} [augment.{kind}]")
    for model in _table(content, "widths", file, RESNETS):
        settings.check(_table(content["widths"], model, file, SIZES, "widths."), f"{file} [widths.{model}]")
    for key, kind in TABLES.items():
        options = _table(content, key, file, _arguments(kind))
        settings.check(options, f"{file} [{key}]")
        content[key] = kind(**options)
    for key in ("seeds", "test_folds", "performance_folds"):
        content[key] = tuple(content.get(key, getattr(Profile, key)))
        last = content["split"].folds - 1
        if key != "seeds" and max(content[key], default=0) > last:
            raise SoundFusionError(f"{file} {key} = {list(content[key])}: [split] has folds 0 to {last}")
    narrow = content.get("models", {}).get("vgg16", {}).get("width", FULL_WIDTH) != FULL_WIDTH
    if narrow and "imagenet_weights" in content:
        raise SoundFusionError(
            f"{file} imagenet_weights has no effect: they fit VGG16 of width {FULL_WIDTH} only; take it out, or "
            "[models.vgg16] width"
        )
    for table, key in ((spec, "path"), (content.get("pretraining", {}), "path"), (content, "imagenet_weights")):
        if key in table:
            table[key] = str((path.parent / Path(table[key]).expanduser()).resolve())
    return Profile(**content)


def _arguments(function: Callable) -> set[str]:
    return set(signature(function).parameters)


def _table(content: dict, key: str, file: str, valid: Collection[str] | None = None, parent: str = "") -> dict:
    """The table under this key, empty if there is none, with no other keys than the valid ones."""
    table, name = content.get(key, {}), f"{parent}{key}"
    if not isinstance(table, dict):
        raise SoundFusionError(f"{file} {name} = {settings.shown(table)}: must be a table, [{name}]")
    if valid is not None:
        settings.check_keys(table, valid, f"{file} [{name}]")
    for setting in table:
        if f"{name}.{setting}" in SET_BY_THE_STUDY:
            raise SoundFusionError(
                f"{file} [{name}] {setting} is set by the study: {SET_BY_THE_STUDY[f'{name}.{setting}']}"
            )
    return table
