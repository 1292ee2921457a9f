"""The largest of a window first, then what is above zero: of `ReLU -> MaxPool2d(2)`, the `ReLU` has a quarter of the
numbers to look at when it comes after.

Both orders give the same numbers, and pass the same gradients to the same places: where the largest number of a window
is above zero, both choose it, and where it is not, no gradient passes.
"""

from __future__ import annotations

from dataclasses import replace

from netdsl.ir.graph import Graph, Node
from netdsl.ir.types import Tensor
from netdsl.ops.activation import ReLU
from netdsl.ops.adaptive import AdaptiveMaxPool1d, AdaptiveMaxPool2d, AdaptiveMaxPool3d
from netdsl.ops.pool import MaxPool1d, MaxPool2d, MaxPool3d
from netdsl.passes.rewrite import in_blocks

_POOLS = (MaxPool1d, MaxPool2d, MaxPool3d, AdaptiveMaxPool1d, AdaptiveMaxPool2d, AdaptiveMaxPool3d)


def relu_after_pool(graph: Graph) -> Graph:
    """`graph` and its blocks with every `ReLU` behind the max poolings that alone read it. Names of tensors stay."""
    return in_blocks(graph, _behind)


def _behind(body: Graph) -> Graph:
    place = next((place for place, node in enumerate(body.nodes) if _reader(body, node) is not None), None)
    if place is None:
        return body
    relu = body.nodes[place]
    reader = _reader(body, relu)
    assert reader is not None
    pool = body.nodes[reader]
    # The values keep their numbers: what was the ReLU's is the pooling's now.
    first = replace(pool, operands=relu.operands, results=relu.results)
    then = replace(relu, operands=relu.results, results=pool.results, types=pool.types)
    if body.kind == "sequential":  # whose labels count its places
        first, then = replace(first, label=relu.label), replace(then, label=pool.label)
    nodes = list(body.nodes)
    nodes[place], nodes[reader] = first, then
    return _behind(replace(body, nodes=tuple(nodes)))


def _reader(body: Graph, node: Node) -> int | None:
    """The place of the max pooling that alone reads what `node`, a ReLU of numbers, gives."""
    if not isinstance(node.op, ReLU) or not isinstance(node.types[0], Tensor) or not node.types[0].is_float:
        return None
    (value,) = node.results
    readers = [place for place, other in enumerate(body.nodes) if value in other.operands]
    if len(readers) != 1 or any(output.value == value for output in body.outputs):
        return None
    op = body.nodes[readers[0]].op
    return readers[0] if isinstance(op, _POOLS) and not op.return_indices else None
