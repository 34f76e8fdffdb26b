"""The corpora that a profile may name, and the archives that bring them."""

from collections.abc import Callable
from inspect import signature
from typing import Any, get_type_hints

from soundfusion_lib.checks import check, table
from soundfusion_lib.datasets.corpus import Corpus
from soundfusion_lib.datasets.demo import demo, demo_gtzan
from soundfusion_lib.datasets.emotify import EMOTIFY, emotify
from soundfusion_lib.datasets.fma import FMA_METADATA, FMA_SMALL, fma
from soundfusion_lib.datasets.folder import folder
from soundfusion_lib.datasets.gtzan import GTZAN, gtzan
from soundfusion_lib.errors import SoundFusionError

# a profile gives a kind and arguments of its reader, whose annotations say what is allowed
KINDS: dict[str, Callable[..., Corpus]] = {
    "demo": demo,
    "demo_gtzan": demo_gtzan,
    "emotify": emotify,
    "fma": fma,
    "gtzan": gtzan,
    "folder": folder,
}
SOURCES = {source.name: source for source in (EMOTIFY, FMA_SMALL, FMA_METADATA, GTZAN)}


def open_corpus(spec: dict[str, Any]) -> Corpus:
    """Open the corpus that a profile names: its kind, and arguments of the reader in KINDS.

    Raises:
        SoundFusionError: an unknown kind or argument, or a value that is not allowed; see the readers for the rest.
    """
    check_corpus(spec, "corpus:")
    return KINDS[spec["kind"]](**{key: value for key, value in spec.items() if key != "kind"})


def check_corpus(spec: dict[str, Any], where: str) -> None:
    """Raise SoundFusionError if `open_corpus` would refuse this, without opening it."""
    kind = spec.get("kind")
    if kind is None:
        raise SoundFusionError(f"{where} needs a kind: {', '.join(KINDS)}")
    if kind not in list(KINDS):  # a list, since a value out of TOML may have no hash
        raise SoundFusionError(f"{where} there is no corpus of kind {kind!r}, only {', '.join(KINDS)}")
    arguments = signature(KINDS[kind]).parameters
    hints = get_type_hints(KINDS[kind], include_extras=True)
    values = {name: value for name, value in spec.items() if name != "kind"}
    check(table({name: hints.get(name, Any) for name in arguments}), values, where)
    for name, argument in arguments.items():
        if argument.default is argument.empty and name not in spec:
            raise SoundFusionError(f"{where} a corpus of kind {kind!r} needs a {name}")
