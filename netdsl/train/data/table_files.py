"""Reading a table as it stands in a file: every cell text, or nothing where it is missing. What is wrong with the
file is said with its line.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import lzma
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from netdsl.train.errors import TrainError

if TYPE_CHECKING:
    from pandas import DataFrame, Series

PACKED = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
DELIMITERS = {".tsv": "\t", ".tab": "\t"}
USUAL = (",", ";", "\t", "|")
# What stands for a missing cell, as pandas has it.
ABSENT = frozenset(
    ("", "#N/A", "N/A", "NA", "<NA>", "NULL", "null", "NaN", "nan", "-nan", "-NaN", "n/a", "None", "#NA")
)


@dataclass(frozen=True)
class Table:
    """The cells of a file and where they stand. `frame` has text columns, of nothing where a cell is missing."""

    path: Path
    frame: DataFrame
    lines: Sequence[int] | None  # of the rows in the file; None where it has none

    def place(self, row: int) -> str:
        """Where a row is, in words."""
        return f"row {row}" if self.lines is None else f"line {self.lines[row]}"

    def part(self, rows: Any) -> Table:
        """Some of the rows."""
        lines = None if self.lines is None else [self.lines[row] for row in rows]
        return Table(self.path, self.frame.iloc[rows].reset_index(drop=True), lines)


def read_table(path: Path, delimiter: str | None = None, header: bool = True) -> Table:
    """The table at `path`: CSV, TSV (packed too) or parquet.

    `TrainError` E0621 where the file cannot be read, E0651 where it is no table: empty, rows of unequal length,
    another delimiter, a column twice.
    """
    endings = [ending.lower() for ending in path.suffixes]
    try:
        if endings[-1:] == [".parquet"]:
            return _parquet(path)
        packed = bool(endings) and endings[-1] in PACKED
        ending = (endings[:-1] if packed else endings)[-1:]
        opened = PACKED[endings[-1]] if packed else open
        with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
            return _text(path, file, delimiter or DELIMITERS.get("".join(ending), ","), header)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as problem:
        raise TrainError("E0621", f"`{path}` cannot be read: {problem}") from problem
    except UnicodeDecodeError as problem:
        message = f"`{path}` is not UTF-8 text (byte {problem.start})"
        raise TrainError("E0621", message, helps=["save it as UTF-8, or as parquet"]) from problem
    except csv.Error as problem:
        raise TrainError("E0651", f"`{path}` is not a table: {problem}") from problem


def _text(path: Path, file: IO[str], delimiter: str, header: bool) -> Table:
    from pandas import DataFrame

    reader = csv.reader(file, delimiter=delimiter, strict=True)
    rows: list[list[str | None]] = []
    lines: list[int] = []
    names: list[str] | None = None
    width = 0
    end = 0
    for cells in reader:
        start, end = end + 1, reader.line_num
        if not cells:
            continue
        if not width:
            width = len(cells)
            if header:
                names = _header(path, cells, delimiter)
                continue
        if len(cells) != width:
            raise _ragged(path, start, cells, width, header)
        rows.append([None if (text := cell.strip()) in ABSENT else text for cell in cells])
        lines.append(start)
    if not rows:
        what = "has no rows below its header" if width else "is empty"
        raise TrainError("E0651", f"`{path}` {what}")
    if names is None:
        _check_delimiter(path, [cell or "" for cell in rows[0]], delimiter)
    columns: Any = range(width) if names is None else names
    return Table(path, DataFrame(rows, columns=columns, dtype=object), lines)


def _header(path: Path, cells: Sequence[str], delimiter: str) -> list[str]:
    names = [cell.strip() for cell in cells]
    _check_delimiter(path, names, delimiter)
    for number, name in enumerate(names):
        if name in names[:number]:
            raise TrainError("E0651", f"`{path}` has two columns `{name}`")
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
        helps=['a field that holds the delimiter stands in quotes: `"a, b"`'] if len(cells) > width else [],
    )


def _parquet(path: Path) -> Table:
    from pandas import read_parquet

    try:
        frame = read_parquet(path)
    except (ValueError, OSError) as problem:
        raise TrainError("E0621", f"`{path}` cannot be read: {str(problem).splitlines()[0]}") from problem
    if not len(frame):
        raise TrainError("E0651", f"`{path}` has no rows")
    frame.columns = [str(name) for name in frame.columns]
    texts: Any = frame.apply(_as_text)
    return Table(path, texts.astype(object), None)


def _as_text(column: Series) -> Series:
    """Cells as they would stand in a text file."""
    from netdsl.train.data.features import category_name

    cells = column.astype(object)
    return cells.where(cells.isna(), cells.map(lambda v: category_name(v) if v is not None else v)).mask(
        cells.isna(), None
    )


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
