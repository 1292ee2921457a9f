"""Whether a shape is the one that is needed, size by size."""

from __future__ import annotations

from collections.abc import Sequence

from netdsl.ir.decide import DimMismatch, join
from netdsl.ir.dims import Dim
from netdsl.ops.promotion import mismatch_note


def agrees(found: Sequence[Dim], wanted: Sequence[Dim]) -> tuple[bool, str | None]:
    """Whether both are one shape, under conditions that are recorded; and where they part, for a note.

    >>> agrees((2, 3), (2, 4))
    (False, 'axis 1 is 3 and 4')
    """
    fits, note = len(found) == len(wanted), None
    for place, (left, right) in enumerate(zip(found, wanted, strict=False)):
        try:
            join(left, right)
        except DimMismatch as mismatch:
            fits, note = False, mismatch_note(place, left, right, mismatch)
    return fits, note
