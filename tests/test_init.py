"""`init` rules: what the graph's rules say of each parameter is what a fresh module holds."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from netdsl.backends.module import build
from netdsl.compiler import check
from netdsl.ir.formulas import Formula
from netdsl.ir.graph import Graph
from netdsl.ir.patterns import meant
from netdsl.ir.schema import from_json, to_json
from netdsl.ir.text import print_graph, read_graph
from netdsl.ops import registry
from netdsl.ops.vocabulary import VOCABULARY
from netdsl.source import Source
from tests.graphs import graph_of
from tests.laws import reference_module, trials

LAYERS = sorted(kind for kind, cls in registry.items() if cls.is_layer and kind != "extern")

COMPOSITES = """
model Composites {
  input x: [N, T, 8]
  init Linear.weight = constant(1)
  init Linear.bias = constant(2)
  init LayerNorm.weight = constant(3)
  init MultiheadAttention.in_proj_weight = constant(4)
  init self_attn.out_proj.bias = constant(5)
  init norm2.* = constant(6)
  output x -> MultiheadAttention(2, batch_first = True, need_weights = False) -> inner: Linear(8, bias = False)
           -> encoder: TransformerEncoderLayer(2, 16, batch_first = True) -> LayerNorm -> outer: Linear(3)
}
"""

NESTED = """
block Cell(last) {
  input x: [N, C]
  param scale: [C] = constant(20)
  init fc.bias = constant(1)
  init Linear.weight = constant(2)
  output x * scale -> fc: Linear(C) -> body: [Linear(C), ReLU, last]
}
block Pair {
  input x: [N, C]
  init Linear.* = constant(3)
  init body.2.bias = constant(4)
  output x -> one: Cell(Linear(C)) -> two: Cell(BatchNorm1d) -> extra: Linear(C)
}
model Nested {
  input x: [N, 4]
  init Linear.weight = constant(5)
  init Linear.bias = constant(6)
  init features.0.extra.weight = constant(7)
  init scale = constant(8)
  init "3x3-a".bias = constant(9)
  init Linear.bias = constant(10)
  output x -> features: [Pair, [Linear(4), Cell(Linear(4))]] -> "3x3-a": Linear(4) -> Linear(2)
}
"""

NAMED_AS_KINDS = """
model NamedAsKinds {
  input x: [N, 3, 8, 8]
  init Conv2d.weight = constant(1)
  init Linear.weight = constant(2)
  output x -> Conv2d(4, 3) -> Linear: Conv2d(4, 3) -> Flatten -> head: Linear(2)
}
"""

RECURRENT = """
model Recurrent {
  input x: [T, N, 6]
  init LSTM.weight_ih_l1 = constant(1)
  init LSTM.bias_hh_l0 = constant(2)
  init GRU.* = constant(3)
  output x -> LSTM(8) -> LSTM(8, num_layers = 2, bias = False) -> GRU(4)
}
"""


def ruled(graph: Graph) -> dict[str, float]:
    """What the rules say, by name: the rules of inner bodies over those of outer ones, later over earlier."""
    found = {tensor.key: rule.init.arguments()["val"] for rule, tensors in meant(graph) for tensor in tensors}
    for label, node in graph.layers.items():
        if isinstance(node.op, Graph):
            found.update((f"{label}.{key}", value) for key, value in ruled(node.op).items())
    return found


def made(graph: Graph) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return dict(build(graph, allow_extern=True).named_parameters())


@pytest.mark.parametrize("text", [COMPOSITES, NESTED, NAMED_AS_KINDS, RECURRENT])
def test_a_fresh_module_holds_what_the_rules_say_and_torchs_values_elsewhere(text: str) -> None:
    graph = graph_of(text)
    fresh, said = made(graph), ruled(graph)
    plain = made(graph_of("\n".join(line for line in text.splitlines() if "init " not in line)))
    assert said.keys() < fresh.keys()
    for key, value in fresh.items():
        assert value.eq(said[key]).all() if key in said else torch.equal(value, plain[key]), key


def test_rules_reach_the_layers_that_torchs_layers_are_made_of() -> None:
    said = ruled(graph_of(COMPOSITES))
    assert said["multiheadattention_1.out_proj.weight"] == 1
    assert said["multiheadattention_1.out_proj.bias"] == 2
    assert said["encoder.linear1.weight"] == 1
    assert said["encoder.self_attn.in_proj_weight"] == 4
    assert said["encoder.self_attn.out_proj.bias"] == 5
    assert said["encoder.norm1.weight"] == 3
    assert said["encoder.norm2.weight"] == 6


FORMULAS = """
fn he(fan) = sqrt(2 / fan)
model Formulas {
  input x: [N, 3, 16, 16]
  param w: [8, 4] = constant(he(fan_in))
  init Conv2d.weight = constant(he(fan_out))
  init Linear.weight = constant(-fan_in + 2 * (fan_out - 1) ** 2 // 3)
  init "body".*.weight = constant(max(fan_in, 2 - fan_out, 3) % 7 / exp(1))
  output (x -> a: Conv2d(8, (3, 1)) -> Flatten -> body: [Linear(8), Linear(6), Linear(8)] -> b: Linear(8)) @ w
}
"""


def test_a_rule_may_depend_on_the_fans_of_what_it_fills() -> None:
    graph = graph_of(FORMULAS)
    fresh = made(graph)
    wanted = {
        "w": (2 / 4) ** 0.5,
        "a.weight": (2 / 24) ** 0.5,
        "b.weight": -8 + 2 * 7**2 // 3,
        "body.0.weight": 8 * 14 * 16 % 7 / math.e,
        "body.1.weight": 8 % 7 / math.e,
        "body.2.weight": 6 / math.e,
    }
    for key, value in wanted.items():
        assert torch.allclose(fresh[key], torch.tensor(float(value))), key
    rules = {rule.pattern: str(rule.init) for rule in graph.inits}
    assert rules["Linear", "weight"] == "constant(val = -fan_in + 2 * (fan_out - 1) ** 2 // 3)"


def test_formulas_are_written_and_read() -> None:
    graph = graph_of(FORMULAS)
    assert read_graph(print_graph(graph), VOCABULARY) == graph
    assert from_json(to_json(graph), VOCABULARY) == graph


@pytest.mark.parametrize(
    ("op", "parts"),
    [
        ("fan", ()),
        ("fan_in", (1,)),
        ("+", (1,)),
        ("sqrt", ()),
        ("sqrt", (1, 2)),
        ("__import__", (1,)),
        ("+", (1, "os")),
        ("+", ((1, 2), 3)),
    ],
)
def test_nothing_else_is_a_formula(op: str, parts: tuple[object, ...]) -> None:
    with pytest.raises((TypeError, ValueError)):
        Formula(op, parts)  # type: ignore[arg-type]


def test_a_formula_is_shown_as_it_is_computed() -> None:
    fan = Formula("fan_in")
    for formula in (
        Formula("-", (Formula("-", (fan, 1)),)),
        Formula("**", (Formula("-", (fan,)), 2)),
        Formula("-", (2, Formula("-", (fan, 3)))),
        Formula("*", (Formula("+", (fan, -1)), Formula("%", (fan, 4)))),
        Formula("**", (Formula("**", (2, fan)), 0.5)),
        Formula("/", (Formula("min", (fan, 3)), Formula("/", (fan, -2)))),
        Formula("**", (-2, fan)),
    ):
        assert eval(str(formula), {"fan_in": 5}) == formula.value({"fan_in": 5}), str(formula)


@pytest.mark.parametrize("kind", LAYERS)
def test_layers_say_which_layers_torch_makes_them_of(kind: str) -> None:
    """Only those with parameters count: a rule fills nothing else."""
    for found in trials(kind, 12):
        if found.op is not None and found.types is not None:
            inside = dict(reference_module(found).named_modules())
            del inside[""]
            learned = {
                name: next(cls.__name__ for cls in type(module).__mro__ if cls.__name__ in registry)
                for name, module in inside.items()
                if [*module.parameters()]
            }
            assert dict(found.op.inside) == learned, found


class Foreign(nn.Module):
    """A layer written in Python, with a layer of torch in it."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


FOREIGN = """
extern Foreign from "tests.test_init:Foreign" {
  input x: [N, 4]
  output [N, 4]
}
model M {
  input x: [N, 4]
  init Linear.weight = zeros
  output x -> other: Foreign -> own: Linear(4)
}
"""


def test_rules_leave_alone_what_is_inside_a_layer_written_in_python() -> None:
    checked = check(Source(FOREIGN), allow_extern=True)
    fresh = made(checked.graphs["M"])
    assert fresh["own.weight"].eq(0).all()
    assert fresh["other.inner.weight"].ne(0).any()
