"""Files that a model has not been trained on, as samples: images, rows of tables, lines of text, arrays."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from netdsl.train.data import Source
from netdsl.train.data.images import image_size, read_image
from netdsl.train.data.text import Text
from netdsl.train.data.vocabulary import declared_tokens
from netdsl.train.errors import TrainError
from netdsl.train.recipe import Recipe
from netdsl.train.runs import INPUTS

TABLES = (".csv", ".tsv", ".txt")


@dataclass(frozen=True)
class Samples:
    """Inputs [N, ...] as the source of a recipe gives them; `rows` where a file holds several."""

    x: Tensor
    rows: bool


def inputs_beside(weights: str | Path | None) -> Mapping[str, Any]:
    """What a run has written down of its inputs, beside its `weights`; nothing where they are of no run."""
    path = Path(weights or "").parent / INPUTS
    if weights is None or not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise TrainError("E0639", f"`{path}` cannot be read: {problem}") from problem


def read_samples(
    recipe: Recipe, path: Path, known: Mapping[str, Any], fitted: Mapping[str, Any] | None
) -> Samples:
    """The samples in the file at `path`, for the model of `recipe`; E0636 where it has none.

    `known` is what `inputs_beside` found, `fitted` what the preprocessing has learned.
    """
    source = recipe.data
    if source is None and not known:
        raise TrainError("E0603", "the recipe has no `data` that says what a sample is", recipe.places.block)
    shape = _shape(source, known)
    if path.suffix == ".npy":
        return Samples(_array(path, shape), rows=True)
    if _kind(source, known) == "image":
        return Samples(_image(path, shape), rows=False)
    read = getattr(source, "inputs", None)
    if read is not None:
        if fitted is None:
            message = "what was learned of the training part's columns is not beside the weights"
            raise TrainError(
                "E0636", message, helps=["name the folder of the run, or weights that lie in it"]
            )
        return Samples(read(path, [Path.cwd()], fitted), rows=True)
    if isinstance(source, Text):
        return Samples(_texts(source, path, recipe, fitted), rows=True)
    if _kind(source, known) == "numbers" and len(shape) == 1:
        return Samples(_numbers(path, shape[0]), rows=True)
    takes = "×".join("?" if size is None else str(size) for size in shape)
    message = f"samples of {takes} are not read from `{path}`"
    raise TrainError("E0636", message, helps=["an array of samples, saved by numpy as `.npy`, is taken"])


def _shape(source: Source | None, known: Mapping[str, Any]) -> tuple[int | None, ...]:
    """Of a sample: what the run saw where it is written down, else what the source says."""
    declared = known.get("shape")
    return tuple(declared) if declared is not None else source.sample().input.shape if source else ()


def _kind(source: Source | None, known: Mapping[str, Any]) -> str:
    return known.get("kind") or (source.sample().input.kind if source else "numbers")


def _image(path: Path, shape: tuple[int | None, ...]) -> Tensor:
    channels, height, width = shape
    size = (height, width) if height is not None and width is not None else image_size(path)
    return read_image(path, channels or 3, size, "E0636").unsqueeze(0)


def _array(path: Path, shape: tuple[int | None, ...]) -> Tensor:
    import numpy

    try:
        found = torch.from_numpy(numpy.load(path, allow_pickle=False))
    except (OSError, ValueError, TypeError) as problem:
        raise TrainError("E0636", f"`{path}` cannot be read: {problem}") from problem
    own = tuple(found.shape[1:])
    if len(own) != len(shape) or any(b not in (None, a) for a, b in zip(own, shape, strict=False)):
        message = f"`{path}` holds {list(found.shape)}, and samples are {list(shape)}"
        raise TrainError("E0636", message, helps=["the first axis counts the samples"])
    return found.float() if found.dtype == torch.float64 else found


def _texts(source: Text, path: Path, recipe: Recipe, fitted: Mapping[str, Any] | None) -> Tensor:
    """Each line of the file: all of it, or the column `text` of a table."""
    import numpy

    tokens = fitted["tokens"] if fitted else None
    if fitted is None and not source.learns:
        tokens = declared_tokens(source.vocabulary, [f for f in (recipe.folder, Path.cwd()) if f])
    if tokens is None and not isinstance(source.vocabulary, int):
        raise TrainError("E0636", "the vocabulary that was learned is not beside the weights")
    numbers = source.vocabulary if tokens is None else {token: i for i, token in enumerate(tokens)}
    assert isinstance(numbers, (int, dict))
    lines = [
        (f"line {number} of `{path}`", row[source.text] if len(row) > source.text else row[-1])
        for number, row in (_lines(path) if path.suffix == ".txt" else source.rows(path))
    ]
    return source.split(lines, numpy.zeros(len(lines), dtype=numpy.int64), numbers).x


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    text = _text(path)
    return [(number, [line]) for number, line in enumerate(text.splitlines(), 1) if line.strip()]


def _numbers(path: Path, width: int | None) -> Tensor:
    """Rows of numbers between commas, tabs or semicolons; a first row of names is passed over."""
    text = _text(path)
    first = text.partition("\n")[0]
    delimiter = next((d for d in "\t;," if d in first), ",")
    rows: list[list[float]] = []
    for number, row in enumerate(csv.reader(text.splitlines(), delimiter=delimiter), 1):
        if not row or (number == 1 and not any(map(_is_number, row))):
            continue
        wrong = next((cell for cell in row if not _is_number(cell)), None)
        if wrong is not None or len(row) != (width or len(row)):
            what = (
                f"`{wrong}`, which is no number" if wrong is not None else f"{len(row)} numbers, not {width}"
            )
            raise TrainError("E0636", f"line {number} of `{path}` has {what}")
        rows.append([float(cell) for cell in row])
    if not rows:
        raise TrainError("E0636", f"`{path}` has no rows")
    return torch.tensor(rows)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as problem:
        raise TrainError("E0636", f"`{path}` is not UTF-8 text (byte {problem.start})") from problem
    except OSError as problem:
        reason = (problem.strerror or str(problem)).lower()
        raise TrainError("E0636", f"`{path}` cannot be read: {reason}") from problem
