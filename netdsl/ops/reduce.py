"""Reductions: what all elements along some axes are together."""

from __future__ import annotations

import math
from random import Random
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from netdsl.ir.dims import Dim, product
from netdsl.ir.types import Scalar, Tensor
from netdsl.ops.axes import axes, axis
from netdsl.ops.base import Case, Function, ShapeProblem, op
from netdsl.ops.cases import any_axis, pick, some_axes, tensor
from netdsl.ops.onnx_parts import cast, finish, numeric, reshaped, tensor_of, width
from netdsl.ops.promotion import Dtype, category, float_result, need_float, need_numbers
from netdsl.ops.target import Arg, OnnxTarget, OnnxValue, Symbol, call, method

Axes = int | tuple[int, ...] | None


class _Along(Function):
    """Reduces the axes `dim`; with `keepdim` they stay with a size of 1. Which axes may be given differs."""

    positional = ("dim", "keepdim")
    operator: ClassVar[str] = ""
    sample_dtypes: ClassVar[tuple[str, ...]] = ("float32", "float32", "int64", "bool")

    dim: Any
    keepdim: bool = False

    def reduced(self, x: Tensor) -> tuple[int, ...]:
        return tuple(sorted(axes(self.kind, self.dim, x)))

    def infer(self, input: Tensor) -> Tensor:
        gone = self.reduced(input)
        dtype = self.result_dtype(input)
        if self.keepdim:
            return Tensor(
                tuple(1 if place in gone else size for place, size in enumerate(input.shape)), dtype
            )
        return Tensor(tuple(size for place, size in enumerate(input.shape) if place not in gone), dtype)

    def result_dtype(self, input: Tensor) -> str:
        return input.dtype

    def torch(self, input: Tensor) -> Any:
        """`x.mean((2, 3))`; without axes there are none to keep, unless that is asked for."""
        args = () if self.dim is None else (self.dim,)
        return method(Arg(0), self.kind, *args, **self.more())

    def more(self) -> dict[str, Any]:
        """The other arguments, by name."""
        if not self.keepdim:
            return {}
        return {"keepdim": True} if self.dim is not None else {"dim": None, "keepdim": True}

    def onnx(self, g: OnnxTarget, input: OnnxValue) -> OnnxValue:
        x = tensor_of(input)
        dtype = self.result_dtype(x)
        computed = numeric(dtype)
        value = self.compute(g, cast(g, input, computed), x, computed)
        return finish(g, value, computed, dtype)

    def compute(self, g: OnnxTarget, value: OnnxValue, x: Tensor, dtype: str) -> OnnxValue:
        return self.reduce(g, self.operator, value, x)

    def reduce(
        self, g: OnnxTarget, operator: str, value: OnnxValue, x: Tensor, keepdim: bool | None = None
    ) -> OnnxValue:
        keepdims = self.keepdim if keepdim is None else keepdim
        gone = self.reduced(x)
        return g.op(operator, value, g.constant(list(gone), "int64"), keepdims=keepdims) if gone else value

    @classmethod
    def sample(cls, random: Random) -> Case:
        x = tensor(random, dtypes=cls.sample_dtypes)
        dim = pick(random, (None, any_axis(random, x.rank), some_axes(random, x.rank)))
        return Case({"dim": dim, "keepdim": random.random() < 0.4}, (x,))


class _Reduction(_Along):
    """Reduces all axes where `dim` is left out."""

    dim: Axes = None

    @field_validator("dim")
    @classmethod
    def _some_axes(cls, value: Axes) -> Axes:
        if value == ():
            raise ValueError("`dim` is an empty list; left out, all axes are reduced")
        return value


class _Total(_Reduction):
    """`sum` and `mean`, which torch computes in another `dtype` where one is given."""

    dtype: Dtype | None = None

    def more(self) -> dict[str, Any]:
        return super().more() | named_dtype(self.dtype)

    def result_dtype(self, input: Tensor) -> str:
        return total_dtype(self.dtype, input)

    @classmethod
    def sample(cls, random: Random) -> Case:
        case = super().sample(random)
        dtype = pick(random, (None, None, None, "float32", "float64"))
        return Case({**case.arguments, "dtype": dtype}, case.operands)


