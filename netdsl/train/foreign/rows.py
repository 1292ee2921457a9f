"""Rows of tables as samples, through what the preprocessing of a run has learned."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from netdsl.train.data.bundled import Bundled
from netdsl.train.data.encoding import check_fitted, encode
from netdsl.train.data.features import Column, Feature, Numeric
from netdsl.train.data.table import Table
from netdsl.train.data.table_files import Table as Cells
from netdsl.train.data.table_files import read_table
from netdsl.train.errors import TrainError
from netdsl.train.foreign.base import Known, Samples, learned, of_tensor, text_of, unreadable, with_helps

if TYPE_CHECKING:
    from numpy.typing import NDArray

DELIMITERS = ("\t", ";", ",", "|")


def table_samples(path: Path, source: Table, known: Known) -> Samples:
    """Each row of the table at `path`, which need not have the target."""
    import numpy

    fitted = learned(known)
    cells = cells_of(path, source, fitted)
    x = encoded(source, fitted, cells)
    return of_tensor(path, torch.from_numpy(numpy.ascontiguousarray(x, dtype=numpy.float32)))


def cells_of(path: Path, source: Table, fitted: Mapping[str, Any]) -> Cells:
    """The table at `path`, read as that of the training part was; of one without a header, columns as they were."""
    same = path.suffix.lower() == Path(source.path).suffix.lower()
    cells = (source if same else source.model_copy(update={"delimiter": None})).cells(path)
    named = any(isinstance(name, str) for name in cells.frame.columns)
    return cells if named or source.features is not None else _numbered(cells, source, fitted)


def _numbered(cells: Cells, source: Table, fitted: Mapping[str, Any]) -> Cells:
    """Columns that have numbers, as they were counted in training, also where the targets are left out."""
    inputs = [feature["column"] for feature in fitted["features"]]
    width, count = len(cells.frame.columns), len(inputs) + len(source.targets())
    if width == count:
        return cells
    if width != len(inputs):
        message = (
            f"`{cells.path}` has {width} columns, and the table of the run had {count}, targets included"
        )
        raise TrainError("E0652", message, helps=["the targets may be left out, and nothing else"])
    return replace(cells, frame=cells.frame.set_axis(inputs, axis=1))


def encoded(source: Table, fitted: Mapping[str, Any], cells: Cells) -> NDArray[Any]:
    """The inputs of the rows of `cells`, [rows, inputs]. What is wrong with a cell is said for one who has a model."""
    features = features_of(source, fitted)
    check_fitted(features, fitted)
    try:
        return encode(features, fitted, cells)
    except TrainError as problem:
        raise with_helps(problem, _advice(problem)) from problem


def features_of(source: Table, fitted: Mapping[str, Any]) -> tuple[Feature, ...]:
    """What is declared, or what the columns of the training part were."""
    declared = source.declared()
    return declared or tuple(Numeric(column=cast("Column", each["column"])) for each in fitted["features"])


def _advice(problem: TrainError) -> Sequence[str]:
    found = problem.diagnostic
    if found.code == "E0654":
        return ["the model has learned from rows without such gaps: fill it in, or leave the row out"]
    if found.code == "E0653":
        near = [help_ for help_ in found.helps if help_.startswith("did you mean")]
        return [*near, "the model has learned from no such cell: correct it, or leave the row out"]
    return found.helps


def bundled_samples(path: Path, source: Bundled, known: Known) -> Samples:
    """Rows of as many numbers as the data set has, standardised where that was."""
    import numpy

    x = numbers_of(path, source.inputs)
    if source.standardise:
        fitted = learned(known)
        x = (x - numpy.array(fitted["mean"])) / numpy.array(fitted["scale"])
    return of_tensor(path, torch.from_numpy(x.astype(numpy.float32)))


def number_samples(path: Path, width: int | None) -> Samples:
    """Rows of numbers as they are."""
    return of_tensor(path, torch.from_numpy(numbers_of(path, width).astype("float32")))


def numbers_of(path: Path, width: int | None) -> NDArray[Any]:
    """Rows of numbers between commas, tabs or semicolons, in float64; a first row of names is passed over."""
    import numpy

    if path.suffix.lower() == ".parquet":
        lines = [(f"row {i}", row) for i, row in enumerate(read_table(path).frame.to_numpy().tolist())]
    else:
        lines = _lines(path)
    rows: list[list[float]] = []
    for number, (where, row) in enumerate(lines):
        if number == 0 and not any(map(_is_number, row)):
            continue
        wrong = next((cell for cell in row if not _is_number(cell)), None)
        if wrong is not None:
            said = "a gap" if wrong in (None, "") else f"`{wrong}`, which is no finite number"
            helps = ["correct it, or leave the row out"]
            raise TrainError("E0636", f"{where} of `{path}` has {said}", helps=helps)
        if len(row) != (width or len(rows[0] if rows else row)):
            least = width or len(rows[0])
            helps = [f"a row is the {least} inputs of a sample, without its target"]
            message = f"{where} of `{path}` has {len(row)} numbers, not {least}"
            raise TrainError("E0636", message, helps=helps)
        rows.append([float(cell) for cell in row])
    if not rows:
        raise unreadable(path, "has no rows", "a row is the inputs of a sample")
    return numpy.array(rows)


def _lines(path: Path) -> list[tuple[str, list[str]]]:
    text = text_of(path)
    first = text.partition("\n")[0]
    delimiter = next((d for d in DELIMITERS if d in first), ",")
    reader = csv.reader(text.splitlines(), delimiter=delimiter)
    try:
        return [(f"line {reader.line_num}", row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as problem:
        raise unreadable(path, f"is not a table: {problem}") from problem


def _is_number(cell: object) -> bool:
    try:
        return cell is not None and math.isfinite(float(str(cell)))
    except ValueError:
        return False
