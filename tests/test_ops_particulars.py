"""What is particular to some functions: promotion, faults in words, conditions on sizes, cost, and run-time sizes."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import pytest
import torch

import netdsl
from netdsl.backends.onnx import tensors_of, to_onnx
from netdsl.ir.decide import Assumptions
from netdsl.ir.dims import symbol
from netdsl.ir.types import Scalar, Tensor
from netdsl.ops import registry
from netdsl.ops.base import ShapeProblem
from netdsl.ops.promotion import promote
from netdsl.ops.target import Arg, Stride
from tests.laws import onnx_session

DTYPES = ("float16", "bfloat16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64", "bool")


def operands_of_every_kind() -> list[Tensor | Scalar]:
    tensors = [Tensor(shape, dtype) for dtype in DTYPES for shape in ((2,), ())]
    return [*tensors, Scalar(True), Scalar(2), Scalar(2.5)]


def test_dtypes_are_promoted_as_torch_promotes_them() -> None:
    def value(operand: Tensor | Scalar) -> Any:
        if isinstance(operand, Scalar):
            return operand.value
        return torch.ones(operand.shape, dtype=getattr(torch, operand.dtype))

    for left, right in itertools.product(operands_of_every_kind(), repeat=2):
        if isinstance(left, Scalar) and isinstance(right, Scalar):
            continue
        theirs = str(torch.result_type(value(left), value(right))).removeprefix("torch.")
        assert promote(left, right) == theirs, f"{left} and {right}"


def test_a_free_size_in_a_number_counts_as_an_integer() -> None:
    assert promote(Tensor((2,), "int64"), Scalar(symbol("N"))) == "int64"
    assert promote(Tensor((2,), "bool"), Scalar(symbol("N"))) == "int64"


N, C, H, T = (symbol(name) for name in "NCHT")
IMAGE = Tensor((N, 8, H, H))

FAULTS: list[tuple[str, dict[str, Any], tuple[Tensor | Scalar, ...], str, str]] = [
    ("add", {}, (Tensor((2, 3)), Tensor((2, 4))), "E0402", "shapes do not match in `+`"),
    ("add", {}, (Tensor((N, H)), Tensor((N, (H - 1) // 2 + 1))), "E0402", "shapes do not match in `+`"),
    ("sub", {}, (Tensor((2,), "bool"), Tensor((2,), "bool")), "E0405", "`-` is not defined for bools"),
    ("pow", {}, (Tensor((2,), "int64"), Scalar(-1)), "E0405", "an integer to a negative power"),
    ("matmul", {}, (Tensor((2, 3)), Tensor((4, 5))), "E0402", "shapes do not match in `@`"),
    ("matmul", {}, (Tensor((2, 3)), Tensor((3,), "int64")), "E0405", "one dtype"),
    ("where", {}, (Tensor((2,)), Tensor((2,)), Scalar(0)), "E0405", "a tensor of bools"),
    (
        "masked_fill",
        {"value": 0.5},
        (Tensor((2,), "int64"), Tensor((2,), "bool")),
        "E0405",
        "is not a value of int64",
    ),
    ("softmax", {"dim": 2}, (Tensor((N, 10)),), "E0407", "`dim = 2` of `softmax` is out of range"),
    ("mean", {"dim": (1, -1)}, (Tensor((2, 3)),), "E0407", "names an axis twice"),
    ("mean", {}, (Tensor((2,), "int64"),), "E0405", "works on floating point"),
    ("flatten", {"start_dim": 2, "end_dim": 1}, (Tensor((2, 3, 4)),), "E0407", "before axis 2"),
    ("reshape", {"shape": (4, -1)}, (Tensor((2, 3)),), "E0406", "4 does not divide 6"),
    ("reshape", {"shape": (4, 2)}, (Tensor((2, 3)),), "E0402", "keeps the number of elements"),
    ("reshape", {"shape": (N, 3, -1)}, (Tensor((N, 8)),), "E0406", "3*N does not divide 8*N"),
    ("unflatten", {"dim": 1, "sizes": (3, -1)}, (Tensor((N, 8)),), "E0406", "3 does not divide 8"),
    ("permute", {"dims": (1, 0)}, (Tensor((2, 3, 4)),), "E0401", "names 2 axes"),
    ("squeeze", {}, (Tensor((N, 1)),), "E0403", "known only at run time"),
    ("expand", {"size": (4, 5)}, (Tensor((2, 1)),), "E0402", "axis 0 is 2 and would be 4"),
    ("pad", {"pad": (3, 0), "mode": "reflect"}, (Tensor((1, 2, 3)),), "E0404", "`pad`"),
    ("pad", {"pad": (H - 3, 0)}, (Tensor((1, 2, 3)),), "E0409", "depends on its free dimensions"),
    ("concat", {"dim": 0}, (Tensor((2, 3)), Tensor((2, 4))), "E0402", "shapes do not match in `concat`"),
    ("concat", {"dim": 0}, (Tensor((2, 3)), Tensor((2,))), "E0401", "as many axes each"),
    ("concat", {}, (), "E0412", "at least one tensor"),
    ("stack", {"dim": 3}, (Tensor((2, 3)),), "E0407", "its result has 3 axes"),
    ("split", {"split_size_or_sections": (1, 1)}, (Tensor((3,)),), "E0406", "2 together, but axis 0 is 3"),
    ("split", {"split_size_or_sections": 2}, (Tensor((N,)),), "E0403", "fixed number of elements"),
    ("unbind", {}, (Tensor((N, 2)),), "E0403", "fixed number of slices"),
    ("index", {"indices": (12,)}, (Tensor((12,)),), "E0411", "index 12 is out of range for axis 0"),
    ("index", {"indices": (-13,)}, (Tensor((12,)),), "E0411", "index -13 is out of range"),
    ("index", {"indices": (0, 0)}, (Tensor((12,)),), "E0411", "2 indices, but the tensor has 1 axis"),
    ("index", {"indices": (Stride(5, 3),)}, (Tensor((12,)),), "E0411", "the slice `5:3` of axis 0"),
    ("index", {"indices": (Stride(None, None, -1),)}, (Tensor((12,)),), "E0411", "a step of 1 or more"),
    ("index", {"indices": (Arg(1),)}, (Tensor((4,)), Tensor((4,), "bool")), "E0405", "found bool"),
    ("gather", {"dim": 1}, (Tensor((2, 3)), Tensor((3, 3), "int64")), "E0402", "larger than its input"),
    ("arange", {"start": 5, "end": 3}, (), "E0404", "is empty"),
    ("tril", {}, (Tensor((3,)),), "E0401", "needs matrices"),
    ("one_hot", {"num_classes": 3}, (Tensor((3,)),), "E0405", "takes int64 classes"),
    ("einsum", {"equation": "ij,jk->il"}, (Tensor((2, 3)), Tensor((3, 4))), "E0413", "`l` of the result"),
    ("einsum", {"equation": "i;j"}, (Tensor((2, 3)),), "E0413", 'found ";"'),
    ("einsum", {"equation": "ij,jk->ik"}, (Tensor((2, 3)),), "E0412", "has 2 operands, found 1"),
    ("einsum", {"equation": "ij,jk->ik"}, (Tensor((2, 3)), Tensor((4, 5))), "E0402", "in `einsum`"),
    ("einsum", {"equation": "ijk->k"}, (Tensor((2, 3)),), "E0401", "names 3 axes"),
    ("rearrange", {"pattern": "a b"}, (Tensor((2, 3)),), "E0413", "`->` stands once"),
    ("rearrange", {"pattern": "a (b -> a b"}, (Tensor((2, 3)),), "E0413", "not closed"),
    ("rearrange", {"pattern": "a + -> a"}, (Tensor((2, 3)),), "E0413", '"+" is not part'),
    ("rearrange", {"pattern": "a a -> a"}, (Tensor((2, 3)),), "E0413", "`a` is twice on one side"),
    ("rearrange", {"pattern": "a b -> a"}, (Tensor((2, 3)),), "E0413", "`b` is on the left only"),
    ("rearrange", {"pattern": "a (b c) -> a b c"}, (Tensor((2, 6)),), "E0413", "do not follow from 6"),
    (
        "rearrange",
        {"pattern": "a (b c) -> a b c", "b": 4},
        (Tensor((2, 6)),),
        "E0406",
        "which 4 does not divide",
    ),
    (
        "rearrange",
        {"pattern": "a b -> b a", "b": 4},
        (Tensor((2, 6)),),
        "E0402",
        "is 4, but axis 1 of the input is 6",
    ),
    ("rearrange", {"pattern": "a b -> b a", "z": 4}, (Tensor((2, 6)),), "E0413", "`z` is not an axis"),
    ("rearrange", {"pattern": "a b -> b a"}, (Tensor((2, 6, 1)),), "E0401", "has 2 axes"),
    ("repeat", {"pattern": "a -> a b"}, (Tensor((2,)),), "E0413", "the new axis `b` is not given"),
    (
        "layer_norm",
        {"normalized_shape": (3,)},
        (Tensor((2, 4)),),
        "E0402",
        "is not the end of its input's shape",
    ),
    ("linear", {}, (Tensor((2, 4)), Tensor((5, 3))), "E0402", "shapes do not match in `linear`"),
    ("interpolate", {"scale_factor": 2, "mode": "bilinear"}, (Tensor((2, 3, 4)),), "E0401", "needs 4 axes"),
]


@pytest.mark.parametrize(("kind", "arguments", "operands", "code", "words"), FAULTS)
def test_a_fault_is_told_by_its_code_and_in_words(
    kind: str, arguments: dict[str, Any], operands: tuple[Any, ...], code: str, words: str
) -> None:
    with pytest.raises(ShapeProblem) as caught:
        registry[kind](**arguments).infer(*operands)
    assert caught.value.code == code
    assert words in caught.value.message
    assert caught.value.message[0].islower() or caught.value.message[0] in "`0123456789E"
    assert not caught.value.message.endswith(".")


INVALID: list[tuple[str, dict[str, Any], str]] = [
    ("clamp", {}, "needs `min`, `max` or both"),
    ("reshape", {"shape": (-1, -1)}, "more than one -1"),
    ("reshape", {"shape": (0,)}, "found 0"),
    ("pad", {"pad": (1,)}, "two numbers for each axis"),
    ("pad", {"pad": (1, 1), "mode": "reflect", "value": 1.0}, "`value` is for"),
    ("roll", {"shifts": (1, 2), "dims": (0,)}, "one shift for each axis"),
    ("arange", {}, "needs `end`"),
    ("arange", {"end": 3, "step": 0}, "never ends"),
    ("tensor", {"data": ((1, 2), (3,))}, "lists of different lengths"),
    ("tensor", {"data": ("a",)}, "made of numbers"),
    ("to", {"dtype": "float31"}, "float32"),
    ("rearrange", {"pattern": "a -> a", "a": 0}, "positive integer"),
    ("sum", {"dim": ()}, "empty list"),
    ("chunk", {"chunks": 0}, "greater than 0"),
    ("chunk", {"chunks": True}, "integer"),
    ("interpolate", {"size": 3, "scale_factor": 2.0}, "one of `size` and `scale_factor`"),
]


@pytest.mark.parametrize(("kind", "arguments", "words"), INVALID)
def test_arguments_that_cannot_be_are_refused(kind: str, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match="(?s).*" + words):
        registry[kind](**arguments)


CONDITIONS: list[tuple[str, dict[str, Any], tuple[Tensor, ...], str, list[str]]] = [
    ("add", {}, (Tensor((N, H)), Tensor((N, 2 * (H // 2)))), "[N, H]", ["H % 2 == 0"]),
    ("add", {}, (Tensor((N, C)), Tensor((T, 1))), "[N, C]", ["N == T"]),
    ("concat", {"dim": 1}, (Tensor((N, 3, H)), Tensor((N, C, H))), "[N, C + 3, H]", []),
    ("reshape", {"shape": (N, 2, -1)}, (Tensor((N, H)),), "[N, 2, H//2]", ["H % 2 == 0"]),
    ("reshape", {"shape": (-1, 4)}, (Tensor((N, 8)),), "[2*N, 4]", []),
    ("index", {"indices": (Stride(), Stride(None, 5))}, (Tensor((N, T)),), "[N, 5]", ["T >= 5"]),
    ("index", {"indices": (Stride(), 4)}, (Tensor((N, T)),), "[N]", ["T >= 5"]),
    ("index", {"indices": (Stride(), Stride(1, None))}, (Tensor((N, T)),), "[N, T - 1]", []),
    ("index", {"indices": (Stride(), Stride(None, -2))}, (Tensor((N, T)),), "[N, T - 2]", ["T >= 2"]),
    ("index", {"indices": (Ellipsis, Stride(None, None, 2))}, (Tensor((N, T)),), "[N, (T + 1)//2]", []),
    ("index", {"indices": (Ellipsis, T - 1)}, (Tensor((N, T)),), "[N]", []),
    ("pad", {"pad": (0, (7 - H % 7) % 7)}, (Tensor((N, H)),), "[N, 7*((H + 6)//7)]", []),
    ("pad", {"pad": (0, 3), "mode": "reflect"}, (Tensor((N, C, H)),), "[N, C, H + 3]", ["H >= 4"]),
    ("roll", {"shifts": -3, "dims": 1}, (Tensor((N, H)),), "[N, H]", []),
    ("arange", {"end": T}, (), "int64[T]", []),
    ("arange", {"start": 2, "end": T}, (), "int64[T - 2]", ["T >= 2"]),
    (
        "rearrange",
        {"pattern": "n (h p) -> (n h) p", "p": 7},
        (Tensor((N, H)),),
        "[N*(H//7), 7]",
        ["H % 7 == 0"],
    ),
    ("gather", {"dim": 1}, (Tensor((N, 8)), Tensor((T, 2), "int64")), "[T, 2]", ["N >= T"]),
    ("interpolate", {"scale_factor": 0.5}, (Tensor((N, 3, H, H)),), "[N, 3, H//2, H//2]", ["H >= 2"]),
]


@pytest.mark.parametrize(("kind", "arguments", "operands", "result", "conditions"), CONDITIONS)
def test_what_holds_for_some_sizes_only_is_a_condition(
    kind: str, arguments: dict[str, Any], operands: tuple[Any, ...], result: str, conditions: list[str]
) -> None:
    with Assumptions() as found:
        (type,) = registry[kind](**arguments).result_types(*operands)
    assert str(type) == result
    assert [str(constraint) for constraint in found.constraints] == conditions


def test_chunks_of_a_free_size_are_as_many_as_asked_for() -> None:
    with Assumptions() as found:
        types = registry["chunk"](chunks=2, dim=1).result_types(Tensor((N, T)))
    assert [str(type) for type in types] == ["[N, (T + 1)//2]", "[N, T//2]"]
    assert [str(constraint) for constraint in found.constraints] == ["T >= 2"]


def test_the_note_of_a_mismatch_has_sizes_that_show_it() -> None:
    with pytest.raises(ShapeProblem) as caught:
        registry["add"]().infer(Tensor((N, 8, H)), Tensor((N, 8, (H - 1) // 2 + 1)))
    assert caught.value.note == "axis 2 is `H` and `(H + 1)//2`: for H = 29 these are 29 and 15"


def test_a_residual_join_of_other_channels_is_helped_by_a_projection() -> None:
    with pytest.raises(ShapeProblem) as caught:
        registry["add"]().infer(Tensor((N, 64, 56, 56)), Tensor((N, 128, 28, 28)))
    assert caught.value.help == "project the left one first, for example `-> Conv2d(128, 1, stride = 2)`"


def test_multiply_adds_are_counted() -> None:
    q, k = Tensor((N, 8, T, 64)), Tensor((N, 8, T, 64))
    assert registry["matmul"]().cost(Tensor((N, 4, 5)), Tensor((5, 6))) == N * 4 * 5 * 6
    assert (
        registry["einsum"](equation="bij,bjk->bik").cost(Tensor((2, 3, 4)), Tensor((2, 4, 5)))
        == 2 * 3 * 4 * 5
    )
    assert registry["einsum"](equation="ij,jk,kl->il").cost(*map(Tensor, ((2, 3), (3, 4), (4, 5)))) == 24 + 40
    assert registry["scaled_dot_product_attention"]().cost(q, k, k) == N * 8 * T * T * 128
    assert registry["linear"]().cost(Tensor((N, T, 8)), Tensor((5, 8))) == N * T * 40
    assert registry["add"]().cost(q, k) == 0


def test_dropout_draws_in_training_only() -> None:
    attention = registry["scaled_dot_product_attention"]
    assert registry["dropout"].random
    assert not registry["dropout"].pure
    assert attention(dropout_p=0.1).random
    assert attention().pure
    assert not attention(dropout_p=0.1).pure


def test_sizes_of_a_pattern_are_arguments_of_any_name() -> None:
    op = registry["rearrange"](pattern="n (h d) -> n h d", h=8)
    assert op.arguments() == {"pattern": "n (h d) -> n h d", "h": 8}
    assert str(op) == 'rearrange(pattern = "n (h d) -> n h d", h = 8)'
    assert op != registry["rearrange"](pattern="n (h d) -> n h d", h=4)


# ----------------------------------------------------------------------------- arguments that are known at run time

AT_RUN_TIME = [
    "x -> reshape(N * C, -1)",
    "x -> reshape(N, 2, -1, T)",
    "x[:1] -> expand(N, -1, T)",
    "x -> pad([T // 2, (4 - T % 4) % 4])",
    'x -> pad([0, (4 - T % 4) % 4], mode = "reflect")',
    'x -> pad([T % 3, -1], mode = "circular")',
    'x -> pad([T % 3, -1], mode = "replicate")',
    "x -> roll(T // 2, -1)",
    "x[:, :, T // 2:]",
    "x[..., :T - 1]",
    "x[:, :, T - 1]",
    "x[:, :, -1] * T + N",
    "x + arange(T)",
    "x + arange(T - 1, -1, -1)",
    "x @ eye(T)",
    "x @ tril(ones(T, T), diagonal = T // 3)",
    "x + full([N, 1, T], 0.5) - zeros(T)",
    "x + (arange(T) -> clamp(max = T - 2))",
    "x -> tile(1, 1, T)",
    "x -> repeat_interleave(T, dim = 0)",
    "x -> split([T // 2, T - T // 2], dim = 2) -> concat(dim = 2)",
    'x -> interpolate(size = 2 * T + 1, mode = "linear")',
    'x -> rearrange("n (c d) t -> (n t) c d", d = 2)',
    'x -> repeat("n c t -> n (c k) t", k = T)',
    'x -> reduce("n c (t s) -> n c t", "max", t = T)',
    "x -> unflatten(-1, [T, 1]) -> squeeze(-1)",
    "x -> var(-1, correction = 0) -> sqrt",
    "scaled_dot_product_attention(x, x, x, is_causal = True)",
]


@pytest.mark.parametrize("flow", AT_RUN_TIME)
def test_sizes_that_are_known_at_run_time_are_computed_there(flow: str) -> None:
    entry = netdsl.loads(f"model M {{\n  input x: [N, 4, T]\n  C = 4\n  output {flow}\n}}\n").M
    model = entry().eval()
    onnx = onnx_session(to_onnx(entry.graph(), tensors_of(model)).SerializeToString())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = torch.jit.script(model)
    for shape in ((2, 4, 7), (1, 4, 12)):
        x = torch.randn(shape, generator=torch.Generator().manual_seed(3))
        expected = model(x)
        assert torch.equal(compiled(x), expected)
        feeds = {given.name: x.numpy() for given in onnx.get_inputs()}
        found = torch.from_numpy(onnx.run(None, feeds)[0])
        assert found.shape == expected.shape
        assert torch.allclose(found, expected, 1e-5, 1e-5)
