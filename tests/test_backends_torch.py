"""The generated PyTorch: it reads as written by hand, computes what a hand-written class does, and exports."""

from __future__ import annotations

import ast
import builtins
import copy
import inspect
import pickle
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from torch import nn

from netdsl.backends import exported, torchscript
from netdsl.backends.errors import BackendError
from netdsl.backends.module import build, load_class
from netdsl.backends.parity import check_parity, example_inputs, example_sizes, fits, tensors_of
from netdsl.backends.torch_names import MODULE_ATTRIBUTES
from netdsl.backends.torch_source import source, sources
from netdsl.ir.dims import evaluate
from netdsl.ir.graph import Graph, Input, Literal, Node, Output
from netdsl.ir.types import Tensor
from netdsl.ops import registry
from netdsl.ops.base import ShapeProblem
from netdsl.source import Span
from tests.graphs import graph_of, graphs_of

RESNET = """
## A residual block of two convolutions.
block BasicBlock(planes: int, stride: int = 1) {
  input x: [N, C, H, W]
  y = x -> conv1: Conv2d(planes, 3, stride = stride, padding = 1, bias = False) -> bn1: BatchNorm2d -> ReLU
        -> conv2: Conv2d(planes, 3, padding = 1, bias = False) -> bn2: BatchNorm2d
  if stride != 1 or C != planes {
    x = x -> downsample: [Conv2d(planes, 1, stride = stride, bias = False), BatchNorm2d]
  }
  output relu(x + y)
}
model ResNet18(classes: int = 1000) {
  input x: [N, 3, H, W]
  x = x -> conv1: Conv2d(64, 7, stride = 2, padding = 3, bias = False) -> bn1: BatchNorm2d -> ReLU
        -> MaxPool2d(3, stride = 2, padding = 1)
        -> layer1: [BasicBlock(64), BasicBlock(64)]
        -> layer2: [BasicBlock(128, stride = 2), BasicBlock(128)]
        -> layer3: [BasicBlock(256, stride = 2), BasicBlock(256)]
        -> layer4: [BasicBlock(512, stride = 2), BasicBlock(512)]
  output x -> AdaptiveAvgPool2d(1) -> Flatten -> fc: Linear(classes)
}
"""

TRANSFORMER = """
block Attention(heads: int) {
  input x: [N, T, D]
  q, k, v = x -> qkv: Linear(3 * D) -> chunk(3, dim = -1)
  q = q -> reshape(N, T, heads, D // heads) -> transpose(1, 2)
  k = k -> reshape(N, T, heads, D // heads) -> transpose(1, 2)
  v = v -> reshape(N, T, heads, D // heads) -> transpose(1, 2)
  scores = q @ (k -> transpose(-2, -1)) * (D // heads) ** -0.5
  x = softmax(scores, dim = -1) @ v
  output x -> transpose(1, 2) -> reshape(N, T, D) -> proj: Linear(D)
}
block Layer(heads: int) {
  input x: [N, T, D]
  x = x + (x -> self: Attention(heads))
  output x + (x -> mlp: [Linear(4 * D), GELU, Linear(D)])
}
model Encoder {
  input ids: int64[N, T]
  x = ids -> embed: Embedding(11, 16)
  for i in range(3) { x = x -> "encoder.layers.layer_{i}": Layer(4) }
  for i in range(2) { x = x -> "blocks.{i}": Layer(2) }
  output x[:, 0] -> "heads.head": Linear(5)
}
"""

TRAINING = """
block Head(classes) {
  input x: [N, C, H, W]
  output x -> AdaptiveAvgPool2d(1) -> Flatten -> fc: Linear(classes)
}
model Supervised {
  input x: [N, 3, H, W]
  x = x -> stem: Conv2d(8, 3, padding = 1) -> ReLU
  output early = x -> early: Head(5) when training
  x = x -> body: Conv2d(16, 3, padding = 1) -> ReLU
  output logits = x -> AdaptiveAvgPool2d(1) -> Flatten -> fc: Linear(5)
}
"""

