"""Sizes as polynomials: within one residue class of its free dimensions, a size with floors has none.

`H//2` is `t` for `H = 2*t` and `t` for `H = 2*t + 1`. Cut into enough classes, every size whose divisors are
numbers is an ordinary polynomial in each, and there zero, sign and bounds are decided for all values.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from netdsl.ir.dims import Dim, Expr, Floor, substitute, symbol, symbols

Relation: TypeAlias = Literal["<", "<=", ">", ">=", "==", "!="]

# Work of one decision, in terms times classes. With it, the slowest stays below a fifth of a second.
BUDGET = 5_000


@dataclass(frozen=True, slots=True)
class Piece:
    """A size for all values `start + period*t` of each free dimension, `t >= 0`: a polynomial in the `t`."""

    starts: dict[str, int]
    value: Dim  # its symbols, named as the free dimensions, are the `t`


def periods(dim: Dim) -> dict[str, int] | None:
    """How many classes of each free dimension make `dim` a polynomial; None when it divides by a free one."""
    if isinstance(dim, int):
        return {}
    found: dict[str, int] = {}
    for monomial, _ in dim.terms:
        for atom, _ in monomial:
            inner = _floor_periods(atom) if isinstance(atom, Floor) else {atom.name: 1}
            if inner is None:
                return None
            for name, period in inner.items():
                found[name] = math.lcm(found.get(name, 1), period)
    return found


def _floor_periods(floor: Floor) -> dict[str, int] | None:
    if not isinstance(floor.denominator, int):
        return None
    inner = periods(floor.numerator)
    return None if inner is None else {name: period * floor.denominator for name, period in inner.items()}


def pieces(dim: Expr, minimum: Mapping[str, int]) -> list[Piece] | None:
    """All of `dim` in pieces, or None when it cannot be cut or there would be too many."""
    cut = periods(dim)
    if cut is None or math.prod(cut.values()) * work(dim) > BUDGET:
        return None
    return [Piece(starts, _in_class(dim, cut, starts)) for starts in _classes(cut, minimum)]


def work(dim: Dim) -> int:
    """About how many terms come up when every symbol is replaced by a sum."""
    if isinstance(dim, int):
        return 0
    total = 0
    for monomial, _ in dim.terms:
        total += math.prod(power + 1 for _, power in monomial)
        total += sum(work(atom.numerator) for atom, _ in monomial if isinstance(atom, Floor))
    return total


def _classes(cut: Mapping[str, int], minimum: Mapping[str, int]) -> Iterator[dict[str, int]]:
    lowest = [minimum.get(name, 1) for name in cut]
    ranges = [range(low, low + period) for low, period in zip(lowest, cut.values(), strict=True)]
    for starts in itertools.product(*ranges):
        yield dict(zip(cut, starts, strict=True))


def _in_class(dim: Expr, cut: Mapping[str, int], starts: Mapping[str, int]) -> Dim:
    return substitute(dim, {name: symbol(name) * cut[name] + start for name, start in starts.items()})


def is_polynomial(dim: Dim) -> bool:
    """Whether no division is left in `dim`."""
    if isinstance(dim, int):
        return True
    return not any(isinstance(atom, Floor) for monomial, _ in dim.terms for atom, _ in monomial)


# Sets of residues of one free dimension, and how to write them


@dataclass(frozen=True, slots=True)
class Residues:
    """The values of the free dimension `name` whose remainder by `modulus` is among `members`."""

    name: str
    modulus: int
    members: frozenset[int]

    def reduced(self) -> Residues:
        """The same values by the smallest modulus."""
        for modulus in range(1, self.modulus):
            members = frozenset(member % modulus for member in self.members)
            if self.modulus % modulus == 0 and len(members) * (self.modulus // modulus) == len(self.members):
                return Residues(self.name, modulus, members)
        return self

    def intersection(self, other: Residues) -> Residues | None:
        """The values in both; None when the common modulus is too large."""
        modulus = math.lcm(self.modulus, other.modulus)
        if modulus > BUDGET:
            return None
        mine = (r for r in range(modulus) if r % self.modulus in self.members)
        both = frozenset(r for r in mine if r % other.modulus in other.members)
        return Residues(self.name, modulus, both).reduced()

    def condition(self) -> tuple[Dim, Relation, int] | None:
        """Left side, relation and right side that say so, as `H % 2 == 0`; None without a short form."""
        ordered = sorted(self.members)
        remainder = symbol(self.name) % self.modulus
        if len(ordered) == 1:
            return remainder, "==", ordered[0]
        if ordered == list(range(len(ordered))):
            return remainder, "<=", ordered[-1]
        if ordered == list(range(ordered[0], self.modulus)):
            return remainder, ">=", ordered[0]
        if len(ordered) == self.modulus - 1:
            return remainder, "!=", (set(range(self.modulus)) - self.members).pop()
        first = next((r for r in ordered if (r - 1) % self.modulus not in self.members), 0)
        if all((first + i) % self.modulus in self.members for i in range(len(ordered))):
            return (symbol(self.name) - first) % self.modulus, "<=", len(ordered) - 1
        return None


def vanishing(dim: Expr, found: list[Piece]) -> Residues:
    """Where `dim`, a size in one free dimension, is zero throughout a class."""
    (name,) = symbols(dim)
    members = frozenset(piece.starts[name] % len(found) for piece in found if piece.value == 0)
    return Residues(name, len(found), members).reduced()
