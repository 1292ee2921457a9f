"""Graphs obey their laws, and are the same again after a round trip through text and through JSON.

The operations here are made up: the graph knows nothing of real ones.
"""

from __future__ import annotations

import doctest
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netdsl.ir import text as text_module
from netdsl.ir import values as values_module
from netdsl.ir.decide import Constraint
from netdsl.ir.dims import Dim, Expr, substitute, symbol
from netdsl.ir.graph import (
    Buffer,
    Graph,
    InitRule,
    Input,
    Literal,
    Node,
    Operation,
    Output,
    Parameter,
)
from netdsl.ir.reader import read_size
from netdsl.ir.schema import from_json, to_json
from netdsl.ir.text import print_graph, read_graph
from netdsl.ir.types import DTYPES, UNKNOWN, Scalar, State, Tensor, Type
from netdsl.ir.values import GraphFormatError, Shown, Vocabulary
from netdsl.ir.verify import verify

N, H, W = symbol("N"), symbol("H"), symbol("W")


@dataclass(frozen=True)
class Toy:
    """An operation that gives back its first operand's type; a capital makes it a layer with a weight."""

    kind: str
    given: tuple[tuple[str, Any], ...] = ()
    pure: bool = True

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
_arguments = st.dictionaries(_names, _values, max_size=2).map(lambda given: tuple(given.items()))
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
        Input(name, draw(_types | st.just(UNKNOWN)))
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


def test_the_text_of_a_graph_is_readable() -> None:
    assert print_graph(outer(small())) == TEXT


# Round trips


@pytest.mark.parametrize("way", ROUND_TRIPS)
@settings(max_examples=40)
@given(graph=graphs())
def test_a_graph_is_the_same_after_a_round_trip(way: str, graph: Graph) -> None:
    again = ROUND_TRIPS[way](graph)
    assert again == graph
    assert hash(again) == hash(graph)
    # Equality does not tell 1, 1.0 and True apart; the text does.
    assert print_graph(again) == print_graph(graph)


@settings(max_examples=40)
@given(graphs())
def test_random_graphs_are_sound(graph: Graph) -> None:
    assert verify(graph) == []


@pytest.mark.parametrize("way", ROUND_TRIPS)
@settings(max_examples=20)
@given(graph=graphs())
def test_docs_and_names_of_values_survive(way: str, graph: Graph) -> None:
    pairs = [(graph, ROUND_TRIPS[way](graph))]
    for before, after in pairs:
        assert after.doc == before.doc
        for old, new in zip(before.nodes, after.nodes, strict=True):
            assert new.names == old.names
            if isinstance(old.op, Graph) and isinstance(new.op, Graph):
                pairs.append((old.op, new.op))


@pytest.mark.parametrize("way", ROUND_TRIPS)
def test_equal_blocks_are_written_once_and_read_as_one(way: str) -> None:
    graph = outer(small())
    graph = replace(graph, nodes=(graph.nodes[0], replace(graph.nodes[1], op=small())))
    assert graph.nodes[0].op is not graph.nodes[1].op
    again = ROUND_TRIPS[way](graph)
    assert again.nodes[0].op is again.nodes[1].op
    assert print_graph(graph).count("@Small:") == 1
    assert len(json.loads(to_json(graph))["graphs"]) == 3


def test_blocks_that_differ_in_a_number_s_type_stay_apart() -> None:
    graph = outer(small())
    other = small(arguments=(("width", 8.0), ("norm", Shown("Norm(eps = 0.1)"))))
    assert other == small()
    graph = replace(graph, nodes=(graph.nodes[0], replace(graph.nodes[1], op=other)))
    assert "@Small_2: block Small(width = 8.0" in print_graph(graph)
    assert len(json.loads(to_json(graph))["graphs"]) == 4


