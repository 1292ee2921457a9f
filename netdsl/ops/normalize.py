"""Functions that bring the values along axes to a common scale, as softmax and layer norm; and running sums."""

from __future__ import annotations

from random import Random
from typing import Any, ClassVar

from netdsl.ir.decide import DimMismatch, join
from netdsl.ir.types import Tensor
from netdsl.ops.axes import axis
from netdsl.ops.base import Case, Function, ShapeProblem, Size, op
from netdsl.ops.cases import any_axis, pick, shape, tensor
from netdsl.ops.onnx_parts import cast, tensor_of
from netdsl.ops.promotion import Dtype, category, mismatch_note, need_float
from netdsl.ops.reduce import named_dtype, vector_norm
from netdsl.ops.target import Arg, OnnxTarget, OnnxValue, call

EPSILON = {
    "float16": 2**-10,
    "bfloat16": 2**-7,
    "float32": 2**-23,
    "float64": 2**-52,
}  # torch.finfo(dtype).eps


class _Distribution(Function):
    """Along one axis; in another `dtype` where one is given."""

    positional = ("dim",)
    operator: ClassVar[str]
    dim: int
    dtype: Dtype | None = None

    def infer(self, input: Tensor) -> Tensor:
        axis(self.kind, self.dim, input)
        result = input.with_dtype(self.dtype or input.dtype)
        need_float(self.kind, result)
        return result

    def torch(self, input: Tensor) -> Any:
        return call(f"torch.{self.kind}", Arg(0), dim=self.dim, **named_dtype(self.dtype))

    def onnx(self, g: OnnxTarget, input: OnnxValue) -> OnnxValue:
        x = tensor_of(input)
        return g.op(self.operator, cast(g, input, self.dtype or x.dtype), axis=axis(self.kind, self.dim, x))

    @classmethod
    def sample(cls, random: Random) -> Case:
        x = tensor(random, dtypes=("float32", "float32", "float32", "int64"))
        return Case({"dim": any_axis(random, x.rank), "dtype": pick(random, (None, None, "float64"))}, (x,))


@op
class SoftmaxFunction(_Distribution):
    """Positive values that sum to 1 along axis `dim`, in the ratio of the exponentials.

    softmax(-1) : [N, 8, T, T] -> [N, 8, T, T]
    """

    kind = "softmax"
    operator = "Softmax"


@op
class LogSoftmaxFunction(_Distribution):
    """The logarithms of the softmax along axis `dim`.

    log_softmax(1) : [N, 10] -> [N, 10]
    """

    kind = "log_softmax"
    operator = "LogSoftmax"


@op
class Cumsum(Function):
    """The sum of all elements up to each one, along axis `dim`; of integers and bools it is int64.

    cumsum(1) : [N, T] -> [N, T]
    """

    kind = "cumsum"
    positional = ("dim",)
    dim: int
    dtype: Dtype | None = None

    def infer(self, input: Tensor) -> Tensor:
        axis(self.kind, self.dim, input)
        return input.with_dtype(self.result_dtype(input))

    def result_dtype(self, input: Tensor) -> str:
        return self.dtype or ("int64" if category(input.dtype) < 2 else input.dtype)

    def torch(self, input: Tensor) -> Any:
        return call("torch.cumsum", Arg(0), dim=self.dim, **named_dtype(self.dtype))

    def onnx(self, g: OnnxTarget, input: OnnxValue) -> OnnxValue:
        x = tensor_of(input)
        along = g.constant(axis(self.kind, self.dim, x), "int64")
        return g.op("CumSum", cast(g, input, self.result_dtype(x)), along)

    @classmethod
    def sample(cls, random: Random) -> Case:
        x = tensor(random, dtypes=("float32", "int64", "bool", "int32"))
        return Case({"dim": any_axis(random, x.rank), "dtype": pick(random, (None, None, "float32"))}, (x,))


@op
class Normalize(Function):
    """Vectors along axis `dim` divided by their length, or by `eps` where they are shorter.

    normalize(dim = -1) : [N, T, 64] -> [N, T, 64]
    """

    kind = "normalize"
    positional = ("p", "dim")
    p: float = 2.0
    dim: int = 1
    eps: float = 1e-12

    def infer(self, input: Tensor) -> Tensor:
        need_float(self.kind, input)
        axis(self.kind, self.dim, input)
        return input

    def torch(self, input: Tensor) -> Any:
        return call("F.normalize", Arg(0), **self.arguments())

    def onnx(self, g: OnnxTarget, input: OnnxValue) -> OnnxValue:
        x = tensor_of(input)
        dims = (axis(self.kind, self.dim, x),)
        length = vector_norm(g, input, self.p, dims, x.dtype, keepdim=True)
        return g.op("Div", input, g.op("Max", length, g.constant(self.eps, x.dtype)))

    @classmethod
    def sample(cls, random: Random) -> Case:
        x = tensor(random, 2, 4)
        dim = pick(random, (1, any_axis(random, x.rank)))
        return Case(
            {"p": pick(random, (2.0, 2.0, 1.0, 3.0)), "dim": dim, "eps": pick(random, (1e-12, 0.5))}, (x,)
        )


