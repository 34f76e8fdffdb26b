"""What a value may be: pydantic checks it against its annotation, and a wrong one is one sentence."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, lru_cache, wraps
from inspect import signature
from typing import Annotated, Any, TypeVar, dataclass_transform

import numpy as np
from pydantic import ConfigDict, Field, Strict, TypeAdapter, ValidationError, WrapValidator
from pydantic.dataclasses import dataclass
from typing_extensions import TypedDict  # pydantic takes typing's from Python 3.12 on

from soundfusion_lib.errors import SoundFusionError

T = TypeVar("T")
CONFIG = ConfigDict(extra="forbid", allow_inf_nan=False)
# Types and limits of a JSON schema, in words
WORDS = {"boolean": "true or false", "string": "a text that is not empty", "array": "a list"}
LIMITS = {"minimum": " of {} or more", "exclusiveMinimum": " above {}"}
LIMITS |= {"maximum": " to {}", "exclusiveMaximum": " and below {}"}
UNKNOWN = "extra_forbidden", "unexpected_keyword_argument", "unexpected_positional_argument"  # keys, to pydantic

Whole = Annotated[int, Strict()]  # neither true nor 8.0
Number = Annotated[float, Strict()]
Count = Annotated[Whole, Field(ge=1)]
Batch = Annotated[Whole, Field(ge=2)]  # batch norm has nothing to normalise one segment by
Width = Annotated[Whole, Field(ge=2)]  # nnet1's first convolutions have half the width
Bands = Annotated[Whole, Field(ge=1, le=1_024)]  # beyond this and the next, one clip takes all memory
Rate = Annotated[Whole, Field(ge=1_000, le=384_000)]  # Hz
Seconds = Annotated[Number, Field(ge=0.01, le=14_400)]
Seed = Annotated[Whole, Field(ge=0, le=2**32 - 1)]  # scikit-learn takes no larger one
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]
Fraction = Annotated[Number, Field(ge=0, le=1)]
Share = Annotated[Number, Field(ge=0, lt=1)]


@dataclass_transform(frozen_default=True)
def checked(kind: type[T]) -> type[T]:
    """Make a frozen dataclass that raises SoundFusionError for a value that its annotation does not allow."""
    kind = dataclass(frozen=True, config=CONFIG)(kind)
    initialise = kind.__init__

    @wraps(initialise)
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        with one_sentence(kind, f"{kind.__name__}:"):
            initialise(self, *map(_plain, args), **_plain(kwargs))

    kind.__init__ = __init__
    return kind


def check(kind: Any, values: Any, where: str = "") -> Any:
    """The values as an object of this type; raises SoundFusionError if they cannot be one.

    Args:
        kind: a checked dataclass, or a `table`.
        where: how the sentence begins, "profile mine.toml:".
    """
    with one_sentence(kind, where):
        return _adapter(kind).validate_python(values)


def options(*functions: Callable) -> dict[str, Any]:
    """Names and types of the optional arguments of these functions."""
    arguments = [argument for function in functions for argument in signature(function).parameters.values()]
    optional = [argument for argument in arguments if argument.default is not argument.empty]
    return {arg.name: Any if arg.annotation is arg.empty else arg.annotation for arg in optional}


def table(keys: dict[str, Any]) -> Any:
    """Type of a dictionary that has some of these keys, whose values have these types, and is kept as it is written."""
    kind = TypedDict("Table", keys, total=False)
    kind.__pydantic_config__ = CONFIG
    return Annotated[kind, WrapValidator(lambda values, check: (check(_plain(values)), values)[1])]


options_of = cache(lambda function: table(options(function)))  # type of a function's options
_adapter = lru_cache(64)(TypeAdapter)


@contextmanager
def one_sentence(kind: Any, where: str) -> Iterator[None]:
    """Raise SoundFusionError for the first fault that pydantic finds in this block, where a `kind` is checked.

    The sentence begins with `where` and says key, value and what is allowed.
    """
    try:
        yield
    except ValidationError as error:
        said = _sentence(error.errors()[0], _adapter(kind).json_schema())
        raise SoundFusionError(f"{where} {said}".strip()) from error
    except SoundFusionError as error:  # of a rule between several values
        raise SoundFusionError(f"{where} {error}") from error


def _plain(value: Any) -> Any:
    """A number of NumPy as one of Python, in a dictionary too."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return value.item() if isinstance(value, np.generic) else value


def _sentence(fault: Mapping[str, Any], schema: dict[str, Any]) -> str:
    """One fault that pydantic found, in words: "[training] epochs = 0: must be a whole number of 1 or more"."""
    path = list(fault["loc"])
    if path:  # a positional argument has a number
        path[0] = dict(enumerate(schema["properties"])).get(path[0], path[0])
    names = [name for name in path if isinstance(name, str)]
    node = _at(schema, path)
    said = str(fault.get("ctx", {}).get("error", "")) or f"must be {_allowed(node, names)}"
    if fault["type"] == "value_error" and node.get("type") == "object":  # a rule between the values of a table
        return _in_table(names) + said
    if fault["type"] == "missing":
        return f"{_in_table(names[:-1])}needs {names[-1]}"
    if fault["type"] in UNKNOWN:
        known = ", ".join(sorted(_at(schema, path[:-1])["properties"]))
        return f"{_in_table(names[:-1])}has no key {path[-1]!r}; there are: {known}"
    items = "".join(f"[{number}]" for number in path if isinstance(number, int))
    return f"{_in_table(names[:-1])}{names[-1]}{items} = {shown(fault['input'])}: {said}"


def _in_table(names: list[str]) -> str:
    return f"[{'.'.join(names)}] " if names else ""


def _at(schema: dict[str, Any], path: list[str | int]) -> dict[str, Any]:
    """The part of a JSON schema that is about the value at this path; empty where there is none."""
    node = schema
    for name in path:
        inner = node.get("properties") or dict(enumerate(node.get("prefixItems", [])))
        node = inner.get(name) or node.get("items") or node.get("additionalProperties") or {}
        node = node.get("anyOf", [node])[0]  # this, or null
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    return node


def _allowed(node: dict[str, Any], names: list[str]) -> str:
    """What a JSON schema allows, in words."""
    kind = node.get("type")
    if kind == "object":
        return f"a table, [{'.'.join(names)}]"
    if "description" in node:
        return node["description"]
    if "enum" in node:
        return f"one of {', '.join(map(str, node['enum']))}"
    if kind in WORDS:
        return WORDS[kind]
    limits = (words.format(node[name]) for name, words in LIMITS.items() if name in node)
    return ("a whole number" if kind == "integer" else "a number") + "".join(limits).replace(" or more to", " to")


def shown(value: Any) -> str:
    """A value as TOML writes it, where that differs from Python."""
    return json.dumps(value, default=repr, ensure_ascii=False) if isinstance(value, bool | str | list) else repr(value)
