"""Graphs of made-up operations, random ones and one with everything in it: a graph knows nothing of real ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from hypothesis import strategies as st

from netdsl.ir.decide import Constraint
from netdsl.ir.dims import Dim, substitute, symbol
from netdsl.ir.graph import (
    Buffer,
    Graph,
    InitRule,
    Input,
    Literal,
    Node,
    Output,
    Parameter,
    Tie,
)
from netdsl.ir.schema import from_json, to_json
from netdsl.ir.text import print_graph, read_graph
from netdsl.ir.types import DTYPES, UNKNOWN, Scalar, State, Tensor, Type
from netdsl.ir.values import Shown, Vocabulary

N, H, W = symbol("N"), symbol("H"), symbol("W")


@dataclass(frozen=True)
class Toy:
    """An operation that gives back its first operand's type; a capital makes it a layer with a weight."""

    kind: str
    given: tuple[tuple[str, Any], ...] = ()
    pure: bool = True
    inside: ClassVar[Mapping[str, str]] = {}

    @property
    def is_layer(self) -> bool:
        return self.kind[0].isupper()

    def result_types(self, *operands: Tensor | Scalar) -> tuple[Tensor, ...]:
        return tuple(operand for operand in operands[:1] if isinstance(operand, Tensor))

    def state(self, *_: Tensor | Scalar) -> Mapping[str, State]:
        return {"weight": State((3,))} if self.is_layer else {}

    def multiply_adds(self, *_: Tensor | Scalar) -> Dim:
        return 0

    def arguments(self) -> Mapping[str, Any]:
        return dict(self.given)


@dataclass(frozen=True)
class Step:
    """A further value of operations."""

    start: Any = None
    size: Any = 1
    place: Any = field(default=None, compare=False)


class Unwritable:
    """A value that means something to the compiler only."""

    def __str__(self) -> str:
        return 'Norm(eps = "1e-3")'


KINDS = ("Linear", "Norm", "add", "relu", "input", "odd kind")


def make_toy(kind: str, arguments: dict[str, Any]) -> Toy:
    if kind not in KINDS:
        raise KeyError(kind)
    if "bad" in arguments:
        raise ValueError("`bad` is not an argument")
    return Toy(kind, tuple(arguments.items()))


def make_init(kind: str, arguments: dict[str, Any]) -> Toy:
    return Toy({"normal": "normal", "zeros": "zeros"}[kind], tuple(arguments.items()))


def make_value(kind: str, fields: dict[str, Any]) -> Step:
    return {"Step": Step}[kind](**fields)


VOCABULARY = Vocabulary(make_toy, make_init, make_value)
ROUND_TRIPS: dict[str, Callable[[Graph], Graph]] = {
    "text": lambda graph: read_graph(print_graph(graph), VOCABULARY),
    "json": lambda graph: from_json(to_json(graph), VOCABULARY),
}

# Random graphs

_names = st.sampled_from(["a", "b", "x", "conv1", "input", "output", "self", "None", "with"]) | st.text(
    min_size=1, max_size=4
)
_dims = st.sampled_from([1, 3, 28, N, H, 2 * H, (H - 3) // 2 + 1, N * (W // 2), (7 - H % 7) % 7, H - H // 2])
_types = st.builds(Tensor, st.lists(_dims, max_size=3).map(tuple), st.sampled_from(DTYPES))
_plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.text(max_size=5),
    _dims,
    _types,
    st.just(...),
)
_values = st.recursive(
    _plain,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(tuple),
        st.builds(Step, inner, inner),
    ),
    max_leaves=4,
)
_arguments = st.dictionaries(_names, _values, max_size=2).map(lambda found: tuple(found.items()))
_literals = st.builds(
    Literal, st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.floats(-2, 2), _dims)
)
_inits = st.builds(Toy, st.sampled_from(["normal", "zeros"]), _arguments)
_constraints = st.sampled_from(
    [Constraint(H % 32, "==", 0), Constraint(N, "==", W), Constraint(H, ">=", 5), Constraint(H % 4, "<=", 2)]
)


