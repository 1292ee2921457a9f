"""The reverse of maximum pools: elements go back to where they were found."""

from __future__ import annotations

from random import Random
from typing import ClassVar

from netdsl.ir.dims import product
from netdsl.ir.types import Tensor
from netdsl.ops.agreement import agrees
from netdsl.ops.base import Case, ShapeProblem, op
from netdsl.ops.cases import pick
from netdsl.ops.onnx_parts import reshaped, tensor_of
from netdsl.ops.pool import Pool
from netdsl.ops.spatial import Counts, Sizes
from netdsl.ops.target import OnnxTarget, OnnxValue


class _MaxUnpool(Pool):
    """The reverse of a pool in sizes: `(size - 1)*stride - 2*padding + kernel_size`."""

    kernel_size: Sizes
    stride: Sizes | None = None
    padding: Counts = 0

    def infer(self, x: Tensor, indices: Tensor) -> Tensor:
        self.check_indices(x, indices)
        strides = self.per_axis(self.kernel_size if self.stride is None else self.stride)
        kernels, pads = self.per_axis(self.kernel_size), self.per_axis(self.padding)
        each = zip(self.spatial(x), kernels, strides, pads, strict=True)
        sizes = [self.present(x, s, (s - 1) * stride - 2 * pad + kernel) for s, kernel, stride, pad in each]
        return x.with_shape(*x.shape[:2], *sizes)

    def check_indices(self, x: Tensor, indices: Tensor) -> None:
        help = f"they are the second result of `MaxPool{self.axes}d(..., return_indices = True)`"
        if indices.dtype != "int64":
            raise ShapeProblem(
                "E0405",
                f"the indices of `{self.kind}` are int64, not {indices.dtype}",
                operand=1,
                label=f"this is {indices}",
                help=help,
            )
        fits, note = agrees(x.shape, indices.shape)
        if not fits:
            label = f"this is {indices}, and the input is {x}"
            message = f"`{self.kind}` needs an index for each element of its input"
            raise ShapeProblem("E0402", message, operand=1, label=label, note=note, help=help)

    def onnx(self, g: OnnxTarget, x: OnnxValue, indices: OnnxValue) -> OnnxValue:
        type = tensor_of(x)
        result = self.infer(type, tensor_of(indices))
        shape = g.sizes([*type.shape[:2], product(result.shape[2:])])
        zeros = g.op("Expand", g.constant(0, type.dtype), shape)
        flat = g.constant([0, 0, -1], "int64")
        places, values = (g.op("Reshape", value, flat) for value in (indices, x))
        return reshaped(g, g.op("ScatterElements", zeros, places, values, axis=2), result.shape)

    @classmethod
    def sample(cls, random: Random) -> Case:
        kernel = random.randint(1, 3)
        x = cls.sample_input(random, 2, 4)
        arguments = {
            "kernel_size": pick(random, (kernel, (kernel,) * cls.axes)),
            "stride": pick(random, (None, None, kernel, kernel + 1)),
            "padding": pick(random, (0, 0, 0, kernel // 2)),
        }
        shape = (*x.shape[:-1], 9) if random.random() < 0.1 else x.shape
        return Case(arguments, (x, Tensor(shape, "int64" if random.random() < 0.9 else "int32")))


@op
class MaxUnpool1d(_MaxUnpool):
    """Put the elements of a pooled sequence back where `MaxPool1d` found them, and zeros elsewhere.

    MaxUnpool1d(2) : [N, C, L], int64[N, C, L] -> [N, C, 2*L]
    """

    axes: ClassVar[int] = 1


@op
class MaxUnpool2d(_MaxUnpool):
    """Put the elements of a pooled image back where `MaxPool2d` found them, and zeros elsewhere.

    MaxUnpool2d(2) : [N, C, H, W], int64[N, C, H, W] -> [N, C, 2*H, 2*W]
    """

    axes: ClassVar[int] = 2


@op
class MaxUnpool3d(_MaxUnpool):
    """Put the elements of a pooled volume back where `MaxPool3d` found them, and zeros elsewhere.

    MaxUnpool3d(2) : [N, C, D, H, W], int64[N, C, D, H, W] -> [N, C, 2*D, 2*H, 2*W]
    """

    axes: ClassVar[int] = 3