def total_dtype(asked: str | None, input: Tensor) -> str:
    """The dtype of sums and products: that of integers and bools is int64."""
    return asked or ("int64" if category(input.dtype) < 2 else input.dtype)


def named_dtype(dtype: str | None) -> dict[str, Any]:
    """The keyword `dtype` of the generated code, where one is given."""
    return {} if dtype is None else {"dtype": Symbol(f"torch.{dtype}")}


@op
class Sum(_Total):
    """The sum along axes; of integers and bools it is int64.

    sum(1) : [N, 4] -> [N]
    sum([2, 3], keepdim = True) : [N, 8, H, W] -> [N, 8, 1, 1]
    """

    kind = "sum"
    operator = "ReduceSum"


@op
class Mean(_Total):
    """The mean along axes.

    mean([2, 3]) : [N, 8, H, W] -> [N, 8]
    mean : [N, 4] -> []
    """

    kind = "mean"
    operator = "ReduceMean"
    sample_dtypes = ("float32", "float32", "float32", "int64")

    def result_dtype(self, input: Tensor) -> str:
        dtype = self.dtype or input.dtype
        if category(dtype) < 2:
            raise ShapeProblem(
                "E0405",
                f"`mean` works on floating point, found {dtype}",
                operand=0,
                label=f"this is {input}",
                help="say in which dtype: `mean(..., dtype = float32)`",
            )
        return dtype


@op
class Prod(_Along):
    """The product along one axis, or of all elements; of integers and bools it is int64.

    prod(1) : [N, 4] -> [N]
    """

    kind = "prod"
    operator = "ReduceProd"

    dim: int | None = None
    dtype: Dtype | None = None

    def more(self) -> dict[str, Any]:
        """torch's `prod` of everything keeps no axes."""
        return (super().more() if self.dim is not None else {}) | named_dtype(self.dtype)

    def result_dtype(self, input: Tensor) -> str:
        return total_dtype(self.dtype, input)

    def infer(self, input: Tensor) -> Tensor:
        if self.dim is None and self.keepdim:
            raise ShapeProblem("E0407", "`prod` with `keepdim` needs `dim`", operand=0, argument="keepdim")
        return super().infer(input)

    @classmethod
    def sample(cls, random: Random) -> Case:
        case = super().sample(random)
        dim = pick(random, (None, any_axis(random, case.operands[0].rank)))  # type: ignore[union-attr]
        keepdim = {} if dim is None else {"dim": dim, "keepdim": case.arguments["keepdim"]}
        return Case({**keepdim, "dtype": pick(random, (None, None, "float32", "float64"))}, case.operands)


class _Extreme(_Reduction):
    def torch(self, input: Tensor) -> Any:
        """torch's `amax` says with an empty list that it is of all axes."""
        if self.dim is None and self.keepdim:
            return method(Arg(0), self.kind, (), keepdim=True)
        return super().torch(input)


@op
class Amax(_Extreme):
    """The largest value along axes.

    amax(1) : [N, 4] -> [N]
    """

    kind = "amax"
    operator = "ReduceMax"


@op
class Amin(_Extreme):
    """The smallest value along axes.

    amin(1) : [N, 4] -> [N]
    """

    kind = "amin"
    operator = "ReduceMin"


