"""Pools with a sliding window: the maximum, the mean or the p-norm of its elements."""

from __future__ import annotations

import math
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import field_validator, model_validator

from netdsl.ir.dims import Dim, product
from netdsl.ir.types import Scalar, Tensor
from netdsl.ops.base import Case, ShapeProblem, op
from netdsl.ops.cases import pick
from netdsl.ops.onnx_parts import cast, reshaped, tensor_of
from netdsl.ops.padding import pad
from netdsl.ops.spatial import Counts, Sizes, Spatial, flat_pads
from netdsl.ops.target import OnnxTarget, OnnxValue


class Pool(Spatial):
    """A pool over the last `axes` axes, of floating-point numbers."""

    positional: ClassVar[tuple[str, ...]] = ("kernel_size",)

    def spatial(self, x: Tensor) -> tuple[Dim, ...]:
        sizes = super().spatial(x)
        if not x.is_float:
            raise ShapeProblem(
                "E0405",
                f"`{self.kind}` needs floating-point numbers, but its input is {x.dtype}",
                operand=0,
                label=f"this is {x}",
                help="convert it first: `-> to(float32)`",
            )
        return sizes

    @classmethod
    def sample_input(cls, random: Random, low: int = 3, high: int = 9) -> Tensor:
        extra = pick(random, (0,) * 18 + (1, 2))
        sizes = [random.randint(low, high) for _ in range(cls.axes + extra)]
        dtype = pick(random, ("float32",) * 18 + ("bool", "int64"))
        return Tensor((random.randint(1, 2), random.randint(1, 3), *sizes), dtype)


