"""Normalisations that know no batch: over groups of channels, the last axes or near channels."""

from __future__ import annotations

from abc import abstractmethod
from random import Random
from typing import Annotated, Any, ClassVar, TypeAlias

from pydantic import Field, model_validator

from netdsl.ir.dims import product
from netdsl.ir.types import Scalar, State, Tensor
from netdsl.ops.base import Case, Layer, ShapeProblem, Size, check_inferred, fixed, needs_float32, op
from netdsl.ops.cases import pick, shape
from netdsl.ops.onnx_parts import reshaped, tensor_of, unsqueezed
from netdsl.ops.target import Call, OnnxTarget, OnnxValue, call

Epsilon: TypeAlias = Annotated[float, Field(ge=0)]


class Norm(Layer):
    """What normalisations share: a learned scale and shift, and what to add to a variance."""

    def check_dtype(self, x: Tensor) -> None:
        """Weights are float32, so their input is; without any it may be wider or narrower."""
        if x.dtype != "float32" and (self.parameters_of(1) or not x.is_float):
            needs_float32(self.kind, x)

    @abstractmethod
    def parameters_of(self, channels: int) -> dict[str, State]:
        """The layer's tensors for a number of channels."""

    def scaled(self, g: OnnxTarget, x: OnnxValue, axes: int, names: dict[str, State]) -> OnnxValue:
        """`x` times the weight plus the bias, whose channels stand before the last `axes` axes."""
        for name, kind in (("weight", "Mul"), ("bias", "Add")):
            if name in names:
                x = g.op(kind, x, unsqueezed(g, g.state(name), *range(1, axes + 1)))
        return x


def affine(names: bool, bias: bool, sizes: tuple[int, ...]) -> dict[str, State]:
    """`weight` and `bias` of `sizes`, where there are any."""
    found = {"weight": State(sizes)} if names else {}
    return {**found, "bias": State(sizes)} if names and bias else found


def standardised(g: OnnxTarget, x: OnnxValue, axes: list[int], epsilon: float) -> OnnxValue:
    """`x` less its mean, divided by its standard deviation, over `axes`."""
    along = g.constant(axes, "int64")
    centred = g.op("Sub", x, g.op("ReduceMean", x, along, keepdims=1))
    variance = g.op("ReduceMean", g.op("Mul", centred, centred), along, keepdims=1)
    return g.op("Div", centred, g.op("Sqrt", g.op("Add", variance, g.like(Scalar(epsilon), x))))