WINDOWS = """
model Windows {
  input x: [N, H, W, 8]
  p = (4 - H % 4) % 4
  q = (4 - W % 4) % 4
  x = x -> pad([0, 0, 0, q, 0, p])
  x = x -> reshape(N, (H + p) // 4, 4, (W + q) // 4, 4, 8) -> permute(0, 1, 3, 2, 4, 5)
  x = x -> reshape(N * ((H + p) // 4) * ((W + q) // 4), 16, 8) -> lin: Linear(8)
  buffer index: int64[16] = arange(16)
  buffer scale: [16, 8] = ones(16, 8) * 0.5 + (arange(8) -> to(float32)) when unsaved
  param table: [16, 8] = normal(std = 0.02)
  output x * scale + table[index]
}
"""

LABELS = """
model Labels {
  input x: [N, 4]
  x = x -> "train": Linear(4) -> "class": Linear(4) -> "block1-0": Linear(4) -> self: Linear(4)
  x = x -> "a.type": Linear(4) -> "a.b-1": Linear(4) -> "a.items": Linear(4) -> "a.deep.0": Linear(4)
  x = x -> "steps.0": Linear(4) -> "steps.1": Linear(4) -> "steps.2": Linear(4) -> "lambda.0": Linear(4)
  output x -> list: [Linear(4), relu, named: Linear(4)] -> forward: Linear(4)
}
"""

SHARED = """
model Shared {
  input x: [N, 4]
  y = x -> lin: Linear(4) -> ReLU -> lin -> ReLU
  z = x -> tied: [Linear(4), ReLU] -> tied
  output y + z
}
"""

RECURRENT = """
model Recurrent {
  input x: [T, N, 6]
  out, h, c = x -> lstm: LSTM(8)
  y = x -> second: LSTM(8)
  output out + y
  output last = h
}
"""

INITS = """
block Inner(w) {
  input x: [N, C]
  init bias = constant(0.5)
  init fc2.weight = zeros
  output x -> fc1: Linear(w) -> ReLU -> fc2: Linear(w)
}
model Inits {
  input x: [N, 4]
  init Linear.weight = ones
  init Linear.bias = zeros
  init special.bias = ones
  output x -> a: Inner(8) -> b: Inner(6) -> special: Linear(4) -> plain: Linear(3) -> nobias: Linear(2, bias = False)
}
"""

CONSTRAINED = """
model Skip {
  input x: [N, 3, H, W]
  y = x -> MaxPool2d(2) -> up: ConvTranspose2d(3, 2, stride = 2)
  output (x, y) -> concat(dim = 1) -> out: Conv2d(4, 3)
}
"""

PASSED = """
model Passed {
  input x: [N, T, 12]
  output x -> flatten(0, 1) -> list: [Linear(24), reshape(N, T, 24), Linear(3), reshape(N, T * 3)]
}
"""

ALL = [RESNET, TRANSFORMER, TRAINING, WINDOWS, LABELS, SHARED, RECURRENT, INITS, CONSTRAINED, PASSED]
EACH = pytest.mark.parametrize("text", [pytest.param(t, id=t.rsplit("model ")[-1].split()[0]) for t in ALL])


def examples(graph: Graph, batch: int = 2) -> tuple[torch.Tensor, ...]:
    (sizes,) = example_sizes(graph, (batch,))
    return example_inputs(graph, sizes)


def state_shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in module.state_dict().items()}


def body(text: str, name: str) -> str:
    """One method of a class of generated source."""
    class_name, _, method = name.partition(".")
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef) and node.name == class_name:
            for part in node.body:
                if isinstance(part, ast.FunctionDef) and part.name == method:
                    return "\n".join(
                        line.strip() for line in text.splitlines()[part.lineno : part.end_lineno]
                    )
    raise AssertionError(f"no {name} in:\n{text}")


# ------------------------------------------------------------------------------------------------ how it reads


@EACH
def test_generated_source_is_formatted_and_has_no_lint(text: str) -> None:
    generated = source(graph_of(text))
    for command in (["format", "--diff"], ["check", "--select", "E,F,W,I,B,UP,RET,C4"]):
        options = ["--isolated", "--line-length", "100", "--target-version", "py311", "-"]
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *options],
            input=generated,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


