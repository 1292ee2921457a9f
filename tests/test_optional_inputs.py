"""Inputs that a block can do without, and what a call without them means."""

from __future__ import annotations

import pytest
import torch

import netdsl

SCALED = """
block Affine {
  input x: [N, D]
  input scale: [N, D] = None
  input shift: [N, D] = None
  if scale != None { x = x * scale }
  output x if shift == None else x + shift
}
model M {
  input x: [N, 4]
  input y: [N, 4]
  output FLOW -> Affine
}
"""
FLOWS = {
    "x": lambda x, y: x + 0 * y,
    "(x, y)": lambda x, y: x * y,
    "(x, None)": lambda x, y: x + 0 * y,
    "(x, None, y)": lambda x, y: x + y,
    "(x, y, y)": lambda x, y: x * y + y,
    "(x, None, None)": lambda x, y: x + 0 * y,
}


@pytest.mark.parametrize("flow", FLOWS)
def test_none_stands_for_a_tensor_that_is_left_out(flow: str) -> None:
    text = SCALED.replace("output FLOW -> Affine", f"y = y * 1\n  output {flow} -> Affine\n  output y")
    x, y = torch.randn(2, 3, 4)
    assert torch.equal(netdsl.loads(text).M()(x, y).out0, FLOWS[flow](x, y))


@pytest.mark.parametrize(
    ("flow", "message"),
    [
        ("(None, x)", "`Affine` needs another input, `x`"),
        ("(x, y, y, y)", "`Affine` takes 3 inputs, found 4"),
    ],
)
def test_what_cannot_be_left_out_is_asked_for(flow: str, message: str) -> None:
    text = SCALED.replace("output FLOW -> Affine", f"output {flow} -> Affine\n  output y")
    with pytest.raises(netdsl.NetError, match="E0412") as caught:
        netdsl.loads(text)
    assert message in str(caught.value)


def test_a_missing_input_inside_a_condition_is_asked_for() -> None:
    text = """block B(two: bool) {
      input x: [N, D]
      if two {
        input y: [N, D]
        x = x + y
      }
      output x
    }
    model M {
      input x: [N, 4]
      output x -> B(True)
    }"""
    with pytest.raises(netdsl.NetError) as caught:
        netdsl.loads(text)
    assert "`B` needs another input, `y`" in str(caught.value)


def test_an_operand_of_a_function_may_be_none() -> None:
    text = """model M(masked: bool = False) {
      input x: [N, 2, T, 4]
      mask = None
      if masked { input mask: bool[T, T] }
      output scaled_dot_product_attention(x, x, x, mask, is_causal = mask == None)
    }"""
    nets = netdsl.loads(text)
    x = torch.randn(2, 2, 5, 4)
    causal = torch.ones(5, 5, dtype=torch.bool).tril()
    assert torch.allclose(nets.M()(x), nets.M(masked=True)(x, causal), atol=1e-6)


def test_a_block_that_no_model_uses_may_leave_tensors_unknown() -> None:
    """Its sizes are not known, and so whether an argument is a tensor may not be either."""
    text = """block Transposed(width: int) {
      input x: [N, D]
      param weight: [D, width] = zeros
      param bias: [width] = zeros
      split = rearrange("n (h d) -> n h d", h = width)
      output linear(x, weight -> transpose(0, 1), bias) -> split
    }
    model M {
      input x: [N, 4]
      output x
    }"""
    netdsl.loads(text)