@op
class GroupNorm(Norm):
    """Give each of `num_groups` groups of channels of each image mean 0 and variance 1, then scale and shift.

    GroupNorm(8) : [N, 64, H, W] -> [N, 64, H, W]
    GroupNorm(1) : [N, 16] -> [N, 16]
    """

    positional: ClassVar[tuple[str, ...]] = ("num_groups",)
    inferred: ClassVar[tuple[str, ...]] = ("num_channels",)

    num_groups: Size
    eps: Epsilon = 1e-5
    affine: bool = True
    bias: bool = True
    num_channels: Size | None = None

    def channels(self, x: Tensor) -> int:
        if x.rank < 2:
            raise ShapeProblem(
                "E0401",
                f"`{self.kind}` needs at least 2 axes, [N, C, ...], but the input has {x.rank}",
                operand=0,
                label=f"this is {x}",
            )
        self.check_dtype(x)
        channels = fixed(x.shape[1], "channels", self.kind)
        check_inferred(self.kind, "num_channels", self.num_channels, channels)
        if channels % self.num_groups:
            raise ShapeProblem(
                "E0406",
                f"`num_groups = {self.num_groups}` does not divide the {channels} channels of `{self.kind}`",
                argument="num_groups",
                operand=0,
                label=f"this is {x}",
            )
        values = product((x.shape[0], *x.shape[2:])) * (channels // self.num_groups)
        if isinstance(values, int) and values == 1:  # torch counts the batch here
            raise ShapeProblem(
                "E0404",
                f"`{self.kind}` has a single value in each group to take the variance of",
                operand=0,
                label=f"this is {x}",
            )
        return channels

    def infer(self, x: Tensor) -> Tensor:
        self.channels(x)
        return x

    def parameters(self, x: Tensor) -> dict[str, State]:
        return self.parameters_of(self.channels(x))

    def parameters_of(self, channels: int) -> dict[str, State]:
        return affine(self.affine, self.bias, (channels,))

    def module(self, x: Tensor) -> Call:
        given = self.arguments()
        given.pop("num_channels", None)
        return call("nn.GroupNorm", given.pop("num_groups"), self.channels(x), **given)

    def onnx(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        type = tensor_of(x)
        groups = g.op("Reshape", x, g.constant([0, self.num_groups, -1], "int64"))
        if type.dtype == "float32":
            scale, shift = (g.constant([value] * self.num_groups, "float32") for value in (1.0, 0.0))
            standard = g.op("InstanceNormalization", groups, scale, shift, epsilon=self.eps)
        else:
            standard = standardised(g, groups, [2], self.eps)
        back = g.op("Reshape", standard, g.op("Shape", x))
        return self.scaled(g, back, type.rank - 2, self.parameters(type))

    @classmethod
    def sample(cls, random: Random) -> Case:
        groups = random.randint(1, 3)
        arguments = {"num_groups": groups, "affine": random.random() < 0.6, "bias": random.random() < 0.8}
        channels = groups * random.randint(1, 3) + (1 if random.random() < 0.1 else 0)
        rest = shape(random, 0, 3)
        x = (random.randint(1, 3), channels, *rest) if random.random() < 0.95 else (channels,)
        return Case(arguments, (Tensor(x, pick(random, ("float32",) * 12 + ("int64", "float64"))),))


class _LastAxes(Norm):
    """Normalisation over the last axes, which are `normalized_shape`: the last one where nothing is said."""

    inferred: ClassVar[tuple[str, ...]] = ("normalized_shape",)

    def normalized(self, x: Tensor) -> tuple[int, ...]:
        """The sizes of the axes that are normalised."""
        written = self.written
        if x.rank < max(len(written or ()), 1):
            raise ShapeProblem(
                "E0401",
                f"`{self.kind}` needs at least {max(len(written or ()), 1)} axes, but the input has {x.rank}",
                operand=0,
                label=f"this is {x}",
            )
        self.check_dtype(x)
        count = 1 if written is None else len(written)
        found = tuple(fixed(size, "features", self.kind) for size in x.shape[x.rank - count :])
        if written is not None and written != found:
            sizes = "[" + ", ".join(map(str, written)) + "]"
            raise ShapeProblem(
                "E0410",
                f"`normalized_shape = {sizes}`, but the input of `{self.kind}` ends in {list(found)}",
                argument="normalized_shape",
                label=f"the input ends in {list(found)}",
                help="leave `normalized_shape` out to normalise the last axis" if count == 1 else None,
            )
        return found

    @property
    def written(self) -> tuple[int, ...] | None:
        value: int | tuple[int, ...] | None = getattr(self, "normalized_shape", None)
        return (value,) if isinstance(value, int) else value

    def inferred_sizes(self, x: Tensor) -> tuple[Any, ...]:
        sizes = self.normalized(x)
        return (sizes[0] if len(sizes) == 1 else sizes,)

    def infer(self, x: Tensor) -> Tensor:
        self.normalized(x)
        return x

    @classmethod
    def sample_input(cls, random: Random) -> tuple[dict[str, Any], Tensor]:
        sizes = shape(random, 0 if random.random() < 0.05 else 1, 4)
        count = random.randint(1, 2)
        arguments: dict[str, Any] = {}
        if random.random() < 0.4 and len(sizes) >= count:
            arguments["normalized_shape"] = sizes[len(sizes) - count :]
        elif random.random() < 0.1:
            arguments["normalized_shape"] = pick(random, (7, (2, 3)))
        return arguments, Tensor(sizes, pick(random, ("float32",) * 12 + ("int64", "float64")))


@op
class LayerNorm(_LastAxes):
    """Give the last axes mean 0 and variance 1, then scale and shift them by what is learned.

    LayerNorm : [N, T, 64] -> [N, T, 64]
    LayerNorm(normalized_shape = [8, 8], bias = False) : [N, 4, 8, 8] -> [N, 4, 8, 8]
    """

    eps: Epsilon = 1e-5
    elementwise_affine: bool = True
    bias: bool = True
    normalized_shape: Size | tuple[Size, ...] | None = None

    @model_validator(mode="after")
    def _some_axis(self) -> LayerNorm:
        if self.normalized_shape == ():
            raise ValueError("`normalized_shape` is empty")
        return self

    def parameters(self, x: Tensor) -> dict[str, State]:
        return affine(self.elementwise_affine, self.bias, self.normalized(x))

    def parameters_of(self, channels: int) -> dict[str, State]:
        return affine(self.elementwise_affine, self.bias, (channels,))

    def onnx(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        type = tensor_of(x)
        sizes, names = self.normalized(type), self.parameters(type)
        weight = g.state("weight") if names else g.op("Expand", g.constant(1.0, type.dtype), g.sizes(sizes))
        bias = [g.state("bias")] if "bias" in names else []
        return g.op("LayerNormalization", x, weight, *bias, axis=-len(sizes), epsilon=self.eps)

    @classmethod
    def sample(cls, random: Random) -> Case:
        arguments, x = cls.sample_input(random)
        more = {"eps": pick(random, (1e-5, 1e-3)), "bias": random.random() < 0.7}
        return Case({**arguments, **more, "elementwise_affine": random.random() < 0.7}, (x,))


@op
class RMSNorm(_LastAxes):
    """Give the last axes a mean square of 1, then scale them by what is learned.

    RMSNorm : [N, T, 64] -> [N, T, 64]
    RMSNorm(eps = 1e-6) : [N, 4096] -> [N, 4096]

    Without `eps` the smallest step of the input's dtype is added to the mean square.
    """

    eps: Epsilon | None = None
    elementwise_affine: bool = True
    normalized_shape: Size | tuple[Size, ...] | None = None

    @model_validator(mode="after")
    def _some_axis(self) -> RMSNorm:
        if self.normalized_shape == ():
            raise ValueError("`normalized_shape` is empty")
        return self

    def parameters(self, x: Tensor) -> dict[str, State]:
        return affine(self.elementwise_affine, False, self.normalized(x))

    def parameters_of(self, channels: int) -> dict[str, State]:
        return affine(self.elementwise_affine, False, (channels,))

    def onnx(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        type = tensor_of(x)
        axes = g.constant([-place for place in range(len(self.normalized(type)), 0, -1)], "int64")
        epsilon = _SMALLEST[type.dtype] if self.eps is None else self.eps
        mean = g.op("ReduceMean", g.op("Mul", x, x), axes, keepdims=1)
        root = g.op("Sqrt", g.op("Add", mean, g.like(Scalar(epsilon), x)))
        standard = g.op("Div", x, root)
        return g.op("Mul", standard, g.state("weight")) if self.elementwise_affine else standard

    @classmethod
    def sample(cls, random: Random) -> Case:
        arguments, x = cls.sample_input(random)
        more = {"eps": pick(random, (None, 1e-5, 1e-3)), "elementwise_affine": random.random() < 0.7}
        return Case({**arguments, **more}, (x,))


_SMALLEST = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}


@op
class LocalResponseNorm(Layer):
    """Divide each channel by what it and its `size` neighbours sum up to, `(k + alpha*mean(x**2))**beta`.

    LocalResponseNorm(5) : [N, 96, H, W] -> [N, 96, H, W]
    """

    positional: ClassVar[tuple[str, ...]] = ("size",)

    size: Size
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    def infer(self, x: Tensor) -> Tensor:
        if x.rank < 3:
            raise ShapeProblem(
                "E0401",
                f"`{self.kind}` needs at least 3 axes, [N, C, ...], but the input has {x.rank}",
                operand=0,
                label=f"this is {x}",
            )
        if not x.is_float:
            needs_float32(self.kind, x)
        return x

    def onnx(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        type = tensor_of(x)
        if type.rank == 4 and self.size % 2:
            return g.op("LRN", x, size=self.size, alpha=self.alpha, beta=self.beta, bias=self.k)
        squares = reshaped(g, g.op("Mul", x, x), (type.shape[0], 1, type.shape[1], product(type.shape[2:])))
        before, after = self.size // 2, (self.size - 1) // 2
        pads = g.constant([0, 0, before, 0, 0, 0, after, 0], "int64")
        mean = g.op("AveragePool", g.op("Pad", squares, pads), kernel_shape=[self.size, 1], strides=[1, 1])
        sums = g.op("Add", g.op("Mul", mean, g.like(Scalar(self.alpha), x)), g.like(Scalar(self.k), x))
        divisor = g.op("Pow", reshaped(g, sums, type.shape), g.like(Scalar(self.beta), x))
        return g.op("Div", x, divisor)

    @classmethod
    def sample(cls, random: Random) -> Case:
        arguments = {
            "size": random.randint(1, 5),
            "alpha": pick(random, (1e-4, 0.5)),
            "beta": pick(random, (0.75, 0.5)),
            "k": pick(random, (1.0, 2.0)),
        }
        sizes = shape(random, 2 if random.random() < 0.1 else 3, 5)
        return Case(arguments, (Tensor(sizes, "bool" if random.random() < 0.05 else "float32"),))