@EACH
def test_generated_source_is_the_same_each_time_and_stands_alone(text: str) -> None:
    generated = source(graph_of(text))
    assert source(graph_of(text)) == generated
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(generated))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
        )
    }
    assert imported <= {"torch", "typing", "collections"}


def test_documentation_that_is_too_wide_is_filled_anew_and_lists_keep_their_lines() -> None:
    wide = "word " * 22
    text = f"""## {wide}
## ends here.
##
## - {wide}
## - one
model M {{
  input x: [N, 3]
  output x -> Linear(2)
}}"""
    doc = source(graph_of(text)).partition('class M(nn.Module):\n    """')[2].partition('"""')[0]
    lines = [line.strip() for line in doc.split("\n")]
    assert lines[1].endswith("word ends here.")
    assert lines[2] == ""
    assert lines[3].startswith("- word")
    assert "- one" in lines
    assert max(map(len, lines)) <= 94


def test_a_chain_works_on_one_variable_and_keeps_the_names_of_the_source() -> None:
    generated = source(
        graph_of("""
        model LeNet {
          input x: [N, 1, 28, 28]
          features = x -> conv1: Conv2d(10, 5) -> MaxPool2d(2) -> ReLU -> conv2: Conv2d(20, 5) -> MaxPool2d(2) -> ReLU
          output features -> Flatten -> fc: Linear(10)
        }""")
    )
    assert body(generated, "LeNet.forward").splitlines() == [
        "x = self.conv1(x)  # [N, 10, 24, 24]",
        "x = self.maxpool2d(x)  # [N, 10, 12, 12]",
        "x = self.relu(x)",
        "x = self.conv2(x)  # [N, 20, 8, 8]",
        "x = self.maxpool2d(x)  # [N, 20, 4, 4]",
        "features = self.relu(x)",
        "x = self.flatten(features)  # [N, 320]",
        "return self.fc(x)  # [N, 10]",
    ]


def test_branches_are_called_as_their_layers() -> None:
    generated = source(
        graph_of("""
        model Fork {
          input x: [N, 4, 8, 8]
          output x -> fork(
            branch1x1: Conv2d(2, 1),
            branch3x3_1: Conv2d(2, 1) -> branch3x3_2: Conv2d(3, 3, padding = 1),
            AvgPool2d(3, stride = 1, padding = 1) -> branch_pool: Conv2d(1, 1),
          ) -> concat(dim = 1)
        }""")
    )
    forward = body(generated, "Fork.forward")
    assert "branch3x3 = self.branch3x3_2(branch3x3)" in forward
    assert "branch_pool = self.avgpool2d(x)" in forward
    assert "return torch.cat([branch1x1, branch3x3, branch_pool], dim=1)" in forward


def test_blocks_that_differ_in_numbers_share_a_class() -> None:
    generated = source(graph_of(RESNET))
    classes = [node.name for node in ast.parse(generated).body if isinstance(node, ast.ClassDef)]
    assert classes == ["BasicBlock", "BasicBlockWithDownsample", "ResNet18"]
    assert "def __init__(self, in_channels: int, planes: int) -> None:" in generated
    assert "self.layer2 = nn.Sequential(BasicBlockWithDownsample(64, 128), BasicBlock(128))" in generated
    assert '"""A residual block of two convolutions.' in generated


def test_arguments_of_layers_that_some_instances_leave_out_are_filled_in() -> None:
    generated = source(
        graph_of("""
        block B(s: int) { input x: [N, C, H, W]
          output x -> c: Conv2d(8, 3, stride = s, padding = 1) -> Dropout(0.1 * s) }
        model M { input x: [N, 8, H, W]
          output x -> a: B(1) -> b: B(2) }""")
    )
    assert "nn.Conv2d(8, 8, 3, padding=1, stride=s)" in generated
    assert "def __init__(self, p: float, s: int = 1) -> None:" in generated
    assert "self.a = B(0.1)" in generated


