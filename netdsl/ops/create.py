"""Functions that make tensors of nothing, and the ones that are shaped like another tensor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from typing import Any, ClassVar

from pydantic import field_validator, model_validator

from netdsl.ir.decide import Constraint, assume, holds
from netdsl.ir.dims import Dim, Expr
from netdsl.ir.types import Scalar, Tensor
from netdsl.ops.base import AnyDim, Case, Function, ShapeProblem, Size, op
from netdsl.ops.cases import pick, shape, tensor
from netdsl.ops.onnx_parts import cast, expanded, finish, tensor_of
from netdsl.ops.promotion import Dtype, category, scalar_dtype
from netdsl.ops.reduce import named_dtype
from netdsl.ops.target import Arg, OnnxTarget, OnnxValue, call

Number = int | float | bool
CREATED = ("float32", "float32", "int64", "bool", "float64")


def check_sizes(argument: str, sizes: Sequence[Dim]) -> None:
    for size in sizes:
        if isinstance(size, int) and size < 1:
            raise ValueError(f"`{argument}` is made of sizes of 1 or more, found {size}")


class _Filled(Function):
    """A tensor with one number everywhere."""

    positional = ("*size",)
    fill: ClassVar[Number]

    size: tuple[AnyDim, ...]
    dtype: Dtype | None = None

    @field_validator("size")
    @classmethod
    def _sizes(cls, value: tuple[AnyDim, ...]) -> tuple[AnyDim, ...]:
        check_sizes("size", value)
        return value

    def infer(self) -> Tensor:
        return Tensor(self.size, self.dtype or "float32")

    def torch(self) -> Any:
        args = self.size or ((),)
        return call(f"torch.{self.kind}", *args, **named_dtype(self.dtype))

    def onnx(self, g: OnnxTarget) -> OnnxValue:
        return filled(g, Scalar(self.fill), self.size, self.dtype or "float32")

    @classmethod
    def sample(cls, random: Random) -> Case:
        return Case({"size": shape(random, 0, 3), "dtype": pick(random, (None, *CREATED))}, ())


def filled(g: OnnxTarget, number: Scalar, sizes: Sequence[Dim], dtype: str) -> OnnxValue:
    return expanded(g, cast(g, number, dtype), sizes) if sizes else cast(g, number, dtype)


@op
class Zeros(_Filled):
    """Zeros in the shape `size`.

    zeros(1, 1, 64) : -> [1, 1, 64]
    zeros(N, 4, dtype = "int64") : -> int64[N, 4]
    """

    kind = "zeros"
    fill = 0


@op
class Ones(_Filled):
    """Ones in the shape `size`.

    ones(T, T, dtype = "bool") : -> bool[T, T]
    """

    kind = "ones"
    fill = 1


@op
class Full(Function):
    """`fill_value` in the shape `size`; its own kind of number is the dtype where none is given.

    full([2, 3], 0.5) : -> [2, 3]
    full([N], 7) : -> int64[N]
    """

    kind = "full"
    positional = ("size", "fill_value")
    size: tuple[AnyDim, ...]
    fill_value: int | float | bool
    dtype: Dtype | None = None

    @field_validator("size")
    @classmethod
    def _sizes(cls, value: tuple[AnyDim, ...]) -> tuple[AnyDim, ...]:
        check_sizes("size", value)
        return value

    def infer(self) -> Tensor:
        return Tensor(self.size, self.dtype or scalar_dtype(Scalar(self.fill_value)))

    def torch(self) -> Any:
        return call("torch.full", self.size, self.fill_value, **named_dtype(self.dtype))

    def onnx(self, g: OnnxTarget) -> OnnxValue:
        return filled(g, Scalar(self.fill_value), self.size, self.infer().dtype)

    @classmethod
    def sample(cls, random: Random) -> Case:
        value = pick(random, (0.5, 3, True, -1e9, float("-inf")))
        dtype = pick(random, (None, None, "float64"))
        return Case({"size": shape(random, 0, 3), "fill_value": value, "dtype": dtype}, ())


@op
class Eye(Function):
    """The identity matrix: ones on the diagonal of `n` rows and `m` columns, zeros elsewhere.

    eye(4) : -> [4, 4]
    """

    kind = "eye"
    positional = ("n", "m")
    n: Size | Expr
    m: Size | Expr | None = None
    dtype: Dtype | None = None

    def infer(self) -> Tensor:
        return Tensor((self.n, self.n if self.m is None else self.m), self.dtype or "float32")

    def torch(self) -> Any:
        args = (self.n,) if self.m is None else (self.n, self.m)
        return call("torch.eye", *args, **named_dtype(self.dtype))

    def onnx(self, g: OnnxTarget) -> OnnxValue:
        result = self.infer()
        computed = "int64" if result.dtype == "bool" else result.dtype
        plane = expanded(g, g.constant(0, computed), result.shape)
        return finish(g, g.op("EyeLike", plane, dtype=computed), computed, result.dtype)

    @classmethod
    def sample(cls, random: Random) -> Case:
        m = pick(random, (None, random.randint(1, 5)))
        return Case({"n": random.randint(1, 5), "m": m, "dtype": pick(random, (None, *CREATED))}, ())


@op
class Arange(Function):
    """The numbers from `start`, or from 0, to before `end` in steps of `step`.

    arange(49) : -> int64[49]
    arange(0, T, dtype = "float32") : -> [T]
    arange(0.0, 1.0, 0.25) : -> [4]
    """

    kind = "arange"
    positional = ("start", "end", "step")
    start: AnyDim | float | None = None
    end: AnyDim | float | None = None
    step: int | float = 1
    dtype: Dtype | None = None

    @model_validator(mode="after")
    def _range(self) -> Arange:
        if self.start is None and self.end is None:
            raise ValueError("`arange` needs `end`")
        if self.step == 0:
            raise ValueError("`step` of `arange` is 0, so it never ends")
        if self.counts_in_floats and any(isinstance(value, Expr) for value in self.bounds()):
            raise ValueError("`arange` over a size that is known at run time counts in integers")
        if self.dtype is not None and category(self.dtype) < 2 and self.counts_in_floats:
            raise ValueError(f"`arange` of {self.dtype} counts in integers, but its numbers are not")
        return self

    @property
    def counts_in_floats(self) -> bool:
        return any(isinstance(number, float) for number in (*self.bounds(), self.step))

    def bounds(self) -> tuple[Any, Any]:
        """Where it starts and ends; one number alone is the end."""
        return (0, self.start) if self.end is None else (0 if self.start is None else self.start, self.end)

    def infer(self) -> Tensor:
        return Tensor(
            (self._length(*self.bounds()),), self.dtype or ("float32" if self.counts_in_floats else "int64")
        )

    def _length(self, start: Any, end: Any) -> Dim:
        length = math.ceil((end - start) / self.step) if self.counts_in_floats else self._steps(start, end)
        if holds(length, ">=", 1) is False:
            raise ShapeProblem("E0404", f"`arange` from {start} to {end} in steps of {self.step} is empty")
        return length

    def _steps(self, start: Dim, end: Dim) -> Dim:
        low, high, step = (start, end, int(self.step)) if self.step > 0 else (end, start, -int(self.step))
        if holds(high, ">=", low) is None:
            assume(Constraint(high, ">=", low))
        return (high - low + step - 1) // step

    def torch(self) -> Any:
        start, end = self.bounds()
        more = named_dtype(self.dtype)
        if self.step != 1:
            return call("torch.arange", start, end, self.step, **more)
        starts_at_zero = isinstance(start, int) and start == 0
        return (
            call("torch.arange", end, **more) if starts_at_zero else call("torch.arange", start, end, **more)
        )

    def onnx(self, g: OnnxTarget) -> OnnxValue:
        result = self.infer()
        start, end = self.bounds()
        if self.counts_in_floats:
            return self._onnx_floats(g, start, result)
        numbers = (g.size(number) for number in (start, end, int(self.step)))
        return finish(g, g.op("Range", *numbers), "int64", result.dtype)

    def _onnx_floats(self, g: OnnxTarget, start: float, result: Tensor) -> OnnxValue:
        """Computed in float64 and rounded once, as torch does."""
        count = g.op("Range", g.size(0), g.size(result.shape[0]), g.size(1))
        steps = g.op("Mul", g.op("Cast", count, to="float64"), g.constant(self.step, "float64"))
        return finish(g, g.op("Add", steps, g.constant(start, "float64")), "float64", result.dtype)

    @classmethod
    def sample(cls, random: Random) -> Case:
        dtype = pick(random, (None, None, "float32", "int64"))
        if random.random() < 0.3:
            return Case({"end": random.randint(1, 9), "dtype": dtype}, ())
        start, step = pick(random, (0, 2, -1, 0.5)), pick(random, (1, 2, 3, 0.25, -1))
        dtype = "float32" if isinstance(start + step, float) else dtype
        return Case(
            {"start": start, "end": start + step * random.randint(1, 6), "step": step, "dtype": dtype}, ()
        )


@op
class Linspace(Function):
    """`steps` numbers at equal distances, from `start` to `end`, both included.

    linspace(-1, 1, steps = 5) : -> [5]
    """

    kind = "linspace"
    positional = ("start", "end", "steps")
    start: int | float
    end: int | float
    steps: Size | Expr
    dtype: Dtype | None = None

    @field_validator("dtype")
    @classmethod
    def _floating(cls, value: str | None) -> str | None:
        if value is not None and category(value) < 2:
            raise ValueError(f"`dtype` of `linspace` is floating point, found {value}")
        return value

    def infer(self) -> Tensor:
        return Tensor((self.steps,), self.dtype or "float32")

    def torch(self) -> Any:
        return call("torch.linspace", self.start, self.end, self.steps, **named_dtype(self.dtype))

    def onnx(self, g: OnnxTarget) -> OnnxValue:
        count = g.op("Cast", g.op("Range", g.size(0), g.size(self.steps), g.size(1)), to="float64")
        gaps = g.op("Max", cast(g, Scalar(self.steps - 1), "float64"), g.constant(1, "float64"))
        gap = g.op("Div", g.constant(self.end - self.start, "float64"), gaps)
        value = g.op("Add", g.op("Mul", count, gap), g.constant(self.start, "float64"))
        return finish(g, value, "float64", self.infer().dtype)

    @classmethod
    def sample(cls, random: Random) -> Case:
        start, end = random.randint(-3, 3), pick(random, (0.5, 4, 10))
        dtype = pick(random, (None, None, "float64"))
        return Case({"start": start, "end": end, "steps": random.randint(1, 7), "dtype": dtype}, ())


@op
class TensorFunction(Function):
    """The numbers of a list, or of a list of lists, as a tensor.

    tensor([0.485, 0.456, 0.406]) : -> [3]
    tensor([[1, 2], [3, 4]]) : -> int64[2, 2]
    """

    kind = "tensor"
    positional = ("data",)
    data: Any
    dtype: Dtype | None = None

    @field_validator("data")
    @classmethod
    def _regular(cls, value: Any) -> Any:
        shape_of(value)
        return value

    def infer(self) -> Tensor:
        if self.dtype is not None:
            return Tensor(shape_of(self.data), self.dtype)
        found = {scalar_dtype(Scalar(number)) for number in numbers_of(self.data)}
        return Tensor(shape_of(self.data), max(found, key=category))

    def torch(self) -> Any:
        return call("torch.tensor", as_lists(self.data), **named_dtype(self.dtype))

    def onnx(self, g: OnnxTarget) -> OnnxValue:
        result = self.infer()
        found = "float64" if any(isinstance(n, float) for n in numbers_of(self.data)) else result.dtype
        if category(found) == category(result.dtype):
            return g.constant(as_lists(self.data), result.dtype)
        return g.op("Cast", g.constant(as_lists(self.data), found), to=result.dtype)

    @classmethod
    def sample(cls, random: Random) -> Case:
        sizes = shape(random, 0, 3)
        kinds = pick(random, ((1, 2, 3), (1, 2.5), (True, False)))

        def fill(rest: tuple[int, ...]) -> Any:
            return tuple(fill(rest[1:]) for _ in range(rest[0])) if rest else pick(random, kinds)

        dtype = pick(random, (None, None, "float32", "float64"))
        return Case({"data": fill(sizes), "dtype": dtype}, ())


def shape_of(data: Any) -> tuple[int, ...]:
    """The shape of nested lists of numbers. Raises ValueError where they are not one."""
    if isinstance(data, int | float):
        return ()
    if not isinstance(data, tuple):
        raise ValueError(f"`data` of `tensor` is made of numbers, found {data!r}")
    items = cast_list(data)
    shapes = {shape_of(item) for item in items}
    if len(shapes) != 1:
        raise ValueError(
            "`data` of `tensor` has lists of different lengths" if shapes else "`data` of `tensor` is empty"
        )
    return (len(items), *shapes.pop())


def cast_list(data: Any) -> list[Any]:
    """What is known to be a list, with a type."""
    return list(data)


def numbers_of(data: Any) -> list[Number]:
    if not isinstance(data, tuple):
        return [data]
    return [number for item in cast_list(data) for number in numbers_of(item)]


def as_lists(data: Any, kind: type | None = None) -> Any:
    """Nested lists of numbers of one kind: TorchScript does not take `[1, 2.5]`."""
    if kind is None:
        kind = max((type(number) for number in numbers_of(data)), key=(bool, int, float).index)
    return [as_lists(item, kind) for item in cast_list(data)] if isinstance(data, tuple) else kind(data)


# ----------------------------------------------------------------------------------------- shaped like another tensor


class _Like(Function):
    """One number everywhere, in the shape of `input`."""

    fill: ClassVar[Number]
    dtype: Dtype | None = None

    def infer(self, input: Tensor) -> Tensor:
        return input if self.dtype is None else input.with_dtype(self.dtype)

    def torch(self, input: Tensor) -> Any:
        return call(f"torch.{self.kind}", Arg(0), **named_dtype(self.dtype))

    def onnx(self, g: OnnxTarget, input: OnnxValue) -> OnnxValue:
        result = self.infer(tensor_of(input))
        return filled(g, Scalar(self.fill), result.shape, result.dtype)

    @classmethod
    def sample(cls, random: Random) -> Case:
        return Case(
            {"dtype": pick(random, (None, *CREATED))}, (tensor(random, 0, dtypes=("float32", "int64")),)
        )


@op
class ZerosLike(_Like):
    """Zeros in the shape of `input`.

    zeros_like : [N, 4] -> [N, 4]
    """

    kind = "zeros_like"
    fill = 0


@op
class OnesLike(_Like):
    """Ones in the shape of `input`.

    ones_like(dtype = "bool") : [N, 4] -> bool[N, 4]
    """

    kind = "ones_like"
    fill = 1
