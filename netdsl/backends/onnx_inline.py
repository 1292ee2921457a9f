"""Bodies written into an ONNX recorder, in evaluation mode: blocks in place, each layer under its own
path."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TypeAlias

from netdsl.backends.onnx_target import Recorder
from netdsl.ir.decide import Assumptions
from netdsl.ir.dims import Dim, substitute
from netdsl.ir.graph import Graph, Literal, Node, Operand, Output
from netdsl.ir.types import Scalar, State, Tensor, Type
from netdsl.ops.target import OnnxValue

Value: TypeAlias = OnnxValue | Scalar | None  # None: it exists in training mode only


def inline(
    recorder: Recorder, graph: Graph, inputs: Sequence[OnnxValue]
) -> tuple[dict[str, Tensor], list[OnnxValue]]:
    """Write a model for `inputs`: the types of the values in it, by name, and its evaluation-mode outputs in
    order.

    Raises `ValueError` for a graph with an unknown type, and where an output needs what training alone
    computes.
    """
    types: dict[str, Tensor] = {}
    outputs = evaluation_outputs(graph)
    body = _Body(recorder, graph, types, "/", "", {})
    values = body.write(inputs, {output.value for output in outputs})
    written: list[OnnxValue] = []
    for output, value in zip(outputs, (values.get(output.value) for output in outputs), strict=True):
        if not isinstance(value, OnnxValue):
            raise ValueError(f"the output `{output.name}` of `{graph.name}` exists in training mode only")
        written.append(value)
    return types, written


def evaluation_outputs(graph: Graph) -> list[Output]:
    """The outputs that are not `when training`."""
    return [output for output in graph.outputs if not output.when_training]


class _Body:
    """One body, or one use of a block: its names, its tensors, and its sizes in the model's free
    dimensions."""

    def __init__(
        self,
        recorder: Recorder,
        graph: Graph,
        types: dict[str, Tensor],
        scope: str,
        prefix: str,
        meaning: Mapping[str, Dim],
    ) -> None:
        self.recorder = recorder
        self.graph = graph
        self.types = types
        self.scope = scope
        self.prefix = prefix
        self.meaning = meaning
        self.values: dict[int, Value] = {}
        self.assumptions = Assumptions(meaning)

    def write(self, inputs: Sequence[Value], wanted: Collection[int]) -> dict[int, Value]:
        """The values of the body, given those of its inputs; nodes that `wanted` does not need are left
        out."""
        graph = self.graph
        for number, (entry, value) in enumerate(zip(graph.inputs, inputs, strict=True)):
            here = isinstance(value, OnnxValue)
            self.values[number] = OnnxValue(value.name, tensor(entry.type)) if here else value
        for parameter in graph.parameters:
            self._own(parameter.value, parameter.name, parameter.type, learned=True)
        for buffer in graph.buffers:
            self._own(buffer.value, buffer.name, buffer.type, learned=False)
        for node in needed(graph, wanted):
            operands = [self._operand(operand) for operand in node.operands]
            if isinstance(node.op, Graph):
                results = self._block(node, node.op, operands)
            else:
                results = self._operation(node, operands)
            self.values.update(zip(node.results, results, strict=True))
        return self.values

    def _own(self, value: int, name: str, type: Tensor, *, learned: bool) -> None:
        state = State(tuple(int(str(dim)) for dim in type.shape), type.dtype, learned)
        self.values[value] = self.recorder.tensor(self.prefix + name, state)

    def _operand(self, operand: Operand) -> Value:
        return Scalar(operand.value) if isinstance(operand, Literal) else self.values[operand]

    def _operation(self, node: Node, operands: list[Value]) -> Sequence[Value]:
        given = [operand for operand in operands if operand is not None]
        if len(given) < len(operands):
            return [None] * len(node.results)
        assert not isinstance(node.op, Graph), "blocks are written by `_block`"
        self.recorder.meaning = self.meaning
        with self.assumptions:
            results = self.recorder.lower(
                node.op,
                given,
                [tensor(type) for type in node.types],
                scope=self.scope,
                prefix=self.prefix,
                label=node.label,
                names=node.names,
            )
        for result, type in zip(results, node.types, strict=True):
            shape = [substitute(dim, self.meaning) for dim in tensor(type).shape]
            self.types.setdefault(result.name, tensor(type).with_shape(*shape))
        return results

    def _block(self, node: Node, block: Graph, operands: list[Value]) -> Sequence[Value]:
        path = node.label or self.recorder.node_names.claim(f"{self.scope}{block.name}")[len(self.scope) :]
        body = _Body(
            self.recorder,
            block,
            self.types,
            f"{self.scope}{path.replace('.', '/')}/",
            f"{self.prefix}{node.label}." if node.label else self.prefix,
            {name: substitute(dim, self.meaning) for name, dim in node.sizes},
        )
        values = body.write(operands, {output.value for output in evaluation_outputs(block)})
        results: list[Value] = []
        for output, type in zip(block.outputs, node.types, strict=True):
            value = None if output.when_training else values.get(output.value)
            here = isinstance(value, OnnxValue)
            results.append(OnnxValue(value.name, tensor(type)) if here else value)
        return results


def needed(graph: Graph, wanted: Collection[int]) -> list[Node]:
    """The nodes that the values `wanted` need, in order."""
    live = set(wanted)
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if not live.isdisjoint(node.results):
            live.update(operand for operand in node.operands if isinstance(operand, int))
            kept.append(node)
    return kept[::-1]


def tensor(type: Type) -> Tensor:
    """`type`, which a graph without errors knows."""
    if not isinstance(type, Tensor):
        raise ValueError("a value has no type: the graph has errors")
    return type
