"""Passes: what they give verifies, twice is once, and the model means the same before and after."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from netdsl.backends.module import build
from netdsl.backends.parity import example_inputs, example_sizes
from netdsl.compiler import open_program
from netdsl.diagnostics import Report
from netdsl.ir.graph import Graph
from netdsl.ir.verify import verify
from netdsl.passes import DEFAULT, Pass, remove_dead, run
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


def graphs() -> list[Graph]:
    """The graphs of all models at hand, as the elaborator gives them, before any pass."""
    found: list[Graph] = []
    for source in [Source.read(path) for path in sorted(SPECS.glob("*.net"))] + [Source(DEAD)]:
        program = open_program(source, Report())
        assert program is not None
        for name in program.models:
            graph = program.graph(name)
            assert graph is not None
            found.append(graph)
    return found


GRAPHS = graphs()


@pytest.mark.parametrize("apply", DEFAULT, ids=lambda p: p.__name__)
@pytest.mark.parametrize("graph", GRAPHS, ids=lambda g: g.name)
def test_a_pass_gives_a_sound_graph_and_twice_is_once(apply: Pass, graph: Graph) -> None:
    assert verify(graph) == []
    once = apply(graph)
    assert verify(once) == []
    assert apply(once) == once


@pytest.mark.parametrize("graph", GRAPHS, ids=lambda g: g.name)
def test_a_model_means_the_same_after_the_passes(graph: Graph) -> None:
    before = build(graph).eval()
    after = build(run(graph)).eval()
    after.load_state_dict(before.state_dict(), strict=True)
    inputs = example_inputs(graph, example_sizes(graph)[0], 0)
    with torch.no_grad():
        assert torch.equal(before(*inputs), after(*inputs))


def test_dead_functions_go_and_dead_parameters_stay() -> None:
    (graph,) = [g for g in GRAPHS if g.name == "Dead"]
    cleaned = remove_dead(graph)
    kinds = [node.op.name if isinstance(node.op, Graph) else node.op.kind for node in cleaned.nodes]
    assert kinds == ["Noise", "mul"]
    assert dict(cleaned.state()) == dict(graph.state())
    (block,) = [node.op for node in cleaned.nodes if isinstance(node.op, Graph)]
    assert [node.label for node in block.nodes] == ["lost", "fc"]
