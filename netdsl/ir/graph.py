"""The graph: one immutable body of named inputs, nodes in topological order and named outputs.

Values are numbers. Inputs come first (0, 1, …), then `param`s and `buffer`s, then the results of the nodes in order, so
two graphs that say the same are equal. A node applies an operation or a block (another Graph); blocks stay blocks, and
the hierarchy of the source reaches the backends. Sizes inside a block are written in the block's own symbols;
`Node.sizes` says what they are in its caller's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Protocol, TypeAlias, runtime_checkable

from netdsl.ir.dims import Dim
from netdsl.ir.types import Scalar, State, Tensor, Type
from netdsl.source import Span


@runtime_checkable
class Operation(Protocol):
    """What a graph needs of an operation; `netdsl.ops` has them. Operations are frozen, hashable values."""

    kind: ClassVar[str]  # its name in the language: "Conv2d", "concat"
    is_layer: ClassVar[bool]  # a module with a label of its own, as opposed to a function
    pure: ClassVar[bool]  # the same operands give the same results, and nothing else happens
    inside: ClassVar[Mapping[str, str]]  # the kinds of the layers that torch's is made of, by dotted name

    def result_types(self, *operands: Tensor | Scalar) -> tuple[Tensor, ...]: ...
    def state(self, *operands: Tensor | Scalar) -> Mapping[str, State]: ...  # as in torch's state_dict
    def multiply_adds(self, *operands: Tensor | Scalar) -> Dim: ...
    def arguments(self) -> Mapping[str, Any]: ...  # what was given, by argument name, defaults left out


class Initialiser(Protocol):
    """How a parameter gets its first values, as `normal(std = 0.02)`."""

    @property
    def kind(self) -> str: ...
    def arguments(self) -> Mapping[str, Any]: ...
    def check(self, shape: tuple[int, ...]) -> None: ...  # raises what is wrong with filling such a tensor
    def torch(self) -> Any: ...  # the call of `nn.init` on `Arg(0)`


@dataclass(frozen=True, slots=True)
class Literal:
    """An operand that is a number, as `2` in `x * 2`; a Dim is computed from the inputs' shapes at run time.

    `Literal(None)` stands for an optional operand that is left out, before one that is given.
    """

    value: Dim | float | bool | None


Operand: TypeAlias = int | Literal  # a value's number, or a literal


@dataclass(frozen=True, slots=True)
class Input:
    """`axes` are what the source calls the axes, "" where it does not: `C`, of 64 here and of 96 in another block."""

    name: str
    type: Type
    axes: tuple[str, ...] = field(default=(), compare=False)
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Output:
    """`name` is None where the output has none; `when_training` outputs exist in training mode only."""

    value: int
    name: str | None = None
    when_training: bool = False
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A `param`: a learned tensor of this body."""

    name: str
    value: int
    type: Tensor
    init: Initialiser
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Buffer:
    """A `buffer`: a tensor that is not learned. `make` is a graph without inputs and with one output: its value."""

    name: str
    value: int
    type: Tensor
    make: Graph
    saved: bool = True
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class InitRule:
    """`init Conv2d.weight = …`: the parts of the pattern, and the initialiser. Later and inner rules win."""

    pattern: tuple[str, ...]
    init: Initialiser
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Tie:
    """`tie name = source`: one learned tensor, or one layer, under two names, which are paths from this body."""

    name: str
    source: str
    span: Span | None = field(default=None, compare=False)
    source_span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Node:
    """`op` applied to `operands`, giving the values `results` of the types `types`.

    `label` is the module's name in its body, dots nest; None for functions and for layers without parameters that
    nobody named. Two nodes with the same label are one layer, used twice.
    """

    op: Operation | Graph
    operands: tuple[Operand, ...]
    results: tuple[int, ...]
    types: tuple[Type, ...]
    label: str | None = None
    sizes: tuple[tuple[str, Dim], ...] = ()  # a block's own symbols, in this graph's
    names: tuple[str, ...] = field(
        default=(), compare=False
    )  # what the source calls the results, where it does
    span: Span | None = field(default=None, compare=False)

    @property
    def is_block(self) -> bool:
        return isinstance(self.op, Graph)


