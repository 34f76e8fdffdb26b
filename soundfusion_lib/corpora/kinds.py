"""The corpora that a profile may name, and where each lies."""

from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any

from soundfusion_lib import settings
from soundfusion_lib.corpora.corpus import Corpus
from soundfusion_lib.corpora.emotify import emotify
from soundfusion_lib.corpora.fma import fma
from soundfusion_lib.corpora.folder import folder
from soundfusion_lib.corpora.gtzan import gtzan
from soundfusion_lib.corpora.soundtracks import soundtracks
from soundfusion_lib.corpora.synthetic.demo import write_demo, write_demo_gtzan
from soundfusion_lib.errors import SoundFusionError
from soundfusion_lib.paths import data_dir


def open_corpus(spec: dict[str, Any]) -> Corpus:
    """The corpus that a profile names.

    Kinds and their arguments: "demo" and "demo_gtzan" (tracks, seconds, seed; synthesised where not there yet),
    "emotify" (path, seconds), "fma" (subset, path), "gtzan" (path), "soundtracks" and "soundtracks_b" (path), "folder"
    (path, label). The path of all but "folder" is where `soundfusion download` puts them by default.

    Raises:
        SoundFusionError: unknown kind or argument, or a value that is not allowed; see the corpora for the rest.
    """
    check_corpus(spec, "corpus:")
    return KINDS[spec["kind"]](**{key: value for key, value in spec.items() if key != "kind"})


def check_corpus(spec: dict[str, Any], where: str) -> None:
    """Raise SoundFusionError if `open_corpus` would refuse this, without opening it."""
    kind = spec.get("kind")
    if kind is None:
        raise SoundFusionError(f"{where} needs a kind: {', '.join(KINDS)}")
    if not isinstance(kind, str) or kind not in KINDS:
        raise SoundFusionError(f"{where} there is no corpus of kind {kind!r}, only {', '.join(KINDS)}")
    arguments = signature(KINDS[kind]).parameters
    values = {key: value for key, value in spec.items() if key != "kind"}
    settings.check_keys(values, arguments, f"{where} a corpus of kind {kind!r}")
    settings.check(values, where)
    for name, argument in arguments.items():
        if argument.default is argument.empty and name not in values:
            raise SoundFusionError(f"{where} a corpus of kind {kind!r} needs a {name}")


def is_to_be_made(spec: dict[str, Any]) -> bool:
    """Whether `open_corpus` would synthesise the corpus first."""
    if spec["kind"] not in DEMOS:
        return False
    arguments = signature(KINDS[spec["kind"]]).bind(**{key: value for key, value in spec.items() if key != "kind"})
    arguments.apply_defaults()
    return not _demo_root(spec["kind"], **arguments.arguments).exists()


DEMOS = {"demo": "fma", "demo_gtzan": "gtzan"}  # and whose layout they have


def _demo_root(kind: str, tracks: int, seconds: float, seed: int) -> Path:
    return data_dir() / "demo" / f"{DEMOS[kind]}-{tracks}x{seconds:g}s-seed{seed}"


def _demo(tracks: int = 240, seconds: float = 6.5, seed: int = 0) -> Corpus:
    root = _demo_root("demo", tracks, seconds, seed)
    return fma(write_demo(root, tracks, seconds, seed), name="demo", synthetic=True)


def _demo_gtzan(tracks: int = 100, seconds: float = 6.5, seed: int = 0) -> Corpus:
    root = _demo_root("demo_gtzan", tracks, seconds, seed)
    return gtzan(write_demo_gtzan(root, tracks, seconds, seed), False, name="demo_gtzan", synthetic=True)


def _fma(subset: str = "small", path: str = "") -> Corpus:
    return fma(path or data_dir() / "fma", subset)


def _emotify(path: str = "", seconds: float = 30.0) -> Corpus:
    return emotify(path or data_dir() / "emotify", seconds)


def _gtzan(path: str = "") -> Corpus:
    return gtzan(path or data_dir() / "gtzan")


def _soundtracks(path: str = "") -> Corpus:
    return soundtracks(path or data_dir() / "soundtracks")


def _soundtracks_b(path: str = "") -> Corpus:
    return soundtracks(path or data_dir() / "soundtracks_b", "soundtracks_b")


def _folder(path: str, label: str = "genre") -> Corpus:
    return folder(path, label=label)


READERS = _demo, _demo_gtzan, _emotify, _fma, _gtzan, _soundtracks, _soundtracks_b, _folder
KINDS: dict[str, Callable[..., Corpus]] = {reader.__name__[1:]: reader for reader in READERS}
