"""A `Dataset` of other code as a reader of samples, each held against what was declared."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
import torch
from torch import Tensor

from netdsl.train.data.unread import Reader, Unread, described
from netdsl.train.errors import TrainError

if TYPE_CHECKING:
    from netdsl.train.data.custom import Custom

DTYPES = {"image": torch.uint8, "numbers": torch.float32, "ids": torch.int64}


def unread_parts(source: Custom, folders: Sequence[Path]) -> tuple[Unread, Unread | None]:
    """What the factory of `source` returns; E0666 where it cannot be imported or called, or returns something else."""
    made = _called(source.factory, folders)
    pair = made if isinstance(made, (tuple, list)) and len(made) == 2 else (made, None)
    if source.test != (pair[1] is not None):
        says = "two data sets" if pair[1] is not None else "one data set"
        raise TrainError(
            "E0666", f"`{source.factory}` returns {says}", argument="test", helps=[_HELP[source.test]]
        )
    for part in pair:
        if part is not None and not (hasattr(part, "__getitem__") and hasattr(part, "__len__")):
            message = f"`{source.factory}` returns a {type(part).__name__}, which has no length or no items"
            raise TrainError("E0666", message, argument="factory")
    train = Unread(DatasetReader(pair[0], source))
    return train, None if pair[1] is None else Unread(DatasetReader(pair[1], source))


_HELP = {
    False: "`test = True` says that the second is to measure on",
    True: "return a pair, or leave out `test = True` and divide the one by `valid`",
}


def _called(factory: str, folders: Sequence[Path]) -> Any:
    module, _, name = factory.partition(":")
    before = list(sys.path)
    sys.path[:0] = [str(folder) for folder in folders]
    try:
        return getattr(importlib.import_module(module), name)()
    except Exception as problem:
        if isinstance(problem, AttributeError) and problem.name == name:
            message = f"`{module}` has no `{name}`"
        elif isinstance(problem, ModuleNotFoundError) and problem.name == module:
            message = f"there is no module `{module}`"
        else:
            message = f"`{factory}` fails: {type(problem).__name__}: {problem}"
        raise TrainError("E0666", message, argument="factory") from problem
    finally:
        sys.path[:] = before


class DatasetReader(Reader):
    """The items of `dataset`, as `source` declares them."""

    def __init__(self, dataset: Any, source: Custom) -> None:
        self.dataset, self.factory = dataset, source.factory
        sample = source.sample()
        self.shape, self.dtype = sample.input.shape, DTYPES[sample.input.kind]
        self.classes, self.target_shape = sample.target.classes, sample.target.shape

    def __len__(self) -> int:
        return len(self.dataset)

    def name(self, number: int) -> str:
        return f"item {number} of `{self.factory}`"

    def one(self, number: int) -> tuple[Tensor, Tensor]:
        try:
            item = self.dataset[number]
        except Exception as problem:
            message = f"{self.name(number)} fails: {type(problem).__name__}: {problem}"
            raise TrainError("E0666", message) from problem
        if not isinstance(item, (tuple, list)) or len(item) != 2:
            raise TrainError("E0666", f"{self.name(number)} is no pair of an input and a target")
        x, y = self._tensor(number, "input", item[0]), self._tensor(number, "target", item[1])
        return self._input(number, x), self._target(number, y)

    def _input(self, number: int, x: Tensor) -> Tensor:
        if tuple(x.shape) != self.shape:
            self._misfit(number, "input", x, f"`shape` is {list(self.shape)}", "shape")
        if self.dtype != torch.float32 and x.dtype != self.dtype:
            self._misfit(
                number, "input", x, f"it should be {str(self.dtype).removeprefix('torch.')}", "samples"
            )
        return x.to(self.dtype)

    def _target(self, number: int, y: Tensor) -> Tensor:
        if tuple(y.shape) != self.target_shape:
            self._misfit(number, "target", y, f"`target_shape` is {list(self.target_shape)}", "target_shape")
        if self.classes is None:
            return y.to(torch.float32)
        if y.is_floating_point() or y.dtype == torch.bool or not bool(((y >= 0) & (y < self.classes)).all()):
            self._misfit(
                number, "target", y, f"classes are whole numbers from 0 to {self.classes - 1}", "classes"
            )
        return y.to(torch.int64)

    def _tensor(self, number: int, what: str, value: Any) -> Tensor:
        try:
            return value if isinstance(value, Tensor) else torch.from_numpy(numpy.array(value))
        except (TypeError, ValueError) as problem:
            message = f"the {what} of {self.name(number)} is a {type(value).__name__}, which is no tensor of numbers"
            raise TrainError("E0666", message) from problem

    def _misfit(self, number: int, what: str, found: Tensor, wanted: str, argument: str) -> None:
        shown = f"{found.item():g}" if found.dim() == 0 else described(found)
        message = f"the {what} of {self.name(number)} is {shown}, and {wanted}"
        raise TrainError("E0666", message, argument=argument)
