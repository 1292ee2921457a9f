"""Text with choices of where lines end, and the choosing: a pretty printer after Wadler, not recursive."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

WIDTH = 110


@dataclass(frozen=True, slots=True)
class Break:
    """The end of a line, or `flat` where its group stands on one line."""

    flat: str


@dataclass(frozen=True, slots=True)
class Fill:
    """A blank, or the end of a line where what follows up to the next break fits there and not here."""


@dataclass(frozen=True, slots=True)
class Suffix:
    """A comment at the end of the line, which stood at `column` of its source. A break must follow."""

    text: str
    column: int


@dataclass(frozen=True, slots=True)
class IfBroken:
    """Text that is there only where the breaks of its group are taken."""

    text: str


@dataclass(frozen=True, slots=True)
class Cat:
    """One document after the other."""

    parts: tuple[Document, ...]
    is_forced: bool


@dataclass(frozen=True, slots=True)
class Group:
    """Breaks that are taken together: where the group does not fit on one line, or one of them is forced."""

    content: Document
    is_forced: bool


@dataclass(frozen=True, slots=True)
class Hang:
    """Lines that begin within `content` start where the current line does."""

    content: Document
    is_forced: bool


@dataclass(frozen=True, slots=True)
class Nest:
    """Lines that begin within `content` start `by` columns further to the right."""

    by: int
    content: Document
    is_forced: bool


@dataclass(frozen=True, slots=True)
class Align:
    """Lines that begin within `content` start at its own first column."""

    content: Document
    is_forced: bool


Document: TypeAlias = str | Break | Fill | Suffix | IfBroken | Cat | Group | Hang | Nest | Align
SPACE = Break(" ")
NOTHING = Break("")
HARD = Break("\n")  # taken always
FILL = Fill()


def is_forced(document: Document) -> bool:
    """Whether a document has more than one line however wide the page."""
    if isinstance(document, (Cat, Group, Hang, Nest, Align)):
        return document.is_forced
    return document is HARD or isinstance(document, Suffix)


def cat(*parts: Document) -> Document:
    return Cat(parts, any(map(is_forced, parts)))


def group(content: Document, forced: bool = False) -> Document:
    return Group(content, forced or is_forced(content))


def hang(content: Document) -> Document:
    return Hang(content, is_forced(content))


def nest(by: int, content: Document) -> Document:
    return Nest(by, content, is_forced(content))


def align(content: Document) -> Document:
    return Align(content, is_forced(content))


def join(separator: Document, documents: Iterable[Document]) -> Document:
    parts: list[Document] = []
    for document in documents:
        parts += [separator, document]
    return cat(*parts[1:])


@dataclass(slots=True)
class Line:
    """One line of the result, and a comment at its end with the column it had in the source."""

    text: str
    comment: str = ""
    column: int = 0


class _Job(NamedTuple):
    document: Document
    indent: int
    is_flat: bool
    is_behind: bool = False  # measured only for what it adds to the line of something before it


@dataclass(slots=True)
class _Page:
    lines: list[Line]
    column: int
    start: int  # the column at which the current line begins
    jobs: list[_Job]

    def write(self, text: str) -> None:
        line = self.lines[-1]
        line.text = (line.text or " " * self.start) + text
        self.column += len(text)

    def new_line(self, start: int) -> None:
        self.lines[-1].text = self.lines[-1].text.rstrip(" ")
        self.lines.append(Line(""))
        self.column = self.start = start


def lay_out(document: Document, start: int = 0, width: int = WIDTH) -> list[Line]:
    """The lines of a document that begins at column `start`.

    >>> call = hang(group(cat("f(", nest(2, cat(NOTHING, "first,", SPACE, "second")), NOTHING, ")")))
    >>> [line.text for line in lay_out(call)]
    ['f(first, second)']
    >>> [line.text for line in lay_out(call, width=12)]
    ['f(', '  first,', '  second', ')']
    """
    page = _Page([Line("")], start, start, [_Job(document, start, False)])
    while page.jobs:
        _set(page, page.jobs.pop(), width)
    return page.lines


def _set(page: _Page, job: _Job, width: int) -> None:
    document = job.document
    match document:
        case str():
            page.write(document)
        case Cat():
            page.jobs += [_Job(part, job.indent, job.is_flat) for part in reversed(document.parts)]
        case Group():
            content = document.content
            fits = not document.is_forced and _fits(page, _Job(content, 0, True), width)
            page.jobs.append(_Job(content, job.indent, job.is_flat or fits))
        case Hang():
            page.jobs.append(_Job(document.content, page.start, job.is_flat))
        case Nest():
            page.jobs.append(_Job(document.content, job.indent + document.by, job.is_flat))
        case Align():
            page.jobs.append(_Job(document.content, page.column, job.is_flat))
        case Break():
            if job.is_flat and document is not HARD:
                page.write(document.flat)
            else:
                page.new_line(job.indent)
        case Fill():
            if job.is_flat or not _is_better_below(page, job.indent, width):
                page.write(" ")
            else:
                page.new_line(job.indent)
        case IfBroken():
            page.write("" if job.is_flat else document.text)
        case Suffix():
            page.lines[-1].comment = document.text
            page.lines[-1].column = document.column


def _is_better_below(page: _Page, indent: int, width: int) -> bool:
    """Whether what is to come fits on a new line and not on this one."""
    below = _Page([Line("")], indent, indent, page.jobs)
    return not _fits(page, _Job(" ", 0, True), width) and _fits(below, _Job("", 0, True), width)


def _fits(page: _Page, job: _Job, width: int) -> bool:
    """Whether the first line of a job, with what must follow it on that line, ends within the page.

    Groups count as set on one line unless they are forced to break.
    """
    room = width - page.column
    behind = len(page.jobs)
    pending = [job]
    while room >= 0:
        if not pending:
            if not behind:
                return True
            behind -= 1
            pending.append(_Job(page.jobs[behind].document, 0, page.jobs[behind].is_flat, True))
        job = pending.pop()
        document = job.document
        match document:
            case str():
                room -= len(document)
            case Cat():
                pending += [_Job(part, 0, job.is_flat, job.is_behind) for part in reversed(document.parts)]
            case Group():
                is_flat = job.is_flat or not document.is_forced
                pending.append(_Job(document.content, 0, is_flat, job.is_behind))
            case Hang() | Nest() | Align():
                pending.append(_Job(document.content, 0, job.is_flat, job.is_behind))
            case Break():
                if document is HARD or not job.is_flat:
                    return True
                room -= len(document.flat)
            case Fill():
                if job.is_behind and not job.is_flat:
                    return True
                room -= 1
            case IfBroken():
                room -= 0 if job.is_flat else len(document.text)
            case Suffix():
                return True
    return False
