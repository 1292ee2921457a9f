"""Lines of a source with marks under them: what stands between the header of a diagnostic and its notes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from netdsl.diagnostics.model import Label
from netdsl.diagnostics.terminal import ELLIPSIS, Row, paint, printable, shown, width
from netdsl.source import Source, Span

INTERIOR = 3  # a span of several lines is shown whole when no more than this many lie inside it


@dataclass(frozen=True, slots=True)
class Mark:
    """A label as lines and columns (in characters, from 0). `depth` is its place in the left margin."""

    first: int
    last: int
    start: int
    end: int
    text: str
    style: str
    symbol: str
    depth: int = -1

    @property
    def is_long(self) -> bool:
        return self.last > self.first


@dataclass(frozen=True, slots=True)
class View:
    """The part of a line that is on the screen. `columns` maps its characters, and its end, to columns."""

    text: str
    low: int
    columns: tuple[int, ...]
    cut_left: bool
    cut_right: bool

    def column(self, character: int) -> int:
        """Where a character of the line stands; one that was cut off stands at the ellipsis."""
        if self.cut_left and character < self.low:
            return 0
        at = min(character - self.low, len(self.columns) - 1)
        return self.columns[at]


@dataclass(slots=True)
class Snippet:
    """All marks in one source, ready to be drawn. `gutter` is the width of the line numbers."""

    source: Source
    marks: list[Mark]
    gutter: int
    width: int
    colour: bool
    rows: list[str] = field(default_factory=list[str])
    started: set[Mark] = field(default_factory=set[Mark])

    @property
    def margin(self) -> int:
        """Columns kept free on the left for the spans of several lines."""
        depths = [mark.depth for mark in self.marks if mark.is_long]
        return max(depths) + 2 if depths else 0

    def draw(self) -> list[str]:
        """The rows, from the first marked line to the last."""
        lines = sorted(set(self._lines()))
        for line, after in pairwise([*lines, 0]):
            self._draw_line(line)
            if after > line + 1 and self.started:
                self._row("...", self._rails())
        return self.rows

    def _lines(self) -> Iterator[int]:
        for mark in self.marks:
            yield mark.first
            yield mark.last
            inside = range(mark.first + 1, mark.last)
            yield from inside if len(inside) <= INTERIOR else inside[:1]

    def _draw_line(self, line: int) -> None:
        short = [m for m in self.marks if not m.is_long and m.first == line]
        opening = [m for m in self.marks if m.is_long and m.first == line]
        closing = sorted((m for m in self.marks if m.is_long and m.last == line), key=lambda m: m.end)
        text = self.source.line(line)
        shown_part = self._view(text, [*short, *opening, *closing], line)
        row = Row()
        for mark in list(opening):
            if not text[: mark.start].strip():
                row.put(mark.depth, "/", mark.style)
                opening.remove(mark)
                self.started.add(mark)
        self._rails(row)
        row.put(self.margin, shown_part.text, "plain")
        self._row(str(line), row)
        for marks in self._mark_rows(short, shown_part):
            self._row("", marks)
        for mark in sorted(opening, key=lambda m: -m.start):
            self._corner(mark, shown_part.column(mark.start), "")
            self.started.add(mark)
        for mark in closing:
            self._corner(mark, shown_part.column(max(mark.end - 1, 0)), mark.text)
            self.started.discard(mark)

    def _view(self, text: str, marks: Sequence[Mark], line: int) -> View:
        room = self.width - self.gutter - 3 - self.margin
        starts = [m.start if m.first == line else m.end - 1 for m in marks] or [0]
        ends = [m.end if m.last == line else m.start + 1 for m in marks] or [0]
        label = max((width(m.text) + 1 for m in marks if m.text), default=0)
        return view(text, (max(min(starts), 0), max(ends)), max(room, 20), label)

    def _mark_rows(self, marks: list[Mark], part: View) -> Iterator[Row]:
        """The row of `^` and `-`, then the labels that hang from them, from right to left."""
        if not marks:
            return
        row = self._rails()
        for mark in sorted(marks, key=_over):
            start = self.margin + part.column(mark.start)
            end = self.margin + part.column(mark.end)
            row.repeat(start, max(end, start + 1), mark.symbol, mark.style)
        beside = _beside(marks)
        if beside is not None:
            row.put(max(row.cells) + 2, beside.text, beside.style)
        yield row
        hanging = sorted((m for m in marks if m.text and m is not beside), key=lambda m: (m.start, m.end))
        if hanging:
            yield self._hang(hanging, part)
        while hanging:
            mark = hanging.pop()
            row = self._hang([m for m in hanging if m.start < mark.start], part)
            row.put(self.margin + part.column(mark.start), mark.text, mark.style)
            yield row

    def _hang(self, marks: Sequence[Mark], part: View) -> Row:
        row = self._rails()
        for mark in marks:
            row.put(self.margin + part.column(mark.start), "|", mark.style)
        return row

    def _corner(self, mark: Mark, column: int, text: str) -> None:
        """The row that leads from the margin to the first or last character of a span of several lines."""
        row = self._rails()
        at = self.margin + column
        row.repeat(mark.depth + 1, at, "_", mark.style)
        row.put(at, mark.symbol, mark.style)
        if text:
            row.put(at + 2, text, mark.style)
        self._row("", row)

    def _rails(self, row: Row | None = None) -> Row:
        row = row or Row()
        for mark in self.started:
            if mark.depth not in row.cells:
                row.put(mark.depth, "|", mark.style)
        return row

    def _row(self, number: str, row: Row) -> None:
        side = f"{number:>{self.gutter}} |" if number != "..." else "...".ljust(self.gutter + 2)
        self.rows.append(f"{paint(side, 'gutter', self.colour)} {row.text(self.colour)}".rstrip(" "))


def view(text: str, focus: tuple[int, int], room: int, label: int = 0) -> View:
    """The part of `text` that fits into `room` columns, around `focus` and with space for `label` columns.

    >>> view("a" * 50 + "bb" + "c" * 50, (50, 52), 12).text
    '…aaaabbcccc…'
    """
    if len(text) <= 4 * room:
        whole = [shown(c) for c in text]
        if sum(map(width, whole)) <= room:
            return _placed(whole, 0, False, False)
    low = high = min(focus[0], len(text))
    left = room - min(label, room // 2) - 2
    steps = 4 * room  # characters without width must not make a line endless
    while steps and left > 0 and (low > 0 or high < len(text)):
        steps -= 1
        forward = high < len(text) and (high < focus[1] or low == 0 or high - focus[1] <= focus[0] - low)
        at = high if forward else low - 1
        left -= width(shown(text[at]))
        if left < 0:
            break
        low, high = (low, high + 1) if forward else (low - 1, high)
    return _placed([shown(c) for c in text[low:high]], low, low > 0, high < len(text))


def _placed(characters: Sequence[str], low: int, cut_left: bool, cut_right: bool) -> View:
    column = int(cut_left)
    columns = [column]
    for character in characters:
        column += width(character)
        columns.append(column)
    text = ELLIPSIS * cut_left + "".join(characters) + ELLIPSIS * cut_right
    return View(text, low, tuple(columns), cut_left, cut_right)


def _over(mark: Mark) -> tuple[int, bool]:
    """The order of drawing: short marks over long ones, so that both are seen, the primary over its equal."""
    return mark.start - mark.end, mark.symbol == "^"


def _beside(marks: Sequence[Mark]) -> Mark | None:
    """The mark whose text stands beside it: the one that reaches furthest to the right, if it has text."""
    furthest = max(marks, key=lambda m: (max(m.end, m.start + 1), m.symbol == "^", m.start))
    return furthest if furthest.text else None


def snippets(labels: Sequence[Label], style: str, columns: int, colour: bool) -> list[tuple[Span, Snippet]]:
    """The labels by source, that of the first label first; each with the span that its header names."""
    placed = [(label, _mark(label, style, index == 0)) for index, label in enumerate(labels)]
    gutter = max((len(str(mark.last)) for _, mark in placed), default=1)
    result: list[tuple[Span, Snippet]] = []
    for source in dict.fromkeys(label.span.source for label in labels):
        here = [(label, mark) for label, mark in placed if label.span.source is source]
        marks = _deepened([mark for _, mark in here])
        result.append((here[0][0].span, Snippet(source, marks, gutter, columns, colour)))
    return result


def _mark(label: Label, style: str, primary: bool) -> Mark:
    span = label.span
    source = span.source
    size = len(source.text)
    start, end = min(span.start, size), min(max(span.end, span.start), size)
    covered = source.text[start:end]
    if "\n" in covered:
        end = start + max(len(covered.rstrip()), covered.index("\n"))
    first, column = source.position(start)
    last, after = source.position(end)
    colour, symbol = (style, "^") if primary else ("secondary", "-")
    return Mark(first, last, column - 1, after - 1, printable(label.text), colour, symbol)


def _deepened(marks: Sequence[Mark]) -> list[Mark]:
    """The marks, those of several lines with their columns in the margin: outer ones to the left."""
    long = sorted((m for m in marks if m.is_long), key=lambda m: (m.first, -m.last, m.start))
    short = [m for m in marks if not m.is_long]
    return short + [replace(mark, depth=depth) for depth, mark in enumerate(long)]
