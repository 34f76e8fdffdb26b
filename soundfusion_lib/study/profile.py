"""Profiles: which corpus, how many epochs, seeds and sizes; a TOML file each."""

import codecs
import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import asdict, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import AfterValidator, Field, WrapValidator, model_validator

from soundfusion_lib.audio.augment import AUGMENTATIONS
from soundfusion_lib.audio.representations import MelSpectrogram, Representation, Waveform
from soundfusion_lib.audio.segments import Segmenting
from soundfusion_lib.checks import Batch, Count, Seconds, Seed, Width, check, checked, one_sentence, options, table
from soundfusion_lib.datasets.kinds import check_corpus
from soundfusion_lib.datasets.splits import Split
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models import MODELS
from soundfusion_lib.paths import data_dir, whole
from soundfusion_lib.training.loop import Training

SIZES = {"small": 16, "medium": 32, "large": 64}  # F in the report
BUILT_IN = Path(__file__).resolve().with_name("built_in")
RESNETS = "resnet1d", "resnet2d"
CORPORA = "corpus", "pretraining"
MANY_RUNS = "ablation", "grid"  # the recipe part by part, the grid search of SpecAugment
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

# What the study sets itself, by table and key, and what to do instead
SET_BY_THE_STUDY = {
    "large.batch_size": "set large_batch",
    "models.vgg16.batch_size": "set large_batch",
    **{f"models.{model}.width": f"set [widths.{model}]" for model in RESNETS},
    **{f"models.{model}.dropout": "the table of regularization compares its values" for model in RESNETS},
    **{f"models.{model}.parts": "they are the small ResNets" for model in MODELS if model.startswith("fusion_")},
    "models.fusion_decision.weighting": "both are trained",
    **{f"models.{model}.in_channels": "set channels in [mel]" for model in MODELS},
    **{f"models.{model}.n_mels": "set n_mels in [mel]" for model in MODELS},
}

NAME = r"[\w-]+(\.[\w-]+)*"
NAME_IN_WORDS = "letters, digits, -, _ and single dots between them"
BACKSLASH = r"in double quotes a backslash begins an escape: write C:/music, or 'C:\music' in single quotes"


def _different(numbers: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(numbers)) < len(numbers):
        raise ValueError("must be different numbers")
    return numbers


def _choices(values: Any, check_value: Callable[[Any], Any]) -> Any:
    """What a search chooses a setting from: a list of values, or a range."""
    is_range = isinstance(values, dict) and {"low", "high"} <= values.keys() <= {"low", "high", "log"}
    if not is_range and not (isinstance(values, list) and len(values) > 1):
        raise ValueError("give a list of two values or more, or { low = …, high = …, log = true }")
    for value in (values["low"], values["high"]) if is_range else values:
        check_value(value)
    if is_range and not (0 if values.get("log") else -float("inf")) < values["low"] < values["high"]:
        raise ValueError("low must be below high" + ", and above 0" * bool(values.get("log")))
    return values


SEARCHABLE = options(Training, MODELS["resnet2d"], AUGMENTATIONS["mel"])
SEARCHABLE = {name: SEARCHABLE[name] for name in SEARCHABLE if name in OF_TRAINING | OF_MODEL | OF_MASKS}
Name = Annotated[str, Field(pattern=f"^{NAME}$", description=NAME_IN_WORDS)]
Numbers = Annotated[
    tuple[Seed, ...], Field(min_length=1, description="a list of one or more numbers"), AfterValidator(_different)
]
Recipe = table(options(Training))
Augmentations = table({name: table(options(kind)) for name, kind in AUGMENTATIONS.items()})
Widths = table(dict.fromkeys(RESNETS, table(dict.fromkeys(SIZES, Width))))
Space = table({name: Annotated[kind, WrapValidator(_choices)] for name, kind in SEARCHABLE.items()})


