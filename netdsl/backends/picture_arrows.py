"""The arrows of a diagram together: which are skip connections, which belong to branches, and which make a U."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from netdsl.backends.picture_parts import Arrow, Box, Frame, all_boxes


def merged(arrows: Sequence[Arrow]) -> list[Arrow]:
    """Arrows between the same boxes as one: `3 × (N×8)`. An arrow from nowhere is none."""
    together: dict[tuple[str, str], list[str]] = {}
    for arrow in arrows:
        if arrow.tail:
            together.setdefault((arrow.tail, arrow.head), []).append(arrow.text)
    return [Arrow(tail, head, _label(texts)) for (tail, head), texts in together.items()]


def _label(texts: Sequence[str]) -> str:
    counts: dict[str, int] = {}
    for text in filter(None, texts):
        counts[text] = counts.get(text, 0) + 1
    return ", ".join(text if times == 1 else f"{times} × ({text})" for text, times in counts.items())


def ranks(arrows: Sequence[Arrow]) -> dict[str, int]:
    """How many arrows the longest way to each box has."""
    rank: dict[str, int] = {}
    for arrow in arrows:  # in order of their heads, which come after all their tails
        rank[arrow.head] = max(rank.get(arrow.head, 0), rank.setdefault(arrow.tail, 0) + 1)
    return rank


def mark_courses(arrows: Sequence[Arrow]) -> None:
    """Say where each arrow belongs; one leaps where another from its box leads to its head by a longer way."""
    rank = ranks(arrows)
    readers: dict[str, int] = {}
    sources: dict[str, int] = {}
    for arrow in arrows:
        readers[arrow.tail] = readers.get(arrow.tail, 0) + 1
        sources[arrow.head] = sources.get(arrow.head, 0) + 1
    for arrow in arrows:
        arrow.leap = readers[arrow.tail] > 1 and rank[arrow.head] - rank[arrow.tail] > 1
    leaps = [arrow for arrow in arrows if arrow.leap]
    for arrow in leaps:
        readers[arrow.tail] -= 1
        sources[arrow.head] -= 1
    for arrow in arrows:
        if readers[arrow.tail] > 1:
            arrow.course = "fork"
        elif sources[arrow.head] > 1:
            arrow.course = "join"


def mark_entries(whole: Frame, arrows: Sequence[Arrow]) -> None:
    """Find for each frame the box at its entrance, where arrows pass by the title; that is its exit on the way up."""
    places: dict[str, tuple[Frame, ...]] = {}

    def visit(frame: Frame, around: tuple[Frame, ...]) -> None:
        for item in frame.items:
            if isinstance(item, Frame):
                visit(item, (*around, item))
            else:
                places[item.id] = around

    visit(whole, ())
    entered: dict[str, set[str]] = {}
    branched: set[str] = set()  # boxes that have one branch already
    for arrow in (arrow for arrow in arrows if not arrow.leap):
        above, below = (arrow.head, arrow.tail) if arrow.rises else (arrow.tail, arrow.head)
        outside = {id(frame) for frame in places.get(above, ())}
        for frame in places.get(below, ()):
            if id(frame) in outside:
                continue
            heads = entered.setdefault(frame.id, set())
            heads.add(below)
            frame.entry = below if len(heads) == 1 else ""
            frame.beside = len(heads) == 1 and above in branched
        branched.add(above)


def fold(model: Frame, arrows: Sequence[Arrow]) -> list[tuple[str, str]]:
    """Where skip connections lie in each other, as in a U-Net, let what follows the innermost rise on the right.

    The pairs of boxes that come to stand side by side; none where the model is no U.
    """
    place = {box.id: number for number, item in enumerate(model.items) for box in _boxes(item)}
    inside = [arrow for arrow in arrows if arrow.tail in place]
    skips = [arrow for arrow in inside if arrow.leap and place[arrow.tail] < place[arrow.head]]
    skips.sort(key=lambda arrow: place[arrow.tail])
    if len(skips) < 2 or not all(
        place[one.tail] < place[two.tail] < place[two.head] < place[one.head] for one, two in pairwise(skips)
    ):
        return []
    first, last = place[skips[-1].tail], place[skips[-1].head]
    bottom = first + (last - first) // 2
    bottoms = (bottom, bottom + (last - first) % 2)  # two side by side, where the way has no middle
    rising = [a for a in inside if a not in skips and place[a.head] > bottoms[1]]
    if any(place[arrow.tail] < bottom for arrow in rising):
        return []
    for arrow in rising:
        arrow.rises = True
    crossing = [
        (a.tail, a.head) for a in inside if (place[a.tail], place[a.head]) == bottoms != bottoms[::-1]
    ]
    return [(arrow.tail, arrow.head) for arrow in skips] + crossing


def _boxes(item: Box | Frame) -> list[Box]:
    return all_boxes(item) if isinstance(item, Frame) else [item]
