"""What a model gets of the columns of a table: declarations only, so that the number of inputs is known before the
table is read.
"""

from __future__ import annotations

from types import NoneType
from typing import Annotated, Literal, TypeAlias

from pydantic import BeforeValidator, Field, model_validator

from netdsl.train.component import Component, Family, as_tuple

Column: TypeAlias = str | int  # by its name; by its number, from 0 or from the end, where there is no header
Columns = Annotated[tuple[Column, ...], BeforeValidator(as_tuple), Field(min_length=1)]
Category: TypeAlias = str | bool | int | float
Categories = Annotated[tuple[Category, ...], BeforeValidator(as_tuple), Field(min_length=1)]


class Feature(Component):
    """What becomes of one or more columns."""

    def columns(self) -> tuple[Column, ...]:
        """The columns it reads."""
        raise TypeError(f"{type(self).__name__} reads no columns")

    def width(self) -> int | None:
        """How many numbers it gives; None where only the data tells."""
        raise TypeError(f"{type(self).__name__} gives no numbers")


class Numeric(Feature):
    """Columns of numbers, as they are.

    `fill` stands for what is missing: a number, or the `mean` or `median` of the training part. `flag` adds after
    each column one that is 1 where it was missing. `standardise` brings each to mean 0 and deviation 1 over the
    training part.
    """

    column: Column | Columns
    fill: float | Literal["mean", "median"] | None = None
    flag: bool = False
    standardise: bool = False

    @model_validator(mode="after")
    def _flag_needs_fill(self) -> Numeric:
        if self.flag and self.fill is None:
            raise ValueError("`flag` marks what `fill` stands for, so it needs one, for example `fill = 0`")
        return self

    def columns(self) -> tuple[Column, ...]:
        return self.column if isinstance(self.column, tuple) else (self.column,)

    def width(self) -> int:
        return len(self.columns()) * (2 if self.flag else 1)


class OneHot(Feature):
    """A column of categories, as a number each that is 1 for its own.

    `categories` in that order; without them, those of the training part in the order of their names. `missing` adds
    one for what is missing. A category that is not among them is an error, or no 1 at all with
    `handle_unknown = "ignore"`.
    """

    column: Column
    categories: Categories | None = None
    missing: bool = False
    handle_unknown: Literal["error", "ignore"] = "error"

    @model_validator(mode="after")
    def _once(self) -> OneHot:
        names = [category_name(c) for c in self.categories or ()]
        if len(set(names)) < len(names):
            raise ValueError("`categories` has one twice")
        return self

    def columns(self) -> tuple[Column, ...]:
        return (self.column,)

    def width(self) -> int | None:
        return None if self.categories is None else len(self.categories) + self.missing


class Missing(Feature):
    """1 where a column has nothing, else 0."""

    column: Column

    def columns(self) -> tuple[Column, ...]:
        return (self.column,)

    def width(self) -> int:
        return 1


FEATURES: Family[Feature] = Family.of("feature", (Numeric, OneHot, Missing), plain=(str, int, NoneType))


def category_name(value: Category) -> str:
    """A category as it stands in a file: `3.0` and `3` are one.

    >>> category_name(3), category_name(3.0), category_name("3"), category_name("male")
    ('3', '3', '3', 'male')
    """
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
