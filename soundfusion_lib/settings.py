"""What each setting may be, in one table: for dataclasses and models in Python, and for profiles when loaded."""

import json
import math
import os
import re
from collections.abc import Callable, Collection, Mapping
from numbers import Integral, Real
from typing import Any, NamedTuple

from soundfusion_lib.errors import SoundFusionError


class Rule(NamedTuple):
    """What a setting may be: in words, and as a test of a value."""

    allowed: str
    holds: Callable[[Any], bool]


def _number(allowed: str, inside: Callable[[float], bool] = lambda value: True, kind: type = Real) -> Rule:
    """A finite number; a boolean is none, and 8.0 no whole one."""

    def holds(value: Any) -> bool:
        number = isinstance(value, kind) and not isinstance(value, bool)
        return number and -math.inf < value < math.inf and inside(value)

    return Rule(allowed, holds)


def _whole(least: int, most: float = math.inf) -> Rule:
    words = f"of {least} or more" if most == math.inf else f"of {least} to {most}"
    return _number(f"a whole number {words}", lambda value: least <= value <= most, Integral)


def _between(least: float, most: float) -> Rule:
    return _number(f"a number of {least:g} to {most:g}", lambda value: least <= value <= most)


def _one_of(*names: str) -> Rule:
    return Rule(f"one of {', '.join(names)}", lambda value: isinstance(value, str) and value in names)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_part(value: Any) -> bool:
    pair = isinstance(value, list | tuple) and len(value) == 2
    return pair and isinstance(value[0], str) and isinstance(value[1], Mapping)


def _list_of(holds: Callable[[Any], bool], value: Any) -> bool:
    return isinstance(value, list | tuple) and all(map(holds, value))


SEED = _whole(0, 2**32 - 1)  # scikit-learn takes no larger one
BELOW_ONE = _number("a number of 0 or more and below 1", lambda value: 0 <= value < 1)
OVERLAP = _between(0, 0.99)
NAME = re.compile(r"[\w-]+(\.[\w-]+)*")

_SETTINGS: list[tuple[str, Rule]] = [
    ("fold n_time_masks n_frequency_masks", _whole(0)),
    ("tracks epochs patience pool in_channels trials", _whole(1)),
    ("batch_size large_batch", _whole(2)),  # batch norm has nothing to normalise one segment by
    ("width small medium large", _whole(2)),  # nnet1's first convolutions have half the width
    ("sample_rate", _whole(1_000, 384_000)),  # beyond this and the next three, one clip takes all memory
    ("n_mels", _whole(1, 1_024)),
    ("n_fft", _whole(2, 65_536)),
    ("hop_length", _whole(1, 65_536)),
    ("channels", _whole(1, 2)),
    ("folds", _whole(3)),
    ("seed", SEED),
    ("min_db max_db", _number("a number")),
    ("clip_seconds seconds", _between(0.01, 14_400)),
    ("top_db", _between(1, 1_000)),
    ("learning_rate", _number("a number above 0", lambda value: value > 0)),
    ("weight_decay mixup noise_std", _number("a number of 0 or more", lambda value: value >= 0)),
    ("probability max_fraction", _number("a number of 0 to 1", lambda value: 0 <= value <= 1)),
    ("averaging label_smoothing dropout", BELOW_ONE),
    ("overlap", Rule(OVERLAP.allowed, lambda value: value is None or OVERLAP.holds(value))),
    ("random_starts", Rule("true or false", lambda value: isinstance(value, bool))),
    ("label", Rule("a text that is not empty", _is_text)),
    ("path", Rule("a text that is not empty", lambda value: isinstance(value, os.PathLike) or _is_text(value))),
    ("leave_out pairs", Rule("a list of names", lambda value: _list_of(_is_text, value))),
    ("subset", _one_of("small", "medium")),
    ("optimizer", _one_of("adam", "adamw")),
    ("schedule", _one_of("constant", "one_cycle")),
    ("keep", _one_of("best", "last")),
    ("scheme", _one_of("auto", "official", "artist", "stratified", "all")),
    ("variant", _one_of("soundfusion", "allamy")),
    ("weighting", _one_of("equal", "learned")),
    ("depth", Rule("18 or 34", lambda value: value in (18, 34) and isinstance(value, int))),
]
RULES: dict[str, Rule] = {name: rule for names, rule in _SETTINGS for name in names.split()}
RULES["name"] = Rule(
    "letters, digits, -, _ and single dots between them",
    lambda value: isinstance(value, str) and NAME.fullmatch(value) is not None,
)
RULES["seeds"] = RULES["test_folds"] = Rule(
    "a list of one or more different whole numbers of 0 to 4294967295",
    lambda value: _list_of(SEED.holds, value) and 0 < len(value) == len(set(value)),
)
RULES["parts"] = Rule(
    "a list of pairs, the name of a model and its options, for two parts",
    lambda value: _list_of(_is_part, value) and len(value) == 2,
)


def check(values: Mapping[str, Any], where: str) -> None:
    """Raise SoundFusionError for the first of these settings that `RULES` or another setting does not allow.

    Args:
        where: whose settings they are, for the message: "Training:", "profile mine.toml: [training]".
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
