"""The summary counts what torch would count, and leaves symbolic what the source leaves free."""

from __future__ import annotations

import json
from typing import Any

import pytest

import netdsl
from netdsl.backends import captions
from netdsl.backends.summary import Row, Summary, amount, memory, summary
from netdsl.ir.dims import Dim, evaluate, symbol
from netdsl.ir.graph import Graph
from netdsl.ir.measure import multiply_adds, parameter_count
from netdsl.ir.types import Tensor
from tests.graphs_onnx import Body, sequential

N, H, W = symbol("N"), symbol("H"), symbol("W")


def graph_of(text: str, **arguments: Any) -> Graph:
    *_, model = netdsl.loads(text)
    return model.graph(**arguments)


def row(of: Summary, path: str) -> Row:
    (found,) = [row for row in of.rows if row.path == path]
    return found


# The figures of the notes


@pytest.mark.parametrize(
    ("name", "parameters"), [("lenet", 8_490), ("inception", 97_298), ("residual", 41_514), ("mlp", 575_050)]
)
def test_the_models_of_the_notes_have_their_parameters(name: str, parameters: int) -> None:
    model = next(iter(netdsl.load(f"specs/{name}.net")))
    found = summary(model.graph())
    assert found.totals.parameters == found.totals.trainable == parameters
    assert sum(row.parameters for row in found.rows if row.depth == 0) == parameters


# Models of the notes that have no spec, with the parameters that their summaries print.
PRINTED = {
    "dense": (
        "input x: [N, 15]\n output x -> Linear(20) -> ReLU -> Linear(15) -> ReLU -> Linear(1) -> Sigmoid",
        651,
    ),
    "rings": (
        "input x: [N, 2]\n output x -> Linear(4) -> ReLU -> Linear(8) -> ReLU -> Linear(1) -> Sigmoid",
        61,
    ),
    "affine": ("input x: [N, 2]\n param w: [2, 1] = zeros\n param b: [1, 1] = zeros\n output x @ w + b", 3),
    "covid": (
        "input x: [N, 8, 3]\n y = x -> LSTM(3, num_layers = 5, batch_first = True)\n"
        " z = y[:, -1] -> Linear(3)\n output relu((1 + z) * x[:, -1])",
        492,
    ),
    "cifar2": (
        "input x: [N, 3, 32, 32]\n output x -> Conv2d(32, 3) -> pool: MaxPool2d(2) -> Conv2d(64, 5)\n"
        " -> pool -> Dropout2d(0.1) -> AdaptiveMaxPool2d(1) -> Flatten -> Linear(32) -> ReLU -> Linear(1)\n"
        " -> Sigmoid",
        54_273,
    ),
    "digits": (
        "input x: [N, 1, 28, 28]\n output x -> Conv2d(32, 3) -> MaxPool2d(2) -> Conv2d(64, 5)\n"
        " -> MaxPool2d(2) -> Dropout2d(0.1) -> AdaptiveMaxPool2d(1) -> Flatten -> Linear(32) -> ReLU\n"
        " -> Linear(10)",
        53_994,
    ),
    "reviews": (
        "input ids: int64[N, 200]\n output ids -> embedding: Embedding(10000, 3, padding_idx = 1)\n"
        " -> transpose(1, 2) -> Conv1d(16, 5) -> MaxPool1d(2) -> ReLU -> Conv1d(128, 2) -> MaxPool1d(2)\n"
        " -> ReLU -> Flatten -> Linear(1) -> Sigmoid",
        40_625,
    ),
}


@pytest.mark.parametrize("name", PRINTED)
def test_summaries_print_the_parameters_of_the_notes(name: str) -> None:
    body, parameters = PRINTED[name]
    found = summary(graph_of(f"model M {{ {body}\n}}"))
    assert found.totals.parameters == parameters
    assert f"{parameters:,} (" in found.text()


def test_a_frozen_embedding_is_not_trainable() -> None:
    body, _ = PRINTED["reviews"]
    totals = summary(graph_of(f"model M {{ {body}\n}}"), frozen=["embedding.*"]).totals
    assert (totals.parameters, totals.trainable) == (40_625, 10_625)


def test_frozen_parameters_are_not_trainable() -> None:
    graph = graph_of(
        "model M { input x: [N, 4]\n output x -> body: [Linear(5), Linear(6)] -> head: Linear(3) }"
    )
    totals = summary(graph, frozen=["body.*"]).totals
    assert (totals.parameters, totals.trainable) == (25 + 36 + 21, 21)


# Rows