def test_what_blocks_only_pass_on_has_the_default_of_the_layer_inside() -> None:
    generated = source(
        graph_of("""
        block Conv(c: int, k: int, s: int = 1, p: int = 1) { input x: [N, C, H, W]
          output x -> conv: Conv2d(c, k, stride = s, padding = p) }
        block Two(c: int, s: int = 1) { input x: [N, C, H, W]
          output x -> a: Conv(2 * c, 3, s) -> b: Conv(c, 1, p = 0) }
        model M { input x: [N, 8, H, W]
          output x -> one: Two(8) -> two: Two(16, s = 2) }""")
    )
    assert "c: int, k: int, s: int = 1, p: int = 0" in generated
    assert "def __init__(self, c: int, s: int = 1) -> None:" in generated
    assert "self.a = Conv(in_channels=8, c=2 * c, k=3, p=1, s=s)" in generated
    assert "self.one = Two(8)" in generated
    assert "self.two = Two(16, s=2)" in generated


def test_what_several_heads_compute_in_training_stands_under_one_condition() -> None:
    generated = source(
        graph_of("""
        model M { input x: [N, 8]
          a = x -> left: Linear(4)
          b = x -> right: Linear(4)
          output x -> main: Linear(4)
          output first = a when training
          output second = b when training }""")
    )
    assert generated.count("if self.training:") == 1
    assert generated.count("Tensor | None = None") == 2


def test_a_size_is_told_by_the_smallest_multiple() -> None:
    generated = source(
        graph_of("""
        block B(c: int) { input x: [N, C]
          y = x -> small: Linear(c) -> large: Linear(4 * c)
          output concat(y, y, dim = 1) }
        model M { input x: [N, 8]
          output x -> a: B(2) -> b: B(3) }""")
    )
    assert "-> [N, 8*c]" in generated


def test_numbers_that_forward_needs_are_kept_and_derived_from_the_parameters() -> None:
    generated = source(graph_of(TRANSFORMER))
    init = body(generated, "Attention.__init__")
    assert "self.heads = heads" in init
    assert "self.head_size = 16 // heads" in init
    assert "self.scale = (16 // heads) ** -0.5" in init
    forward = body(generated, "Encoder.forward")
    assert 'for layer in self.encoder["layers"].values():\nx = layer(x)' in forward
    assert 'return self.heads["head"](x[:, 0])  # [N, 5]' in forward


def test_several_models_share_the_blocks_of_one_file() -> None:
    text = RESNET + "\nmodel Small { input x: [N, 64, H, W]\n output x -> a: BasicBlock(64) }"
    models = graphs_of(text)
    generated = sources([*models.values()])
    classes = [node.name for node in ast.parse(generated).body if isinstance(node, ast.ClassDef)]
    assert classes == ["BasicBlock", "BasicBlockWithDownsample", "Small", "ResNet18"]


def test_long_chains_and_deep_nesting_are_no_trouble() -> None:
    chain = " ".join(f"-> l{i}: Linear(8)\n -> ReLU\n" for i in range(1500))
    generated = source(graph_of(f"model M {{\n input x: [N, 8]\n output x {chain} }}"))
    assert generated.count("self.relu(") == 1500
    deep = "[" * 150 + "Linear(8)" + "]" * 150
    module = build(graph_of(f"model M {{\n input x: [N, 8]\n output x -> body: {deep}\n }}"))
    assert next(iter(module.state_dict())) == "body." + "0." * 150 + "weight"


# ------------------------------------------------------------------------------------------------ what it computes


@EACH
def test_the_state_dict_has_the_names_and_shapes_of_the_graph(text: str) -> None:
    graph = graph_of(text)
    assert state_shapes(build(graph)) == {key: state.shape for key, state in graph.state()}


@EACH
def test_results_have_the_shapes_of_the_graph(text: str) -> None:
    graph = graph_of(text)
    (sizes,) = example_sizes(graph, (2,))
    found = tensors_of(build(graph).eval()(*example_inputs(graph, sizes)))
    always = [graph.types[output.value] for output in graph.outputs if not output.when_training]
    assert [tuple(t.shape) for t in found] == [
        tuple(evaluate(d, sizes) for d in type.shape) for type in always
    ]


@EACH
def test_torchscript_agrees_with_the_module(text: str, tmp_path: Path) -> None:
    if text in (LABELS,):
        pytest.skip("has labels that TorchScript does not read back")
    graph = graph_of(text)
    result = torchscript.export(graph, build(graph), tmp_path / "m.torchscript")
    assert result.largest_difference <= 1e-6
    assert result.path.exists()
    assert [sizes["N"] for sizes in result.sizes] == [1, 7]


