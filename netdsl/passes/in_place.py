"""Compute in the operand's memory what nobody else can see there, as `ReLU` after a `BatchNorm2d`: one tensor less to
allocate and to keep. What is written `inplace = True` where somebody can see it is done in memory of its own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from netdsl.ir.graph import Graph, Node
from netdsl.passes.rewrite import in_blocks


def in_place(graph: Graph) -> Graph:
    """`graph` and its blocks with `inplace` set where it is safe and pays, and taken away where it is not safe."""
    return in_blocks(graph, _settle)


def _settle(body: Graph) -> Graph:
    nodes = tuple(_settled(body, node) for node in body.nodes)
    unchanged = all(new is old for new, old in zip(nodes, body.nodes, strict=True))
    return body if unchanged else replace(body, nodes=nodes)


def _settled(body: Graph, node: Node) -> Node:
    op: Any = node.op
    written: bool | None = getattr(op, "inplace", None)
    if written is None:
        return node
    wanted = (written or op.in_place) and _is_unseen(body, node)
    return node if wanted == written else replace(node, op=op.model_copy(update={"inplace": wanted}))


def _is_unseen(body: Graph, node: Node) -> bool:
    """Whether the only operand is a tensor of its own that nothing but this node reads, gradients included."""
    value = node.operands[0]
    producer = body.producers.get(value) if isinstance(value, int) else None
    if producer is None or len(node.operands) > 1 or producer.types != node.types:
        return False
    readers = body.uses[producer.results[0]]
    # A layer that is applied twice has one `inplace` for both times.
    once = node.label is None or sum(other.label == node.label for other in body.nodes) == 1
    is_output = any(output.value == value for output in body.outputs)
    return getattr(producer.op, "fresh", False) and len(readers) == 1 and once and not is_output
