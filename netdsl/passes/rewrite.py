"""What passes share: a graph with other nodes, its values numbered anew, and a pass carried into the blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from netdsl.ir.graph import Graph, Literal, Node, Operand


def with_nodes(graph: Graph, nodes: Sequence[Node]) -> Graph:
    """`graph` with these nodes in place of its own; what they and the outputs read must still be there."""
    kept = [
        *range(len(graph.inputs)),
        *(p.value for p in graph.parameters),
        *(b.value for b in graph.buffers),
    ]
    kept += [result for node in nodes for result in node.results]
    number = {value: index for index, value in enumerate(kept)}

    def renumbered(operand: Operand) -> Operand:
        return operand if isinstance(operand, Literal) else number[operand]

    return replace(
        graph,
        nodes=tuple(
            replace(
                n, operands=tuple(map(renumbered, n.operands)), results=tuple(number[r] for r in n.results)
            )
            for n in nodes
        ),
        outputs=tuple(replace(o, value=number[o.value]) for o in graph.outputs),
        parameters=tuple(replace(p, value=number[p.value]) for p in graph.parameters),
        buffers=tuple(replace(b, value=number[b.value]) for b in graph.buffers),
    )


def in_blocks(graph: Graph, one: Callable[[Graph], Graph]) -> Graph:
    """`one` applied to every distinct body of `graph`, inner ones first; bodies that are shared stay shared."""
    done: dict[int, Graph] = {}
    for body in graph.subgraphs():
        nodes = tuple(
            replace(n, op=done[id(n.op)]) if isinstance(n.op, Graph) and done[id(n.op)] is not n.op else n
            for n in body.nodes
        )
        changed = (
            body
            if all(a is b for a, b in zip(nodes, body.nodes, strict=True))
            else replace(body, nodes=nodes)
        )
        done[id(body)] = one(changed)
    return done[id(graph)]
