"""Reading a table as it stands in a file: every cell text, or nothing where it is missing. What is wrong with the
file is said with its line.
"""

from __future__ import annotations

import csv
import lzma
import zlib
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from zipfile import BadZipFile

from netdsl.train.data.columns import quick
from netdsl.train.data.packed import check_kind, unpacked
from netdsl.train.errors import TrainError

if TYPE_CHECKING:
    from pandas import DataFrame, Series

DELIMITERS = {".tsv": "\t", ".tab": "\t"}
USUAL = (",", ";", "\t", "|")
# What stands for a missing cell, as pandas has it.
ABSENT = frozenset(
    ("", "#N/A", "N/A", "NA", "<NA>", "NULL", "null", "NaN", "nan", "-nan", "-NaN", "n/a", "None", "#NA")
)


@dataclass(frozen=True)
class Format:
    """How a file is written: `absent` stands for missing cells, beside what usually does."""

    delimiter: str | None = None
    header: bool = True
    encoding: str = "utf-8"
    decimal: str = "."
    absent: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """The cells of a file and where they stand. `frame` has columns of text, with nothing where a cell is missing, and
    of numbers where that was asked for. `lines` gives those of the rows in the file; it is None where it has none.
    """

    path: Path
    frame: DataFrame
    lines: Callable[[], Sequence[int]] | None
    rows: Any = None  # which ones of the file's these are; None for all
    decimal: str = "."

    def place(self, row: int) -> str:
        """Where a row is, in words."""
        number = row if self.rows is None else int(self.rows[row])
        return f"row {number}" if self.lines is None else f"line {self.lines()[number]}"

    def part(self, rows: Any) -> Table:
        """Some of the rows."""
        import numpy

        chosen = numpy.asarray(rows)
        numbers = chosen if self.rows is None else self.rows[chosen]
        return replace(self, frame=self.frame.iloc[chosen].reset_index(drop=True), rows=numbers)


def read_table(
    path: Path,
    delimiter: str | None = None,
    header: bool = True,
    *,
    form: Format | None = None,
    numeric: Callable[[Sequence[Any]], Collection[Any]] | None = None,
) -> Table:
    """The table at `path`: CSV, TSV (packed too) or parquet. Of its columns, `numeric` says which are read as numbers,
    where they are that.

    `TrainError` E0621 where the file cannot be read, E0651 where it is no table: empty, rows of unequal length,
    another delimiter, a column twice.
    """
    form = form or Format(delimiter, header)
    try:
        if path.suffix.lower() == ".parquet":
            return _parquet(path, numeric)
        opened, ending = unpacked(path)
        check_kind(path, opened, form.encoding)
        given = replace(
            form,
            delimiter=form.delimiter or DELIMITERS.get(ending, ","),
            encoding="utf-8-sig" if form.encoding in ("utf-8", "utf8", "UTF-8") else form.encoding,
        )
        return _quickly(path, opened, given, numeric) or _text(path, opened, given)
    except (OSError, EOFError, zlib.error, lzma.LZMAError, BadZipFile) as problem:
        helps = ["get the file again: it is cut off or damaged"]
        raise TrainError("E0621", f"`{path}` cannot be read: {problem}", helps=helps) from problem
    except UnicodeError as problem:
        where = f" (byte {problem.start})" if isinstance(problem, UnicodeDecodeError) else ""
        name = "UTF-8" if form.encoding.lower() in ("utf-8", "utf8") else form.encoding
        helps = ['say how it is written, as `encoding = "latin-1"`', "or save it as UTF-8, or as parquet"]
        raise TrainError("E0621", f"`{path}` is not {name} text{where}", helps=helps) from problem
    except csv.Error as problem:
        helps = ["look for a quote that is not closed: the rest of the file belongs to its field"]
        raise TrainError("E0651", f"`{path}` is not a table: {problem}", helps=helps) from problem


def _quickly(
    path: Path,
    opened: Callable[[], IO[bytes]],
    form: Format,
    numeric: Callable[[Sequence[Any]], Collection[Any]] | None,
) -> Table | None:
    """The table read at once; None where something about it is odd."""
    with opened() as file, TextIOWrapper(file, form.encoding, newline="") as text:
        first = next(_rows(text, form), None)
    if first is None:
        return None
    number, cells = first
    names = _header(path, cells, form.delimiter or ",") if form.header else list(range(len(cells)))
    if number > 1 or "" in names or len(names) < 2:
        return None
    wanted = numeric(names) if numeric else ()
    absent = ABSENT | set(form.absent)
    frame = quick(
        opened,
        names,
        wanted,
        delimiter=form.delimiter or ",",
        header=form.header,
        encoding="utf-8" if form.encoding == "utf-8-sig" else form.encoding,
        decimal=form.decimal,
        absent=absent,
    )

    @cache
    def lines() -> Sequence[int]:
        with opened() as file, TextIOWrapper(file, form.encoding, newline="") as text:
            return array("q", (line for line, _ in islice(_rows(text, form), int(form.header), None)))

    return None if frame is None else Table(path, frame, lines, decimal=form.decimal)


