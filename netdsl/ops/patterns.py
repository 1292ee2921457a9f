"""The notation of einops, `n (h d) t -> n h t d`: parsed, and its axes given sizes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from netdsl.ir.decide import DimMismatch, join
from netdsl.ir.dims import Dim, Expr, exact_div, product
from netdsl.ir.types import Tensor
from netdsl.ops.base import ShapeProblem

DOTS = "..."
Term = tuple[
    str, ...
]  # the axes that make one axis of the tensor: several in parentheses, none of `1` and `()`
Side = tuple[Term, ...]

_TOKEN = re.compile(r"\s*(\.\.\.|[A-Za-z_]\w*|\d+|[()])\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Pattern:
    """Both sides of a pattern. An axis without a name, as the 3 of `h w -> h w 3`, has its number for one."""

    left: Side
    right: Side

    @property
    def left_names(self) -> list[str]:
        return [name for term in self.left for name in term]

    @property
    def right_names(self) -> list[str]:
        return [name for term in self.right for name in term]


def problem(pattern: str, why: str, *, help: str | None = None, argument: str = "pattern") -> ShapeProblem:
    return ShapeProblem("E0413", f'the pattern "{pattern}": {why}', argument=argument, help=help)


@lru_cache(maxsize=1024)
def parse(text: str) -> Pattern:
    """The sides of a pattern. Raises ShapeProblem E0413.

    >>> parse("n (h d) 1 -> n h d").left
    (('n',), ('h', 'd'), ())
    """
    sides = text.split("->")
    if len(sides) != 2:
        raise problem(text, f"`->` stands once between its two sides, found {len(sides) - 1} of them")
    left, right = (tuple(_terms(text, side)) for side in sides)
    found = Pattern(left, right)
    for names in (found.left_names, found.right_names):
        for name in names:
            if not name.isdigit() and names.count(name) > 1:
                raise problem(text, f"`{name}` is twice on one side")
    if DOTS in found.right_names and DOTS not in found.left_names:
        raise problem(text, "`...` is on the right only")
    for term in left:
        if any(name.isdigit() for name in term):
            raise problem(text, "the left side has no numbers other than 1")
    return found


def _terms(text: str, side: str) -> Iterator[Term]:
    group: list[str] | None = None
    place = 0
    while place < len(side.rstrip()):
        match = _TOKEN.match(side, place)
        if match is None:
            raise problem(text, f'"{side[place:].strip()[0]}" is not part of the notation')
        place, token = match.end(), match[1]
        if token == "(":
            if group is not None:
                raise problem(text, "parentheses stand in parentheses")
            group = []
        elif token == ")":
            if group is None:
                raise problem(text, "a parenthesis closes that was not opened")
            yield tuple(group)
            group = None
        elif token == "0":
            raise problem(text, "0 is not a size")
        elif group is not None:
            group += [] if token == "1" else [token]
        else:
            yield () if token == "1" else (token,)
    if group is not None:
        raise problem(text, "a parenthesis is not closed")


@dataclass(frozen=True, slots=True)
class Sized:
    """A pattern for one tensor: `...` written out, and the size of every axis; `inferred` ones follow from it."""

    left: Side
    right: Side
    sizes: Mapping[str, Dim]
    inferred: frozenset[str]

    @property
    def names(self) -> list[str]:
        """The axes of the left side, one after the other."""
        return [name for term in self.left for name in term]

    @property
    def result(self) -> list[str]:
        return [name for term in self.right for name in term]

    def shape(self, side: Side) -> tuple[Dim, ...]:
        return tuple(product(self.sizes[name] for name in term) for term in side)


def sized(kind: str, text: str, given: Mapping[str, Dim], x: Tensor) -> Sized:
    """`text` for the tensor `x`, with the sizes `given` of some axes."""
    pattern = parse(text)
    names = {*pattern.left_names, *pattern.right_names}
    for name in given:
        if name not in names:
            raise problem(text, f"`{name}` is not an axis of it", argument=name)
    left, dots = _without_dots(kind, text, pattern, x)
    sizes: dict[str, Dim] = {name: int(name) for name in pattern.right_names if name.isdigit()}
    sizes.update(given)
    inferred: set[str] = set()
    for place, (term, size) in enumerate(zip(left, x.shape, strict=True)):
        _measure(kind, text, term, size, place, sizes, inferred, x)
    right = tuple(_spread(term, dots) for term in pattern.right)
    if DOTS in pattern.right_names and any(term == (DOTS,) for term in pattern.right):
        right = tuple(part for term in pattern.right for part in _spread_axis(term, dots))
    return Sized(left, right, sizes, frozenset(inferred))


def _without_dots(kind: str, text: str, pattern: Pattern, x: Tensor) -> tuple[Side, tuple[str, ...]]:
    """The left side with a name for each axis that `...` stands for, and those names."""
    named = [term for term in pattern.left if term != (DOTS,)]
    has_dots = len(named) < len(pattern.left)
    if any(DOTS in term for term in named):
        raise problem(text, "`...` stands in parentheses on the left")
    if x.rank < len(named) or (x.rank > len(named) and not has_dots):
        count = f"{len(named)}{' or more' if has_dots else ''} {'axis' if len(named) == 1 else 'axes'}"
        raise ShapeProblem(
            "E0401",
            f'the left side of "{text}" has {count}, but the input of `{kind}` has {x.rank}',
            operand=0,
            label=f"this is {x}",
            argument="pattern",
        )
    dots = tuple(f"{DOTS}{number}" for number in range(x.rank - len(named)))
    return tuple(part for term in pattern.left for part in _spread_axis(term, dots)), dots


def _spread_axis(term: Term, dots: tuple[str, ...]) -> list[Term]:
    return [(name,) for name in dots] if term == (DOTS,) else [_spread(term, dots)]


def _spread(term: Term, dots: tuple[str, ...]) -> Term:
    return tuple(part for name in term for part in (dots if name == DOTS else (name,)))


def _measure(
    kind: str,
    text: str,
    term: Term,
    size: Dim,
    place: int,
    sizes: dict[str, Dim],
    inferred: set[str],
    x: Tensor,
) -> None:
    """Add the sizes of the axes in `term`, which together are `size`."""
    unknown = [name for name in term if name not in sizes]
    if len(unknown) > 1:
        listed = " and ".join(f"`{name}`" for name in unknown)
        raise problem(
            text,
            f"the sizes of {listed} do not follow from {size}",
            help=f"give one of them: `{unknown[0]} = ...`",
        )
    known = product(sizes[name] for name in term if name in sizes)
    rest: Dim = 1
    if unknown:
        quotient = exact_div(size, known)
        rest = size // known if quotient is None else quotient
    try:
        join(size, known * rest)
    except DimMismatch as mismatch:
        raise _does_not_fit(kind, term, size, known, place, bool(unknown), x, mismatch) from None
    for name in unknown:
        sizes[name] = rest
        inferred.add(name)


def _does_not_fit(
    kind: str,
    term: Term,
    size: Dim,
    known: Dim,
    place: int,
    divides: bool,
    x: Tensor,
    mismatch: DimMismatch,
) -> ShapeProblem:
    written = " ".join(term) if len(term) == 1 else f"({' '.join(term)})" if term else "1"
    if divides:
        message = f"`{written}` of `{kind}` is {size}, which {known} does not divide"
    else:
        message = f"`{written}` of `{kind}` is {known}, but axis {place} of the input is {size}"
    at = mismatch.comparison.counterexample
    shown = ", ".join(f"{name} = {value}" for name, value in sorted(at.items())) if at else ""
    return ShapeProblem(
        "E0406" if divides else "E0402",
        message,
        operand=0,
        label=f"this is {x}",
        argument="pattern",
        note=f"for {shown} it is {mismatch.comparison.left}" if shown else None,
    )


def check_given(given: Mapping[str, object]) -> None:
    """Sizes of axes are given as positive integers or sizes. Raises ValueError."""
    for name, value in given.items():
        if (
            isinstance(value, bool)
            or not isinstance(value, int | Expr)
            or (isinstance(value, int) and value < 1)
        ):
            raise ValueError(f"the size `{name}` is a positive integer or a size, found {value!r}")
