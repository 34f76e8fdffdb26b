"""Datasets: each reader returns a Corpus, a table of labelled tracks; beside them downloads and splits.

May import only what stands beside the rooms.
"""

from collections.abc import Callable
from inspect import signature
from typing import Any, Required

from soundfusion_lib.checks import check, options, shown, table
from soundfusion_lib.datasets.corpus import Corpus
from soundfusion_lib.datasets.demo import demo, demo_gtzan
from soundfusion_lib.datasets.emotify import EMOTIFY, emotify
from soundfusion_lib.datasets.fma import FMA_METADATA, FMA_SMALL, fma
from soundfusion_lib.datasets.folder import folder
from soundfusion_lib.datasets.gtzan import GTZAN, gtzan
from soundfusion_lib.errors import SoundFusionError

# a profile gives a kind and arguments of its reader, whose annotations say what is allowed
READERS = (demo, demo_gtzan, emotify, fma, gtzan, folder)
KINDS: dict[str, Callable[..., Corpus]] = {reader.__name__: reader for reader in READERS}
SOURCES = {source.name: source for source in (EMOTIFY, FMA_SMALL, FMA_METADATA, GTZAN)}


def open_corpus(spec: dict[str, Any]) -> Corpus:
    """Open the corpus that a profile names: its kind, and arguments of the reader in KINDS. Raises SoundFusionError for
    an unknown kind or argument, or a value that is not allowed, and as the reader."""
    check_corpus(spec, "corpus:")
    return KINDS[spec["kind"]](**{key: value for key, value in spec.items() if key != "kind"})


def check_corpus(spec: dict[str, Any], where: str) -> None:
    """Raise SoundFusionError if `open_corpus` would refuse this, without opening it."""
    if spec.get("kind") not in list(KINDS):  # a list, since a value out of TOML may have no hash
        raise SoundFusionError(f"{where} kind = {shown(spec.get('kind', ''))}: must be one of {', '.join(KINDS)}")
    reader = KINDS[spec["kind"]]
    needed = [argument for argument in signature(reader).parameters.values() if argument.default is argument.empty]
    keys = {"kind": str} | {argument.name: Required[argument.annotation] for argument in needed} | options(reader)
    check(table(keys), spec, where)
