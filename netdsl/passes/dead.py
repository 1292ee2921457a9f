"""Take out what no output needs: functions, and layers and blocks without parameters. A layer with parameters stays,
since its tensors are in the `state_dict`.
"""

from __future__ import annotations

from netdsl.ir.graph import Graph, Node
from netdsl.ir.measure import live_values, needed_by
from netdsl.passes.rewrite import in_blocks, with_nodes


def remove_dead(graph: Graph) -> Graph:
    """`graph` and its blocks without the nodes whose results are never used."""
    return in_blocks(graph, _remove)


def _remove(body: Graph) -> Graph:
    live = live_values(body, training=True)
    # What a dead layer with parameters reads must stay, or it could not be written down.
    for node in reversed(body.nodes):
        if not live.intersection(node.results) and _has_state(body, node):
            live.update(needed_by(body, [*node.results, *(o for o in node.operands if isinstance(o, int))]))
    kept = [node for node in body.nodes if live.intersection(node.results)]
    return body if len(kept) == len(body.nodes) else with_nodes(body, kept)


def _has_state(body: Graph, node: Node) -> bool:
    if isinstance(node.op, Graph):
        return next(node.op.state(), None) is not None
    return node.op.is_layer and bool(node.op.state(*body.operand_types(node)))
