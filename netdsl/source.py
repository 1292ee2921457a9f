"""Text with a path, and places in it as offsets. Line and column are computed on demand, never stored."""

from __future__ import annotations

from bisect import bisect_right
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple


class Source:
    """One file's text. Two sources are the same when they are the same object.

    >>> source = Source("a = 1\\nb = 2\\n", "x.net")
    >>> source.position(6)
    (2, 1)
    """

    def __init__(self, text: str, path: str = "<text>") -> None:
        self.text = text
        self.path = path

    @staticmethod
    def read(path: str | Path) -> Source:
        """The file at `path`, which must be UTF-8 (a byte-order mark is dropped)."""
        return Source(Path(path).read_text(encoding="utf-8-sig"), str(path))

    @cached_property
    def line_starts(self) -> list[int]:
        ends = accumulate(len(line) + 1 for line in self.text.split("\n"))
        return [0, *ends][:-1]

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column of an offset, both counted from 1."""
        line = bisect_right(self.line_starts, offset)
        return line, offset - self.line_starts[line - 1] + 1

    def line(self, number: int) -> str:
        """The text of line `number` (from 1), without its newline."""
        start = self.line_starts[number - 1]
        end = self.line_starts[number] if number < len(self.line_starts) else len(self.text)
        return self.text[start:end].rstrip("\r\n")

    def __repr__(self) -> str:
        return f"Source({self.path!r})"


class Span(NamedTuple):
    """The characters from `start` up to, not including, `end` of one source."""

    source: Source
    start: int
    end: int

    @property
    def text(self) -> str:
        return self.source.text[self.start : self.end]

    def to(self, other: Span) -> Span:
        """From the start of this span to the end of `other`."""
        return Span(self.source, self.start, max(self.end, other.end))

    def __str__(self) -> str:
        line, column = self.source.position(self.start)
        return f"{self.source.path}:{line}:{column}"
