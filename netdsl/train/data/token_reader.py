"""Windows over a long row of ids, in memory or on the disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor

from netdsl.train.data.base import Split
from netdsl.train.data.unread import Reader
from netdsl.train.errors import TrainError

CHECKED = 1 << 24  # ids at a time


class WindowReader(Reader):
    """Windows of `length` ids every `stride`, and the ids one further each; of `ids`, or of the `.npy` file at `path`.

    E0665 for ids that are not from 0 to `below`, E0664 for another file, E0656 where it has no window.
    """

    def __init__(self, path: Path, ids: NDArray[Any] | None, length: int, stride: int, below: int) -> None:
        self.path, self.length, self.stride = path, length, stride
        self.ids = _opened(path) if ids is None else ids
        self.on_disk = ids is None
        if len(self.ids) <= length:
            message = f"`{path}` has {len(self.ids)} tokens, and a sample and its target are {length + 1}"
            longest = len(self.ids) - 1
            helps = [f"a length of at most {longest} fits" if longest > 0 else "put tokens into the file"]
            raise TrainError("E0656", message, argument="length", helps=helps)
        for start in range(0, len(self.ids), CHECKED):
            part = self.ids[start : start + CHECKED]
            if part.min() < 0 or part.max() >= below:
                raise _outside(path, part, start, below)

    def __len__(self) -> int:
        return (len(self.ids) - 1 - self.length) // self.stride + 1

    def one(self, number: int) -> tuple[Tensor, Tensor]:
        part = self.many([number])
        return part.x[0], part.y[0]

    def many(self, numbers: Sequence[int]) -> Split:
        starts = numpy.asarray(numbers, dtype=numpy.int64)[:, None] * self.stride
        ids = torch.from_numpy(self.ids[starts + numpy.arange(self.length + 1)].astype(numpy.int64))
        return Split(ids[:, :-1].contiguous(), ids[:, 1:].contiguous())

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | ({"ids": None} if self.on_disk else {})

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if self.ids is None:
            self.ids = _opened(self.path)


_SAVED = "save them by `numpy.save(path, ids)`, with `ids` of int64 [count]"


def _outside(path: Path, part: NDArray[Any], start: int, below: int) -> TrainError:
    """That an id of `part`, which begins at `start`, is not in the vocabulary (E0665)."""
    at = int(numpy.flatnonzero((part < 0) | (part >= below))[0])
    message = f"`{path}`: the id {int(part[at])} at place {start + at} is not from 0 to {below - 1}"
    helps = [f"`vocabulary` is how many ids there are: at least {int(part.max()) + 1}"]
    if part[at] < 0:
        helps = ["ids are counted from 0"]
    return TrainError("E0665", message, argument="vocabulary", helps=helps)


def _opened(path: Path) -> NDArray[Any]:
    try:
        ids = numpy.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as problem:
        message = f"`{path}` cannot be read: {str(problem).splitlines()[0].lower()}"
        raise TrainError("E0664", message, helps=[_SAVED]) from problem
    if ids.ndim != 1 or not numpy.issubdtype(ids.dtype, numpy.integer):
        message = f"`{path}` holds {ids.dtype}{list(ids.shape)}, and ids are whole numbers in one row"
        raise TrainError("E0664", message, helps=[_SAVED])
    return ids
