"""What is in a graph: learned parameters, multiply-adds as a polynomial in the free dimensions, code from outside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import prod

from netdsl.ir.dims import Dim, substitute
from netdsl.ir.graph import Graph, Node


def parameter_count(graph: Graph) -> int:
    """The number of learned numbers; a layer used twice and a tensor with two names count once."""
    tied = graph.tied()
    return sum(prod(state.shape) for name, state in graph.state() if state.learned and name not in tied)


def multiply_adds(graph: Graph, known: dict[int, Dim] | None = None) -> Dim:
    """The multiply-adds of one run in evaluation mode, in the graph's own symbols."""
    known = {} if known is None else known
    total: Dim = 0
    live = live_values(graph)
    for node in graph.nodes:
        if not live.intersection(node.results):
            continue
        if isinstance(node.op, Graph):
            if id(node.op) not in known:
                known[id(node.op)] = multiply_adds(node.op, known)
            inner = known[id(node.op)]
            total = total + (substitute(inner, dict(node.sizes)) if node.sizes else inner)
        else:
            total = total + node.op.multiply_adds(*graph.operand_types(node))
    return total


def externs(graph: Graph) -> Iterator[Node]:
    """The nodes, in all bodies, whose operation is Python code of another package."""
    for body in graph.subgraphs():
        for node in body.nodes:
            if not isinstance(node.op, Graph) and node.op.kind == "extern":
                yield node


def live_values(graph: Graph, *, training: bool = False) -> set[int]:
    """The values that the outputs need; those of `when training` outputs too, with `training`."""
    return needed_by(graph, [o.value for o in graph.outputs if training or not o.when_training])


def needed_by(graph: Graph, values: Iterable[int]) -> set[int]:
    """`values`, and all that they are computed from."""
    pending = list(values)
    needed: set[int] = set()
    while pending:
        value = pending.pop()
        if value in needed:
            continue
        needed.add(value)
        node = graph.producers.get(value)
        if node is not None:
            pending += [o for o in node.operands if isinstance(o, int)]
    return needed