NESTED = """
block Down(width: int) {
  input x: [N, C, H, W]
  y = x -> side: [Conv2d(width, 1, stride = 2), [Conv2d(width, 1), ReLU]]
  output y + (x -> main: Conv2d(width, 3, stride = 2, padding = 1))
}
model Net {
  input x: [N, 3, H, W]
  output x -> stages: [Down(4), Down(8)]
}
"""
BRANCHED = """
block Wide(width: int) {
  input x: [N, C, H, W]
  param scale: [1, width, 1, 1] = ones
  output (x -> conv: Conv2d(width, 3, padding = 1, bias = False) -> bn: BatchNorm2d) * scale
}
model Net {
  input x: [N, 3, H, W]
  y = x -> a: Wide(4) -> MaxPool2d(2) -> b: Wide(8)
  output main = y -> mean([2, 3]) -> head: Linear(5)
  output aux = y -> amax([2, 3]) -> extra: Linear(7) when training
}
"""


def test_functions_are_rows_as_layers_are() -> None:
    found = summary(graph_of(BRANCHED))
    kinds = [row.kind for row in found.rows]
    assert kinds == [
        *("Wide", "param", "Conv2d", "BatchNorm2d", "mul", "MaxPool2d"),
        *("Wide", "param", "Conv2d", "BatchNorm2d", "mul", "mean", "Linear", "amax", "Linear"),
    ]
    assert row(found, "b.conv").depth == 1


def test_sizes_are_symbolic_until_they_are_fixed() -> None:
    graph = graph_of(BRANCHED)
    free, fixed = summary(graph), summary(graph, {"N": 2, "H": 10, "W": 12})
    assert str(row(free, "b.conv").outputs[0]) == "[N, 8, H//2, W//2]"
    assert str(row(fixed, "b.conv").outputs[0]) == "[2, 8, 5, 6]"
    for symbolic, number in zip(free.rows, fixed.rows, strict=True):
        values = {"N": 2, "H": 10, "W": 12}
        assert evaluate(symbolic.multiply_adds, values) == number.multiply_adds
        assert evaluate(symbolic.memory, values) == number.memory
    assert row(fixed, "b.conv").multiply_adds == 2 * 8 * 5 * 6 * 4 * 9
    assert row(fixed, "b.conv").memory == 2 * 8 * 5 * 6 * 4


def test_sizes_that_are_fixed_early_and_late_give_the_same_figures() -> None:
    *_, model = netdsl.loads(NESTED)
    sizes = {"N": 3, "H": 21, "W": 10}
    late, early = summary(model.graph()), summary(model.graph(sizes=sizes))
    assert len(late.rows) == len(early.rows) > 8
    for symbolic, fixed in zip(late.rows, early.rows, strict=True):
        assert evaluate(symbolic.multiply_adds, sizes) == fixed.multiply_adds
        assert evaluate(symbolic.memory, sizes) == fixed.memory
    assert late.totals.multiply_adds == multiply_adds(model.graph())


def test_a_block_has_what_it_holds() -> None:
    found = summary(graph_of(BRANCHED), {"N": 1, "H": 8, "W": 8})
    block = row(found, "a")
    inside = [row for row in found.rows if row.path.startswith("a.") or (row.depth == 1 and row.path == "")][
        :4
    ]
    assert block.parameters == 4 * 3 * 9 + 8 + 4
    assert block.memory == sum(row.memory for row in inside if isinstance(row.memory, int)) > 0


def test_what_only_training_runs_has_parameters_and_no_work() -> None:
    graph = graph_of(BRANCHED)
    found = summary(graph)
    extra = row(found, "extra")
    assert (extra.parameters, extra.multiply_adds, extra.memory) == (8 * 7 + 7, 0, 0)
    assert extra.training_only
    assert not row(found, "head").training_only
    assert found.totals.multiply_adds == multiply_adds(graph)


def test_a_layer_used_twice_is_counted_once_and_works_twice() -> None:
    found = summary(graph_of("model M { input x: [N, 4]\n y = x -> same: Linear(4)\n output y -> same }"))
    first, second = found.rows
    assert (first.parameters, second.parameters) == (20, 0)
    assert (first.shared, second.shared) == (False, True)
    assert str(found.totals.multiply_adds) == "32*N"
    assert found.totals.parameters == 20
    assert "shared" in found.text()


def test_a_block_used_twice_is_counted_once() -> None:
    inner = Body("Two", "block", x=Tensor((N, 4)))
    block = inner.graph(inner.call("Linear", 0, label="fc", out_features=4))
    body = Body("Net", x=Tensor((N, 4)))
    graph = body.graph(body.block(block, body.block(block, 0, label="b"), label="b"))
    found = summary(graph)
    assert [row.parameters for row in found.rows] == [20, 20, 0, 0]
    assert found.totals.parameters == parameter_count(graph) == 20


