"""Decisions about symbolic sizes for all values of the free dimensions, and conditions where there is none.

Nothing is called equal, or true, because samples say so: an answer rests on the normal form, on bounds, or on
the polynomials that a size is within each residue class of its free dimensions (see `residues`). Where that
takes too long the tolerant answer is given, "sometimes" or None.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from contextvars import ContextVar, Token
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import TracebackType
from typing import Literal

from netdsl.ir.bounds import exact_range, polynomial_low, rough_range
from netdsl.ir.dims import (
    SHORT,
    Dim,
    DimTooLarge,
    Expr,
    Symbol,
    evaluate,
    primitive,
    substitute,
    symbol,
    symbols,
)
from netdsl.ir.residues import Piece, Relation, Residues, pieces, vanishing

# Sizes tried for a counterexample, the usual ones first. Values of several dimensions are taken to differ.
_USUAL = (29, 28, 32, 7, 224, 10, 5, 3, 2, 1, 4, 6, 64, 97, 1000)
_FAR = 2**20  # agreement only below this in some dimension is agreement at isolated sizes


@dataclass(frozen=True, slots=True)
class Constraint:
    """A condition on the free dimensions of a model, as `H % 2 == 0`, `N == M` or `H >= 5`.

    It may leave out isolated small sizes that happen to fit, never the other way round.
    """

    left: Dim
    op: Relation
    right: Dim
    residues: Residues | None = field(default=None, compare=False, repr=False)

    def holds_at(self, values: Mapping[str, int]) -> bool:
        """Whether it is met when the free dimensions have these values."""
        return _related(evaluate(self.left, values), self.op, evaluate(self.right, values))

    def __str__(self) -> str:
        return f"{self.left} {self.op} {self.right}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """How two sizes relate: `left` and `right` are their values at the `counterexample` of "different"."""

    kind: Literal["equal", "different", "sometimes"]
    counterexample: dict[str, int] | None = None
    left: int | None = None
    right: int | None = None
    constraint: Constraint | None = None


class DimMismatch(Exception):
    """Two sizes that must agree do not."""

    def __init__(self, comparison: Comparison) -> None:
        super().__init__(f"{comparison.left} and {comparison.right}")
        self.comparison = comparison


class Assumptions:
    """What is known while a body is elaborated: the meaning of its symbols, and the conditions found so far.

    >>> with Assumptions({"h": symbol("H") + 2}) as found:
    ...     size = join(symbol("h"), 2 * (symbol("h") // 2))
    >>> [str(constraint) for constraint in found.constraints]
    ['H % 2 == 0']
    """

    def __init__(
        self, meaning: Mapping[str, Dim] | None = None, minimum: Mapping[str, int] | None = None
    ) -> None:
        self.meaning = dict(meaning or {})
        self.minimum = dict(minimum or {})
        self.constraints: list[Constraint] = []
        self._tokens: list[Token[Assumptions]] = []
        self._roots: dict[Expr, Dim] = {}

    def __enter__(self) -> Assumptions:
        self._tokens.append(_ACTIVE.set(self))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _ACTIVE.reset(self._tokens.pop())

    def root(self, dim: Dim) -> Dim:
        """`dim` in the symbols of the model's inputs."""
        if isinstance(dim, int) or not self.meaning:
            return dim
        found = self._roots.get(dim)
        if found is None:
            found = substitute(dim, self.meaning)
            if dim.size <= SHORT:
                self._roots[dim] = found
        return found

    def contradicts(self, constraint: Constraint) -> bool:
        """Whether no value can meet `constraint` and what is recorded."""
        added = constraint.residues
        for known in self.constraints:
            if added and known.residues and known.residues.name == added.name:
                both = known.residues.intersection(added)
                if both is not None and not both.members:
                    return True
        return False

    def record(self, constraint: Constraint) -> None:
        """Keep `constraint`, once; conditions of one dimension become one where that can be said shortly."""
        related = [known for known in self.constraints if _about_the_same(known, constraint)]
        both = _combined([*related, constraint])
        if both is None:
            self.constraints.append(constraint)
            return
        place = self.constraints.index(related[0]) if related else len(self.constraints)
        self.constraints[:] = [known for known in self.constraints if known not in related]
        self.constraints.insert(place, both)


_ACTIVE: ContextVar[Assumptions] = ContextVar("assumptions")
_NOTHING = Assumptions()


def _active() -> Assumptions:
    return _ACTIVE.get(_NOTHING)


def same(left: Dim, right: Dim) -> bool:
    """Whether both are equal for all values."""
    if isinstance(left, int) and isinstance(right, int):
        return left == right
    return left == right or compare(left, right).kind == "equal"


def compare(left: Dim, right: Dim) -> Comparison:
    """Whether both are equal always, for arbitrarily large sizes or at isolated sizes at most.

    >>> h = symbol("H")
    >>> str(compare(h, 2 * (h // 2)).constraint), compare(h, (h - 1) // 2 + 1).kind
    ('H % 2 == 0', 'different')
    """
    active = _active()
    one, other = active.root(left), active.root(right)
    if one == other:
        return Comparison("equal")
    if isinstance(one, int) and isinstance(other, int):
        return Comparison("different", {}, one, other)
    found = _compare(one, other, _known(symbols(one) | symbols(other), active))
    return _as_written(found, symbols(left) | symbols(right), active)


def _as_written(found: Comparison, free: frozenset[str], active: Assumptions) -> Comparison:
    """`found` with its counterexample in `free`, the symbols of the body that compares, not those of the model."""
    sizes = found.counterexample
    if not sizes or not active.meaning:
        return found
    roots = {name: active.root(symbol(name)) for name in sorted(free)}
    if any(symbols(root) - sizes.keys() for root in roots.values()):
        return found
    values = {name: _evaluated(root, sizes) for name, root in roots.items()}
    known = {name: value for name, value in values.items() if value is not None}
    return replace(found, counterexample=known) if len(known) == len(values) else found


def join(left: Dim, right: Dim) -> Dim:
    """The size that both are, in its simpler form; a condition for it is recorded. Raises `DimMismatch`."""
    if left == right:
        return left
    comparison = compare(left, right)
    constraint = comparison.constraint
    active = _active()
    if constraint is not None and active.contradicts(constraint):
        comparison = _contradiction(active.root(left), active.root(right), active)
        comparison = _as_written(comparison, symbols(left) | symbols(right), active)
    if comparison.kind == "different":
        raise DimMismatch(comparison)
    if constraint is not None:
        assume(constraint)
    return min(left, right, key=_simplicity)


def assume(constraint: Constraint) -> None:
    """Record a condition that the model's run depends on, unless it is always met."""
    active = _ACTIVE.get(None)
    if active is None:
        return
    if constraint.residues is None:
        left, right = active.root(constraint.left), active.root(constraint.right)
        constraint = _solved(Constraint(left, constraint.op, right))
        if holds(constraint.left, constraint.op, constraint.right):
            return
    active.record(constraint)


def holds(left: Dim, op: Relation, right: Dim) -> bool | None:
    """Whether the relation is met: True for all values, False for none, None where it depends or is unknown.

    >>> h = symbol("H")
    >>> holds(h, ">=", 1), holds(h, ">", 7), holds((7 - h % 7) % 7, "<=", 6), holds(h, "==", 0)
    (True, None, True, False)
    """
    if isinstance(left, int) and isinstance(right, int):
        return _related(left, op, right)
    active = _active()
    difference = active.root(left) - active.root(right)
    if isinstance(difference, int):
        return _related(difference, op, 0)
    return _sign(difference, op, _known(difference.free, active))


def minimum_value(dim: Dim) -> int | None:
    """The smallest value, or a number below it where no nearer can be told; None for no bound known."""
    active = _active()
    low = exact_range(active.root(dim), active.minimum)[0]
    return low if isinstance(low, int) else None


def maximum_value(dim: Dim) -> int | None:
    """The largest value, or a number above it where no nearer can be told; None for no bound known."""
    active = _active()
    high = exact_range(active.root(dim), active.minimum)[1]
    return high if isinstance(high, int) else None


def never_positive(dim: Dim) -> bool:
    """Whether it is below 1 for every allowed value."""
    return holds(dim, "<=", 0) is True


def _related(left: float, op: Relation, right: float) -> bool:
    match op:
        case "<":
            return left < right
        case "<=":
            return left <= right
        case ">":
            return left > right
        case ">=":
            return left >= right
        case "==":
            return left == right
        case "!=":
            return left != right


def _by_range(limits: tuple[float, float], op: Relation) -> bool | None:
    """What a relation to zero is for every number within limits."""
    low, high = limits
    if op in ("==", "!="):
        return op == "!=" if low > 0 or high < 0 else None
    answers = {_related(low, op, 0), _related(high, op, 0)}
    return answers.pop() if len(answers) == 1 else None


def _by_pieces(difference: Expr, op: Relation, minimum: Mapping[str, int]) -> bool | None:
    cut = _pieces(difference, minimum)
    if cut is None:
        return op == "!=" if _never_zero(difference) else None
    if all(piece.value == 0 for piece in cut):
        return op == "=="
    return op == "!=" if all(_zero_nowhere(piece.value) for piece in cut) else None


@lru_cache(maxsize=8192)
def _sign(difference: Expr, op: Relation, known: tuple[tuple[str, int], ...]) -> bool | None:
    """Whether `difference` has that relation to zero; as `holds`."""
    minimum = dict(known)
    answer = _by_range(rough_range(difference, minimum), op)
    if answer is None:
        answer = _by_range(exact_range(difference, minimum), op)
    if answer is None and op in ("==", "!="):
        answer = _by_pieces(difference, op, minimum)
    return answer


def _known(free: frozenset[str], active: Assumptions) -> tuple[tuple[str, int], ...]:
    """The least values that `free` dimensions are known to have, in an order that does not vary."""
    return tuple((name, active.minimum[name]) for name in sorted(free) if name in active.minimum)


# Comparing


@lru_cache(maxsize=8192)
def _compare(left: Dim, right: Dim, known: tuple[tuple[str, int], ...]) -> Comparison:
    minimum = dict(known)
    difference = left - right
    if isinstance(difference, int):
        return Comparison("equal") if difference == 0 else _different(left, right, minimum)
    equation = primitive(difference)
    low, high = rough_range(equation, minimum)
    if low > 0 or high < 0 or isinstance(equation, int):
        return _different(left, right, minimum)
    cut = _pieces(equation, minimum)
    if cut is None:
        return _compare_uncut(left, right, equation, minimum)
    if all(piece.value == 0 for piece in cut):
        return Comparison("equal")
    if not any(_zero_far_out(piece.value, equation.free) for piece in cut):
        return _different(left, right, minimum)
    return Comparison("sometimes", constraint=_constraint(equation, cut))


def _pieces(difference: Expr, minimum: Mapping[str, int]) -> list[Piece] | None:
    try:
        return pieces(difference, minimum)
    except DimTooLarge:
        return None


def _compare_uncut(left: Dim, right: Dim, equation: Expr, minimum: Mapping[str, int]) -> Comparison:
    low, high = exact_range(equation, minimum)
    if low > 0 or high < 0 or _never_zero(equation):
        return _different(left, right, minimum)
    return Comparison("sometimes", constraint=_equation(equation))


def _never_zero(dim: Dim) -> bool:
    """Whether no whole numbers make it zero, because all but its constant have a divisor in common."""
    if isinstance(dim, int):
        return dim != 0
    monomial, constant = dim.terms[-1]
    if monomial:
        return False
    return constant % math.gcd(*(factor for powers, factor in dim.terms if powers)) != 0


def _zero_nowhere(polynomial: Dim) -> bool:
    return _never_zero(polynomial) or polynomial_low(polynomial) > 0 or polynomial_low(-polynomial) > 0


def _zero_far_out(polynomial: Dim, free: frozenset[str]) -> bool:
    """Whether it may be zero while all the `free` dimensions are arbitrarily large."""
    if isinstance(polynomial, int):
        return polynomial == 0
    if len(polynomial.free) == 1 or _never_zero(polynomial):
        return False
    try:
        beyond = substitute(polynomial, {name: symbol(name) + _FAR for name in free})
    except DimTooLarge:
        return True
    assert isinstance(beyond, Expr), "shifting keeps what is free"
    return len({factor > 0 for powers, factor in beyond.terms if powers}) > 1  # else it only grows from there


def _different(left: Dim, right: Dim, minimum: Mapping[str, int]) -> Comparison:
    """The comparison with an example, one where both are sizes that a tensor can have if there is one."""
    odd: Comparison | None = None
    for values in _samples(sorted(symbols(left) | symbols(right)), minimum):
        found = _evaluated(left, values), _evaluated(right, values)
        if found[0] is None or found[1] is None or found[0] == found[1]:
            continue
        if min(found[0], found[1]) > 0:
            return Comparison("different", values, *found)
        odd = odd or Comparison("different", values, *found)
    return odd or Comparison("different")


def _samples(names: list[str], minimum: Mapping[str, int]) -> list[dict[str, int]]:
    """Values for the free dimensions to try, usual ones first and then small ones."""
    usual = [[_USUAL[(i + k) % len(_USUAL)] for k in range(len(names))] for i in range(len(_USUAL))]
    small = itertools.islice(itertools.product(range(1, 5), repeat=len(names)), 64)
    return [
        {name: max(value, minimum.get(name, 1)) for name, value in zip(names, values, strict=True)}
        for values in itertools.chain(usual, small)
    ]


def _evaluated(dim: Dim, values: Mapping[str, int]) -> int | None:
    try:
        return evaluate(dim, values)
    except ZeroDivisionError:
        return None


def _contradiction(left: Dim, right: Dim, active: Assumptions) -> Comparison:
    """The comparison of sizes that agree only where a condition recorded before is not met."""
    for values in _samples(sorted(symbols(left) | symbols(right)), active.minimum):
        known = [c for c in active.constraints if symbols(c.left) | symbols(c.right) <= values.keys()]
        if all(constraint.holds_at(values) for constraint in known):
            found = evaluate(left, values), evaluate(right, values)
            if found[0] != found[1]:
                return Comparison("different", values, *found)
    return Comparison("different")


# Conditions


def _constraint(equation: Expr, cut: list[Piece]) -> Constraint:
    if len(equation.free) > 1:
        return _equation(equation)
    residues = vanishing(equation, cut)
    condition = residues.condition()
    if condition is None:
        plain = _equation(equation)
        return Constraint(plain.left, plain.op, plain.right, residues)
    return Constraint(*condition, residues)


def _equation(difference: Expr) -> Constraint:
    """`difference == 0`, solved for a dimension that stands alone, else with negative terms on the right."""
    common = math.gcd(*(factor for _, factor in difference.terms))
    difference = Expr(tuple((powers, factor // common) for powers, factor in difference.terms))
    for powers, factor in difference.terms:
        if abs(factor) == 1 and len(powers) == 1 and isinstance(powers[0][0], Symbol):
            alone = Expr(((powers, 1),))
            rest = alone - factor * difference
            if powers[0][1] == 1 and alone.free.isdisjoint(symbols(rest)):
                return Constraint(alone, "==", rest)
    if difference.terms[0][1] < 0:
        difference = -difference
    right = [(powers, -factor) for powers, factor in difference.terms if factor < 0]
    left = difference
    for powers, factor in right:
        left = left + (Expr(((powers, factor),)) if powers else factor)
    return Constraint(left, "==", left - difference)


def _about_the_same(known: Constraint, added: Constraint) -> bool:
    if known.residues is not None and added.residues is not None:
        return known.residues.name == added.residues.name
    bounds = isinstance(known.right, int) and isinstance(added.right, int) and known.op == added.op == ">="
    return known == added or (bounds and known.left == added.left)


def _combined(conditions: list[Constraint]) -> Constraint | None:
    """One condition that says what all say of the same dimension, where there is a short one."""
    if conditions[0].residues is None:
        return max(
            conditions, key=lambda condition: condition.right if isinstance(condition.right, int) else 0
        )
    both: Residues | None = conditions[0].residues
    for condition in conditions:
        if both is not None and condition.residues is not None:
            both = both.intersection(condition.residues)
    for condition in conditions:
        if both is not None and both == condition.residues:
            return condition
    short = both.condition() if both is not None and both.members else None
    return None if short is None else Constraint(*short, both)


def _solved(constraint: Constraint) -> Constraint:
    """`W >= 5` for `(W - 3)//2 + 1 >= 2`: a bound of a size that never falls as its one dimension grows."""
    if constraint.op not in (">=", ">"):
        return constraint
    difference = constraint.left - constraint.right - (constraint.op == ">")
    if isinstance(difference, int) or len(difference.free) > 1:
        return constraint
    (name,) = difference.free
    step = substitute(difference, {name: symbol(name) + 1}) - difference
    if exact_range(step, {})[0] < 0 or evaluate(difference, {name: _FAR}) < 0:
        return constraint
    low, high = 0, _FAR
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if evaluate(difference, {name: middle}) >= 0 else (middle, high)
    return Constraint(symbol(name), ">=", high)


def _simplicity(dim: Dim) -> tuple[int, int]:
    return (dim.size, len(str(dim))) if isinstance(dim, Expr) else (0, 0)
