"""Symbolic sizes: integer polynomials over free dimensions with floor division, kept in a normal form.

A `Dim` is a plain `int` wherever a size is known and an `Expr` only where a free dimension is involved. Every
operation normalises, so an `Expr` that turns out to be constant is an `int` again, and formulas are written
once for both: `(h + 2*p - d*(k - 1) - 1)//s + 1`. What holds for *all* values is decided in `decide`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import lru_cache
from operator import index
from typing import Final, TypeAlias

from netdsl.ir import monomials, notation

# A size grows with the program that computes it, and programs are untrusted: beyond these it is refused.
MAX_TERMS = 2_000
MAX_SIZE = 8_000
MAX_DEPTH = 60
MAX_DEGREE = 64
MAX_BITS = 512
MAX_PRODUCTS = 20_000

# A network has few different sizes, and computes them again in every layer: results of short ones are remembered.
SHORT = 64
_REMEMBERED = 8192

# Names that have a customary place in a shape are printed in that order; all others follow by alphabet.
_CUSTOMARY = {name: place for place, name in enumerate("NBTLSCDHW")}


class DimTooLarge(OverflowError):
    """A symbolic size has outgrown what can be worked with (terms, degree, nesting or digits)."""


class Symbol:
    """A free dimension: an integer of at least 1 that is known only at run time."""

    __slots__ = ("_hash", "key", "name")

    def __init__(self, name: str) -> None:
        self.name: Final = name
        self.key: Final = (0, _CUSTOMARY.get(name, len(_CUSTOMARY)), name)
        self._hash: Final = hash(name)

    size = 1
    depth = 0

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Symbol) and self.name == other.name)

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[type, tuple[str]]:
        return Symbol, (self.name,)

    def __repr__(self) -> str:
        return f"Symbol({self.name!r})"


class Floor:
    """The integer part of `numerator / denominator`, which the normal form could not divide any further."""

    __slots__ = ("_hash", "denominator", "depth", "key", "numerator", "size")

    def __init__(self, numerator: Dim, denominator: Dim) -> None:
        self.numerator: Final = numerator
        self.denominator: Final = denominator
        self.key: Final = (1, _key(numerator), _key(denominator))
        self.size: Final = 1 + _size(numerator) + _size(denominator)
        self.depth: Final = 1 + max(_depth(numerator), _depth(denominator))
        self._hash: Final = hash((numerator, denominator))

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Floor) or self._hash != other._hash:
            return False
        return self.denominator == other.denominator and self.numerator == other.numerator

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[type, tuple[Dim, Dim]]:
        return Floor, (self.numerator, self.denominator)

    def __repr__(self) -> str:
        return f"Floor({self.numerator}, {self.denominator})"


Atom: TypeAlias = Symbol | Floor
Monomial: TypeAlias = tuple[tuple[Atom, int], ...]  # atoms with their powers, in order; () is the number 1
Terms: TypeAlias = dict[Monomial, int]


class Expr:
    """A size that is not a number: a sum of integer multiples of products of atoms. Immutable and hashable.

    `==` compares normal forms, so it is safe in dictionaries but says False of sizes that are equal for a
    deeper reason; ask `decide.same` for those.

    >>> h = symbol("H")
    >>> (h + 1) - 1 == h, (2 * h) // 2 == h, str((h - 3) // 2 + 1)
    (True, True, '(H - 3)//2 + 1')
    """

    __slots__ = ("_free", "_hash", "_text", "depth", "size", "terms")

    def __init__(self, terms: tuple[tuple[Monomial, int], ...]) -> None:
        size = depth = 0
        for monomial, _ in terms:
            size += 1
            for atom, _ in monomial:
                size += atom.size
                depth = max(depth, atom.depth)
        self.terms: Final = terms
        self.size: Final = size
        self.depth: Final = depth
        self._hash: Final = hash(terms)
        self._free: frozenset[str] | None = None
        self._text: str | None = None

    @property
    def free(self) -> frozenset[str]:
        """The names of the free dimensions in it."""
        if self._free is None:
            atoms = {atom for monomial, _ in self.terms for atom, _ in monomial}
            self._free = frozenset().union(*map(_atom_symbols, atoms))
        return self._free

    def __add__(self, other: Dim) -> Dim:
        return _short_sum(self, other) if _are_short(self, other) else _sum(self, other)

    __radd__ = __add__

    def __neg__(self) -> Expr:
        return Expr(tuple((monomial, -factor) for monomial, factor in self.terms))

    def __pos__(self) -> Expr:
        return self

    def __sub__(self, other: Dim) -> Dim:
        return self + -other

    def __rsub__(self, other: Dim) -> Dim:
        return -self + other

    def __mul__(self, other: Dim) -> Dim:
        return _short_product(self, other) if _are_short(self, other) else _product(self, other)

    __rmul__ = __mul__

    def __floordiv__(self, other: Dim) -> Dim:
        return _floor(self, other)

    def __rfloordiv__(self, other: Dim) -> Dim:
        return _floor(other, self)

    def __mod__(self, other: Dim) -> Dim:
        return self - other * _floor(self, other)

    def __rmod__(self, other: Dim) -> Dim:
        return other - self * _floor(other, self)

    def __pow__(self, exponent: int) -> Dim:
        if index(exponent) < 0:
            raise ValueError("a dimension to a negative power")
        if exponent > MAX_DEGREE:
            raise DimTooLarge(f"a power of {exponent}")
        return product([self] * exponent)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, Expr) and self._hash == other._hash and self.terms == other.terms

    def __hash__(self) -> int:
        return self._hash

    def __bool__(self) -> bool:
        raise TypeError(f"whether `{self}` is zero depends on its free dimensions")

    def __reduce__(self) -> tuple[type, tuple[object]]:
        return Expr, (self.terms,)  # a cached hash must not travel to another process

    def __str__(self) -> str:
        if self._text is None:
            self._text = notation.text(self, exact_div)
        return self._text

    def __repr__(self) -> str:
        return f"Expr({self})"


Dim: TypeAlias = int | Expr


@lru_cache(maxsize=4096)
def symbol(name: str) -> Expr:
    """The free dimension `name`."""
    return Expr(((((Symbol(name), 1),), 1),))


def symbols(dim: Dim) -> frozenset[str]:
    """The names of the free dimensions in `dim`; none in a number."""
    return dim.free if isinstance(dim, Expr) else frozenset()


def product(dims: Iterable[Dim]) -> Dim:
    """All `dims` multiplied; 1 of none."""
    total: Dim = 1
    for dim in dims:
        total = total * dim
    return total


def substitute(dim: Dim, values: Mapping[str, Dim]) -> Dim:
    """`dim` with the named free dimensions replaced, all at once.

    >>> str(substitute(symbol("H") // 2, {"H": 2 * symbol("W") + 1}))
    'W'
    """
    if isinstance(dim, int) or dim.free.isdisjoint(values):
        return dim
    return _replace(dim, values, {})


def evaluate(dim: Dim, values: Mapping[str, int]) -> int:
    """The number that `dim` is at these values. Raises `KeyError` for a free dimension without one."""
    if isinstance(dim, int):
        return dim
    total = 0
    for monomial, factor in dim.terms:
        for atom, power in monomial:
            if isinstance(atom, Symbol):
                number = values[atom.name]
            else:
                number = evaluate(atom.numerator, values) // evaluate(atom.denominator, values)
            factor *= number if power == 1 else number**power
        total += factor
    return total


def exact_div(dividend: Dim, divisor: Dim) -> Dim | None:
    """`dividend / divisor` where that is certain to be whole, else None.

    >>> n, c = symbol("N"), symbol("C")
    >>> str(exact_div(6 * n * c, 2 * c)), exact_div(n + 1, 2)
    ('3*N', None)
    """
    if isinstance(divisor, Expr):
        quotient, rest = _divide(dividend, divisor)
    elif divisor == 0:
        return None
    elif isinstance(dividend, int):
        quotient, rest = divmod(dividend, divisor)
    else:
        rest = int(any(factor % divisor for _, factor in dividend.terms))
        quotient = dividend // divisor if rest == 0 else 0
    return quotient if isinstance(rest, int) and rest == 0 else None


def primitive(expr: Expr) -> Dim:
    """`expr` without the number and the free dimensions that divide all of it: zero where `expr` is.

    >>> n, h = symbol("N"), symbol("H")
    >>> str(primitive(6 * n * h - 4 * n))
    '3*H - 2'
    """
    return _quotient(expr, _common_factor(expr))


# Arithmetic


def _are_short(left: Dim, right: Dim) -> bool:
    """Whether these are sizes, and not so long that remembering what comes of them would take much memory."""
    size = 0
    for dim in (left, right):
        if type(dim) is Expr:
            size += dim.size
        elif type(dim) is not int:
            return False
    return size <= SHORT


def _sum(left: Expr, right: Dim) -> Dim:
    total = dict(left.terms)
    for monomial, factor in _terms(right):
        total[monomial] = total.get(monomial, 0) + factor
    return _normal(total)


def _product(left: Expr, right: Dim) -> Dim:
    factors = tuple(_terms(right))
    if len(left.terms) * len(factors) > MAX_PRODUCTS:
        raise DimTooLarge(f"a product of {len(left.terms)} and {len(factors)} terms")
    total: Terms = {}
    for one, m in left.terms:
        for other, n in factors:
            monomial = monomials.times(one, other)
            total[monomial] = total.get(monomial, 0) + m * n
    return _normal(total)


_short_sum = lru_cache(_REMEMBERED)(_sum)
_short_product = lru_cache(_REMEMBERED)(_product)


# The normal form


def _terms(dim: Dim) -> Iterable[tuple[Monomial, int]]:
    return dim.terms if isinstance(dim, Expr) else (((), index(dim)),)


def _size(dim: Dim) -> int:
    return dim.size if isinstance(dim, Expr) else 0


def _depth(dim: Dim) -> int:
    return dim.depth if isinstance(dim, Expr) else 0


def _key(dim: Dim) -> tuple[tuple[object, int], ...]:
    return tuple((monomials.key(monomial), factor) for monomial, factor in _terms(dim))


def _atom_symbols(atom: Atom) -> frozenset[str]:
    if isinstance(atom, Symbol):
        return frozenset((atom.name,))
    return symbols(atom.numerator) | symbols(atom.denominator)


def _normal(terms: Terms) -> Dim:
    """The dimension with these terms: an int when nothing is free in it."""
    kept = [term for term in terms.items() if term[1]]
    if not kept:
        return 0
    if len(kept) == 1:
        monomial, factor = kept[0]
        if not monomial:
            return factor
    else:
        kept.sort(key=lambda term: monomials.key(term[0]))
    return _bounded(Expr(tuple(kept)))


def _bounded(expr: Expr) -> Expr:
    """`expr`, unless it has outgrown what can be worked with."""
    if len(expr.terms) > MAX_TERMS:
        raise DimTooLarge(f"a sum of {len(expr.terms)} terms")
    if expr.size > MAX_SIZE:
        raise DimTooLarge(f"an expression of {expr.size} parts")
    if expr.depth > MAX_DEPTH:
        raise DimTooLarge(f"divisions nested {expr.depth} deep")
    for monomial, factor in expr.terms:
        if factor.bit_length() > MAX_BITS:
            raise DimTooLarge(f"a number of {factor.bit_length()} bits")
        if monomials.degree(monomial) > MAX_DEGREE:
            raise DimTooLarge(f"a product of more than {MAX_DEGREE} dimensions")
    return expr


def _replace(dim: Dim, values: Mapping[str, Dim], done: dict[Floor, Dim]) -> Dim:
    if isinstance(dim, int):
        return dim
    total: Terms = {}
    for monomial, factor in dim.terms:
        term: Dim = factor
        for atom, power in monomial:
            value = _replace_atom(atom, values, done)
            term = term * (value if power == 1 else value**power)
        for product_of_atoms, count in _terms(term):
            total[product_of_atoms] = total.get(product_of_atoms, 0) + count
    return _normal(total)


def _replace_atom(atom: Atom, values: Mapping[str, Dim], done: dict[Floor, Dim]) -> Dim:
    if isinstance(atom, Symbol):
        value = values.get(atom.name)
        return symbol(atom.name) if value is None else value
    if atom not in done:
        numerator = _replace(atom.numerator, values, done)
        done[atom] = _floor(numerator, _replace(atom.denominator, values, done))
    return done[atom]


# Floor division


def _floor(numerator: Dim, denominator: Dim) -> Dim:
    return (_short_floor if _are_short(numerator, denominator) else _long_floor)(numerator, denominator)


def _long_floor(numerator: Dim, denominator: Dim) -> Dim:
    if isinstance(denominator, Expr):
        return _floor_by_size(numerator, denominator)
    if index(denominator) == 0:
        raise ZeroDivisionError("a dimension divided by zero")
    if denominator < 0:
        numerator, denominator = -numerator, -denominator
    if isinstance(numerator, int):
        return numerator // denominator
    return _floor_by_number(numerator, denominator)


_short_floor = lru_cache(_REMEMBERED)(_long_floor)


def _floor_by_number(numerator: Expr, denominator: int) -> Dim:
    """Whole multiples move out of the floor; what stays has factors nearest to zero and a constant >= 0."""
    if denominator == 1:
        return numerator
    whole: Terms = {}
    rest: Terms = {}
    for monomial, factor in numerator.terms:
        quotient, remainder = divmod(factor, denominator)
        if monomial and 2 * remainder > denominator:
            quotient, remainder = quotient + 1, remainder - denominator
        whole[monomial], rest[monomial] = quotient, remainder
    outer, inner = _normal(whole), _normal(rest)
    return outer if isinstance(inner, int) else outer + _floor_of_rest(inner, denominator)


def _floor_of_rest(numerator: Expr, denominator: int) -> Dim:
    if numerator.terms[0][1] < 0:  # floor(-x/d) is -floor((x + d - 1)/d)
        return -_floor(denominator - 1 - numerator, denominator)
    common = math.gcd(denominator, *(factor for monomial, factor in numerator.terms if monomial))
    if common > 1:
        smaller = _normal({monomial: factor // common for monomial, factor in numerator.terms})
        return _floor(smaller, denominator // common)
    merged = _merged(numerator, denominator)
    return _atom(Floor(numerator, denominator)) if merged is None else merged


def _merged(numerator: Expr, denominator: int) -> Dim | None:
    """One floor for two: `(n//a + b)//c` is `(n + a*b)//(a*c)`; `b` may be any sum without floors."""
    floors = [(m, f) for m, f in numerator.terms if any(isinstance(atom, Floor) for atom, _ in m)]
    if len(floors) != 1:
        return None
    monomial, factor = floors[0]
    (inner, power), *others = monomial
    if others or power > 1 or abs(factor) != 1 or not isinstance(inner, Floor):
        return None
    by = inner.denominator
    if isinstance(by, Expr):
        return None
    rest = _normal({m: f for m, f in numerator.terms if m != monomial})
    top = inner.numerator if factor == 1 else by - 1 - inner.numerator
    return _floor(top + by * rest, by * denominator)


def _floor_by_size(numerator: Dim, denominator: Expr) -> Dim:
    if denominator.terms[0][1] < 0:
        return _floor(-numerator, -denominator)
    quotient, rest = _divide(numerator, denominator)
    if isinstance(rest, int) and rest == 0:
        return quotient
    common = _common_factor(rest, denominator)
    if isinstance(common, int) and common == 1:
        return quotient + _atom(Floor(rest, denominator))
    return quotient + _floor(_quotient(rest, common), _quotient(denominator, common))


def _atom(atom: Atom) -> Expr:
    return _bounded(Expr(((((atom, 1),), 1),)))


def _quotient(dividend: Dim, divisor: Dim) -> Dim:
    quotient = exact_div(dividend, divisor)
    assert quotient is not None, "a common factor divides"
    return quotient


def _common_factor(*dims: Dim) -> Dim:
    """The greatest number times symbols, all at least 1, that divides every term of every one of `dims`."""
    terms = [term for dim in dims for term in _terms(dim)]
    both = monomials.shared([monomial for monomial, _ in terms])
    certain = tuple((atom, power) for atom, power in both if isinstance(atom, Symbol))
    return _normal({certain: math.gcd(*(factor for _, factor in terms))})


def _divide(dividend: Dim, divisor: Expr) -> tuple[Dim, Dim]:
    result = monomials.divide(dict(_terms(dividend)), divisor.terms)
    if result is None:
        raise DimTooLarge(f"a division by {len(divisor.terms)} terms")
    return _normal(result[0]), _normal(result[1])
