"""Activations along an axis: softmaxes, and the gated linear unit."""

from __future__ import annotations

from random import Random
from typing import ClassVar

from netdsl.ir.decide import DimMismatch, join
from netdsl.ir.types import Tensor
from netdsl.ops.activation import Activation
from netdsl.ops.axes import axis
from netdsl.ops.base import Case, ShapeProblem, op
from netdsl.ops.cases import any_axis, pick, shape
from netdsl.ops.onnx_parts import tensor_of
from netdsl.ops.promotion import mismatch_note
from netdsl.ops.target import Call, OnnxTarget, OnnxValue, call


@op
class GLU(Activation):
    """The first half along `dim`, times the sigmoid of the second half.

    GLU : [N, T, 128] -> [N, T, 64]
    GLU(1) : [N, 2*C, H, W] -> [N, C, H, W]
    """

    positional: ClassVar[tuple[str, ...]] = ("dim",)
    elementwise: ClassVar[bool] = False

    dim: int = -1

    def infer(self, x: Tensor) -> Tensor:
        dtype = self.result_dtype(x)
        along = axis(self.kind, self.dim, x)
        half = x.shape[along] // 2
        try:
            join(x.shape[along], 2 * half)
        except DimMismatch as mismatch:
            raise ShapeProblem(
                "E0406",
                f"`{self.kind}` halves axis {along}, which has {x.shape[along]}",
                operand=0,
                label=f"this is {x}",
                note=mismatch_note(along, x.shape[along], 2 * half, mismatch),
            ) from None
        return Tensor((*x.shape[:along], half, *x.shape[along + 1 :]), dtype)

    def compute(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        left, right = g.op("Split", x, results=2, axis=axis(self.kind, self.dim, tensor_of(x)), num_outputs=2)
        return g.op("Mul", left, g.op("Sigmoid", right))

    @classmethod
    def sample(cls, random: Random) -> Case:
        sizes = list(shape(random, 1, 4))
        dim = any_axis(random, len(sizes)) if random.random() < 0.95 else 5
        if random.random() < 0.8 and dim < len(sizes):
            sizes[dim] *= 2
        return Case({"dim": dim}, (Tensor(tuple(sizes), pick(random, ("float32",) * 9 + ("int64",))),))


class _Along(Activation):
    """An activation along `dim`. Without it torch guesses an axis, and warns: the guess is written out."""

    positional: ClassVar[tuple[str, ...]] = ("dim",)
    elementwise: ClassVar[bool] = False

    dim: int | None = None

    def along(self, x: Tensor) -> int:
        guess = 0 if x.rank in (0, 1, 3) else 1
        return axis(self.kind, guess if self.dim is None else self.dim, x)

    def infer(self, x: Tensor) -> Tensor:
        self.along(x)
        return x.with_dtype(self.result_dtype(x))

    def module(self, x: Tensor) -> Call:
        return call(f"nn.{self.kind}", dim=self.along(x) if self.dim is None else self.dim)

    @classmethod
    def sample(cls, random: Random) -> Case:
        sizes = shape(random, 1, 4)
        dim = pick(random, (None, any_axis(random, len(sizes)), any_axis(random, len(sizes)), -1, 4))
        return Case({"dim": dim}, (Tensor(sizes, pick(random, ("float32",) * 9 + ("int64",))),))


@op
class Softmax(_Along):
    """Positive numbers that sum to 1 along `dim`, as the exponentials of `x` relate.

    Softmax(dim = -1) : [N, 10] -> [N, 10]
    """

    def compute(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        return g.op("Softmax", x, axis=self.along(tensor_of(x)))


@op
class LogSoftmax(_Along):
    """The logarithm of the softmax along `dim`.

    LogSoftmax(dim = 1) : [N, 10] -> [N, 10]
    """

    def compute(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        return g.op("LogSoftmax", x, axis=self.along(tensor_of(x)))


@op
class Softmin(_Along):
    """The softmax of `-x` along `dim`: the smaller, the more.

    Softmin(dim = 1) : [N, 10] -> [N, 10]
    """

    def compute(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        return g.op("Softmax", g.op("Neg", x), axis=self.along(tensor_of(x)))


@op
class Softmax2d(Activation):
    """The softmax over the channels of each place of an image.

    Softmax2d : [N, 21, H, W] -> [N, 21, H, W]
    """

    elementwise: ClassVar[bool] = False

    def infer(self, x: Tensor) -> Tensor:
        if x.rank not in (3, 4):
            raise ShapeProblem(
                "E0401",
                f"`{self.kind}` needs 4 axes, [N, C, H, W], or 3 without a batch, but the input has {x.rank}",
                operand=0,
                label=f"this is {x}",
            )
        return x.with_dtype(self.result_dtype(x))

    def compute(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        return g.op("Softmax", x, axis=-3)

    @classmethod
    def sample(cls, random: Random) -> Case:
        rank = pick(random, (4, 4, 4, 3, 2))
        sizes = tuple(random.randint(1, 4) for _ in range(rank))
        return Case({}, (Tensor(sizes, pick(random, ("float32",) * 9 + ("int64",))),))
