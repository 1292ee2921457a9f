"""Programs that take the language at its word: labels, sharing, lists, templates and sizes in combination.

What a sound program means is asked of its graph and of the module that is built from it; a faulty one has exactly the
errors that are its own, each once.
"""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch

import netdsl
from netdsl.compiler import Checked, Limits, check
from netdsl.ir.dims import evaluate
from netdsl.ir.graph import Graph
from netdsl.ir.schema import from_json, to_json
from netdsl.ir.text import print_graph, read_graph
from netdsl.ir.verify import verify
from netdsl.ops.vocabulary import VOCABULARY
from netdsl.source import Source

SIZES = {"N": 2, "T": 5, "H": 9, "W": 12, "P": 8, "Q": 6}


def checked(text: str) -> Checked:
    return check(Source(text))


def model(body: str, before: str = "", shape: str = "[N, 3]") -> str:
    return f"{before}\nmodel M {{\n  input x: {shape}\n{body}\n}}"


def sound(text: str) -> Graph:
    """The graph of `M`, which obeys the laws of graphs."""
    found = checked(text)
    assert [str(d.message) for d in found.report.errors] == []
    graph = found.graphs["M"]
    assert verify(graph) == []
    return graph


def codes(text: str) -> list[str]:
    return [d.code for d in checked(text).report]


def state(text: str) -> list[str]:
    return [name for name, _ in sound(text).state()]


def outputs(text: str) -> list[str]:
    graph = sound(text)
    return [str(graph.types[output.value]) for output in graph.outputs]


def constraints(text: str) -> set[str]:
    return {str(constraint) for constraint in sound(text).constraints}


def run(text: str, *, training: bool = False) -> list[torch.Tensor]:
    """The results of the module of `M` on random inputs, whose shapes are those of the graph."""
    torch.manual_seed(0)
    graph = sound(text)
    built = netdsl.loads(text).M().train(training)
    assert [name for name, _ in graph.state()] == list(built.state_dict())
    inputs = [torch.randn([evaluate(d, SIZES) for d in entry.type.shape]) for entry in graph.inputs]
    found: Any = built(*inputs)
    results = [found] if isinstance(found, torch.Tensor) else [r for r in found if r is not None]
    present = [o for o in graph.outputs if training or not o.when_training]
    for output, result in zip(present, results, strict=True):
        assert list(result.shape) == [evaluate(d, SIZES) for d in graph.types[output.value].shape]
    return results


# ----------------------------------------------------------------------------------------- labels and sharing

LINEAR = "block B(n = 3) {\n  input x: [N, C]\n  output x -> Linear(n)\n}"


@pytest.mark.parametrize(
    ("made", "names"),
    [
        ("Linear(3)", ["a.weight", "a.bias"]),
        ("B", ["a.linear_1.weight", "a.linear_1.bias"]),
        ("[Linear(3), ReLU]", ["a.0.weight", "a.0.bias"]),
        ("(ReLU -> Linear(3))", ["a.1.weight", "a.1.bias"]),
        ("V", ["a.linear_1.weight", "a.linear_1.bias"]),
    ],
)
def test_a_label_used_again_is_the_same_layer(made: str, names: list[str]) -> None:
    text = model(f"  output x -> a: {made} -> a -> a", f"{LINEAR}\nblock V = B(3)")
    assert state(text) == names
    nodes = [node for node in sound(text).nodes if node.label == "a"]
    assert len(nodes) == 3
    assert len({node.op for node in nodes}) == 1
    run(text)


def test_a_layer_without_a_label_is_used_again_by_the_name_that_it_gets() -> None:
    text = model("  output x -> B -> b_1 -> Linear(3) -> linear_1", LINEAR)
    assert state(text) == ["b_1.linear_1.weight", "b_1.linear_1.bias", "linear_1.weight", "linear_1.bias"]


@pytest.mark.parametrize("made", ["Linear(3)", "B", "[Linear(3)]", "V", "identity", "fork(ReLU) -> concat"])
def test_two_things_of_one_label_are_an_error(made: str) -> None:
    text = model(f"  output x -> a: ({made}) -> a: ({made})", f"{LINEAR}\nblock V = B(3)")
    assert codes(text) == ["E0504"]


