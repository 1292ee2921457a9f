"""Graphs obey their laws, and are the same again after a round trip through text and through JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings

from netdsl.ir.graph import (
    Buffer,
    Graph,
    Input,
    Literal,
    Node,
    Operation,
    Output,
    Parameter,
)
from netdsl.ir.schema import to_json
from netdsl.ir.text import print_graph
from netdsl.ir.types import Scalar, State, Tensor
from netdsl.ir.values import Shown
from netdsl.ir.verify import verify
from tests.strategies_graph import (
    ROUND_TRIPS,
    TEXT,
    H,
    N,
    Step,
    Toy,
    Unwritable,
    graphs,
    outer,
    small,
)


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
