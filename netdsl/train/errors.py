"""`TrainError`: what stops a run, as a diagnostic. The command line shows it like any other problem."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
        argument: str = "",
    ) -> None:
        super().__init__(message)
        self.told = False  # by another process of the same run
        self.argument = (
            argument  # of the component that is wrong, as `features.2`, where the place is still to come
        )
        labels = (Label(span),) if span else ()
        self.diagnostic = Diagnostic(code, message, labels, tuple(notes), tuple(helps))

    def at(self, span: Span | None) -> TrainError:
        """The same problem at a place."""
        d = self.diagnostic
        return TrainError(d.code, d.message, span, d.notes, d.helps, self.argument)

    def __reduce__(self) -> Any:
        """Whole on the way between processes."""
        return _rebuilt, (self.diagnostic, self.argument, self.told)


def _rebuilt(diagnostic: Diagnostic, argument: str, told: bool) -> TrainError:
    problem = TrainError(diagnostic.code, diagnostic.message, argument=argument)
    problem.diagnostic, problem.told = diagnostic, told
    return problem
