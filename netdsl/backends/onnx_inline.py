"""Bodies written into an ONNX recorder in evaluation mode: blocks in place, each layer under its own path."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final, TypeAlias

from netdsl.backends.errors import BackendError
from netdsl.backends.meaning import inside, outside
from netdsl.backends.onnx_target import Recorder
from netdsl.ir.decide import Assumptions
from netdsl.ir.dims import Dim
from netdsl.ir.graph import Graph, Literal, Node, Operand, Output
from netdsl.ir.types import Scalar, State, Tensor, Type
from netdsl.ops.base import ShapeProblem
from netdsl.ops.target import OnnxValue


class Absent:
    """A value that exists in training mode only."""


ABSENT: Final = Absent()
Value: TypeAlias = OnnxValue | Scalar | Absent | None  # None is an operand that is left out


def inline(
    recorder: Recorder, graph: Graph, inputs: Sequence[OnnxValue]
) -> tuple[dict[str, Tensor], list[OnnxValue]]:
    """Write a model for `inputs`: the types of the values in it, by name, and its evaluation-mode outputs.

    Raises `BackendError` where a type is unknown, and where an output needs what only training gives.
    """
    types: dict[str, Tensor] = {}
    outputs = evaluation_outputs(graph)
    body = _Body(recorder, graph, types, "/", "", {})
    values = body.write(inputs, {output.value for output in outputs})
    written: list[OnnxValue] = []
    for output, value in zip(outputs, (values.get(output.value) for output in outputs), strict=True):
        if not isinstance(value, OnnxValue):
            name = output.name or "output"
            raise BackendError(
                f"the output `{name}` of `{graph.name}` needs what exists in training mode only"
            )
        written.append(value)
    return types, written


def evaluation_outputs(graph: Graph) -> list[Output]:
    """The outputs that are not `when training`."""
    return [output for output in graph.outputs if not output.when_training]


class _Body:
    """One use of a body: its names, its tensors, and what its sizes are in the model's free dimensions."""

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
        """The values of the body, given those of its inputs; nodes that `wanted` does not need are not."""
        graph = self.graph
        for number, (entry, value) in enumerate(zip(graph.inputs, inputs, strict=True)):
            self.values[number] = _retyped(value, entry.type)
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
        if not isinstance(operand, Literal):
            return self.values[operand]
        return None if operand.value is None else Scalar(operand.value)

    def _operation(self, node: Node, operands: list[Value]) -> Sequence[Value]:
        given = [operand for operand in operands if not isinstance(operand, Absent)]
        if len(given) < len(operands):
            return [ABSENT] * len(node.results)
        assert not isinstance(node.op, Graph), "blocks are written by `_block`"
        self.recorder.meaning = self.meaning
        try:
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
        except ShapeProblem as problem:
            facts = [f"at {node.span}" if node.span else "", f"help: {problem.help}" if problem.help else ""]
            raise BackendError(problem.message, [fact for fact in facts if fact]) from problem
        for result, type in zip(results, node.types, strict=True):
            self.types.setdefault(result.name, tensor(outside(type, self.meaning)))
        return results

    def _block(self, node: Node, block: Graph, operands: list[Value]) -> Sequence[Value]:
        path = node.label or self.recorder.node_names.claim(f"{self.scope}{block.name}")[len(self.scope) :]
        body = _Body(
            self.recorder,
            block,
            self.types,
            f"{self.scope}{path.replace('.', '/')}/",
            f"{self.prefix}{node.label}." if node.label else self.prefix,
            inside(node, self.meaning),
        )
        values = body.write(operands, {output.value for output in evaluation_outputs(block)})
        return [
            ABSENT if output.when_training else _retyped(values[output.value], type)
            for output, type in zip(block.outputs, node.types, strict=True)
        ]


def _retyped(value: Value, type: Type) -> Value:
    """`value` as the other side of a block's border sees it, in the sizes of that side."""
    return OnnxValue(value.name, tensor(type)) if isinstance(value, OnnxValue) else value


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
        raise BackendError("a value has no type: the graph has errors")
    return type
