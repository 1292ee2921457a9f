"""Where brackets and comments stand in the text of a tree, for the formatter to keep what it can of them."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

from netdsl.source import Source, Span
from netdsl.syntax.tokens import CLOSERS, PARTNERS, scan
from netdsl.syntax.tree import Comment

_REST_IS_BLANK = re.compile(r"[ \t\r]*[#\n]")


class Places:
    """The brackets of one source, and those of its comments that have no place in the result yet.

    A tree that was not read from a text has an empty one; then nothing is known, and nothing asked is there.
    """

    def __init__(self, source: Source, comments: Iterable[Comment]) -> None:
        self.text = source.text
        self.source = source
        self.comments = sorted(comments, key=lambda comment: comment.span.start)
        self._starts = [comment.span.start for comment in self.comments]
        self._free = [True] * len(self.comments)
        self._openers: dict[str, list[int]] = {kind: [] for kind in PARTNERS}
        self._closers: dict[int, int] = {}
        self._match_brackets()

    def _match_brackets(self) -> None:
        opened: list[int] = []
        for token in scan(self.text)[0]:
            if token.kind in PARTNERS:
                self._openers[token.kind].append(token.start)
                opened.append(token.start)
            elif token.kind in CLOSERS and opened:
                self._closers[opened.pop()] = token.start

    def opener(self, kind: str, start: int) -> int | None:
        """The first opening bracket of a kind at or behind an offset."""
        offsets = self._openers[kind]
        at = bisect_left(offsets, start)
        return offsets[at] if at < len(offsets) else None

    def closer(self, opener: int | None) -> int | None:
        """Where the bracket that opens at an offset is closed."""
        return None if opener is None else self._closers.get(opener)

    def covers(self, span: Span) -> bool:
        """Whether a span is of this text, and not made up."""
        return span.source is self.source and span.end > span.start

    def line(self, offset: int) -> int:
        return bisect_right(self.source.line_starts, offset)

    def column(self, offset: int) -> int:
        return offset - self.source.line_starts[self.line(offset) - 1]

    def breaks_after(self, offset: int) -> bool:
        """Whether nothing but blanks or a comment follows on the line of a bracket."""
        return _REST_IS_BLANK.match(self.text, offset + 1) is not None

    def has_break(self, start: int, end: int) -> bool:
        return "\n" in self.text[start:end]

    def take(self, start: int, end: int) -> list[Comment]:
        """The comments between two offsets that nobody has taken before."""
        return [self.comments[index] for index in self._taken(start, end)]

    def _taken(self, start: int, end: int) -> Iterator[int]:
        for index in range(bisect_left(self._starts, start), bisect_left(self._starts, end)):
            if self._free[index]:
                self._free[index] = False
                yield index

    def take_behind(self, end: int) -> Comment | None:
        """The comment that follows an offset on its line, with nothing but blanks between."""
        at = bisect_left(self._starts, end)
        if at == len(self.comments) or not self._free[at]:
            return None
        comment = self.comments[at]
        if self.text[end : comment.span.start].strip(" \t"):
            return None
        self._free[at] = False
        return comment
