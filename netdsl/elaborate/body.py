"""`Body`: one graph under construction. It hands out value numbers and labels, and ends as a frozen `Graph`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from netdsl.elaborate.session import Session
from netdsl.elaborate.values import TensorValue
from netdsl.ir.dims import Dim
from netdsl.ir.graph import (
    Buffer,
    Graph,
    Initialiser,
    InitRule,
    Input,
    Literal,
    Node,
    Operand,
    Operation,
    Output,
    Parameter,
    Tie,
)
from netdsl.ir.types import Tensor, Type
from netdsl.source import Span


@dataclass(slots=True)
class Placed:
    """What a label names: the stage that made it, the operation or graph, and the place."""

    stage: Any
    op: Operation | Graph | None  # None where an error kept it from being made
    span: Span


@dataclass
class Body:
    """`sizes` gives the meaning of this body's own symbols in the root model's; empty at the root."""

    session: Session
    kind: str
    name: str
    sizes: Mapping[str, Dim] = field(default_factory=dict[str, Dim])
    outer: Body | None = None  # of a labelled list: the body it stands in
    inputs: list[Input] = field(default_factory=list[Input])
    input_values: list[int] = field(default_factory=list[int])  # their numbers
    parameters: list[Parameter] = field(default_factory=list[Parameter])
    buffers: list[Buffer] = field(default_factory=list[Buffer])
    tensors: dict[str, Span] = field(default_factory=dict[str, Span])  # the names of both
    nodes: list[Node] = field(default_factory=list[Node])
    outputs: list[Output] = field(default_factory=list[Output])
    inits: list[InitRule] = field(default_factory=list[InitRule])
    ties: list[Tie] = field(default_factory=list[Tie])
    types: list[Type] = field(default_factory=list[Type])  # of all values, by their numbers
    labels: dict[str, Placed] = field(default_factory=dict[str, Placed])
    prefixes: set[str] = field(default_factory=set[str])  # "layers" and "layers.0" for "layers.0.conv"
    layers: dict[str, Node] = field(default_factory=dict[str, Node])  # label -> its first node
    adopted: dict[int, TensorValue] = field(
        default_factory=dict[int, TensorValue]
    )  # outer value -> own input
    total: int = 0  # nodes, counting those inside blocks
    height: int = 0  # how deep its nodes nest: 1 without blocks
    buffer_sources: dict[int, int] = field(
        default_factory=dict[int, int]
    )  # a buffer -> what it was made from
    broken: bool = False  # an error keeps some of its outputs from being known
    uncertain: bool = False  # an error keeps some of its labels from being known
    value_names: dict[int, str] = field(default_factory=dict[int, str])  # what statements call the values
    _counters: dict[str, int] = field(default_factory=dict[str, int])

    # -- values

    def _new_value(self, type: Type) -> int:
        self.types.append(type)
        return len(self.types) - 1

    def add_input(self, name: str, type: Type, span: Span, axes: tuple[str, ...] = ()) -> TensorValue:
        """An input; its number is provisional, as all are until `finish`."""
        number = self._new_value(type)
        self.inputs.append(Input(name, type, axes, span))
        self.input_values.append(number)
        return TensorValue(self, number, type, span, name)

    def add_parameter(self, name: str, type: Tensor, init: Initialiser, span: Span) -> TensorValue:
        number = self._new_value(type)
        self.parameters.append(Parameter(name, number, type, init, span))
        self.tensors[name] = span
        return TensorValue(self, number, type, span, name)

    def add_buffer(self, name: str, type: Tensor, make: Graph, saved: bool, span: Span) -> TensorValue:
        number = self._new_value(type)
        self.buffers.append(Buffer(name, number, type, make, saved, span))
        self.tensors[name] = span
        return TensorValue(self, number, type, span, name)

    def adopt(self, value: TensorValue) -> TensorValue | None:
        """`value` as one of this body's: a labelled list takes tensors of the body around it as further inputs."""
        if value.body is self:
            return value
        if self.outer is None:
            return None
        outer = self.outer.adopt(value)
        if outer is None:
            return None
        if outer.number not in self.adopted:
            self.adopted[outer.number] = self.add_input(f"x{len(self.inputs)}", outer.type, value.origin)
        return self.adopted[outer.number]

    # -- labels

    def set_label(self, label: str, placed: Placed) -> None:
        self.labels[label] = placed
        while "." in label:
            label = label.rpartition(".")[0]
            self.prefixes.add(label)

    def clash(self, label: str) -> Placed | None:
        """The layer that has this label, or one that contains it or that it contains, as `layers` and `layers.0` do."""
        if label in self.labels:
            return self.labels[label]
        if label in self.prefixes:
            return next(placed for other, placed in self.labels.items() if other.startswith(label + "."))
        while "." in label:
            label = label.rpartition(".")[0]
            if label in self.labels:
                return self.labels[label]
        return None

    # -- nodes

    def add_node(
        self,
        op: Operation | Graph,
        operands: tuple[Operand, ...],
        types: tuple[Type, ...],
        span: Span,
        *,
        label: str | None = None,
        sizes: tuple[tuple[str, Dim], ...] = (),
        size: int = 1,
        height: int = 0,
    ) -> tuple[TensorValue, ...]:
        """Append a node (a block has `size` nodes, nested `height` deep) and return its results."""
        self.height = max(self.height, height + 1)
        if self.height > self.session.limits.nesting:
            limit = f"{self.session.limits.nesting:,}"
            self.session.stop("E0206", f"blocks and lists nested more than {limit} deep", span)
        self.total += size
        if self.total > self.session.limits.nodes:
            limit = f"{self.session.limits.nodes:,}"
            self.session.stop(
                "E0207", f"more than {limit} layers and operations", span, "`--max-nodes` raises the limit"
            )
        results = tuple(map(self._new_value, types))
        node = Node(op, operands, results, types, label, sizes, (), span)
        self.nodes.append(node)
        if label is not None:
            self.layers.setdefault(label, node)
        return tuple(TensorValue(self, n, t, span) for n, t in zip(results, types, strict=True))

    def free_label(self, kind: str) -> str:
        """The next name of an unlabelled layer with parameters: `conv2d_1`, `conv2d_2`."""
        stem = "".join(c if c.isalnum() else "_" for c in kind.lower())
        while True:
            count = self._counters.get(stem, 0) + 1
            self._counters[stem] = count
            label = f"{stem}_{count}"
            if label not in self.tensors and self.clash(label) is None:
                return label

    def names_of(self, node: Node) -> tuple[str, ...]:
        """What statements call the results of a node; nothing where they call none of them anything."""
        names = tuple(self.value_names.get(result, "") for result in node.results)
        return names if any(names) else ()

    # -- the end

    def finish(self, **fields: Any) -> Graph:
        """The graph: values numbered in order (inputs, params, buffers, results), nodes as they stand."""
        order = [*self.input_values]
        order += [p.value for p in self.parameters] + [b.value for b in self.buffers]
        order += [result for node in self.nodes for result in node.results]
        number = {value: index for index, value in enumerate(order)}
        nodes = tuple(
            Node(
                node.op,
                tuple(o if isinstance(o, Literal) else number[o] for o in node.operands),
                tuple(number[r] for r in node.results),
                node.types,
                node.label,
                node.sizes,
                self.names_of(node),
                node.span,
            )
            for node in self.nodes
        )
        return Graph(
            kind=self.kind,
            name=self.name,
            inputs=tuple(self.inputs),
            nodes=nodes,
            outputs=tuple(replace(o, value=number[o.value]) for o in self.outputs),
            parameters=tuple(replace(p, value=number[p.value]) for p in self.parameters),
            buffers=tuple(replace(b, value=number[b.value]) for b in self.buffers),
            inits=tuple(self.inits),
            ties=tuple(self.ties),
            **fields,
        )