def test_a_shared_layer_must_fit_its_second_input() -> None:
    assert codes(model("  y = x -> a: Linear(4)\n  output y -> a")) == ["E0508"]
    assert codes(model("  y = x -> a: B(4)\n  output y -> a", LINEAR)) == ["E0508"]
    assert codes(model("  y = x -> a: [Linear(4)]\n  output y -> a")) == ["E0508"]


def test_a_layer_has_one_label() -> None:
    assert codes(model("  y = x -> a: Linear(3)\n  output y -> b: a")) == ["E0504"]


@pytest.mark.parametrize("label", ["w", "w.inner"])
@pytest.mark.parametrize("tensor", ["param w: [3] = zeros", "buffer w: [3] = zeros(3)"])
def test_a_label_and_a_tensor_share_one_namespace(tensor: str, label: str) -> None:
    assert codes(model(f'  {tensor}\n  output (x + w) -> "{label}": Linear(3)')) == ["E0504"]
    assert codes(model(f'  y = x -> "{label}": Linear(3)\n  {tensor}\n  output y + w')) == ["E0504"]


def test_names_that_are_given_step_aside_for_labels() -> None:
    assert state(model('  output x -> "linear_1.a": Linear(3) -> Linear(4)')) == [
        "linear_1.a.weight",
        "linear_1.a.bias",
        "linear_2.weight",
        "linear_2.bias",
    ]
    assert state(model("  param linear_1: [3] = zeros\n  output (x + linear_1) -> Linear(4)")) == [
        "linear_1",
        "linear_2.weight",
        "linear_2.bias",
    ]


# ----------------------------------------------------------------------------------------- lists and forks


def test_items_of_a_labelled_list_count_whatever_they_are() -> None:
    text = model(
        "  output x -> l: [ReLU, Linear(4), [], [[Linear(5)], tail: Linear(6)], (ReLU -> Linear(3))]"
    )
    assert [name for name in state(text) if name.endswith("weight")] == [
        "l.1.weight",
        "l.3.0.0.weight",
        "l.3.tail.weight",
        "l.4.1.weight",
    ]
    run(text)


def test_forks_in_labelled_lists_give_all_their_results() -> None:
    text = model(
        "  a, b = x -> f: [Linear(4), fork(p: Linear(3), q: Linear(5) -> Linear(3))]\n  output a + b"
    )
    assert [name for name in state(text) if name.endswith("weight")] == [
        "f.0.weight",
        "f.p.weight",
        "f.q.weight",
        "f.linear_1.weight",
    ]
    run(text)


def test_lists_take_the_tensors_they_use_from_the_body_around_them() -> None:
    text = model(
        "  param p: [3] = uniform(0, 1)\n  buffer b: [3] = arange(3.0)\n  y = x -> first: Linear(3)\n"
        "  output x -> l: [add(y), [mul(p), inner: [add(b), fork(identity, add(y)) -> concat(dim = 1)]]]"
    )
    graph = sound(text)
    assert [len(node.operands) for node in graph.nodes if node.label == "l"] == [4]
    (result,) = run(text)
    built = netdsl.loads(text).M()
    given = torch.randn(2, 3)
    y = built.first(given)
    once = (given + y) * built.p + built.b
    assert result.shape == (2, 6)
    assert torch.allclose(built(given), torch.cat([once, once + y], dim=1))


def test_a_list_that_uses_tensors_around_it_can_be_used_again() -> None:
    text = model("  y = x -> Linear(3)\n  z = x -> l: [Linear(3), add(y)]\n  output z -> l -> l")
    assert len(run(text)) == 1
    assert [n for n in state(text) if n.startswith("l.")] == ["l.0.weight", "l.0.bias"]


def test_a_tensor_does_not_enter_a_block_inside_a_template() -> None:
    block = "block B(l) {\n  input x\n  output x -> l\n}"
    assert codes(model("  y = x -> Linear(3)\n  output x -> B(add(y))", block)) == ["E0505"]


@pytest.mark.parametrize(
    "flow",
    [
        "x -> fork(fork(ReLU, Tanh), identity) -> l: [ReLU]",
        "x -> l: [fork(fork(ReLU, Tanh), identity)]",
        "x -> fork(fork(ReLU, Tanh), identity) -> B",
        "x -> fork(fork(ReLU, Tanh), identity) -> concat(dim = 1)",
    ],
)
def test_what_flows_is_tensors_and_not_lists_of_them(flow: str) -> None:
    assert codes(model(f"  output {flow}", LINEAR)) == ["E0412"]


