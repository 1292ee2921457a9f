"""Normalisations of each channel, over the batch or over each image, with running statistics or without."""

from __future__ import annotations

from random import Random
from typing import Any, ClassVar

from netdsl.ir.types import State, Tensor
from netdsl.ops.base import Case, ShapeProblem, Size, check_inferred, fixed, op
from netdsl.ops.cases import pick
from netdsl.ops.norm import Epsilon, Norm, affine, standardised
from netdsl.ops.onnx_parts import tensor_of
from netdsl.ops.spatial import layout
from netdsl.ops.target import OnnxTarget, OnnxValue


class _ChannelNorm(Norm):
    """`num_features` channels on the second axis, with running means and variances or without."""

    removes_mean: ClassVar[bool] = True

    inferred: ClassVar[tuple[str, ...]] = ("num_features",)
    axes: ClassVar[int]
    over_batch: ClassVar[bool]

    eps: Epsilon = 1e-5
    momentum: float | None = 0.1
    affine: bool = True
    track_running_stats: bool = True
    bias: bool = True
    num_features: Size | None = None

    def features(self, x: Tensor) -> int:
        if x.rank not in self.ranks:
            raise ShapeProblem(
                "E0401",
                f"`{self.kind}` needs {self.needs}, but the input has {x.rank}",
                operand=0,
                label=f"this is {x}",
                help=self.other_rank(x),
            )
        self.check_dtype(x)
        features = fixed(x.shape[1], "channels", self.kind)
        check_inferred(self.kind, "num_features", self.num_features, features)
        # A product of sizes is 1 where all of them are.
        if not self.track_running_stats and all(d == 1 for d in (*x.shape[2:], *x.shape[: self.over_batch])):
            raise ShapeProblem(
                "E0404",
                f"`{self.kind}` has a single value of each channel to take the variance of",
                operand=0,
                label=f"this is {x}",
            )
        return features

    @property
    def ranks(self) -> tuple[int, ...]:
        return (self.axes + 2,)

    @property
    def needs(self) -> str:
        return f"{self.axes + 2} axes, {layout(self.axes)}"

    def other_rank(self, x: Tensor) -> str | None:
        return f"there is `{self.kind[:-2]}{x.rank - 2}d`" if x.rank in (3, 4, 5) else None

    def inferred_sizes(self, x: Tensor) -> tuple[int, ...]:
        return (self.features(x),)

    def infer(self, x: Tensor) -> Tensor:
        self.features(x)
        return x

    def parameters(self, x: Tensor) -> dict[str, State]:
        return self.parameters_of(self.features(x))

    def parameters_of(self, channels: int) -> dict[str, State]:
        found = affine(self.affine, self.bias, (channels,))
        if not self.track_running_stats:
            return found
        return {
            **found,
            "running_mean": State((channels,), learned=False),
            "running_var": State((channels,), learned=False),
            "num_batches_tracked": State((), "int64", learned=False),
        }

    def onnx(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        type = tensor_of(x)
        channels = self.features(type)
        names = self.parameters_of(channels)
        if self.track_running_stats:
            weights = self.weights(g, names, channels, "float32")
            running = g.state("running_mean"), g.state("running_var")
            return g.op("BatchNormalization", x, *weights, *running, epsilon=self.eps)
        if not self.over_batch and type.dtype == "float32":  # runtimes have no other kernel
            weights = self.weights(g, names, channels, "float32")
            return g.op("InstanceNormalization", x, *weights, epsilon=self.eps)
        axes = [0] * self.over_batch + list(range(2, type.rank))
        return self.scaled(g, standardised(g, x, axes, self.eps), type.rank - 2, names)

    def weights(self, g: OnnxTarget, names: dict[str, State], channels: int, dtype: str) -> list[OnnxValue]:
        """The scale and the shift, ones and zeros where nothing is learned."""
        return [
            g.state(name) if name in names else g.constant([neutral] * channels, dtype)
            for name, neutral in (("weight", 1.0), ("bias", 0.0))
        ]

    @classmethod
    def sample(cls, random: Random) -> Case:
        arguments: dict[str, Any] = {
            "eps": pick(random, (1e-5, 1e-3, 0.1)),
            "affine": random.random() < 0.5,
            "track_running_stats": random.random() < 0.6,
            "bias": random.random() < 0.8,
        }
        if cls.over_batch:
            arguments["momentum"] = pick(random, (0.1, 0.01, None))
        rank = cls.axes + 2 + pick(random, (0,) * 10 + (-2, -1, 1))
        if rank == cls.axes + 1 and not (cls.over_batch and cls.axes == 1):
            rank += 1  # without a batch, which torch would take for one
        dtype = pick(random, ("float32",) * 12 + ("int64", "float64"))
        return Case(arguments, (Tensor(tuple(random.randint(1, 4) for _ in range(rank)), dtype),))


class _BatchNorm(_ChannelNorm):
    over_batch: ClassVar[bool] = True
    fresh: ClassVar[bool] = True
    pure: ClassVar[bool] = False  # training moves the running means


class _InstanceNorm(_ChannelNorm):
    over_batch: ClassVar[bool] = False
    pure: ClassVar[bool] = False

    affine: bool = False
    track_running_stats: bool = False


@op
class BatchNorm1d(_BatchNorm):
    """Give each channel mean 0 and variance 1 over the batch, then scale and shift it by what is learned.

    BatchNorm1d : [N, 64, L] -> [N, 64, L]
    BatchNorm1d : [N, 64] -> [N, 64]

    In evaluation mode the running means and variances of training are used.
    """

    axes: ClassVar[int] = 1

    @property
    def ranks(self) -> tuple[int, ...]:
        return (2, 3)

    @property
    def needs(self) -> str:
        return "2 or 3 axes, [N, C] or [N, C, L]"


@op
class BatchNorm2d(_BatchNorm):
    """Give each channel mean 0 and variance 1 over the batch, then scale and shift it by what is learned.

    BatchNorm2d : [N, 64, H, W] -> [N, 64, H, W]
    BatchNorm2d(eps = 1e-3, momentum = 0.01) : [N, 64, H, W] -> [N, 64, H, W]

    In evaluation mode the running means and variances of training are used.
    """

    axes: ClassVar[int] = 2


@op
class BatchNorm3d(_BatchNorm):
    """Give each channel mean 0 and variance 1 over the batch, then scale and shift it by what is learned.

    BatchNorm3d : [N, 64, D, H, W] -> [N, 64, D, H, W]

    In evaluation mode the running means and variances of training are used.
    """

    axes: ClassVar[int] = 3


@op
class InstanceNorm1d(_InstanceNorm):
    """Give each channel of each sequence mean 0 and variance 1.

    InstanceNorm1d : [N, 64, L] -> [N, 64, L]
    InstanceNorm1d(affine = True) : [N, 64, L] -> [N, 64, L]
    """

    axes: ClassVar[int] = 1


@op
class InstanceNorm2d(_InstanceNorm):
    """Give each channel of each image mean 0 and variance 1.

    InstanceNorm2d : [N, 64, H, W] -> [N, 64, H, W]
    InstanceNorm2d(affine = True) : [N, 64, H, W] -> [N, 64, H, W]
    """

    axes: ClassVar[int] = 2


@op
class InstanceNorm3d(_InstanceNorm):
    """Give each channel of each volume mean 0 and variance 1.

    InstanceNorm3d : [N, 64, D, H, W] -> [N, 64, D, H, W]
    InstanceNorm3d(affine = True) : [N, 64, D, H, W] -> [N, 64, D, H, W]
    """

    axes: ClassVar[int] = 3
