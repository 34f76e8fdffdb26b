"""Profiles: which corpus, how many epochs, seeds and sizes; a TOML file each."""

import copy
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import Any

from soundfusion_lib import settings
from soundfusion_lib.audio.augment import AUGMENTATIONS
from soundfusion_lib.audio.representations import MelSpectrogram, Representation, Waveform
from soundfusion_lib.audio.segments import Segmenting
from soundfusion_lib.datasets.kinds import check_corpus
from soundfusion_lib.datasets.splits import Split
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models import MODELS
from soundfusion_lib.study import space
from soundfusion_lib.training.loop import Training

SIZES = {"small": 16, "medium": 32, "large": 64}  # F in the report
BUILT_IN = Path(__file__).with_name("built_in")
RESNETS = "resnet1d", "resnet2d"
CORPORA = "corpus", "pretraining"
SEARCHES = "search", "searched"
SEEDS = "seeds_of"
MANY_RUNS = "ablation", "grid"  # the recipe part by part, the grid search of SpecAugment
AS_SOUNDFUSION_1 = "fusion_gated", "fusion_attention"  # models that are trained as it is, see `further.fusions`
TABLES = {"waveform": Waveform, "mel": MelSpectrogram, "segmenting": Segmenting, "split": Split}

# what the study sets itself, by table and key, and what to do instead
SET_BY_THE_STUDY = {
    "split.fold": "set test_folds",
    "large.batch_size": "set large_batch",
    "models.vgg16.batch_size": "set large_batch",
    **{f"models.{model}.width": f"set [widths.{model}]" for model in RESNETS},
    **{f"models.{model}.dropout": "the table of regularization compares its values" for model in RESNETS},
    **{f"models.{model}.parts": "they are the small ResNets" for model in MODELS if model.startswith("fusion_")},
    "models.fusion_decision.weighting": "both are trained",
    **{f"models.{model}.in_channels": "set channels in [mel]" for model in MODELS},
    **{f"models.{model}.n_mels": "set n_mels in [mel]" for model in MODELS},
}


@dataclass(frozen=True)
class Profile:
    """What a study runs on, and how long. Each field is a key of the file; a dictionary or dataclass is a table."""

    name: str  # of its folder in results/
    corpus: dict[str, Any]  # kind and its arguments, see `open_corpus`
    waveform: Waveform = Waveform()
    mel: MelSpectrogram = MelSpectrogram()
    segmenting: Segmenting = Segmenting()  # of clips for the models fed by segments
    clip_seconds: float = 30.0  # length of a whole clip for the models fed without segmentation
    split: Split = Split()  # which tracks train, validate and test
    test_folds: tuple[int, ...] = (0,)  # to run; their test predictions are pooled
    seeds: tuple[int, ...] = (0,)  # which every experiment is run with,
    seeds_of: dict[str, list[int]] = field(default_factory=dict)  # and single ones, by their names
    training: dict[str, Any] = field(default_factory=dict)  # over the report's settings, see `Training`, of all models,
    models: dict[str, dict[str, Any]] = field(default_factory=dict)  # and of single ones, with options of the model
    augment: dict[str, dict[str, float]] = field(default_factory=dict)  # over the report's augmentation, by input
    widths: dict[str, dict[str, int]] = field(default_factory=dict)  # F of the small, medium and large ResNets
    large_batch: int = 16  # batch size of the large ResNets and of VGG16
    large: dict[str, Any] = field(default_factory=dict)  # over the settings of the large ResNets
    grid: dict[str, Any] = field(default_factory=dict)  # over those of SimpleCNN in the grid search of SpecAugment
    pretraining: dict[str, Any] = field(default_factory=dict)  # corpus that networks are trained on first
    search: space.Search = space.Search()  # of hyper-parameters
    searched: dict[str, Any] = field(default_factory=dict)  # what that search found: a row in the table of performance
    pairs: tuple[str, ...] = ()  # of networks that notebook 10 fuses, see `further.pairs`; all if there are none
    leave_out: tuple[str, ...] = ()  # models, and of `MANY_RUNS`, whose experiments are not run: they cost too much

    def width(self, model: str, size: str) -> int:
        """F of the ResNet "resnet1d" or "resnet2d" of size "small", "medium" or "large"."""
        return self.widths.get(model, {}).get(size, SIZES[size])

    @property
    def representations(self) -> list[Representation]:
        return [self.waveform, self.mel]


def load_profile(name: str | Path) -> Profile:
    """The built-in profile of this name, or the one in a TOML file, whose name it has if it gives none.

    Paths in a file are relative to it.

    Raises:
        SoundFusionError: no such profile; no TOML; a key or value that is not allowed (see `settings.RULES`), or that
            the study sets itself; a built-in profile's name.
    """
    content, path = read_profile(name)
    return parse_profile(content, path)