# ----------------------------------------------------------------------------------------- several results


def test_the_first_result_flows_on_and_an_unpacking_takes_all() -> None:
    text = model(
        "  y = x -> LSTM(4)\n  z = y -> l: [LSTM(5), LSTM(6)] -> Linear(3)\n  a, h, c = x -> m: LSTM(4)\n"
        "  b, _, _ = x -> m\n  q = x -> fork(LSTM(3), GRU(3)) -> concat(dim = 2)\n"
        "  output z\n  output a + b + y\n  output h + c\n  output q",
        shape="[T, N, 3]",
    )
    assert outputs(text) == ["[T, N, 3]", "[T, N, 4]", "[1, N, 4]", "[T, N, 6]"]
    run(text)


def test_outputs_of_a_block_are_reached_by_name_however_many_there_are() -> None:
    one = "block E {\n  input x: [N, C]\n  output skip = x -> Linear(3)\n}"
    two = "block E {\n  input x: [N, C]\n  output x -> relu\n  output skip = x -> Linear(3)\n}"
    for block in (one, two):
        run(model("  e = x -> e: E\n  output e.skip + e", block))
    assert codes(model("  e = x -> e: E\n  output e.other + e", one)) == ["E0205"]


def test_a_tensor_unpacks_along_an_axis_of_known_size() -> None:
    run(model("  a, b, c = x\n  output a + b + c", shape="[3, N]"))
    run(model("  a, b, c = x -> E\n  output a - b - c", "block E {\n  input x\n  output y = -x\n}", "[3, N]"))
    assert codes(model("  a, b = x\n  output a + b", shape="[3, N]")) == ["E0311"]


def test_outputs_for_training_exist_in_training_only() -> None:
    block = "block E {\n  input x: [N, C]\n  y = x -> Linear(3)\n  output y\n  output aux = y -> Linear(2) when training\n}"
    text = model("  e = x -> e: E\n  output e\n  output aux = e.aux -> relu when training", block)
    assert len(run(text, training=True)) == 2
    assert len(run(text)) == 1
    assert codes(model("  e = x -> e: E\n  output e\n  output aux = e.aux", block)) == ["E0509"]


# ----------------------------------------------------------------------------------------- templates and variants


def test_a_graph_keeps_of_layers_in_arguments_what_was_written() -> None:
    text = """block Wide { input x
 output x -> Linear(9) }
model M(rows: list = [[Wide, 1], [Linear(3) -> ReLU, relu]], f = max) { input x: [N, 3]
 output x -> rows[0][0] }"""
    graph = sound(text)
    given = dict(graph.arguments)
    assert str(given["f"]) == "max"
    assert [[str(item) for item in row] for row in given["rows"]] == [
        ["Wide", "1"],
        ["Linear(3) -> ReLU", "relu"],
    ]
    assert read_graph(print_graph(graph), VOCABULARY) == graph
    assert from_json(to_json(graph), VOCABULARY) == graph


def test_templates_travel_through_blocks() -> None:
    blocks = (
        "block Wrap(l: layer) {\n  input x\n  output x -> inner: l\n}\n"
        "block Res(l: layer) {\n  input x\n  output x + (x -> inner: l)\n}"
    )
    text = model(
        "  output x -> a: Wrap(Res(Wrap(Linear(3)))) -> b: Res(Linear(4) -> Linear(3)) -> c: Res([Linear(3)])",
        blocks,
    )
    assert [name for name in state(text) if name.endswith("weight")] == [
        "a.inner.inner.inner.weight",
        "b.inner.0.weight",
        "b.inner.1.weight",
        "c.inner.0.weight",
    ]
    run(text)


def test_a_template_called_again_takes_more_arguments_and_replaces_named_ones() -> None:
    text = model("  d = Linear(bias = False)\n  output x -> d(4) -> d(5)(bias = True) -> d(3, bias = False)")
    assert state(text) == ["linear_1.weight", "linear_2.weight", "linear_2.bias", "linear_3.weight"]


