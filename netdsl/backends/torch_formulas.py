"""Numbers of a class by other ones: `4 * channels`, `size // 7`, `64 // heads`, `(64 // heads) ** -0.5`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple, TypeAlias

from netdsl.backends.torch_sizes import named_axes
from netdsl.backends.torch_trees import POWER, PRODUCT, SUM, Code
from netdsl.ir.graph import Graph
from netdsl.ir.types import Tensor

# The axes of an input, by the letters that everybody has for them.
_WORDS: Final = {"C": "channels", "H": "height", "W": "width", "T": "length", "L": "length", "D": "features"}
_LONG: Final = ("H", "W", "T", "L")  # axes that say how large the input is, and nothing of how wide it is
_FEW: Final = 2
_UNKNOWN: Final = 1 << 10
_FAR_FETCHED: Final = 1 << 20

Values: TypeAlias = tuple[Any, ...]  # a number in each of the graphs that share a class


class Axis(NamedTuple):
    """The size of an axis of the inputs, under the name that it has, or would have, as an argument."""

    name: str
    values: Values
    is_long: bool


class Formula(NamedTuple):
    """A number by an argument, or by an axis, which then is one; `cost` says how far-fetched it is."""

    code: Code
    cost: int
    axis: Axis | None = None

    def less_likely(self) -> Formula:
        """Where it takes an argument that there is not yet."""
        return self._replace(cost=self.cost + _UNKNOWN)


def axes(graphs: Sequence[Graph]) -> list[Axis]:
    """The axes whose sizes differ and that the source names; those that always agree are one `size`."""
    found: dict[Values, list[str]] = {}
    for name, values in named_axes(graphs):
        if len({*values}) > 1 and all(type(value) is int for value in values):
            found.setdefault(values, []).append(name)
    return [
        Axis(_WORDS.get(names[0], names[0].lower()) if len(names) == 1 else "size", values, names[0] in _LONG)
        for values, names in found.items()
    ]


def constants(graphs: Sequence[Graph]) -> frozenset[Any]:
    """The sizes that occur in all graphs."""
    each = [{d for t in g.types.values() if isinstance(t, Tensor) for d in t.shape} for g in graphs]
    return frozenset(set.intersection(*each))


def best(formulas: Iterable[Formula]) -> Formula | None:
    """The simplest of them; the first of those that are as simple."""
    return min(formulas, key=lambda formula: formula.cost, default=None)


def by_argument(
    values: Values, name: str, base: Values, hint: str, known: frozenset[Any]
) -> Iterator[Formula]:
    """A number that follows from an argument: a multiple of it, half of it as padding, one of the sizes `known`
    divided by it, or the root of one over either."""
    if not all(type(number) is int and number > 0 for number in base):
        return
    pairs = list(zip(values, base, strict=True))
    if all(type(value) is int and value >= 0 for value in values):
        yield from _multiple(pairs, name)
        if hint == "padding" and all(v == b // 2 for v, b in pairs):
            yield Formula(Code(f"{name} // 2", PRODUCT), 1)
        product = pairs[0][0] * pairs[0][1]
        if product in known and all(v * b == product for v, b in pairs):
            yield Formula(Code(f"{product} // {name}", PRODUCT), _FAR_FETCHED)
    elif all(type(value) is float and value > 0 for value in values):
        yield from _root(pairs, name)


def by_axis(values: Values, axis: Axis, *, is_width: bool, uses: int) -> Iterator[Formula]:
    """A number that follows from the size of an axis: a multiple of it, some more or less than it, or a part of it; a
    part that has many `uses` has a name of its own."""
    if not all(type(value) is int and value > 0 for value in values) or (is_width and axis.is_long):
        return
    pairs = list(zip(values, axis.values, strict=True))
    found = [*_multiple(pairs, axis.name)]
    factor = pairs[0][1] // pairs[0][0]
    if factor > 1 and (uses <= _FEW or axis.is_long) and all(v * factor == b for v, b in pairs):
        found.append(Formula(Code(f"{axis.name} // {factor}", PRODUCT), factor))
    if axis.is_long:
        found += more(values, axis.name, axis.values)
    for formula in found:
        code = replace(formula.code, base=axis.name)
        yield Formula(code, formula.cost, axis)


def more(values: Values, name: str, base: Values) -> Iterator[Formula]:
    """A number that is a constant more or less than another."""
    if all(type(number) is int for number in (*values, *base)):
        offset = values[0] - base[0]
        if offset and all(v - b == offset for v, b in zip(values, base, strict=True)):
            sign = "+" if offset > 0 else "-"
            yield Formula(Code(f"{name} {sign} {abs(offset)}", SUM), abs(offset))


def _multiple(pairs: list[tuple[Any, int]], name: str) -> Iterator[Formula]:
    factor = pairs[0][0] // pairs[0][1]
    if factor > 1 and all(v == factor * b for v, b in pairs):
        yield Formula(Code(f"{factor} * {name}", PRODUCT), factor)


def _root(pairs: list[tuple[Any, int]], name: str) -> Iterator[Formula]:
    if all(v == b**-0.5 for v, b in pairs):
        yield Formula(Code(f"{name}**-0.5", POWER), 1)
    total = round(pairs[0][1] * pairs[0][0] ** -2)
    if total and all(total % b == 0 and v == (total // b) ** -0.5 for v, b in pairs):
        yield Formula(Code(f"({total} // {name}) ** -0.5", POWER), _FAR_FETCHED)
