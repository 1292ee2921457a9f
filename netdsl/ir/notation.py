"""Symbolic sizes as a user would write them: `(H - 3)//2 + 1`, `H % 2`, `N*(H//2)*(W//2)`.

Sizes are read through what `dims` gives them (terms, operators), so that `dims` may import this module. The
text means the same to Python: evaluated with the symbols bound, it gives the size's value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import gcd
from typing import Any, TypeAlias

from netdsl.ir.monomials import key

Size: TypeAlias = Any  # a `dims.Dim`: an int, or something with terms
Divide: TypeAlias = Callable[[Size, Size], Size | None]

MAX_FACTORED = 40  # a longer sum is printed as it is

_SUM, _DIVISION, _PRODUCT, _POWER = range(4)  # how tightly a piece of text holds together


def text(size: Size, divide: Divide) -> str:
    """The notation of `size`; `divide` gives exact quotients of sizes, or None."""
    return _text(size, divide)[0]


def _text(size: Size, divide: Divide) -> tuple[str, int]:
    if _is_number(size):
        return str(size), _POWER if size >= 0 else _SUM
    few = 1 < len(size.terms) <= MAX_FACTORED
    remainders, rest = _remainders(size, divide) if few else ([], size)
    if not remainders and few:
        factors = _factors(size, divide)
        if len(factors) > 1:
            return "*".join(_enclosed(factor, _PRODUCT, divide) for factor in factors), _PRODUCT
        if _is_floor_less_one(size):
            return _with_plus_one(size, divide), _SUM
    terms = _terms(rest)
    pieces = [_piece(powers, factor, divide) for powers, factor in terms]
    at = len(pieces) - int(bool(terms) and not terms[-1][0])  # a number comes last
    pieces[at:at] = remainders
    if len(pieces) > 1:
        return _sum(pieces), _SUM
    sign, piece, tight = pieces[0]
    return (piece, tight) if sign > 0 else (_negated(piece, tight), _SUM)


def _terms(size: Size) -> Sequence[tuple[Any, int]]:
    if not _is_number(size):
        return size.terms
    return [((), size)] if size else []


def _is_number(size: Size) -> bool:
    return isinstance(size, int)


def _enclosed(size: Size, tightness: int, divide: Divide) -> str:
    piece, tight = _text(size, divide)
    return piece if tight >= tightness else f"({piece})"


def _sum(pieces: list[tuple[int, str, int]]) -> str:
    """A sum of signed texts; a positive one comes first where there is one."""
    first = next((i for i, piece in enumerate(pieces) if piece[0] > 0), 0)
    sign, head, tight = pieces[first]
    parts = [head if sign > 0 else _negated(head, tight)]
    for sign, piece, _ in pieces[:first] + pieces[first + 1 :]:
        parts.append(f" {'+' if sign > 0 else '-'} {piece}")
    return "".join(parts)


def _negated(piece: str, tight: int) -> str:
    """Python binds a leading minus tighter than `//` and `%`."""
    return f"-({piece})" if tight == _DIVISION else f"-{piece}"


def _piece(powers: Any, factor: int, divide: Divide) -> tuple[int, str, int]:
    """Sign, text without sign and tightness of one term."""
    if not powers:
        return factor, str(abs(factor)), _POWER
    if abs(factor) == 1 and len(powers) == 1 and powers[0][1] == 1:
        return factor, *_atom(powers[0][0], divide)
    texts = [str(abs(factor))] if abs(factor) != 1 else []
    for atom, power in powers:
        piece, tight = _atom(atom, divide)
        piece = piece if tight == _POWER else f"({piece})"
        texts.append(piece if power == 1 else f"{piece}**{power}")
    return factor, "*".join(texts), _PRODUCT


def _atom(atom: Any, divide: Divide) -> tuple[str, int]:
    if not hasattr(atom, "numerator"):
        return atom.name, _POWER
    above = _enclosed(atom.numerator, _PRODUCT, divide)
    return f"{above}//{_enclosed(atom.denominator, _POWER, divide)}", _DIVISION


# `(H + 1)//2 - 1` is what a stride-2 layer makes of H; as torch's formula has it, that is `(H - 3)//2 + 1`


def _is_floor_less_one(size: Size) -> bool:
    if len(size.terms) != 2:
        return False
    (powers, factor), (none, constant) = size.terms
    if factor != 1 or none or constant >= 0 or len(powers) > 1 or powers[0][1] > 1:
        return False
    floor = powers[0][0]
    return isinstance(getattr(floor, "denominator", None), int) and _constant(floor.numerator) > 0


def _with_plus_one(size: Size, divide: Divide) -> str:
    floor = size.terms[0][0][0][0]
    shifted = floor.numerator + floor.denominator * (size.terms[1][1] - 1)
    return f"{_enclosed(shifted, _PRODUCT, divide)}//{floor.denominator} + 1"


def _constant(size: Size) -> int:
    if _is_number(size):
        return size
    powers, factor = size.terms[-1]
    return 0 if powers else factor


# Remainders: `x - d*(x//d)` is `x % d`


def _remainders(size: Size, divide: Divide) -> tuple[list[tuple[int, str, int]], Size]:
    """The terms of `size` that make up remainders, as text, and what is left of it."""
    found: list[tuple[int, str, int]] = []
    for powers, factor in size.terms:
        if len(powers) != 1 or powers[0][1] != 1 or not hasattr(powers[0][0], "numerator"):
            continue
        taken = _remainder(size, powers[0][0], factor)
        if taken is None:
            continue
        count, dividend, size = taken
        by = powers[0][0].denominator
        above = _text(dividend, divide)[0] if _is_negated(dividend) else _enclosed(dividend, _PRODUCT, divide)
        piece = f"{above} % {by}"
        if abs(count) == 1:
            found.append((count, piece, _DIVISION))
        else:
            found.append((count, f"{abs(count)}*({piece})", _PRODUCT))
        if _is_number(size):
            break
    return found, size


def _is_negated(size: Size) -> bool:
    """Whether it is one negated term that needs no parentheses before `%`, as `-H`."""
    powers, factor = size.terms[0]
    return len(size.terms) == 1 and factor < 0 and not hasattr(powers[0][0], "numerator")


def _remainder(size: Size, floor: Any, factor: int) -> tuple[int, Size, Size] | None:
    """`count*(dividend % d)` and what is left of `size` without it, where that makes it shorter."""
    top, by = floor.numerator, floor.denominator
    if _is_number(top) or not _is_number(by) or factor % by:
        return None
    count = -factor // by
    negated = (by - 1 - _constant(top)) % by - (top - _constant(top))
    choices = [(count, top), (-count, negated)]
    left = [(size - n * (x % by), n, x) for n, x in choices]
    best, count, dividend = min(left, key=lambda choice: _length(choice[0]))
    return (count, dividend, best) if _length(best) + 1 < len(size.terms) else None


def _length(size: Size) -> int:
    return len(_terms(size))


# Products: `64*N*(H//2) - 64*N` is `64*N*(H//2 - 1)`


def _factors(size: Size, divide: Divide) -> list[Size]:
    """Factors of `size`, a number first; only itself when none but a number comes out."""
    common = gcd(*(factor for _, factor in size.terms))
    rest = divide(size, common)
    found = sorted(_split(rest, divide), key=lambda factor: (len(factor.terms), key(factor.terms[0][0])))
    if len(found) < 2:
        return [size]
    return found if common == 1 else [common, *found]


def _split(size: Size, divide: Divide) -> list[Size]:
    if _is_number(size) or len(size.terms) == 1:
        return [] if size == 1 else [size]
    for atom, power in size.terms[0][0]:
        if power > 1:
            continue
        with_atom = [(p, f) for p, f in size.terms if any(a == atom for a, _ in p)]
        if any(n > 1 for p, _ in with_atom for a, n in p if a == atom):
            continue
        single = type(size)(((((atom, 1),), 1),))
        slope = divide(_rebuilt(size, with_atom), single)
        offset = _rebuilt(size, [term for term in size.terms if term not in with_atom])
        if _is_number(slope):
            continue
        quotient = divide(offset, slope)
        if quotient is not None:
            return [*_split(slope, divide), single + quotient]
    return [size]


def _rebuilt(size: Size, terms: list[Any]) -> Size:
    if not terms:
        return 0
    return terms[0][1] if not terms[0][0] else type(size)(tuple(terms))