def test_a_variant_of_a_variant_adds_no_level() -> None:
    before = f"{LINEAR}\nblock V(n) = B(n = n)\nblock W = V(4)"
    text = model("  output x -> w: W -> V(5) -> W", before)
    assert [name for name in state(text) if name.endswith("weight")] == [
        "w.linear_1.weight",
        "v_1.linear_1.weight",
        "w_1.linear_1.weight",
    ]
    nodes = sound(text).nodes
    assert [node.op.name for node in nodes if isinstance(node.op, Graph)] == ["W", "V", "W"]


def test_a_note_says_where_the_innermost_block_is_used() -> None:
    block = "block B(n) {\n  input x: [N, 4]\n  output x -> Linear(n)\n}\nblock V(n) = B(n)\nblock Outer {\n  input x\n  output x -> v: V(7)\n}"
    (found,) = checked(model("  output x -> outer: [Outer]", block)).report
    assert found.notes == ("in B(n = 7), used at <text>:8:18 as `outer.0.v`",)


def test_a_rule_for_what_a_broken_line_would_have_made_is_no_second_error() -> None:
    lines = "  x = x -> fc Linear(3)\n  init Linear.weight = zeros\n  output x -> ReLU"
    assert codes(model(lines)) == ["E0101"]
    assert codes(model(lines.replace("fc ", "fc: ").replace("init Linear", "init Conv2d"))) == ["E0511"]


def test_notes_name_the_functions_that_made_a_layer() -> None:
    text = (
        "fn conv(c) = [Conv2d(c, 3, groups = 2)]\n"
        "fn twice(c) = [*conv(4), *conv(c)]\n"
        "block B(c) {\n  input x\n  output x -> inner: twice(c)\n}\n"
        "model M {\n  input x: [N, 2, H, W]\n  output x -> last: [B(4), B(3)]\n}"
    )
    (problem,) = checked(text).report.errors
    assert problem.notes == (
        "in conv, used at <text>:2:27",
        "in twice, used at <text>:5:22",
        "in B(c = 3), used at <text>:9:28 as `last.1.inner`",
    )


def test_one_instance_serves_all_equal_uses() -> None:
    graph = sound(model("  output x -> a: B(3) -> b: B(3) -> c: B(n = 3) -> d: B", LINEAR))
    blocks = [node.op for node in graph.nodes if isinstance(node.op, Graph)]
    assert blocks[0] is blocks[1]
    assert blocks[0] is blocks[2]
    assert len(blocks) == 4
    assert blocks[0].code[3:] == blocks[3].code[3:]


def test_one_and_one_point_nought_and_true_are_three_arguments() -> None:
    block = "block B(k) {\n  input x\n  output x * k\n}"
    text = model("  output x -> B(1)\n  output x -> B(1.0)\n  output x -> B(True)", block)
    values = [node.op.arguments for node in sound(text).nodes if isinstance(node.op, Graph)]
    assert [repr(dict(v)["k"]) for v in values] == ["1", "1.0", "True"]


# ----------------------------------------------------------------------------------------- sizes


def test_sizes_are_arguments_of_blocks() -> None:
    block = "block Up(h, w) {\n  input x: [N, C, A, B]\n  y: [N, C, h, w] = x -> interpolate(size = [h, w])\n  output y\n}"
    text = model("  output x + (x -> Up(2 * H, W // 2) -> Up(H, W))", block, "[N, 3, H, W]")
    assert outputs(text) == ["[N, 3, H, W]"]
    assert constraints(text) == {"W >= 2"}
    run(text)


@pytest.mark.parametrize(
    "given", ["reshape(N, 3 * H, W)", "[relu, reshape([N, 3 * H, W])]", "(relu -> reshape(N, 3 * H, W))"]
)
def test_sizes_in_templates_mean_the_same_inside_a_block(given: str) -> None:
    """The block calls the axes otherwise, so that a size of the caller taken for one of its own would be another."""
    block = "block Through(l: layer) {\n  input x: [W, N, A, H]\n  output x -> l\n}"
    text = model(f"  y: [N, 3 * H, W] = x -> Through({given})\n  output y", block, "[N, 3, H, W]")
    assert outputs(text) == ["[N, 3*H, W]"]
    run(text)


