"""What is known of the samples that a model has learned from, and what a file holds for it."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from torch import Tensor

from netdsl.train.checkpoint import PREPROCESSING, preprocessing_beside
from netdsl.train.data import Source
from netdsl.train.errors import TrainError
from netdsl.train.recipe import Recipe
from netdsl.train.runs import INPUTS


@dataclass(frozen=True)
class Known:
    """What a sample is: of the `source`, as far as there is one, and of what a run has written down.

    `kind` and `shape` are as for `Input`; `fitted` is what preprocessing has learned, and `classes` are their names,
    where only the run tells.
    """

    source: Source | None
    kind: str
    shape: tuple[int | None, ...]
    fitted: Mapping[str, Any] | None = None
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Samples:
    """The `count` samples of a file, as the source of a recipe would give them; `read` gives them as [count, ...].

    `rows` says that the file is a list of samples. Of an image, `size` is its height and width in the file.
    """

    path: Path
    count: int
    read: Callable[[], Tensor]
    rows: bool = True
    size: tuple[int, int] | None = None


def of_tensor(path: Path, x: Tensor) -> Samples:
    """Samples that have been read."""
    return Samples(path, len(x), lambda: x)


def inputs_beside(weights: str | Path | None) -> Mapping[str, Any]:
    """What a run has written down of its inputs, beside its `weights`; nothing where they are of no run."""
    path = Path(weights or "").parent / INPUTS
    if weights is None or not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("it is no description of inputs")
    except (OSError, ValueError) as problem:
        raise TrainError("E0639", f"`{path}` cannot be read: {problem}") from problem
    return found


def known_of(recipe: Recipe, weights: str | Path | None) -> Known:
    """What is known of the samples of `recipe`, and by the run that wrote `weights`; E0603 where nothing is."""
    source, told = recipe.data, inputs_beside(weights)
    if source is None and not told.get("shape"):
        raise TrainError("E0603", "the recipe has no `data` that says what a sample is", recipe.places.block)
    if source is not None and told.get("source") != source.described():
        told = {}  # they are of other data
    fitted = preprocessing_beside(weights) if weights is not None else None
    classes = told.get("classes")
    names = tuple(map(str, classes)) if isinstance(classes, list) else ()
    if told.get("shape"):
        return Known(source, str(told.get("kind")), tuple(told["shape"]), fitted, names)
    assert source is not None
    sample = source.sample()
    return Known(source, sample.input.kind, sample.input.shape, fitted, names or sample.target.names)


def learned(known: Known) -> Mapping[str, Any]:
    """What preprocessing has learned; E0636 where it is not there."""
    if known.fitted is None:
        message = f"what was learned of the training part is not beside the weights, as `{PREPROCESSING}`"
        helps = ["name the folder of the run, or weights that lie in it"]
        raise TrainError("E0636", message, helps=helps)
    return known.fitted


def unreadable(path: Path, reason: object, *helps: str) -> TrainError:
    return TrainError("E0636", f"`{path}` {reason}", helps=helps)


def with_helps(problem: TrainError, helps: Sequence[str]) -> TrainError:
    """The same problem with other advice: what helps in training does not help with a model that is trained."""
    found = problem.diagnostic
    return TrainError(found.code, found.message, None, found.notes, helps)


def text_of(path: Path) -> str:
    """The text in the file at `path`, packed or not; E0636 where it is none."""
    from netdsl.train.data.packed import unpacked

    try:
        opened, _ = unpacked(path)
        with opened() as file:
            text = file.read().decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise unreadable(path, f"is not UTF-8 text (byte {problem.start})", "save it as UTF-8") from problem
    except (OSError, EOFError, LZMAError, zlib.error, BadZipFile) as problem:
        reason = (getattr(problem, "strerror", None) or str(problem)).lower()
        helps = "look whether it may be read, and whether it is whole"
        raise unreadable(path, f"cannot be read: {reason}", helps) from problem
    if "\0" in text:
        raise unreadable(
            path, f"is no text: character {text.index(chr(0)) + 1} is a zero", "name a file of plain text"
        )
    return text
