"""A diagnostic is frozen data: a code, what is wrong, where, why, and the way out. Layout is in `render`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from netdsl.source import Span

SYNTAX = "E01"  # the codes of syntax errors begin so


@dataclass(frozen=True, slots=True)
class Label:
    """A place and what stands there, in words that make sense alone in an editor."""

    span: Span
    text: str = ""


@dataclass(frozen=True, slots=True)
class Fix:
    """A replacement that a tool may apply: `text` in place of `span`."""

    span: Span
    text: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One problem. `message` says what is; only `helps` say what to do.

    The first label is the place of the problem; the others point at its causes. `notes` give context that has no
    place of its own, such as the block instance in which a shape went wrong.
    """

    code: str
    message: str
    labels: tuple[Label, ...] = ()
    notes: tuple[str, ...] = ()
    helps: tuple[str, ...] = ()
    fixes: tuple[Fix, ...] = ()

    @property
    def is_error(self) -> bool:
        return self.code.startswith("E")

    @property
    def span(self) -> Span | None:
        return self.labels[0].span if self.labels else None


@dataclass
class Report:
    """The problems found so far. Phases add to it and go on; nothing is raised for a user's mistake.

    The same problem at the same place is kept once: a block used ten times has its fault reported once. What begins
    where a syntax error begins is a consequence of it and is left out.
    """

    diagnostics: list[Diagnostic] = field(default_factory=list[Diagnostic])
    _seen: set[tuple[object, ...]] = field(default_factory=set[tuple[object, ...]])

    def add(self, diagnostic: Diagnostic) -> None:
        span = diagnostic.span
        place = (span.source.path, span.start, span.end) if span else (diagnostic.message,)
        if (diagnostic.code, place) in self._seen or (SYNTAX, place[:2]) in self._seen:
            return
        if diagnostic.code.startswith(SYNTAX):
            self._seen.add((SYNTAX, place[:2]))
        self._seen.add((diagnostic.code, place))
        self.diagnostics.append(diagnostic)

    def error(
        self,
        code: str,
        message: str,
        span: Span | None,
        label: str = "",
        *,
        also: Sequence[Label] = (),
        notes: Sequence[str] = (),
        helps: Sequence[str] = (),
        fixes: Sequence[Fix] = (),
    ) -> None:
        """Add a problem at `span`; a code `W07xx` makes it a warning."""
        labels = (Label(span, label), *also) if span else tuple(also)
        self.add(Diagnostic(code, message, labels, tuple(notes), tuple(helps), tuple(fixes)))

    @property
    def errors(self) -> list[Diagnostic]:
        return [d for d in self.diagnostics if d.is_error]

    @property
    def has_errors(self) -> bool:
        return any(d.is_error for d in self.diagnostics)

    def __iter__(self) -> Iterator[Diagnostic]:
        return iter(self.diagnostics)

    def __len__(self) -> int:
        return len(self.diagnostics)