class _Spread(_Reduction):
    """`var` and `std`: squared distances from the mean, divided by their number less `correction`."""

    sample_dtypes = ("float32", "float64")
    positional = ("dim",)

    dim: Axes = None
    correction: int | float = 1
    keepdim: bool = False
    unbiased: bool | None = None

    @model_validator(mode="after")
    def _one_way_to_correct(self) -> _Spread:
        if self.unbiased is not None and "correction" in self.model_fields_set:
            raise ValueError(
                "`unbiased` and `correction` say the same: `unbiased = False` is `correction = 0`"
            )
        return self

    @property
    def less(self) -> int | float:
        """What the number of elements is made smaller by."""
        return self.correction if self.unbiased is None else int(self.unbiased)

    def result_dtype(self, input: Tensor) -> str:
        need_float(self.kind, input)
        return input.dtype

    def more(self) -> dict[str, Any]:
        return ({"correction": self.less} if self.less != 1 else {}) | super().more()

    def torch(self, input: Tensor) -> Any:
        """Without `dim`, `x.var(correction=0)` would be another function of TorchScript's."""
        if self.dim is None and self.more():
            return method(Arg(0), self.kind, **{"dim": None, **self.more()})
        return super().torch(input)

    def variance(self, g: OnnxTarget, value: OnnxValue, x: Tensor, dtype: str) -> OnnxValue:
        mean = self.reduce(g, "ReduceMean", value, x, keepdim=True)
        distance = g.op("Sub", value, mean)
        total = self.reduce(g, "ReduceSum", g.op("Mul", distance, distance), x)
        count: Dim = product(x.shape[place] for place in self.reduced(x))
        if isinstance(count, int):
            return g.op("Div", total, g.constant(max(count - self.less, 0), dtype))
        divisor = g.op("Sub", cast(g, Scalar(count), dtype), g.constant(self.less, dtype))
        return g.op("Div", total, g.op("Max", divisor, g.constant(0, dtype)))

    @classmethod
    def sample(cls, random: Random) -> Case:
        case = super().sample(random)
        wider = tuple(
            o.with_shape(*(size + 1 for size in o.shape)) for o in case.operands if isinstance(o, Tensor)
        )
        spread = pick(
            random, ({}, {"correction": 0}, {"correction": 0.5}, {"unbiased": False}, {"unbiased": True})
        )
        return Case({**case.arguments, **spread}, wider)


@op
class Var(_Spread):
    """The variance along axes; `correction = 0` divides by the number of elements, the default by one less.

    var(1) : [N, 4] -> [N]
    var(-1, correction = 0, keepdim = True) : [N, T, 64] -> [N, T, 1]
    """

    kind = "var"

    def compute(self, g: OnnxTarget, value: OnnxValue, x: Tensor, dtype: str) -> OnnxValue:
        return self.variance(g, value, x, dtype)


@op
class Std(_Spread):
    """The standard deviation along axes; `correction = 0` divides by the number of elements, the default by one less.

    std(1) : [N, 4] -> [N]
    """

    kind = "std"

    def compute(self, g: OnnxTarget, value: OnnxValue, x: Tensor, dtype: str) -> OnnxValue:
        return g.op("Sqrt", self.variance(g, value, x, dtype))


class _Position(_Along):
    """Where along an axis the extreme is; without `dim`, in the flattened tensor. Of equal ones the first."""

    dim: int | None = None
    sample_dtypes = ("float32", "float32", "int64")

    def result_dtype(self, input: Tensor) -> str:
        need_numbers(self.kind, input)
        return "int64"

    def onnx(self, g: OnnxTarget, input: OnnxValue) -> OnnxValue:
        x = tensor_of(input)
        value = cast(g, input, width(x.dtype))
        if self.dim is not None:
            return g.op(self.operator, value, axis=axis(self.kind, self.dim, x), keepdims=self.keepdim)
        flat = g.op(self.operator, reshaped(g, value, [-1]), axis=0, keepdims=False)
        return reshaped(g, flat, [1] * x.rank) if self.keepdim else flat

    @classmethod
    def sample(cls, random: Random) -> Case:
        case = super().sample(random)
        dim = pick(random, (None, any_axis(random, case.operands[0].rank)))  # type: ignore[union-attr]
        return Case({**case.arguments, "dim": dim}, case.operands)


@op
class Argmax(_Position):
    """Where along axis `dim` the largest value is.

    argmax(1) : [N, 10] -> int64[N]
    """

    kind = "argmax"
    operator = "ArgMax"


@op
class Argmin(_Position):
    """Where along axis `dim` the smallest value is.

    argmin(1) : [N, 10] -> int64[N]
    """

    kind = "argmin"
    operator = "ArgMin"


@op
class LogSumExp(_Along):
    """The logarithm of the sum of the exponentials along axes, computed without overflow.

    logsumexp(1) : [N, 10] -> [N]
    """

    kind = "logsumexp"
    operator = "ReduceLogSumExp"
    dim: int | tuple[int, ...]
    sample_dtypes = ("float32", "float32", "int64")

    def result_dtype(self, input: Tensor) -> str:
        return float_result(input.dtype)

    @classmethod
    def sample(cls, random: Random) -> Case:
        case = super().sample(random)
        return Case({**case.arguments, "dim": case.arguments["dim"] or 0}, case.operands)