@pytest.mark.parametrize("text", [TRANSFORMER, TRAINING, WINDOWS, CONSTRAINED])
def test_pt2_agrees_with_the_module_at_every_size(text: str, tmp_path: Path) -> None:
    graph = graph_of(text)
    result = exported.export(graph, build(graph), tmp_path / "m.pt2")
    assert result.largest_difference <= 1e-6
    assert [sizes["N"] for sizes in result.sizes] == [1, 7]


def test_resnet_is_bitwise_torchvisions() -> None:
    from torchvision.models import resnet18

    written = resnet18().eval()
    compiled = build(graph_of(RESNET)).eval()
    assert state_shapes(compiled) == state_shapes(written)
    compiled.load_state_dict(written.state_dict())
    x = torch.randn(2, 3, 64, 64)
    assert torch.equal(compiled(x), written(x))


def test_attention_is_bitwise_the_hand_written_one() -> None:
    graph = graph_of(
        TRANSFORMER.split("block Layer")[0]
        + "model Alone { input x: [N, T, 16]\n output x -> attn: Attention(4) }"
    )
    module = build(graph).eval()
    x = torch.randn(2, 5, 16)
    attn: Any = module.get_submodule("attn")
    q, k, v = attn.qkv(x).chunk(3, dim=-1)
    q, k, v = (t.reshape(2, 5, 4, 4).transpose(1, 2) for t in (q, k, v))
    weights = torch.softmax(q @ k.transpose(-2, -1) * 4**-0.5, dim=-1)
    assert torch.equal(module(x), attn.proj((weights @ v).transpose(1, 2).reshape(2, 5, 16)))


def test_outputs_of_training_are_computed_in_training_only() -> None:
    graph = graph_of(TRAINING)
    module: Any = build(graph)
    calls: list[str] = []
    module.early.register_forward_hook(lambda *_: calls.append("early"))
    (x,) = examples(graph)
    trained = module(x)
    assert trained.early.shape == (2, 5)
    assert trained._fields == ("early", "logits")
    module.eval()
    assert module(x).early is None
    assert calls == ["early"]
    scripted = torchscript.script(build(graph))
    assert scripted(x).early.shape == (2, 5)
    scripted.eval()
    assert scripted(x).early is None


def test_labels_that_python_cannot_say_keep_their_keys() -> None:
    module = build(graph_of(LABELS))
    modules = {key.rpartition(".")[0] for key in module.state_dict()}
    expected = "train class block1-0 self a.type a.b-1 a.items a.deep.0 steps.0 steps.1 steps.2 lambda.0 list.0 list.named"
    assert modules == {*expected.split(), "forward"}
    assert module.train(False) is module


def test_labels_named_as_methods_work_in_torchscript(tmp_path: Path) -> None:
    text = """model M { input x: [N, 4]
      output x -> "train": Linear(4) -> "type": Linear(4) -> "a.items": Linear(4) -> "block1-0": Linear(4) }"""
    graph = graph_of(text)
    module = build(graph)
    assert torchscript.export(graph, module, tmp_path / "m.pt").largest_difference == 0
    assert not [name for name in vars(module) if name in ("train", "type")]


def test_a_label_torchscript_cannot_keep_is_said_to_be_one(tmp_path: Path) -> None:
    graph = graph_of('model M { input x: [N, 4]\n output x -> "class": Linear(4) }')
    with pytest.raises(BackendError, match="TorchScript"):
        torchscript.export(graph, build(graph), tmp_path / "m.pt")
    assert [*tmp_path.iterdir()] == []


def test_one_label_is_one_module() -> None:
    graph = graph_of(SHARED)
    module: Any = build(graph).eval()
    assert set(state_shapes(module)) == {"lin.weight", "lin.bias", "tied.0.weight", "tied.0.bias"}
    (x,) = examples(graph)
    y = torch.relu(module.lin(torch.relu(module.lin(x))))
    assert torch.equal(module(x), y + module.tied(module.tied(x)))