def test_buffers_and_bytes_are_counted_by_dtype() -> None:
    graph = graph_of("model M { input x: int64[N]\n output x -> Embedding(10, 3) }")
    totals = summary(graph, {"N": 5}).totals
    assert (totals.input_memory, totals.forward_memory, totals.state_memory) == (40, 60, 120)
    norm = graph_of("model M { input x: [N, 6, 4, 4]\n output x -> BatchNorm2d }")
    assert summary(norm).totals.buffers == 13
    assert summary(norm).totals.state_memory == 4 * 6 * 4 + 8


# Text and data


def test_depth_folds_blocks_into_a_row() -> None:
    inner = sequential("items", Tensor((N, 4)), [("Linear", {"out_features": 4})] * 3)
    body = Body("Net", x=Tensor((N, 4)))
    found = summary(body.graph(body.block(inner, 0, label="layers")))
    whole, folded = found.text().splitlines(), found.text(depth=0).splitlines()
    assert len(whole) - len(folded) == 3
    (line,) = [line for line in folded if line.startswith("layers")]
    assert line.split() == ["layers", "Sequential", "[N,", "4]", "60", "48*N", "48", "B*N"]
    (line,) = [line for line in whole if line.startswith("layers ")]
    assert line.split()[4:] == ["60", "48*N", "48", "B*N"]
    assert [line.split()[0] for line in whole if line.startswith("  ")] == ["0", "1", "2"]


def test_columns_stand_under_their_titles() -> None:
    text = summary(graph_of(BRANCHED), {"N": 1, "H": 8, "W": 8}).text()
    lines = text.splitlines()
    title = lines[2]
    end = title.index("parameters") + len("parameters")
    (line,) = [line for line in lines if line.startswith("head ")]
    assert line[:end].endswith(" 45")
    assert text.endswith("\n")
    assert not any(line.endswith(" ") for line in lines)


def test_layers_in_the_title_are_as_written_and_long_lists_are_cut() -> None:
    text = """block Wide { input x
 output x -> Linear(9) }
model M(rows: list = [[Wide, 1], [Linear(3), ReLU]], sizes: list = range(99)) { input x: [N, 3]
 output x -> rows[0][0] }"""
    (title, *_) = summary(graph_of(text)).text().splitlines()
    assert title.startswith("M(rows = [[Wide, 1], [Linear(3), ReLU]], sizes = [0, 1, 2, ")
    assert title.endswith(",…)")
    assert len(title) < 100


def test_numbers_in_the_title_are_not_rounded() -> None:
    text = "model M(w: float = 160.83125) { input x: [N, 3]\n output x * w }"
    assert summary(graph_of(text)).text().startswith("M(w = 160.83125)\n")


def test_a_figure_that_is_cut_keeps_its_first_number() -> None:
    sizes = "((H + 1)//2)*((W + 1)//2)"
    assert captions.shorten(f"1,664*N*(3*{sizes} + 49*{sizes})", 44).startswith(f"1,664*N*(3*{sizes}")


def test_the_data_is_json_and_has_symbolic_sizes_as_text() -> None:
    data = json.loads(json.dumps(summary(graph_of(BRANCHED)).to_json()))
    assert data["inputs"]["x"] == {"shape": ["N", 3, "H", "W"], "dtype": "float32"}
    assert data["rows"][0]["path"] == "a"
    assert data["rows"][0]["multiply_adds"] == "108*N*H*W"
    assert data["totals"]["trainable_parameters"] == data["totals"]["parameters"]
    fixed = summary(graph_of(BRANCHED), {"N": 1, "H": 8, "W": 8}).to_json()
    assert fixed["rows"][0]["multiply_adds"] == 108 * 64


@pytest.mark.parametrize(
    ("dim", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.0 kB"),
        (2_500_000, "2.5 MB"),
        (7 * 10**15, "7000.0 TB"),
        (4000 * N, "4.0 kB*N"),
        (40 * N, "40 B*N"),
        (4000 * N + 8000, "4.0 kB*N + 8.0 kB"),
        (4000 * N - 8000, "4.0 kB*(N - 2)"),
        (12_345_000 * N + 4321, "12.3 MB*N + 4.3 kB"),
    ],
)
def test_bytes_are_written_in_a_unit_that_suits(dim: Dim, text: str) -> None:
    assert memory(dim) == text


@pytest.mark.parametrize(
    ("dim", "text"), [(1234567, "1,234,567"), (144_000 * N, "144,000*N"), (N * H, "N*H")]
)
def test_counts_have_their_thousands_apart(dim: Dim, text: str) -> None:
    assert amount(dim) == text
