"""Functions of one tensor, element by element: roots, powers, logarithms, rounding and conversion."""

from __future__ import annotations

import math
from random import Random
from typing import Any, ClassVar

from netdsl.ir.types import Scalar, Tensor
from netdsl.ops.base import Case, Function, ShapeProblem, op
from netdsl.ops.cases import pick, tensor
from netdsl.ops.onnx_parts import cast, finish, tensor_of, width
from netdsl.ops.promotion import Dtype, category, float_result, need_numbers
from netdsl.ops.target import Arg, OnnxTarget, OnnxValue, Symbol, call, method


class _Unary(Function):
    """One operand, a result of its shape. `operator` is the ONNX operator that does it, where there is one."""

    elementwise = True
    operator: ClassVar[str] = ""
    sample_dtypes: ClassVar[tuple[str, ...]] = ("float32", "float32", "int64", "bool")

    def infer(self, input: Tensor) -> Tensor:
        return input.with_dtype(self.result_dtype(input))

    def result_dtype(self, input: Tensor) -> str:
        return float_result(input.dtype)

    def torch(self, input: Tensor) -> Any:
        return call(f"torch.{self.kind}", Arg(0), **self.arguments())

    def onnx(self, g: OnnxTarget, input: OnnxValue) -> OnnxValue:
        dtype = self.result_dtype(tensor_of(input))
        computed = width(dtype)
        return finish(g, self.compute(g, cast(g, input, computed), computed), computed, dtype)

    def compute(self, g: OnnxTarget, x: OnnxValue, dtype: str) -> OnnxValue:
        """The function of a tensor that has the dtype of the result."""
        return g.op(self.operator, x)

    @classmethod
    def sample(cls, random: Random) -> Case:
        return Case({}, (tensor(random, 0, dtypes=cls.sample_dtypes),))


class _Rounding(_Unary):
    """Integers stay what they are."""

    sample_dtypes = ("float32", "float32", "int64", "int8")

    def result_dtype(self, input: Tensor) -> str:
        need_numbers(self.kind, input)
        return input.dtype

    def compute(self, g: OnnxTarget, x: OnnxValue, dtype: str) -> OnnxValue:
        return self.round_float(g, x, dtype) if category(dtype) == 2 else x

    def round_float(self, g: OnnxTarget, x: OnnxValue, dtype: str) -> OnnxValue:
        return g.op(self.operator, x)


@op
class Sqrt(_Unary):
    """The square root.

    sqrt : [N, 4] -> [N, 4]
    """

    kind = "sqrt"
    operator = "Sqrt"


@op
class Rsqrt(_Unary):
    """One divided by the square root.

    rsqrt : [N, 4] -> [N, 4]
    """

    kind = "rsqrt"

    def compute(self, g: OnnxTarget, x: OnnxValue, dtype: str) -> OnnxValue:
        return g.op("Reciprocal", g.op("Sqrt", x))


@op
class Exp(_Unary):
    """e to the power of each element.

    exp : [N, 4] -> [N, 4]
    """

    kind = "exp"
    operator = "Exp"


@op
class Log(_Unary):
    """The natural logarithm.

    log : [N, 4] -> [N, 4]
    """

    kind = "log"
    operator = "Log"


@op
class Log2(_Unary):
    """The logarithm to base 2.

    log2 : [N, 4] -> [N, 4]
    """

    kind = "log2"

    def compute(self, g: OnnxTarget, x: OnnxValue, dtype: str) -> OnnxValue:
        return g.op("Div", g.op("Log", x), g.constant(math.log(2), dtype))


@op
class Log10(_Unary):
    """The logarithm to base 10.

    log10 : [N, 4] -> [N, 4]
    """

    kind = "log10"

    def compute(self, g: OnnxTarget, x: OnnxValue, dtype: str) -> OnnxValue:
        return g.op("Div", g.op("Log", x), g.constant(math.log(10), dtype))


@op
class Sin(_Unary):
    """The sine of an angle in radians.

    sin : [T, 8] -> [T, 8]
    """

    kind = "sin"
    operator = "Sin"


@op
class Cos(_Unary):
    """The cosine of an angle in radians.

    cos : [T, 8] -> [T, 8]
    """

    kind = "cos"
    operator = "Cos"


@op
class Tan(_Unary):
    """The tangent of an angle in radians.

    tan : [T, 8] -> [T, 8]
    """

    kind = "tan"
    operator = "Tan"


@op
class Atan(_Unary):
    """The angle, in radians, whose tangent each element is.

    atan : [T, 8] -> [T, 8]
    """

    kind = "atan"
    operator = "Atan"


