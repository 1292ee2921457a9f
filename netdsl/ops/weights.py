"""Functions of layers whose weights are operands: for a `param` that several places share."""

from __future__ import annotations

from random import Random
from typing import Any

from netdsl.ir.decide import DimMismatch, join
from netdsl.ir.dims import Dim, product
from netdsl.ir.types import Tensor
from netdsl.ops.base import Case, Function, ShapeProblem, op
from netdsl.ops.cases import pick, shape
from netdsl.ops.index import check_index_dtype
from netdsl.ops.normalize import is_given
from netdsl.ops.onnx_parts import cast, tensor_of, unsqueezed
from netdsl.ops.promotion import mismatch_note, need_float
from netdsl.ops.target import Arg, OnnxTarget, OnnxValue, call


def need_axes(kind: str, name: str, x: Tensor, count: int, operand: int) -> None:
    if x.rank != count:
        raise ShapeProblem(
            "E0401",
            f"the {name} of `{kind}` has {count} {'axis' if count == 1 else 'axes'}, found {x.rank}",
            operand=operand,
            label=f"this is {x}",
        )


def agree(kind: str, what: str, left: Dim, right: Dim) -> None:
    """Two sizes that must be the same. `what` says in the plural what they are."""
    try:
        join(left, right)
    except DimMismatch as mismatch:
        note = mismatch_note("X", left, right, mismatch).replace("X is", f"the {what} are", 1)
        raise ShapeProblem("E0402", f"shapes do not match in `{kind}`", note=note) from None


@op
class LinearFunction(Function):
    """`input @ weight.T + bias`: what `Linear` does, with a weight of [out, in] that stands elsewhere.

    linear : [N, T, 64], [1000, 64] -> [N, T, 1000]
    linear : [N, 64], [10, 64], [10] -> [N, 10]
    """

    kind = "linear"

    def infer(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if not input.rank:
            raise ShapeProblem(
                "E0401", "`linear` needs an input with axes", operand=0, label=f"this is {input}"
            )
        need_axes(self.kind, "weight", weight, 2, 1)
        for number, x in enumerate((input, weight, bias)):
            if not isinstance(x, Tensor):
                continue
            need_float(self.kind, x, operand=number)
            if x.dtype != input.dtype:
                raise ShapeProblem(
                    "E0405",
                    f"`linear` needs operands of one dtype, but they are {input.dtype} and {x.dtype}",
                    operand=number,
                    label=f"this is {x}",
                )
        agree(self.kind, "features of the input and of the weight", input.shape[-1], weight.shape[1])
        if isinstance(bias, Tensor):
            need_axes(self.kind, "bias", bias, 1, 2)
            agree(self.kind, "rows of the weight and of the bias", weight.shape[0], bias.shape[0])
        return input.with_shape(*input.shape[:-1], weight.shape[0])

    def torch(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Any:
        return call("F.linear", Arg(0), Arg(1), *([Arg(2)] if is_given(bias) else []))

    def onnx(
        self, g: OnnxTarget, input: OnnxValue, weight: OnnxValue, bias: OnnxValue | None = None
    ) -> OnnxValue:
        value = g.op("MatMul", input, g.op("Transpose", weight, perm=[1, 0]))
        return g.op("Add", value, bias) if isinstance(bias, OnnxValue) else value

    def cost(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Dim:
        return product(input.shape) * weight.shape[0]

    @classmethod
    def sample(cls, random: Random) -> Case:
        x, out = shape(random, 1, 4), random.randint(1, 5)
        operands = [Tensor(x), Tensor((out, x[-1])), Tensor((out,))]
        return Case({}, tuple(operands[: pick(random, (2, 3))]))


@op
class EmbeddingFunction(Function):
    """The rows of `weight` that the integers of `input` name: what `Embedding` does.

    embedding : int64[N, T], [1000, 64] -> [N, T, 64]
    """

    kind = "embedding"
    padding_idx: int | None = None
    scale_grad_by_freq: bool = False
    sparse: bool = False

    def infer(self, input: Tensor, weight: Tensor) -> Tensor:
        check_index_dtype(self.kind, input, 0, ("int64", "int32"))
        need_axes(self.kind, "weight", weight, 2, 1)
        rows = weight.shape[0]
        if self.padding_idx is not None and isinstance(rows, int) and not -rows <= self.padding_idx < rows:
            raise ShapeProblem(
                "E0411",
                f"`padding_idx = {self.padding_idx}` is not a row of the weight, which has {rows}",
                operand=1,
                label=f"this is {weight}",
                argument="padding_idx",
            )
        return weight.with_shape(*input.shape, weight.shape[1])

    def torch(self, input: Tensor, weight: Tensor) -> Any:
        """What is given beyond the operands is about gradients only."""
        return call("F.embedding", Arg(0), Arg(1), **self.arguments())

    def onnx(self, g: OnnxTarget, input: OnnxValue, weight: OnnxValue) -> OnnxValue:
        return g.op("Gather", weight, input, axis=0)

    @classmethod
    def sample(cls, random: Random) -> Case:
        ids = Tensor(shape(random, 0, 3), pick(random, ("int64", "int64", "int32")))
        more = pick(random, ({}, {}, {"padding_idx": 1}, {"padding_idx": 9}, {"scale_grad_by_freq": True}))
        return Case(more, (ids, Tensor((random.randint(4, 9), random.randint(1, 4)))))


@op
class PreluFunction(Function):
    """Each element above 0, and `weight` times it below: one weight for all, or one for each channel.

    prelu : [N, 64, H, W], [64] -> [N, 64, H, W]
    """

    kind = "prelu"
    elementwise = True

    def infer(self, input: Tensor, weight: Tensor) -> Tensor:
        need_float(self.kind, input)
        need_axes(self.kind, "weight", weight, 1, 1)
        if weight.dtype != input.dtype:
            raise ShapeProblem(
                "E0405",
                f"the weight of `prelu` is {weight.dtype}, but its input is {input.dtype}",
                operand=1,
                label=f"this is {weight}",
            )
        if weight.shape[0] != 1:
            channels = input.shape[1] if input.rank > 1 else 1
            agree(self.kind, "channels of the input and of the weight", channels, weight.shape[0])
        return input

    def torch(self, input: Tensor, weight: Tensor) -> Any:
        return call("F.prelu", Arg(0), Arg(1))

    def onnx(self, g: OnnxTarget, input: OnnxValue, weight: OnnxValue) -> OnnxValue:
        x = tensor_of(input)
        slope = unsqueezed(g, weight, *range(1, x.rank - 1)) if x.rank > 1 else weight
        return g.op("PRelu", cast(g, input, x.dtype), slope)

    @classmethod
    def sample(cls, random: Random) -> Case:
        x = shape(random, 1, 4)
        return Case({}, (Tensor(x), Tensor((pick(random, (1, x[1] if len(x) > 1 else 1)),))))
