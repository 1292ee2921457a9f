"""Repetition in a graph: blocks that follow each other unchanged, and how much there is to draw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from netdsl.ir.graph import Graph, Node, Operation
from netdsl.ir.types import Tensor

_LONGEST_PERIOD = 4

# What keeps the shape and says little alone: it stands with what it follows, as in Conv, BatchNorm, ReLU.
_FOLLOWERS = frozenset(
    (
        "activation",
        "activation_functions",
        "batchnorm",
        "dropout",
        "dropout_functions",
        "norm",
        "prelu",
        "reshape",
    )
)


@dataclass(frozen=True)
class Run:
    """Consecutive nodes, `period` of them again and again, each applied to what the one before gives; mostly
    one node."""

    nodes: tuple[Node, ...]
    period: int = 1

    @property
    def times(self) -> int:
        return len(self.nodes) // self.period

    @property
    def drawn(self) -> tuple[Node, ...]:
        """Those that stand for all."""
        return self.nodes[: self.period]


def runs(graph: Graph) -> Iterator[Run]:
    """The nodes of `graph` in order, repetitions together."""
    kept = {output.value for output in graph.outputs}
    nodes = graph.nodes
    chained = [False] + [_follows(graph, *pair, kept) for pair in pairwise(nodes)]
    start = 0
    while start < len(nodes):
        run = _run_at(nodes, chained, start)
        yield run
        start += len(run.nodes)


def _run_at(nodes: Sequence[Node], chained: Sequence[bool], start: int) -> Run:
    """The repetition that begins at `start`, of the shortest period there is."""
    for period in range(1, _LONGEST_PERIOD + 1):
        end = start + 1
        while end < len(nodes) and chained[end] and _repeats(nodes, start, end, period):
            end += 1
        times = (end - start) // period
        if times > 1:
            return Run(tuple(nodes[start : start + times * period]), period)
    return Run((nodes[start],))


def _repeats(nodes: Sequence[Node], start: int, end: int, period: int) -> bool:
    """Whether the node at `end` goes on with what began at `start`; the first period only has to be a chain."""
    if end - start < period:
        return isinstance(nodes[start].op, Graph) and isinstance(nodes[end].op, Graph)
    before, node = nodes[end - period], nodes[end]
    return before.label != node.label and _are_alike(before, node)


def _follows(graph: Graph, before: Node, node: Node, kept: set[int]) -> bool:
    """Whether `node` alone reads what `before` gives, as its first operand."""
    if len(before.results) != 1 or not node.operands:
        return False
    value = before.results[0]
    alone = value not in kept and graph.uses.get(value) == (node,)
    return alone and node.operands[0] == value and node.operands.count(value) == 1


def _are_alike(one: Node, other: Node) -> bool:
    """Whether two blocks look the same in a diagram. The rates of dropout, which often grow with depth, may differ."""
    if not (isinstance(one.op, Graph) and isinstance(other.op, Graph)):
        return False
    same_place = (
        one.operands[1:] == other.operands[1:] and one.types == other.types and one.sizes == other.sizes
    )
    return same_place and _same_graph(one.op, other.op)


def _same_graph(one: Graph, other: Graph) -> bool:
    if one is other:
        return True
    facts = (
        (one.kind, one.name, _types(one), one.outputs),
        (other.kind, other.name, _types(other), other.outputs),
    )
    if facts[0] != facts[1] or len(one.nodes) != len(other.nodes):
        return False
    return all(map(_same_node, one.nodes, other.nodes))


def _types(graph: Graph) -> tuple[Any, ...]:
    """The types of what a body is given and owns."""
    owned = ((entry.name, entry.type) for entry in (*graph.parameters, *graph.buffers))
    return (*(entry.type for entry in graph.inputs), *owned)


def _same_node(one: Node, other: Node) -> bool:
    if (one.label, one.operands, one.types, one.sizes) != (
        other.label,
        other.operands,
        other.types,
        other.sizes,
    ):
        return False
    if isinstance(one.op, Graph) or isinstance(other.op, Graph):
        return isinstance(one.op, Graph) and isinstance(other.op, Graph) and _same_graph(one.op, other.op)
    return _same_operation(one.op, other.op)


def _same_operation(one: Operation, other: Operation) -> bool:
    if one == other or type(one) is not type(other):
        return one == other
    return not one.pure and _without_rate(one) == _without_rate(other)


def _without_rate(op: Operation) -> dict[str, Any]:
    return {name: value for name, value in op.arguments().items() if name != "p"}


def joins(graph: Graph, node: Node) -> bool:
    """Whether `node` is drawn in the box of what it follows: a normalisation, activation or dropout after a layer,
    or the flattening of a pooled image, where at most axes of 1 come or go."""
    if isinstance(node.op, Graph) or len(node.operands) != 1 or len(node.types) != 1:
        return False
    value = node.operands[0]
    before = graph.producers.get(value) if isinstance(value, int) else None
    if before is None or isinstance(before.op, Graph) or _without_ones(before) != _without_ones(node):
        return False
    if graph.uses.get(before.results[0]) != (node,) or any(o.value == value for o in graph.outputs):
        return False
    return family(node.op) in _FOLLOWERS and not getattr(before.op, "symbol", "")


def _without_ones(node: Node) -> list[Any]:
    (type,) = node.types if len(node.types) == 1 else (None,)
    return [dim for dim in type.shape if dim != 1] if isinstance(type, Tensor) else [node]


def family(op: Operation) -> str:
    """The module that has an operation, which is what colours it."""
    return type(op).__module__.rsplit(".", 1)[-1]


def boxes(graph: Graph, depth: int, known: dict[tuple[int, int], int]) -> int:
    """The boxes of `graph` with `depth` levels of blocks open and repetitions drawn once."""
    key = (id(graph), depth)
    if key not in known:
        total = 0
        for node in (node for run in runs(graph) for node in run.drawn):
            if isinstance(node.op, Graph) and depth:
                total += boxes(node.op, depth - 1, known)
            else:
                total += not joins(graph, node)
        known[key] = total
    return known[key]


def nesting(graph: Graph, known: dict[int, int]) -> int:
    """The levels of blocks in `graph`."""
    if id(graph) not in known:
        inside = {id(node.op): node.op for node in graph.nodes if isinstance(node.op, Graph)}
        known[id(graph)] = max((1 + nesting(block, known) for block in inside.values()), default=0)
    return known[id(graph)]


def only_run(graph: Graph) -> Run | None:
    """What a list repeats, where it holds nothing else."""
    if graph.kind != "sequential" or len(graph.nodes) < 2:
        return None
    first = next(runs(graph))
    return first if first.period == 1 and first.times == len(graph.nodes) else None


def looks(graph: Graph, depth: int) -> tuple[Any, ...]:
    """What two blocks that differ in numbers only have in common, with `depth` levels in them open."""

    def shown(op: Operation | Graph) -> Any:
        if isinstance(op, Graph):
            return looks(op, depth - 1) if depth else op.name
        return op.kind

    return (graph.name, *((shown(node.op), node.operands) for node in graph.nodes))


def contents(graph: Graph) -> str:
    """What a list holds: `BasicBlock × 2`, `(Conv2d, ReLU) × 3`, or its first kinds."""
    names = [node.op.name if isinstance(node.op, Graph) else node.op.kind for node in graph.nodes]
    shown: list[str] = []
    while names:
        period, times = _period(names)
        group = ", ".join(names[:period])
        shown.append(group if times == 1 else f"{group if period == 1 else f'({group})'} × {times}")
        names = names[period * times :]
    return ", ".join(shown[:3]) + (", …" if len(shown) > 3 else "")


def _period(names: Sequence[str]) -> tuple[int, int]:
    """How many of the first names come again, and how often in all."""
    for period in range(1, _LONGEST_PERIOD + 1):
        times = 1
        while list(names[times * period : (times + 1) * period]) == list(names[:period]):
            times += 1
        if times > 1:
            return period, times
    return 1, 1
