"""ONNX files say what the module says, under the names of the source, at every size that is free."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import netdsl
from netdsl.backends.errors import BackendError
from netdsl.backends.onnx import export, output_names, save, single, tensors_of, to_onnx
from netdsl.backends.onnx_target import Names, Recorder
from netdsl.backends.onnx_types import as_array, element_type, value_info
from netdsl.ir.dims import Dim, Expr, evaluate, symbol
from netdsl.ir.graph import Graph, Input, Literal, Node, Output
from netdsl.ir.types import DTYPES, UNKNOWN, State, Tensor
from netdsl.ops import registry
from netdsl.ops.base import Function
from netdsl.ops.target import OnnxTarget, OnnxValue

N, H, W = symbol("N"), symbol("H"), symbol("W")


STEPS = """
block Pooled(width: int) {
  input x: [N, C, H, W]
  y = x -> conv: Conv2d(width, 3, stride = 2, padding = 1, bias = False) -> bn: BatchNorm2d
        -> tail: [Conv2d(width, 1), [ReLU, Conv2d(width, 1)]]
  output y -> reshape(N, width * ((H - 1) // 2 + 1), -1)
}
model Rows {
  input x: [N, 3, H, W]
  first = x -> stem: [Conv2d(4, 3, padding = 1), MaxPool2d(2)]
  output rows = first -> pool: Pooled(6)
}
"""


def graph_of(text: str, **arguments: Any) -> Graph:
    """The only model of a text."""
    (model,) = netdsl.loads(text)
    return model.graph(**arguments)


def random_state(graph: Graph, seed: int = 0) -> dict[str, np.ndarray]:
    """Tensors for a graph, of a size that keeps values near 1; variances are positive."""
    numbers = np.random.default_rng(seed)
    state: dict[str, np.ndarray] = {}
    for name, entry in graph.state():
        array = numbers.normal(size=entry.shape) / np.sqrt(max(1, np.prod(entry.shape[1:])))
        state[name] = (np.abs(array) + 0.5 if name.endswith("running_var") else array).astype(entry.dtype)
    return state


def run(model: onnx.ModelProto | Path, *inputs: np.ndarray) -> list[np.ndarray]:
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    return session.run(None, dict(zip(names, inputs, strict=True)))  # type: ignore[return-value]


def with_torch(graph: Graph, state: Mapping[str, np.ndarray], *inputs: np.ndarray) -> list[np.ndarray]:
    """What the module of the same graph gives in evaluation mode."""
    import torch

    from netdsl.backends.module import build

    module = build(graph).eval()
    module.load_state_dict({name: torch.as_tensor(array) for name, array in state.items()})
    with torch.no_grad():
        result = module(*map(torch.as_tensor, inputs))
    return [value.numpy() for value in (result if isinstance(result, tuple) else (result,))]


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=shape).astype("float32")


# The models of the notes


@pytest.mark.parametrize("name", ["lenet", "inception", "residual", "mlp"])
def test_the_models_of_the_notes_agree_with_their_modules_at_every_batch_size(name: str) -> None:
    model = next(iter(netdsl.load(f"specs/{name}.net")))
    graph = model.graph()
    state = random_state(graph)
    made = to_onnx(graph, state)
    for batch in (1, 7, 64):
        x = images(batch, 1, 28, 28)
        (expected,), (found,) = with_torch(graph, state, x), run(made, x)
        assert np.abs(found - expected).max() < 1e-5


def test_initializers_are_the_keys_of_the_state_and_nodes_the_paths_of_the_modules() -> None:
    (model,) = netdsl.load("specs/inception.net")
    graph = model.graph()
    made = to_onnx(graph, random_state(graph)).graph
    assert [entry.name for entry in made.initializer] == [name for name, _ in graph.state()]
    names = [node.name for node in made.node]
    assert {"/conv1", "/incep1/branch5x5_2", "/incep2/branch_pool", "/incep1/concat", "/fc"} <= set(names)
    assert len(set(names)) == len(names)
    assert [entry.name for entry in made.input] == ["x"]
    assert [entry.name for entry in made.output] == ["output"]


def test_the_file_says_where_it_comes_from() -> None:
    (model,) = netdsl.load("specs/lenet.net")
    graph = model.graph(classes=7)
    made = to_onnx(graph, random_state(graph))
    assert made.producer_name == "netdsl"
    assert made.doc_string == graph.doc != ""
    facts = {entry.key: entry.value for entry in made.metadata_props}
    assert facts["netdsl.model"] == "LeNet"
    assert facts["netdsl.arguments"] == "classes = 7"
    assert "Conv2d(out_channels = 10, kernel_size = 5)" in [node.doc_string for node in made.graph.node]


# Sizes


def test_free_dimensions_stay_free() -> None:
    made = to_onnx(graph := graph_of(STEPS), random_state(graph)).graph
    dims = [dim.dim_param or dim.dim_value for dim in made.input[0].type.tensor_type.shape.dim]
    assert dims == ["N", 3, "H", "W"]


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (2, 3, 9, 14), (3, 3, 23, 6)])
def test_sizes_inside_blocks_are_computed_from_the_inputs(shape: tuple[int, ...]) -> None:
    graph = graph_of(STEPS)
    state = random_state(graph)
    x = images(*shape)
    (expected,), (found,) = with_torch(graph, state, x), run(to_onnx(graph, state), x)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-5


def test_every_value_has_the_shape_that_the_file_says() -> None:
    graph = graph_of(STEPS)
    made = to_onnx(graph, random_state(graph))
    declared = [info for info in made.graph.value_info if info.name.startswith("/")]
    assert {"/stem/0", "/pool/conv", "/pool/tail/1/1"} <= {info.name for info in declared}
    made.graph.output.extend(declared)
    for n, h, w in ((2, 9, 14), (1, 22, 23)):
        values = run(made, images(n, 3, h, w))[1:]
        for info, value in zip(declared, values, strict=True):
            sizes = [dim.dim_param or dim.dim_value for dim in info.type.tensor_type.shape.dim]
            assert [eval(str(size), {"N": n, "H": h, "W": w}) for size in sizes] == list(value.shape)


dims = st.recursive(
    st.sampled_from([H, W, N]) | st.integers(-9, 9),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda pair: pair[0] + pair[1]),
        st.tuples(inner, inner).map(lambda pair: pair[0] * pair[1]),
        st.tuples(inner, st.integers(1, 7)).map(lambda pair: pair[0] // pair[1]),
        st.tuples(inner, st.integers(2, 7)).map(lambda pair: pair[0] % pair[1]),
        inner.map(lambda dim: (dim + 3) // (H + 1)),
    ),
    max_leaves=6,
)


def sizes_model(wanted: list[Dim]) -> onnx.ModelProto:
    """A model that reads H, 2*W + 1 and N off its input and gives `wanted`."""

    class Sizes(Function):
        kind: ClassVar[str] = "sizes"

        def infer(self, _: Tensor) -> tuple[Tensor, ...]:
            return Tensor((len(wanted),), "int64"), Tensor((), "int64")

        def onnx(self, g: OnnxTarget, _: OnnxValue) -> tuple[OnnxValue, ...]:
            return g.sizes(wanted), g.size(wanted[0])

    return single(Sizes(), (Tensor((H, 2 * W + 1, N)),))


@settings(max_examples=40)
@given(st.lists(dims, min_size=1, max_size=3))
def test_sizes_are_what_their_formulas_say(wanted: list[Dim]) -> None:
    made = sizes_model(wanted)
    for h, w, n in ((1, 1, 1), (7, 2, 5), (12, 9, 3)):
        vector, scalar = run(made, np.zeros((h, 2 * w + 1, n), "float32"))
        expected = [evaluate(dim, {"H": h, "W": w, "N": n}) for dim in wanted]
        assert vector.tolist() == expected
        assert scalar.item() == expected[0]


@pytest.mark.parametrize("wanted", [2 * (1 // (H + 1)), (H - 9) // 4, (H - 9) % 4, (5 - W) // (H + 1)])
def test_sizes_that_runtimes_are_tempted_to_get_wrong(wanted: Dim) -> None:
    vector, _ = run(sizes_model([wanted]), np.zeros((1, 15, 2), "float32"))
    assert vector.tolist() == [evaluate(wanted, {"H": 1, "W": 7})]


def test_a_size_is_computed_once_however_often_it_is_asked_for() -> None:
    half: Dim = H // 2
    kinds = [node.op_type for node in sizes_model([half, half + 1, half * W]).graph.node]
    assert kinds.count("Div") == 2  # H // 2, and W out of 2*W + 1


def test_a_dimension_that_no_input_shows_is_refused() -> None:
    with pytest.raises(BackendError, match="`M` cannot be read off the shape of any input"):
        sizes_model([symbol("M")])


# What is shared, left out, or passed on


def test_a_layer_used_twice_is_stored_once() -> None:
    graph = graph_of("model M { input x: [N, 4]\n y = x -> same: Linear(4)\n output y -> same }")
    state = random_state(graph)
    made = to_onnx(graph, state)
    assert [entry.name for entry in made.graph.initializer] == ["same.weight", "same.bias"]
    assert [node.name for node in made.graph.node] == ["/same", "/same_1"]
    x = images(3, 4)
    assert np.abs(run(made, x)[0] - with_torch(graph, state, x)[0]).max() < 1e-5


def test_what_only_training_needs_is_left_out() -> None:
    graph = graph_of(
        "model M { input x: [N, 4]\n y = x -> body: Linear(3)\n"
        " output aux = y -> extra: Linear(2) when training\n output main = y -> head: Linear(5) }"
    )
    made = to_onnx(graph, random_state(graph))
    assert [entry.name for entry in made.graph.output] == ["main"] == output_names(graph)
    assert not [entry.name for entry in made.graph.initializer if entry.name.startswith("extra")]


def test_the_counter_of_a_norm_is_no_tensor_of_the_model() -> None:
    graph = graph_of(STEPS)
    made = to_onnx(graph, random_state(graph))
    names = {entry.name for entry in made.graph.initializer}
    assert {"pool.bn.weight", "pool.bn.running_mean"} <= names
    assert "pool.bn.num_batches_tracked" not in names


def test_outputs_may_be_inputs_and_each_other() -> None:
    x = Tensor((N, 2))
    graph = Graph("model", "Same", (Input("x", x),), (), (Output(0, "a"), Output(0, "b"), Output(0)))
    value = images(3, 2)
    made = to_onnx(graph, {})
    assert [entry.name for entry in made.graph.output] == ["a", "b", "out2"]
    assert all(np.array_equal(result, value) for result in run(made, value))


def test_params_buffers_and_sizes_as_numbers_reach_the_file() -> None:
    graph = graph_of(
        "model M { input x: [N, T, 4]\n param p: [1, 1, 4] = zeros\n"
        " buffer b: [4] = arange(4, dtype = float32)\n buffer hidden: [4] = ones(4) when unsaved\n"
        " output (x + p) * b / hidden * T }"
    )
    import torch

    from netdsl.backends.module import build

    module = build(graph).eval()
    with torch.no_grad():
        module.p.normal_()
    made = to_onnx(graph, tensors_of(module))
    assert {entry.name for entry in made.graph.initializer} == {"p", "b", "hidden"}
    x = images(2, 5, 4)
    assert np.abs(run(made, x)[0] - module(torch.as_tensor(x)).detach().numpy()).max() < 1e-6


# Files


def test_the_same_graph_and_state_make_the_same_bytes(tmp_path: Path) -> None:
    (model,) = netdsl.load("specs/residual.net")
    graph = model.graph()
    first, second = (save(graph, random_state(graph), tmp_path / name) for name in ("a.onnx", "b.onnx"))
    assert first.read_bytes() == second.read_bytes()


def test_many_tensors_go_to_a_file_beside(tmp_path: Path) -> None:
    (model,) = netdsl.load("specs/lenet.net")
    graph = model.graph()
    state = random_state(graph)
    path = save(graph, state, tmp_path / "net.onnx", external_above=0)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.onnx", "net.onnx.data"]
    assert path.stat().st_size < (tmp_path / "net.onnx.data").stat().st_size
    x = images(2, 1, 28, 28)
    assert np.array_equal(run(path, x)[0], run(to_onnx(graph, state), x)[0])


def test_an_export_is_compared_with_the_module_before_it_has_its_place(tmp_path: Path) -> None:
    import torch

    from netdsl.backends.module import build

    (model,) = netdsl.load("specs/lenet.net")
    graph = model.graph()
    module = build(graph)
    result = export(graph, module, tmp_path / "deeper" / "net.onnx")
    assert result.path.exists()
    assert result.largest_difference < 1e-5
    assert [sizes["N"] for sizes in result.sizes] == [1, 7]
    other = build(graph)
    other.register_forward_hook(lambda *call: call[-1] + 0.001)
    with torch.no_grad(), pytest.raises(BackendError, match=r"the export differs from the model by 1\.0e-03"):
        export(graph, other, tmp_path / "other.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["deeper"]


def test_an_operation_without_onnx_form_is_named_with_its_place() -> None:
    graph = graph_of(
        "model M { input x: [N, 3, H, W]\n"
        " a, b = x -> AdaptiveMaxPool2d([2, None], return_indices = True)\n output b }"
    )
    with pytest.raises(
        BackendError, match=r"ONNX has no places of maxima(.|\n)*at <text>:2:(.|\n)*help: fix the size"
    ):
        to_onnx(graph, {})


@pytest.mark.parametrize("external_above", [0, 2**31])
def test_a_state_that_does_not_fit_leaves_no_file(tmp_path: Path, external_above: int) -> None:
    (model,) = netdsl.load("specs/lenet.net")
    graph = model.graph()
    state = random_state(graph)
    broken = {**state, "fc.bias": np.zeros(3, "float32")}
    with pytest.raises(BackendError, match=r"`fc.bias` is \[3\] in the state, but \[10\] in the model"):
        save(graph, broken, tmp_path / "net.onnx", external_above=external_above)
    del state["fc.bias"]
    with pytest.raises(BackendError, match=r"the state has no tensor `fc\.bias`"):
        save(graph, state, tmp_path / "net.onnx", external_above=external_above)
    assert not list(tmp_path.iterdir())


def test_a_graph_with_errors_is_refused() -> None:
    node = Node(registry["add"](), (0, Literal(1)), (1,), (UNKNOWN,))
    graph = Graph("model", "Broken", (Input("x", Tensor((N,))),), (node,), (Output(1),))
    with pytest.raises(BackendError, match="the graph has errors"):
        to_onnx(graph, {})


# One operation


def test_a_single_operation_has_numbered_inputs_and_results() -> None:
    made = single(registry["where"](), (Tensor((3,), "bool"), Tensor((3,)), Tensor((3,))))
    assert [entry.name for entry in made.graph.input] == ["x0", "x1", "x2"]
    assert [entry.name for entry in made.graph.output] == ["y0"]


def test_a_single_layer_has_its_own_tensors() -> None:
    layer = registry["Linear"](out_features=2)
    x = images(4, 3)
    assert not run(single(layer, (Tensor((N, 3)),)), x)[0].any()
    state = {"weight": images(2, 3), "bias": images(2)}
    found = run(single(layer, (Tensor((N, 3)),), state), x)[0]
    assert np.abs(found - (x @ state["weight"].T + state["bias"])).max() < 1e-6


class Wrong(Function):
    """A function whose lowering is written by the test."""

    kind: ClassVar[str] = "wrong"
    how: str

    def infer(self, x: Tensor) -> Tensor:
        return x

    def onnx(self, g: OnnxTarget, x: OnnxValue) -> Any:
        if self.how == "dtype":
            return g.op("Cast", x, to="int64")
        if self.how == "results":
            return x, x
        if self.how == "attribute":
            return g.op("Relu", x, alpha=1.0)
        if self.how == "literal":
            return g.op("Add", x, 1.0)  # type: ignore[arg-type]
        return g.constant(0.5, "int64") if self.how == "constant" else g.state("weight")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("dtype", "gives int64, its type is"),
        ("results", "has 2 results, its types 1"),
        ("attribute", "has no attribute `alpha`"),
        ("literal", "literals go through `like`"),
        ("constant", "0.5 is not a constant of int64"),
        ("state", "has no tensor `weight`"),
    ],
)
def test_a_wrong_lowering_is_caught_where_it_is_written(how: str, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        single(Wrong(how=how), (Tensor((N, 3)),))


@pytest.mark.parametrize("how", ["rows", "transpose", "unsqueeze", "reorder_gates"])
def test_derived_tensors_are_computed_when_the_file_is_written(how: str) -> None:
    arguments = {
        "rows": {"start": 1, "stop": 3},
        "transpose": {},
        "unsqueeze": {"axis": 0},
        "reorder_gates": {"order": [1, 0]},
    }[how]

    class Weight(registry["Linear"]):  # type: ignore[misc, valid-type]
        def infer(self, _: Tensor) -> Tensor:
            return Tensor({"rows": (2, 3), "transpose": (3, 4), "unsqueeze": (1, 4, 3)}.get(how, (4, 3)))

        def onnx(self, g: OnnxTarget, _: OnnxValue) -> OnnxValue:
            value = g.derived("weight", how, **arguments)
            assert g.derived("weight", how, **arguments) == value
            return value

    weight = images(4, 3)
    expected = {
        "rows": weight[1:3],
        "transpose": weight.T,
        "unsqueeze": weight[None],
        "reorder_gates": weight[[2, 3, 0, 1]],
    }[how]
    made = single(Weight(out_features=4), (Tensor((N, 3)),), {"weight": weight, "bias": images(4)})
    assert len(made.graph.initializer) == 1
    assert np.array_equal(run(made, images(1, 3))[0], expected)


# Small parts


@given(st.lists(st.sampled_from(["relu", "relu_1", "relu_2", "add"]), max_size=12))
def test_names_are_given_once(wanted: list[str]) -> None:
    names = Names()
    given_out = [names.claim(name) for name in wanted]
    assert len(set(given_out)) == len(given_out)
    assert all(found.startswith(name) for name, found in zip(wanted, given_out, strict=True))


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_has_its_onnx_counterpart(dtype: str) -> None:
    import torch

    info = value_info("x", Tensor((N, 2), dtype))
    assert info.type.tensor_type.elem_type == element_type(dtype)
    tensor = torch.ones(2, 3).to(getattr(torch, dtype))
    assert as_array(tensor, dtype).shape == (2, 3)
    assert as_array(tensor, dtype).astype("float64").tolist() == [[1.0] * 3] * 2
    assert as_array(torch.tensor(1).to(getattr(torch, dtype)), dtype).shape == ()


def test_constants_are_kept_once() -> None:
    recorder = Recorder()
    first = recorder.constant([1, -1], "int64")
    assert recorder.constant([1, -1], "int64") == first
    assert recorder.constant([1, -1], "float32") != first
    assert len(recorder.prologue) == 2


def test_steps_that_nothing_needs_are_not_written() -> None:
    recorder = Recorder()
    x = recorder.input("x", Tensor((N, 2)))
    recorder.tensor("unused", State((2,)))
    recorder.op("Relu", x)
    kept = recorder.op("Neg", x)
    steps = recorder.live_steps([kept.name])
    assert [step.kind for step in steps] == ["Neg"]
    assert not recorder.stored


def test_symbolic_sizes_have_no_place_in_attributes() -> None:
    assert isinstance(H, Expr)
    recorder = Recorder()
    x = recorder.input("x", Tensor((N, H)))
    with pytest.raises(TypeError, match="must be a number, but it is `H`"):
        recorder.op("Softmax", x, axis=H)
