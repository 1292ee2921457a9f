"""Tables: CSV, TSV and parquet, with what becomes of each column declared in the recipe."""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, cast

from pydantic import AfterValidator, BeforeValidator, Field, SerializeAsAny, model_validator

from netdsl.diagnostics.suggest import did_you_mean
from netdsl.train.component import Family, as_tuple
from netdsl.train.data.base import Data, Input, Sample, Target
from netdsl.train.data.divided import Divide, Divided, Fitted, class_target, tensors, undivided
from netdsl.train.data.division import Samples
from netdsl.train.data.encoding import (
    as_declared,
    check_fitted,
    encode,
    feature_names,
    fit,
    in_order,
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
    OneHot,
    category_name,
)
from netdsl.train.data.places import found_file
from netdsl.train.data.table_files import Format, known, read_table
from netdsl.train.data.table_files import Table as Cells
from netdsl.train.errors import TrainError

if TYPE_CHECKING:
    from torch import Tensor

Features = Annotated[
    tuple[SerializeAsAny[Feature] | Column, ...], BeforeValidator(as_tuple), Field(min_length=1)
]
Classes = Annotated[
    tuple[Category, ...] | Annotated[int, Field(ge=2)], BeforeValidator(as_tuple)
]  # names, or how many


def _known_encoding(name: str) -> str:
    try:
        codecs.lookup(name)
    except LookupError as problem:
        raise ValueError("an encoding that Python knows, as `utf-8`, `latin-1` or `cp1252`") from problem
    return name


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
    encoding: Annotated[str, AfterValidator(_known_encoding)] = "utf-8"
    decimal: Literal[".", ","] = "."
    na_values: Annotated[tuple[str, ...], BeforeValidator(as_tuple)] = ()

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
        self.check_apart(whole)
        y = self.values(whole)
        if divide is not None:
            rows = divide(Samples(len(y), None if self.classes is None else y))
            halves = [(whole.part(part), y[part]) for part in rows]
        elif self.test is not None:
            other = self.read(self.test, folders)
            halves = [(whole, y), (other, self.values(other))]
        else:
            raise undivided(self.kind)
        train = halves[0][0]
        features = self.features_of(train)
        if fitted is None:
            fitted = fit(features, train)
        check_fitted(features, fitted)
        parts = [tensors(encode(features, fitted, cells), targets) for cells, targets in halves]
        target = self.sample().target
        return Data(parts[0], parts[1], target.classes, target.names, fitted)

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
        return self.cells(found_file(name, folders))

    def cells(self, path: Path) -> Cells:
        """The file at `path`, written as the recipe says. Columns that the model gets as numbers are such."""
        return read_table(path, form=self.form(), numeric=self._numeric)

    def form(self) -> Format:
        """How the files are written."""
        return Format(self.delimiter, self.header, self.encoding, self.decimal, self.na_values)

    def _numeric(self, names: Sequence[Any]) -> set[Any]:
        """Of the columns called `names`, those that nothing takes as text."""
        declared = self.declared()
        read = [f.columns() for f in declared if isinstance(f, Numeric)] or [tuple(names)] * (not declared)
        texts = [f.columns() for f in declared if isinstance(f, OneHot)]
        texts += [self.targets()] if self.classes is not None else []
        read += [self.targets()] if self.classes is None else []

        def called(columns: Sequence[tuple[Column, ...]]) -> set[Any]:
            within = [
                c for each in columns for c in each if not isinstance(c, int) or -len(names) <= c < len(names)
            ]
            return {names[c] if isinstance(c, int) else c for c in within}

        return called(read) - called(texts)

    def features_of(self, cells: Cells) -> tuple[Feature, ...]:
        """What is declared, or every column that is no target as a number."""
        if declared := self.declared():
            return declared
        names = list(cells.frame.columns)
        targets: set[object] = set()
        for column in self.targets():
            if isinstance(column, int) or column in names:
                targets.add(located(cells, column, "target"))
        if "" in names:
            message = f"column {names.index('') + 1} of `{cells.path}` has no name, and may be the numbers of the rows"
            helps = ["list the `features`, without it, or give it a name"]
            raise TrainError("E0652", message, argument="features", helps=helps)
        if len(names) == len(targets):
            message = f"`{cells.path}` has no column beside the target"
            raise TrainError("E0652", message, argument="target", helps=["a model learns from other columns"])
        return tuple(Numeric(column=cast("Column", name)) for name in names if name not in targets)

    def check_apart(self, cells: Cells) -> None:
        """Refuse a target that is a feature too: the model would be given what it is to find (E0608)."""
        targets = {located(cells, column, "target") for column in self.targets()}
        for number, feature in enumerate(self.declared()):
            for column in feature.columns():
                if located(cells, column, f"features.{number}") in targets:
                    message = (
                        f"`{column}` is the target, and a feature too: the model would see what it is to find"
                    )
                    raise TrainError("E0608", message, argument=f"features.{number}", helps=["leave it out"])

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
        positions = as_declared(found, names).map({name: i for i, name in enumerate(names)})
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
        return TrainError("E0653", message, argument="classes", helps=self._class_helps(cells, column, value))

    def _class_helps(self, cells: Cells, column: Column, value: object) -> list[str]:
        """How `classes` fit the values of the target."""
        found: Any = cells.frame[located(cells, column, "target")]
        names = sorted(map(str, found.dropna().unique()), key=in_order)
        shown = [name if in_order(name)[0] == 0 else f'"{name}"' for name in names]
        near = (
            did_you_mean(str(value), [category_name(c) for c in self.classes])
            if isinstance(self.classes, tuple)
            else []
        )
        fraction = any(in_order(name)[1] % 1 for name in names)
        if len(names) > 20 or (isinstance(self.classes, int) and fraction):
            return [*near, "where the target is values and no classes, leave `classes` out"]
        return [*near, f"list what stands in the column: `classes = [{', '.join(shown)}]`"]


def value_target(names: Target, horizon: int) -> Target:
    """The target of several steps of a series."""
    return names if horizon == 1 else Target(names.kind, (horizon, *names.shape), names.names, names.count)
