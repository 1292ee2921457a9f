"""Affine maps of the last axis, and how similar or how far two vectors are."""

from __future__ import annotations

from random import Random
from typing import ClassVar

from netdsl.ir.decide import DimMismatch, join
from netdsl.ir.dims import Dim, product
from netdsl.ir.types import FLOATS, Scalar, State, Tensor
from netdsl.ops.axes import axis
from netdsl.ops.base import Case, Layer, ShapeProblem, Size, check_inferred, fixed, needs_float32, op
from netdsl.ops.cases import any_axis, broadcast_pair, pick, shape
from netdsl.ops.onnx_parts import cast, tensor_of
from netdsl.ops.promotion import broadcast, mismatch_note, promote
from netdsl.ops.target import OnnxTarget, OnnxValue


@op
class Linear(Layer):
    """Multiply the last axis by a learned matrix and add a learned bias: `y = x A^T + b`.

    Linear(10) : [N, 784] -> [N, 10]
    Linear(64, bias = False) : [N, T, 32] -> [N, T, 64]
    """

    positional: ClassVar[tuple[str, ...]] = ("out_features",)
    inferred: ClassVar[tuple[str, ...]] = ("in_features",)
    linear: ClassVar[bool] = True
    fresh: ClassVar[bool] = True

    out_features: Size
    bias: bool = True
    in_features: Size | None = None

    def features(self, x: Tensor) -> int:
        found = last_axis(self.kind, x)
        check_inferred(self.kind, "in_features", self.in_features, found)
        return found

    def inferred_sizes(self, x: Tensor) -> tuple[int, ...]:
        return (self.features(x),)

    def infer(self, x: Tensor) -> Tensor:
        self.features(x)
        return x.with_shape(*x.shape[:-1], self.out_features)

    def parameters(self, x: Tensor) -> dict[str, State]:
        weight = State((self.out_features, self.features(x)))
        return {"weight": weight, "bias": State((self.out_features,))} if self.bias else {"weight": weight}

    def onnx(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        if tensor_of(x).rank == 2:
            return g.op("Gemm", x, g.state("weight"), *([g.state("bias")] if self.bias else []), transB=1)
        product = g.op("MatMul", x, g.derived("weight", "transpose"))
        return g.op("Add", product, g.state("bias")) if self.bias else product

    def cost(self, x: Tensor) -> Dim:
        return product(x.shape) * self.out_features

    @classmethod
    def sample(cls, random: Random) -> Case:
        arguments = {"out_features": random.randint(1, 6), "bias": random.random() < 0.6}
        dtype = pick(random, ("float32",) * 9 + ("int64", "float64"))
        return Case(arguments, (Tensor(shape(random, 0 if random.random() < 0.1 else 1, 4), dtype),))


@op
class Bilinear(Layer):
    """Combine two vectors by a learned form: `y = x1^T A x2 + b`, an `A` for each result.

    Bilinear(10) : [N, 20], [N, 30] -> [N, 10]
    Bilinear(4) : [N, T, 8], [N, T, 8] -> [N, T, 4]
    """

    positional: ClassVar[tuple[str, ...]] = ("out_features",)
    inferred: ClassVar[tuple[str, ...]] = ("in1_features", "in2_features")

    out_features: Size
    bias: bool = True
    in1_features: Size | None = None
    in2_features: Size | None = None

    def inferred_sizes(self, input1: Tensor, input2: Tensor) -> tuple[int, ...]:
        found = last_axis(self.kind, input1), last_axis(self.kind, input2, 1)
        check_inferred(self.kind, "in1_features", self.in1_features, found[0])
        check_inferred(self.kind, "in2_features", self.in2_features, found[1])
        return found

    def infer(self, input1: Tensor, input2: Tensor) -> Tensor:
        self.inferred_sizes(input1, input2)
        if input1.rank != input2.rank:
            raise ShapeProblem(
                "E0402",
                f"the operands of `{self.kind}` have {input1.rank} and {input2.rank} axes",
                operand=1,
                label=f"this is {input2}, and the first is {input1}",
            )
        batch: list[Dim] = []
        for place, (left, right) in enumerate(zip(input1.shape[:-1], input2.shape[:-1], strict=True)):
            try:
                batch.append(join(left, right))
            except DimMismatch as mismatch:
                raise ShapeProblem(
                    "E0402",
                    f"the operands of `{self.kind}` differ before their last axis",
                    operand=1,
                    label=f"this is {input2}, and the first is {input1}",
                    note=mismatch_note(place, left, right, mismatch),
                ) from None
        return input1.with_shape(*batch, self.out_features)

    def parameters(self, input1: Tensor, input2: Tensor) -> dict[str, State]:
        weight = State((self.out_features, *self.inferred_sizes(input1, input2)))
        return {"weight": weight, "bias": State((self.out_features,))} if self.bias else {"weight": weight}

    def onnx(self, g: OnnxTarget, input1: OnnxValue, input2: OnnxValue) -> OnnxValue:
        result = g.op("Einsum", input1, g.state("weight"), input2, equation="...i,oij,...j->...o")
        return g.op("Add", result, g.state("bias")) if self.bias else result

    def cost(self, input1: Tensor, input2: Tensor) -> Dim:
        return product(self.infer(input1, input2).shape) * product(self.inferred_sizes(input1, input2))

    @classmethod
    def sample(cls, random: Random) -> Case:
        batch = shape(random, 0 if random.random() < 0.1 else 1, 3)
        other = (*batch[:-1], 7) if batch and random.random() < 0.1 else batch
        arguments = {"out_features": random.randint(1, 4), "bias": random.random() < 0.6}
        operands = (Tensor((*batch, random.randint(1, 5))), Tensor((*other, random.randint(1, 5))))
        return Case(arguments, operands)


class _Pairwise(Layer):
    """A number for each pair of vectors of two tensors, which are broadcast."""

    differences: ClassVar[bool] = False  # of integers too; torch makes floating-point numbers of them

    def both(self, x1: Tensor, x2: Tensor) -> Tensor:
        """The type that both are brought to."""
        dtype = promote(x1, x2)
        if dtype not in FLOATS and self.differences:
            dtype = "float32"
        elif dtype not in FLOATS:
            raise ShapeProblem(
                "E0405",
                f"`{self.kind}` needs floating-point numbers, but its operands are {x1.dtype} and {x2.dtype}",
                operand=0,
                label=f"this is {x1}",
                help="convert them first: `-> to(float32)`",
            )
        return Tensor(broadcast(self.kind, x1, x2), dtype)


@op
class CosineSimilarity(_Pairwise):
    """The cosine of the angle between two vectors along `dim`.

    CosineSimilarity : [N, 64], [N, 64] -> [N]
    CosineSimilarity(dim = -1) : [N, T, 64], [N, T, 64] -> [N, T]
    """

    positional: ClassVar[tuple[str, ...]] = ("dim",)

    dim: int = 1
    eps: float = 1e-8

    def infer(self, x1: Tensor, x2: Tensor) -> Tensor:
        both = self.both(x1, x2)
        along = axis(self.kind, self.dim, both)
        return both.with_shape(*both.shape[:along], *both.shape[along + 1 :])

    def onnx(self, g: OnnxTarget, x1: OnnxValue, x2: OnnxValue) -> OnnxValue:
        both = self.both(tensor_of(x1), tensor_of(x2))
        along = g.constant([axis(self.kind, self.dim, both)], "int64")
        eps = g.constant(self.eps, both.dtype)
        size = g.sizes(both.shape)
        units: list[OnnxValue] = []
        for x in (x1, x2):
            x = g.op("Expand", cast(g, x, both.dtype), size)
            units.append(g.op("Div", x, g.op("Max", g.op("ReduceL2", x, along, keepdims=1), eps)))
        return g.op("ReduceSum", g.op("Mul", *units), along, keepdims=0)

    @classmethod
    def sample(cls, random: Random) -> Case:
        left, right = broadcast_pair(random, 1, 3)
        dim = any_axis(random, max(len(left), len(right))) if random.random() < 0.9 else 3
        dtype = pick(random, ("float32",) * 9 + ("int64",))
        return Case({"dim": dim}, (Tensor(left, dtype), Tensor(right)))


@op
class PairwiseDistance(_Pairwise):
    """The `p`-norm of the difference of two vectors along the last axis.

    PairwiseDistance : [N, 64], [N, 64] -> [N]
    PairwiseDistance(1.0, keepdim = True) : [N, 64], [64] -> [N, 1]
    """

    positional: ClassVar[tuple[str, ...]] = ("p",)
    differences: ClassVar[bool] = True

    p: float = 2.0
    eps: float = 1e-6
    keepdim: bool = False

    def infer(self, x1: Tensor, x2: Tensor) -> Tensor:
        both = self.both(x1, x2)
        if not both.rank:
            raise ShapeProblem(
                "E0401", f"`{self.kind}` needs vectors, but its operands have no axes", operand=0
            )
        return both.with_shape(*both.shape[:-1], *([1] if self.keepdim else []))

    def onnx(self, g: OnnxTarget, x1: OnnxValue, x2: OnnxValue) -> OnnxValue:
        dtype = self.both(tensor_of(x1), tensor_of(x2)).dtype
        difference = g.op("Sub", cast(g, x1, dtype), cast(g, x2, dtype))
        difference = g.op("Add", difference, g.constant(self.eps, dtype))
        return vector_norm(g, difference, self.p, self.keepdim)

    @classmethod
    def sample(cls, random: Random) -> Case:
        left, right = broadcast_pair(random, 1, 3)
        arguments = {"p": pick(random, (1.0, 2.0, 3.0, 2.5)), "keepdim": random.random() < 0.5}
        dtypes = [pick(random, ("float32",) * 9 + ("int64",)) for _ in range(2)]
        return Case(arguments, (Tensor(left, dtypes[0]), Tensor(right, dtypes[1])))


def vector_norm(g: OnnxTarget, x: OnnxValue, p: float, keepdim: bool = True) -> OnnxValue:
    """The `p`-norm along the last axis of a tensor of floating-point numbers."""
    along = g.constant([-1], "int64")
    if p in (1, 2):
        return g.op(f"ReduceL{p:.0f}", x, along, keepdims=int(keepdim))
    if p in (float("inf"), float("-inf")):
        return g.op("ReduceMax" if p > 0 else "ReduceMin", g.op("Abs", x), along, keepdims=int(keepdim))
    if p == 0:
        nonzero = g.op("Abs", g.op("Sign", x))
        return g.op("ReduceSum", nonzero, along, keepdims=int(keepdim))
    powers = g.op("Pow", g.op("Abs", x), g.like(Scalar(p), x))
    return g.op("Pow", g.op("ReduceSum", powers, along, keepdims=int(keepdim)), g.like(Scalar(1 / p), x))


def last_axis(kind: str, x: Tensor, operand: int = 0) -> int:
    """The size of the last axis of a float32 operand, which a layer's weights are made for."""
    if not x.rank:
        raise ShapeProblem(
            "E0401",
            f"`{kind}` needs at least 1 axis, but its input has none",
            operand=operand,
            label=f"this is {x}",
        )
    needs_float32(kind, x, operand=operand)
    return fixed(x.shape[-1], "features", kind, operand=operand)