def test_results_nested_by_torch_are_unpacked() -> None:
    graph = graph_of(RECURRENT)
    forward = body(source(graph), "Recurrent.forward")
    assert "out, (h, _) = self.lstm(x)" in forward or "out, (last, _) = self.lstm(x)" in forward
    assert "y = self.second(x)[0]" in forward
    module: Any = build(graph).eval()
    (x,) = examples(graph)
    expected, (h, _) = module.lstm(x)
    assert torch.equal(module(x).last, h)
    assert torch.equal(module(x).out0, expected + module.second(x)[0])


def test_a_block_used_at_free_and_at_known_sizes_has_one_class() -> None:
    graph = graph_of("""
    block Encoder(width) {
      input x: [N, C, H, W]
      output x -> c: Conv2d(width, 3, padding = 1) -> reshape(N, width, H * W)
    }
    model Two {
      input a: [N, 3, H, W]
      input b: [N, 3, 8, 8]
      x = a -> one: Encoder(4)
      y = b -> two: Encoder(4)
      output (x -> mean(2)) + (y -> mean(2))
    }""")
    shared = replace(graph, nodes=tuple(replace(n, label="enc") if n.label else n for n in graph.nodes))
    generated = source(shared)
    assert "Encoder2" in source(graph)
    assert "Encoder2" not in generated
    module = build(shared)
    assert set(state_shapes(module)) == {"enc.c.weight", "enc.c.bias"}
    assert module(torch.randn(2, 3, 5, 7), torch.randn(2, 3, 8, 8)).shape == (2, 4)


def test_sizes_a_list_needs_from_outside_are_passed_to_it() -> None:
    graph = graph_of(PASSED)
    assert "def forward(self, x: Tensor, n: int, t: int) -> Tensor:" in source(graph)
    assert build(graph)(torch.randn(2, 5, 12)).shape == (2, 15)


def test_buffers_are_computed_and_saved_as_said() -> None:
    module = build(graph_of(WINDOWS))
    assert set(module.state_dict()) == {"table", "index", "lin.weight", "lin.bias"}
    buffers = dict(module.named_buffers())
    assert buffers["index"].equal(torch.arange(16))
    assert buffers["scale"].equal(torch.ones(16, 8) * 0.5 + torch.arange(8))
    assert 0 < module.get_parameter("table").std() < 0.05


def test_tensors_made_on_the_way_are_made_where_the_inputs_are() -> None:
    graph = graph_of("""model M {
      input x: [N, T, 4]
      output x -> fc: Linear(4) -> mul(arange(T)[:, None] + eye(4)[0])
    }""")
    module = build(graph).to("meta")
    assert module(torch.ones(2, 3, 4, device="meta")).shape == (2, 3, 4)
    torchscript.script(build(graph))


def test_inner_and_later_init_rules_win() -> None:
    state = build(graph_of(INITS)).state_dict()
    for name in ("a", "b"):
        assert state[f"{name}.fc1.weight"].eq(1).all()
        assert state[f"{name}.fc2.weight"].eq(0).all()
        assert state[f"{name}.fc1.bias"].eq(0.5).all()
        assert state[f"{name}.fc2.bias"].eq(0.5).all()
    assert state["special.bias"].eq(1).all()
    assert state["plain.bias"].eq(0).all()
    assert state["nobias.weight"].eq(1).all()


# ------------------------------------------------------------------------------------------------ modules


def test_python_knows_the_source_of_a_built_module() -> None:
    graph = graph_of(RESNET)
    module = build(graph)
    assert inspect.getsource(type(module)) in source(graph)
    try:
        module(torch.randn(2, 4, 8, 8))
    except RuntimeError:
        assert "x = self.conv1(x)" in traceback.format_exc()
    assert load_class(graph) is type(module)


def test_a_built_module_can_be_copied_and_pickled() -> None:
    module = build(graph_of(RESNET)).eval()
    x = torch.randn(1, 3, 32, 32)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(other(x), module(x))


# ------------------------------------------------------------------------------------------------ parity


