"""Arrays in a `.npz` file of numpy. Nothing in it is ever unpickled."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from zipfile import BadZipFile

from pydantic import BeforeValidator, Field

from netdsl.diagnostics.suggest import did_you_mean
from netdsl.train.component import as_tuple
from netdsl.train.data.base import Data, Input, Sample, Split
from netdsl.train.data.divided import Divide, Divided, Fitted, class_target, undivided
from netdsl.train.data.division import Samples
from netdsl.train.data.places import found_file
from netdsl.train.data.table_files import known
from netdsl.train.errors import TrainError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Shape = Annotated[tuple[Annotated[int, Field(ge=1)], ...], BeforeValidator(as_tuple)]


class Arrays(Divided):
    """The arrays `x` [N, ...] and `y` [N, ...] of a file, and `x_test` and `y_test` where `test` is True.

    `shape` is that of one input. `inputs` says what they are: `numbers`, `image` (uint8 [C, H, W]) or `ids`. With
    `classes`, targets are class numbers; else they are values of the shape `target`.
    """

    path: str
    shape: Shape
    inputs: Literal["numbers", "image", "ids"] = "numbers"
    classes: Annotated[int, Field(ge=2)] | None = None
    target: Shape = ()
    x: str = "x"
    y: str = "y"
    test: bool = False

    @property
    def has_test(self) -> bool:
        return self.test

    def sample(self) -> Sample:
        return Sample(Input(self.shape, self.inputs), class_target(self.classes, self.target))

    def divided(self, folders: Sequence[Path], divide: Divide | None, fitted: Fitted | None) -> Data:  # noqa: ARG002
        path = found_file(self.path, folders)
        names = [self.x, self.y, *((f"{self.x}_test", f"{self.y}_test") if self.test and not divide else ())]
        arrays = self._read(path, names)
        x, y = self._inputs(path, names[0], arrays[0]), self._targets(path, names[1], arrays[1])
        if divide is not None:
            classes = y if self.classes is not None and y.ndim == 1 else None
            train, valid = (self._split(x[r], y[r]) for r in divide(Samples(len(x), classes)))
        elif self.test:
            test = self._inputs(path, names[2], arrays[2]), self._targets(path, names[3], arrays[3])
            train, valid = self._split(x, y), self._split(*test)
        else:
            raise undivided(self.kind)
        return Data(train, valid, self.classes)

    def _read(self, path: Path, names: Sequence[str]) -> list[NDArray[Any]]:
        import numpy

        try:
            with path.open("rb") as stream, numpy.load(stream, allow_pickle=False) as file:
                there = list(file.files)
                for name in names:
                    if name not in there:
                        message = f"`{path}` has no array `{name}`"
                        helps = [*did_you_mean(name, there), f"it has {known(there)}"]
                        raise TrainError("E0652", message, argument=name.split("_")[0], helps=helps)
                return [file[name] for name in names]
        except (OSError, ValueError, EOFError, BadZipFile, AttributeError) as problem:
            pickled = "pickle" in str(problem).lower()
            notes = ["pickled objects are never read: they can run code"] if pickled else [str(problem)]
            helps = ["save arrays of numbers: `numpy.savez(path, x=x, y=y)`"]
            raise TrainError("E0621", f"`{path}` cannot be read", notes=notes, helps=helps) from problem

    def _inputs(self, path: Path, name: str, x: NDArray[Any]) -> NDArray[Any]:
        import numpy

        wanted = {"image": numpy.uint8, "ids": numpy.integer, "numbers": numpy.number}[self.inputs]
        if not numpy.issubdtype(x.dtype, wanted) or numpy.iscomplexobj(x):
            words = {"image": "uint8", "ids": "whole numbers", "numbers": "numbers"}[self.inputs]
            message = f"`{name}` of `{path}` is {x.dtype}, and `{self.inputs}` are {words}"
            raise TrainError("E0653", message, argument="inputs")
        self._check_shape(path, name, x, self.shape, "shape")
        return x

    def _targets(self, path: Path, name: str, y: NDArray[Any]) -> NDArray[Any]:
        import numpy

        wanted = numpy.number if self.classes is None else numpy.integer
        if not numpy.issubdtype(y.dtype, wanted) or numpy.iscomplexobj(y):
            words = "numbers" if self.classes is None else "class numbers"
            message = f"`{name}` of `{path}` is {y.dtype}, and the targets are {words}"
            raise TrainError("E0653", message, argument="classes")
        self._check_shape(path, name, y, self.target, "target")
        return y

    def _check_shape(
        self, path: Path, name: str, array: NDArray[Any], shape: tuple[int, ...], argument: str
    ) -> None:
        if array.shape[1:] == shape and array.ndim:
            return
        message = f"`{name}` of `{path}` is {list(array.shape)}, and one sample is {list(shape)}"
        helps = [f"say `{argument} = {list(array.shape[1:])}`"] if array.ndim > 1 or shape else []
        raise TrainError("E0653", message, argument=argument, helps=helps)

    def _split(self, x: NDArray[Any], y: NDArray[Any]) -> Split:
        import numpy
        import torch

        dtype = {"image": numpy.uint8, "ids": numpy.int64, "numbers": numpy.float32}[self.inputs]
        whole = numpy.float32 if self.classes is None else numpy.int64
        return Split(
            torch.from_numpy(numpy.ascontiguousarray(x, dtype=dtype)),
            torch.from_numpy(numpy.ascontiguousarray(y, dtype=whole)),
        )
