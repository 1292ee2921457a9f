"""What a backend says when it cannot do what was asked: a sentence, and a list of the facts behind it."""

from __future__ import annotations

from collections.abc import Sequence


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
