"""Passes: what they give verifies, twice is once, and the model means the same before and after."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from netdsl.backends.module import build
from netdsl.backends.parity import example_inputs, example_sizes
from netdsl.compiler import open_program
from netdsl.diagnostics import Report
from netdsl.ir.graph import Graph
from netdsl.ir.measure import parameter_count
from netdsl.ir.verify import verify
from netdsl.passes import DEFAULT, Pass, in_place, relu_after_pool, remove_dead, run
from netdsl.source import Source

SPECS = Path(__file__).parent.parent / "specs"
DEAD = """
block Noise {
  input x: [N, C]
  unused = x -> ReLU -> GELU
  kept = x -> lost: Linear(3)
  output x -> fc: Linear(C)
}
model Dead {
  input x: [N, 4]
  buffer table: [4] = ones(4) * 2
  y = x -> Tanh
  z = y * 3
  output (x -> Noise) * table
}
"""


SEEN = """
model Seen {
  input x: [N, 4]
  given = x -> ReLU(inplace = True)
  y = x -> first: Linear(4)
  twice = y -> ReLU(inplace = True)
  z = (y + twice) -> Sigmoid -> ReLU
  w = relu((z -> second: Linear(4)) -> ReLU6 -> act: ELU(inplace = True))
  output a = z * given
  output b = w -> third: Linear(4) -> act
}
"""
LARGEST = 30_000_000  # parameters of a model that is built here


def graphs() -> list[Graph]:
    """A graph of each file at hand, as the elaborator gives it, before any pass."""
    found: list[Graph] = []
    for source in [*map(Source.read, sorted(SPECS.glob("*.net"))), Source(DEAD), Source(SEEN)]:
        program = open_program(source, Report())
        assert program is not None
        name = next((name for name in program.models if not program.required(name)), None)
        if name is not None:
            graph = program.graph(name)
            assert graph is not None
            found += [graph] if parameter_count(graph) <= LARGEST else []
    return found


GRAPHS = graphs()


def tensors(results: Any) -> list[torch.Tensor]:
    """What a model returns, without what it returns in training only."""
    return [results] if isinstance(results, torch.Tensor) else [r for r in results if r is not None]


@pytest.mark.parametrize("apply", [*DEFAULT, in_place, relu_after_pool], ids=lambda p: p.__name__)
@pytest.mark.parametrize("graph", GRAPHS, ids=lambda g: g.name)
def test_a_pass_gives_a_sound_graph_and_twice_is_once(apply: Pass, graph: Graph) -> None:
    assert verify(graph) == []
    once = apply(graph)
    assert verify(once) == []
    assert apply(once) == once


@pytest.mark.slow
@pytest.mark.parametrize("graph", GRAPHS, ids=lambda g: g.name)
def test_a_model_means_the_same_after_the_passes(graph: Graph) -> None:
    before = build(graph).eval()
    after = build(run(graph)).eval()
    after.load_state_dict(before.state_dict(), strict=True)
    inputs = example_inputs(graph, example_sizes(graph)[0], 0)
    with torch.no_grad():
        pairs = zip(tensors(before(*inputs)), tensors(after(*inputs)), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


def test_dead_functions_go_and_dead_parameters_stay() -> None:
    (graph,) = [g for g in GRAPHS if g.name == "Dead"]
    cleaned = remove_dead(graph)
    kinds = [node.op.name if isinstance(node.op, Graph) else node.op.kind for node in cleaned.nodes]
    assert kinds == ["Noise", "mul"]
    assert dict(cleaned.state()) == dict(graph.state())
    (block,) = [node.op for node in cleaned.nodes if isinstance(node.op, Graph)]
    assert [node.label for node in block.nodes] == ["lost", "fc"]


def in_places(graph: Graph) -> list[bool]:
    return [node.op.inplace for node in graph.nodes if hasattr(node.op, "inplace")]


def test_only_what_nobody_else_sees_is_overwritten() -> None:
    (graph,) = [g for g in GRAPHS if g.name == "Seen"]
    # An input, a tensor read again, one that a gradient reads; one of its own; a layer that is applied twice.
    assert in_places(in_place(graph)) == [False, False, False, True, False, False, False]


def test_models_compute_the_same_in_place() -> None:
    (graph,) = [g for g in GRAPHS if g.name == "Seen"]
    module, x = build(graph), torch.randn(3, 4, requires_grad=True)
    y = module.first(x)
    z = (y + y.relu()).sigmoid()
    w = torch.nn.functional.elu(module.second(z).clamp(0, 6))
    expected = z * x.relu(), torch.nn.functional.elu(module.third(w))
    torch.testing.assert_close(tuple(module(x)), expected)
    wanted = torch.autograd.grad(sum(e.sum() for e in expected), x)
    torch.testing.assert_close(torch.autograd.grad(sum(e.sum() for e in module(x)), x), wanted)
