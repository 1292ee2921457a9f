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
        _check_lengths(path, names, arrays)
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
            notes = [_why(path, problem)]
            helps = ["save arrays of numbers: `numpy.savez(path, x=x, y=y)`"]
            raise TrainError("E0621", f"`{path}` cannot be read", notes=notes, helps=helps) from problem

    def _inputs(self, path: Path, name: str, x: NDArray[Any]) -> NDArray[Any]:
        import numpy

        wanted = {"image": numpy.uint8, "ids": numpy.integer, "numbers": numpy.number}[self.inputs]
        if not numpy.issubdtype(x.dtype, wanted) or numpy.iscomplexobj(x):
            words = {"image": "uint8", "ids": "whole numbers", "numbers": "numbers"}[self.inputs]
            message = f"`{name}` of `{path}` is {x.dtype}, and `inputs` that are `{self.inputs}` are {words}"
            raise TrainError("E0653", message, argument="inputs", helps=[_CONVERTED[self.inputs]])
        self._check_shape(path, name, x, self.shape, "shape")
        _check_finite(path, name, x)
        return x

    def _targets(self, path: Path, name: str, y: NDArray[Any]) -> NDArray[Any]:
        import numpy

        wanted = numpy.number if self.classes is None else numpy.integer
        if not numpy.issubdtype(y.dtype, wanted) or numpy.iscomplexobj(y):
            words = "numbers" if self.classes is None else "class numbers"
            message = f"`{name}` of `{path}` is {y.dtype}, and the targets are {words}"
            helps = ["where they are class numbers, save them so: `y.astype(numpy.int64)`"]
            if self.classes is not None:
                helps.append("where they are values, leave `classes` out, and take a loss such as `MSELoss`")
            raise TrainError("E0653", message, argument="classes", helps=helps)
        self._check_shape(path, name, y, self.target, "target")
        _check_finite(path, name, y)
        if self.classes is not None:
            _check_classes(path, name, y, self.classes)
        return y

    def _check_shape(
        self, path: Path, name: str, array: NDArray[Any], shape: tuple[int, ...], argument: str
    ) -> None:
        if array.shape[1:] == shape and array.ndim:
            return
        message = f"`{name}` of `{path}` is {list(array.shape)}, and one sample is {list(shape)}"
        helps = [
            f"say `{argument} = {list(array.shape[1:])}`" if array.ndim else "an array has a row a sample"
        ]
        if argument == "target" and self.classes is not None and not shape and array.size == len(array):
            helps = [f"save a number a sample: `{name}.reshape(-1)`"]
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


_CONVERTED = {
    "image": 'save numbers from 0 to 255, as `x.astype(numpy.uint8)`, or say `inputs = "numbers"`',
    "ids": 'save whole numbers, as `x.astype(numpy.int64)`, or say `inputs = "numbers"`',
    "numbers": "save numbers, as `x.astype(numpy.float32)`",
}


def _check_lengths(path: Path, names: Sequence[str], arrays: Sequence[NDArray[Any]]) -> None:
    """Refuse inputs and targets that are not as many (E0653)."""
    for (x, inputs), (y, targets) in zip(
        list(zip(names, arrays, strict=True))[::2], list(zip(names, arrays, strict=True))[1::2], strict=True
    ):
        if len(inputs) != len(targets):
            message = f"`{x}` of `{path}` has {len(inputs)} samples, and `{y}` has {len(targets)}"
            helps = ["a sample is a row of each: save as many of both, in the same order"]
            raise TrainError("E0653", message, helps=helps)


def _check_finite(path: Path, name: str, array: NDArray[Any]) -> None:
    """Refuse NaN and infinite numbers (E0654, E0653)."""
    import numpy

    wrong = ~numpy.isfinite(array)
    if not wrong.any():
        return
    place = [int(at[0]) for at in numpy.nonzero(wrong)]
    value, count = array[tuple(place)], int(wrong.sum())
    missing = bool(numpy.isnan(value))
    more = f", and {count - 1} more" if count > 1 else ""
    message = f"`{name}` of `{path}` is {'NaN' if missing else value} at {place}{more}"
    helps = ["replace it, as `numpy.nan_to_num(x)` does, or leave the sample out: one makes all weights NaN"]
    raise TrainError("E0654" if missing else "E0653", message, helps=helps)


def _check_classes(path: Path, name: str, y: NDArray[Any], classes: int) -> None:
    """Refuse class numbers that are none of the classes (E0653)."""
    import numpy

    wrong = numpy.argwhere((y < 0) | (y >= classes))
    if not len(wrong):
        return
    place = [int(at) for at in wrong[0]]
    value, highest = int(y[tuple(place)]), int(y.max())
    message = f"`{name}` of `{path}` is {value} at {place}, and the classes are 0 to {classes - 1}"
    start_at_1 = int(y.min()) == 1 and highest == classes
    help_ = "class numbers start at 0: save `y - 1`" if start_at_1 else f"say `classes = {highest + 1}`"
    helps = [help_ if value >= 0 else "class numbers start at 0"]
    raise TrainError("E0653", message, argument="classes", helps=helps)


def _why(path: Path, problem: Exception) -> str:
    """Why a file is not read, in a line."""
    if "pickle" not in str(problem).lower():
        return str(problem)
    with path.open("rb") as file:
        packed = file.read(1) in (b"P", b"\x80", b"\x93")
    return "pickled objects are never read: they can run code" if packed else "it is no archive of numpy"