@checked
class Search:
    """A search of hyper-parameters: of which small network, in how many trials, among which values."""

    model: Literal["resnet2d", "resnet1d"] = "resnet2d"
    trials: Count = 24
    space: Space = field(default_factory=SPACE.copy)

    @model_validator(mode="after")
    def _space_fits_the_model(self) -> "Search":
        masks = sorted(OF_MASKS & self.space.keys())
        if not self.space:
            raise ValueError("space = {}: give a setting or more")
        if self.model == "resnet1d" and masks:
            raise ValueError(f"space.{masks[0]}: resnet1d has no spectrogram to mask")
        return self


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
    test_folds: Numbers = (0,)  # to run; their test predictions are pooled
    seeds: Numbers = (0,)  # which every experiment is run with,
    seeds_of: dict[str, Numbers] = field(default_factory=dict)  # and single ones, by their names
    training: Recipe = field(default_factory=dict)  # of all models, over the report's, see `settings`;
    models: dict[str, dict[str, Any]] = field(default_factory=dict)  # of single ones, with options of the model
    augment: Augmentations = field(default_factory=dict)  # over the report's augmentation, by input
    widths: Widths = field(default_factory=dict)  # F of the small, medium and large ResNets
    large_batch: Batch = 16  # batch size of the large ResNets and of VGG16
    large: Recipe = field(default_factory=dict)  # over the settings of the large ResNets
    grid: Recipe = field(default_factory=dict)  # over those of SimpleCNN in the grid search of SpecAugment
    pretraining: dict[str, Any] = field(default_factory=dict)  # corpus that networks are trained on first
    search: Search = field(default_factory=Search)  # of notebook 10
    searched: table(SEARCHABLE) = field(default_factory=dict)  # what it found: a row in the table of performance
    pairs: tuple[str, ...] = ()  # of networks that notebook 10 fuses, see `further.pairs`; all if there are none
    leave_out: tuple[str, ...] = ()  # models, and of `MANY_RUNS`, whose experiments are not run: they cost too much

    @model_validator(mode="after")
    def _tables_fit_each_other(self) -> "Profile":
        for name, values in self.augment.items():
            with one_sentence(None, f"[augment.{name}]"):
                AUGMENTATIONS[name](**values)
        if self.split.fold:
            raise ValueError("[split] fold is set by the study: set test_folds")
        for key, instead in SET_BY_THE_STUDY.items():
            *tables, last = key.split(".")
            if last in (self.large if tables == ["large"] else self.models.get(tables[-1], {})):
                raise ValueError(f"[{'.'.join(tables)}] {last} is set by the study: {instead}")
        for name in self.leave_out:
            if name not in (*MODELS, *MANY_RUNS):
                raise ValueError(f"leave_out: there is no {name!r}, only {', '.join((*MODELS, *MANY_RUNS))}")
        kinds = {name: table(options(Training, kind)) for name, kind in MODELS.items() if name not in AS_SOUNDFUSION_1}
        check(table({"models": table(kinds)}), {"models": self.models})  # here: a user may have added one
        if self.split.scheme == "all":
            raise ValueError('[split] scheme = "all" leaves nothing to test: `soundfusion train --all-clips`')
        if max(self.test_folds) >= self.split.folds:
            raise ValueError(f"test_folds = {list(self.test_folds)}: [split] has folds 0 to {self.split.folds - 1}")
        return self

    def width(self, model: str, size: str) -> int:
        """F of the ResNet "resnet1d" or "resnet2d" of size "small", "medium" or "large"."""
        return self.widths.get(model, {}).get(size, SIZES[size])

    def settings(self, model: str) -> dict[str, Any]:
        """A model's training and options. Each source overrides those before it:

        1. the report's recipe, `REPORTED` and `REPORTED_OF`;
        2. [training];
        3. [models.<model>];
        4. the arguments of `Study.experiment`, among which the study passes large_batch, [large], [grid] and [searched]
           to the networks that these are about.

        A change by `--set` overrides them all, see `changed`.
        """
        return REPORTED | REPORTED_OF.get(model, {}) | self.training | self.models.get(model, {})

    @property
    def representations(self) -> list[Representation]:
        return [self.waveform, self.mel]


def built_in() -> list[str]:
    """Names of the built-in profiles."""
    return sorted(file.stem for file in BUILT_IN.glob("*.toml"))


def load_profile(name: str | Path) -> Profile:
    """The built-in profile of this name, or the one in a TOML file, whose stem is its name if it gives none.

    A corpus's path is relative to the file; in a built-in profile, to the data folder.

    Raises:
        SoundFusionError: no such profile; no TOML; a key or value that is not allowed, or that the study sets itself;
            a built-in profile's name.
    """
    content, path = _read(name)
    return _profile(content, f"profile {path}:", path.resolve().parent == BUILT_IN)


