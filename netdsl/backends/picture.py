"""What a diagram shows, before anything is drawn: boxes, frames around blocks, arrows. `dot` writes it.

`depth` is how many levels of blocks are open; a closed block is one box. Where no depth is asked for, the deepest
picture that is still read at a glance is taken. Of blocks that repeat one is drawn, with its number, and closed
blocks are shown open beside the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import lcm
from typing import Any

from netdsl.backends.picture_arrows import fold, mark_courses, mark_entries, merged, ranks
from netdsl.backends.picture_bodies import Closed, Drawer, owned
from netdsl.backends.picture_parts import Arrow, Box, Frame, Picture, Row, all_boxes
from netdsl.backends.repetition import boxes, looks, nesting
from netdsl.ir.dims import symbol
from netdsl.ir.graph import Graph

__all__ = ["Arrow", "Box", "Frame", "Picture", "Row", "all_boxes", "default_depth", "picture"]

AT_A_GLANCE = 30  # boxes
LONG = 18  # boxes one after the other
INSET = 14  # boxes of a block that is shown open beside the model
INSET_TOTAL = 16  # of all such blocks


def picture(graph: Graph, depth: int | None = None) -> Picture:
    """What to draw of `graph` with `depth` levels of blocks open, or as many as are read at a glance."""
    drawer = Drawer(_multiples(graph))
    model = Frame("model")
    drawer.whole(graph, model, default_depth(graph) if depth is None else depth)
    insets = [] if depth == 0 else _insets(drawer)
    arrows = merged(drawer.arrows)
    mark_courses(arrows)
    levels = fold(model, arrows)
    for frame in (model, *insets):
        mark_entries(frame, arrows)
    length = max(ranks(arrows).values(), default=0) + 1
    return Picture(graph.name, owned(graph, 1), model, arrows, insets, levels, length)


def default_depth(graph: Graph) -> int:
    """The most levels of blocks that can be open with at most `AT_A_GLANCE` boxes, in no long chain."""
    depth = _depth_within(graph, AT_A_GLANCE)
    while depth and _length(graph, depth) > max(LONG, _length(graph, depth - 1)):
        depth -= 1
    return depth


def _length(graph: Graph, depth: int) -> int:
    """The boxes on the longest way through the picture."""
    drawer = Drawer({})
    drawer.whole(graph, Frame("model"), depth)
    return max(ranks(merged(drawer.arrows)).values(), default=0) + 1


def _depth_within(graph: Graph, most: int) -> int:
    known: dict[tuple[int, int], int] = {}
    levels = nesting(graph, {})
    depth = 0
    while depth < levels and boxes(graph, depth + 1, known) <= most:
        depth += 1
    return depth


def _insets(drawer: Drawer) -> list[Frame]:
    """The closed blocks of the picture, drawn open: of each kind what is most frequent, then others if there is room.

    Those too large to help are left out.
    """
    frames: list[Frame] = []
    for closed in _telling(drawer.closed):
        frame = Frame(f"inset {len(frames)}", closed.block.name, closed.path)
        drawer.whole(closed.block, frame, _depth_within(closed.block, INSET), closed)
        frames.append(frame)
    return frames


def _telling(blocks: Sequence[Closed]) -> list[Closed]:
    alike: dict[tuple[Any, ...], list[Closed]] = {}
    for closed in blocks:
        alike.setdefault(looks(closed.block, _depth_within(closed.block, INSET)), []).append(closed)
    by_frequency = sorted(alike.values(), key=len, reverse=True)
    first = {group[0].block.name: group for group in reversed(by_frequency)}
    groups = [group for group in by_frequency if first[group[0].block.name] is group]
    groups += [group for group in by_frequency if group not in groups]
    chosen: list[Closed] = []
    total = 0
    for closed, *_ in groups:
        size = boxes(closed.block, _depth_within(closed.block, INSET), {})
        if 2 <= size <= INSET and total + size <= INSET_TOTAL:
            chosen.append(closed)
            total += size
    return [closed for closed, *_ in alike.values() if closed in chosen]


def _multiples(graph: Graph) -> dict[str, int]:
    """The free dimensions that must be multiples of a number, and of which."""
    found: dict[str, int] = {}
    for condition in graph.constraints:
        for name in graph.symbols:
            for number in range(2, 257):
                if (condition.left, condition.op, condition.right) == (symbol(name) % number, "==", 0):
                    found[name] = lcm(found.get(name, 1), number)
    return found