@dataclass(frozen=True, eq=True)
class Graph:
    """One body. `kind` is "model", "block" or "sequential" (a labelled list: its nodes are labelled "0", "1", …)."""

    kind: str
    name: str
    inputs: tuple[Input, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[Output, ...]
    parameters: tuple[Parameter, ...] = ()
    buffers: tuple[Buffer, ...] = ()
    inits: tuple[InitRule, ...] = ()
    ties: tuple[Tie, ...] = ()
    arguments: tuple[tuple[str, Any], ...] = ()  # of the block's parameters, as given or by default
    constraints: tuple[Any, ...] = ()  # `ir.decide.Constraint`s on a model's free dimensions
    doc: str = field(default="", compare=False)
    span: Span | None = field(default=None, compare=False)

    @cached_property
    def _hash(self) -> int:
        return hash((self.kind, self.name, self.inputs, self.nodes, self.outputs, self.arguments))

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def types(self) -> dict[int, Type]:
        """The type of every value, by its number."""
        types: dict[int, Type] = {number: entry.type for number, entry in enumerate(self.inputs)}
        types.update((p.value, p.type) for p in self.parameters)
        types.update((b.value, b.type) for b in self.buffers)
        for node in self.nodes:
            types.update(zip(node.results, node.types, strict=True))
        return types

    def operand_types(self, node: Node) -> tuple[Any, ...]:
        """The types of a node's operands: `Tensor`, `Scalar` for literals, None for those left out."""
        return tuple(_literal_type(o) if isinstance(o, Literal) else self.types[o] for o in node.operands)

    @cached_property
    def code(self) -> tuple[Any, ...]:
        """What the graph does, without the sizes it does it at: one layer applied twice has one code."""
        return (
            self.kind,
            self.name,
            len(self.inputs),
            tuple((p.name, p.value, p.type) for p in self.parameters),
            tuple((b.name, b.value, b.make) for b in self.buffers),
            tuple(
                (n.op.code if isinstance(n.op, Graph) else n.op, n.operands, n.results, n.label)
                for n in self.nodes
            ),
            tuple((o.value, o.name, o.when_training) for o in self.outputs),
        )

    @cached_property
    def producers(self) -> dict[int, Node]:
        """The node that makes a value; inputs, params and buffers have none."""
        return {value: node for node in self.nodes for value in node.results}

    @cached_property
    def uses(self) -> dict[int, tuple[Node, ...]]:
        """The nodes that read a value, in order."""
        uses: dict[int, list[Node]] = {}
        for node in self.nodes:
            for operand in dict.fromkeys(node.operands):
                if isinstance(operand, int):
                    uses.setdefault(operand, []).append(node)
        return {value: tuple(nodes) for value, nodes in uses.items()}

    @cached_property
    def layers(self) -> dict[str, Node]:
        """The labelled nodes by label, each once, in order of first use."""
        layers: dict[str, Node] = {}
        for node in self.nodes:
            if node.label is not None:
                layers.setdefault(node.label, node)
        return layers

    @cached_property
    def _layer_states(self) -> dict[str, Mapping[str, State]]:
        """Of the layers that were asked for."""
        return {}

    def layer_state(self, label: str, op: Operation) -> Mapping[str, State]:
        """What `op`, the layer `label` of this body, has in the `state_dict`."""
        found = self._layer_states.get(label)
        if found is None:
            found = self._layer_states[label] = op.state(*self.operand_types(self.layers[label]))
        return found

    def state(self, prefix: str = "") -> Iterator[tuple[str, State]]:
        """Names and shapes of the `state_dict`, as torch orders it: own parameters, own buffers, then the layers."""
        for parameter in self.parameters:
            yield prefix + parameter.name, _state_of(parameter.type, learned=True)
        for buffer in self.buffers:
            if buffer.saved:
                yield prefix + buffer.name, _state_of(buffer.type, learned=False)
        for label, node in self.layers.items():
            path = f"{prefix}{label}."
            if isinstance(node.op, Graph):
                yield from node.op.state(path)
            else:
                for name, state in self.layer_state(label, node.op).items():
                    yield path + name, state
        yield from ((prefix + name, state) for name, state in self._second_names())

    def _second_names(self) -> Iterator[tuple[str, State]]:
        """What layers that are tied have under their second name; a tensor that is tied has its layer's."""
        known = dict(replace(self, ties=()).state()) if self.ties else {}
        for tie in self.ties:
            inside = tie.source + "."
            found = {
                tie.name + key[len(tie.source) :]: s for key, s in known.items() if key.startswith(inside)
            }
            known |= found
            yield from found.items()

    def tied(self) -> dict[str, str]:
        """The keys of the `state_dict` that are second names of a tensor, with the first ones."""
        found: dict[str, str] = {}
        for label, node in self.layers.items():
            if isinstance(node.op, Graph):
                found.update((f"{label}.{name}", f"{label}.{key}") for name, key in node.op.tied().items())
        keys = [key for key, _ in self.state()] if self.ties else []
        for tie in self.ties:
            for key in keys:
                if key == tie.source or key.startswith(tie.source + "."):
                    found[tie.name + key[len(tie.source) :]] = found.get(key, key)
        return found

    def subgraphs(self) -> Iterator[Graph]:
        """Every distinct graph used in this one, callees before callers, this one last."""
        seen: set[int] = set()
        yield from _subgraphs(self, seen)

    @cached_property
    def symbols(self) -> tuple[str, ...]:
        """The names of the free dimensions in the inputs' shapes, in order of appearance."""
        from netdsl.ir.dims import symbols

        found: dict[str, None] = {}
        for entry in self.inputs:
            if isinstance(entry.type, Tensor):
                for dim in entry.type.shape:
                    found.update(dict.fromkeys(sorted(symbols(dim))))
        return tuple(found)

    def to_networkx(self) -> Any:
        """A `networkx.MultiDiGraph` of this body: a vertex a node, an edge a value, for reachability and drawing."""
        from netdsl.ir.views import to_networkx

        return to_networkx(self)


def _literal_type(literal: Literal) -> Scalar | None:
    return None if literal.value is None else Scalar(literal.value)


def _state_of(type: Tensor, *, learned: bool) -> State:
    return State(tuple(int(d) for d in type.shape), type.dtype, learned)  # type: ignore[arg-type]


def _subgraphs(graph: Graph, seen: set[int]) -> Iterator[Graph]:
    if id(graph) in seen:
        return
    seen.add(id(graph))
    for node in graph.nodes:
        if isinstance(node.op, Graph):
            yield from _subgraphs(node.op, seen)
    yield graph
