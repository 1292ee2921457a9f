"""How operations, sizes and numbers are written where people read them: diagrams and summaries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netdsl.ir.dims import Dim, Symbol
from netdsl.ir.graph import Graph, Operation
from netdsl.ir.types import Tensor, Type
from netdsl.ops.target import Arg, Stride

# Arguments that a caption names; of the others it has those that are given by position, the tooltip has all.
_TELLING = frozenset(("stride", "dilation", "groups", "dim", "num_layers", "bidirectional"))
_UNNAMED = frozenset(("indices",))  # they speak for themselves
_LONGEST = 36


def number(value: Dim | float) -> str:
    """A number with thousands separated; a size as it is.

    >>> number(8490)
    '8,490'
    """
    return f"{value:,}" if isinstance(value, (int, float)) else str(value)


def count(value: Dim, what: str) -> str:
    """`260 parameters`, `1 parameter`."""
    return f"{number(value)} {what}" + ("" if value == 1 else "s")


def shape(type: Type) -> str:
    """The shape of a type as a figure shows it.

    >>> shape(Tensor((32, 3, 28, 28)))
    '32×3×28×28'
    """
    if not isinstance(type, Tensor):
        return "?"
    text = "×".join(map(_size, type.shape)) if type.shape else "scalar"
    return text if type.dtype == "float32" else f"{type.dtype} {text}"


def _size(dim: Dim) -> str:
    if isinstance(dim, int):
        return str(dim)
    (monomial, factor), *more = dim.terms
    alone = not more and factor == 1 and len(monomial) == 1 and monomial[0][1] == 1
    return str(dim) if alone and isinstance(monomial[0][0], Symbol) else f"({dim})"


def operation(op: Operation) -> str:
    """The arguments of an operation that tell it from its like: `10, 5×5, stride 2`."""
    axes = getattr(op, "axes", 1)
    positional = getattr(op, "positional", ())
    parts: list[str] = []
    for name, value in op.arguments().items():
        alone = name in _UNNAMED or (name in positional and name not in _TELLING)
        if not alone and name not in _TELLING:
            continue
        text = _value(value, axes if name.endswith(("kernel_size", "output_size")) else 1)
        parts.append(text if alone else name if value is True else f"{name} {text}")
    return shorten(", ".join(parts).replace("->", "→"))


def arguments(graph: Graph) -> str:
    """The arguments of a block: `planes 128, stride 2`."""
    shown = (f"{name} {_value(value)}" for name, value in graph.arguments if _is_plain(value))
    return shorten(", ".join(shown))


def constructor(name: str, given: Mapping[str, Any]) -> str:
    """What was written: `Conv2d(out_channels = 10, kernel_size = 5)`."""
    inside = ", ".join(f"{key} = {_value(value)}" for key, value in given.items())
    return f"{name}({inside})" if inside else name


def shorten(text: str, longest: int = _LONGEST) -> str:
    """`text`, cut at a comma where it is too long for its place."""
    if len(text) <= longest:
        return text
    head = text[:longest].rsplit(",", 1)[0] if "," in text[:longest] else text[: longest - 1]
    return head.rstrip() + ("," if "," in text[:longest] else "") + "…"


def _is_plain(value: Any) -> bool:
    return isinstance(value, (bool, int, float, str)) or (
        isinstance(value, tuple) and all(map(_is_plain, value)) and len(value) <= 4
    )


def _value(value: Any, times: int = 1) -> str:
    """A static value; a kernel's size along `times` axes as `3×3`, an index as `[:, 0]`."""
    if isinstance(value, tuple):
        parts = [_value(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
        return "×".join(parts) if times > 1 else f"[{', '.join(parts)}]"
    if isinstance(value, Stride):
        ends = ("" if end is None else str(end) for end in (value.start, value.stop))
        return ":".join(ends) + (f":{value.step}" if value.step is not None else "")
    if isinstance(value, Arg):
        return "·"
    if value is Ellipsis:
        return "..."
    if isinstance(value, int) and not isinstance(value, bool) and times > 1:
        return "×".join([str(value)] * times)
    return str(value)