class _LastAxes(Function):
    """Works along the last axes, whose sizes are `normalized_shape`."""

    positional = ("normalized_shape",)
    normalized_shape: tuple[Size, ...]

    def check(self, input: Tensor, **learned: Tensor | None) -> int:
        """The first of the axes. Raises where sizes, or those of the weights, are others."""
        need_float(self.kind, input)
        first = input.rank - len(self.normalized_shape)
        if first < 0 or not self.normalized_shape:
            raise ShapeProblem(
                "E0401",
                f"`normalized_shape` of `{self.kind}` has {len(self.normalized_shape)} sizes, but its input has "
                f"{input.rank} axes",
                operand=0,
                label=f"this is {input}",
                argument="normalized_shape",
            )
        self._check_sizes(first, input)
        for number, (name, weight) in enumerate(learned.items(), 1):
            if isinstance(weight, Tensor):
                self._check_weight(name, number, weight, input)
        return first

    def _check_sizes(self, first: int, input: Tensor) -> None:
        for place, (size, wanted) in enumerate(
            zip(input.shape[first:], self.normalized_shape, strict=True), first
        ):
            try:
                join(size, wanted)
            except DimMismatch as mismatch:
                raise ShapeProblem(
                    "E0402",
                    f"`normalized_shape` of `{self.kind}` is not the end of its input's shape",
                    note=mismatch_note(place, size, wanted, mismatch),
                    operand=0,
                    label=f"this is {input}",
                    argument="normalized_shape",
                ) from None

    def _check_weight(self, name: str, number: int, weight: Tensor, input: Tensor) -> None:
        if weight.shape != self.normalized_shape:
            expected = Tensor(self.normalized_shape, input.dtype)
            raise ShapeProblem(
                "E0402",
                f"`{name}` of `{self.kind}` is {weight}, not {expected}",
                operand=number,
                label=f"this is {weight}",
            )
        if weight.dtype != input.dtype:
            raise ShapeProblem(
                "E0405",
                f"`{name}` of `{self.kind}` is {weight.dtype}, but its input is {input.dtype}",
                operand=number,
                label=f"this is {weight}",
            )

    @classmethod
    def sample(cls, random: Random) -> Case:
        x = shape(random, 1, 4)
        last = x[random.randrange(len(x)) :]
        eps = pick(random, ({}, {"eps": 0.1}))
        learned = random.randint(0, cls.most_weights)
        return Case({"normalized_shape": last, **eps}, (Tensor(x), *[Tensor(last)] * learned))

    most_weights: ClassVar[int]


@op
class LayerNormFunction(_LastAxes):
    """Brings the last axes, of the sizes `normalized_shape`, to mean 0 and variance 1; then scales and shifts.

    layer_norm([64]) : [N, T, 64] -> [N, T, 64]
    layer_norm([64]) : [N, T, 64], [64], [64] -> [N, T, 64]
    """

    kind = "layer_norm"
    most_weights = 2
    eps: float = 1e-5

    def infer(self, input: Tensor, weight: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        self.check(input, weight=weight, bias=bias)
        return input

    def torch(self, input: Tensor, weight: Tensor | None = None, bias: Tensor | None = None) -> Any:
        learned = {
            name: Arg(i) for i, (name, t) in enumerate((("weight", weight), ("bias", bias)), 1) if is_given(t)
        }
        more = {} if self.eps == 1e-5 else {"eps": self.eps}
        return call("F.layer_norm", Arg(0), self.normalized_shape, **learned, **more)

    def onnx(
        self, g: OnnxTarget, input: OnnxValue, weight: OnnxValue | None = None, bias: OnnxValue | None = None
    ) -> OnnxValue:
        x = tensor_of(input)
        first = x.rank - len(self.normalized_shape)
        scale = weight if isinstance(weight, OnnxValue) else g.constant(ones(self.normalized_shape), x.dtype)
        shift = (
            [bias] if isinstance(bias, OnnxValue) else []
        )  # onnxruntime crashes on a last input that is empty
        return g.op("LayerNormalization", input, scale, *shift, axis=first, epsilon=self.eps)


@op
class RMSNormFunction(_LastAxes):
    """Divides by the root mean square of the last axes, of the sizes `normalized_shape`; then scales.

    rms_norm([64]) : [N, T, 64], [64] -> [N, T, 64]
    """

    kind = "rms_norm"
    most_weights = 1
    eps: float | None = None

    def infer(self, input: Tensor, weight: Tensor | None = None) -> Tensor:
        self.check(input, weight=weight)
        return input

    def torch(self, input: Tensor, weight: Tensor | None = None) -> Any:
        learned = {"weight": Arg(1)} if is_given(weight) else {}
        more = {} if self.eps is None else {"eps": self.eps}
        return call("F.rms_norm", Arg(0), self.normalized_shape, **learned, **more)

    def onnx(self, g: OnnxTarget, input: OnnxValue, weight: OnnxValue | None = None) -> OnnxValue:
        x = tensor_of(input)
        last = g.constant(list(range(x.rank - len(self.normalized_shape), x.rank)), "int64")
        mean = g.op("ReduceMean", g.op("Mul", input, input), last, keepdims=True)
        eps = EPSILON[x.dtype] if self.eps is None else self.eps
        root = g.op("Sqrt", g.op("Add", mean, g.constant(eps, x.dtype)))
        value = g.op("Div", input, root)
        return g.op("Mul", value, weight) if isinstance(weight, OnnxValue) else value


def is_given(operand: Any) -> bool:
    """Whether an optional operand is there; one that is left out before another one is a literal `None`."""
    return isinstance(operand, Tensor)


def ones(sizes: tuple[int, ...]) -> Any:
    """Nested lists of ones."""
    return [ones(sizes[1:])] * sizes[0] if sizes else 1
