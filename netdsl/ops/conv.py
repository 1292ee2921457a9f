"""Convolutions over 1, 2 and 3 axes, and their transposes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import model_validator

from netdsl.ir.dims import Dim, product
from netdsl.ir.types import State, Tensor
from netdsl.ops.base import Case, ShapeProblem, Size, check_inferred, fixed, needs_float32, op
from netdsl.ops.cases import pick
from netdsl.ops.padding import pad, padded_sizes
from netdsl.ops.spatial import Counts, Sizes, Spatial, flat_pads
from netdsl.ops.target import OnnxTarget, OnnxValue


class _AnyConv(Spatial):
    """What convolutions and their transposes share."""

    positional: ClassVar[tuple[str, ...]] = ("out_channels", "kernel_size")
    inferred: ClassVar[tuple[str, ...]] = ("in_channels",)
    linear: ClassVar[bool] = True
    fresh: ClassVar[bool] = True

    if TYPE_CHECKING:  # the two families have these in torch's order, which differs
        out_channels: Size
        kernel_size: Sizes
        stride: Sizes
        dilation: Sizes
        groups: Size
        bias: bool
        in_channels: Size | None

    def channels(self, x: Tensor) -> int:
        """The input's channels, once everything but its sizes is known to fit."""
        self.spatial(x)
        needs_float32(self.kind, x)
        channels = fixed(x.shape[1], "channels", self.kind)
        check_inferred(self.kind, "in_channels", self.in_channels, channels)
        for name, value in (("input", channels), ("output", self.out_channels)):
            if value % self.groups:
                raise ShapeProblem(
                    "E0406",
                    f"`groups = {self.groups}` does not divide the {value} {name} channels of `{self.kind}`",
                    argument="groups",
                    operand=0,
                    label=f"this is {x}",
                )
        return channels

    def inferred_sizes(self, x: Tensor) -> tuple[int, ...]:
        return (self.channels(x),)

    def parameters(self, x: Tensor) -> dict[str, State]:
        weight = State((*self.filters(self.channels(x)), *self.per_axis(self.kernel_size)))
        return {"weight": weight, "bias": State((self.out_channels,))} if self.bias else {"weight": weight}

    @abstractmethod
    def filters(self, channels: int) -> tuple[int, int]:
        """The first two axes of the weight."""

    def written(self, g: OnnxTarget, kind: str, x: OnnxValue, pads: Sequence[int], **more: Any) -> OnnxValue:
        """The ONNX operation, which has the same layout of weights."""
        return g.op(
            kind,
            x,
            g.state("weight"),
            *([g.state("bias")] if self.bias else []),
            kernel_shape=list(self.per_axis(self.kernel_size)),
            strides=list(self.per_axis(self.stride)),
            dilations=list(self.per_axis(self.dilation)),
            pads=list(pads),
            group=self.groups,
            **more,
        )

    @classmethod
    def sample_arguments(cls, random: Random) -> tuple[dict[str, Any], Tensor]:
        """Arguments but for the padding, and an input; sometimes groups do not divide."""
        groups = pick(random, (1, 1, 1, 2, 3))
        odd = random.random() < 0.1
        kernel = tuple(pick(random, (1, 2, 3, 3)) for _ in range(cls.axes))
        arguments: dict[str, Any] = {
            "out_channels": groups * random.randint(1, 3) + odd,
            "kernel_size": kernel if random.random() < 0.5 else kernel[0],
            "stride": pick(random, (1, 1, 2, 3, tuple(random.randint(1, 3) for _ in range(cls.axes)))),
            "dilation": pick(random, (1, 1, 1, 2, tuple(random.randint(1, 2) for _ in range(cls.axes)))),
            "groups": groups,
            "bias": random.random() < 0.6,
        }
        sizes = [random.randint(3, 8) for _ in range(cls.axes)]
        shape = (random.randint(1, 2), groups * random.randint(1, 2), *sizes)
        if random.random() < 0.06:
            shape = (*shape, 3)
        return arguments, Tensor(shape, "int64" if random.random() < 0.04 else "float32")


