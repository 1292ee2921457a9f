"""`TrainError`: what stops a run, as a diagnostic. The command line shows it like any other problem."""

from __future__ import annotations

from collections.abc import Sequence

from netdsl.diagnostics import Diagnostic, Label
from netdsl.source import Span


class TrainError(Exception):
    """A problem with the data, the machine or a run's files, found after the recipe was read."""

    def __init__(
        self,
        code: str,
        message: str,
        span: Span | None = None,
        notes: Sequence[str] = (),
        helps: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        labels = (Label(span),) if span else ()
        self.diagnostic = Diagnostic(code, message, labels, tuple(notes), tuple(helps))

    def at(self, span: Span | None) -> TrainError:
        """The same problem at a place."""
        d = self.diagnostic
        return TrainError(d.code, d.message, span, d.notes, d.helps)
