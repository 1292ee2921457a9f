"""Samples that are written down in the recipe itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from netdsl.train.component import Numbers
from netdsl.train.data.base import Data, Input, Sample
from netdsl.train.data.divided import Divide, Divided, Fitted, class_target, parts


def _rows(value: object) -> object:
    """Lists of the language at both depths."""
    if not isinstance(value, (list, tuple)):
        return value
    return tuple(tuple(row) if isinstance(row, list) else row for row in value)


Rows = Annotated[tuple[Numbers, ...] | tuple[float, ...], BeforeValidator(_rows), Field(min_length=1)]


class Points(Divided):
    """Inputs `x`, a number or a list of numbers each, and targets `y`: values, or class numbers where `classes` says
    how many there are.
    """

    x: Rows
    y: Rows
    classes: Annotated[int, Field(ge=2)] | None = None

    @model_validator(mode="after")
    def _as_many(self) -> Points:
        if len(self.x) != len(self.y):
            raise ValueError(f"`x` has {len(self.x)} samples and `y` has {len(self.y)}")
        for name in ("x", "y"):
            if len({_width(row) for row in getattr(self, name)}) != 1:
                raise ValueError(f"the samples in `{name}` are not of one length")
        if self.classes is not None:
            of_classes = range(self.classes)
            if any(value not in of_classes for value in self.y):
                raise ValueError(f"`y` has values that are no class from 0 to {self.classes - 1}")
        return self

    def sample(self) -> Sample:
        shape = (width,) if (width := _width(self.y[0])) else ()
        return Sample(Input((_width(self.x[0]) or 1,)), class_target(self.classes, shape))

    def divided(self, folders: Sequence[Path], divide: Divide | None, fitted: Fitted | None) -> Data:  # noqa: ARG002
        import numpy

        x = numpy.array(self.x, dtype=numpy.float64).reshape(len(self.x), -1)
        y = numpy.array(self.y, dtype=numpy.float64 if self.classes is None else numpy.int64)
        return parts(self, x, y, divide)


def _width(row: object) -> int | None:
    return len(row) if isinstance(row, tuple) else None