def read_profile(name: str | Path) -> tuple[dict[str, Any], Path]:
    """What the file of a profile says, and where it is; raises as `load_profile`, but for keys and values."""
    path = Path(name).expanduser() if str(name).endswith(".toml") else BUILT_IN / f"{name}.toml"
    if not path.is_file():
        raise SoundFusionError(f"there is no profile {str(name)!r}: give {', '.join(built_in())}, or a TOML file")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig")), path  # Notepad may write a byte order mark
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SoundFusionError(f"profile {path}: not valid TOML: {error}") from error


def built_in() -> list[str]:
    """Names of the built-in profiles."""
    return sorted(file.stem for file in BUILT_IN.glob("*.toml"))


def parse_profile(content: dict[str, Any], path: Path) -> Profile:
    """The profile that a file with this content is; raises as `load_profile`."""
    file = f"profile {path}:"
    content = copy.deepcopy({"name": path.stem, "corpus": {}, **content})
    _check(content, _defaults_of_profile(), file)
    if path.resolve().parent != BUILT_IN.resolve() and content["name"].casefold() in built_in():
        raise SoundFusionError(f'{file} name = "{content["name"]}": a built-in profile has this name: give another')
    for key in CORPORA:
        if "path" in content.get(key, {}):
            content[key]["path"] = str((path.parent / Path(content[key]["path"]).expanduser()).resolve())
    space.check(content.get("search", {}), file)
    content["search"] = space.Search(**content.get("search", {}))
    for key, kind in TABLES.items():
        content[key] = kind(**content.get(key, {}))
    profile = Profile(**{key: tuple(value) if isinstance(value, list) else value for key, value in content.items()})
    if profile.split.scheme == "all":
        raise SoundFusionError(f'{file} [split] scheme = "all" leaves nothing to test: `soundfusion train --all-clips`')
    last = profile.split.folds - 1
    if max(profile.test_folds) > last:
        raise SoundFusionError(f"{file} test_folds = {list(profile.test_folds)}: [split] has folds 0 to {last}")
    space.check_found(profile.searched, file)
    for name in profile.leave_out:
        if name not in (*MODELS, *MANY_RUNS):
            allowed = ", ".join((*MODELS, *MANY_RUNS))
            raise SoundFusionError(f"{file} leave_out: there is no {name!r}, only {allowed}")
    return profile


def _defaults_of_profile() -> dict[str, Any]:
    """The default of each key of a profile; of a table, the default of each of its keys."""
    training = _defaults(Training)
    return {
        **_defaults(Profile),
        "name": "",
        **{key: {} for key in (*CORPORA, *SEARCHES, SEEDS)},
        **{key: _defaults(kind) for key, kind in TABLES.items()},
        **dict.fromkeys(("training", "large", "grid"), training),
        "models": {name: training | _defaults(model) for name, model in MODELS.items() if name not in AS_SOUNDFUSION_1},
        "augment": {name: _defaults(function) for name, function in AUGMENTATIONS.items()},
        "widths": dict.fromkeys(RESNETS, SIZES),
    }


def _defaults(function: Callable) -> dict[str, Any]:
    parameters = signature(function).parameters.values()
    return {item.name: item.default for item in parameters if item.default is not item.empty}


def _check(table: dict[str, Any], defaults: dict[str, Any], file: str, name: str = "") -> None:
    """Refuse a key that has no default, and a value that is not allowed beside the others' or their defaults."""
    where = f"{file} [{name}]" if name else file
    settings.check_keys(table, defaults, where)
    for key, value in table.items():
        full = f"{name}.{key}" if name else key
        if full in SET_BY_THE_STUDY:
            raise SoundFusionError(f"{where} {key} is set by the study: {SET_BY_THE_STUDY[full]}")
        if isinstance(defaults[key], dict) and not isinstance(value, dict):
            raise SoundFusionError(f"{file} {full} = {settings.shown(value)}: must be a table, [{full}]")
        if key in CORPORA:
            check_corpus(value, f"{file} [{key}]")
        elif key in SEARCHES and not name:
            continue  # `space` checks it
        elif key == SEEDS:
            for experiment, seeds in value.items():
                settings.check({"seeds": seeds}, f"{file} [{SEEDS}] {experiment}:")
        elif isinstance(defaults[key], dict):
            _check(value, defaults[key], file, full)
    values = {key: value for key, value in (defaults | table).items() if not isinstance(defaults[key], dict)}
    settings.check(values, where)
