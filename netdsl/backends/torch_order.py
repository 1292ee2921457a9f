"""What of a graph is computed, when, and what stands inside another expression instead of on a line of its own."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from netdsl.backends.torch_sketch import Applied, Sketch
from netdsl.backends.torch_trees import Value, transform, values_in, weight
from netdsl.ir.measure import live_values
from netdsl.ops.target import Index, Infix, Prefix

_NESTED: Final = 14  # the most there is to read in a nested expression
_OPERAND: Final = 7  # and in an operand of a layer


@dataclass(frozen=True, slots=True)
class Step:
    """A line of `forward`: a node and its expression. `training` counts the `if self.training` it stands in."""

    applied: Applied
    tree: Any
    training: int = 0


def steps(sketch: Sketch) -> list[Step]:
    """The lines of `forward`, in order. What no output needs is left out."""
    live = live_values(sketch.graph, training=True)
    nodes = [entry for entry in sketch.nodes if live.intersection(entry.node.results)]
    ordered = _in_order(sketch, nodes)
    return _nested(sketch, ordered)


def _in_order(sketch: Sketch, nodes: list[Applied]) -> list[tuple[Applied, int]]:
    """The nodes with the number of their training part (0: always computed), each part in one piece."""
    always = live_values(sketch.graph)
    makers = {value: place for place, entry in enumerate(nodes) for value in entry.node.results}
    part: dict[int, int] = {}
    for place, entry in enumerate(nodes):
        if always.intersection(entry.node.results):
            continue
        joined = {part[makers[v]] for v in values_in(entry.use) if makers.get(v) in part}
        part[place] = min(joined, default=place)
        for other, number in part.items():
            if number in joined:
                part[other] = part[place]
    at = {number: number for number in part.values()}
    for place, number in part.items():
        inputs = [makers[v] for v in values_in(nodes[place].use) if v in makers and makers[v] not in part]
        at[number] = max([at[number], *inputs])
    keys = [(at[part[p]], 1, part[p], p) if p in part else (p, 0, 0, p) for p in range(len(nodes))]
    numbers = {number: count for count, number in enumerate(sorted(at, key=lambda n: (at[n], n)), 1)}
    return [(nodes[p], numbers[part[p]] if p in part else 0) for *_, p in sorted(keys)]


def _nested(sketch: Sketch, ordered: list[tuple[Applied, int]]) -> list[Step]:
    """One step for each node, less those that are read better inside the one that uses them."""
    counts = Counter(output.value for output in sketch.graph.outputs)
    for entry, _ in ordered:
        counts.update(values_in(entry.use))
    shown = {output.value for output in sketch.graph.outputs}
    waiting: dict[int, tuple[Any, int]] = {}
    place_of: dict[int, int] = {}
    found: dict[int, Step] = {}
    for place, (entry, training) in enumerate(ordered):
        tree = entry.use
        room = _NESTED - weight(tree)
        for value in values_in(entry.use):
            if value not in waiting or waiting[value][1] != training:
                continue
            inner = waiting[value][0]
            size = weight(inner)
            if size > room or (entry.make is not None and not _is_operand(inner, size)):
                continue
            room -= size
            tree = _put(tree, value, inner)
            del found[place_of[value]]
            del waiting[value]
        found[place] = Step(entry, tree, training)
        if _may_nest(entry) and counts[entry.node.results[0]] == 1 and entry.node.results[0] not in shown:
            waiting[entry.node.results[0]] = (tree, training)
            place_of[entry.node.results[0]] = place
    return [found[place] for place in sorted(found)]


def _may_nest(entry: Applied) -> bool:
    """Whether a function is one that may be computed later: pure, of one result that nobody named."""
    node = entry.node
    named = bool(node.names and node.names[0])
    return (
        entry.make is None and len(node.results) == 1 and not named and bool(getattr(node.op, "pure", False))
    )


def _is_operand(tree: Any, size: int) -> bool:
    return isinstance(tree, Index | Infix | Prefix) and size <= _OPERAND


def _put(tree: Any, value: int, inner: Any) -> Any:
    if tree == Value(value):
        return inner
    return transform(tree, lambda part: _put(part, value, inner))
