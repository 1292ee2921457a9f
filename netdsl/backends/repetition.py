"""Repetition in a graph: blocks that follow each other unchanged, and how much there is to draw."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from netdsl.ir.graph import Graph, Node


@dataclass(frozen=True)
class Run:
    """Consecutive nodes that apply the same block, each to what the one before gives; mostly one node."""

    nodes: tuple[Node, ...]

    @property
    def times(self) -> int:
        return len(self.nodes)


def runs(graph: Graph) -> Iterator[Run]:
    """The nodes of `graph` in order, repetitions together."""
    kept = {output.value for output in graph.outputs}
    run: list[Node] = []
    for node in graph.nodes:
        if run and not _continues(graph, run[-1], node, kept):
            yield Run(tuple(run))
            run = []
        run.append(node)
    if run:
        yield Run(tuple(run))


def _continues(graph: Graph, before: Node, node: Node, kept: set[int]) -> bool:
    if not isinstance(node.op, Graph) or before.label == node.label or len(before.results) != 1:
        return False
    value = before.results[0]
    alone = value not in kept and graph.uses.get(value) == (node,)
    same = before.op == node.op and before.sizes == node.sizes
    return alone and same and node.operands == (value, *before.operands[1:])


def boxes(graph: Graph, depth: int, known: dict[tuple[int, int], int]) -> int:
    """The boxes of `graph` with `depth` levels of blocks open and repetitions drawn once."""
    key = (id(graph), depth)
    if key not in known:
        total = 0
        for run in runs(graph):
            inside = run.nodes[0].op
            total += boxes(inside, depth - 1, known) if isinstance(inside, Graph) and depth else 1
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
    return first if first.times == len(graph.nodes) else None


def looks(graph: Graph) -> tuple[Any, ...]:
    """What two blocks that differ in numbers only have in common."""
    return tuple(
        (looks(node.op) if isinstance(node.op, Graph) else node.op.kind, node.operands)
        for node in graph.nodes
    )


def contents(graph: Graph) -> str:
    """What a list holds: `BasicBlock × 2`, or its first kinds."""
    groups: list[list[Any]] = []
    for node in graph.nodes:
        name = node.op.name if isinstance(node.op, Graph) else node.op.kind
        if groups and groups[-1][0] == name:
            groups[-1][1] += 1
        else:
            groups.append([name, 1])
    shown = [name if times == 1 else f"{name} × {times}" for name, times in groups[:3]]
    return ", ".join(shown) + (", …" if len(groups) > 3 else "")
