"""Profiles: which corpus, how many epochs, seeds and sizes; a TOML file each."""

import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import Field, WrapValidator, model_validator

from soundfusion_lib.audio.augment import AUGMENTATIONS
from soundfusion_lib.audio.representations import MelSpectrogram, Representation, Waveform
from soundfusion_lib.audio.segments import Segmenting
from soundfusion_lib.checks import Batch, Count, Seconds, Seed, Width, check, checked, options, table
from soundfusion_lib.datasets import check_corpus
from soundfusion_lib.datasets.splits import Split
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models import MODELS
from soundfusion_lib.paths import data_dir, whole
from soundfusion_lib.training.loop import Training

SIZES = {"small": 16, "medium": 32, "large": 64}  # F in the report
BUILT_IN = Path(__file__).resolve().with_name("built_in")
BACKSLASH = r"a backslash begins an escape in double quotes: write C:/music, or 'C:\music' in single quotes"
RESNETS = "resnet1d", "resnet2d"
AS_SOUNDFUSION_1 = "fusion_gated", "fusion_attention"  # models that are trained as it is, see `further.fusions`
REPORTED = asdict(Training())  # the report's recipe,
REPORTED_OF = {"simple_cnn": {"learning_rate": 1e-3, "weight_decay": 1e-3, "batch_size": 256}}  # and where it differs

# What a search may vary. Trials of unequal epochs could not be compared.
OF_TRAINING = REPORTED.keys() - {"epochs", "patience", "keep"}
OF_MODEL = {"width", "dropout"}
OF_MASKS = options(AUGMENTATIONS["mel"]).keys()
SPACE = {
    "learning_rate": {"low": 5e-4, "high": 2e-2, "log": True},
    "weight_decay": {"low": 1e-3, "high": 0.3, "log": True},
    "mixup": {"low": 0.0, "high": 0.6},
    "max_fraction": {"low": 0.0, "high": 0.4},  # of an axis that a mask hides
    "width": [8, 12, 16, 24],
}

# What the study sets itself: of all models, and of single ones
SET_BY_THE_STUDY = {"in_channels", "n_mels", "parts", "weighting"}
SET_OF = {"resnet1d": {"width", "dropout"}, "resnet2d": {"width", "dropout"}, "vgg16": {"batch_size"}}


def _choices(values: Any, check_value: Callable[[Any], Any]) -> Any:
    """What a search chooses a setting from: a list of values, or a range."""
    is_range = isinstance(values, dict) and {"low", "high"} <= values.keys() <= {"low", "high", "log"}
    if not is_range and not (isinstance(values, list) and len(values) > 1):
        raise ValueError("give a list of two values or more, or { low = …, high = …, log = true }")
    for value in (values["low"], values["high"]) if is_range else values:
        check_value(value)
    return values


SEARCHABLE = options(Training, MODELS["resnet2d"], AUGMENTATIONS["mel"])
SEARCHABLE = {name: SEARCHABLE[name] for name in SEARCHABLE if name in OF_TRAINING | OF_MODEL | OF_MASKS}
NAME = r"^[\w-]+(\.[\w-]+)*$"
Name = Annotated[str, Field(pattern=NAME)]
Numbers = Annotated[tuple[Seed, ...], Field(min_length=1)]
# A network; the recipe part by part, the grid search of SpecAugment, the large ResNets, and notebook 10
Left = Literal[*MODELS, "ablation", "grid", "large", "search"]
LARGE = "vgg16", "large", "grid", "search"  # what a file of yours leaves out unless it says leave_out = []
Recipe = table(options(Training))
Augmentations = table({name: table(options(kind)) for name, kind in AUGMENTATIONS.items()})
Widths = table(dict.fromkeys(RESNETS, table(dict.fromkeys(SIZES, Width))))
Space = table({name: Annotated[kind, WrapValidator(_choices)] for name, kind in SEARCHABLE.items()})


@checked
class Search:
    """A search of hyper-parameters: of which small network, in how many trials, among which values."""

    model: Literal["resnet2d", "resnet1d"] = "resnet2d"  # resnet1d has no spectrogram to mask
    trials: Count = 24
    space: Space = field(default_factory=SPACE.copy)


