"""How operations, sizes and numbers are written where people read them: diagrams and summaries."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from netdsl.ir.dims import Dim, Expr, Floor, Symbol, substitute, symbol
from netdsl.ir.graph import Graph, Operation
from netdsl.ir.types import Tensor, Type
from netdsl.ops.target import Arg, Stride

# Arguments that a caption names; of the others it has those that are given by position, the tooltip has all.
_TELLING = frozenset(("stride", "dilation", "groups", "dim", "dims", "num_layers", "bidirectional"))
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


def shape(type: Type, multiples: Mapping[str, int] | None = None) -> str:
    """The shape of a type as a figure shows it; free dimensions may be known to be `multiples` of numbers.

    >>> shape(Tensor((32, 3, 28, 28)))
    '32×3×28×28'
    >>> h, w = symbol("H"), symbol("W")
    >>> shape(Tensor((8, (h + 1) // 2, w // 2))), shape(Tensor((8, h // 2, w // 2)), {"H": 4, "W": 4})
    ('8×⌈H/2⌉×⌊W/2⌋', '8×H/2×W/2')
    """
    if not isinstance(type, Tensor):
        return "?"
    text = "×".join(_size(dim, multiples or {}) for dim in type.shape) if type.shape else "scalar"
    return text if type.dtype == "float32" else f"{type.dtype} {text}"


def _size(dim: Dim, multiples: Mapping[str, int]) -> str:
    if isinstance(dim, int):
        return str(dim)
    return _fraction(dim, multiples) or _rounded(dim) or _plain(dim)


def _plain(dim: Expr) -> str:
    atom, factor = _single(dim)
    return str(dim) if isinstance(atom, Symbol) and factor == 1 else f"({dim})"


def _fraction(dim: Expr, multiples: Mapping[str, int]) -> str:
    """`H/8`, where `H` is a multiple of 8 and only that is left."""
    whole = substitute(dim, {name: number * symbol(name) for name, number in multiples.items()})
    atom, factor = _single(whole)
    if not isinstance(atom, Symbol) or atom.name not in multiples:
        return ""
    part = Fraction(factor, multiples[atom.name])
    below = f"/{part.denominator}" if part.denominator > 1 else ""
    return f"{part.numerator if part.numerator > 1 else ''}{atom.name}{below}"


def _rounded(dim: Expr) -> str:
    """`⌊H/2⌋` for `H//2` and `⌈H/2⌉` for `(H + 1)//2`."""
    atom, factor = _single(dim)
    if not isinstance(atom, Floor) or factor != 1 or not isinstance(atom.denominator, int):
        return ""
    for added, brackets in ((0, "⌊⌋"), (atom.denominator - 1, "⌈⌉")):
        inner, times = _single(atom.numerator - added)
        if isinstance(inner, Symbol) and times == 1:
            return f"{brackets[0]}{inner.name}/{atom.denominator}{brackets[1]}"
    return ""


def _single(dim: Dim) -> tuple[Symbol | Floor | None, int]:
    """The atom and the factor of a size that is a multiple of one atom."""
    if isinstance(dim, int):
        return None, 0
    (monomial, factor), *more = dim.terms
    alone = not more and len(monomial) == 1 and monomial[0][1] == 1
    return (monomial[0][0], factor) if alone else (None, 0)


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


def constructor(name: str, given: Mapping[str, Any], longest: int | None = None) -> str:
    """What was written: `Conv2d(out_channels = 10, kernel_size = 5)`; no value longer than `longest`."""
    values = {key: _value(value, exact=True) for key, value in given.items()}
    if longest is not None:
        values = {key: shorten(value, longest) for key, value in values.items()}
    inside = ", ".join(f"{key} = {value}" for key, value in values.items())
    return f"{name}({inside})" if inside else name


def shorten(text: str, longest: int = _LONGEST) -> str:
    """`text`, cut at a comma where it is too long for its place."""
    if len(text) <= longest:
        return text
    head, comma, _ = text[:longest].rpartition(", ")
    return f"{head},…" if comma else text[: longest - 1].rstrip() + "…"


def _is_plain(value: Any) -> bool:
    return isinstance(value, (bool, int, float, str)) or (
        isinstance(value, tuple) and all(map(_is_plain, value)) and len(value) <= 4
    )


def _value(value: Any, times: int = 1, *, exact: bool = False) -> str:
    """A static value; a kernel's size along `times` axes as `3×3`, an index as `[:, 0]`, a float rounded."""
    if isinstance(value, tuple):
        parts = [_value(item, exact=exact) for item in value]  # pyright: ignore[reportUnknownVariableType]
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
    if isinstance(value, float) and not exact:
        return f"{value:.4g}"
    return str(value)
