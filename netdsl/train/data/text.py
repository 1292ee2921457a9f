"""Texts with a label each, for classification."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from netdsl.diagnostics.suggest import did_you_mean
from netdsl.train.component import as_tuple, listed
from netdsl.train.data.base import Data, Input, Sample, Split, Target
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

Files = str | Annotated[tuple[str, ...], BeforeValidator(as_tuple), Field(min_length=1)]
Classes = (
    Annotated[int, Field(ge=2)] | Annotated[tuple[str, ...], BeforeValidator(as_tuple), Field(min_length=2)]
)
Column = Annotated[int, Field(ge=0)]


class Text(Divided):
    """Lines of a label and a text, in `files` with columns between tabs or commas, packed by gzip or not.

    `tokens` says what a text is made of: `words`, in lower case and without punctuation, `characters`, or `ids`, whole
    numbers between blanks. `vocabulary` is a list of tokens in the order of their numbers, a file with one a line, or
    how many there are: of ids, or of the most frequent tokens of the training part, after number 0 for padding and 1
    for what is unknown. A text has `length` tokens afterwards: the first or last of a longer one are kept, and a
    shorter one is filled with `pad` on the side `padding`. `unknown` is the number of tokens that are not in the
    vocabulary; without it they are an error.
    """

    files: Files
    length: int = Field(ge=1)
    vocabulary: Declared | None = None
    tokens: Unit = "words"
    classes: Classes | None = None
    padding: Literal["left", "right"] = "right"
    keep: Literal["first", "last"] = "first"
    pad: int = Field(0, ge=0)
    unknown: Annotated[int, Field(ge=0)] | None = None
    test: Files | None = None
    label: Column = 0
    text: Column = 1
    header: bool = False
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None

    @model_validator(mode="after")
    def _goes_together(self) -> Text:
        if self.tokens == "ids" and not isinstance(self.vocabulary, int):
            raise ValueError("of `ids`, `vocabulary` is how many there are")
        if self.learns and (self.pad, self.unknown or 1) != (0, 1):
            raise ValueError(
                "a vocabulary of the most frequent tokens has 0 for padding and 1 for what is unknown"
            )
        for name, number in (("pad", self.pad), ("unknown", self.unknown)):
            if self.below is not None and number is not None and number >= self.below:
                raise ValueError(f"`{name}` is {number}, and there are {self.below} tokens")
        return self

    @property
    def learns(self) -> bool:
        """Whether the vocabulary is that of the training part."""
        return self.tokens != "ids" and (self.vocabulary is None or isinstance(self.vocabulary, int))

    @property
    def below(self) -> int | None:
        """How many tokens there are, where that is known without reading."""
        return len(self.vocabulary) if isinstance(self.vocabulary, tuple) else _whole(self.vocabulary)

    @property
    def has_test(self) -> bool:
        return self.test is not None

    def sample(self) -> Sample:
        names = self.classes if isinstance(self.classes, tuple) else ()
        return Sample(
            Input((self.length,), "ids", self.below),
            Target("classes", names=names, count=_whole(self.classes)),
        )

    def divided(self, folders: Sequence[Path], divide: Divide | None, fitted: Fitted | None) -> Data:
        import numpy

        labels, texts = self.read(self.files, folders)
        names = self.names(labels, fitted)
        y = self.numbers_of_labels(labels, names)
        if divide is not None:
            train, valid = divide(Samples(len(texts), y))
            held = [texts[i] for i in valid], y[valid]
        elif self.test is not None:
            train = numpy.arange(len(texts))
            other, held_texts = self.read(self.test, folders)
            held = held_texts, self.numbers_of_labels(other, names)
        else:
            raise undivided(self.kind)
        learned = [texts[i] for i in train]
        tokens = fitted["tokens"] if fitted else self.vocabulary_of(learned, folders)
        numbers = self.vocabulary if tokens is None else {token: i for i, token in enumerate(tokens)}
        assert isinstance(numbers, (int, dict))
        parts = [self.split(part, classes, numbers) for part, classes in ((learned, y[train]), held)]
        return Data(parts[0], parts[1], len(names), names, {"tokens": tokens, "classes": names})

    def vocabulary_of(
        self, texts: Sequence[tuple[str, str]], folders: Sequence[Path]
    ) -> tuple[str, ...] | None:
        """The tokens in the order of their numbers; None for ids."""
        if not self.learns:
            return declared_tokens(self.vocabulary, folders)
        return learned_tokens((tokens_of(text, self.tokens) for _, text in texts), _whole(self.vocabulary))

    def split(
        self, texts: Sequence[tuple[str, str]], classes: NDArray[Any], numbers: dict[str, int] | int
    ) -> Split:
        """Texts, each with where it stands, as ids [N, length] with their classes."""
        import numpy
        import torch

        unknown = 1 if self.learns else self.unknown
        x = numpy.full((len(texts), self.length), self.pad, dtype=numpy.int64)
        for row, (where, text) in zip(x, texts, strict=True):
            ids = numbers_of(tokens_of(text, self.tokens), numbers, unknown, where)
            ids = ids[: self.length] if self.keep == "first" else ids[max(0, len(ids) - self.length) :]
            start = self.length - len(ids) if self.padding == "left" else 0
            row[start : start + len(ids)] = ids
        return Split(torch.from_numpy(x), torch.from_numpy(classes))

    def read(
        self, files: Files, folders: Sequence[Path]
    ) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """Labels and texts, each with where it stands; E0664 for what is no such file or line."""
        labels: list[tuple[str, str]] = []
        texts: list[tuple[str, str]] = []
        for name in (files,) if isinstance(files, str) else files:
            path = found_file(name, folders)
            for number, row in self.rows(path):
                where = f"line {number} of `{path}`"
                if len(row) <= max(self.label, self.text):
                    raise self._too_few(where, row)
                labels.append((where, row[self.label].strip()))
                texts.append((where, row[self.text]))
            if not texts:
                helps = ["a line is a label, a tab and a text"]
                raise TrainError("E0664", f"`{path}` has no lines", helps=helps)
        return labels, texts

    def rows(self, path: Path) -> Iterator[tuple[int, list[str]]]:
        """The lines of a file that are not empty, in columns, with their numbers."""
        csv.field_size_limit(2**31 - 1)
        try:
            with (
                gzip.open(path, "rt", encoding="utf-8-sig", newline="")
                if path.suffix == ".gz"
                else path.open(encoding="utf-8-sig", newline="") as file
            ):
                delimiter = self.delimiter or ("\t" if "\t" in file.readline() else ",")
                file.seek(0)
                quoting = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
                reader = csv.reader(file, delimiter=delimiter, quoting=quoting, strict=True)
                for row in reader:
                    if any(map(str.strip, row)) and not (self.header and reader.line_num == 1):
                        yield reader.line_num, row
        except UnicodeDecodeError as problem:
            message = f"`{path}` is not UTF-8 text (byte {problem.start})"
            raise TrainError("E0664", message, helps=["save it as UTF-8"]) from problem
        except (OSError, EOFError, csv.Error) as problem:
            reason = (getattr(problem, "strerror", None) or str(problem)).lower()
            helps = ["get the file again: it is cut off or damaged"]
            raise TrainError("E0664", f"`{path}` cannot be read: {reason}", helps=helps) from problem

    def names(self, labels: Sequence[tuple[str, str]], fitted: Fitted | None) -> tuple[str, ...]:
        """The classes in the order of their numbers."""
        if fitted:
            return tuple(fitted["classes"])
        if isinstance(self.classes, int):
            return tuple(str(number) for number in range(self.classes))
        found = {label for _, label in labels}
        if len(found) < 2 and not self.classes:
            message = f"all {len(labels)} texts have the label `{labels[0][1]}`"
            helps = [
                "`label` is the column of the labels, counted from 0, and `classes` lists those there are"
            ]
            raise TrainError("E0664", message, argument="label", helps=helps)
        whole = all(label.isdecimal() for label in found)
        return self.classes or tuple(sorted(found, key=lambda label: (int(label) if whole else 0, label)))

    def numbers_of_labels(self, labels: Sequence[tuple[str, str]], names: Sequence[str]) -> NDArray[Any]:
        import numpy

        numbers = {name: number for number, name in enumerate(names)}
        for where, label in labels:
            if label not in numbers:
                message = f"{where}: the label `{label}` is none of the classes {listed(names[:20])}"
                helps = [*did_you_mean(label, names), "list every label in `classes`"]
                raise TrainError("E0664", message, argument="classes", helps=helps)
        return numpy.array([numbers[label] for _, label in labels], dtype=numpy.int64)

    def _too_few(self, where: str, row: Sequence[str]) -> TrainError:
        columns = f"{len(row)} column{'s' * (len(row) != 1)}"
        message = f"{where} has {columns}, and `label` is column {self.label}, `text` column {self.text}"
        return TrainError(
            "E0664", message, helps=["columns are counted from 0; `delimiter` is what stands between them"]
        )


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None