@checked
class Profile:
    """What a study runs on, and how long. Each field is a key of the file; a dictionary or dataclass is a table."""

    name: Name  # of its folder in results/
    corpus: dict[str, Any]  # kind and its arguments, see `open_corpus`
    waveform: Waveform = Waveform()
    mel: MelSpectrogram = MelSpectrogram()
    segmenting: Segmenting = Segmenting()  # of clips for the models fed by segments
    clip_seconds: Seconds = 30.0  # length of a whole clip for the models fed without segmentation
    split: Split = Split()  # which tracks train, validate and test
    test_folds: tuple[Seed, ...] = ()  # to run; their test predictions are pooled; by default see `Study.test_folds`
    seeds: Numbers = (0,)  # which every experiment is run with,
    seeds_of: dict[str, Numbers] = field(default_factory=dict)  # and single ones, by their names
    training: Recipe = field(default_factory=dict)  # of all models, over the report's, see `settings`;
    models: dict[str, dict[str, Any]] = field(default_factory=dict)  # of single ones, with options of the model
    augment: Augmentations = field(default_factory=dict)  # over the report's augmentation, by input
    widths: Widths = field(default_factory=dict)  # F of the small, medium and large ResNets
    large_batch: Batch = 16  # batch size of the large ResNets and of VGG16
    grid: Recipe = field(default_factory=dict)  # over those of SimpleCNN in the grid search of SpecAugment
    pretraining: dict[str, Any] = field(default_factory=dict)  # corpus that networks are trained on first
    search: Search = field(default_factory=Search)  # of notebook 10
    searched: table(SEARCHABLE) = field(default_factory=dict)  # what it found: a row in the table of performance
    pairs: tuple[str, ...] = ()  # of networks that notebook 10 fuses, see `further.pairs`; all if there are none
    leave_out: tuple[Left, ...] = ()  # whose experiments are not run: they cost too much; in your files `LARGE`

    @model_validator(mode="after")
    def _tables_fit_each_other(self) -> "Profile":
        check_corpus(self.corpus, "[corpus]")
        if self.pretraining:
            check_corpus(self.pretraining, "[pretraining]")
        if self.split.fold:
            raise ValueError("[split] fold is set by the study: set test_folds")
        for name, values in self.models.items():
            for key in values.keys() & (SET_BY_THE_STUDY | SET_OF.get(name, set())):
                raise ValueError(f"{name}: {key} is set by the study: see [mel], [widths] and large_batch")
        kinds = {name: table(options(Training, kind)) for name, kind in MODELS.items() if name not in AS_SOUNDFUSION_1}
        check(table({"models": table(kinds)}), {"models": self.models})  # here: a user may have added one
        if self.split.scheme == "all":
            raise ValueError('[split] scheme = "all" leaves nothing to test: `soundfusion train --all-clips`')
        if max(self.test_folds, default=0) >= self.split.folds:
            raise ValueError(f"test_folds = {list(self.test_folds)}: [split] has folds 0 to {self.split.folds - 1}")
        return self

    def width(self, model: str, size: str) -> int:
        """F of the ResNet "resnet1d" or "resnet2d" of size "small", "medium" or "large"."""
        return self.widths.get(model, {}).get(size, SIZES[size])

    def settings(self, model: str) -> dict[str, Any]:
        """A model's training and options. Of what sets one of them, the last of these counts: the report; [training];
        [models.<model>]; large_batch, [grid] and [searched], of single experiments; the arguments of
        `Study.experiment`. A change by `--set` counts more than any table, see `changed`."""
        return REPORTED | REPORTED_OF.get(model, {}) | self.training | self.models.get(model, {})

    @property
    def representations(self) -> list[Representation]:
        return [self.waveform, self.mel]


def built_in() -> list[str]:
    """Names of the built-in profiles."""
    return sorted(file.stem for file in BUILT_IN.glob("*.toml"))


def load_profile(name: str | Path) -> Profile:
    """The built-in profile of this name, or the one in a TOML file, whose stem is its name if it gives none. A corpus's
    path is relative to the file; in a built-in profile, to the data folder. Raises SoundFusionError where there is none
    or a key or value is not allowed."""
    content, path = _read(name)
    taken = str(content["name"])
    if path.resolve().parent != BUILT_IN and taken.casefold() in built_in():
        raise SoundFusionError(f'profile {path}: name = "{taken}": a built-in profile has this name: give another')
    return check(Profile, content, f"profile {path}:")


