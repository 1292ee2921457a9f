"""Which number a token has: what a text becomes before a model gets it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from netdsl.train.component import as_tuple
from netdsl.train.data.places import found_file
from netdsl.train.errors import TrainError

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

Unit: TypeAlias = Literal["ids", "words", "characters"]
Tokens = Annotated[tuple[str, ...], BeforeValidator(as_tuple), Field(min_length=2)]
Declared: TypeAlias = Annotated[int, Field(ge=2)] | str | Tokens
PADDING, UNKNOWN = "<pad>", "<unknown>"
WORD = re.compile(r"\w+(?:['\u2019]\w+)*")


def tokens_of(text: str, unit: Unit) -> Sequence[str]:
    """The tokens of a text: characters as they are, words in lower case without punctuation, ids between blanks.

    >>> list(tokens_of("It's so. good", "words"))
    ["it's", 'so', 'good']
    """
    if unit == "characters":
        return text
    return text.split() if unit == "ids" else WORD.findall(text.lower())


def declared_tokens(vocabulary: Declared | None, folders: Sequence[Path]) -> tuple[str, ...] | None:
    """The tokens in the order of their numbers, where they are listed, here or one a line in a file."""
    if not isinstance(vocabulary, str):
        return vocabulary if isinstance(vocabulary, tuple) else None
    path = found_file(vocabulary, folders)
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as problem:
        message = f"`{path}` is not UTF-8 text (byte {problem.start})"
        raise TrainError("E0664", message, helps=["save it as UTF-8"]) from problem
    tokens = tuple(line.removesuffix("\r") for line in (lines[:-1] if lines[-1] == "" else lines))
    twice = [token for token, count in Counter(tokens).items() if count > 1]
    if twice:
        helps = ["a token stands on one line: its number is that of the line"]
        message = f"`{path}` has the token `{twice[0]}` more than once"
        raise TrainError("E0665", message, argument="vocabulary", helps=helps)
    return tokens


def learned_tokens(
    texts: Iterable[Sequence[str]], most: int | None, *, special: bool = True
) -> tuple[str, ...]:
    """The most frequent tokens, those as frequent in the order of their characters; `special` puts those for padding
    and for what is unknown first. With `most`, so many in all.

    >>> learned_tokens([["b", "a", "b"]], 4)
    ('<pad>', '<unknown>', 'b', 'a')
    """
    counts = Counter(token for tokens in texts for token in tokens)
    order = sorted(counts, key=lambda token: (-counts[token], token))
    first = (PADDING, UNKNOWN) if special else ()
    return (*first, *order)[:most]


def numbers_of(
    tokens: Sequence[str], numbers: dict[str, int] | int, unknown: int | None, where: str
) -> NDArray[numpy.int64]:
    """The number of each token by `numbers`, or, for ids, the token itself, below that many.

    What is not among them is `unknown`; E0665 where that is None.
    """
    import numpy

    if isinstance(numbers, int):
        try:
            ids = numpy.array(tokens, dtype=numpy.int64)
        except (ValueError, OverflowError) as problem:
            wrong = next((t for t in tokens if not t.lstrip("-").isdecimal()), tokens[0])
            helps = ['for words say `tokens = "words"`, for characters `tokens = "characters"`']
            message = f"{where}: `{wrong}` is no id, a whole number"
            raise TrainError("E0665", message, argument="tokens", helps=helps) from problem
        outside = (ids < 0) | (ids >= numbers)
        if outside.any() and unknown is None:
            wrong = int(ids[outside][0])
            raise TrainError(
                "E0665",
                f"{where}: the id {wrong} is not from 0 to {numbers - 1}",
                helps=["`vocabulary` is how many ids there are; `unknown` is the id that stands for others"],
            )
        return numpy.where(outside, unknown or 0, ids)
    missing = -1 if unknown is None else unknown
    ids = numpy.fromiter((numbers.get(token, missing) for token in tokens), numpy.int64, len(tokens))
    if unknown is None and (ids < 0).any():
        wrong = tokens[int((ids < 0).argmax())]
        raise TrainError(
            "E0665",
            f"{where}: the token `{wrong}` is not in the vocabulary",
            helps=["`unknown` is the number that stands for such tokens, as `unknown = 1`"],
        )
    return ids
