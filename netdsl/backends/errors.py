"""What a backend says when it cannot do what was asked: a sentence, and a list of the facts behind it."""

from __future__ import annotations

from collections.abc import Sequence

from netdsl.diagnostics import Diagnostic


class BackendError(ValueError):
    """`message` stands alone; `facts` has a line for each thing found, as one missing parameter.

    >>> print(BackendError("the weights do not fit", ["missing: fc.bias"]))
    the weights do not fit
      missing: fc.bias
    """

    def __init__(self, message: str, facts: Sequence[str] = ()) -> None:
        super().__init__("\n  ".join([message, *facts]))
        self.message = message
        self.facts = tuple(facts)


class WeightsError(BackendError):
    """Weights that cannot be had (E0631, E0638), or that are those of another model (E0633), as a diagnostic."""

    def __init__(self, code: str, message: str, notes: Sequence[str] = (), helps: Sequence[str] = ()) -> None:
        super().__init__(message, notes)
        self.diagnostic = Diagnostic(code, message, notes=tuple(notes), helps=tuple(helps))