def changed(profile: str, changes: Sequence[str]) -> str:
    """A profile with changes, as a file in data/profiles. Without changes the profile itself; of a file of yours a copy
    is put there, which `catalogue.profile_and_name` finds by its name from any folder.

    A change is such as "training.epochs=3": a key with dots, and a value as TOML writes it; a text needs no quotes, and
    a path is relative to the working directory. It overrides every table: what hides a key of [training] or [models],
    and [seeds_of] where seeds change, goes. The name is the profile's with the changes added, unless one is the name.
    Raises SoundFusionError for a change that is not allowed.
    """
    searched = load_profile(profile).search.model  # its faults are none of the changes'
    (content, path), values = _read(profile), {}
    if not changes:
        if path.resolve().parent not in (BUILT_IN, _profiles().resolve()):
            _file(content)
        return profile
    for change in changes:
        values = _merged(values, _parsed(change))
    words = re.sub(r"[^a-zA-Z0-9]+", "-", "-".join(sorted(changes)))
    digest = hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()
    content["name"] += f"-{words[:50]}-{digest[:6]}"
    training, models = (values.get(key, {}) for key in ("training", "models"))
    check(table({"training": Recipe, "models": dict[str, dict]}), {"training": training, "models": models}, "--set")
    tables = content | content.get("models", {})
    hidden = dict.fromkeys(content.get("models", {})) | {"grid": "simple_cnn", "searched": searched}
    for name, model in hidden.items():  # each hides [training], these two the table of a model as well
        for key in {*training, *models.get(model, ())}:
            tables.get(name, {}).pop(key, None)
    content |= {"large_batch": training["batch_size"]} if "batch_size" in training else {}
    content |= {"seeds_of": {}} if "seeds" in values else {}
    content = _merged(content, values)
    _make_absolute(content, Path.cwd())
    check(Profile, content, f"profile {profile} with --set {' --set '.join(changes)}:")
    return _file(content)


def _profiles() -> Path:
    return data_dir() / "profiles"


def _file(content: dict[str, Any]) -> str:
    """Write a profile by its name; returns the file."""
    with whole(file := _profiles() / f"{content['name']}.toml") as aside:
        aside.write_text(tomli_w.dumps(content), encoding="utf-8")
    return str(file)


def _parsed(change: str) -> dict[str, Any]:
    """A change as TOML reads it, {"training": {"epochs": 3}}; a value that is none of TOML's is a text."""
    key, _, value = change.partition("=")
    for text in (value, json.dumps(value.strip())) if value.strip() else ():
        with suppress(tomllib.TOMLDecodeError):
            return tomllib.loads(f"{key} = {text}")
    raise SoundFusionError(f"--set {change}: give a key and a value, such as training.epochs=3")


def _merged(old: Any, new: Any) -> Any:
    """A table with another's values over its own, table by table."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return new
    return old | {key: _merged(old.get(key), value) for key, value in new.items()}


def _read(name: str | Path) -> tuple[dict[str, Any], Path]:
    """What the file of a profile says, with a name and absolute paths; and the file."""
    path = Path(name).expanduser() if str(name).endswith(".toml") else BUILT_IN / f"{name}.toml"
    if not path.is_file():
        raise SoundFusionError(f"there is no profile {str(name)!r}: give {', '.join(built_in())}, or a TOML file")
    try:
        text = path.read_text(encoding="utf-8-sig")  # Notepad may write a byte order mark
        stated = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise SoundFusionError(f"profile {path}: its text is no UTF-8 (UTF-16?): save it in UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        advice = f" ({BACKSLASH})" if "\\" in text else ""
        raise SoundFusionError(f"profile {path}: cannot be read as TOML: {error}{advice}") from error
    ours = path.resolve().parent == BUILT_IN
    if "name" not in stated and not re.fullmatch(NAME, path.stem):
        raise SoundFusionError(f'profile {path}: needs a name for its results: write name = "mine" as its first line')
    content = {"name": path.stem, "corpus": {}, "leave_out": [] if ours else [*LARGE], **stated}
    _make_absolute(content, data_dir() if ours else path.parent)
    return content, path


def _make_absolute(content: dict[str, Any], folder: Path) -> None:
    """Make the paths of corpora, which are relative to this folder, absolute."""
    for key in ("corpus", "pretraining"):
        match content.get(key):
            case {"path": str(path)} as corpus if path:
                corpus["path"] = str((folder / Path(path).expanduser()).resolve())
