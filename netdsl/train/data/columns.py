"""A table's columns read at once, by Arrow, where nothing about the file is odd; a million rows take seconds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pandas import DataFrame

CHUNK = 1 << 22  # bytes at a time


def quick(
    opened: Callable[[], IO[bytes]],
    names: Sequence[Any],
    numeric: Collection[Any],
    *,
    delimiter: str,
    header: bool,
    encoding: str,
    decimal: str,
    absent: Collection[str],
) -> DataFrame | None:
    """The columns called `names`, those in `numeric` as float64 and the others as text, with nothing where a cell is
    missing. Where one that should be numeric is not, all are text. None where the rows are not all alike: reading them
    one by one tells more.
    """
    import pyarrow
    from pyarrow import csv

    with opened() as file:
        if _has_open_quote(file):
            return None
    keys = [str(number) for number in range(len(names))]
    for numbers in (set(numeric), set[Any]()) if numeric else (set[Any](),):
        kinds = {
            key: pyarrow.float64() if name in numbers else pyarrow.string()
            for key, name in zip(keys, names, strict=True)
        }
        try:
            with opened() as file:
                found = csv.read_csv(
                    file,
                    csv.ReadOptions(column_names=keys, skip_rows_after_names=int(header), encoding=encoding),
                    csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
                    csv.ConvertOptions(
                        column_types=kinds,
                        null_values=list(absent),
                        strings_can_be_null=True,
                        decimal_point=decimal,
                    ),
                )
        except (pyarrow.ArrowException, UnicodeDecodeError):
            continue
        made = _frame(found, names, absent)
        if made is not None:
            return made
    return None


def _frame(found: Any, names: Sequence[Any], absent: Collection[str]) -> DataFrame | None:
    """The table as a frame; None where it has no rows, or a number that is none."""
    import numpy
    import pyarrow
    from pandas import DataFrame, Series

    if found.num_rows == 0:
        return None
    columns: dict[Any, Any] = {}
    for name, column in zip(names, found.columns, strict=True):
        if pyarrow.types.is_floating(column.type):
            values = column.to_numpy()
            if int((~numpy.isfinite(values)).sum()) != column.null_count:
                return None
            columns[name] = values
        else:
            columns[name] = Series(_texts(column, absent), dtype=object)
    return DataFrame(columns, columns=list(names))


def _texts(column: Any, absent: Collection[str]) -> Any:
    """Text without blanks around it, each distinct one kept once; None where it stands for a missing cell."""
    import numpy

    coded = column.combine_chunks().dictionary_encode()
    distinct = [None if (text := each.strip()) in absent else text for each in coded.dictionary.to_pylist()]
    values = numpy.array([*distinct, None], dtype=object)
    return values[coded.indices.fill_null(len(distinct)).to_numpy(zero_copy_only=False)]


def _has_open_quote(file: IO[bytes]) -> bool:
    """Whether quotes are not in pairs, so that one takes the rest of the file for its field."""
    count = 0
    while part := file.read(CHUNK):
        count += part.count(b'"')
    return count % 2 == 1
