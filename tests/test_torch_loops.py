"""Stacks of layers in the generated source: a loop where they are alike, over a part of the list where only that is."""

from __future__ import annotations

from pathlib import Path

import torch

import netdsl
from netdsl.backends import torchscript
from netdsl.backends.module import build

STACK = """
block Layer(first: bool) {
  input x: [N, D]
  input bias: [N, D] = None
  y = x -> fc: Linear(D)
  output y if bias == None else y + bias
  if first { output x -> side: Linear(D) }
}
model Stack(layers: int = 6) {
  input x: [N, 8]
  x, bias = x -> "layers.0": Layer(True)
  for i in range(1, layers) {
    x = (x, bias) -> "layers.{i}": Layer(False)
  }
  output x
}
"""


def source(layers: int = 6) -> str:
    return netdsl.loads(STACK).Stack.source(layers=layers)


def test_layers_that_differ_from_the_first_one_are_a_loop_over_the_others() -> None:
    assert "        for layer in self.layers[1:]:\n            x = layer(x, bias)\n" in source()


def test_two_layers_are_two_lines() -> None:
    assert "for layer in" not in source(3)
    assert "x = self.layers[1](x, bias)" in source(3)


def test_a_loop_over_a_part_computes_what_its_layers_compute() -> None:
    model = netdsl.loads(STACK).Stack()
    x = torch.randn(3, 8)
    y, bias = model.layers[0](x)
    for number in range(1, 6):
        y = model.layers[number](y, bias)
    assert torch.equal(model(x), y)


def test_torchscript_takes_it_and_leaves_the_module_as_it_was(tmp_path: Path) -> None:
    graph = netdsl.loads(STACK).Stack.graph()
    module = build(graph)
    kinds = [type(part) for part in module.modules()]
    assert torchscript.export(graph, module, tmp_path / "m.pt").largest_difference == 0
    assert [type(part) for part in module.modules()] == kinds


def test_an_output_with_a_name_does_not_break_the_loop_before_it() -> None:
    text = """model M {
      input x: [N, 8]
      for i in range(4) { x = x -> "layers.{i}": Linear(8) }
      output last = x
      output score = x -> head: Linear(1)
    }"""
    assert "        for layer in self.layers:\n            x = layer(x)\n" in netdsl.loads(text).M.source()


def test_a_rule_for_many_parameters_goes_by_the_end_of_their_names() -> None:
    text = """block Layer {
      input x: [N, D]
      output x + (x -> fc: Linear(2 * D) -> ReLU -> out: Linear(D))
    }
    model M {
      input x: [N, 8]
      for i in range(6) { x = x -> "layers.{i}": Layer }
      output x -> layout: Linear(8)
      init out.weight = constant(0.5)
    }"""
    assert '            if name.endswith(".out.weight"):\n' in netdsl.loads(text).M.source()
    model = netdsl.loads(text).M()
    filled = {name for name, p in model.named_parameters() if bool((p == 0.5).all())}
    assert filled == {f"layers.{i}.out.weight" for i in range(6)}