class _Quantifier(_Reduction):
    """Everything but zero counts as true."""

    def result_dtype(self, input: Tensor) -> str:
        return "uint8" if input.dtype == "uint8" else "bool"

    def torch(self, input: Tensor) -> Any:
        """torch's `all` and `any` of everything take no `keepdim`, so the axes are named."""
        if self.dim is None and self.keepdim:
            return method(Arg(0), self.kind, tuple(range(input.rank)), keepdim=True)
        return super().torch(input)

    def onnx(self, g: OnnxTarget, input: OnnxValue) -> OnnxValue:
        x = tensor_of(input)
        numbers = g.op("Cast", cast(g, input, "bool"), to="int32")
        return g.op("Cast", self.reduce(g, self.operator, numbers, x), to=self.result_dtype(x))


@op
class All(_Quantifier):
    """Whether all elements along axes are true.

    all(1) : bool[N, 4] -> bool[N]
    """

    kind = "all"
    operator = "ReduceMin"


@op
class Any_(_Quantifier):
    """Whether any element along axes is true.

    any(1) : bool[N, 4] -> bool[N]
    """

    kind = "any"
    operator = "ReduceMax"


@op
class Norm(_Reduction):
    """The length of the vectors along axes: the p-th root of the sum of the p-th powers.

    norm(dim = 1, keepdim = True) : [N, 64] -> [N, 1]
    norm(1, -1) : [N, T, 64] -> [N, T]
    """

    kind = "norm"
    positional = ("p", "dim", "keepdim")
    sample_dtypes = ("float32", "float64")

    p: float | Literal["fro"] = Field(default=2.0)
    dim: Axes = None
    keepdim: bool = False
    dtype: Literal["float16", "bfloat16", "float32", "float64"] | None = None

    def result_dtype(self, input: Tensor) -> str:
        need_float(self.kind, input)
        return self.dtype or input.dtype

    def torch(self, input: Tensor) -> Any:
        order = {} if self.p in (2.0, "fro") else {"ord": self.p}
        dim = {} if self.dim is None else {"dim": self.dim}
        keepdim = {"keepdim": True} if self.keepdim else {}
        return call("torch.linalg.vector_norm", Arg(0), **order, **dim, **keepdim, **named_dtype(self.dtype))

    def compute(self, g: OnnxTarget, value: OnnxValue, x: Tensor, dtype: str) -> OnnxValue:
        gone = self.reduced(x)
        return vector_norm(g, value, 2.0 if self.p == "fro" else self.p, gone, dtype, keepdim=self.keepdim)

    @classmethod
    def sample(cls, random: Random) -> Case:
        case = super().sample(random)
        orders = (2.0, 1.0, 3.0, 0.5, 0.0, math.inf, -math.inf)
        dtype = pick(random, (None, None, "float64"))
        return Case({"p": pick(random, orders), **case.arguments, "dtype": dtype}, case.operands)


def vector_norm(
    g: OnnxTarget, value: OnnxValue, p: float, dims: tuple[int, ...], dtype: str, *, keepdim: bool
) -> OnnxValue:
    """The length along `dims`, as torch.linalg.vector_norm has it for every `p`."""
    if not dims:
        return g.op("Abs", value)

    def reduce(operator: str, part: OnnxValue) -> OnnxValue:
        return g.op(operator, part, g.constant(list(dims), "int64"), keepdims=keepdim)

    if p in (1.0, 2.0):
        return reduce(f"ReduceL{int(p)}", value)
    magnitude = g.op("Abs", value)
    if math.isinf(p):
        return reduce("ReduceMax" if p > 0 else "ReduceMin", magnitude)
    if p == 0:
        some = g.op("Not", g.op("Equal", magnitude, g.constant(0, dtype)))
        return reduce("ReduceSum", g.op("Cast", some, to=dtype))
    total = reduce("ReduceSum", g.op("Pow", magnitude, g.constant(p, dtype)))
    return g.op("Pow", total, g.constant(1 / p, dtype))