def test_conditions_of_inner_blocks_are_said_in_the_sizes_of_the_model() -> None:
    inner = "block In {\n  input x: [N, C, A, B]\n  y = x -> AvgPool2d(2) -> interpolate(scale_factor = 2)\n  output x + y\n}"
    outer = "block Out {\n  input x: [N, C, A, B]\n  output x[:, :, 1:] -> i: In\n}"
    text = model("  output x -> o: [Out]", f"{inner}\n{outer}", "[N, 3, H, W]")
    assert {"H % 2 == 1", "W % 2 == 0"} <= constraints(text)
    run(text)


def test_a_block_used_twice_has_the_conditions_of_both_uses() -> None:
    inner = "block In {\n  input x: [N, C, A, B]\n  y = x -> AvgPool2d(2) -> interpolate(scale_factor = 2)\n  output x + y\n}"
    text = model("  input z: [N, 3, P, Q]\n  output x -> In\n  output z -> In", inner, "[N, 3, P, W]")
    found = constraints(text)
    assert {"P % 2 == 0", "W % 2 == 0", "Q % 2 == 0"} <= found


def test_a_size_may_have_the_name_of_a_block() -> None:
    assert codes("model H {\n  input x: [N, 3]\n  y: [N, H] = x\n  output y\n}") == ["E0303"]


# ----------------------------------------------------------------------------------------- buffers


def test_buffers_are_made_of_buffers() -> None:
    text = model(
        "  buffer a: [3] = arange(3.0)\n  buffer b: [3] = a * 2 + 1 when unsaved\n  buffer c: [3] = b -> cos\n  output x + c"
    )
    assert state(text) == ["a", "c"]
    run(text)
    assert torch.allclose(netdsl.loads(text).M().c, torch.cos(torch.arange(3.0) * 2 + 1))


@pytest.mark.parametrize(
    "value",
    [
        "a * 2",
        "x[0]",
        "zeros(3) -> Linear(3)",
        "zeros(3) -> k: [cos]",
        "zeros(3) -> Dropout",
        "3",
        "Linear(3)",
    ],
)
def test_a_buffer_depends_on_nothing(value: str) -> None:
    assert codes(model(f"  param a: [3] = zeros\n  buffer b: [3] = {value}\n  output x + a + b")) == ["E0510"]


# ----------------------------------------------------------------------------------------- one mistake, one error

UNKNOWN = "E0201"


@pytest.mark.parametrize(
    "body",
    [
        "y = zzz\n  output y[..., 0] + y[x] + y[1.5:2] + y[x:]",
        "l = [zzz, 1]\n  output x -> Linear(sum(l) + max(l) + sorted(l)[0])",
        "l = [zzz, 1]\n  y = x -> (Linear(3) if 1 in l else ReLU)\n  output y",
        "if zzz { y = x -> conv: Linear(3) }\n  output x -> conv",
        'for i in zzz { y = x -> "c{i}": Linear(3) }\n  output x -> "c1"',
        "y = x -> l: [*zzz]\n  output x -> l",
        "y = x -> fork(a: Linear(3), zzz(4)) -> concat\n  output x -> a",
        "y = x -> a: Linear(zzz)\n  output y -> a",
        "y = x -> a: Linear(3) -> zzz(3) -> b: ReLU\n  output (x -> a) -> b",
        'y = x -> "{zzz}": Linear(3)\n  output x -> other',
        "a, b = zzz\n  c, d = a\n  output c + d -> Linear(b)",
        "y: [N, q] = zzz\n  output y -> Linear(q)",
        "param p: [zzz] = zeros\n  output x + p",
        "buffer b: [3] = zzz\n  output x + b",
        "f = fork(zzz(1), ReLU)\n  output x -> f -> concat",
        "y = B(zzz)\n  output x -> y",
        "output x -> B(zzz) -> k: B -> k",
    ],
)
def test_a_value_that_is_not_known_causes_no_second_error(body: str) -> None:
    assert codes(model(f"  {body}", LINEAR)) == [UNKNOWN]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("output x + None", "E0412"),
        ("output None @ x", "E0412"),
        ("output sum([x, x])", "E0304"),
        ("output [1, 2, 3][::0]", "E0411"),
        ("output x[::0]", "E0411"),
        ("output x -> fork()", "E0302"),
        ("output [x, [x]]", "E0502"),
        ("output 1 < x < 3", "E0307"),
        ("output not x", "E0307"),
        ("n = N\n  for i in range(70) { n = n // 2 + n * n }\n  output x[:n]", "E0308"),
        ("output x -> Linear(2 ** 64)", "E0308"),
        ("output x -> E(-1) -> E(-1)", "E0404"),
        ("output (x, x) -> E(3)", "E0412"),
        ("output x -> E(ReLU)", "E0303"),
        ("output x -> E(x)", "E0303"),
        ("output x -> Two(3)", "E0412"),
        ("expect macs(N = 0) < 3\n  output x", "E0513"),
        ("expect macs(Q = 1) < 3\n  output x", "E0513"),
    ],
)
def test_each_mistake_has_its_error(body: str, code: str) -> None:
    extern = 'extern E(n) from "a.b:C" {\n  input x: [N, C]\n  output [N, n]\n}'
    two = 'extern Two(n) from "a.b:C" {\n  input x: [N, C]\n  input y: [N, C]\n  output [N, n]\n}'
    assert codes(model(f"  {body}", f"{extern}\n{two}")) == [code]


