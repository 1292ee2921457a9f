"""Maximum pools with random windows, in evaluation mode too."""

from __future__ import annotations

from itertools import product as every
from random import Random
from typing import Any, ClassVar

from pydantic import model_validator

from netdsl.ir.dims import Dim
from netdsl.ir.types import Tensor
from netdsl.ops.base import Case, ShapeProblem, op
from netdsl.ops.cases import pick
from netdsl.ops.onnx_parts import cast, reshaped, tensor_of
from netdsl.ops.pool import Pool
from netdsl.ops.resize import scaled
from netdsl.ops.spatial import Sizes, at_least
from netdsl.ops.target import OnnxTarget, OnnxValue


class _FractionalMaxPool(Pool):
    """Random windows, in evaluation mode too. The result's size is given, or its ratio to the input's."""

    pure: ClassVar[bool] = False
    random: ClassVar[bool] = True

    kernel_size: Sizes
    output_size: Sizes | None = None
    output_ratio: float | tuple[float, ...] | None = None
    return_indices: bool = False

    @model_validator(mode="after")
    def _one_of_size_and_ratio(self) -> _FractionalMaxPool:
        if (self.output_size is None) == (self.output_ratio is None):
            raise ValueError(f"`{self.kind}` takes `output_size` or `output_ratio`")
        if self.output_ratio is not None:
            ratios = self.per_axis(self.output_ratio)
            if len(ratios) != self.axes or not all(0 < ratio < 1 for ratio in ratios):
                raise ValueError("`output_ratio` is a number between 0 and 1, or one for each axis")
        return self

    @property
    def gives(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return (0, 1) if self.return_indices else None

    def infer(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        pooled = x.with_shape(*x.shape[:2], *self.targets(x))
        return (pooled, pooled.with_dtype("int64")) if self.return_indices else pooled

    def targets(self, x: Tensor) -> tuple[Dim, ...]:
        sizes = self.spatial(x)
        if self.output_size is not None:
            found: tuple[Dim, ...] = self.per_axis(self.output_size)
        else:
            ratios = self.per_axis(self.output_ratio)
            found = tuple(scaled(size, ratio) for size, ratio in zip(sizes, ratios, strict=True))
        for size, target, kernel in zip(sizes, found, self.per_axis(self.kernel_size), strict=True):
            self.present(x, size, target)
            message = f"`{self.kind}` has no room for {target} windows of {kernel} in {size}"
            problem = ShapeProblem("E0404", message, operand=0, label=f"this is {x}")
            at_least(size - target - kernel + 1, 1 if self.axes == 3 else 0, problem)  # as torch
        return found

    def onnx(self, g: OnnxTarget, x: OnnxValue) -> Any:
        type = tensor_of(x)
        sizes, targets, kernels = type.shape[2:], self.targets(type), self.per_axis(self.kernel_size)
        corners = self.corners(g, x, type)
        flat = g.op("Reshape", x, g.constant([0, 0, -1], "int64"))
        result = [*type.shape[:2], *targets]
        best: tuple[OnnxValue, OnnxValue] | None = None
        for offsets in every(*map(range, kernels)):
            ahead: Dim = 0
            for offset, size in zip(offsets, sizes, strict=True):
                ahead = ahead * size + offset
            places = g.op("Reshape", g.op("Add", corners, g.size(ahead)), g.constant([0, 0, -1], "int64"))
            values = g.op("GatherElements", flat, places, axis=2)
            if best is not None:
                larger = g.op("Greater", values, best[0])
                values, places = g.op("Max", values, best[0]), g.op("Where", larger, places, best[1])
            best = (values, places)
        assert best is not None, "a kernel has an element"
        largest, places = (reshaped(g, value, result) for value in best)
        return (largest, places) if self.return_indices else largest

    def corners(self, g: OnnxTarget, x: OnnxValue, type: Tensor) -> OnnxValue:
        """Where the windows begin, as places in a channel: a random sequence for each axis and channel."""
        sizes, targets, kernels = type.shape[2:], self.targets(type), self.per_axis(self.kernel_size)
        first = g.op("ReduceMax", x, g.constant(list(range(2, 2 + self.axes)), "int64"), keepdims=1)
        total: OnnxValue | None = None
        for axis, (size, target, kernel) in enumerate(zip(sizes, targets, kernels, strict=True)):
            count, one = g.size(target), g.constant(1, "int64")
            number = g.op("Range", g.constant(0, "int64"), count, one)
            last = g.op("Equal", number, g.op("Sub", count, one))
            steps = g.op("Max", g.size(target - 1), one)
            real = {name: cast(g, value, type.dtype) for name, value in (("step", steps), ("number", number))}
            stretch = g.op("Div", cast(g, g.size(size - kernel), type.dtype), real["step"])
            shift = g.op("RandomUniformLike", first)  # one for each channel of each image
            places = [1] * (2 + self.axes)
            places[2 + axis] = -1
            shape = g.constant(places, "int64")
            moved = g.op("Add", g.op("Reshape", real["number"], shape), shift)
            begin = g.op(
                "Sub", g.op("Floor", g.op("Mul", moved, stretch)), g.op("Floor", g.op("Mul", shift, stretch))
            )
            begin = g.op(
                "Where", g.op("Reshape", last, shape), g.size(size - kernel), g.op("Cast", begin, to="int64")
            )
            total = begin if total is None else g.op("Add", g.op("Mul", total, g.size(size)), begin)
        assert total is not None, "a pool has an axis"
        return total

    @classmethod
    def sample(cls, random: Random) -> Case:
        """Half of the uses have no choice of windows, so that their numbers can be compared."""
        kernel, target, stretch = random.randint(1, 2), random.randint(2, 3), random.randint(1, 2)
        size = kernel + (target - 1) * stretch
        arguments: dict[str, Any] = {"kernel_size": kernel, "output_size": target}
        if random.random() < 0.5:
            size = random.randint(3, 7)
            arguments = {
                "kernel_size": kernel,
                "output_ratio": pick(random, (0.5, 0.6, (0.5,) * cls.axes, 1.5)),
            }
        arguments["return_indices"] = random.random() < 0.4
        return Case(arguments, (Tensor((random.randint(1, 2), random.randint(1, 3), *[size] * cls.axes)),))


@op
class FractionalMaxPool2d(_FractionalMaxPool):
    """The largest element of windows of an image that are spread at random, anew each time.

    FractionalMaxPool2d(2, output_ratio = 0.5) : [N, C, H, W] -> [N, C, H//2, W//2]
    """

    axes: ClassVar[int] = 2


@op
class FractionalMaxPool3d(_FractionalMaxPool):
    """The largest element of windows of a volume that are spread at random, anew each time.

    FractionalMaxPool3d(2, output_ratio = 0.5) : [N, C, D, H, W] -> [N, C, D//2, H//2, W//2]
    """

    axes: ClassVar[int] = 3
