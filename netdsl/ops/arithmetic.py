"""Arithmetic of two operands, `x + y`, and its kin: broadcasting, promotion of dtypes, and numbers as operands."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from netdsl.ir.decide import DimMismatch, join
from netdsl.ir.dims import Dim, Expr, product
from netdsl.ir.types import Scalar, Tensor
from netdsl.ops.base import Case, Function, ShapeProblem, op
from netdsl.ops.cases import broadcast_pair, pick, shape, tensor
from netdsl.ops.onnx_parts import cast, finish, numeric, tensor_of, type_of, width
from netdsl.ops.promotion import broadcast, category, mismatch_note, promote
from netdsl.ops.target import Arg, Infix, OnnxTarget, OnnxValue, Prefix, Symbol, call

Operand = Tensor | Scalar
Value = OnnxValue | Scalar


class Binary(Function):
    """Two operands, element by element. `symbol` is how the language writes it, or empty."""

    symbol: ClassVar[str] = ""
    elementwise = True
    takes_scalars = True
    sample_dtypes: ClassVar[tuple[str, ...]] = ("float32", "float32", "int64", "bool")

    def infer(self, input: Operand, other: Operand) -> Tensor:
        shape = broadcast(self.symbol or self.kind, input, other)
        return Tensor(shape, self.result_dtype(input, other))

    def result_dtype(self, input: Operand, other: Operand) -> str:
        return promote(input, other)

    def torch(self, input: Operand, other: Operand) -> Any:
        return (
            Infix(self.symbol, Arg(0), Arg(1)) if self.symbol else call(f"torch.{self.kind}", Arg(0), Arg(1))
        )

    def onnx(self, g: OnnxTarget, input: Value, other: Value) -> OnnxValue:
        types = type_of(input), type_of(other)
        dtype = promote(*types)
        computed = self.computed_dtype(dtype)
        value = self.compute(g, cast(g, input, computed), cast(g, other, computed), computed)
        result = self.result_dtype(*types)
        return finish(g, value, self.gives_dtype(computed), result)

    def computed_dtype(self, dtype: str) -> str:
        """The dtype that ONNX computes in, for operands promoted to `dtype`."""
        return width(dtype)

    def gives_dtype(self, computed: str) -> str:
        """The dtype of what `compute` gives."""
        return computed

    def compute(self, g: OnnxTarget, left: OnnxValue, right: OnnxValue, dtype: str) -> OnnxValue:
        """The operation on two tensors of one dtype."""
        raise TypeError(f"{type(self).__name__} has no ONNX lowering")

    @classmethod
    def sample(cls, random: Random) -> Case:
        left, right = broadcast_pair(random)
        operands: list[Operand] = [
            Tensor(left, pick(random, cls.sample_dtypes)),
            Tensor(right, pick(random, cls.sample_dtypes)),
        ]
        if random.random() < 0.3 and cls.takes_scalars:
            operands[random.randrange(2)] = Scalar(pick(random, (2, 3, 2.5, 1, 0.5)))
        return Case({}, tuple(operands))


class _Scaled(Binary):
    """`add` and `sub`, which torch gives a factor for the second operand."""

    fresh: ClassVar[bool] = True

    alpha: int | float = 1

    def result_dtype(self, input: Operand, other: Operand) -> str:
        dtype = promote(input, other)
        if isinstance(self.alpha, float) and category(dtype) < 2:
            raise ShapeProblem(
                "E0405",
                f"`alpha = {self.alpha}` of `{self.kind}` is not an integer, but its operands are",
                argument="alpha",
            )
        return dtype

    def torch(self, input: Operand, other: Operand) -> Any:
        if self.alpha == 1:
            return super().torch(input, other)
        first = as_tensor(input, promote(input, other))
        return call(f"torch.{self.kind}", first, Arg(1), alpha=self.alpha)

    def scaled(self, g: OnnxTarget, value: OnnxValue, dtype: str) -> OnnxValue:
        return value if self.alpha == 1 else g.op("Mul", value, cast(g, Scalar(self.alpha), dtype))


@op
class Add(_Scaled):
    """The sum, element by element: `x + y`.

    add : [N, 3, H, W], [3, 1, 1] -> [N, 3, H, W]
    add : int64[N], [N] -> [N]
    """

    kind = "add"
    symbol = "+"

    def computed_dtype(self, dtype: str) -> str:
        return numeric(dtype)

    def compute(self, g: OnnxTarget, left: OnnxValue, right: OnnxValue, dtype: str) -> OnnxValue:
        return g.op("Add", left, self.scaled(g, right, dtype))


@op
class Sub(_Scaled):
    """The difference, element by element: `x - y`.

    sub : [N, 4], [N, 1] -> [N, 4]
    """

    kind = "sub"
    symbol = "-"
    sample_dtypes = ("float32", "float32", "int64", "int32")

    def result_dtype(self, input: Operand, other: Operand) -> str:
        no_bool("-", input, other)
        return super().result_dtype(input, other)

    def compute(self, g: OnnxTarget, left: OnnxValue, right: OnnxValue, dtype: str) -> OnnxValue:
        return g.op("Sub", left, self.scaled(g, right, dtype))


@op
class Mul(Binary):
    """The product, element by element: `x * y`.

    mul : [N, 8, H, W], [N, 8, 1, 1] -> [N, 8, H, W]
    """

    kind = "mul"
    symbol = "*"
    fresh: ClassVar[bool] = True

    def computed_dtype(self, dtype: str) -> str:
        return numeric(dtype)

    def compute(self, g: OnnxTarget, left: OnnxValue, right: OnnxValue, dtype: str) -> OnnxValue:
        return g.op("Mul", left, right)


@op
class Div(Binary):
    """The quotient, element by element: `x / y`; of integers too it is a float.

    div : [N, 4], [N, 1] -> [N, 4]
    div : int64[N], int64[N] -> [N]
    div(rounding_mode = "floor") : int64[N], int64[N] -> int64[N]
    """

    kind = "div"
    symbol = "/"
    rounding_mode: Literal["trunc", "floor"] | None = None
    sample_dtypes = ("float32", "float32", "int64", "int32")

    def result_dtype(self, input: Operand, other: Operand) -> str:
        dtype = promote(input, other)
        if self.rounding_mode is not None:
            not_all_bool(self.kind, dtype, input, other)
            return dtype
        return dtype if category(dtype) == 2 else "float32"

    def torch(self, input: Operand, other: Operand) -> Any:
        if self.rounding_mode is None:
            return super().torch(input, other)
        first = as_tensor(input, promote(input, other))
        return call("torch.div", first, Arg(1), rounding_mode=self.rounding_mode)

    def computed_dtype(self, dtype: str) -> str:
        if self.rounding_mode is None:
            return dtype if category(dtype) == 2 else "float32"
        return width(dtype)

    def compute(self, g: OnnxTarget, left: OnnxValue, right: OnnxValue, dtype: str) -> OnnxValue:
        if self.rounding_mode == "floor":
            return floor_divide(g, left, right, dtype)
        quotient = g.op("Div", left, right)  # of integers it is rounded towards zero
        return quotient if self.rounding_mode is None or category(dtype) == 1 else truncate(g, quotient)

    @classmethod
    def sample(cls, random: Random) -> Case:
        case = super().sample(random)
        return Case({"rounding_mode": pick(random, (None, None, "trunc", "floor"))}, case.operands)


@op
class FloorDivide(Binary):
    """The quotient rounded down, element by element: `x // y`.

    floor_divide : int64[N], int64[N] -> int64[N]
    """

    kind = "floor_divide"
    symbol = "//"
    sample_dtypes = ("float32", "int64", "int64", "int32")

    def torch(self, input: Operand, other: Operand) -> Any:
        if isinstance(input, Tensor):
            return super().torch(input, other)
        return call("torch.div", as_tensor(input, promote(input, other)), Arg(1), rounding_mode="floor")

    def result_dtype(self, input: Operand, other: Operand) -> str:
        dtype = promote(input, other)
        not_all_bool(self.symbol, dtype, input, other)
        return dtype

    def compute(self, g: OnnxTarget, left: OnnxValue, right: OnnxValue, dtype: str) -> OnnxValue:
        return floor_divide(g, left, right, dtype)


@op
class Remainder(Binary):
    """What is left of a division rounded down, with the sign of the divisor: `x % y`.

    remainder : int64[N], int64[N] -> int64[N]
    """

    kind = "remainder"
    symbol = "%"
    sample_dtypes = ("float32", "int64", "int64", "int32")

    def result_dtype(self, input: Operand, other: Operand) -> str:
        dtype = promote(input, other)
        not_all_bool(self.symbol, dtype, input, other)
        return dtype

    def compute(self, g: OnnxTarget, left: OnnxValue, right: OnnxValue, dtype: str) -> OnnxValue:
        return remainder(g, left, right, dtype)


@op
class Pow(Binary):
    """The power, element by element: `x ** y`.

    pow : [N, 4], [4] -> [N, 4]
    """

    kind = "pow"
    symbol = "**"
    sample_dtypes = ("float32", "float32", "int64", "float32")

    if not TYPE_CHECKING:  # torch calls its second operand so

        def infer(self, input: Operand, exponent: Operand) -> Tensor:
            return super().infer(input, exponent)

    def result_dtype(self, input: Operand, other: Operand) -> str:
        dtype = promote(input, other)
        not_all_bool(self.symbol, dtype, input, other)
        negative = isinstance(other, Scalar) and not isinstance(other.value, Expr) and other.value < 0
        if negative and category(dtype) == 1:
            raise ShapeProblem(
                "E0405",
                "an integer to a negative power is not an integer",
                operand=0,
                label=f"this is {input}",
                help="convert it first: `-> to(float32)`",
            )
        return dtype

    def onnx(self, g: OnnxTarget, input: Value, other: Value) -> OnnxValue:
        if isinstance(other, OnnxValue):
            return super().onnx(g, input, other)
        dtype = self.result_dtype(type_of(input), other)
        value = g.op("Pow", cast(g, input, width(dtype)), cast(g, other, width(dtype)))
        return finish(g, value, width(dtype), dtype)

    def compute(self, g: OnnxTarget, left: OnnxValue, right: OnnxValue, dtype: str) -> OnnxValue:
        return power(g, left, right, dtype)


@op
class Neg(Function):
    """Each element times -1: `-x`.

    neg : [N, 4] -> [N, 4]
    """

    kind = "neg"
    elementwise = True

    def infer(self, input: Tensor) -> Tensor:
        no_bool("-", input)
        return input

    def torch(self, input: Tensor) -> Prefix:
        return Prefix("-", Arg(0))

    def onnx(self, g: OnnxTarget, input: OnnxValue) -> OnnxValue:
        dtype = tensor_of(input).dtype
        computed = width(dtype)
        return finish(g, g.op("Neg", cast(g, input, computed)), computed, dtype)

    @classmethod
    def sample(cls, random: Random) -> Case:
        return Case({}, (tensor(random, dtypes=("float32", "int64", "int8")),))


@op
class Minimum(Binary):
    """The smaller of two, element by element.

    minimum : [N, 4], [4] -> [N, 4]
    """

    kind = "minimum"
    takes_scalars = False

    def computed_dtype(self, dtype: str) -> str:
        return numeric(dtype)

    def compute(self, g: OnnxTarget, left: OnnxValue, right: OnnxValue, dtype: str) -> OnnxValue:
        return g.op("Min", left, right)


@op
class Maximum(Binary):
    """The larger of two, element by element.

    maximum : [N, 4], [4] -> [N, 4]
    """

    kind = "maximum"
    takes_scalars = False

    def computed_dtype(self, dtype: str) -> str:
        return numeric(dtype)

    def compute(self, g: OnnxTarget, left: OnnxValue, right: OnnxValue, dtype: str) -> OnnxValue:
        return g.op("Max", left, right)


@op
class Matmul(Function):
    """The matrix product over the last two axes, batched over the ones before: `x @ y`.

    matmul : [N, 8, T, 64], [N, 8, 64, S] -> [N, 8, T, S]
    matmul : [N, 4], [4] -> [N]
    """

    kind = "matmul"

    def infer(self, input: Tensor, other: Tensor) -> Tensor:
        for number, x in enumerate((input, other)):
            if not x.rank:
                raise ShapeProblem(
                    "E0401",
                    "`@` multiplies matrices, but one operand has no axes",
                    operand=number,
                    label=f"this is {x}",
                )
        dtype = self._dtype(input, other)
        rows, columns = other.shape[-2 if other.rank > 1 else -1], other.shape[-1:]
        try:
            join(input.shape[-1], rows)
        except DimMismatch as mismatch:
            raise ShapeProblem(
                "E0402",
                "shapes do not match in `@`",
                note=mismatch_note(
                    "the last axis of the first and the rows of the second", input.shape[-1], rows, mismatch
                ).replace(" is ", " are ", 1),
            ) from None
        left = Tensor(input.shape[:-2], dtype)
        right = Tensor(other.shape[:-2], dtype)
        batch = broadcast("@", left, right)
        return Tensor((*batch, *input.shape[-2:-1], *(columns if other.rank > 1 else ())), dtype)

    def _dtype(self, input: Tensor, other: Tensor) -> str:
        if input.dtype != other.dtype:
            raise ShapeProblem(
                "E0405",
                f"`@` needs operands of one dtype, but they are {input.dtype} and {other.dtype}",
                operand=1,
                label=f"this is {other}",
                help=f"convert the second one: `to({input.dtype})`",
            )
        if input.dtype == "bool":
            raise ShapeProblem(
                "E0405",
                "`@` does not multiply bools",
                operand=0,
                label=f"this is {input}",
                help="convert: `to(float32)`",
            )
        return input.dtype

    def torch(self, input: Tensor, other: Tensor) -> Infix:
        return Infix("@", Arg(0), Arg(1))

    def onnx(self, g: OnnxTarget, input: OnnxValue, other: OnnxValue) -> OnnxValue:
        dtype = tensor_of(input).dtype
        computed = width(dtype)
        product = g.op("MatMul", cast(g, input, computed), cast(g, other, computed))
        return finish(g, product, computed, dtype)

    def cost(self, input: Tensor, other: Tensor) -> Dim:
        return product(self.infer(input, other).shape) * input.shape[-1]

    @classmethod
    def sample(cls, random: Random) -> Case:
        inner = random.randint(1, 4)
        left, right = broadcast_pair(random, high=2)
        dtype = pick(random, ("float32", "float32", "float32", "int64"))
        a = (*left, random.randint(1, 4), inner) if random.random() < 0.8 else (inner,)
        b = (*right, inner, random.randint(1, 4)) if random.random() < 0.8 else (inner,)
        if random.random() < 0.1:
            b = shape(random, 1, 3)
        return Case({}, (Tensor(a, dtype), Tensor(b, dtype)))


# ------------------------------------------------------------------------------- what torch refuses, and rounding


def no_bool(what: str, *operands: Operand) -> None:
    for number, operand in enumerate(operands):
        is_bool = operand.dtype == "bool" if isinstance(operand, Tensor) else isinstance(operand.value, bool)
        if is_bool:
            raise ShapeProblem(
                "E0405",
                f"`{what}` is not defined for bools",
                operand=number,
                label=f"this is {operand}",
                help="use `logical_not` or `logical_xor`, or convert it: `-> to(float32)`",
            )


def as_tensor(number: Operand, dtype: str) -> Any:
    """The first operand, as a tensor where it is a number: TorchScript takes no other, though torch does."""
    if isinstance(number, Tensor):
        return Arg(0)
    return call("torch.tensor", Arg(0), dtype=Symbol(f"torch.{dtype}"))


def not_all_bool(what: str, dtype: str, *operands: Operand) -> None:
    if dtype == "bool":
        no_bool(what, *operands)


def truncate(g: OnnxTarget, value: OnnxValue) -> OnnxValue:
    """Rounded towards zero."""
    return g.op("Mul", g.op("Sign", value), g.op("Floor", g.op("Abs", value)))


def remainder(g: OnnxTarget, left: OnnxValue, right: OnnxValue, dtype: str) -> OnnxValue:
    """Of integers ONNX's Mod is Python's `%`; of floats it is C's `fmod`, with the sign of the dividend."""
    if category(dtype) == 1:
        return g.op("Mod", left, right, fmod=0)
    rest = g.op("Mod", left, right, fmod=1)
    zero = g.constant(0, dtype)
    other_sign = g.op("Xor", g.op("Less", rest, zero), g.op("Less", right, zero))
    wrong = g.op("And", other_sign, g.op("Not", g.op("Equal", rest, zero)))
    return g.op("Where", wrong, g.op("Add", rest, right), rest)


def floor_divide(g: OnnxTarget, left: OnnxValue, right: OnnxValue, dtype: str) -> OnnxValue:
    whole = g.op("Sub", left, remainder(g, left, right, dtype))
    quotient = g.op("Div", whole, right)
    if category(dtype) == 1:
        return quotient
    by_zero = g.op(
        "Equal", right, g.constant(0, dtype)
    )  # the remainder is not a number there, the quotient is infinite
    return g.op("Where", by_zero, g.op("Div", left, right), g.op("Round", quotient))


def power(g: OnnxTarget, base: OnnxValue, exponent: OnnxValue, dtype: str) -> OnnxValue:
    """Of integers to a negative power torch gives 0, or a power of 1 or -1; ONNX leaves that open."""
    if category(dtype) == 2:
        return g.op("Pow", base, exponent)
    value = g.op("Pow", base, g.op("Abs", exponent))
    is_unit = g.op("Equal", g.op("Abs", base), g.constant(1, dtype))
    vanishes = g.op("And", g.op("Less", exponent, g.constant(0, dtype)), g.op("Not", is_unit))
    return g.op("Where", vanishes, g.constant(0, dtype), value)
