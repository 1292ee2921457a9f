"""Sources of numbers: samples that are divided first, and then preprocessed by what the training part teaches."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from netdsl.source import Span
from netdsl.train.data.base import Data, Source, Split, Target
from netdsl.train.data.division import Samples
from netdsl.train.errors import TrainError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Fitted: TypeAlias = Mapping[str, Any]
Divide: TypeAlias = "Callable[[Samples], tuple[NDArray[Any], NDArray[Any]]]"


class Divided(Source):
    """A source that is told how its samples are divided, and what its preprocessing has learned, if that is known."""

    @property
    def has_test(self) -> bool:
        """Whether it has a part to measure on, where the recipe says nothing else."""
        return False

    def load(self, folders: Sequence[Path], download: bool) -> Data:  # noqa: ARG002 - nothing here is downloaded
        return self.divided(folders, None, None)

    def has_test_in(self, folders: Sequence[Path]) -> bool:  # noqa: ARG002
        """Whether the source has a test part of its own, for those of which only the files tell."""
        return bool(self.has_test)

    @abstractmethod
    def divided(self, folders: Sequence[Path], divide: Divide | None, fitted: Fitted | None) -> Data:
        """The two parts, by `divide`; without it, the source's own test part is the second.

        `fitted` is what an earlier run has learned of its training part; without it, this one's is looked at.
        """


def undivided(kind: str, span: Span | None = None) -> TrainError:
    """That nothing says what the model is measured on (E0650)."""
    helps = [
        "hold samples out: `valid = 0.2`",
        "or measure on what is learned from, for a mere fit: `valid = Training`",
    ]
    return TrainError("E0650", f"`{kind}` has no test part, and the recipe has no `valid`", span, helps=helps)


def tensors(x: NDArray[Any], y: NDArray[Any]) -> Split:
    """Inputs as float32 and targets as class numbers (int64) or values (float32)."""
    import numpy
    import torch

    whole = numpy.issubdtype(y.dtype, numpy.integer)
    with numpy.errstate(over="ignore"):  # what is too large becomes infinite, and is refused as that
        kept = [
            numpy.require(each, kind, ["C", "W"])  # torch cannot keep what it may not write
            for each, kind in ((x, numpy.float32), (y, numpy.int64 if whole else numpy.float32))
        ]
    return Split(torch.from_numpy(kept[0]), torch.from_numpy(kept[1]))


def parts(
    source: Source,
    x: NDArray[Any],
    y: NDArray[Any],
    divide: Divide | None,
    test: tuple[NDArray[Any], NDArray[Any]] | None = None,
) -> Data:
    """Arrays that need no preprocessing, divided; `test` is the second part where nothing else is said."""
    import numpy

    target = source.sample().target
    if divide is None:
        if test is None:
            raise undivided(source.kind)
        train, valid = (x, y), test
    else:
        classes = y if numpy.issubdtype(y.dtype, numpy.integer) and y.ndim == 1 else None
        train, valid = ((x[rows], y[rows]) for rows in divide(Samples(len(x), classes)))
    return Data(tensors(*train), tensors(*valid), target.classes, target.names)


def class_target(classes: int | tuple[Any, ...] | None, shape: tuple[int | None, ...] = ()) -> Target:
    """A target of so many classes, or of the classes with these names; of values where it is None."""
    if classes is None:
        return Target("values", shape)
    if isinstance(classes, int):
        return Target("classes", shape, count=classes)
    return Target("classes", shape, names=tuple(str(name) for name in classes))
