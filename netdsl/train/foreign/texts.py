"""Lines of texts as samples, through the vocabulary of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from netdsl.train.data.text import Text
from netdsl.train.data.vocabulary import declared_tokens
from netdsl.train.errors import TrainError
from netdsl.train.foreign.base import Known, Samples, learned, of_tensor, text_of, unreadable, with_helps

IDS = "the model has learned from ids, whole numbers between blanks, so texts are numbered as those were"
OUTSIDE = "the model has learned nothing of it: leave it out"


def text_samples(path: Path, source: Text, known: Known, folders: Sequence[Path]) -> Samples:
    """Each line of a file: all of it in a `.txt`, else the column of the text, or the only one there is."""
    import numpy

    numbers = vocabulary(source, known, folders)
    text_of(path)  # whose problems are said better than those of columns
    plain = [ending.lower() for ending in path.suffixes if ending.lower() != ".gz"][-1:] == [".txt"]
    lines = _plain(path) if plain else list(source.rows(path))
    if not lines:
        raise unreadable(path, "has no lines", "a line is a text")
    texts = [(f"line {number} of `{path}`", _text(path, number, row, source)) for number, row in lines]
    try:
        return of_tensor(path, source.split(texts, numpy.zeros(len(texts), dtype=numpy.int64), numbers).x)
    except TrainError as problem:
        ids = source.tokens == "ids" and "is no id" in problem.diagnostic.message
        raise with_helps(problem, [IDS if ids else OUTSIDE]) from problem


def vocabulary(source: Text, known: Known, folders: Sequence[Path]) -> dict[str, int] | int:
    """The number of each token, or how many ids there are."""
    if source.learns or known.fitted is not None:
        tokens = learned(known)["tokens"]
    else:
        tokens = declared_tokens(source.vocabulary, folders)
    if tokens is None:
        assert isinstance(source.vocabulary, int)
        return source.vocabulary
    return {token: number for number, token in enumerate(tokens)}


def _plain(path: Path) -> list[tuple[int, list[str]]]:
    """The lines of a text that say something."""
    return [(number, [line]) for number, line in enumerate(text_of(path).splitlines(), 1) if line.strip()]


def _text(path: Path, number: int, row: Sequence[str], source: Text) -> str:
    """The text of a line, which need not have a label."""
    if len(row) == 1:
        return row[0]
    if len(row) > source.text:
        return row[source.text]
    message = f"line {number} of `{path}` has {len(row)} columns, and the text is column {source.text}"
    raise TrainError("E0636", message, helps=["columns are counted from 0; a `.txt` has a text a line"])
