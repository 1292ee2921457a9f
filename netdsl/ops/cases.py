"""Random shapes and tensors for the samples of the operations: small, so that laws are quick."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TypeVar

from netdsl.ir.types import Tensor

Item = TypeVar("Item")


def pick(random: Random, items: Sequence[Item]) -> Item:
    return items[random.randrange(len(items))]


def shape(random: Random, low: int = 1, high: int = 4) -> tuple[int, ...]:
    """A shape of `low` to `high` axes."""
    return tuple(random.randint(1, 5) for _ in range(random.randint(low, high)))


def tensor(random: Random, low: int = 1, high: int = 4, dtypes: Sequence[str] = ("float32",)) -> Tensor:
    """A tensor of `low` to `high` axes and one of `dtypes`."""
    return Tensor(shape(random, low, high), pick(random, dtypes))


def any_axis(random: Random, rank: int) -> int:
    """An axis of a tensor with `rank` axes, from either end."""
    return random.randrange(-rank, rank)


def some_axes(random: Random, rank: int) -> tuple[int, ...]:
    """One or more axes, in any order and from either end."""
    chosen = random.sample(range(rank), random.randint(1, rank))
    return tuple(a - rank if random.random() < 0.5 else a for a in chosen)


def broadcast_pair(random: Random, low: int = 0, high: int = 4) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Two shapes that broadcast: one a part of the other, with some sizes 1."""
    full = shape(random, max(low, 1), max(high, 1))
    part = full[random.randint(0, len(full) - low) :]
    left = tuple(1 if random.random() < 0.2 else size for size in full)
    right = tuple(1 if random.random() < 0.3 else size for size in part)
    return (left, right) if random.random() < 0.5 else (right, left)