class _Window(Pool):
    """A pool that slides. The stride is the window's size where none is given."""

    averages: ClassVar[bool] = False

    if TYPE_CHECKING:  # each family has these in torch's order
        kernel_size: Sizes
        stride: Sizes | None

    @model_validator(mode="after")
    def _half_of_the_window_is_inside(self) -> _Window:
        for padding, kernel in zip(self.amounts("padding", 0), self.kernels, strict=True):
            if padding > kernel // 2:
                raise ValueError(f"`padding = {padding}` is more than half of `kernel_size = {kernel}`")
        return self

    def amounts(self, argument: str, default: int) -> tuple[int, ...]:
        """An argument that not all pools have, for each axis."""
        return self.per_axis(getattr(self, argument, default))

    @property
    def kernels(self) -> tuple[int, ...]:
        return self.per_axis(self.kernel_size)

    @property
    def strides(self) -> tuple[int, ...]:
        return self.kernels if self.stride is None else self.per_axis(self.stride)

    @property
    def pads(self) -> tuple[tuple[int, int], ...]:
        return tuple((amount, amount) for amount in self.amounts("padding", 0))

    def pooled(self, x: Tensor) -> Tensor:
        if self.axes == 3 and self.averages:  # where torch does not count the padding
            for size, kernel in zip(self.spatial(x), self.kernels, strict=True):
                self.present(x, size, size - kernel + 1)
        sizes = [self.present(x, size, self.places(axis, size)) for axis, size in enumerate(self.spatial(x))]
        return x.with_shape(*x.shape[:2], *sizes)

    def places(self, axis: int, size: Dim) -> Dim:
        """The number of places that the window has along an axis.

        With `ceil_mode` the last one may reach beyond the padding, but not begin in that after the axis.
        """
        stride, padding = self.strides[axis], self.amounts("padding", 0)[axis]
        room = 2 * padding - self.reach(axis) - 1
        if not getattr(self, "ceil_mode", False):
            return (size + room) // stride + 1
        return (size + min(room + 2 * stride - 1, padding + stride - 1)) // stride

    def reach(self, axis: int) -> int:
        """How far it is from the window's first element to its last."""
        return self.amounts("dilation", 1)[axis] * (self.kernels[axis] - 1)

    def window(self, x: Tensor) -> dict[str, Any]:
        """The attributes that all ONNX pools have."""
        return {
            "kernel_shape": list(self.kernels),
            "strides": list(self.strides),
            "ceil_mode": int(self.overhangs(x)),
        }

    def overhangs(self, x: Tensor) -> bool:
        """Whether the last window reaches beyond the padding, for some sizes."""
        if not getattr(self, "ceil_mode", False):
            return False
        return any(
            (size + 2 * padding[0] - self.reach(axis) - 1) % self.strides[axis] != 0
            for axis, (size, padding) in enumerate(zip(self.spatial(x), self.pads, strict=True))
        )

    def trimmed(self, g: OnnxTarget, value: OnnxValue, x: Tensor) -> OnnxValue:
        """`value` without the places that begin in the padding: a runtime may count them, torch does not."""
        if not self.overhangs(x):
            return value
        sizes = self.pooled(x).shape[2:]
        axes = list(range(2, 2 + self.axes))
        starts = g.constant([0] * self.axes, "int64")
        return g.op("Slice", value, starts, g.sizes(sizes), g.constant(axes, "int64"))

    @classmethod
    def sample_arguments(cls, random: Random) -> dict[str, Any]:
        """Windows that mostly fit the input, one number or one for each axis."""
        kernel = tuple(random.randint(1, 4) for _ in range(cls.axes))
        half = tuple(size // 2 for size in kernel)
        each = random.random() < 0.4
        some_half = half if each else half[0]
        return {
            "kernel_size": kernel if each else kernel[0],
            "stride": pick(random, (None, None, 1, 2, 3, tuple(random.randint(1, 3) for _ in kernel))),
            "padding": pick(random, (0, 0, some_half, some_half, 1, 2)),
            "ceil_mode": random.random() < 0.5,
        }


class _MaxPool(_Window):
    kernel_size: Sizes
    stride: Sizes | None = None
    padding: Counts = 0
    dilation: Sizes = 1
    return_indices: bool = False
    ceil_mode: bool = False

    @property
    def gives(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return (0, 1) if self.return_indices else None

    def infer(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        pooled = self.pooled(x)
        return (pooled, pooled.with_dtype("int64")) if self.return_indices else pooled

    def onnx(self, g: OnnxTarget, x: OnnxValue) -> Any:
        type = tensor_of(x)
        written = g.op(
            "MaxPool",
            x,
            results=2 if self.return_indices else 1,
            pads=flat_pads(self.pads),
            dilations=list(self.amounts("dilation", 1)),
            **self.window(type),
        )
        if not self.return_indices:
            return self.trimmed(g, written, type)
        largest, places = (self.trimmed(g, value, type) for value in written)
        # ONNX counts through the whole tensor, torch through each channel.
        return largest, g.op("Mod", places, g.size(product(type.shape[2:])))

    @classmethod
    def sample(cls, random: Random) -> Case:
        arguments = cls.sample_arguments(random)
        arguments["dilation"] = pick(random, (1, 1, 1, 2))
        arguments["return_indices"] = random.random() < 0.4
        return Case(arguments, (cls.sample_input(random),))


class _AvgPool(_Window):
    averages: ClassVar[bool] = True

    kernel_size: Sizes
    stride: Sizes | None = None
    padding: Counts = 0
    ceil_mode: bool = False
    count_include_pad: bool = True

    def infer(self, x: Tensor) -> Tensor:
        return self.pooled(x)

    @property
    def divisor(self) -> int | None:
        """What sums are divided by, where that is not the number of elements."""
        return getattr(self, "divisor_override", None)

    def onnx(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        type = tensor_of(x)
        window = self.window(type)
        if self.divisor is not None:
            return self.divided_sum(g, x, type)
        if not self.overhangs(type):
            include = int(self.count_include_pad)
            return g.op("AveragePool", x, pads=flat_pads(self.pads), count_include_pad=include, **window)
        # What overhangs never counts: the padding, where it does, becomes part of the input first.
        pads = [0] * 2 * self.axes if self.count_include_pad else flat_pads(self.pads)
        padded = pad(g, x, type.rank, self.pads, "constant") if self.count_include_pad else x
        return self.trimmed(g, g.op("AveragePool", padded, pads=pads, count_include_pad=0, **window), type)

    def divided_sum(self, g: OnnxTarget, x: OnnxValue, type: Tensor) -> OnnxValue:
        """Sums of windows over zeros around each channel: a convolution with the same number everywhere."""
        over = [stride - 1 if self.overhangs(type) else 0 for stride in self.strides]
        pads = tuple((before, after + more) for (before, after), more in zip(self.pads, over, strict=True))
        single = reshaped(g, x, (type.shape[0] * type.shape[1], 1, *type.shape[2:]))
        share = g.like(Scalar(1 / (self.divisor or 1)), x)
        weight = g.op("Expand", share, g.constant([1, 1, *self.kernels], "int64"))
        sums = g.op("Conv", single, weight, strides=list(self.strides), pads=flat_pads(pads))
        return reshaped(g, self.trimmed(g, sums, type), self.pooled(type).shape)

    @classmethod
    def sample(cls, random: Random) -> Case:
        arguments = cls.sample_arguments(random)
        arguments["count_include_pad"] = random.random() < 0.5
        if "divisor_override" in cls.model_fields:
            odd = 0 if random.random() < 0.2 else 5
            arguments["divisor_override"] = pick(random, (None, None, 2, 3, -1, odd))
        return Case(arguments, (cls.sample_input(random),))


class _DividedAvgPool(_AvgPool):
    divisor_override: int | None = None

    @model_validator(mode="after")
    def _no_division_by_zero(self) -> _DividedAvgPool:
        if self.divisor_override == 0:
            raise ValueError("`divisor_override` is 0")
        return self


class _LPPool(_Window):
    """As torch has it, `sum(x**p)**(1/p)`: odd powers of negative numbers are negative."""

    positional: ClassVar[tuple[str, ...]] = ("norm_type", "kernel_size")
    averages: ClassVar[bool] = True

    norm_type: float
    kernel_size: Sizes
    stride: Sizes | None = None
    ceil_mode: bool = False

    @model_validator(mode="after")
    def _a_power(self) -> _LPPool:
        if not 0 < abs(self.norm_type) < float("inf"):
            raise ValueError(f"`norm_type = {self.norm_type}` is not the power of a norm")
        return self

    def spatial(self, x: Tensor) -> tuple[Dim, ...]:
        return super().spatial(self.powers(x))

    def powers(self, x: Tensor) -> Tensor:
        """A power of an integer is a floating-point number."""
        return x if x.is_float else x.with_dtype("float32")

    def infer(self, x: Tensor) -> Tensor:
        return self.pooled(self.powers(x))

    def onnx(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        type = self.powers(tensor_of(x))
        x = cast(g, x, type.dtype)
        powers = x if self.norm_type == 1 else g.op("Pow", x, g.like(Scalar(self.norm_type), x))
        mean = g.op("AveragePool", powers, count_include_pad=0, **self.window(type))
        total = g.op("Mul", self.trimmed(g, mean, type), g.like(Scalar(float(math.prod(self.kernels))), x))
        return g.op("Pow", total, g.like(Scalar(1 / self.norm_type), x))

    @classmethod
    def sample(cls, random: Random) -> Case:
        arguments = cls.sample_arguments(random)
        del arguments["padding"]
        arguments["norm_type"] = pick(random, (1.0, 2.0, 2.0, 3.0, 4.0, 0.0))
        return Case(arguments, (cls.sample_input(random),))


@op
class MaxPool1d(_MaxPool):
    """The largest element of each window of a sequence.

    MaxPool1d(2) : [N, C, L] -> [N, C, L//2]
    MaxPool1d(3, ceil_mode = True, stride = 2) : [N, 8, 10] -> [N, 8, 5]
    """

    axes: ClassVar[int] = 1


@op
class MaxPool2d(_MaxPool):
    """The largest element of each window of an image.

    MaxPool2d(2) : [N, C, H, W] -> [N, C, H//2, W//2]
    MaxPool2d(3, stride = 2, padding = 1) : [N, 64, 112, 112] -> [N, 64, 56, 56]
    MaxPool2d(2, return_indices = True) : [N, 8, 4, 4] -> [N, 8, 2, 2], int64[N, 8, 2, 2]
    """

    axes: ClassVar[int] = 2


@op
class MaxPool3d(_MaxPool):
    """The largest element of each window of a volume.

    MaxPool3d(2) : [N, C, D, H, W] -> [N, C, D//2, H//2, W//2]
    """

    axes: ClassVar[int] = 3


@op
class AvgPool1d(_AvgPool):
    """The mean of each window of a sequence.

    AvgPool1d(2) : [N, C, L] -> [N, C, L//2]
    """

    axes: ClassVar[int] = 1


@op
class AvgPool2d(_DividedAvgPool):
    """The mean of each window of an image.

    AvgPool2d(2) : [N, C, H, W] -> [N, C, H//2, W//2]
    AvgPool2d(3, stride = 1, padding = 1) : [N, C, H, W] -> [N, C, H, W]
    """

    axes: ClassVar[int] = 2


@op
class AvgPool3d(_DividedAvgPool):
    """The mean of each window of a volume.

    AvgPool3d(2) : [N, C, D, H, W] -> [N, C, D//2, H//2, W//2]
    """

    axes: ClassVar[int] = 3


@op
class LPPool1d(_LPPool):
    """The `norm_type`-norm of each window of a sequence: 1 is its sum, large ones are near its maximum.

    LPPool1d(2.0, 2) : [N, C, L] -> [N, C, L//2]
    """

    axes: ClassVar[int] = 1

    @field_validator("kernel_size")
    @classmethod
    def _one_number(cls, value: int | tuple[int, ...]) -> int:
        if isinstance(value, tuple):
            raise ValueError("`kernel_size` of `LPPool1d` is one number, not a list")
        return value


@op
class LPPool2d(_LPPool):
    """The `norm_type`-norm of each window of an image: 1 is its sum, large ones are near its maximum.

    LPPool2d(2.0, 2) : [N, C, H, W] -> [N, C, H//2, W//2]
    """

    axes: ClassVar[int] = 2


@op
class LPPool3d(_LPPool):
    """The `norm_type`-norm of each window of a volume: 1 is its sum, large ones are near its maximum.

    LPPool3d(2.0, 2) : [N, C, D, H, W] -> [N, C, D//2, H//2, W//2]
    """

    axes: ClassVar[int] = 3
