"""Diagrams show a model as its source has it: blocks in frames, repetitions once, changes of shape."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import netdsl
from netdsl.backends import captions
from netdsl.backends.dot import dot, render
from netdsl.backends.graphviz import DrawingError
from netdsl.backends.picture import AT_A_GLANCE, Arrow, Box, Frame, Picture, Row, default_depth, picture
from netdsl.ir.dims import symbol
from netdsl.ir.graph import Graph, Input, Literal, Output
from netdsl.ir.types import Tensor
from netdsl.ir.views import to_networkx
from tests.graphs_onnx import Body, sequential

SPECS = Path(__file__).parent.parent / "specs"
N, H = symbol("N"), symbol("H")
IMAGE = Tensor((N, 8, 6, 6))


def graph_of(text: str, **arguments: Any) -> Graph:
    (model,) = netdsl.loads(text)
    return model.graph(**arguments)


def branches(width: int, name: str = "Residual") -> Graph:
    """A block with a skip connection."""
    body = Body(name, "block", x=Tensor((N, width, 6, 6)))
    first = body.call("Conv2d", 0, label="conv1", out_channels=width, kernel_size=3, padding=1)
    second = body.call("Conv2d", first, label="conv2", out_channels=width, kernel_size=3, padding=1)
    return body.graph(body.call("add", 0, second), arguments=(("width", width),))


def tower(times: int, block: Graph | None = None) -> Graph:
    """A model with one block again and again in a list, between two layers."""
    block = block or branches(8)
    body = Body("Tower", x=IMAGE)
    stem = body.call("Conv2d", 0, label="stem", out_channels=8, kernel_size=1)
    layers = body.block(sequential("layers", IMAGE, [block] * times), stem, label="layers")
    head = body.call("Conv2d", layers, label="head", out_channels=2, kernel_size=1)
    return body.graph(head)


def boxes(frame: Frame) -> list[Box]:
    found: list[Box] = []
    for item in frame.items:
        found += boxes(item) if isinstance(item, Frame) else [item]
    return found


def frames(frame: Frame) -> list[Frame]:
    inner = [item for item in frame.items if isinstance(item, Frame)]
    return [*inner, *(deeper for item in inner for deeper in frames(item))]


def library(file: str, model: str) -> Graph:
    return getattr(netdsl.load(SPECS / file), model).graph()


def arrow(shown: Picture, tail: str, head: str) -> Arrow:
    (found,) = [a for a in shown.arrows if (a.tail, a.head) == (tail, head)]
    return found


# What is shown


def test_a_chain_shows_each_layer_with_its_parameters_and_where_shapes_change() -> None:
    body = Body("Net", x=IMAGE)
    conv = body.call("Conv2d", 0, label="conv1", out_channels=10, kernel_size=5)
    pool = body.call("MaxPool2d", conv, kernel_size=2)
    shown = picture(body.graph(pool))
    x, conv1, pooled, output = boxes(shown.model)
    assert (x.role, x.title, x.caption) == ("input", "x", "N×8×6×6")
    assert (conv1.title, conv1.caption, conv1.note) == ("conv1", "Conv2d 10, 5×5", "2,010 parameters")
    assert (conv1.family, pooled.family) == ("conv", "pool")
    assert (pooled.role, pooled.caption) == ("step", "MaxPool2d 2×2")
    assert (output.role, output.caption) == ("output", "N×10×1×1")
    assert [a.text for a in shown.arrows] == ["", "N×10×2×2", ""]


def test_a_shape_that_stays_is_not_repeated() -> None:
    body = Body("Net", x=IMAGE)
    same = body.call("Conv2d", 0, label="a", out_channels=8, kernel_size=3, padding=1)
    shown = picture(body.graph(body.call("Conv2d", same, label="b", out_channels=2, kernel_size=1)))
    assert arrow(shown, "a", "b").text == ""


def test_an_arrow_that_passes_by_is_a_leap_and_branches_are_not() -> None:
    shown = picture(tower(1), depth=2)
    assert arrow(shown, "stem", "layers.0.add").leap
    assert not arrow(shown, "stem", "layers.0.conv1").leap
    body = Body("Fork", x=IMAGE)
    parts = [body.call("Conv2d", 0, label=f"b{i}", out_channels=4, kernel_size=1) for i in range(3)]
    longer = body.call("Conv2d", parts[2], label="c", out_channels=4, kernel_size=1)
    shown = picture(body.graph(body.call("concat", *parts[:2], longer, dim=1)))
    assert not any(a.leap for a in shown.arrows)
    assert {a.text for a in shown.arrows if a.head == "concat"} == {"N×4×6×6"}


def test_blocks_are_frames_down_to_the_depth_and_boxes_below() -> None:
    graph = tower(2, branches(8))
    closed = picture(graph, depth=0)
    assert not frames(closed.model)
    (block,) = [box for box in boxes(closed.model) if box.role == "block"]
    assert (block.title, block.caption, block.note) == ("layers", "Residual × 2", "2,336 parameters")
    opened = picture(graph, depth=2)
    assert [(frame.title, frame.caption) for frame in frames(opened.model)] == [("layers", "Residual × 2")]


def test_repeated_blocks_are_drawn_once_with_their_number() -> None:
    shown = picture(tower(12))
    assert shown == picture(tower(12), depth=2)
    (frame,) = frames(shown.model)
    assert (frame.title, frame.caption) == ("layers", "Residual × 12")
    assert frame.note == "1,168 parameters each"
    assert [box.title for box in boxes(frame)] == ["conv1", "conv2", ""]
    assert arrow(shown, "layers.0.add", "head")


def test_what_follows_a_layer_and_keeps_its_shape_is_in_its_box() -> None:
    graph = graph_of(
        "model M { input x: [N, 3, H, W]\n output x -> conv: Conv2d(8, 3, bias = False) -> bn: BatchNorm2d -> ReLU"
        " -> MaxPool2d(2) -> AdaptiveAvgPool2d(1) -> flatten(1) }"
    )
    _, conv, pool, mean, _ = boxes(picture(graph).model)
    assert (conv.title, [(row.title, row.caption) for row in conv.rows]) == (
        "conv",
        [("bn", "BatchNorm2d"), ("", "ReLU")],
    )
    assert (conv.owned, [row.owned for row in conv.rows]) == (216, [16, 0])
    assert not pool.rows  # the shape changes
    assert [row.caption for row in mean.rows] == ["flatten 1"]  # only axes of 1 go
    assert "232 parameters" in dot(graph)
    assert [a.text for a in picture(graph).arrows] == [
        "",
        "N×8×(H - 2)×(W - 2)",
        "N×8×(H//2 - 1)×(W//2 - 1)",
        "",
    ]


def test_a_value_that_is_read_twice_leaves_its_box_as_it_is() -> None:
    graph = graph_of("model M { input x: [N, 4]\n y = x -> a: Linear(4)\n output y + relu(y) }")
    assert [box.caption for box in boxes(picture(graph).model)] == ["N×4", "Linear 4", "relu", "+", "N×4"]


def test_a_chain_of_closed_blocks_is_a_box_with_a_row_for_each() -> None:
    shown = picture(library("resnet.net", "ResNet50"), depth=1)
    layer3 = next(box for box in boxes(shown.model) if box.title == "layer3")
    assert [(row.title, row.caption, row.note) for row in layer3.rows] == [
        ("0", "Bottleneck", "1,512,448 parameters"),
        ("1–5", "Bottleneck × 5", "1,117,184 parameters each"),
    ]
    assert arrow(shown, "layer3", "layer4").text == "N×1024×⌈H/16⌉×⌈W/16⌉"


def test_blocks_that_alternate_are_drawn_once_with_their_number() -> None:
    body = Body("Net", x=IMAGE)
    value = 0
    for number in range(12):
        value = body.block(branches(8, f"Kind{number % 2}"), value, label=f"b{number}")
    shown = picture(body.graph(value), depth=0)
    (box,) = [box for box in boxes(shown.model) if box.role == "block"]
    assert (box.title, box.caption, box.note) == ("b0–b11", "× 6", "2,336 parameters each")
    assert [(row.title, row.caption) for row in box.rows] == [("b0", "Kind0"), ("b1", "Kind1")]
    assert [(a.tail, a.head) for a in shown.arrows] == [("x", box.id), (box.id, "output")]


def test_rates_of_dropout_do_not_keep_blocks_apart_and_widths_do() -> None:
    text = """
    block B(p: float, width: int = 4) {{ input x: [N, 4]
      output x -> a: Linear(width) -> Dropout(p) -> b: Linear(4) }}
    model M {{ input x: [N, 4]
      output x -> layers: [for i in range(4) {{ B({arguments}) }}] }}
    """
    graph = graph_of(text.format(arguments="0.1 * i"))
    assert [frame.caption for frame in frames(picture(graph).model)] == ["B × 4"]
    graph = graph_of(text.format(arguments="0.1, width = i + 1"))
    assert [frame.caption for frame in frames(picture(graph, depth=2).model)] == ["", "B", "B", "B", "B"]


@pytest.mark.parametrize(
    ("file", "model", "most"), [("resnet.net", "ResNet50", 10), ("swin.net", "Swin_T", 14)]
)
def test_real_models_are_drawn_with_few_boxes_at_depth_1(file: str, model: str, most: int) -> None:
    shown = picture(library(file, model), depth=1)
    drawn = boxes(shown.model)
    assert len(drawn) <= most
    assert any("×" in row.caption for box in drawn for row in (Row(caption=box.caption), *box.rows))
    assert any(a.leap and a.tail.startswith("inset") for a in shown.arrows)  # the skip of its block


@pytest.mark.parametrize(
    ("file", "model"), [("resnet.net", "ResNet50"), ("swin.net", "Swin_T"), ("unet.net", "UNet")]
)
def test_real_models_are_read_on_one_screen_at_depth_1(file: str, model: str, tmp_path: Path) -> None:
    head = render(library(file, model), tmp_path / "net.svg", 1).read_text(encoding="utf-8")[:600]
    width, height = (4 / 3 * int(size) for size in re.findall(r'(?:width|height)="(\d+)pt"', head))
    assert min(1400 / width, 900 / height) > 0.7  # of its size, where letters are 15 pixels high


def test_a_u_net_is_a_u() -> None:
    shown = picture(library("unet.net", "UNet"), depth=1)
    assert [tail for tail, _ in shown.levels] == [f"downs.{i}" for i in range(4)]
    heads = [head for _, head in shown.levels]
    assert [arrow(shown, *level).leap for level in shown.levels] == [True] * 4
    assert all(box.caption == "concat dim 1" for box in boxes(shown.model) if box.id in heads)
    assert not any(a.rises for a in shown.arrows if a.head.startswith(("downs", "MaxPool", "bottleneck")))
    assert all(a.rises for a in shown.arrows if a.head.startswith(("ups", "final", "output")))
    assert arrow(shown, "bottleneck", "ups.0").text == "N×1024×H/16×W/16"
    assert dot(library("unet.net", "UNet"), 1).count("rank=same") == 4


def test_skips_that_do_not_lie_in_each_other_make_no_u() -> None:
    shown = picture(tower(3, branches(8)), depth=2)
    assert not shown.levels
    assert not any(a.rises for a in shown.arrows)
    text = "model M { input x: [N, 4]\n a = x -> a: Linear(4)\n b = a -> b: Linear(4) -> c: Linear(4)\n"
    crossing = graph_of(text + " d = (a + b) -> d: Linear(4) -> e: Linear(4)\n output b + d }")
    assert [a.leap for a in picture(crossing).arrows].count(True) == 2
    assert not picture(crossing).levels


def test_blocks_that_differ_are_not_drawn_as_one() -> None:
    body = Body("Net", x=IMAGE)
    value = body.block(branches(8, "A"), 0, label="a")
    value = body.block(branches(8, "B"), value, label="b")
    kept = body.block(branches(8, "B"), value, label="c")
    shown = picture(body.graph(kept, value), depth=0)  # the result of `b` is an output too
    assert [box.caption for box in boxes(shown.model) if box.role == "block"] == ["A", "B", "B"]


def test_a_large_model_shows_its_closed_blocks_open_beside_it() -> None:
    body = Body("Net", x=IMAGE)
    value = 0
    for number in range(16):
        value = body.block(branches(8, f"Kind{number}"), value, label=f"b{number}")
    shown = picture(body.graph(value))
    assert not frames(shown.model)
    assert [(inset.title, inset.caption) for inset in shown.insets] == [
        (f"Kind{n}", f"b{n}") for n in range(5)
    ]
    assert len(boxes(shown.model)) <= AT_A_GLANCE


def test_the_most_frequent_of_a_kind_is_shown_open() -> None:
    shown = picture(library("resnet.net", "ResNet50"), depth=1)
    assert [(inset.title, inset.caption) for inset in shown.insets] == [
        ("Bottleneck", "layer1.0"),  # with a downsample
        ("Bottleneck", "layer1.1"),
    ]
    assert arrow(shown, "inset 1:x", "inset 1:add").leap
    assert not picture(library("resnet.net", "ResNet50"), depth=0).insets


def test_the_default_depth_grows_until_the_picture_is_full() -> None:
    assert default_depth(tower(1)) == 2
    assert default_depth(tower(100)) == 2  # drawn once
    body = Body("Wide", x=IMAGE)
    for number in range(20):
        body.block(branches(8, f"Kind{number}"), 0, label=f"b{number}")
    assert default_depth(body.graph(0)) == 0


def test_a_layer_used_twice_says_so() -> None:
    graph = graph_of("model M { input x: [N, 4]\n y = x -> same: Linear(4)\n output y -> same }")
    notes = [box.note for box in boxes(picture(graph).model) if box.title == "same"]
    assert notes == ["20 parameters", "shared"]


def test_params_numbers_and_training_outputs_have_their_looks() -> None:
    body = Body("Net", x=Tensor((N, 4)))
    added = body.call("add", 0, body.param("bias", 1, 4))
    scaled = body.call("mul", added, Literal(2))
    shown = picture(body.graph(Output(scaled), Output(added, "aux", when_training=True)))
    found = {box.id: box for box in boxes(shown.model)}
    assert (found["bias"].role, found["bias"].caption, found["bias"].note) == (
        "tensor",
        "1×4",
        "4 parameters",
    )
    assert (found["add"].role, found["add"].caption) == ("sign", "+")
    assert found["mul"].caption == "* 2"
    assert found["aux"].dashed
    assert found["aux"].note == "in training only"
    assert not found["out0"].dashed


def test_sizes_inside_blocks_are_shown_in_the_models_own() -> None:
    block = Body("Half", "block", x=Tensor((symbol("B"), 8, symbol("S"), 6)))
    pooled = block.call("MaxPool2d", 0, kernel_size=2)
    inner = block.graph(block.call("Conv2d", pooled, label="conv", out_channels=2, kernel_size=1))
    body = Body("Net", x=Tensor((N, 8, 2 * H, 6)))
    value = body.block(inner, 0, label="half", sizes=(("B", N), ("S", 2 * H)))
    shown = picture(body.graph(value), depth=1)
    assert arrow(shown, "half.MaxPool2d", "half.conv").text == "N×8×H×3"


# Text and files


def test_the_text_is_the_same_each_time_and_graphviz_reads_it(tmp_path: Path) -> None:
    graph = tower(3)
    assert dot(graph) == dot(tower(3))
    for depth in (None, 0, 1, 2):
        assert render(graph, tmp_path / "net.svg", depth).read_text(encoding="utf-8").endswith("</svg>\n")


@pytest.mark.parametrize(
    ("kind", "start"), [("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF"), ("dot", b"digraph")]
)
def test_every_kind_of_file_is_written_whole(tmp_path: Path, kind: str, start: bytes) -> None:
    path = render(tower(2), tmp_path / f"net.{kind}")
    assert path.read_bytes().startswith(start)
    assert [p.name for p in tmp_path.iterdir()] == [f"net.{kind}"]


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DrawingError, match=r"written as .dot, .svg, .png or .pdf, not `net.jpg`"):
        render(tower(1), tmp_path / "net.jpg")


def test_a_dot_on_the_path_is_used_where_pygraphviz_is_absent_and_neither_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DrawingError, match=r"there is no Graphviz: .*pip install pygraphviz"):
        render(tower(1), tmp_path / "net.svg")
    program = tmp_path / "dot"
    shell = shutil.which("sh", path="/bin:/usr/bin")
    program.write_text(
        f'#!{shell}\nwhile [ "$1" != "-o" ]; do shift; done\nread -r line; echo "$line" > "$2"\n'
    )
    program.chmod(0o755)
    assert render(tower(1), tmp_path / "net.svg").read_text() == 'digraph "Tower" {\n'
    program.write_text(f"#!{shell}\necho no memory >&2; exit 3\n")
    with pytest.raises(DrawingError, match="`dot` has failed: no memory"):
        render(tower(1), tmp_path / "other.svg")
    assert not (tmp_path / "other.svg").exists()


def test_drawing_says_nothing_of_its_own(tmp_path: Path) -> None:
    code = (
        "import netdsl\nfrom netdsl.backends.dot import render\n"
        "(net,) = netdsl.loads('model M { input x: [N, 3]\\n output x -> Linear(2) }')\n"
        f"render(net.graph(), {str(tmp_path / 'net.png')!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


HOSTILE = [
    '"]; evil [label="x',
    "<b>&amp;</b>",
    "a\\",
    "a\nb\x00\x1b",
    "}} digraph",
    "–→✓",
    "<img src='/etc/passwd'/>",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_of_the_source_leaves_its_place(tmp_path: Path, text: str) -> None:
    import pygraphviz

    inner = Body(text, "block", x=IMAGE)
    block = inner.graph(
        inner.call("Conv2d", 0, label=text, out_channels=8, kernel_size=1), arguments=(("a", text),)
    )
    body = Body(text, x=IMAGE)
    graph = body.graph(body.block(block, 0, label=text))
    for depth in (None, 0):
        drawn = pygraphviz.AGraph(string=dot(graph, depth))
        assert len(drawn.nodes()) <= 4
        assert len(drawn.edges()) <= 3
        assert not any(node == "evil" for node in drawn.nodes())
        assert "<img" not in render(graph, tmp_path / "net.svg", depth).read_text(encoding="utf-8")


@given(st.text(max_size=30))
def test_any_name_can_be_drawn(name: str) -> None:
    import pygraphviz

    graph = Graph("model", name, (Input(name, IMAGE),), (), (Output(0, name),))
    assert len(pygraphviz.AGraph(string=dot(graph)).nodes()) == 2


# Captions


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        (Tensor((N, 3, 28, 28)), "N×3×28×28"),
        (Tensor((N, (H - 3) // 2 + 1)), "N×((H - 3)//2 + 1)"),
        (Tensor((2 * H,), "int64"), "int64 (2*H)"),
        (Tensor((N, (H + 3) // 4, H // 2)), "N×⌈H/4⌉×⌊H/2⌋"),
        (Tensor((N, (H + 2) // 4, 2 * (H // 2))), "N×((H + 2)//4)×(2*(H//2))"),
        (Tensor(()), "scalar"),
    ],
)
def test_shapes_are_written_so_that_they_read_one_way(shape: Tensor, text: str) -> None:
    assert captions.shape(shape) == text


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ("x -> reshape(N, 64) -> Linear(5, bias = False)", "5"),
        ("x -> Conv2d(4, [3, 5], stride = 2, padding = 1)", "4, 3×5, stride 2"),
        ("x[:, 0, ::2, None]", "[:, 0, ::2, None]"),
        ('x -> rearrange("n c (h a) w -> n c h a w", a = 2)', "n c (h a) w → n c h a w"),
        ("x -> MaxPool2d(2)", "2×2"),
        (
            "reshape(x, N, 8, 8) -> LSTM(3, num_layers = 2, bidirectional = True)",
            "3, num_layers 2, bidirectional",
        ),
        ("x -> softmax(1)", "dim 1"),
    ],
)
def test_operations_show_the_arguments_that_tell_them_apart(call: str, text: str) -> None:
    *_, node = graph_of(f"model M {{ input x: [N, 1, 8, 8]\n output {call} }}").nodes
    assert not isinstance(node.op, Graph)
    assert captions.operation(node.op) == text


def test_a_size_that_must_divide_is_shown_as_a_fraction() -> None:
    shape = Tensor((N, H // 8, 2 * (H // 16), H, 2 * H, (H + 1) // 2))
    assert captions.shape(shape, {"H": 16}) == "N×H/8×H/8×H×2H×H/2"


def test_long_captions_end_at_a_comma() -> None:
    assert captions.shorten("short") == "short"
    assert captions.shorten("one, two, three, four", 17) == "one, two, three,…"
    assert captions.shorten("x" * 50, 10) == "x" * 9 + "…"


# Views


def test_the_networkx_view_has_a_vertex_a_node_and_an_edge_a_use() -> None:
    body = Body("Net", x=IMAGE)
    twice = body.call("add", 0, 0)
    scaled = body.call("mul", twice, body.param("p", 1, 1, 1, 1))
    view = body.graph(scaled, twice).to_networkx()
    assert set(view) == {
        ("input", "x"),
        ("param", "p"),
        ("node", 0),
        ("node", 1),
        ("output", 0),
        ("output", 1),
    }
    assert view.number_of_edges(("input", "x"), ("node", 0)) == 2
    edge = view.edges[("node", 0), ("node", 1), 0]
    assert (edge["value"], str(edge["type"]), edge["operand"]) == (twice, "[N, 8, 6, 6]", 0)
    assert view.nodes[("node", 1)]["kind"] == "mul"


def test_blocks_are_single_vertices_of_the_view() -> None:
    view = to_networkx(tower(3))
    assert [data["label"] for _, data in view.nodes(data=True)] == ["x", "stem", "layers", "head", None]
