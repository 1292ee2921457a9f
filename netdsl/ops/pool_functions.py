"""Pools as functions: `max_pool2d(x, 2)`. What they mean is said by the layers."""

from __future__ import annotations

from typing import Any

from netdsl.ir.types import Tensor
from netdsl.ops.adaptive import (
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AdaptiveAvgPool3d,
    AdaptiveMaxPool1d,
    AdaptiveMaxPool2d,
    AdaptiveMaxPool3d,
)
from netdsl.ops.base import op
from netdsl.ops.pool import (
    AvgPool1d,
    AvgPool2d,
    AvgPool3d,
    LPPool1d,
    LPPool2d,
    LPPool3d,
    MaxPool1d,
    MaxPool2d,
    MaxPool3d,
)
from netdsl.ops.twins import Twin


@op
class MaxPool1dFunction(Twin, MaxPool1d):
    """The largest element of each window of a sequence.

    max_pool1d(2) : [N, C, L] -> [N, C, L//2]
    """

    kind = "max_pool1d"
    positional = ("kernel_size", "stride", "padding")


@op
class MaxPool2dFunction(Twin, MaxPool2d):
    """The largest element of each window of an image.

    max_pool2d(2) : [N, C, H, W] -> [N, C, H//2, W//2]
    """

    kind = "max_pool2d"
    positional = ("kernel_size", "stride", "padding")


@op
class MaxPool3dFunction(Twin, MaxPool3d):
    """The largest element of each window of a volume.

    max_pool3d(2) : [N, C, D, H, W] -> [N, C, D//2, H//2, W//2]
    """

    kind = "max_pool3d"
    positional = ("kernel_size", "stride", "padding")


@op
class AvgPool1dFunction(Twin, AvgPool1d):
    """The mean of each window of a sequence.

    avg_pool1d(2) : [N, C, L] -> [N, C, L//2]
    """

    kind = "avg_pool1d"
    positional = ("kernel_size", "stride", "padding")


@op
class AvgPool2dFunction(Twin, AvgPool2d):
    """The mean of each window of an image.

    avg_pool2d(2) : [N, C, H, W] -> [N, C, H//2, W//2]
    """

    kind = "avg_pool2d"
    positional = ("kernel_size", "stride", "padding")


@op
class AvgPool3dFunction(Twin, AvgPool3d):
    """The mean of each window of a volume.

    avg_pool3d(2) : [N, C, D, H, W] -> [N, C, D//2, H//2, W//2]
    """

    kind = "avg_pool3d"
    positional = ("kernel_size", "stride", "padding")


@op
class LPPool1dFunction(Twin, LPPool1d):
    """The `norm_type`-norm of each window of a sequence.

    lp_pool1d(2.0, 2) : [N, C, L] -> [N, C, L//2]
    """

    kind = "lp_pool1d"
    positional = ("norm_type", "kernel_size", "stride")


@op
class LPPool2dFunction(Twin, LPPool2d):
    """The `norm_type`-norm of each window of an image.

    lp_pool2d(2.0, 2) : [N, C, H, W] -> [N, C, H//2, W//2]
    """

    kind = "lp_pool2d"
    positional = ("norm_type", "kernel_size", "stride")


@op
class LPPool3dFunction(Twin, LPPool3d):
    """The `norm_type`-norm of each window of a volume.

    lp_pool3d(2.0, 2) : [N, C, D, H, W] -> [N, C, D//2, H//2, W//2]
    """

    kind = "lp_pool3d"
    positional = ("norm_type", "kernel_size", "stride")


class _Adaptive(Twin):
    """TorchScript takes numbers only for `output_size`, so an axis that stays has its size written out."""

    def given(self, input: Tensor) -> dict[str, Any]:
        arguments = super().given(input)
        size: int | tuple[int | None, ...] = arguments["output_size"]
        if isinstance(size, tuple):
            kept = input.shape[input.rank - len(size) :]
            arguments["output_size"] = tuple(k if s is None else s for s, k in zip(size, kept, strict=True))
        return arguments


@op
class AdaptiveAvgPool1dFunction(_Adaptive, AdaptiveAvgPool1d):
    """The mean of each of `output_size` windows that cover a sequence.

    adaptive_avg_pool1d(1) : [N, C, L] -> [N, C, 1]
    """

    kind = "adaptive_avg_pool1d"
    positional = ("output_size",)


@op
class AdaptiveAvgPool2dFunction(_Adaptive, AdaptiveAvgPool2d):
    """The mean of each of `output_size` windows that cover an image.

    adaptive_avg_pool2d(1) : [N, C, H, W] -> [N, C, 1, 1]
    """

    kind = "adaptive_avg_pool2d"
    positional = ("output_size",)


@op
class AdaptiveAvgPool3dFunction(_Adaptive, AdaptiveAvgPool3d):
    """The mean of each of `output_size` windows that cover a volume.

    adaptive_avg_pool3d(1) : [N, C, D, H, W] -> [N, C, 1, 1, 1]
    """

    kind = "adaptive_avg_pool3d"
    positional = ("output_size",)


@op
class AdaptiveMaxPool1dFunction(_Adaptive, AdaptiveMaxPool1d):
    """The largest element of each of `output_size` windows that cover a sequence.

    adaptive_max_pool1d(1) : [N, C, L] -> [N, C, 1]
    """

    kind = "adaptive_max_pool1d"
    positional = ("output_size",)


@op
class AdaptiveMaxPool2dFunction(_Adaptive, AdaptiveMaxPool2d):
    """The largest element of each of `output_size` windows that cover an image.

    adaptive_max_pool2d(1) : [N, C, H, W] -> [N, C, 1, 1]
    """

    kind = "adaptive_max_pool2d"
    positional = ("output_size",)


@op
class AdaptiveMaxPool3dFunction(_Adaptive, AdaptiveMaxPool3d):
    """The largest element of each of `output_size` windows that cover a volume.

    adaptive_max_pool3d(1) : [N, C, D, H, W] -> [N, C, 1, 1, 1]
    """

    kind = "adaptive_max_pool3d"
    positional = ("output_size",)