@op
class Erf(_Unary):
    """The error function.

    erf : [N, 4] -> [N, 4]
    """

    kind = "erf"
    operator = "Erf"


@op
class Reciprocal(_Unary):
    """One divided by each element.

    reciprocal : [N, 4] -> [N, 4]
    """

    kind = "reciprocal"
    operator = "Reciprocal"


@op
class Square(_Unary):
    """Each element times itself.

    square : [N, 4] -> [N, 4]
    """

    kind = "square"

    def result_dtype(self, input: Tensor) -> str:
        return "int64" if input.dtype == "bool" else input.dtype

    def compute(self, g: OnnxTarget, x: OnnxValue, dtype: str) -> OnnxValue:
        return g.op("Mul", x, x)


@op
class Abs(_Unary):
    """Each element without its sign.

    abs : [N, 4] -> [N, 4]
    """

    kind = "abs"
    operator = "Abs"
    sample_dtypes = ("float32", "int64", "int8")

    def result_dtype(self, input: Tensor) -> str:
        need_numbers(self.kind, input)
        return input.dtype


@op
class Sign(_Unary):
    """-1, 0 or 1, as each element is below, at or above zero.

    sign : [N, 4] -> [N, 4]
    """

    kind = "sign"

    def result_dtype(self, input: Tensor) -> str:
        return input.dtype

    def compute(self, g: OnnxTarget, x: OnnxValue, dtype: str) -> OnnxValue:
        return x if dtype == "bool" else g.op("Sign", x)


@op
class Floor(_Rounding):
    """The nearest integer below.

    floor : [N, 4] -> [N, 4]
    """

    kind = "floor"
    operator = "Floor"


@op
class Ceil(_Rounding):
    """The nearest integer above.

    ceil : [N, 4] -> [N, 4]
    """

    kind = "ceil"
    operator = "Ceil"


@op
class Trunc(_Rounding):
    """The nearest integer towards zero.

    trunc : [N, 4] -> [N, 4]
    """

    kind = "trunc"

    def round_float(self, g: OnnxTarget, x: OnnxValue, dtype: str) -> OnnxValue:
        return g.op("Mul", g.op("Sign", x), g.op("Floor", g.op("Abs", x)))


@op
class Round(_Rounding):
    """The nearest integer, halves to the even one; or the nearest multiple of 10 to the power of `-decimals`.

    round : [N, 4] -> [N, 4]
    round(decimals = 2) : [N, 4] -> [N, 4]
    """

    kind = "round"
    decimals: int = 0

    def result_dtype(self, input: Tensor) -> str:
        if self.decimals and not input.is_float:
            raise ShapeProblem(
                "E0405",
                f"`round` with `decimals` works on floating point, found {input.dtype}",
                operand=0,
                label=f"this is {input}",
                argument="decimals",
            )
        return super().result_dtype(input)

    def round_float(self, g: OnnxTarget, x: OnnxValue, dtype: str) -> OnnxValue:
        if not self.decimals:
            return g.op("Round", x)
        scale = g.constant(10.0 ** abs(self.decimals), dtype)
        there, back = ("Mul", "Div") if self.decimals > 0 else ("Div", "Mul")
        return g.op(back, g.op("Round", g.op(there, x, scale)), scale)

    @classmethod
    def sample(cls, random: Random) -> Case:
        decimals = pick(random, (0, 0, 1, 2, -1))
        return Case({"decimals": decimals}, (tensor(random, dtypes=("float32", "float32", "int64")),))


@op
class To(Function):
    """The same values as another dtype; floats are rounded towards zero when they become integers.

    to("float16") : [N, 4] -> float16[N, 4]
    to("int64") : bool[N, 4] -> int64[N, 4]
    """

    kind = "to"
    positional = ("dtype",)
    elementwise = True
    dtype: Dtype

    def infer(self, input: Tensor) -> Tensor:
        return input.with_dtype(self.dtype)

    def torch(self, input: Tensor) -> Any:
        return method(Arg(0), "to", Symbol(f"torch.{self.dtype}"))

    def onnx(self, g: OnnxTarget, input: OnnxValue) -> OnnxValue:
        return cast(g, input, self.dtype)

    @classmethod
    def sample(cls, random: Random) -> Case:
        dtype = pick(random, ("float32", "float64", "float16", "int64", "int32", "int8", "bool"))
        return Case({"dtype": dtype}, (tensor(random, 0, dtypes=("float32", "int64", "bool", "int8")),))


def scalar(g: OnnxTarget, number: Any, dtype: str) -> OnnxValue:
    """A number or a size as a constant of `dtype`."""
    return cast(g, Scalar(number), dtype)
