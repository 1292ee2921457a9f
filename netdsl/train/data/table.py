"""Tables: CSV, TSV and parquet, with what becomes of each column declared in the recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from netdsl.train.component import Family, as_tuple
from netdsl.train.data.base import Data, Input, Sample, Target
from netdsl.train.data.divided import Divide, Divided, Fitted, class_target, tensors, undivided
from netdsl.train.data.division import Samples
from netdsl.train.data.encoding import (
    check_fitted,
    encode,
    feature_names,
    fit,
    located,
    numbers,
)
from netdsl.train.data.features import (
    FEATURES,
    Category,
    Column,
    Columns,
    Feature,
    Numeric,
    category_name,
)
from netdsl.train.data.places import found_file
from netdsl.train.data.table_files import Table as Cells
from netdsl.train.data.table_files import known, read_table
from netdsl.train.errors import TrainError

if TYPE_CHECKING:
    from torch import Tensor

Features = Annotated[
    tuple[SerializeAsAny[Feature] | Column, ...], BeforeValidator(as_tuple), Field(min_length=1)
]
Classes = Annotated[
    tuple[Category, ...] | Annotated[int, Field(ge=2)], BeforeValidator(as_tuple)
]  # names, or how many


class Table(Divided):
    """Rows of a file (`.csv`, `.tsv`, packed too, or `.parquet`) as samples.

    `target` is the column to predict, or several; with `classes`, their names in order or how many they are, it is
    class numbers, else values. `features` are the inputs, a plain name being `Numeric`; without them, every other
    column. `test` is a file of the same columns to measure on. Without a header columns are called by number.
    """

    nested: ClassVar[Mapping[str, Family[Any]]] = {"features": FEATURES}

    path: str
    target: Column | Columns
    features: Features | None = None
    test: str | None = None
    classes: Classes | None = None
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    header: bool = True

    @model_validator(mode="after")
    def _one_class(self) -> Table:
        if self.classes is not None and isinstance(self.target, tuple):
            raise ValueError("`classes` are of one `target`, not of a list")
        if isinstance(self.classes, tuple) and len({category_name(c) for c in self.classes}) < 2:
            raise ValueError("`classes` has fewer than two names")
        return self

    @property
    def has_test(self) -> bool:
        return self.test is not None

    def declared(self) -> tuple[Feature, ...]:
        """The features with plain names as `Numeric`; none where they follow from the file."""
        return tuple(f if isinstance(f, Feature) else Numeric(column=f) for f in self.features or ())

    def targets(self) -> tuple[Column, ...]:
        return self.target if isinstance(self.target, tuple) else (self.target,)

    def width(self) -> int | None:
        """How many inputs there are, as far as the recipe tells."""
        widths = [feature.width() for feature in self.declared()]
        return sum(w for w in widths if w is not None) if widths and None not in widths else None

    def sample(self) -> Sample:
        shape = (len(self.target),) if isinstance(self.target, tuple) else ()
        return Sample(Input((self.width(),)), class_target(self.classes, shape))

    def divided(self, folders: Sequence[Path], divide: Divide | None, fitted: Fitted | None) -> Data:
        whole = self.read(self.path, folders)
        if divide is not None:
            rows = divide(Samples(len(whole.frame), self.class_numbers(whole)))
            train, valid = (whole.part(part) for part in rows)
        elif self.test is not None:
            train, valid = whole, self.read(self.test, folders)
        else:
            raise undivided(self.kind)
        features = self.features_of(train)
        if fitted is None:
            fitted = fit(features, train)
        check_fitted(features, fitted)
        halves = [tensors(encode(features, fitted, part), self.values(part)) for part in (train, valid)]
        target = self.sample().target
        return Data(halves[0], halves[1], target.classes, target.names, fitted)

    def inputs(self, path: str | Path, folders: Sequence[Path], fitted: Fitted) -> Tensor:
        """The inputs of the rows of another file, [rows, inputs], encoded by what training has learned; it needs no
        `target`.
        """
        import torch

        cells = self.read(str(path), folders)
        features = self.features_of(cells)
        check_fitted(features, fitted)
        return torch.from_numpy(encode(features, fitted, cells)).to(torch.float32)

    def input_names(self, fitted: Fitted) -> tuple[str, ...]:
        """What each input is, in order."""
        features = self.declared() or tuple(Numeric(column=f["column"]) for f in fitted["features"])
        return feature_names(features, fitted)

    def read(self, name: str, folders: Sequence[Path]) -> Cells:
        return read_table(found_file(name, folders), self.delimiter, self.header)

    def features_of(self, cells: Cells) -> tuple[Feature, ...]:
        """What is declared, or every column that is no target as a number."""
        if declared := self.declared():
            return declared
        names = list(cells.frame.columns)
        targets: set[object] = set()
        for column in self.targets():
            if isinstance(column, int) or column in names:
                targets.add(located(cells, column, "target"))
        return tuple(Numeric(column=cast("Column", name)) for name in names if name not in targets)

    def values(self, cells: Cells) -> Any:
        """The targets of `cells`: [rows] or [rows, targets], int64 for classes."""
        import numpy

        classes = self.class_numbers(cells)
        if classes is not None:
            return classes
        columns = [numbers(cells, column, "target") for column in self.targets()]
        return numpy.stack(columns, 1) if isinstance(self.target, tuple) else columns[0]

    def class_numbers(self, cells: Cells) -> Any:
        """The class of each row, from 0; None where the target is values."""
        if self.classes is None:
            return None
        import numpy

        (column,) = self.targets()
        if isinstance(self.classes, int):
            values = numbers(cells, column, "target")
            wrong = numpy.flatnonzero((values != values.round()) | (values < 0) | (values >= self.classes))
            if len(wrong):
                raise self._no_class(cells, column, int(wrong[0]), f"0 to {self.classes - 1}")
            return values.astype(numpy.int64)
        names = [category_name(name) for name in self.classes]
        found: Any = cells.frame[located(cells, column, "target")]
        positions = found.map({name: i for i, name in enumerate(names)})
        wrong = numpy.flatnonzero(positions.isna().to_numpy())
        if len(wrong):
            raise self._no_class(cells, column, int(wrong[0]), known(names))
        return positions.to_numpy(dtype=numpy.int64)

    def _no_class(self, cells: Cells, column: Column, row: int, allowed: str) -> TrainError:
        value = cells.frame[located(cells, column, "target")].iloc[row]
        place = f"{cells.place(row)} of `{cells.path}`"
        if value is None:
            message = f"the target `{column}` has nothing in {place}"
            return TrainError("E0654", message, argument="target", helps=["leave such rows out of the file"])
        message = f"the target `{column}` is `{value}` in {place}, and the classes are {allowed}"
        return TrainError("E0653", message, argument="classes", helps=["list every class in `classes`"])


def value_target(names: Target, horizon: int) -> Target:
    """The target of several steps of a series."""
    return names if horizon == 1 else Target(names.kind, (horizon, *names.shape), names.names, names.count)
