"""One long text, for language modelling: the target of each token is the next one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, model_validator

from netdsl.train.data.base import Data, Input, Sample, Target
from netdsl.train.data.divided import Divide, Divided, Fitted, undivided
from netdsl.train.data.division import Samples
from netdsl.train.data.places import found_file
from netdsl.train.data.vocabulary import (
    Declared,
    Unit,
    declared_tokens,
    learned_tokens,
    numbers_of,
    tokens_of,
)
from netdsl.train.errors import TrainError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from netdsl.train.data.unread import Unread


class Tokens(Divided):
    """Windows of `length` tokens of a file, which begin every `stride` tokens; targets are the tokens that follow each.

    The file is text, or ids as numpy saves them (`.npy`), which are not read into memory where they would not fit.
    `tokens` and `vocabulary` are as for `Text`; a vocabulary that is not given is that of the whole file. The last
    windows are held out, or `test` is another file.
    """

    file: str
    length: int = Field(ge=1)
    vocabulary: Declared | None = None
    tokens: Unit = "characters"
    stride: Annotated[int, Field(ge=1)] | None = None
    unknown: Annotated[int, Field(ge=0)] | None = None
    test: str | None = None

    @model_validator(mode="after")
    def _ids_are_counted(self) -> Tokens:
        if (self.tokens == "ids" or self.file.endswith(".npy")) and not isinstance(self.vocabulary, int):
            raise ValueError("of `ids`, `vocabulary` is how many there are")
        return self

    @property
    def has_test(self) -> bool:
        return self.test is not None

    def sample(self) -> Sample:
        below = len(self.vocabulary) if isinstance(self.vocabulary, tuple) else None
        below = self.vocabulary if isinstance(self.vocabulary, int) else below
        return Sample(Input((self.length,), "ids", below), Target("classes", (self.length,), count=below))

    def divided(self, folders: Sequence[Path], divide: Divide | None, fitted: Fitted | None) -> Data:
        path = found_file(self.file, folders)
        tokens = fitted["tokens"] if fitted else self.vocabulary_of(path, folders)
        train = self.windows(path, tokens)
        if divide is not None:
            rows, held = divide(Samples(len(train), in_time=True))
            step, last = self.stride or self.length, int(rows[-1])
            apart = [row for row in held if (row - last) * step >= self.length or len(held) == len(rows)]
            train, valid = train.rows(rows), train.rows(apart or held)
        elif self.test is not None:
            valid = self.windows(found_file(self.test, folders), tokens)
        else:
            raise undivided(self.kind)
        count = len(tokens) if tokens else self.sample().input.below
        return Data(train, valid, count, fitted={"tokens": tokens})

    def windows(self, path: Path, tokens: Sequence[str] | None) -> Unread:
        from netdsl.train.data.token_reader import WindowReader
        from netdsl.train.data.unread import Unread

        numbers = self.vocabulary if tokens is None else {token: i for i, token in enumerate(tokens)}
        assert isinstance(numbers, (int, dict))
        ids = None if path.suffix == ".npy" else self.ids(path, numbers)
        below = numbers if isinstance(numbers, int) else len(numbers)
        return Unread(WindowReader(path, ids, self.length, self.stride or self.length, below))

    def ids(self, path: Path, numbers: dict[str, int] | int) -> NDArray[Any]:
        return numbers_of(tokens_of(_text(path), self.tokens), numbers, self.unknown, f"`{path}`")

    def vocabulary_of(self, path: Path, folders: Sequence[Path]) -> tuple[str, ...] | None:
        """The tokens in the order of their numbers; None for ids."""
        if self.tokens == "ids" or path.suffix == ".npy":
            return None
        declared = declared_tokens(self.vocabulary, folders)
        if declared is not None:
            return declared
        most = self.vocabulary if isinstance(self.vocabulary, int) else None
        found = learned_tokens([tokens_of(_text(path), self.tokens)], most, special=False)
        return tuple(sorted(found)) if self.tokens == "characters" else found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as problem:
        message = f"`{path}` is not UTF-8 text (byte {problem.start})"
        raise TrainError("E0664", message, helps=["save it as UTF-8"]) from problem
    except OSError as problem:
        message = f"`{path}` cannot be read: {(problem.strerror or '').lower()}"
        raise TrainError("E0664", message, helps=["look whether it may be read"]) from problem