class _Conv(_AnyConv):
    """A convolution. Sizes become `(size + 2*padding - dilation*(kernel_size - 1) - 1)//stride + 1`."""

    out_channels: Size
    kernel_size: Sizes
    stride: Sizes = 1
    padding: Literal["same", "valid"] | Counts = 0
    dilation: Sizes = 1
    groups: Size = 1
    bias: bool = True
    padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros"
    in_channels: Size | None = None

    @model_validator(mode="after")
    def _same_goes_without_stride(self) -> _Conv:
        if self.padding == "same" and set(self.per_axis(self.stride)) != {1}:
            raise ValueError('`padding = "same"` keeps the sizes, which a `stride` above 1 does not')
        return self

    def infer(self, x: Tensor) -> Tensor:
        self.channels(x)
        if self.padding_mode != "zeros":
            padded_sizes(self.kind, self.padding_mode, x, self.pads())
        return x.with_shape(x.shape[0], self.out_channels, *(self.slid(x, axis) for axis in range(self.axes)))

    def slid(self, x: Tensor, axis: int) -> Dim:
        """The number of places that the kernel has along an axis."""
        size = x.shape[2 + axis]
        reach = self.reach(axis)
        before, after = self.pads()[axis]
        stride = self.per_axis(self.stride)[axis]
        return self.present(x, size, (size + before + after - reach - 1) // stride + 1)

    def reach(self, axis: int) -> int:
        """How far it is from the kernel's first element to its last."""
        return self.per_axis(self.dilation)[axis] * (self.per_axis(self.kernel_size)[axis] - 1)

    def pads(self) -> tuple[tuple[int, int], ...]:
        """What is added before and after each axis; an odd amount of "same" has the larger half after it."""
        if self.padding == "same":
            reaches = map(self.reach, range(self.axes))
            return tuple((reach // 2, reach - reach // 2) for reach in reaches)
        padding = 0 if isinstance(self.padding, str) else self.padding
        return tuple((amount, amount) for amount in self.per_axis(padding))

    def filters(self, channels: int) -> tuple[int, int]:
        return self.out_channels, channels // self.groups

    def onnx(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        if self.padding_mode == "zeros":
            return self.written(g, "Conv", x, flat_pads(self.pads()))
        padded = pad(g, x, self.axes + 2, self.pads(), self.padding_mode)
        return self.written(g, "Conv", padded, [0] * 2 * self.axes)

    def cost(self, x: Tensor) -> Dim:
        per_output = product(self.per_axis(self.kernel_size)) * (self.channels(x) // self.groups)
        return product(self.infer(x).shape) * per_output

    @classmethod
    def sample(cls, random: Random) -> Case:
        arguments, x = cls.sample_arguments(random)
        arguments["padding"] = pick(random, (0, 1, 2, "same", "valid", (1,) * cls.axes))
        if arguments["padding"] == "same" and random.random() < 0.8:
            arguments["stride"] = 1
        if random.random() < 0.4:
            arguments["padding_mode"] = pick(random, ("reflect", "replicate", "circular"))
        return Case(arguments, (x,))


class _ConvTranspose(_AnyConv):
    """A transposed convolution. Sizes become
    `(size - 1)*stride - 2*padding + dilation*(kernel_size - 1) + output_padding + 1`.
    """

    out_channels: Size
    kernel_size: Sizes
    stride: Sizes = 1
    padding: Counts = 0
    output_padding: Counts = 0
    groups: Size = 1
    bias: bool = True
    dilation: Sizes = 1
    padding_mode: Literal["zeros"] = "zeros"
    in_channels: Size | None = None

    def infer(self, x: Tensor) -> Tensor:
        self.channels(x)
        return x.with_shape(
            x.shape[0], self.out_channels, *(self.spread(x, axis) for axis in range(self.axes))
        )

    def spread(self, x: Tensor, axis: int) -> Dim:
        """The number of places that the kernels of all elements along an axis cover."""
        stride, padding, dilation, kernel, extra = (
            self.per_axis(value)[axis]
            for value in (self.stride, self.padding, self.dilation, self.kernel_size, self.output_padding)
        )
        if extra >= max(stride, dilation):
            raise ShapeProblem(
                "E0404",
                f"`output_padding = {extra}` of `{self.kind}` is not below its `stride` or its `dilation`: "
                "no element of the input reaches there",
                argument="output_padding",
            )
        size = x.shape[2 + axis]
        after = (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + extra + 1
        return self.present(x, size, after, "padding")

    def filters(self, channels: int) -> tuple[int, int]:
        return channels, self.out_channels // self.groups

    def onnx(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        pads = flat_pads(tuple((amount, amount) for amount in self.per_axis(self.padding)))
        # Runtimes take an output padding below the stride only; another zero in the input makes a stride of it.
        extra = zip(self.per_axis(self.output_padding), self.per_axis(self.stride), strict=True)
        zeros, rest = zip(*(divmod(amount, stride) for amount, stride in extra), strict=True)
        x = pad(g, x, self.axes + 2, [(0, amount) for amount in zeros], "constant")
        return self.written(g, "ConvTranspose", x, pads, output_padding=list(rest))

    def cost(self, x: Tensor) -> Dim:
        per_input = product(self.per_axis(self.kernel_size)) * (self.out_channels // self.groups)
        return product((x.shape[0], self.channels(x), *x.shape[2:])) * per_input

    @classmethod
    def sample(cls, random: Random) -> Case:
        arguments, x = cls.sample_arguments(random)
        arguments["padding"] = pick(random, (0, 0, 1, 2, (1,) * cls.axes))
        arguments["output_padding"] = pick(random, (0, 0, 0, 1, (1,) * cls.axes))
        return Case(arguments, (x,))


@op
class Conv1d(_Conv):
    """Slide learned filters of `kernel_size` over a sequence.

    Conv1d(8, 3, padding = 1) : [N, 3, L] -> [N, 8, L]
    Conv1d(8, 3, stride = 2) : [N, 3, 28] -> [N, 8, 13]
    """

    axes: ClassVar[int] = 1


@op
class Conv2d(_Conv):
    """Slide learned filters of `kernel_size` over an image.

    Conv2d(8, 3, padding = 1) : [N, 3, H, W] -> [N, 8, H, W]
    Conv2d(8, 3, stride = 2) : [N, 3, 28, 28] -> [N, 8, 13, 13]
    Conv2d(8, [3, 1], padding = "same", dilation = 2) : [N, 3, H, W] -> [N, 8, H, W]
    """

    axes: ClassVar[int] = 2


@op
class Conv3d(_Conv):
    """Slide learned filters of `kernel_size` over a volume.

    Conv3d(8, 3, padding = 1) : [N, 3, D, H, W] -> [N, 8, D, H, W]
    Conv3d(8, 3, stride = 2) : [N, 3, 28, 28, 28] -> [N, 8, 13, 13, 13]
    """

    axes: ClassVar[int] = 3


@op
class ConvTranspose1d(_ConvTranspose):
    """Spread each element of a sequence by a learned filter: the reverse of `Conv1d` in sizes.

    ConvTranspose1d(8, 2, stride = 2) : [N, 16, L] -> [N, 8, 2*L]
    ConvTranspose1d(8, 3, stride = 2, padding = 1, output_padding = 1) : [N, 4, L] -> [N, 8, 2*L]
    """

    axes: ClassVar[int] = 1


@op
class ConvTranspose2d(_ConvTranspose):
    """Spread each element of an image by a learned filter: the reverse of `Conv2d` in sizes.

    ConvTranspose2d(8, 2, stride = 2) : [N, 16, H, W] -> [N, 8, 2*H, 2*W]
    ConvTranspose2d(8, 3, stride = 2, padding = 1, output_padding = 1) : [N, 4, H, W] -> [N, 8, 2*H, 2*W]
    """

    axes: ClassVar[int] = 2


@op
class ConvTranspose3d(_ConvTranspose):
    """Spread each element of a volume by a learned filter: the reverse of `Conv3d` in sizes.

    ConvTranspose3d(8, 2, stride = 2) : [N, 16, D, H, W] -> [N, 8, 2*D, 2*H, 2*W]
    ConvTranspose3d(8, 3, stride = 2, padding = 1, output_padding = 1) : [N, 4, 7, 7, 7] -> [N, 8, 14, 14, 14]
    """

    axes: ClassVar[int] = 3
