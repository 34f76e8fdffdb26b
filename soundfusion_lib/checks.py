"""What a value may be: pydantic checks it against its annotation, and one sentence says what is wrong."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from functools import cache, lru_cache, wraps
from inspect import signature
from typing import Annotated, Any, TypeVar

from pydantic import ConfigDict, Field, Strict, TypeAdapter, ValidationError, WrapValidator, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import ArgsKwargs
from typing_extensions import TypedDict  # pydantic takes typing's from Python 3.12 on

from soundfusion_lib.errors import SoundFusionError

T = TypeVar("T")
CONFIG = ConfigDict(extra="forbid", allow_inf_nan=False)

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


def checked(kind: type[T]) -> type[T]:
    """Make a frozen dataclass that raises SoundFusionError for a value that its annotation does not allow."""
    kind._known = model_validator(mode="before")(lambda values: _known(values, names))
    kind = dataclass(frozen=True, config=CONFIG)(kind)
    names, initialise, positional = [field.name for field in fields(kind)], kind.__init__, signature(kind)

    @wraps(initialise)
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        with one_sentence(f"{kind.__name__}:"):
            initialise(self, **positional.bind_partial(*args).arguments, **kwargs)  # a fault names its field

    kind.__init__ = __init__
    return kind


def check(kind: Any, values: Any, where: str = "") -> Any:
    """The values as an object of this type, a checked dataclass or a `table`. Raises as `one_sentence`."""
    with one_sentence(where):
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

    def unchanged(values: Any, check: Callable[[Any], Any]) -> Any:
        check(_known(values, keys))
        return values

    return Annotated[kind, WrapValidator(unchanged)]


options_of = cache(lambda function: table(options(function)))  # type of a function's options
_adapter = lru_cache(64)(TypeAdapter)


@contextmanager
def one_sentence(where: str) -> Iterator[None]:
    """Raise SoundFusionError for the first fault found in this block: `where`, key, value and what is allowed."""
    try:
        yield
    except ValidationError as error:
        raise SoundFusionError(f"{where} {_sentence(error.errors()[0])}".strip()) from error
    except SoundFusionError as error:  # of a rule between several values
        raise SoundFusionError(f"{where} {error}") from error


def shown(value: Any) -> str:
    """A value as TOML writes it, where that differs from Python."""
    return json.dumps(value, default=repr, ensure_ascii=False) if isinstance(value, bool | str | list) else repr(value)


def _sentence(fault: Mapping[str, Any]) -> str:
    """One fault that pydantic found, in words: "[training] epochs = 0: must be greater than or equal to 1"."""
    names = [name for name in fault["loc"] if isinstance(name, str)]
    said = re.sub(r"^\w+ should", "must", fault["msg"].removeprefix("Value error, "))
    if fault["type"] == "missing":
        said = f"needs {names.pop()}"
    elif fault["type"] != "value_error" or not isinstance(fault["input"], dict | ArgsKwargs):  # else of a whole table
        said = f"{names.pop()} = {shown(fault['input'])}: {said}"
    return f"[{'.'.join(names)}] {said}" if names else said


def _known(values: Any, keys: Iterable[str]) -> Any:
    """The values, of a table or a call, if there are only these keys; else raises ValueError."""
    given = values.kwargs if isinstance(values, ArgsKwargs) else values
    if isinstance(given, dict) and (unknown := sorted(given.keys() - set(keys))):
        raise ValueError(f"has no key {unknown[0]!r}; there are: {', '.join(sorted(keys))}")
    return values
