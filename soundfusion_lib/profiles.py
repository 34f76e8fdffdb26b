"""Profiles: which corpus, how many epochs, seeds and sizes; a TOML file each."""

import dataclasses
import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from soundfusion_lib.augment import augmentation
from soundfusion_lib.corpora.corpus import Corpus
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.models import MODELS
from soundfusion_lib.representations import MelSpectrogram, Representation, Waveform
from soundfusion_lib.segments import Segmenting
from soundfusion_lib.splits import Split
from soundfusion_lib.training import Training

SIZES = {"small": 16, "medium": 32, "large": 64}  # F in the report
BUILT_IN = Path(__file__).with_name("profiles")
PROJECT = Path(__file__).parents[1]


def data_dir() -> Path:
    """Folder of corpora, stores and runs: SOUNDFUSION_DATA, or data/ in the project."""
    return Path(os.environ.get("SOUNDFUSION_DATA") or PROJECT / "data").expanduser().resolve()


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

    Paths in a file are relative to that file.

    Raises:
        SoundFusionError: no such profile; the file is no TOML; a key that profiles do not have.
    """
    path = Path(name).expanduser() if str(name).endswith(".toml") else BUILT_IN / f"{name}.toml"
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in BUILT_IN.glob("*.toml")))
        raise SoundFusionError(f"there is no profile {str(name)!r}: give one of {names}, or a TOML file")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SoundFusionError(f"profile {path}: not valid TOML: {error}") from error
    return _parse(content, path)


def _parse(content: dict, path: Path) -> Profile:
    def build(kind, key):
        values = content.pop(key, {})
        _check_keys(values, {item.name for item in dataclasses.fields(kind)}, f"{path}: [{key}]")
        return kind(**values)

    content.setdefault("name", path.stem)
    _check_keys(content, {item.name for item in dataclasses.fields(Profile)}, str(path))
    if "kind" not in content.get("corpus", {}):
        raise SoundFusionError(f'profile {path}: [corpus] needs a kind: "demo", "fma", "gtzan", "soundtracks" or "folder"')
    for spec, key in ((content["corpus"], "path"), (content.get("pretraining", {}), "path"), (content, "imagenet_weights")):
        if spec.get(key):
            spec[key] = str((path.parent / Path(spec[key]).expanduser()).resolve())
    training_keys = {item.name for item in dataclasses.fields(Training)}
    _check_keys(content.get("training", {}), training_keys, f"{path}: [training]")
    _check_keys(content.get("grid", {}), training_keys, f"{path}: [grid]")
    _check_keys(content.get("large", {}), training_keys, f"{path}: [large]")
    Training(**content.get("training", {}))  # complains of impossible values
    for name, options in content.get("augment", {}).items():
        augmentation(name, **options)  # complains of unknown inputs and options
    _check_keys(content.get("widths", {}), {"resnet1d", "resnet2d"}, f"{path}: [widths]")
    for model, widths in content.get("widths", {}).items():
        _check_keys(widths, set(SIZES), f"{path}: [widths.{model}]")
    _check_keys(content.get("models", {}), set(MODELS), f"{path}: [models]")
    built = {
        "waveform": build(Waveform, "waveform"),
        "mel": build(MelSpectrogram, "mel"),
        "segmenting": build(Segmenting, "segmenting"),
        "split": build(Split, "split"),
    }
    for key in ("seeds", "test_folds", "performance_folds"):
        if key in content:
            content[key] = tuple(content[key])
    return Profile(**content, **built)


def _check_keys(values: dict, valid: set[str], where: str):
    unknown = sorted(set(values) - valid)
    if unknown:
        raise SoundFusionError(f"profile {where} has no key {unknown[0]!r}; there are: {', '.join(sorted(valid))}")


def open_corpus(spec: dict[str, Any]) -> Corpus:
    """The corpus that a profile names.

    Kinds and their arguments: "demo" and "demo_gtzan" (tracks, seconds, seed; synthesised where not there yet), "fma"
    (subset, path), "gtzan" (path), "soundtracks" and "soundtracks_b" (path), "folder" (path, label). The path of all
    but "folder" is where `soundfusion download` puts them by default.

    Raises:
        SoundFusionError: unknown kind or argument; see the corpora for the rest.
    """
    from soundfusion_lib import corpora
    from soundfusion_lib.corpora.demo import write_demo, write_demo_gtzan

    spec = dict(spec)
    kind = spec.pop("kind")

    def demo(tracks=240, seconds=6.5, seed=0):
        root = data_dir() / "demo" / f"fma-{tracks}x{seconds:g}s-seed{seed}"
        return corpora.fma(write_demo(root, tracks, seconds, seed), name="demo", synthetic=True)

    def fma(subset="small", path=None):
        return corpora.fma(path or data_dir() / "fma", subset)

    def demo_gtzan(tracks=100, seconds=6.5, seed=0):
        root = data_dir() / "demo" / f"gtzan-{tracks}x{seconds:g}s-seed{seed}"
        return corpora.gtzan(write_demo_gtzan(root, tracks, seconds, seed), False, name="demo_gtzan", synthetic=True)

    def gtzan(path=None):
        return corpora.gtzan(path or data_dir() / "gtzan")

    def soundtracks(path=None):
        return corpora.soundtracks(path or data_dir() / "soundtracks")

    def soundtracks_b(path=None):
        return corpora.soundtracks(path or data_dir() / "soundtracks_b", "soundtracks_b")

    def folder(path, label="genre"):
        return corpora.folder(path, label=label)

    readers = demo, demo_gtzan, fma, gtzan, soundtracks, soundtracks_b, folder
    kinds = {reader.__name__: reader for reader in readers}
    if kind not in kinds:
        raise SoundFusionError(f"there is no corpus of kind {kind!r}, only {', '.join(kinds)}")
    try:
        return kinds[kind](**spec)
    except TypeError as error:
        if "argument" not in str(error):
            raise
        raise SoundFusionError(f"corpus of kind {kind!r}: {str(error).split('() ')[-1]}") from error