def test_an_export_that_differs_is_refused() -> None:
    graph = graph_of(SHARED)
    module = build(graph)
    inputs = lambda batch: (torch.randn(batch, 4),)  # noqa: E731
    assert check_parity(module, module, inputs) == 0
    with pytest.raises(BackendError, match="differs from the model"):
        check_parity(module, lambda x: module(x) + 1e-3, inputs)
    with pytest.raises(BackendError, match="output 0"):
        check_parity(module, lambda x: module(x)[:1], inputs, (2,))
    with pytest.raises(BackendError, match="2 tensors"):
        check_parity(module, lambda x: (module(x), x), inputs)
    assert module.training


def test_example_sizes_meet_the_constraints() -> None:
    graph = graph_of(CONSTRAINED)
    sizes = example_sizes(graph)
    assert all(fits(graph, choice) for choice in sizes)
    assert sizes[0]["H"] != sizes[1]["H"]
    assert not fits(graph, {"N": 1, "H": 33, "W": 32})
    assert not fits(graph, {"N": 0, "H": 32, "W": 32})


def test_example_integers_can_be_looked_up() -> None:
    graph = graph_of(TRANSFORMER)
    (ids,) = example_inputs(graph, {"N": 40, "T": 50})
    assert ids.dtype == torch.int64
    assert ids.min() == 0
    assert ids.max() == 10


def test_attention_is_exported_for_batches_of_one(tmp_path: Path) -> None:
    graph = graph_of("model M { input x: [T, N, 16]\n output x -> mha: MultiheadAttention(4) }")
    module = build(graph).eval()
    exported.export(graph, module, tmp_path / "m.pt2")
    run = torch.export.load(tmp_path / "m.pt2").module()
    for shape in ((5, 1, 16), (1, 3, 16)):
        x = torch.randn(shape)
        assert torch.allclose(run(x), module(x), atol=1e-6)


def test_pooling_of_channels_last_is_exported_for_batches_of_one(tmp_path: Path) -> None:
    graph = graph_of("""model M { input x: [N, 8, 8, 4]
      output x -> permute(0, 3, 1, 2) -> AdaptiveAvgPool2d(1) -> flatten(1) }""")
    assert exported.export(graph, build(graph), tmp_path / "m.pt2").largest_difference == 0
    run = torch.export.load(tmp_path / "m.pt2").module()
    x = torch.randn(1, 8, 8, 4)
    assert torch.allclose(run(x), x.mean((1, 2)), atol=1e-6)


def test_a_size_torch_cannot_leave_free_is_named(tmp_path: Path) -> None:
    graph = graph_of("model M { input x: [T, N, 6]\n output x -> lstm: LSTM(8) }")
    with pytest.raises(BackendError, match="cannot leave `T` free"):
        exported.export(graph, build(graph), tmp_path / "m.pt2")
    assert [*tmp_path.iterdir()] == []


# ------------------------------------------------------------------------------------------------ operations


def single(kind: str, random: Random) -> Graph | None:
    """A model of one random use of an operation; None where the use is not valid."""
    cls = registry[kind]
    case = cls.sample(random)
    try:
        op = cls(**case.arguments)
        types = op.result_types(*case.operands)
    except (ShapeProblem, ValueError):
        return None
    inputs = [Input(f"x{n}", o) for n, o in enumerate(o for o in case.operands if isinstance(o, Tensor))]
    numbers = iter(range(len(inputs)))
    operands = tuple(
        next(numbers) if isinstance(o, Tensor) else Literal(getattr(o, "value", None)) for o in case.operands
    )
    results = tuple(range(len(inputs), len(inputs) + len(types)))
    node = Node(op, operands, results, types, "layer" if cls.is_layer else None)
    return Graph("model", "One", tuple(inputs), (node,), tuple(Output(result) for result in results))


@contextmanager
def own_faults_of_torch() -> Iterator[None]:
    """Some settings of torch's own classes are none that TorchScript takes; it says where they fail."""
    try:
        yield
    except BackendError as problem:
        if not any(
            sign in str(problem) for sign in ("torch/nn/modules", "__torch__.torch.nn", "INTERNAL ASSERT")
        ):
            raise


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in registry if kind != "extern"])
def test_every_operation_is_written_as_torch_and_torchscript_take_it(kind: str) -> None:
    random = Random(kind)
    for graph in filter(None, (single(kind, random) for _ in range(8))):
        module = build(graph).eval()
        assert state_shapes(module) == {key: state.shape for key, state in graph.state()}
        if kind != "MultiheadAttention" or hasattr(registry[kind], "optional_results"):
            with own_faults_of_torch():
                torchscript.script(module)


