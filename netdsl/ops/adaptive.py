"""Pools that are told the size of their result: `output_size` windows cover each axis evenly."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product as every
from random import Random
from typing import Any, ClassVar

from pydantic import field_validator

from netdsl.ir.dims import Dim, product
from netdsl.ir.types import Tensor
from netdsl.ops.base import Case, ShapeProblem, Size, op
from netdsl.ops.cases import pick
from netdsl.ops.onnx_parts import reshaped, tensor_of, transposed, unsqueezed
from netdsl.ops.pool import Pool
from netdsl.ops.target import OnnxTarget, OnnxValue

Window = tuple[Dim, Dim]  # where it begins and ends along an axis


def adaptive_windows(size: Dim, count: int) -> list[Window]:
    """`count` windows that cover an axis of `size`, overlapping where it does not divide.

    >>> adaptive_windows(5, 3)
    [(0, 2), (1, 4), (3, 5)]
    """
    return [(place * size // count, -(-(place + 1) * size // count)) for place in range(count)]


def pool_adaptively(
    g: OnnxTarget, x: OnnxValue, type: Tensor, targets: Sequence[Dim | None], kind: str
) -> OnnxValue:
    """`x` pooled to `targets` along its last axes; None keeps an axis. `kind` is "Average" or "Max"."""
    sizes = type.shape[type.rank - len(targets) :]
    pairs = [(size, size if target is None else target) for size, target in zip(sizes, targets, strict=True)]
    if all(target == 1 for _, target in pairs) and type.rank == len(targets) + 2:
        return g.op(f"Global{kind}Pool", x)
    if kernel := even_kernel(pairs):
        return g.op(f"{kind}Pool", x, kernel_shape=kernel, strides=kernel)
    for place, (size, target) in enumerate(pairs, type.rank - len(targets)):
        if isinstance(target, int) and target != size:
            x = _pool_axis(g, x, place, adaptive_windows(size, target), kind)
        elif target != size:
            x = _average_axis(g, x, type, place, size, target)
    return x


def even_kernel(pairs: Sequence[tuple[Dim, Dim]]) -> list[int] | None:
    """The window where all windows are alike and next to each other, else None."""
    kernel: list[int] = []
    for size, target in pairs:
        if size == target:
            kernel.append(1)
        elif isinstance(size, int) and isinstance(target, int) and size % target == 0:
            kernel.append(size // target)
        else:
            return None
    return kernel


def _pool_axis(g: OnnxTarget, x: OnnxValue, axis: int, windows: Sequence[Window], kind: str) -> OnnxValue:
    along = g.constant([axis], "int64")
    reduce = "ReduceMean" if kind == "Average" else "ReduceMax"
    if len(windows) == 1:
        return g.op(reduce, x, along, keepdims=1)
    cut = [g.op("Slice", x, g.sizes([start]), g.sizes([stop]), along) for start, stop in windows]
    return g.op("Concat", *(g.op(reduce, part, along, keepdims=1) for part in cut), axis=axis)


def _average_axis(g: OnnxTarget, x: OnnxValue, type: Tensor, axis: int, size: Dim, target: Dim) -> OnnxValue:
    """The means of windows whose number is known only at run time: a product with a matrix of weights."""
    zero, one = (g.constant(number, "int64") for number in (0, 1))
    length, windows = g.size(size), g.size(target)
    number = g.op("Range", zero, windows, one)
    starts = g.op("Div", g.op("Mul", number, length), windows)
    beyond = g.op("Add", g.op("Mul", g.op("Add", number, one), length), g.op("Sub", windows, one))
    place = unsqueezed(g, g.op("Range", zero, length, one), 1)
    inside = g.op(
        "And", g.op("GreaterOrEqual", place, starts), g.op("Less", place, g.op("Div", beyond, windows))
    )
    counted = g.op("Cast", inside, to=type.dtype)
    weights = g.op("Div", counted, g.op("ReduceSum", counted, g.constant([0], "int64"), keepdims=1))
    order = [place for place in range(type.rank) if place != axis] + [axis]
    means = g.op("MatMul", transposed(g, x, order), weights)
    return transposed(g, means, [order.index(place) for place in range(type.rank)])


class _Adaptive(Pool):
    """`output_size` is a number for all axes, or one for each, with None for an axis that stays as it is."""

    positional: ClassVar[tuple[str, ...]] = ("output_size",)

    output_size: Size | tuple[Size | None, ...]

    @field_validator("output_size")
    @classmethod
    def _one_axis_has_a_size(cls, value: int | tuple[int | None, ...]) -> int | tuple[int | None, ...]:
        if cls.axes == 1 and value == (None,):
            raise ValueError(f"`output_size` of `{cls.kind}` is a number: with None it would do nothing")
        return value

    @property
    def targets(self) -> tuple[int | None, ...]:
        return self.per_axis(self.output_size)

    def pooled(self, x: Tensor) -> Tensor:
        sizes = zip(self.spatial(x), self.targets, strict=True)
        return x.with_shape(*x.shape[:2], *(size if target is None else target for size, target in sizes))

    @classmethod
    def sample(cls, random: Random) -> Case:
        x = cls.sample_input(random, 2, 7)
        spatial = [size for size in x.shape[2:] if isinstance(size, int)]
        even = [pick(random, [n for n in range(1, size + 1) if size % n == 0]) for size in spatial]
        each = tuple(pick(random, (1, 2, 3, e, None if cls.axes > 1 else 1)) for e in even[: cls.axes])
        size = pick(random, (each, tuple(even[: cls.axes]), 1, 1, random.randint(1, 5)))
        return Case({"output_size": size}, (x,))


class _AdaptiveAvg(_Adaptive):
    def infer(self, x: Tensor) -> Tensor:
        return self.pooled(x)

    def onnx(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        return pool_adaptively(g, x, tensor_of(x), self.targets, "Average")


class _AdaptiveMax(_Adaptive):
    return_indices: bool = False

    @property
    def gives(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return (0, 1) if self.return_indices else None

    def infer(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        pooled = self.pooled(x)
        return (pooled, pooled.with_dtype("int64")) if self.return_indices else pooled

    def onnx(self, g: OnnxTarget, x: OnnxValue) -> Any:
        type = tensor_of(x)
        if not self.return_indices:
            return pool_adaptively(g, x, type, self.targets, "Max")
        sizes, result = type.shape[2:], self.pooled(type)
        if kernel := even_kernel(list(zip(sizes, result.shape[2:], strict=True))):
            largest, places = g.op("MaxPool", x, results=2, kernel_shape=kernel, strides=kernel)
            return largest, g.op(
                "Mod", places, g.size(product(sizes))
            )  # ONNX counts through the whole tensor
        return self.each_window(g, x, type, result)

    def each_window(
        self, g: OnnxTarget, x: OnnxValue, type: Tensor, result: Tensor
    ) -> tuple[OnnxValue, OnnxValue]:
        """The maximum and its place, window by window, where the windows are not alike."""
        sizes = type.shape[2:]
        counts = [self.fixed_target(size, target) for size, target in zip(sizes, self.targets, strict=True)]
        zero, one = g.constant(0, "int64"), g.constant(1, "int64")
        numbers = reshaped(g, g.op("Range", zero, g.size(product(sizes)), one), sizes)
        axes = list(range(self.axes))
        found: list[tuple[OnnxValue, OnnxValue]] = []
        for cell in every(*(adaptive_windows(s, n) for s, n in zip(sizes, counts, strict=True))):
            starts, stops = g.sizes([start for start, _ in cell]), g.sizes([stop for _, stop in cell])
            part = g.op("Slice", x, starts, stops, g.constant([2 + a for a in axes], "int64"))
            part = g.op("Reshape", part, g.constant([0, 0, -1], "int64"))
            places = reshaped(g, g.op("Slice", numbers, starts, stops, g.constant(axes, "int64")), [-1])
            place = g.op("Gather", places, g.op("ArgMax", part, axis=2, keepdims=1), axis=0)
            found.append((g.op("ReduceMax", part, g.constant([2], "int64"), keepdims=1), place))
        largest, places = (g.op("Concat", *values, axis=2) for values in zip(*found, strict=True))
        return reshaped(g, largest, result.shape), reshaped(g, places, result.shape)

    def fixed_target(self, size: Dim, target: int | None) -> int:
        if target is not None:
            return target
        if isinstance(size, int):
            return size
        raise ShapeProblem(
            "E0403",
            f"ONNX has no places of maxima for an axis of `{size}` that stays as it is",
            argument="return_indices",
            help="fix the size with `--set`, or leave `return_indices` out",
        )

    @classmethod
    def sample(cls, random: Random) -> Case:
        case = super().sample(random)
        return Case({**case.arguments, "return_indices": random.random() < 0.4}, case.operands)


@op
class AdaptiveAvgPool1d(_AdaptiveAvg):
    """The mean of each of `output_size` windows that cover a sequence.

    AdaptiveAvgPool1d(1) : [N, C, L] -> [N, C, 1]
    """

    axes: ClassVar[int] = 1


@op
class AdaptiveAvgPool2d(_AdaptiveAvg):
    """The mean of each of `output_size` windows that cover an image.

    AdaptiveAvgPool2d(1) : [N, C, H, W] -> [N, C, 1, 1]
    AdaptiveAvgPool2d([None, 7]) : [N, C, H, W] -> [N, C, H, 7]
    """

    axes: ClassVar[int] = 2


@op
class AdaptiveAvgPool3d(_AdaptiveAvg):
    """The mean of each of `output_size` windows that cover a volume.

    AdaptiveAvgPool3d(1) : [N, C, D, H, W] -> [N, C, 1, 1, 1]
    """

    axes: ClassVar[int] = 3


@op
class AdaptiveMaxPool1d(_AdaptiveMax):
    """The largest element of each of `output_size` windows that cover a sequence.

    AdaptiveMaxPool1d(1) : [N, C, L] -> [N, C, 1]
    """

    axes: ClassVar[int] = 1


@op
class AdaptiveMaxPool2d(_AdaptiveMax):
    """The largest element of each of `output_size` windows that cover an image.

    AdaptiveMaxPool2d(1) : [N, C, H, W] -> [N, C, 1, 1]
    AdaptiveMaxPool2d([None, 7]) : [N, C, H, W] -> [N, C, H, 7]
    """

    axes: ClassVar[int] = 2


@op
class AdaptiveMaxPool3d(_AdaptiveMax):
    """The largest element of each of `output_size` windows that cover a volume.

    AdaptiveMaxPool3d(1) : [N, C, D, H, W] -> [N, C, 1, 1, 1]
    """

    axes: ClassVar[int] = 3
