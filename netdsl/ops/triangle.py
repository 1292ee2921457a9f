"""Triangles of matrices, and ones at given places: what masks and indices are made of."""

from __future__ import annotations

from random import Random
from typing import Any, ClassVar

from netdsl.ir.types import Tensor
from netdsl.ops.base import AnyDim, Case, Function, ShapeProblem, Size, op
from netdsl.ops.cases import pick, tensor
from netdsl.ops.onnx_parts import cast, finish, squeezed, tensor_of, unsqueezed
from netdsl.ops.target import Arg, OnnxTarget, OnnxValue, call


class _Triangle(Function):
    """Part of the matrices in the last two axes; zeros elsewhere. `diagonal` moves the border to the right."""

    positional = ("diagonal",)
    upper: ClassVar[bool]
    diagonal: AnyDim = 0

    def infer(self, input: Tensor) -> Tensor:
        if input.rank < 2:
            raise ShapeProblem(
                "E0401",
                f"`{self.kind}` needs matrices, at least 2 axes, but its input has {input.rank}",
                operand=0,
                label=f"this is {input}",
            )
        return input

    def torch(self, input: Tensor) -> Any:
        more = {} if self.diagonal == 0 else {"diagonal": self.diagonal}
        return call(f"torch.{self.kind}", Arg(0), **more)

    def onnx(self, g: OnnxTarget, input: OnnxValue) -> OnnxValue:
        x = tensor_of(input)
        computed = x.dtype if x.is_float else "int64"
        place = [] if self.diagonal == 0 else [g.size(self.diagonal)]
        return finish(g, g.op("Trilu", cast(g, input, computed), *place, upper=self.upper), computed, x.dtype)

    @classmethod
    def sample(cls, random: Random) -> Case:
        dtypes = ("float32", "float32", "int64", "bool")
        return Case({"diagonal": pick(random, (0, 0, 1, -1, 2))}, (tensor(random, 2, 4, dtypes),))


@op
class Tril(_Triangle):
    """What is on and below the diagonal of each matrix.

    tril : bool[T, T] -> bool[T, T]
    """

    kind = "tril"
    upper = False


@op
class Triu(_Triangle):
    """What is on and above the diagonal of each matrix.

    triu(diagonal = 1) : bool[T, T] -> bool[T, T]
    """

    kind = "triu"
    upper = True


@op
class OneHot(Function):
    """A row of `num_classes` zeros for each integer, with a one at its place.

    one_hot(10) : int64[N] -> int64[N, 10]
    """

    kind = "one_hot"
    positional = ("num_classes",)
    num_classes: Size

    def infer(self, input: Tensor) -> Tensor:
        if input.dtype != "int64":
            raise ShapeProblem(
                "E0405",
                f"`one_hot` takes int64 classes, found {input.dtype}",
                operand=0,
                label=f"this is {input}",
                help="convert it: `-> to(int64)`",
            )
        return input.with_shape(*input.shape, self.num_classes)

    def torch(self, input: Tensor) -> Any:
        return call("F.one_hot", Arg(0), self.num_classes)

    def onnx(self, g: OnnxTarget, input: OnnxValue) -> OnnxValue:
        values = g.constant([0, 1], "int64")
        places = input if tensor_of(input).rank else unsqueezed(g, input, 0)
        row = g.op("OneHot", places, g.constant([self.num_classes], "int64"), values, axis=-1)
        return row if places is input else squeezed(g, row, 0)

    @classmethod
    def sample(cls, random: Random) -> Case:
        return Case({"num_classes": random.randint(2, 9)}, (tensor(random, 0, 3, ("int64",)),))