# ------------------------------------------------------------------------------------------------ hostile text

HOSTILE = [
    "x'); import builtins; builtins.hacked = True #",
    '"""\nimport builtins; builtins.hacked = True\n"""',
    'x"); import builtins; builtins.hacked = True #',
    "\\",
    "x\nimport builtins; builtins.hacked = True\n",
    "x\r    import builtins; builtins.hacked = True",
    "{__import__('builtins').__dict__.update(hacked=True)}",
    "__import__('builtins').__dict__.update(hacked=True)",
    "\x00\u202e\u2028\ud800",
    "class",
    "__class__",
    "torch",
    "",
    "3",
    '"',
    "'\"'\\",
]


def poisoned(value: Any, text: str) -> Any:
    """A graph with `text` for every name, label and documentation in it. Operations keep their own arguments."""
    if isinstance(value, tuple):
        return tuple(poisoned(part, text) for part in value)
    if not is_dataclass(value) or isinstance(value, Span | type):
        return value
    changed: dict[str, Any] = {}
    for entry in fields(value):
        if not entry.init:
            continue
        part = getattr(value, entry.name)
        if entry.name in ("name", "label", "doc") and isinstance(part, str):
            changed[entry.name] = text
        elif entry.name == "names":
            changed[entry.name] = tuple(text for _ in part)
        elif entry.name in ("arguments", "sizes"):
            changed[entry.name] = (
                tuple((text, item) for _, item in part) if entry.name == "arguments" else part
            )
        elif entry.name in ("inputs", "nodes", "outputs", "parameters", "buffers", "op", "make"):
            changed[entry.name] = poisoned(part, text)
    return replace(value, **changed)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize(
    "model", [RESNET, WINDOWS, TRAINING, SHARED], ids=["resnet", "windows", "training", "shared"]
)
def test_no_text_of_a_graph_becomes_code(model: str, text: str) -> None:
    graph = poisoned(graph_of(model), text)
    try:
        generated = source(graph)
    except ValueError:
        return  # what cannot be named is refused
    said = {
        name
        for node in ast.walk(ast.parse(generated))
        for name in (getattr(node, "id", None), getattr(node, "attr", None), getattr(node, "name", None))
        if isinstance(name, str)
    }
    assert not said & {"builtins", "hacked", "__import__", "__dict__", "update"}
    generated.encode()
    with suppress(KeyError, TypeError, AttributeError):
        build(graph)  # torch itself refuses an empty label, or one with a dot at its end
    assert not hasattr(builtins, "hacked")


def test_every_attribute_of_a_module_is_known() -> None:
    module = nn.Module()
    unknown = {*dir(module), *vars(module)} - MODULE_ATTRIBUTES
    assert unknown == set()


def test_strings_in_arguments_stay_strings() -> None:
    graph = graph_of('model M { input x: [N, 3, H, W]\n output x -> c: Conv2d(4, 3, padding = "same") }')
    assert 'padding="same"' in source(graph)


def test_the_same_block_under_running_labels_is_written_once() -> None:
    graph = graph_of("""block Layer(width: int) {
      input x: [N, C]
      output x + (x -> Linear(width) -> ReLU -> Linear(C))
    }
    model M {
      input x: [N, 8]
      output x -> same: [for i in range(4) { "layer-{i + 1}": Layer(16) }]
               -> other: [for i in range(4) { "layer{i}": Layer(16 + i) }]
               -> gap: [for i in range(3) { "layer{2 * i}": Layer(16) }]
    }""")
    generated = source(graph)
    assert 'OrderedDict((f"layer-{i}", Layer(16)) for i in range(1, 5))' in generated
    assert "layer1=Layer(17)," in generated
    assert "layer4=Layer(16)," in generated
    assert list(build(graph).state_dict()) == [name for name, _ in graph.state()]
