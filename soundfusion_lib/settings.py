"""What each setting may be, in one table: for dataclasses and models in Python, and for profiles when loaded."""

import json
import math
import os
import re
from collections.abc import Callable, Collection, Mapping
from numbers import Integral, Real
from typing import Any, NamedTuple

from soundfusion_lib.errors import SoundFusionError

LARGEST_SEED = 2**32 - 1  # scikit-learn takes no larger one
NAME = re.compile(r"[\w-]+(\.[\w-]+)*")


class Rule(NamedTuple):
    """What a setting may be: in words, and as a test of a value."""

    allowed: str
    holds: Callable[[Any], bool]


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_real(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and -math.inf < value < math.inf  # NaN is not


def _whole(least: int, most: float = math.inf) -> Rule:
    words = f"of {least} or more" if most == math.inf else f"of {least} to {most}"
    return Rule(f"a whole number {words}", lambda value: _is_whole(value) and least <= value <= most)


def _real(words: str, inside: Callable[[float], bool] = lambda value: True) -> Rule:
    return Rule(f"a number {words}".strip(), lambda value: _is_real(value) and inside(value))


def _one_of(*names: str) -> Rule:
    return Rule(f"one of {', '.join(names)}", lambda value: isinstance(value, str) and value in names)


def _distinct(value: Any) -> bool:
    numbers = isinstance(value, list | tuple) and all(map(SEED.holds, value))
    return numbers and 0 < len(value) == len(set(value))


def _parts(value: Any) -> bool:
    pairs = isinstance(value, list | tuple) and all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in value)
    return pairs and all(isinstance(name, str) and isinstance(options, Mapping) for name, options in value)


COUNT = _whole(1)
SEED = _whole(0, LARGEST_SEED)
BATCH = _whole(2)  # batch norm has nothing to normalise one segment by
WIDTH = _whole(2)  # nnet1's first convolutions have half of it
POSITIVE = _real("above 0", lambda value: value > 0)
NOT_NEGATIVE = _real("of 0 or more", lambda value: value >= 0)
SHARE = _real("of 0 to 1", lambda value: 0 <= value <= 1)
BELOW_ONE = _real("of 0 or more and below 1", lambda value: 0 <= value < 1)
ANY = _real("")
TEXT = Rule("a text that is not empty", lambda value: isinstance(value, str) and bool(value))
PATH = Rule(TEXT.allowed, lambda value: isinstance(value, os.PathLike) or TEXT.holds(value))
DISTINCT = Rule(f"a list of one or more different whole numbers of 0 to {LARGEST_SEED}", _distinct)

RULES: dict[str, Rule] = {
    # a profile
    "name": Rule(
        "letters, digits, -, _ and single dots between them",
        lambda value: isinstance(value, str) and NAME.fullmatch(value) is not None,
    ),
    "clip_seconds": POSITIVE,
    "test_folds": DISTINCT,
    "performance_folds": DISTINCT,
    "seeds": DISTINCT,
    "large_batch": BATCH,
    "imagenet_weights": TEXT,
    **dict.fromkeys(("small", "medium", "large"), WIDTH),
    # a corpus; its reader knows more
    "tracks": COUNT,
    "path": PATH,
    "label": TEXT,
    "subset": _one_of("small", "medium"),
    # Training
    "epochs": COUNT,
    "patience": COUNT,
    "batch_size": BATCH,
    "learning_rate": POSITIVE,
    "weight_decay": NOT_NEGATIVE,
    "optimizer": _one_of("adam", "adamw"),
    "steps": _whole(0),
    "schedule": _one_of("constant", "one_cycle"),
    "averaging": BELOW_ONE,
    "mixup": NOT_NEGATIVE,
    "label_smoothing": BELOW_ONE,
    "random_starts": Rule("true or false", lambda value: isinstance(value, bool)),
    "keep": _one_of("best", "last"),
    # Segmenting
    "seconds": POSITIVE,
    "overlap": Rule(BELOW_ONE.allowed, lambda value: value is None or BELOW_ONE.holds(value)),
    # Split
    "scheme": _one_of("auto", "official", "artist", "stratified"),
    "folds": _whole(3),
    "fold": _whole(0),
    "seed": SEED,
    # Waveform and MelSpectrogram
    "sample_rate": COUNT,
    "channels": _whole(1, 2),
    "n_mels": COUNT,
    "n_fft": _whole(2),
    "hop_length": COUNT,
    "top_db": POSITIVE,
    # augmentation
    "n_time_masks": _whole(0),
    "n_frequency_masks": _whole(0),
    "probability": SHARE,
    "max_fraction": SHARE,
    "noise_std": NOT_NEGATIVE,
    "std": NOT_NEGATIVE,
    "min_db": ANY,
    "max_db": ANY,
    # models
    "width": WIDTH,
    "dropout": BELOW_ONE,
    "pool": COUNT,
    "in_channels": COUNT,
    "variant": _one_of("soundfusion", "allamy"),
    "weighting": _one_of("equal", "learned"),
    "parts": Rule("a list of pairs, each the name of a model and its options", _parts),
}


def check(values: Mapping[str, Any], where: str) -> None:
    """Hold settings against `RULES`, and those that bound each other against each other.

    A boolean is no number, 8.0 no whole number; NaN and infinity are refused.

    Args:
        values: by name; each has a rule.
        where: whose settings they are, for the message: "Training:", "profile mine.toml: [training]".

    Raises:
        SoundFusionError: the first that is not allowed, with what is.
    """
    for name, value in values.items():
        if not RULES[name].holds(value):
            raise SoundFusionError(f"{where} {name} = {shown(value)}: must be {RULES[name].allowed}")
    if {"fold", "folds"} <= values.keys() and values["fold"] >= values["folds"]:
        raise SoundFusionError(f"{where} fold = {values['fold']}: must be below folds = {values['folds']}")
    if {"min_db", "max_db"} <= values.keys() and values["min_db"] > values["max_db"]:
        raise SoundFusionError(f"{where} min_db = {values['min_db']}: must not be above max_db = {values['max_db']}")


def shown(value: Any) -> str:
    """A value as TOML writes it, where that differs from Python."""
    return json.dumps(value, default=repr, ensure_ascii=False) if isinstance(value, bool | str | list) else repr(value)


def check_keys(table: Mapping[str, Any], valid: Collection[str], where: str) -> None:
    """Raise SoundFusionError if a table has another key than these."""
    unknown = sorted(set(table) - set(valid))
    if unknown:
        raise SoundFusionError(f"{where} has no key {unknown[0]!r}; there are: {', '.join(sorted(valid))}")