@st.composite
def graphs(draw: st.DrawFn, depth: int = 2) -> Graph:
    """A sound graph, with blocks inside blocks some of which are shared."""
    inputs = tuple(
        Input(name, draw(_types | st.just(UNKNOWN)), draw(st.sampled_from([(), ("C", "", "H")])))
        for name in draw(st.lists(_names, min_size=1, max_size=2, unique=True))
    )
    tensors = draw(st.lists(_names, max_size=3, unique=True))
    cut = draw(st.integers(0, len(tensors)))
    count = len(inputs)
    parameters = tuple(
        Parameter(name, count + i, draw(_types), draw(_inits)) for i, name in enumerate(tensors[:cut])
    )
    buffers = tuple(
        _buffer(name, count + cut + i, draw(_types), draw(st.booleans()))
        for i, name in enumerate(tensors[cut:])
    )
    types: list[Type] = [entry.type for entry in (*inputs, *parameters, *buffers)]
    inner = draw(st.lists(graphs(depth=depth - 1), max_size=2)) if depth else []
    nodes: list[Node] = []
    for _ in range(draw(st.integers(0, 5))):
        node = draw(_applications(inner, types) | _operations(types)) if inner else draw(_operations(types))
        label = f"l{draw(st.integers(0, 2))}.{len(nodes)}" if node.op in inner or node.op.is_layer else None
        node = replace(node, label=label, names=draw(st.sampled_from([(), ("y",) * len(node.results)])))
        types += node.types
        nodes.append(node)
        if label is not None and draw(st.booleans()):
            again = replace(node, results=tuple(range(len(types), len(types) + len(node.types))))
            types += again.types
            nodes.append(again)
    numbers = st.integers(0, len(types) - 1)
    outputs = draw(st.lists(st.builds(Output, numbers, st.none(), st.booleans()), min_size=1, max_size=2))
    named = draw(st.lists(_names, min_size=len(outputs), max_size=len(outputs), unique=True))
    return Graph(
        kind=draw(st.sampled_from(["model", "block", "sequential"])),
        name=draw(_names),
        inputs=inputs,
        nodes=tuple(nodes),
        outputs=tuple(replace(o, name=name) for o, name in zip(outputs, named, strict=True)),
        parameters=parameters,
        buffers=buffers,
        inits=tuple(
            draw(st.lists(st.builds(InitRule, st.lists(_names, max_size=2).map(tuple), _inits), max_size=1))
        ),
        ties=tuple(Tie("again", node.label) for node in nodes[:1] if node.label and draw(st.booleans())),
        arguments=draw(_arguments),
        constraints=tuple(draw(st.lists(_constraints, max_size=2))),
        doc=draw(st.text(max_size=10)),
    )


def _buffer(name: str, value: int, type: Tensor, saved: bool) -> Buffer:
    make = Graph("buffer", name, (), (Node(Toy("add"), (), (0,), (type,)),), (Output(0),))
    return Buffer(name, value, type, make, saved)


def _operations(types: list[Type]) -> st.SearchStrategy[Node]:
    operands = st.lists(st.integers(0, len(types) - 1) | _literals, max_size=2).map(tuple)
    results = st.lists(_types | st.just(UNKNOWN), min_size=1, max_size=2)
    op = st.builds(Toy, st.sampled_from(KINDS), _arguments)
    return st.builds(
        lambda op, operands, results: Node(
            op, operands, tuple(range(len(types), len(types) + len(results))), tuple(results)
        ),
        op,
        operands,
        results,
    )


