"""How small and how large a size can get, over all values of its free dimensions that are allowed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TypeAlias

from netdsl.ir.dims import (
    Dim,
    DimTooLarge,
    Expr,
    Floor,
    Monomial,
    Symbol,
    evaluate,
    substitute,
    symbol,
    symbols,
)
from netdsl.ir.residues import BUDGET, is_polynomial, pieces, work

Number: TypeAlias = int | float  # the float is an infinity
Range: TypeAlias = tuple[Number, Number]

_INFINITE = math.inf
_TRIES = 64  # how far a polynomial's smallest value is looked for before it is given up


def rough_range(dim: Dim, minimum: Mapping[str, int]) -> Range:
    """A range that holds every value; it is exact where no free dimension occurs twice."""
    if isinstance(dim, int):
        return dim, dim
    low: Number = 0
    high: Number = 0
    for monomial, factor in dim.terms:
        term: Range = (factor, factor)
        for atom, power in monomial:
            term = _times(term, _power(_atom_range(atom, minimum), power))
        low, high = _plus(low, term[0]), _plus(high, term[1])
    return low, high


def exact_range(dim: Dim, minimum: Mapping[str, int]) -> Range:
    """The smallest range that can be found: exact for most sizes, sound for all. Infinite where unknown."""
    if isinstance(dim, int):
        return dim, dim
    known = tuple((name, minimum[name]) for name in sorted(dim.free) if name in minimum)
    return _exact_range(dim, known)


@lru_cache(maxsize=8192)
def _exact_range(dim: Expr, known: tuple[tuple[str, int], ...]) -> Range:
    minimum = dict(known)
    low, high = rough_range(dim, minimum)
    if _occurs_once(dim):
        return low, high
    try:
        cut = pieces(dim, minimum)
        if cut is None:
            below, above = _relaxed_low(dim, minimum), -_relaxed_low(-dim, minimum)
        else:
            below = min(polynomial_low(piece.value) for piece in cut)
            above = -min(polynomial_low(-piece.value) for piece in cut)
    except DimTooLarge:
        return low, high
    return max(low, below), min(high, above)


def _occurs_once(dim: Expr) -> bool:
    names = list(_occurrences(dim))
    return len(names) == len(set(names))


def _occurrences(dim: Dim) -> Iterable[str]:
    if isinstance(dim, int):
        return
    for monomial, _ in dim.terms:
        for atom, _ in monomial:
            if isinstance(atom, Symbol):
                yield atom.name
            else:
                yield from _occurrences(atom.numerator)
                yield from _occurrences(atom.denominator)


# Arithmetic of ranges


def _atom_range(atom: Symbol | Floor, minimum: Mapping[str, int]) -> Range:
    if isinstance(atom, Symbol):
        return minimum.get(atom.name, 1), _INFINITE
    low, high = rough_range(atom.numerator, minimum)
    by_low, by_high = rough_range(atom.denominator, minimum)
    if by_low <= 0:
        return -_INFINITE, _INFINITE
    corners = [_over(top, by) for top in (low, high) for by in (by_low, by_high)]
    return min(corners), max(corners)


def _over(top: Number, by: Number) -> Number:
    """The floor of `top/by` for positive `by`; by an infinity it gets to 0 or -1."""
    if isinstance(top, float):
        return top
    if isinstance(by, float):
        return 0 if top >= 0 else -1
    return top // by


def _plus(left: Number, right: Number) -> Number:
    if isinstance(left, int) and isinstance(right, int):
        return left + right
    return left if isinstance(left, float) else right


def _product(left: Number, right: Number) -> Number:
    if left == 0 or right == 0:
        return 0
    if isinstance(left, int) and isinstance(right, int):
        return left * right
    return _INFINITE if (left > 0) == (right > 0) else -_INFINITE


def _times(left: Range, right: Range) -> Range:
    corners = [_product(a, b) for a in left for b in right]
    return min(corners), max(corners)


def _power(base: Range, power: int) -> Range:
    result = base
    for _ in range(power - 1):
        result = _times(result, base)
    if power % 2 == 0 and base[0] < 0:
        return max(0, result[0]), result[1]
    return result


# Polynomials, for all values of their symbols from 0 on


def polynomial_low(dim: Dim) -> Number:
    """The smallest value of a polynomial; an infinity where there is none or it is not found."""
    if isinstance(dim, int):
        return dim
    if _rises(dim):
        return _constant(dim)
    if len(symbols(dim)) > 1 or dim.terms[0][1] < 0:
        return -_INFINITE
    (name,) = symbols(dim)
    lowest: Number = _INFINITE
    for start in range(_TRIES):
        lowest = min(lowest, evaluate(dim, {name: start}))
        beyond = substitute(dim, {name: symbol(name) + start})
        if isinstance(beyond, int) or _rises(beyond):
            return lowest
    return -_INFINITE


def _rises(dim: Expr) -> bool:
    """Whether every term but the constant grows with its symbols."""
    return all(factor > 0 for monomial, factor in dim.terms if monomial)


def _constant(dim: Expr) -> int:
    monomial, factor = dim.terms[-1]
    return 0 if monomial else factor


# Floors between lines: (n - d + 1)/d <= n//d <= n/d


def _relaxed_low(dim: Dim, minimum: Mapping[str, int]) -> Number:
    if work(dim) > BUDGET:
        return -_INFINITE
    scale = 1
    while isinstance(dim, Expr) and not is_polynomial(dim):
        replaced = _without_a_floor(dim, minimum)
        if replaced is None:
            return -_INFINITE
        dim, by = replaced
        scale *= by
    shift = {name: symbol(name) + minimum.get(name, 1) for name in symbols(dim)}
    low = polynomial_low(substitute(dim, shift))
    return low if isinstance(low, float) else -(-low // scale)


def _without_a_floor(dim: Expr, minimum: Mapping[str, int]) -> tuple[Dim, int] | None:
    """A size that is nowhere above `dim` times the number that comes with it, with one kind of floor less."""
    for monomial, _ in dim.terms:
        for atom, _ in monomial:
            if isinstance(atom, Floor):
                return _below(dim, atom, minimum)
    return None


def _below(dim: Expr, floor: Floor, minimum: Mapping[str, int]) -> tuple[Dim, int] | None:
    by = floor.denominator
    if not isinstance(by, int):
        return None
    total: Dim = 0
    for monomial, factor in dim.terms:
        powers = dict(monomial)
        power = powers.pop(floor, 0)
        term = Expr(((monomial, factor),)) if monomial else factor
        if power == 0:
            total = total + by * term
        elif power > 1 or not _is_positive(tuple(powers.items()), minimum):
            return None
        else:
            others = Expr(((tuple(powers.items()), factor),)) if powers else factor
            total = total + others * (floor.numerator - (by - 1 if factor > 0 else 0))
    return total, by


def _is_positive(monomial: Monomial, minimum: Mapping[str, int]) -> bool:
    return all(_atom_range(atom, minimum)[0] >= 0 for atom, _ in monomial)
