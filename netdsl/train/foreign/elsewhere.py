"""Data of the same form at another place: what a model has learned from files is measured on others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from netdsl.train.data import Arrays, ImageFolder, Source, Table, Text, Tokens
from netdsl.train.data import Sequence as Series
from netdsl.train.errors import TrainError
from netdsl.train.recipe import Recipe


def elsewhere(recipe: Recipe, path: Path) -> Source:
    """The source of `recipe`, which reads `path` instead, all of it. E0620 for one that reads no file or folder."""
    source = recipe.data
    if isinstance(source, Series):
        return source.model_copy(update={"table": _moved(source.table, path)})
    if isinstance(source, Table | Text | Tokens | Arrays | ImageFolder):
        return _moved(source, path)
    name = source.kind if source else "the recipe's data"
    raise TrainError(
        "E0620",
        f"`{name}` is not read from one file or folder, so `{path}` cannot stand in for it",
        helps=[f"describe the data, for example `--data 'ImageFolder(\"{path.name}\")'`"],
    )


def _moved(source: Any, path: Path) -> Any:
    """Without the test part that the other place had."""
    if isinstance(source, ImageFolder):
        return source.model_copy(update={"root": str(path), "train": None, "valid": None})
    name = {Text: "files", Tokens: "file"}.get(type(source), "path")
    without = {"test": False} if isinstance(source, Arrays) else {"test": None}
    return source.model_copy(update={name: str(path), **without})
