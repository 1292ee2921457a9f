"""Layers that only move elements: windows and columns, channels and pixels, axes joined and cut."""

from __future__ import annotations

from abc import abstractmethod
from random import Random
from typing import TYPE_CHECKING, ClassVar

from pydantic import model_validator

from netdsl.ir.decide import DimMismatch, join
from netdsl.ir.dims import Dim, exact_div, product
from netdsl.ir.types import Tensor
from netdsl.ops.axes import axis
from netdsl.ops.base import Case, Layer, ShapeProblem, Size, op
from netdsl.ops.cases import any_axis, pick, shape
from netdsl.ops.onnx_parts import reshaped, tensor_of, transposed
from netdsl.ops.padding import pad
from netdsl.ops.promotion import mismatch_note
from netdsl.ops.spatial import Counts, Sizes, Spatial, flat_pads
from netdsl.ops.target import OnnxTarget, OnnxValue


def divided(kind: str, x: Tensor, place: int, by: int, argument: str) -> Dim:
    """The size of axis `place` divided by `by`, which must divide it."""
    size = x.shape[place]
    part = exact_div(size, by)
    if part is not None:
        return part
    try:
        join(size, by * (size // by))
    except DimMismatch as mismatch:
        raise ShapeProblem(
            "E0406",
            f"`{kind}` cuts axis {place % x.rank} in parts of {by}, which does not divide {size}",
            operand=0,
            label=f"this is {x}",
            argument=argument,
            note=mismatch_note(place % x.rank, size, by * (size // by), mismatch),
        ) from None
    return size // by


def at_least_axes(kind: str, x: Tensor, count: int, names: str) -> None:
    if x.rank < count:
        raise ShapeProblem(
            "E0401",
            f"`{kind}` needs at least {count} axes, {names}, but the input has {x.rank}",
            operand=0,
            label=f"this is {x}",
        )


@op
class Identity(Layer):
    """The input, unchanged.

    Identity : [N, C] -> [N, C]
    """

    elementwise: ClassVar[bool] = True

    def infer(self, x: Tensor) -> Tensor:
        return x

    def onnx(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        return g.op("Identity", x)

    @classmethod
    def sample(cls, random: Random) -> Case:
        return Case({}, (Tensor(shape(random, 0, 4), pick(random, ("float32", "int64", "bool"))),))


@op
class Flatten(Layer):
    """Join the axes from `start_dim` to `end_dim` into one.

    Flatten : [N, 16, 4, 4] -> [N, 256]
    Flatten(2) : [N, C, H, W] -> [N, C, H*W]
    Flatten(0, 1) : [N, T, 64] -> [N*T, 64]
    """

    positional: ClassVar[tuple[str, ...]] = ("start_dim", "end_dim")

    start_dim: int = 1
    end_dim: int = -1

    def infer(self, x: Tensor) -> Tensor:
        if not x.rank and {self.start_dim, self.end_dim} <= {0, -1}:
            return x.with_shape(1)
        start = axis(self.kind, self.start_dim, x, argument="start_dim")
        end = axis(self.kind, self.end_dim, x, argument="end_dim")
        if start > end:
            raise ShapeProblem(
                "E0407",
                f"`start_dim` of `{self.kind}` is axis {start}, which comes after its `end_dim`, axis {end}",
                operand=0,
                label=f"this is {x}",
            )
        return x.with_shape(*x.shape[:start], product(x.shape[start : end + 1]), *x.shape[end + 1 :])

    def onnx(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        type = tensor_of(x)
        if type.rank > 1 and (self.start_dim % type.rank, self.end_dim % type.rank) == (1, type.rank - 1):
            return g.op("Flatten", x, axis=1)
        return reshaped(g, x, self.infer(type).shape)

    @classmethod
    def sample(cls, random: Random) -> Case:
        sizes = shape(random, 0, 4)
        start, end = sorted(random.randint(0, max(len(sizes) - 1, 0)) for _ in range(2))
        arguments = pick(
            random, ({}, {"start_dim": start, "end_dim": end}, {"start_dim": start}, {"end_dim": 3})
        )
        return Case(arguments, (Tensor(sizes, pick(random, ("float32", "float32", "int64"))),))


@op
class Unflatten(Layer):
    """Cut axis `dim` into axes of the sizes `unflattened_size`, one of which may be -1: what is left.

    Unflatten(1, [16, 4, 4]) : [N, 256] -> [N, 16, 4, 4]
    Unflatten(-1, [8, -1]) : [N, T, 64] -> [N, T, 8, 8]
    """

    positional: ClassVar[tuple[str, ...]] = ("dim", "unflattened_size")

    dim: int
    unflattened_size: tuple[int, ...]

    @model_validator(mode="after")
    def _sizes_or_what_is_left(self) -> Unflatten:
        sizes = self.unflattened_size
        if not sizes:
            raise ValueError("`unflattened_size` is empty")
        if sizes.count(-1) > 1:
            raise ValueError("`unflattened_size` has -1, for what is left, more than once")
        if any(size < 1 and size != -1 for size in sizes):
            raise ValueError("`unflattened_size` takes positive sizes, and one -1 for what is left")
        return self

    def infer(self, x: Tensor) -> Tensor:
        place = axis(self.kind, self.dim, x)
        known = [size for size in self.unflattened_size if size != -1]
        rest = 1
        if -1 in self.unflattened_size:
            rest = divided(self.kind, x, place, int(product(known)), "unflattened_size")  # type: ignore[arg-type]
        else:
            self.check_product(x, place, product(known))
        sizes = [rest if size == -1 else size for size in self.unflattened_size]
        return x.with_shape(*x.shape[:place], *sizes, *x.shape[place + 1 :])

    def check_product(self, x: Tensor, place: int, together: Dim) -> None:
        try:
            join(x.shape[place], together)
        except DimMismatch as mismatch:
            raise ShapeProblem(
                "E0406",
                f"`{self.kind}` makes {together} elements of axis {place}, which has {x.shape[place]}",
                argument="unflattened_size",
                operand=0,
                label=f"this is {x}",
                note=mismatch_note(place, x.shape[place], together, mismatch),
            ) from None

    def onnx(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        return reshaped(g, x, self.infer(tensor_of(x)).shape)

    @classmethod
    def sample(cls, random: Random) -> Case:
        parts = [random.randint(1, 3) for _ in range(random.randint(1, 3))]
        sizes = list(shape(random, 1, 3))
        dim = any_axis(random, len(sizes)) if random.random() < 0.95 else 5
        if dim < len(sizes):
            sizes[dim] = int(product(parts))  # type: ignore[arg-type]
        if random.random() < 0.5:
            parts[random.randrange(len(parts))] = pick(random, (-1, -1, 2))
        return Case({"dim": dim, "unflattened_size": tuple(parts)}, (Tensor(tuple(sizes)),))


class _Rearranged(Layer):
    """A layer that cuts axes, changes their order and joins some: `steps` gives the three."""

    @abstractmethod
    def steps(self, x: Tensor) -> tuple[tuple[Dim, ...], list[int], tuple[Dim, ...]]:
        """The axes cut, their new order, and the shape of the result."""

    def infer(self, x: Tensor) -> Tensor:
        return x.with_shape(*self.steps(x)[2])

    def onnx(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        cut, order, joined = self.steps(tensor_of(x))
        return reshaped(g, transposed(g, reshaped(g, x, cut), order), joined)


@op
class PixelShuffle(_Rearranged):
    """Spread groups of channels over blocks of pixels, so that an image gets `upscale_factor` times as large.

    PixelShuffle(2) : [N, 64, H, W] -> [N, 16, 2*H, 2*W]
    """

    positional: ClassVar[tuple[str, ...]] = ("upscale_factor",)

    upscale_factor: Size

    def steps(self, x: Tensor) -> tuple[tuple[Dim, ...], list[int], tuple[Dim, ...]]:
        at_least_axes(self.kind, x, 3, "[..., C, H, W]")
        r, batch = self.upscale_factor, x.shape[:-3]
        channels = divided(self.kind, x, -3, r * r, "upscale_factor")
        height, width = x.shape[-2:]
        order = [*range(len(batch)), *(len(batch) + place for place in (0, 3, 1, 4, 2))]
        return (*batch, channels, r, r, height, width), order, (*batch, channels, r * height, r * width)

    def onnx(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        type = tensor_of(x)
        if type.rank == 4 and type.dtype == "float32":
            return g.op("DepthToSpace", x, blocksize=self.upscale_factor, mode="CRD")
        return super().onnx(g, x)

    @classmethod
    def sample(cls, random: Random) -> Case:
        r = random.randint(1, 3)
        channels = r * r * random.randint(1, 2) + (1 if random.random() < 0.1 else 0)
        sizes = (*shape(random, 0, 2), channels, random.randint(1, 3), random.randint(1, 3))
        dtype = pick(random, ("float32", "float32", "int64"))
        return Case({"upscale_factor": r}, (Tensor(sizes if random.random() < 0.95 else sizes[-2:], dtype),))


@op
class PixelUnshuffle(_Rearranged):
    """Gather blocks of pixels into channels, so that an image gets `downscale_factor` times as small.

    PixelUnshuffle(2) : [N, 16, 28, 28] -> [N, 64, 14, 14]
    """

    positional: ClassVar[tuple[str, ...]] = ("downscale_factor",)

    downscale_factor: Size

    def steps(self, x: Tensor) -> tuple[tuple[Dim, ...], list[int], tuple[Dim, ...]]:
        at_least_axes(self.kind, x, 3, "[..., C, H, W]")
        r, batch, channels = self.downscale_factor, x.shape[:-3], x.shape[-3]
        height, width = (divided(self.kind, x, place, r, "downscale_factor") for place in (-2, -1))
        order = [*range(len(batch)), *(len(batch) + place for place in (0, 2, 4, 1, 3))]
        return (*batch, channels, height, r, width, r), order, (*batch, channels * r * r, height, width)

    @classmethod
    def sample(cls, random: Random) -> Case:
        r = random.randint(1, 3)
        height, width = (r * random.randint(1, 3) + (1 if random.random() < 0.05 else 0) for _ in range(2))
        sizes = (*shape(random, 0, 2), random.randint(1, 3), height, width)
        dtype = pick(random, ("float32", "float32", "int64"))
        return Case(
            {"downscale_factor": r}, (Tensor(sizes if random.random() < 0.95 else sizes[-2:], dtype),)
        )


@op
class ChannelShuffle(_Rearranged):
    """Cut the channels in `groups` and take one of each in turn.

    ChannelShuffle(2) : [N, 116, H, W] -> [N, 116, H, W]
    """

    positional: ClassVar[tuple[str, ...]] = ("groups",)

    groups: Size

    def steps(self, x: Tensor) -> tuple[tuple[Dim, ...], list[int], tuple[Dim, ...]]:
        at_least_axes(self.kind, x, 3, "[N, C, ...]")
        batch, rest = x.shape[0], x.shape[2:]
        part = divided(self.kind, x, 1, self.groups, "groups")
        return (batch, self.groups, part, *rest), [0, 2, 1, *range(3, 3 + len(rest))], x.shape

    @classmethod
    def sample(cls, random: Random) -> Case:
        groups = random.randint(1, 3)
        channels = groups * random.randint(1, 3) + (1 if random.random() < 0.1 else 0)
        rest = shape(random, 0 if random.random() < 0.1 else 1, 3)
        return Case({"groups": groups}, (Tensor((random.randint(1, 3), channels, *rest)),))


class _Columns(Spatial):
    """Windows of an image and columns: what `Fold` and `Unfold` share."""

    axes: ClassVar[int] = 2

    if TYPE_CHECKING:  # both layers have these in torch's order
        kernel_size: Sizes
        dilation: Sizes
        padding: Counts
        stride: Sizes

    def places(self, x: Tensor, size: Dim, axis: int) -> Dim:
        """The number of places that a window has along an axis of `size`."""
        kernel, dilation, padding, stride = (
            self.per_axis(value)[axis]
            for value in (self.kernel_size, self.dilation, self.padding, self.stride)
        )
        return self.present(x, size, (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1)

    @property
    def window(self) -> int:
        height, width = self.per_axis(self.kernel_size)
        return height * width

    @property
    def pads(self) -> tuple[tuple[int, int], ...]:
        return tuple((amount, amount) for amount in self.per_axis(self.padding))

    def check_dtype(self, x: Tensor) -> None:
        if not x.is_float:
            raise ShapeProblem(
                "E0405",
                f"`{self.kind}` needs floating-point numbers, but its input is {x.dtype}",
                operand=0,
                label=f"this is {x}",
                help="convert it first: `-> to(float32)`",
            )

    @classmethod
    def sample_window(cls, random: Random) -> dict[str, object]:
        kernel = tuple(random.randint(1, 3) for _ in range(2))
        return {
            "kernel_size": pick(random, (kernel, kernel[0])),
            "dilation": pick(random, (1, 1, 2, (1, 2))),
            "padding": pick(random, (0, 0, 1, (0, 1))),
            "stride": pick(random, (1, 2, (2, 1))),
        }


@op
class Unfold(_Columns):
    """Make a column of each window of an image.

    Unfold(3, padding = 1) : [N, 3, 8, 8] -> [N, 27, 64]
    Unfold([2, 2], stride = 2) : [N, C, 28, 28] -> [N, 4*C, 196]
    """

    positional: ClassVar[tuple[str, ...]] = ("kernel_size",)

    kernel_size: Sizes
    dilation: Sizes = 1
    padding: Counts = 0
    stride: Sizes = 1

    def infer(self, x: Tensor) -> Tensor:
        places = [self.places(x, size, axis) for axis, size in enumerate(self.spatial(x))]
        self.check_dtype(x)
        return x.with_shape(x.shape[0], x.shape[1] * self.window, product(places))

    def onnx(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        type = tensor_of(x)
        x = pad(g, x, 4, self.pads, "constant")
        for which, size in enumerate(type.shape[2:]):
            positions = self.positions(g, which, self.places(type, size, which))
            x = g.op("Gather", x, positions, axis=2 + 2 * which)
        return reshaped(g, transposed(g, x, [0, 1, 2, 4, 3, 5]), self.infer(type).shape)

    def positions(self, g: OnnxTarget, axis: int, places: Dim) -> OnnxValue:
        """For each element of the window and each of its places, where that is along the axis."""
        kernel, dilation, stride = (
            self.per_axis(value)[axis] for value in (self.kernel_size, self.dilation, self.stride)
        )
        offsets = g.constant([[dilation * place] for place in range(kernel)], "int64")
        if isinstance(places, int):
            starts = g.constant([stride * place for place in range(places)], "int64")
        else:
            zero, end = g.constant(0, "int64"), g.size(places * stride)
            starts = g.op("Range", zero, end, g.constant(stride, "int64"))
        return g.op("Add", offsets, starts)

    @classmethod
    def sample(cls, random: Random) -> Case:
        sizes = tuple(random.randint(1, 6) for _ in range(4 + (random.random() < 0.05)))
        return Case(cls.sample_window(random), (Tensor(sizes, pick(random, ("float32",) * 9 + ("int64",))),))


@op
class Fold(_Columns):
    """Put columns back into windows of an image of `output_size`, and sum where they overlap.

    Fold([8, 8], 3, padding = 1) : [N, 27, 64] -> [N, 3, 8, 8]
    """

    positional: ClassVar[tuple[str, ...]] = ("output_size", "kernel_size")

    output_size: Sizes
    kernel_size: Sizes
    dilation: Sizes = 1
    padding: Counts = 0
    stride: Sizes = 1

    def infer(self, x: Tensor) -> Tensor:
        if x.rank != 3:
            raise ShapeProblem(
                "E0401",
                f"`{self.kind}` needs 3 axes, [N, C*window, places], but the input has {x.rank}",
                operand=0,
                label=f"this is {x}",
            )
        self.check_dtype(x)
        sizes = self.per_axis(self.output_size)
        places = product(self.places(x, size, axis) for axis, size in enumerate(sizes))
        channels = divided(self.kind, x, 1, self.window, "kernel_size")
        try:
            join(x.shape[2], places)
        except DimMismatch as mismatch:
            raise ShapeProblem(
                "E0402",
                f"`{self.kind}` has {places} places for its window in an image of {sizes[0]} by {sizes[1]}, "
                f"but the input has {x.shape[2]} columns",
                operand=0,
                label=f"this is {x}",
                note=mismatch_note(2, x.shape[2], places, mismatch),
            ) from None
        return x.with_shape(x.shape[0], channels, *sizes)

    def onnx(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        size, kernel, dilation, stride = (
            list(self.per_axis(value))
            for value in (self.output_size, self.kernel_size, self.dilation, self.stride)
        )
        blocks = g.constant(size, "int64"), g.constant(kernel, "int64")
        return g.op("Col2Im", x, *blocks, dilations=dilation, pads=flat_pads(self.pads), strides=stride)

    @classmethod
    def sample(cls, random: Random) -> Case:
        arguments = cls.sample_window(random)
        size = tuple(random.randint(2, 6) for _ in range(2))
        unfold = Unfold.model_validate({**arguments})
        channels, columns = random.randint(1, 3) * unfold.window, 4
        try:
            columns = unfold.infer(Tensor((1, 1, *size))).shape[2]
        except ShapeProblem:
            channels += 1
        columns += pick(random, (0,) * 9 + (1,))
        x = Tensor((random.randint(1, 3), channels, columns), pick(random, ("float32",) * 9 + ("int64",)))
        return Case({"output_size": size, **arguments}, (x,))
