"""Files that a model has not learned from, as samples: each kind of source says what its files become."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from netdsl.train.data.bundled import Bundled
from netdsl.train.data.sequence import Sequence as Series
from netdsl.train.data.table import Table
from netdsl.train.data.text import Text
from netdsl.train.data.tokens import Tokens
from netdsl.train.errors import TrainError
from netdsl.train.foreign.arrays import ENDINGS, array_samples
from netdsl.train.foreign.base import Known, Samples, inputs_beside, known_of
from netdsl.train.foreign.files import found_files
from netdsl.train.foreign.images import image_samples
from netdsl.train.foreign.rows import bundled_samples, number_samples, table_samples
from netdsl.train.foreign.texts import text_samples
from netdsl.train.recipe import Recipe

__all__ = [
    "Known",
    "Samples",
    "found_files",
    "inputs_beside",
    "is_continued",
    "known_of",
    "read_samples",
]


def is_continued(known: Known, path: Path) -> bool:
    """Whether what is asked of a file is how it goes on: it is a series, or a long text."""
    if isinstance(known.source, Tokens):
        return True
    return isinstance(known.source, Series) and path.suffix.lower() not in ENDINGS


def read_samples(path: Path, known: Known, recipe: Recipe, folders: Sequence[Path]) -> Samples:
    """The samples in the file at `path`, for the model of `recipe`; E0636 where it has none."""
    source = known.source
    if path.suffix.lower() in ENDINGS:
        return array_samples(path, known)
    if known.kind == "image":
        return image_samples(path, known, recipe)
    if isinstance(source, Table):
        return table_samples(path, source, known)
    if isinstance(source, Text):
        return text_samples(path, source, known, folders)
    if isinstance(source, Bundled):
        return bundled_samples(path, source, known)
    if known.kind == "numbers" and len(known.shape) == 1:
        return number_samples(path, known.shape[0])
    takes = "×".join("?" if size is None else str(size) for size in known.shape)
    message = f"samples of {takes} are not read from `{path}`"
    raise TrainError("E0636", message, helps=["an array of samples, saved by numpy as `.npy`, is taken"])