@pytest.mark.parametrize("way", ROUND_TRIPS)
def test_a_value_of_the_compiler_is_kept_as_its_text(way: str) -> None:
    graph = small(arguments=(("norm", Unwritable()), ("norms", (Unwritable(), 2))))
    again = ROUND_TRIPS[way](graph)
    shown = Shown('Norm(eps = "1e-3")')
    assert again.arguments == (("norm", shown), ("norms", (shown, 2)))
    assert ROUND_TRIPS[way](again) == again


@pytest.mark.parametrize("way", ROUND_TRIPS)
def test_what_does_not_count_in_a_value_is_left_out(way: str) -> None:
    again = ROUND_TRIPS[way](small(arguments=(("step", Step(1, (2, H), place=Unwritable())),)))
    assert again.arguments == (("step", Step(1, (2, H))),)


def test_deeply_nested_blocks_make_the_round_trip() -> None:
    x = Tensor((N, 8))
    graph = small()
    for depth in range(250):
        node = Node(graph, (0,), (1, 2), (x, x), "inner", (("N", N),))
        graph = Graph("block", f"B{depth}", (Input("x", x),), (node,), (Output(1), Output(2, "early")))
    assert verify(graph) == []
    for again in ROUND_TRIPS.values():
        assert print_graph(again(graph)) == print_graph(graph)


# The laws

