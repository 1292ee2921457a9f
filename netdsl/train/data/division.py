"""How samples are divided into those that are learned from and those that the model is measured on."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import Field, model_validator

from netdsl.train.component import Component
from netdsl.train.data.places import found_file
from netdsl.train.errors import TrainError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Rows: TypeAlias = NDArray[Any]


@dataclass(frozen=True)
class Samples:
    """What there is to divide: how many samples, their classes where they have one each, and whether they follow
    each other in time.
    """

    count: int
    classes: Rows | None = None
    in_time: bool = False


class Division(Component):
    """A way to divide samples, as `Split(0.3)`."""

    @abstractmethod
    def rows(self, samples: Samples, seed: int, folders: Sequence[Path]) -> tuple[Rows, Rows]:
        """The numbers of the samples to train on and of those to measure on; `seed` is the recipe's."""


class Training(Division):
    """Measure on the samples that are learned from: for a fit with nothing held out."""

    def rows(self, samples: Samples, seed: int, folders: Sequence[Path]) -> tuple[Rows, Rows]:  # noqa: ARG002
        import numpy

        every = numpy.arange(samples.count)
        return every, every


class HoldOut(Division):
    """Hold out a `fraction` of the samples, drawn as scikit-learn's `train_test_split` draws it, or the rows whose
    numbers, from 0, are in a text `file`, one a line.

    `seed` is the recipe's where none is given. `stratified` keeps the shares of the classes. With `shuffle = False`
    the last samples are held out; those of a time series always are.
    """

    kind = "Split"

    fraction: Annotated[float, Field(gt=0, lt=1)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] | None = None
    stratified: bool = False
    shuffle: bool | None = None
    file: str | None = None

    @model_validator(mode="after")
    def _one_rule(self) -> HoldOut:
        if (self.fraction is None) == (self.file is None):
            raise ValueError("either `fraction` or `file` says what is held out")
        if self.stratified and (self.file is not None or self.shuffle is False):
            raise ValueError("`stratified` draws at random, and so goes with a `fraction` and with `shuffle`")
        return self

    def rows(self, samples: Samples, seed: int, folders: Sequence[Path]) -> tuple[Rows, Rows]:
        if self.file is not None:
            train, valid = _of_file(self.file, samples.count, folders)
            if samples.in_time and valid.min() < train.max():
                message = "the windows of a series overlap, so those that are held out must be its last"
                raise TrainError("E0650", message, helps=["hold out a share of them: `Split(0.2)`"])
            return train, valid
        assert self.fraction is not None
        if samples.in_time and (self.shuffle or self.stratified):
            message = "the windows of a series overlap, so those that are held out must be its last"
            raise TrainError("E0650", message, helps=["leave `shuffle` and `stratified` out"])
        if samples.in_time or self.shuffle is False:
            return last(samples.count, self.fraction)
        if self.stratified and samples.classes is None:
            message = "`stratified` keeps the shares of classes, and the targets are values"
            raise TrainError("E0650", message, helps=["leave `stratified` out"])
        import numpy
        from sklearn.model_selection import train_test_split

        try:
            drawn: Any = train_test_split(
                numpy.arange(samples.count),
                test_size=self.fraction,
                random_state=seed if self.seed is None else self.seed,
                stratify=samples.classes if self.stratified else None,
            )
        except ValueError as problem:
            raise self._undrawn(samples, problem) from problem
        return drawn[0], drawn[1]

    def _undrawn(self, samples: Samples, problem: ValueError) -> TrainError:
        """Why nothing can be drawn."""
        import numpy

        if samples.classes is None or not self.stratified:
            message = f"`fraction = {self.fraction:g}` of {samples.count} samples leaves a part empty"
            return TrainError(
                "E0650", message, helps=["leave at least one sample to learn from: `Split(0.2)`"]
            )
        numbers, counts = numpy.unique(samples.classes, return_counts=True)
        if counts.min() < 2:
            message = f"class {numbers[counts.argmin()]} has one sample, which cannot be in both parts"
            return TrainError("E0650", message, helps=["leave `stratified` out, or leave the class out"])
        share = f"`fraction = {self.fraction:g}` of {samples.count} samples"
        message = f"{share} has no room for all {len(numbers)} classes"
        helps = ["take a larger fraction, or leave `stratified` out"]
        return TrainError("E0650", message, notes=[str(problem)], helps=helps)


def last(count: int, fraction: float) -> tuple[Rows, Rows]:
    """All samples but the last `fraction`, at least one, and those."""
    import numpy

    out = max(1, min(count - 1, round(count * fraction)))
    return numpy.arange(count - out), numpy.arange(count - out, count)


def _of_file(name: str, count: int, folders: Sequence[Path]) -> tuple[Rows, Rows]:
    import numpy

    path = found_file(name, folders)
    lines = path.read_text(encoding="utf-8").split("\n")
    chosen: set[int] = set()
    for number, line in enumerate(lines, 1):
        if not (text := line.strip()):
            continue
        if not text.isdecimal() or int(text) >= count:
            message = f"line {number} of `{path}` is `{text}`, which is no row from 0 to {count - 1}"
            helps = ["the file has a number a line, and rows are counted from 0"]
            raise TrainError("E0650", message, helps=helps)
        chosen.add(int(text))
    if not 0 < len(chosen) < count:
        helps = ["list some of the rows, one a line, and not all"]
        raise TrainError("E0650", f"`{path}` holds out {len(chosen)} of {count} samples", helps=helps)
    out = numpy.isin(numpy.arange(count), sorted(chosen))
    return numpy.flatnonzero(~out), numpy.flatnonzero(out)
