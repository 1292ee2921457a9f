"""Samples that stay where they are until a batch needs them: files, or an array on the disk."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from netdsl.train.data.base import Split
from netdsl.train.errors import TrainError

AT_ONCE = 256  # samples that a thread reads before it looks for more


class Reader(ABC):
    """Reads the samples with given numbers. Processes that read get a copy, so it holds paths and no open files."""

    in_memory: bool = False  # and so read in no time

    @abstractmethod
    def __len__(self) -> int:
        """How many samples there are."""

    @abstractmethod
    def one(self, number: int) -> tuple[Tensor, Tensor]:
        """The input and the target of a sample; `TrainError` where it cannot be read."""

    def name(self, number: int) -> str:
        """What a sample is called in messages."""
        return f"sample {number}"

    def many(self, numbers: Sequence[int]) -> Split:
        """Samples as tensors; E0662 where they are not alike."""
        samples = [self.one(number) for number in numbers]
        for number, (x, y) in zip(numbers, samples, strict=True):
            self.check_alike(number, x, y, numbers[0], *samples[0])
        return Split(torch.stack([x for x, _ in samples]), torch.stack([y for _, y in samples]))

    def check(self, numbers: Sequence[int]) -> None:
        """Refuse samples that cannot be read, as far as a look at each tells."""
        del numbers

    def check_alike(self, number: int, x: Tensor, y: Tensor, other: int, x0: Tensor, y0: Tensor) -> None:
        """Refuse a sample that does not go into one tensor with another (E0662)."""
        for what, here, there in (("input", x, x0), ("target", y, y0)):
            if (here.shape, here.dtype) != (there.shape, there.dtype):
                message = (
                    f"the {what} of {self.name(number)} is {described(here)}, "
                    f"and that of {self.name(other)} is {described(there)}"
                )
                raise TrainError("E0662", message, helps=self.help_alike())

    def help_alike(self) -> list[str]:
        """How samples come to be alike."""
        return ["all samples of a source have one shape and one type"]


class Held(Reader):
    """Samples that are in memory, and would not all fit on the device."""

    in_memory = True

    def __init__(self, split: Split) -> None:
        self.split = split

    def __len__(self) -> int:
        return len(self.split)

    def one(self, number: int) -> tuple[Tensor, Tensor]:
        return self.split.x[number], self.split.y[number]

    def many(self, numbers: Sequence[int]) -> Split:
        return self.split.rows(numbers)


@dataclass(frozen=True)
class Unread:
    """The samples of `reader` with the numbers `chosen`, in this order; all of them where it is None.

    `classes` are those of all its samples, where they are known without reading them. `late` is as for `Split`.
    """

    reader: Reader
    chosen: Tensor | None = None
    classes: Tensor | None = None
    late: Callable[[Tensor], Tensor] | None = None

    def __len__(self) -> int:
        return len(self.reader) if self.chosen is None else len(self.chosen)

    @property
    def y(self) -> Tensor | None:
        """The class of each sample, where it is known without reading."""
        return self.classes if self.classes is None or self.chosen is None else self.classes[self.chosen]

    @property
    def size(self) -> int:
        """In bytes, if it were read."""
        return self.first(1).size * len(self)

    def first(self, count: int) -> Split:
        """The first `count` samples, read, or fewer where there are fewer."""
        return self.reader.many(self.numbers(torch.arange(min(count, len(self)))))

    def rows(self, rows: Any) -> Unread:
        """The samples with these numbers, in this order."""
        rows = torch.as_tensor(rows)
        return replace(self, chosen=rows if self.chosen is None else self.chosen[rows])

    def with_targets(self, change: Callable[[Tensor], Tensor]) -> Unread:
        """The samples with changed targets."""
        return replace(self, late=change)

    def check(self) -> None:
        """Refuse samples that cannot be read, as far as a look at each tells (E0661, E0662)."""
        self.reader.check(self.numbers(torch.arange(len(self))))

    def numbers(self, rows: Tensor) -> list[int]:
        """What the reader calls these samples."""
        return (rows if self.chosen is None else self.chosen[rows]).tolist()

    def read(self, told: Callable[[int], None] = lambda _: None) -> Split:
        """All samples, as tensors, read by some threads. `told` is called with the number of each lot that is read."""
        one = self.first(1)
        x, y = (t.new_empty((len(self), *t.shape[1:])) for t in (one.x, one.y))
        first = self.numbers(torch.zeros(1, dtype=torch.int64))[0]

        def fill(start: int) -> int:
            part = slice(start, start + AT_ONCE)
            numbers = self.numbers(torch.arange(len(self))[part])
            read = self.reader.many(numbers)
            self.reader.check_alike(numbers[0], read.x[0], read.y[0], first, one.x[0], one.y[0])
            x[part], y[part] = read.x, read.y
            return len(numbers)

        with ThreadPoolExecutor(readers()) as pool:
            for count in pool.map(fill, range(0, len(self), AT_ONCE)):
                told(count)
        return Split(x, y, self.late)


def readers(most: int = 8) -> int:
    """How many threads or processes read at once: as many as this process may use, and not more than `most`."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(usable, most)


def described(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"
