"""The part of a body that one value needs, as a graph without inputs: what a buffer is made of."""

from __future__ import annotations

from netdsl.elaborate.body import Body
from netdsl.elaborate.values import TensorValue
from netdsl.ir.graph import Graph, Literal, Node, Output


def slice_of(body: Body, value: TensorValue, name: str) -> Graph | None:
    """The nodes that make `value`, or None where it depends on an input, a parameter or chance."""
    producers = {result: node for node in body.nodes for result in node.results}
    needed: dict[int, Node] = {}
    pending = [value.number]
    while pending:
        number = body.buffer_sources.get(pending[-1], pending[-1])
        pending.pop()
        node = producers.get(number)
        if node is None or isinstance(node.op, Graph) or node.label is not None or not node.op.pure:
            return None
        if id(node) in needed:
            continue
        needed[id(node)] = node
        pending += [o for o in node.operands if not isinstance(o, Literal)]
    nodes = [node for node in body.nodes if id(node) in needed]
    number = {result: index for index, result in enumerate(r for node in nodes for r in node.results)}

    def renumbered(operand: int | Literal) -> int | Literal:
        return operand if isinstance(operand, Literal) else number[body.buffer_sources.get(operand, operand)]

    return Graph(
        kind="buffer",
        name=name,
        inputs=(),
        nodes=tuple(
            Node(
                n.op,
                tuple(map(renumbered, n.operands)),
                tuple(number[r] for r in n.results),
                n.types,
                names=body.names_of(n),
                span=n.span,
            )
            for n in nodes
        ),
        outputs=(Output(number[body.buffer_sources.get(value.number, value.number)]),),
    )
