"""Products of powers of atoms, and sums of them: the arithmetic under `dims`, which says what an atom is."""

from __future__ import annotations

import heapq
from typing import Any, Protocol, TypeAlias, TypeVar


class Ordered(Protocol):
    """What an atom needs here: a hash, and a key that orders all atoms the same way in every run."""

    @property
    def key(self) -> tuple[Any, ...]: ...


A = TypeVar("A", bound=Ordered)
Powers: TypeAlias = tuple[tuple[A, int], ...]  # in order of the atoms; () is the number 1
Sum: TypeAlias = dict[Powers[A], int]

MAX_STEPS = 20_000


def key(powers: Powers[Any]) -> tuple[int, tuple[tuple[Any, int], ...]]:
    """Highest degree first, then by the power of the first atom and so on: an order that products respect."""
    return -degree(powers), tuple((atom.key, -power) for atom, power in powers)


def degree(powers: Powers[Any]) -> int:
    """How many atoms are multiplied."""
    return sum(power for _, power in powers)


def times(left: Powers[A], right: Powers[A]) -> Powers[A]:
    """The product of two products."""
    if not left or not right:
        return left or right
    powers = dict(left)
    for atom, power in right:
        powers[atom] = powers.get(atom, 0) + power
    return tuple(sorted(powers.items(), key=lambda item: item[0].key))


def over(left: Powers[A], right: Powers[A]) -> Powers[A] | None:
    """`left / right`, or None where `left` has too few of an atom."""
    powers = dict(left)
    for atom, power in right:
        powers[atom] = powers.get(atom, 0) - power
        if powers[atom] < 0:
            return None
    return tuple((atom, power) for atom, power in powers.items() if power)


def shared(all_powers: list[Powers[A]]) -> Powers[A]:
    """The largest product that divides every one of them."""
    powers = dict(all_powers[0])
    for other in all_powers[1:]:
        present = dict(other)
        powers = {atom: min(power, present[atom]) for atom, power in powers.items() if atom in present}
    return tuple(powers.items())


def divide(dividend: Sum[A], divisor: tuple[tuple[Powers[A], int], ...]) -> tuple[Sum[A], Sum[A]] | None:
    """Quotient and rest, leading term by leading term; `divisor` in order. None where it takes too long."""
    lead, by = divisor[0]
    work = dict(dividend)
    heap = [(key(powers), powers) for powers in work]
    heapq.heapify(heap)
    quotient: Sum[A] = {}
    rest: Sum[A] = {}
    for _ in range(MAX_STEPS // len(divisor)):
        if not heap:
            return quotient, rest
        powers = heapq.heappop(heap)[1]
        factor = work.pop(powers)
        ratio = over(powers, lead)
        count = 0 if ratio is None else factor // by
        rest[powers] = factor - count * by
        if ratio is None or count == 0:
            continue
        quotient[ratio] = count
        for other, by_other in divisor[1:]:
            target = times(ratio, other)
            if target not in work:
                heapq.heappush(heap, (key(target), target))
            work[target] = work.get(target, 0) - count * by_other
    return None
