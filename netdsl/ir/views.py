"""A graph as networkx sees it, for questions about reachability, cycles and dominators."""

from __future__ import annotations

from typing import Any

from netdsl.ir.graph import Graph


def to_networkx(graph: Graph) -> Any:
    """`graph` as a `networkx.MultiDiGraph`: vertices are its nodes, inputs, params, buffers and outputs; an
    edge is a value being read.

    Vertices are `("node", 0)`, `("input", "x")`, `("param", "p")`, `("buffer", "b")`, `("output", 0)`, with
    the attributes `kind`, `label` and `entry` (the part of the graph it stands for). Edges go from where a
    value comes from to where it is read, with the attributes `value` (its number), `type` and `operand` (its
    place among the operands). Blocks stay single vertices: their bodies are graphs of their own.
    """
    import networkx

    view: Any = networkx.MultiDiGraph(name=graph.name)  # pyright: ignore[reportUnknownVariableType]
    made: dict[int, tuple[str, Any]] = {}
    for number, entry in enumerate(graph.inputs):
        made[number] = ("input", entry.name)
        view.add_node(made[number], kind="input", label=entry.name, entry=entry)
    for kind, tensors in (("param", graph.parameters), ("buffer", graph.buffers)):
        for tensor in tensors:
            made[tensor.value] = (kind, tensor.name)
            view.add_node(made[tensor.value], kind=kind, label=tensor.name, entry=tensor)
    for number, node in enumerate(graph.nodes):
        vertex = ("node", number)
        kind = node.op.name if isinstance(node.op, Graph) else node.op.kind
        view.add_node(vertex, kind=kind, label=node.label, entry=node)
        for place, operand in enumerate(node.operands):
            if isinstance(operand, int):
                view.add_edge(made[operand], vertex, value=operand, type=graph.types[operand], operand=place)
        made.update(dict.fromkeys(node.results, vertex))
    for number, output in enumerate(graph.outputs):
        view.add_node(("output", number), kind="output", label=output.name, entry=output)
        type = graph.types[output.value]
        view.add_edge(made[output.value], ("output", number), value=output.value, type=type, operand=0)
    return view