def _rows(file: IO[str], form: Format) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not empty, with the line that each begins in."""
    reader = csv.reader(file, delimiter=form.delimiter or ",", strict=True)
    end = 0
    for cells in reader:
        start, end = end + 1, reader.line_num
        if cells and (len(cells) > 1 or cells[0].strip()):
            yield start, cells


def _text(path: Path, opened: Callable[[], IO[bytes]], form: Format) -> Table:
    """The table read row by row, so that what is wrong is found in its place."""
    from pandas import DataFrame

    delimiter, absent = form.delimiter or ",", ABSENT | set(form.absent)
    rows: list[list[str | None]] = []
    lines = array("q")
    names: list[str] | None = None
    width = 0
    with opened() as file, TextIOWrapper(file, form.encoding, newline="") as text:
        for start, cells in _rows(text, form):
            if not width:
                width = len(cells)
                if form.header:
                    names = _header(path, cells, delimiter)
                    continue
            if len(cells) != width:
                raise _ragged(path, start, cells, width, form.header)
            rows.append([None if (cell := each.strip()) in absent else cell for each in cells])
            lines.append(start)
    if not rows:
        what = "has no rows below its header" if width else "is empty"
        helps = ["a table that begins with its first row has `header = False`"] if width else []
        helps = helps or ["a table has a line of names, and below it a line for each sample"]
        raise TrainError("E0651", f"`{path}` {what}", helps=helps)
    if names is None:
        _check_delimiter(path, [cell or "" for cell in rows[0]], delimiter)
    columns: Any = range(width) if names is None else names
    frame = DataFrame(rows, columns=columns, dtype=object)
    return Table(path, _named(path, frame, names), lambda: lines, decimal=form.decimal)


def _named(path: Path, frame: DataFrame, names: Sequence[str] | None) -> DataFrame:
    """The columns without those that have neither a name nor a cell, as a delimiter at the end of each line makes
    them.
    """
    empty = [number for number, name in enumerate(names or ()) if not name]
    kept = [number for number in empty if frame.iloc[:, number].notna().any()]
    if len(kept) > 1:
        numbers = " and ".join(str(number + 1) for number in kept[:2])
        message = f"the columns {numbers} of `{path}` have no names"
        raise TrainError("E0651", message, helps=["give each column a name of its own"])
    return frame.iloc[:, [n for n in range(frame.shape[1]) if n not in empty or n in kept]]


def _header(path: Path, cells: Sequence[str], delimiter: str) -> list[str]:
    names = [cell.strip() for cell in cells]
    _check_delimiter(path, names, delimiter)
    for number, name in enumerate(names):
        if name and name in names[:number]:
            helps = ["give each column a name of its own"]
            raise TrainError("E0651", f"`{path}` has two columns `{name}`", helps=helps)
    if all(_is_number(name) for name in names):
        raise TrainError(
            "E0651",
            f"the header of `{path}` is numbers: `{delimiter.join(names[:4])}`...",
            helps=["a table that begins with its first row has `header = False`"],
        )
    return names


def _check_delimiter(path: Path, cells: Sequence[str], delimiter: str) -> None:
    """A row of one cell in which another delimiter stands was split at the wrong one."""
    if len(cells) > 1:
        return
    other = next((d for d in USUAL if d != delimiter and d in cells[0]), None)
    if other:
        shown = {"\t": "\\t"}
        raise TrainError(
            "E0651",
            f'`{path}` has one column when it is split at "{shown.get(delimiter, delimiter)}"',
            notes=[f"its first line is `{cells[0].expandtabs(2)[:60]}`"],
            helps=[f'say `delimiter = "{shown.get(other, other)}"`'],
        )


def _ragged(path: Path, line: int, cells: Sequence[str], width: int, header: bool) -> TrainError:
    than = "the header" if header else "the first row"
    fields = f"{len(cells)} field{'s' * (len(cells) != 1)}"
    return TrainError(
        "E0651",
        f"line {line} of `{path}` has {fields}, and {than} has {width}",
        helps=[
            'a field that holds the delimiter stands in quotes: `"a, b"`'
            if len(cells) > width
            else "a field that is empty still has its delimiters: `64,,280`"
        ],
    )


def _parquet(path: Path, numeric: Callable[[Sequence[Any]], Collection[Any]] | None) -> Table:
    from pandas import DataFrame, read_parquet

    try:
        frame = read_parquet(path)
    except (ValueError, OSError) as problem:
        message = f"`{path}` cannot be read: {str(problem).splitlines()[0]}"
        raise TrainError("E0621", message, helps=["write it again, as parquet or as CSV"]) from problem
    if not len(frame):
        raise TrainError("E0651", f"`{path}` has no rows", helps=["each row of a table is a sample"])
    names = [str(name) for name in frame.columns]
    wanted = numeric(names) if numeric else ()
    columns = {
        name: _as_numbers(frame.iloc[:, i]) if name in wanted else _as_text(frame.iloc[:, i])
        for i, name in enumerate(names)
    }
    return Table(path, DataFrame(columns, columns=names), None)


def _as_numbers(column: Series) -> Any:
    """Cells as float64, where they are numbers in the file."""
    import numpy
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    if not is_numeric_dtype(column.dtype) or is_bool_dtype(column.dtype):
        return _as_text(column)
    return column.to_numpy(dtype=numpy.float64, na_value=numpy.nan)


def _as_text(column: Series) -> Any:
    """Cells as they would stand in a text file."""
    import numpy
    from pandas import Series, factorize

    from netdsl.train.data.features import category_name

    codes, distinct = factorize(column)
    values = [value.item() if isinstance(value, numpy.generic) else value for value in distinct]
    texts = numpy.array([*map(category_name, values), None], dtype=object)
    return Series(texts[codes], dtype=object)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def known(names: Iterable[object]) -> str:
    """Column names for a message."""
    listed = [f"`{name}`" for name in names]
    return ", ".join(listed[:12]) + (f" and {len(listed) - 12} more" if len(listed) > 12 else "")
