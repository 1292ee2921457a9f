"""What generated classes call their arguments, sizes and variants, and how long expressions are laid out."""

from __future__ import annotations

import math

import pytest
import torch

from netdsl.backends.module import build
from netdsl.backends.torch_source import source
from netdsl.ir.schema import from_json, to_json
from netdsl.ir.text import print_graph, read_graph
from netdsl.ops.vocabulary import VOCABULARY
from tests.graphs import graph_of

WINDOWS = """
block Windows(window: int, shift: int = 0) {
  input x: [N, H, W, C]
  if shift > 0 { x = x -> roll([-shift, -shift], dims = [1, 2]) }
  y = x -> rearrange("n (r a) (s b) c -> n (r s) (a b) c", a = window, b = window) -> qkv: Linear(3 * C)
  y = y -> proj: Linear(C) -> rearrange("n (r s) (a b) c -> n (r a) (s b) c", r = H // window, a = window)
  output y + arange(H - shift)[-1]
}
block Block(shift: int = 0) {
  input x: [N, H, W, C]
  output x -> windows: Windows(4, shift) -> half: Linear(C // 2)
}
model M {
  input x: [N, 32, 32, 16]
  y = x -> a: Block -> b: Block(2)
  output y -> rearrange("n (h a) (w b) c -> n h w (a b c)", a = 2, b = 2) -> wide: Linear(24) -> c: Block -> d: Block(2)
}
"""

MERGING = """
block Merging {
  input x: [N, H, W, C]
  output x -> rearrange("n (h a) (w b) c -> n h w (b a c)", a = 2, b = 2) -> norm: LayerNorm
           -> reduction: Linear(2 * C, bias = False)
}
model M { input x: [N, 16, 16, 4]
  output x -> one: Merging -> two: Merging }
"""


def test_sizes_of_the_inputs_are_arguments_and_others_follow_from_them() -> None:
    generated = source(graph_of(WINDOWS))
    assert "self.qkv = nn.Linear(features, 3 * features)" in generated
    assert ".unflatten(1, (self.size // 4, -1))" in generated
    assert "torch.arange(self.size - 2" in generated
    assert "def __init__(self, features: int, size: int) -> None:" in generated
    assert '"""x: [N, size, size, features] -> [N, size, size, features // 2]"""' in generated


def test_a_width_that_no_layer_takes_is_an_argument_where_all_others_are_multiples_of_it() -> None:
    generated = source(graph_of(MERGING))
    assert "def __init__(self, channels: int) -> None:" in generated
    assert "nn.Linear(4 * channels, 2 * channels, bias=False)" in generated
    assert '"""x: [N, H, W, channels] -> [N, H//2, W//2, 2 * channels]"""' in generated
    assert "self.two = Merging(8)" in generated


def test_variants_are_called_by_the_parameter_that_is_on_and_so_are_those_around_them() -> None:
    generated = source(graph_of(WINDOWS))
    for name in ("Windows", "WindowsWithShift", "Block", "BlockWithShift"):
        assert f"class {name}(nn.Module):" in generated


def test_what_an_input_calls_its_axes_survives_both_formats() -> None:
    graph = graph_of(WINDOWS)
    written = source(graph)
    assert source(read_graph(print_graph(graph), VOCABULARY)) == written
    assert source(from_json(to_json(graph), VOCABULARY)) == written


def test_functions_that_torch_has_as_layers_do_not_keep_a_list_from_being_a_sequential() -> None:
    graph = graph_of("""model M { input x: [N, 3, 8, 8]
      output x -> features: [Conv2d(4, 3), permute(0, 2, 3, 1), LayerNorm, flatten(1), head: Linear(2)] }""")
    generated = source(graph)
    assert "from torchvision.ops import Permute" in generated
    assert "class Features" not in generated
    module = build(graph)
    assert set(module.state_dict()) == {
        f"features.{key}.{name}" for key in ("0", "2", "head") for name in ("weight", "bias")
    }
    x = torch.randn(2, 3, 8, 8)
    layers = dict(module.features.named_children())  # type: ignore[union-attr]
    by_hand = layers["2"](layers["0"](x).permute(0, 2, 3, 1)).flatten(1)
    assert torch.equal(module(x), layers["head"](by_hand))


def test_blocks_that_differ_in_the_order_of_axes_do_not_share_a_class() -> None:
    generated = source(
        graph_of("""
        block B(turned: bool) { input x: [N, C, H, W]
          if turned { x = x -> permute(0, 3, 2, 1) } else { x = x -> permute(0, 2, 3, 1) }
          output x -> fc: Linear(8) }
        model M { input x: [N, 4, 4, 4]
          output (x -> a: B(False)) + (x -> b: B(True)) }""")
    )
    assert ".permute(0, 3, 2, 1)" in generated
    assert ".permute(0, 2, 3, 1)" in generated
    assert "class BWithTurned(nn.Module):" in generated


def test_long_chains_and_sums_are_broken_between_their_parts() -> None:
    a, b, c, d = names = [f"{letter}_rather_long_name_of_an_input" for letter in "abcd"]
    inputs = "\n".join(f"input {name}: [N, 8, 8, 16]" for name in names)
    generated = source(
        graph_of(f"""
        model M {{
          {inputs}
          windows = {a} -> rearrange("n (r a) (s b) c -> n (r s) (a b) c", a = 4, b = 4)
          output windows
          total = {a} * {b} + {c} * {d} - {a}
          output total
        }}""")
    )
    assert (
        f"windows = (\n            {a}.unflatten(2, (-1, 4))\n            .unflatten(1, (-1, 4))\n"
        in generated
    )
    terms = f"{a} * {b}\n            + {c} * {d}\n            - {a}"
    assert f"total = (\n            {terms}\n        )" in generated
    assert max(len(line) for line in generated.splitlines() if not line.lstrip().startswith("def")) <= 100


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (32**-0.5, "32**-0.5"),
        (2**0.5, "2**0.5"),
        (-(1000**-0.5), "-1000**-0.5"),
        (math.log(100), "math.log(100)"),
        (121**-0.5, "0.09090909090909091"),
        (0.2 * 3 / 11, "0.05454545454545456"),
        (0.25, "0.25"),
        (1e-6, "1e-06"),
    ],
)
def test_roots_and_logarithms_are_written_as_such(number: float, text: str) -> None:
    graph = graph_of(f"model M {{ input x: [N, 3]\n output x * {number!r} }}")
    generated = source(graph)
    assert f"return x * {text}" in generated
    assert ("import math" in generated) == ("math" in text)
    x = torch.randn(2, 3)
    assert torch.equal(build(graph)(x), x * number)