def _applications(inner: list[Graph], types: list[Type]) -> st.SearchStrategy[Node]:
    """A block applied to values that fit its inputs, where there are such; else to values without a type."""
    sizes = (("H", 2 * W), ("N", N + 1))

    def apply(block: Graph) -> Node:
        operands: list[int] = []
        for entry in block.inputs:
            wanted = _outside(entry.type, dict(sizes))
            fitting = [i for i, type in enumerate(types) if wanted in (type, UNKNOWN) or type == UNKNOWN]
            operands.append(fitting[0] if fitting else -1)
        found = tuple(_outside(block.types[o.value], dict(sizes)) for o in block.outputs)
        return Node(
            block, tuple(operands), tuple(range(len(types), len(types) + len(found))), found, sizes=sizes
        )

    possible = [node for node in map(apply, inner) if -1 not in node.operands]
    return st.sampled_from(possible) if possible else _operations(types)


def _outside(type: Type, sizes: dict[str, Dim]) -> Type:
    if not isinstance(type, Tensor):
        return type
    return type.with_shape(*(substitute(dim, sizes) for dim in type.shape))


# One graph with everything in it


def small(**changes: Any) -> Graph:
    """A block of one shared layer, a function and a param; `changes` replace fields."""
    x = Tensor((N, 8))
    layer = Toy("Linear", (("out_features", 8),))
    graph = Graph(
        kind="block",
        name="Small",
        inputs=(Input("x", x),),
        parameters=(Parameter("scale", 1, Tensor((8,)), Toy("normal", (("std", 0.02),))),),
        nodes=(
            Node(layer, (0,), (2,), (x,), "fc"),
            Node(Toy("add"), (2, 1, Literal(2)), (3,), (x,)),
            Node(layer, (3,), (4,), (x,), "fc", names=("y",)),
        ),
        outputs=(Output(4), Output(3, "early", when_training=True)),
        arguments=(("width", 8), ("norm", Shown("Norm(eps = 0.1)"))),
        doc="Two layers that are one.",
    )
    return replace(graph, **changes)


def outer(block: Graph, **changes: Any) -> Graph:
    """A model that applies `block` twice, at different sizes."""
    index = Tensor((4,), "int64")
    make = Graph("buffer", "index", (), (Node(Toy("add"), (Literal(4),), (0,), (index,)),), (Output(0),))
    wide, tall = Tensor((N, 8)), Tensor((2 * H, 8))
    graph = Graph(
        kind="model",
        name="Outer",
        inputs=(Input("x", wide), Input("y", tall)),
        buffers=(Buffer("index", 2, index, make, saved=False),),
        nodes=(
            Node(block, (0,), (3, 4), (wide, wide), "left", (("N", N),)),
            Node(block, (1,), (5, 6), (tall, tall), "right.0", (("N", 2 * H),), names=("", "early")),
        ),
        outputs=(Output(5, "logits"),),
        inits=(InitRule(("Linear", "*"), Toy("zeros")),),
        constraints=(Constraint(H % 2, "==", 0),),
    )
    return replace(graph, **changes)


TEXT = """\
@index: buffer index
  %0 = add()(4) : int64[4]
  output %0

@Small: block Small(width = 8, norm = shown("Norm(eps = 0.1)"))
  doc "Two layers that are one."
  %0 = input x: [N, 8]
  %1 = param scale: [8] = normal(std = 0.02)
  %2 = fc: Linear(out_features = 8)(%0) : [N, 8]
  %3 = add()(%2, %1, 2) : [N, 8]
  %4 = fc: Linear(out_features = 8)(%3) : [N, 8] as y
  output %4
  output early: %3 when training

@Outer: model Outer
  %0 = input x: [N, 8]
  %1 = input y: [2*H, 8]
  %2 = buffer index: int64[4] = @index unsaved
  %3, %4 = left: @Small(%0) with (N = N) : [N, 8], [N, 8]
  %5, %6 = "right.0": @Small(%1) with (N = 2*H) : [2*H, 8], [2*H, 8] as "", early
  init "Linear" "*" = zeros()
  output logits: %5
  constraint H % 2 == 0
"""
