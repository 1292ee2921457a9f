"""Static values in the text and the JSON of a graph: numbers, words, lists, sizes, types, and more.

What belongs to operations (a stride among indices, an initialiser) is known here by name and fields only; a
`Vocabulary`, handed in by whoever knows the operations, makes it again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, TypeAlias

from netdsl.ir.dims import Expr
from netdsl.ir.graph import Initialiser, Operation
from netdsl.ir.types import Tensor, Type, Unknown

Make: TypeAlias = Callable[[str, dict[str, Any]], Any]


class GraphFormatError(ValueError):
    """The text or JSON of a graph does not say a graph; the message starts with the place."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A value of the compiler that only its text is kept of, as the template `BatchNorm2d(eps = 0.001)`."""

    text: str

    def __str__(self) -> str:
        return self.text


def _no_values(name: str, _: dict[str, Any]) -> Any:
    raise KeyError(name)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """How operations, initialisers and their further values are made from a name and arguments.

    The functions may raise `LookupError`, `TypeError` or `ValueError`; readers add the place.
    """

    op: Callable[[str, dict[str, Any]], Operation]
    initialiser: Callable[[str, dict[str, Any]], Initialiser] = _no_values
    value: Make = _no_values


def made(make: Make, kind: str, name: str, arguments: dict[str, Any]) -> Any:
    """What `make` gives; its errors as a `GraphFormatError` without a place."""
    try:
        return make(name, arguments)
    except LookupError:
        raise GraphFormatError(f"there is no {kind} `{name}`") from None
    except (TypeError, ValueError) as problem:
        words = " ".join(str(problem).split())
        raise GraphFormatError(f"{kind} `{name}`: {words}") from problem


def field_values(value: Any) -> dict[str, Any] | None:
    """The fields of a value that can be made again from them; None for anything else.

    A value that holds something of the compiler, as a template holds its declaration, cannot.
    """
    if not is_dataclass(value) or isinstance(value, (type, Tensor, Shown)):
        return None
    found = {field.name: getattr(value, field.name) for field in fields(value) if field.compare}
    return found if all(_is_plain(item) for item in found.values()) else None


def _is_plain(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return all(_is_plain(item) for item in value)  # type: ignore[misc]
    if value is None or value is Ellipsis or isinstance(value, (bool, int, float, str, Expr, Tensor)):
        return True
    return field_values(value) is not None


# As text


def show_value(value: Any) -> str:
    """A static value as the text of a graph writes it.

    >>> from netdsl.ir.dims import symbol
    >>> show_value((1, 2.5, "same", None, symbol("H") // 2, Tensor((3, 4))))
    '[1, 2.5, "same", None, H//2, float32[3, 4]]'
    """
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(show_value, value))}]"  # type: ignore[arg-type]
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else f'float("{value}")'
    if value is Ellipsis:
        return "..."
    if isinstance(value, Tensor):
        return show_type(value, short=False)
    if value is None or isinstance(value, (bool, int, Expr)):
        return str(value)
    given = field_values(value)
    return f"shown({quoted(str(value))})" if given is None else show_call(type(value).__name__, given)


def show_call(name: str, arguments: Mapping[str, Any]) -> str:
    """`Conv2d(out_channels = 8, kernel_size = 3)`."""
    return f"{show_name(name)}({show_arguments(arguments.items())})"


def show_arguments(arguments: Iterable[tuple[str, Any]]) -> str:
    """`out_channels = 8, kernel_size = 3`."""
    return ", ".join(f"{show_name(name)} = {show_value(value)}" for name, value in arguments)


def show_type(type: Type, *, short: bool = True) -> str:
    """`[N, 3, 28, 28]`, `int64[N, T]` or `unknown`."""
    if isinstance(type, Unknown):
        return "unknown"
    shape = f"[{', '.join(map(str, type.shape))}]"
    return shape if short and type.dtype == "float32" else type.dtype + shape


def show_name(name: str) -> str:
    """A name as it is where it is an identifier, else quoted."""
    return name if name.isidentifier() and name.isascii() else quoted(name)


def quoted(text: str) -> str:
    """A string literal on one line."""
    return json.dumps(text, ensure_ascii=False)


# As JSON


def to_data(value: Any) -> Any:
    """A static value as JSON data: what JSON has as it is, all else as an object that says what it is."""
    if isinstance(value, (tuple, list)):
        return [to_data(item) for item in value]  # type: ignore[misc]
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Expr):
        return {"size": str(value)}
    if value is Ellipsis:
        return {"ellipsis": True}
    if isinstance(value, Tensor):
        return {"tensor": show_type(value, short=False)}
    given = field_values(value)
    if given is None:
        return {"shown": str(value)}
    return {"value": type(value).__name__, "fields": {name: to_data(item) for name, item in given.items()}}


def type_data(type: Type) -> Any:
    """A type as JSON data: dtype, and a shape of numbers and of sizes as text."""
    if isinstance(type, Unknown):
        return "unknown"
    return {"dtype": type.dtype, "shape": [dim if isinstance(dim, int) else str(dim) for dim in type.shape]}
