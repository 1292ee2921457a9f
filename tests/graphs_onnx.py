"""Graphs built by hand, for the tests of the backends that need no source text."""

from __future__ import annotations

from typing import Any

from netdsl.ir.dims import Dim
from netdsl.ir.graph import Buffer, Graph, Input, Literal, Node, Output, Parameter
from netdsl.ir.types import Tensor
from netdsl.ops import registry


class Body:
    """A graph under construction. Values are numbers, as in the graph.

    >>> body = Body("Net", x=Tensor((2, 3)))
    >>> y = body.call("ReLU", 0)
    >>> len(body.graph(y).nodes)
    1
    """

    def __init__(self, name: str, kind: str = "model", **inputs: Tensor) -> None:
        self.name = name
        self.kind = kind
        self.inputs = tuple(Input(name, type) for name, type in inputs.items())
        self.types: list[Any] = list(inputs.values())
        self.nodes: list[Node] = []
        self.parameters: list[Parameter] = []
        self.buffers: list[Buffer] = []

    def param(self, name: str, *shape: int, init: Any = None) -> int:
        self.types.append(Tensor(shape))
        self.parameters.append(Parameter(name, len(self.types) - 1, Tensor(shape), init))
        return len(self.types) - 1

    def buffer(self, name: str, make: Graph, *, saved: bool = True) -> int:
        type = make.types[make.outputs[0].value]
        self.types.append(type)
        self.buffers.append(Buffer(name, len(self.types) - 1, type, make, saved))
        return len(self.types) - 1

    def call(
        self, kind: str, *operands: int | Literal, label: str | None = None, name: str = "", **arguments: Any
    ) -> Any:
        """Apply an operation; one value, or a tuple of them."""
        op = registry[kind](**arguments)
        return self._add(op, operands, op.result_types(*self._types_of(operands)), label, name, ())

    def block(
        self, graph: Graph, *operands: int, label: str | None = None, sizes: tuple[tuple[str, Dim], ...] = ()
    ) -> Any:
        """Use a block; `sizes` say what its symbols are here."""
        from netdsl.ir.dims import substitute

        types = []
        for output in graph.outputs:
            type = graph.types[output.value]
            types.append(Tensor(tuple(substitute(d, dict(sizes)) for d in type.shape), type.dtype))  # type: ignore[union-attr]
        return self._add(graph, operands, tuple(types), label, "", sizes)

    def _types_of(self, operands: tuple[int | Literal, ...]) -> list[Any]:
        from netdsl.ir.types import Scalar

        return [Scalar(o.value) if isinstance(o, Literal) else self.types[o] for o in operands]

    def _add(self, op: Any, operands: Any, types: Any, label: str | None, name: str, sizes: Any) -> Any:
        results = tuple(range(len(self.types), len(self.types) + len(types)))
        self.types.extend(types)
        names = (name,) if name else ()
        self.nodes.append(Node(op, tuple(operands), results, tuple(types), label, sizes, names))
        return results[0] if len(results) == 1 else results

    def graph(self, *outputs: int | Output, **more: Any) -> Graph:
        made = tuple(o if isinstance(o, Output) else Output(o) for o in outputs)
        return Graph(
            self.kind,
            self.name,
            self.inputs,
            tuple(self.nodes),
            made,
            tuple(self.parameters),
            tuple(self.buffers),
            **more,
        )


def sequential(name: str, type: Tensor, items: list[Any]) -> Graph:
    """A labelled list: items are graphs or (kind, arguments)."""
    body = Body(name, "sequential", x=type)
    value = 0
    for number, item in enumerate(items):
        if isinstance(item, Graph):
            value = body.block(item, value, label=str(number))
        else:
            value = body.call(item[0], value, label=str(number), **item[1])
    return body.graph(value)