x8 = Tensor((N, 8))
LINEAR = Toy("Linear")
FAULTS: dict[str, tuple[Graph, str]] = {
    "a value is used before it is there": (
        small(nodes=(Node(Toy("add"), (2,), (2,), (x8,)),), outputs=(Output(2),)),
        "Small: node 0 (add): value 2 is used before it is there",
    ),
    "a value is defined twice": (
        small(nodes=(Node(Toy("add"), (0,), (1,), (x8,)),), outputs=(Output(1),)),
        "Small: node 0 (add): a result is value 1, but 2 comes next",
    ),
    "a number is left out": (
        small(nodes=(Node(Toy("add"), (0,), (7,), (x8,)),), outputs=(Output(7),)),
        "Small: node 0 (add): a result is value 7, but 2 comes next",
    ),
    "a param is misnumbered": (
        small(parameters=(Parameter("scale", 5, Tensor((8,)), Toy("zeros")),)),
        "Small: param `scale` is value 5, but 1 comes next",
    ),
    "types and results differ in number": (
        small(nodes=(Node(Toy("add"), (0,), (2,), (x8, x8)),), outputs=(Output(2),)),
        "Small: node 0 (add): 1 results and 2 types",
    ),
    "a node gives nothing": (
        small(nodes=(Node(Toy("add"), (0,), (), ()),), outputs=(Output(0),)),
        "Small: node 0 (add): there is no result",
    ),
    "an output does not exist": (small(outputs=(Output(9, "y"),)), "Small: output y: value 9 does not exist"),
    "there is no output": (small(outputs=()), "Small: there is no output"),
    "a label names two layers": (
        small(nodes=(*small().nodes[:2], Node(LINEAR, (3,), (4,), (x8,), "fc"))),
        "Small: node 2 (fc: Linear): `fc` names another layer already",
    ),
    "a layer has no label": (
        small(nodes=(Node(LINEAR, (0,), (2,), (x8,)),), outputs=(Output(2),)),
        "Small: node 0 (Linear): it has tensors and no label",
    ),
    "a label lies inside another": (
        small(nodes=(Node(LINEAR, (0,), (2,), (x8,), "a"), Node(LINEAR, (0,), (3,), (x8,), "a.b"))),
        "Small: `a.b` lies inside the layer `a`",
    ),
    "a label is empty between dots": (
        small(nodes=(Node(LINEAR, (0,), (2,), (x8,), "a..b"),), outputs=(Output(2),)),
        "Small: node 0 (a..b: Linear): `a..b` is no label",
    ),
    "a layer and a tensor share a name": (
        small(nodes=(Node(LINEAR, (0,), (2,), (x8,), "scale.0"),), outputs=(Output(2),)),
        "Small: `scale` is a tensor and a layer",
    ),
    "two inputs share a name": (
        small(inputs=(Input("x", x8), Input("x", x8))),
        "Small: input `x` is there 2 times",
    ),
    "two outputs share a name": (
        small(outputs=(Output(4, "y"), Output(3, "y"))),
        "Small: output `y` is there 2 times",
    ),
    "an argument is there twice": (
        small(arguments=(("k", 1), ("k", 2))),
        "Small: argument `k` is there 2 times",
    ),
    "the kind is unknown": (
        small(kind="thing"),
        "Small: the kind of a graph is one of model, block, sequential, buffer, not `thing`",
    ),
    "an operation has sizes": (
        small(nodes=(Node(Toy("add"), (0,), (2,), (x8,), sizes=(("N", N),)),), outputs=(Output(2),)),
        "Small: node 0 (add): an operation has no sizes of its own",
    ),
    "a block gets too few operands": (
        outer(small(inputs=(Input("x", x8), Input("z", x8)), parameters=())),
        "Outer: node 0 (left: Small): 1 operands for 2 inputs",
    ),
    "a block gets a number": (
        outer(small(), nodes=(Node(small(), (Literal(2),), (3, 4), (x8, x8), "left"),), outputs=(Output(3),)),
        "Outer: node 0 (left: Small): input `x` is given a number",
    ),
    "an operand does not fit a block": (
        outer(small(inputs=(Input("x", Tensor((N, 9))),))),
        "Outer: node 0 (left: Small): input `x` is [N, 9], its operand [N, 8]",
    ),
    "an operand has another dtype": (
        outer(small(inputs=(Input("x", Tensor((N, 8), "int64")),))),
        "Outer: node 0 (left: Small): input `x` is int64[N, 8], its operand [N, 8]",
    ),
    "an operand fits at other sizes only": (
        outer(small(), nodes=(Node(small(), (1,), (3, 4), (x8, x8), "left"),), outputs=(Output(3),)),
        "Outer: node 0 (left: Small): input `x` is [N, 8], its operand [2*H, 8]",
    ),
    "a block gives another number of results": (
        outer(small(outputs=(Output(4),))),
        "Outer: node 0 (left: Small): 2 results for 1 outputs",
    ),
    "a result is of another type": (
        outer(
            small(),
            nodes=(Node(small(), (0,), (3, 4), (Tensor((H, 8)), x8), "left"),),
            outputs=(Output(3),),
        ),
        "Outer: node 0 (left: Small): output 0 is [N, 8], the result [H, 8]",
    ),
    "a buffer is made of another type": (
        outer(small(), buffers=(Buffer("index", 2, Tensor((5,), "int64"), outer(small()).buffers[0].make),)),
        "Outer: buffer `index` is int64[5], but int64[4] is made",
    ),
    "a buffer needs an input": (
        outer(small(), buffers=(Buffer("index", 2, x8, small()),)),
        "Outer: buffer `index` has 1 inputs and 2 outputs",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_law_is_found(fault: str) -> None:
    graph, message = FAULTS[fault]
    assert message in verify(graph)


def test_a_fault_in_a_shared_block_is_told_once() -> None:
    assert verify(outer(small(outputs=(Output(4), Output(9, "y"))))) == [
        "Small: output y: value 9 does not exist"
    ]


def test_the_same_layer_at_two_sizes_keeps_the_law_of_labels() -> None:
    wide, tall = small(), small(inputs=(Input("x", Tensor((N, 8))),), doc="the same code")
    graph = outer(wide)
    nodes = (graph.nodes[0], replace(graph.nodes[1], op=tall, label="left"))
    assert verify(replace(graph, nodes=nodes)) == []


def test_an_operation_that_refuses_its_operands_is_not_asked_further() -> None:
    class Refusing(Toy):
        def state(self, *_: Tensor | Scalar) -> Mapping[str, State]:
            raise RuntimeError("not these operands")

    graph = small(nodes=(Node(Refusing("Linear"), (0,), (2,), (x8,)),), outputs=(Output(2),))
    assert verify(graph) == []
    assert isinstance(graph.nodes[0].op, Operation)


# Reading what is not a graph


def edited(old: str, new: str) -> str:
    assert TEXT.count(old) == 1, f"{old} stands once in the text"
    return TEXT.replace(old, new)


BAD_TEXTS = [
    ("", "line 1: there is no graph"),
    ("  output %0", "line 1, column 3: expected `@name:`, found `output`"),
    (
        edited("init ", "oops "),
        "line 21, column 3: expected a value, `output`, `init`, `constraint` or `doc`",
    ),
    (edited("normal(", "uniform("), "line 8: there is no initialiser `uniform`"),
    (edited("%3 = add(", "%3 = sub("), "line 10: there is no operation `sub`"),
    (edited("add()(4)", "add(bad = 1)(4)"), "line 2: operation `add`: `bad` is not an argument"),
    (edited("add()(4)", "add(k = 1, k = 2)(4)"), "line 2, column 21: `k` is given twice"),
    (edited("add()(4)", "add(k = Slice())(4)"), "line 2: there is no value `Slice`"),
    (edited(": int64[4]\n  output %0", ": int65[4]\n  output %0"), "line 2, column 19: expected a dtype"),
    (edited("@index unsaved", "@Index unsaved"), "line 18, column 40: there is no `@Index` above"),
    (edited("output logits: %5", "output logits: 5"), "line 22, column 18: expected `%`, found `5`"),
    (
        edited("output logits: %5", "output logits: %5 always"),
        "line 22, column 21: expected the end of the line",
    ),
    (edited("output logits: %5", "output logits: %7"), "Outer: output logits: value 7 does not exist"),
    (edited("H % 2 == 0", "H % 2 = 0"), "line 23, column 20: expected a relation, found `=`"),
    (edited("H % 2 == 0", "H % 0 == 0"), "line 23, column 20: a dimension divided by zero"),
    (edited("[2*H, 8]\n  %2", "[2*, 8]\n  %2"), "line 17, column 20: expected a size, found `,`"),
    (edited("%1 = input", "%2 = input"), "line 17, column 25: input `y` is value %1"),
    (edited("@Small: block", "@index: block"), "line 5, column 7: `@index` is there already"),
    (edited("@Small: block", "@Small: brick"), "Small: the kind of a graph is one of"),
    (edited('"Two layers', '"\\x Two layers'), "line 6, column 7: expected a text with valid escapes"),
    (edited("(%0) with", "(%0, $) with"), "line 19, column 29: expected a size, found `$`"),
    (edited("scale: [8]", "scale: unknown"), "line 8, column 29: expected a shape before"),
    (edited("add()(4)", "add(k = 9**99)(4)"), "line 2, column 21: expected a smaller power"),
    (edited("add()(4)", f"add(k = {'[' * 200})(4)"), "nested more than 100 deep"),
    (edited("add()(4)", f"add(k = {'(' * 200})(4)"), "nested more than 100 deep"),
    (edited("add()(4)", f"add(k = {'-' * 200}1)(4)"), "nested more than 100 deep"),
    (edited("add()(4)", f"add(k = {'9' * 5000})(4)"), "line 2, column 16: expected a number"),
    (edited("add()(4)", 'add(k = float("big"))(4)'), 'expected `float("inf")`'),
]


@pytest.mark.parametrize(("text", "message"), BAD_TEXTS, ids=[message for _, message in BAD_TEXTS])
def test_a_text_that_is_no_graph_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(GraphFormatError) as raised:
        read_graph(text, VOCABULARY)
    assert str(raised.value).startswith(message) or message in str(raised.value)


def changed(path: str, value: Any) -> str:
    """The JSON of the example with the entry at `path` replaced."""
    data = json.loads(to_json(outer(small())))
    *steps, last = [int(part) if part.isdecimal() else part for part in path.split("/")]
    entry = data
    for step in steps:
        entry = entry[step]
    entry[last] = value
    return json.dumps(data)


BAD_JSON = [
    ("", "the file: Invalid JSON"),
    ("[]", "the file: Input should be an object"),
    (changed("version", 2), "version: Input should be 1"),
    (changed("format", "other"), "format: Input should be 'netdsl graph'"),
    (changed("extra", 1), "the file: Extra inputs are not permitted"),
    (changed("graphs", []), "graphs: List should have at least 1 item"),
    (changed("graphs/1/kind", "thing"), "graphs[1].kind: Input should be 'model'"),
    (changed("graphs/1/nodes/0/results", "x"), "graphs[1].nodes[0].results: Input should be a valid array"),
    (changed("graphs/1/nodes/0/types/0/shape/1", 1.5), "graphs[1].nodes[0].types[0].shape[1]: Input should"),
    (
        changed("graphs/1/nodes/0/types/0/shape/1", "H//"),
        "graphs[1].nodes[0].types[0]: size, column 4: expected a size",
    ),
    (
        changed("graphs/1/nodes/0/types/0/dtype", "int65"),
        "graphs[1].nodes[0].types[0]: there is no dtype `int65`",
    ),
    (changed("graphs/1/nodes/1/op/kind", "sub"), "graphs[1].nodes[1]: there is no operation `sub`"),
    (
        changed("graphs/1/nodes/1/op/arguments", {"bad": 1}),
        "graphs[1].nodes[1]: operation `add`: `bad` is not",
    ),
    (
        changed("graphs/1/nodes/1/op/arguments", {"k": {"what": 1}}),
        "graphs[1].nodes[1].k: an object with what is no",
    ),
    (
        changed("graphs/1/nodes/1/op/arguments", {"k": {"size": "H//0"}}),
        "graphs[1].nodes[1].k: size, column 5: a dim",
    ),
    (
        changed("graphs/1/parameters/0/init/kind", "uniform"),
        "graphs[1].parameters[0]: there is no initialiser",
    ),
    (changed("graphs/2/nodes/0/op", 2), "graphs[2].nodes[0]: graph 2 does not come before this one"),
    (changed("graphs/2/nodes/0/op", -1), "graphs[2].nodes[0].op: Input should be"),
    (changed("graphs/2/outputs/0/value", 7), "Outer: output logits: value 7 does not exist"),
    (changed("graphs/2/constraints/0/op", "="), "graphs[2].constraints[0].op: Input should be '<'"),
]


@pytest.mark.parametrize(("text", "message"), BAD_JSON, ids=[message for _, message in BAD_JSON])
def test_json_that_is_no_graph_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(GraphFormatError) as raised:
        from_json(text, VOCABULARY)
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize("read", [read_graph, from_json], ids=["text", "json"])
@settings(max_examples=150)
@given(st.data())
def test_damaged_files_are_refused_or_are_graphs(read: Callable[..., Graph], data: st.DataObject) -> None:
    source = TEXT if read is read_graph else to_json(outer(small()))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(source)))
        end = min(len(source), start + data.draw(st.integers(0, 6)))
        scrap = data.draw(
            st.sampled_from(["", "%", "(", "[", '"', "9", "{", "}", ",", " N", "//", "**9", "@", "\n", "-"])
        )
        source = source[:start] + scrap + source[end:]
    try:
        graph = read(source, VOCABULARY)
    except GraphFormatError:
        return
    assert verify(graph) == []


@settings(max_examples=150)
@given(st.text(alphabet="NHW019 +-*/%()", max_size=20))
def test_a_size_reads_as_python_reads_it(source: str) -> None:
    try:
        expected = eval(source, {"__builtins__": {}}, {"N": N, "H": H, "W": W})
    except Exception:
        return
    if not isinstance(expected, (int, Expr)):
        return
    try:
        assert read_size(source) == expected
    except GraphFormatError:
        assert (
            "+" in source or "/" in source or "**" in source
        )  # unary plus, `/` and signed powers are not read


@pytest.mark.parametrize("module", [text_module, values_module], ids=lambda module: module.__name__)
def test_documented_examples_are_true(module: Any) -> None:
    names = {"symbol": symbol, "Tensor": Tensor}
    assert doctest.testmod(module, extraglobs=names).failed == 0
