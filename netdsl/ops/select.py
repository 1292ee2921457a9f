"""Functions that choose between values element by element: `where`, `masked_fill` and `clamp`."""

from __future__ import annotations

import math
from random import Random
from typing import Any

from pydantic import model_validator

from netdsl.ir.dims import Expr
from netdsl.ir.types import Scalar, Tensor
from netdsl.ops.base import AnyDim, Case, Function, ShapeProblem, op
from netdsl.ops.cases import broadcast_pair, pick, tensor
from netdsl.ops.onnx_parts import cast, choose, finish, tensor_of, type_of, width
from netdsl.ops.promotion import broadcast, category, promote
from netdsl.ops.target import Arg, OnnxTarget, OnnxValue, call, method

Number = int | float | Expr


def need_mask(kind: str, mask: Tensor | Scalar, operand: int) -> None:
    if isinstance(mask, Tensor) and mask.dtype == "bool":
        return
    raise ShapeProblem(
        "E0405",
        f"the mask of `{kind}` is a tensor of bools, found {mask.dtype if isinstance(mask, Tensor) else mask}",
        operand=operand,
        label=f"this is {mask}",
        help="compare it: `mask != 0`" if isinstance(mask, Tensor) else None,
    )


@op
class Where(Function):
    """`input` where `condition` is true, `other` elsewhere; all three broadcast, and the last two may be numbers.

    where : bool[N, 1], [N, 4], [4] -> [N, 4]
    """

    kind = "where"
    elementwise = True
    takes_scalars = True

    def infer(self, condition: Tensor, input: Tensor | Scalar, other: Tensor | Scalar) -> Tensor:
        need_mask(self.kind, condition, 0)
        return Tensor(broadcast(self.kind, condition, input, other), promote(input, other))

    def torch(self, condition: Tensor, input: Tensor | Scalar, other: Tensor | Scalar) -> Any:
        return call("torch.where", Arg(0), Arg(1), Arg(2))

    def onnx(
        self, g: OnnxTarget, condition: OnnxValue, input: OnnxValue | Scalar, other: OnnxValue | Scalar
    ) -> OnnxValue:
        dtype = promote(type_of(input), type_of(other))
        return choose(g, condition, input, other, dtype)

    @classmethod
    def sample(cls, random: Random) -> Case:
        left, right = broadcast_pair(random)
        operands: list[Tensor | Scalar] = [
            Tensor(left, pick(random, ("float32", "int64", "bool"))),
            Tensor(right, pick(random, ("float32", "int64", "bool"))),
        ]
        if random.random() < 0.4:
            operands[random.randrange(2)] = Scalar(pick(random, (0, 1, 0.0, 2.5)))
        return Case({}, (Tensor(pick(random, (left, right)), "bool"), *operands))


@op
class MaskedFill(Function):
    """`input` with `value` wherever `mask` is true.

    masked_fill(value = 0.0) : [N, 8, T, T], bool[T, T] -> [N, 8, T, T]
    """

    kind = "masked_fill"
    positional = ("value",)
    elementwise = True
    value: int | float | bool

    def infer(self, input: Tensor, mask: Tensor) -> Tensor:
        need_mask(self.kind, mask, 1)
        self._check_value(input)
        return Tensor(broadcast(self.kind, input, mask), input.dtype)

    def _check_value(self, input: Tensor) -> None:
        fits = category(input.dtype) == 2 or (math.isfinite(self.value) and self.value == int(self.value))
        if input.dtype == "bool":
            fits = self.value in (0, 1)
        if not fits:
            raise ShapeProblem(
                "E0405",
                f"`value = {self.value}` of `masked_fill` is not a value of {input.dtype}",
                operand=0,
                label=f"this is {input}",
                argument="value",
                help="convert the input first: `-> to(float32)`",
            )

    def torch(self, input: Tensor, mask: Tensor) -> Any:
        return method(Arg(0), "masked_fill", Arg(1), self.value)

    def onnx(self, g: OnnxTarget, input: OnnxValue, mask: OnnxValue) -> OnnxValue:
        return choose(g, mask, Scalar(self.value), input, tensor_of(input).dtype)

    @classmethod
    def sample(cls, random: Random) -> Case:
        left, right = broadcast_pair(random)
        dtype = pick(random, ("float32", "float32", "int64", "bool", "int8"))
        value = pick(random, (0.0, 1, -1e9, float("-inf")) if dtype == "float32" else (0, 1, True))
        return Case({"value": value}, (Tensor(left, dtype), Tensor(right, "bool")))


@op
class Clamp(Function):
    """Each element brought to `min` where it is below, and to `max` where it is above.

    clamp(0, 6) : [N, 8, H, W] -> [N, 8, H, W]
    clamp(max = H - 1) : int64[N, H] -> int64[N, H]
    """

    kind = "clamp"
    positional = ("min", "max")
    elementwise = True
    min: AnyDim | float | None = None
    max: AnyDim | float | None = None

    @model_validator(mode="after")
    def _some_bound(self) -> Clamp:
        if self.min is None and self.max is None:
            raise ValueError("`clamp` needs `min`, `max` or both")
        return self

    def _bounds(self) -> list[Scalar]:
        return [Scalar(bound) for bound in (self.min, self.max) if bound is not None]

    def infer(self, input: Tensor) -> Tensor:
        return input.with_dtype(promote(input, *self._bounds()))

    def torch(self, input: Tensor) -> Any:
        if self.max is None:
            return method(Arg(0), "clamp", min=self.min)
        return (
            method(Arg(0), "clamp", max=self.max)
            if self.min is None
            else method(Arg(0), "clamp", self.min, self.max)
        )

    def onnx(self, g: OnnxTarget, input: OnnxValue) -> OnnxValue:
        dtype = promote(tensor_of(input), *self._bounds())
        computed = width(dtype)
        bounds = [None if b is None else cast(g, Scalar(b), computed) for b in (self.min, self.max)]
        if bounds[1] is None:
            bounds.pop()
        return finish(g, g.op("Clip", cast(g, input, computed), *bounds), computed, dtype)

    @classmethod
    def sample(cls, random: Random) -> Case:
        low, high = pick(random, ((0, 1), (None, 0.5), (-1.5, None), (-2, 2.5), (3, None)))
        return Case({"min": low, "max": high}, (tensor(random, 0, dtypes=("float32", "float32", "int64")),))
