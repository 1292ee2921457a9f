"""Names near a name that is not there."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher

from netdsl.diagnostics.model import Fix
from netdsl.source import Span

LONGEST = 64  # a longer name is no slip of the fingers, and comparing it would take long
CUTOFF = 0.7
PART = 3  # letters: a name of so many may be a part of the one that was meant, as `pad` of `padding`


def nearest(name: str, candidates: Iterable[str], count: int = 3) -> list[str]:
    """The candidates that `name` may have meant, the likeliest first; one alone when it is beyond doubt.

    >>> nearest("maxpool2d", ["MaxPool1d", "MaxPool2d", "AvgPool2d"])
    ['MaxPool2d']
    >>> nearest("Conv", ["Conv1d", "Conv2d", "Linear"])
    ['Conv1d', 'Conv2d']
    """
    if not name or len(name) > LONGEST:
        return []
    scored = [(_likeness(name, other), other) for other in set(candidates) - {name} if len(other) <= LONGEST]
    likely = sorted((score, other) for score, other in scored if score is not None)
    best = likely[0][0][0] if likely else SIMILAR
    return [other for (step, _), other in likely if step == best][:count]


def correction(name: str, span: Span, candidates: Iterable[str]) -> tuple[Fix, ...]:
    """The replacement of `name` at `span`, where one candidate is beyond doubt."""
    names = nearest(name, candidates)
    return (Fix(span, names[0], f"write `{names[0]}`"),) if len(names) == 1 else ()


def did_you_mean(name: str, candidates: Iterable[str]) -> tuple[str, ...]:
    """A help line with the names near `name`, or nothing.

    >>> did_you_mean("kernle_size", ["kernel_size", "stride"])
    ('did you mean `kernel_size`?',)
    """
    names = [f"`{other}`" for other in nearest(name, candidates)]
    if not names:
        return ()
    *rest, last = names
    return (f"did you mean {', '.join(rest)} or {last}?" if rest else f"did you mean {last}?",)


SPELLED, SLIP, SIMILAR = range(3)


def _likeness(name: str, other: str) -> tuple[int, float] | None:
    """How near `other` is: the same letters, one slip of the fingers, or similar; smaller is nearer."""
    plain, target = _letters(name), _letters(other)
    matcher = SequenceMatcher(None, plain, target, autojunk=False)
    if plain == target:
        return SPELLED, -SequenceMatcher(None, name, other, autojunk=False).ratio()
    if _one_slip(plain, target):
        return SLIP, -matcher.ratio()
    short, long = sorted((plain, target), key=len)
    if len(short) >= PART and 3 * len(short) >= len(long) and short in long:
        return SIMILAR, -matcher.ratio()
    if matcher.real_quick_ratio() < CUTOFF or matcher.quick_ratio() < CUTOFF:
        return None
    ratio = matcher.ratio()
    return (SIMILAR, -ratio) if ratio >= CUTOFF else None


def _letters(name: str) -> str:
    return name.replace("_", "").casefold()


def _one_slip(name: str, other: str) -> bool:
    """One letter too many, too few or wrong, or two neighbours swapped. A short name would fit anything."""
    short, long = sorted((name, other), key=len)
    if len(long) < 3 or len(long) - len(short) > 1:
        return False
    at = next((i for i, (a, b) in enumerate(zip(short, long, strict=False)) if a != b), len(short))
    if len(short) < len(long):
        return short[at:] == long[at + 1 :]
    swapped = short[at : at + 2] == long[at : at + 2][::-1] and short[at + 2 :] == long[at + 2 :]
    return swapped or short[at + 1 :] == long[at + 1 :]