def test_outputs_of_an_extern_are_reached_by_name() -> None:
    extern = 'extern E(n) from "a.b:C" {\n  input x: [N, C]\n  output y: [N, n]\n  output [n]\n}'
    assert outputs(
        model("  e = x -> e: E(4) -> e\n  output e.y\n  output e", extern).replace(
            "-> e: E(4) -> e", "-> e: E(4)"
        )
    ) == [
        "[N, 4]",
        "[N, 4]",
    ]


# ----------------------------------------------------------------------------------------- limits

GROWING = {
    "lists in lists": "l = 1\n  for i in range(60) { l = [l, l] }\n  output x -> Linear(l)",
    "templates in templates": "l = ReLU\n  for i in range(60) { l = Keep([l, l]) }\n  output x -> l",
    "chains of chains": "l = ReLU\n  for i in range(60) { l = (l -> l) }\n  output x -> l",
    "forks of forks": "l = ReLU\n  for i in range(60) { l = fork(l, l) }\n  output x -> B(l)",
    "a list in a list in a list": "l = 1\n  for i in range(2000) { l = [l] }\n  output x -> Linear(l)",
    "a million lists joined": "l = sum([[1, 2]] * 1000000, [])\n  output x -> Linear(len(l))",
    "a list that grows": "l = []\n  for i in range(200000) { l = l + [i] }\n  output x",
    "long sums in a loop": "l = 0\n  for i in range(100000) { l = sum(range(1000000)) }\n  output x",
    "comparing long lists in a loop": "l = range(1000000)\n  for i in range(100000) { assert l == l }\n  output x",
    "lists nested in labels": "c = identity\n  for i in range(900) { c = c -> Linear(3) }\n  output x -> l: c",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", GROWING)
def test_a_program_that_grows_without_end_is_stopped(name: str) -> None:
    started = time.process_time()
    found = codes(model(f"  {GROWING[name]}", f"{LINEAR}\nblock Keep(l) {{\n  input x\n  output x\n}}"))
    assert found
    assert set(found) <= {"E0206", "E0208", "E0308"}
    assert time.process_time() - started < 30


def test_blocks_nest_no_deeper_than_the_limit_however_they_are_reached() -> None:
    """Each use finds the block of the one before it made already, so none is itself deep."""
    blocks = "block A0 {\n  input x\n  output x -> ReLU\n}\n" + "".join(
        f"block A{i + 1} {{\n  input x\n  output x -> A{i}\n}}\n" for i in range(60)
    )
    body = "\n".join(f"  x = x -> A{i}" for i in range(0, 60, 10)) + "\n  output x"
    text = model(body, blocks)
    assert [d.code for d in check(Source(text), limits=Limits(nesting=100)).report] == []
    assert [d.code for d in check(Source(text), limits=Limits(nesting=30)).report.errors] == ["E0206"]


def test_a_long_chain_takes_time_in_proportion() -> None:
    """A shared layer, too, is looked up and not searched for."""
    started = time.process_time()
    sound(model("  x = x -> a: Linear(3)\n  for i in range(5000) { x = x -> a -> ReLU }\n  output x"))
    assert time.process_time() - started < 30