def changed(profile: str, changes: Sequence[str]) -> str:
    """A profile with changes, written to a file in data/profiles; the profile itself where there are none.

    The default name is the profile's with the changes added: results go to a folder of their own. A change overrides
    every table: what hides a key of [training], and [seeds_of] where seeds change, is taken out.

    Args:
        profile: see `load_profile`.
        changes: such as "training.epochs=3": a key with dots, and a value as TOML writes it; a text needs no quotes. A
            path is relative to the working directory.

    Returns:
        What `load_profile` takes.

    Raises:
        SoundFusionError: a change is no key and value, or not allowed.
    """
    if not changes:
        return profile
    load_profile(profile)  # whose faults are none of the changes'
    content, values = _read(profile)[0], dict(sorted(map(_parsed, changes)))
    words = "-".join(f"{key}-{value}" for key, value in values.items())
    digest = hashlib.sha256(json.dumps(values, default=str).encode()).hexdigest()[:6]
    content["name"] += f"-{re.sub(r'[^a-zA-Z0-9]+', '-', words)[:50]}-{digest}"
    overriding = [*content.get("models", {}).values(), *(content.get(key, {}) for key in ("large", "grid", "searched"))]
    for key, value in sorted(values.items(), key=lambda item: not item[0].startswith("training.")):
        *tables, last = key.split(".")
        place = content
        for name in tables:
            place = place.setdefault(name, {})
            if not isinstance(place, dict):
                raise SoundFusionError(f"--set {key}: {name} is no table of the profile, but a value")
        place[last] = value
        if tables == ["training"]:
            for settings in overriding:
                settings.pop(last, None)
            content |= {"large_batch": value} if last == "batch_size" else {}
        if key == "seeds":
            content.pop("seeds_of", None)
    _make_absolute(content, Path.cwd())
    name = _profile(content, f"profile {profile} with --set {' --set '.join(changes)}:").name
    with whole(file := data_dir() / "profiles" / f"{name}.toml") as aside:
        aside.write_text(tomli_w.dumps(content), encoding="utf-8")
    return str(file)


def _parsed(change: str) -> tuple[str, Any]:
    """Key and value of a change."""
    key, _, text = (part.strip() for part in change.partition("="))
    if not (key and text) or key == "training":
        raise SoundFusionError(f"--set {change}: give a key and a value, such as training.epochs=3")
    try:
        return key, tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return key, text


def _read(name: str | Path) -> tuple[dict[str, Any], Path]:
    """What the file of a profile says, with a name and absolute paths; and the file."""
    path = Path(name).expanduser() if str(name).endswith(".toml") else BUILT_IN / f"{name}.toml"
    if not path.is_file():
        raise SoundFusionError(f"there is no profile {str(name)!r}: give {', '.join(built_in())}, or a TOML file")
    text = ""
    with one_sentence(None, f"profile {path}:"):
        try:
            text = path.read_text(encoding="utf-8-sig")  # Notepad may write a byte order mark
            content = {"corpus": {}, **tomllib.loads(text)}
        except OSError as error:
            raise SoundFusionError(f"cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            utf16 = error.object.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
            raise SoundFusionError(f"is {'in UTF-16' if utf16 else 'not in UTF-8'}: save it as UTF-8") from error
        except tomllib.TOMLDecodeError as error:
            raise SoundFusionError(f"not valid TOML: {error}" + f"; {BACKSLASH}" * ("\\" in text)) from error
        if "name" not in content and not re.fullmatch(NAME, path.stem):
            raise SoundFusionError(f'add name = "..." ({NAME_IN_WORDS}): {path.stem!r} cannot be its name')
        content.setdefault("name", path.stem)
        _make_absolute(content, data_dir() if path.resolve().parent == BUILT_IN else path.parent)
    return content, path


def _make_absolute(content: dict[str, Any], folder: Path) -> None:
    """Make the paths of corpora, which are relative to this folder, absolute."""
    for key in CORPORA:
        corpus = content.get(key)
        path = corpus.get("path") if isinstance(corpus, dict) else None
        if isinstance(path, str) and path:
            if any(character < " " for character in path):
                raise SoundFusionError(f"[{key}] path = {path!r}: {BACKSLASH}")
            corpus["path"] = str((folder / Path(path).expanduser()).resolve())


def _profile(content: dict[str, Any], where: str, is_built_in: bool = False) -> Profile:
    """The profile that a file with this content is; `where` begins the sentence that says a fault."""
    if not is_built_in and str(content["name"]).casefold() in built_in():
        raise SoundFusionError(f'{where} name = "{content["name"]}": a built-in profile has this name: give another')
    profile = check(Profile, content, where)
    for key in CORPORA:
        if key in content:
            check_corpus(content[key], f"{where} [{key}]")
    return profile
