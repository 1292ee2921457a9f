"""A tensor, or a layer, with two names: both are in the `state_dict`, and the numbers are there once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import netdsl
from netdsl.backends import onnx
from netdsl.backends.weights import load_weights
from netdsl.ir.graph import Tie
from netdsl.ir.measure import parameter_count
from netdsl.ir.schema import from_json, to_json
from netdsl.ir.text import print_graph, read_graph
from netdsl.ir.values import GraphFormatError
from netdsl.ops.vocabulary import VOCABULARY

TIED = """
block Encoder {
  input ids: int64[N, T]
  output ids -> embed_tokens: Embedding(50, 8)
}
model Tied {
  input ids: int64[N, T]
  output ids -> encoder: Encoder -> "layers.0": Linear(8) -> "lm-head": Linear(50, bias = False)
  tie "lm-head".weight = encoder.embed_tokens.weight
  tie shared = encoder.embed_tokens
  tie encoder.again = "layers.0"
}
"""
KEYS = {"encoder.embed_tokens.weight", "lm-head.weight", "shared.weight"}
LINEAR = {f"{layer}.{tensor}" for layer in ("layers.0", "encoder.again") for tensor in ("weight", "bias")}


def test_both_names_are_in_the_state_dict_and_hold_one_tensor() -> None:
    model = netdsl.loads(TIED).Tied()
    state = model.state_dict()
    assert set(state) == KEYS | LINEAR
    assert len({state[key].data_ptr() for key in KEYS}) == 1
    assert len(list(model.parameters())) == 3


def test_the_graph_knows_what_the_module_has() -> None:
    graph = netdsl.loads(TIED).Tied.graph()
    model = netdsl.loads(TIED).Tied()
    assert {name: state.shape for name, state in graph.state()} == {
        name: tuple(value.shape) for name, value in model.state_dict().items()
    }
    assert set(graph.tied()) == {
        "lm-head.weight",
        "shared.weight",
        "encoder.again.weight",
        "encoder.again.bias",
    }
    assert parameter_count(graph) == sum(p.numel() for p in model.parameters()) == 50 * 8 + 8 * 8 + 8


def test_a_step_of_training_keeps_the_two_names_one() -> None:
    model = netdsl.loads(TIED).Tied()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = model.get_parameter("lm-head.weight").detach().clone()
    model(torch.arange(6).reshape(2, 3)).square().sum().backward()
    optimizer.step()
    state = model.state_dict()
    assert not torch.equal(state["lm-head.weight"], before)
    assert torch.equal(state["lm-head.weight"], state["encoder.embed_tokens.weight"])


@pytest.mark.parametrize("kept", sorted(KEYS))
def test_a_file_of_weights_may_have_either_name_alone(kept: str, tmp_path: Path) -> None:
    source, model = netdsl.loads(TIED).Tied(), netdsl.loads(TIED).Tied()
    state = {
        key: value for key, value in source.state_dict().items() if key == kept or key.startswith("layers")
    }
    save_file(state, tmp_path / "weights.safetensors")
    load_weights(model, tmp_path / "weights.safetensors")
    ids = torch.arange(6).reshape(2, 3)
    assert torch.equal(model(ids), source(ids))


def test_onnx_stores_a_tensor_of_two_names_once() -> None:
    nets = netdsl.loads(TIED)
    model = nets.Tied()
    made = onnx.to_onnx(nets.Tied.graph(), {k: v.detach() for k, v in onnx.tensors_of(model).items()})
    stored = [tuple(entry.dims) for entry in made.graph.initializer]
    assert stored.count((50, 8)) == 1
    assert (8, 50) not in stored


def test_ties_survive_the_files_of_graphs() -> None:
    graph = netdsl.loads(TIED).Tied.graph()
    assert graph.ties[0] == Tie("lm-head.weight", "encoder.embed_tokens.weight")
    assert read_graph(print_graph(graph), VOCABULARY) == graph
    assert from_json(to_json(graph), VOCABULARY) == graph


def test_a_file_of_a_graph_with_a_tie_to_nothing_is_refused() -> None:
    text = print_graph(netdsl.loads(TIED).Tied.graph())
    with pytest.raises(GraphFormatError, match=r"tie `shared`: there is no `encoder\.tokens`"):
        read_graph(text.replace('= "encoder.embed_tokens"', '= "encoder.tokens"'), VOCABULARY)


BAD = [
    ("tie b.weight = a.wieght", "`M` has no layer and no parameter `a.wieght`"),
    ("tie b.wieght = a.weight", "`M` has no parameter `b.wieght`"),
    ("tie b.weight = b.weight", "`b.weight` is tied to itself"),
    ("tie b.bias = a.weight", "`b.bias` is [4], but `a.weight` is [4, 4]"),
    ("tie b.weight = a", "`a` is a layer, but `b.weight` is a parameter"),
    ("tie b = a", "`b` is there already"),
    ("tie list.c = a", "`M` has no block `list`"),
    ("tie c.d = a", "`M` has no block `c`"),
]


@pytest.mark.parametrize(("statement", "message"), BAD)
def test_a_tie_that_cannot_be_made_is_said_to_be_one(statement: str, message: str) -> None:
    text = f"""model M {{
  input x: [N, 4]
  output x -> a: Linear(4) -> b: Linear(4) -> list: [ReLU, Linear(4)]
  {statement}
}}"""
    with pytest.raises(netdsl.NetError) as caught:
        netdsl.loads(text)
    assert message in str(caught.value)
    assert "E0518" in str(caught.value)


def test_rules_of_initialisation_come_before_ties() -> None:
    model = netdsl.loads("""model M {
      input ids: int64[N, T]
      output ids -> wte: Embedding(9, 4) -> head: Linear(9, bias = False)
      init wte.weight = constant(2.0)
      init head.weight = constant(3.0)
      tie head.weight = wte.weight
    }""").M()
    assert set(model.head.weight.flatten().tolist()) == {2.0}
