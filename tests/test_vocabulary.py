"""Graphs of real models survive as text and as JSON, operations and all."""

from __future__ import annotations

from pathlib import Path

import pytest

from netdsl.compiler import check
from netdsl.ir.schema import from_json, to_json
from netdsl.ir.text import print_graph, read_graph
from netdsl.ir.verify import verify
from netdsl.ops.vocabulary import VOCABULARY
from netdsl.source import Source

SPECS = Path(__file__).parent.parent / "specs"
MIXED = """
model Mixed {
  input x: [N, 3, H, W]
  input i: int64[K]
  param scale: [1, 3, 1, 1] = normal(std = 0.02)
  buffer table: [4] = arange(4) -> to(float32)
  init Conv2d.weight = kaiming_normal(mode = "fan_out")
  y = x * scale -> body: [Conv2d(4, 3, padding = 1), ReLU, last: Conv2d(4, 1)]
  z = y[:, i, ::2, None] + 1.5
  output z
  output flat = y -> reshape(x.shape[0], -1)
  output aux = y * (table -> reshape(1, 4, 1, 1)) when training
}
"""


PATHS = sorted(SPECS.glob("*.net"))


@pytest.mark.slow
@pytest.mark.parametrize("source", [*map(Source.read, PATHS), Source(MIXED)], ids=lambda s: Path(s.path).stem)
def test_a_graph_is_the_same_after_a_round_trip(source: Source) -> None:
    found = check(source)
    assert not found.report.has_errors
    for graph in found.graphs.values():
        assert verify(graph) == []
        assert from_json(to_json(graph), VOCABULARY) == graph
        assert read_graph(print_graph(graph), VOCABULARY) == graph
