"""The corpora that a profile may name, and where each lies."""

from collections.abc import Callable
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from soundfusion_lib.checks import Count, Seconds, Seed, check, table
from soundfusion_lib.datasets import Corpus, emotify, fma, folder, gtzan, soundtracks
from soundfusion_lib.datasets.synthetic.demo import write_demo, write_demo_gtzan
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.paths import data_dir


def open_corpus(spec: dict[str, Any]) -> Corpus:
    """The corpus that a profile names: its kind and the arguments of that, see KINDS.

    A demo is synthesised where it is not there yet; what can be downloaded lies where `soundfusion download` puts it.

    Raises:
        SoundFusionError: unknown kind or argument, or a value that is not allowed; see the corpora for the rest.
    """
    check_corpus(spec, "corpus:")
    return KINDS[spec["kind"]](**{key: value for key, value in spec.items() if key != "kind"})


def check_corpus(spec: dict[str, Any], where: str) -> None:
    """Raise SoundFusionError if `open_corpus` would refuse this, without opening it."""
    values = dict(spec)
    kind = values.pop("kind", None)
    if kind is None:
        raise SoundFusionError(f"{where} needs a kind: {', '.join(KINDS)}")
    if kind not in list(KINDS):  # a list, since what stands in TOML may have no hash
        raise SoundFusionError(f"{where} there is no corpus of kind {kind!r}, only {', '.join(KINDS)}")
    arguments = signature(KINDS[kind]).parameters
    check(table({name: TYPES[name] for name in arguments}), values, where)
    for name, argument in arguments.items():
        if argument.default is argument.empty and name not in values:
            raise SoundFusionError(f"{where} a corpus of kind {kind!r} needs a {name}")


def is_to_be_made(spec: dict[str, Any]) -> bool:
    """Whether `open_corpus` would synthesise the corpus first."""
    if spec["kind"] not in DEMOS:
        return False
    defaults = {name: argument.default for name, argument in signature(KINDS[spec["kind"]]).parameters.items()}
    return not _demo_root(**defaults | spec).exists()


Text = Annotated[str, Field(min_length=1), BeforeValidator(lambda text: str(text) if isinstance(text, Path) else text)]
TYPES = {"tracks": Count, "seconds": Seconds, "seed": Seed, "path": Text, "label": Text}
TYPES["subset"] = Literal["small", "medium"]
DEMOS = {"demo": "fma", "demo_gtzan": "gtzan"}  # and whose layout they have


def _demo_root(kind: str, tracks: int, seconds: float, seed: int) -> Path:
    return data_dir() / "demo" / f"{DEMOS[kind]}-{tracks}x{seconds:g}s-seed{seed}"


def _demo(tracks: int = 240, seconds: float = 6.5, seed: int = 0) -> Corpus:
    root = write_demo(_demo_root("demo", tracks, seconds, seed), tracks, seconds, seed)
    return replace(fma(root), name="demo", synthetic=True)


def _demo_gtzan(tracks: int = 100, seconds: float = 6.5, seed: int = 0) -> Corpus:
    root = write_demo_gtzan(_demo_root("demo_gtzan", tracks, seconds, seed), tracks, seconds, seed)
    return replace(gtzan(root, fault_filtered=False), name="demo_gtzan", synthetic=True)


KINDS: dict[str, Callable[..., Corpus]] = {
    "demo": _demo,
    "demo_gtzan": _demo_gtzan,
    "emotify": lambda path="", seconds=30.0: emotify(path or data_dir() / "emotify", seconds),
    "fma": lambda subset="small", path="": fma(path or data_dir() / "fma", subset),
    "gtzan": lambda path="": gtzan(path or data_dir() / "gtzan"),
    "soundtracks": lambda path="": soundtracks(path or data_dir() / "soundtracks"),
    "soundtracks_b": lambda path="": soundtracks(path or data_dir() / "soundtracks_b", "soundtracks_b"),
    "folder": lambda path, label="genre": folder(path, label),
}
