"""Time series: windows over the rows of a table, in their order."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Series
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, SerializeAsAny, model_validator

from netdsl.train.component import Family
from netdsl.train.data.base import Data, Input, Sample, Split
from netdsl.train.data.divided import Divide, Divided, Fitted, tensors, undivided
from netdsl.train.data.division import Samples
from netdsl.train.data.encoding import check_fitted, encode, fit
from netdsl.train.data.features import Numeric
from netdsl.train.data.table import Table, value_target
from netdsl.train.data.table_files import Table as Cells
from netdsl.train.errors import TrainError

if TYPE_CHECKING:
    from numpy.typing import NDArray

TABLES: Family[Table] = Family.of("table", (Table,))


class Sequence(Divided):
    """A sample is `window` rows of a table, its target the targets of the `horizon` rows that follow.

    `difference = 1` makes of rows the changes from the row before, before there are windows. The last windows are
    held out; those before them that have a target of theirs are left out, so that none is learned from and measured on.
    """

    nested: ClassVar[Mapping[str, Family[Any]]] = {"table": TABLES}

    table: SerializeAsAny[Table]
    window: int = Field(ge=1)
    horizon: int = Field(1, ge=1)
    difference: int = Field(0, ge=0, le=4)

    @model_validator(mode="after")
    def _of_values(self) -> Sequence:
        if self.table.classes is not None and self.difference:
            raise ValueError("classes have no `difference`")
        whole = all(isinstance(f, Numeric) and not f.flag for f in self.table.declared())
        if self.difference and not whole:
            raise ValueError("only numbers have a `difference`: `features` must be `Numeric`, without `flag`")
        return self

    @property
    def has_test(self) -> bool:
        return self.table.test is not None

    def sample(self) -> Sample:
        row = self.table.sample()
        return Sample(Input((self.window, *row.input.shape)), value_target(row.target, self.horizon))

    def divided(self, folders: Series[Path], divide: Divide | None, fitted: Fitted | None) -> Data:
        cells = self.table.read(self.table.path, folders)
        count = self.windows(cells)
        every = range(count)
        if divide is not None:
            train, valid = divide(Samples(count, in_time=True))
            train = self.before(train, valid)
            learned = cells.part(range(int(max(train)) + self.difference + self.window + self.horizon))
            halves = [(cells, train), (cells, valid)]
        elif self.table.test is not None:
            test = self.table.read(self.table.test, folders)
            learned, halves = cells, [(cells, every), (test, range(self.windows(test)))]
        else:
            raise undivided(self.kind)
        features = self.table.features_of(cells)
        if fitted is None:
            fitted = fit(features, learned)
        check_fitted(features, fitted)
        train_, valid_ = (self._samples(part, rows, fitted) for part, rows in halves)
        target = self.sample().target
        return Data(train_, valid_, target.classes, target.names, fitted)

    def before(self, train: NDArray[Any], valid: NDArray[Any]) -> NDArray[Any]:
        """Those of the windows `train` whose targets are no targets of `valid`; all where both are the same.

        E0656 where none is left.
        """
        if len(train) == len(valid) and (train == valid).all():
            return train
        left = train[train + self.horizon <= valid.min()]
        if not len(left):
            message = f"no window is left to learn from: the targets of the others, {self.horizon} rows, are held out"
            helps = ["hold fewer out, or predict fewer rows: a smaller `horizon`"]
            raise TrainError("E0656", message, argument="horizon", helps=helps)
        return left

    def windows(self, cells: Cells) -> int:
        """How many samples the rows of `cells` have; E0656 where there is none."""
        rows = len(cells.frame)
        count = rows - self.difference - self.window - self.horizon + 1
        if count >= 1:
            return count
        less = f", {rows - self.difference} after `difference`" if self.difference else ""
        longest = rows - self.difference - self.horizon
        raise TrainError(
            "E0656",
            f"a window of {self.window} rows and {self.horizon} to predict are longer than the series: "
            f"`{cells.path}` has {rows} rows{less}",
            argument="window",
            helps=[
                f"a window of at most {longest} fits"
                if longest >= 1
                else "predict fewer rows: a smaller `horizon`"
            ],
        )

    def _samples(self, cells: Cells, rows: Series[int] | NDArray[Any], fitted: Fitted) -> Split:
        """The windows that begin at `rows`."""
        import numpy

        x: NDArray[Any] = encode(self.table.features_of(cells), fitted, cells)
        y: NDArray[Any] = self.table.values(cells)
        if self.difference:
            x, y = numpy.diff(x, self.difference, axis=0), numpy.diff(y, self.difference, axis=0)
        starts = numpy.asarray(rows)[:, None]
        after = y[starts + self.window + numpy.arange(self.horizon)]
        return tensors(x[starts + numpy.arange(self.window)], after[:, 0] if self.horizon == 1 else after)
