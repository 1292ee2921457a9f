"""Layers that drop something at random in training, and change nothing in evaluation."""

from __future__ import annotations

from random import Random
from typing import Any, ClassVar, Literal

from netdsl.ir.types import Tensor
from netdsl.ops.base import Case, Layer, Probability, ShapeProblem, op
from netdsl.ops.cases import pick
from netdsl.ops.spatial import layout
from netdsl.ops.target import Call, OnnxTarget, OnnxValue, call


class _Drops(Layer):
    """Each is dropped with probability `p`; what stays is scaled up, so that the mean is kept."""

    positional: ClassVar[tuple[str, ...]] = ("p",)
    pure: ClassVar[bool] = False
    random: ClassVar[bool] = True
    training_only: ClassVar[bool] = True
    ranks: ClassVar[range] = range(0, 1000)
    needs: ClassVar[str] = ""

    def infer(self, x: Tensor) -> Tensor:
        if x.rank not in self.ranks:
            raise ShapeProblem(
                "E0401",
                f"`{self.kind}` needs {self.needs}, but the input has {x.rank}",
                operand=0,
                label=f"this is {x}",
            )
        if not x.is_float:
            raise ShapeProblem(
                "E0405",
                f"`{self.kind}` needs floating-point numbers, but its input is {x.dtype}",
                operand=0,
                label=f"this is {x}",
                help="convert it first: `-> to(float32)`",
            )
        return x

    def onnx(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        return g.op("Identity", x)

    @classmethod
    def sample_input(cls, random: Random) -> Tensor:
        rank = pick(random, (*range(cls.ranks.start, min(cls.ranks.stop, 6)),) * 6 + (2, 3))
        sizes = tuple(random.randint(1, 4) for _ in range(rank))
        return Tensor(sizes, pick(random, ("float32",) * 8 + ("int64", "float64")))


class _Dropout(_Drops):
    p: Probability = 0.5
    inplace: bool = False

    @classmethod
    def sample(cls, random: Random) -> Case:
        arguments = {"p": pick(random, (0.5, 0.1, 0, 1, 1.5)), "inplace": random.random() < 0.2}
        return Case(arguments, (cls.sample_input(random),))


@op
class Dropout(_Dropout):
    """Set elements to 0 at random, each with probability `p`.

    Dropout(0.1) : [N, T, 64] -> [N, T, 64]
    """

    elementwise: ClassVar[bool] = True


@op
class Dropout1d(_Dropout):
    """Set whole channels of a sequence to 0 at random.

    Dropout1d(0.2) : [N, C, L] -> [N, C, L]
    """

    ranks: ClassVar[range] = range(3, 4)
    needs: ClassVar[str] = f"3 axes, {layout(1)}"


@op
class Dropout2d(_Dropout):
    """Set whole channels of an image to 0 at random.

    Dropout2d(0.2) : [N, C, H, W] -> [N, C, H, W]
    """

    ranks: ClassVar[range] = range(4, 5)
    needs: ClassVar[str] = f"4 axes, {layout(2)}"


@op
class Dropout3d(_Dropout):
    """Set whole channels of a volume to 0 at random.

    Dropout3d(0.2) : [N, C, D, H, W] -> [N, C, D, H, W]
    """

    ranks: ClassVar[range] = range(5, 6)
    needs: ClassVar[str] = f"5 axes, {layout(3)}"


@op
class AlphaDropout(_Dropout):
    """Set elements to the lowest value of a `SELU` at random, which keeps mean and variance.

    AlphaDropout(0.05) : [N, C] -> [N, C]
    """

    elementwise: ClassVar[bool] = True


@op
class FeatureAlphaDropout(_Dropout):
    """Set whole channels to the lowest value of a `SELU` at random, which keeps mean and variance.

    FeatureAlphaDropout(0.05) : [N, C, H, W] -> [N, C, H, W]
    """

    ranks: ClassVar[range] = range(2, 1000)
    needs: ClassVar[str] = "at least 2 axes, [N, C, ...]"


@op
class StochasticDepth(_Drops):
    """Set a residual branch to 0 at random, for a whole `"batch"` or for each of its images (`"row"`).

    StochasticDepth(0.1, "row") : [N, C, H, W] -> [N, C, H, W]

    It is torchvision's.
    """

    positional: ClassVar[tuple[str, ...]] = ("p", "mode")
    ranks: ClassVar[range] = range(1, 1000)
    needs: ClassVar[str] = "at least 1 axis, the batch"

    p: Probability
    mode: Literal["batch", "row"]

    def module(self, *_: Any) -> Call:
        return call("torchvision.ops.StochasticDepth", self.p, self.mode)

    @classmethod
    def sample(cls, random: Random) -> Case:
        arguments = {
            "p": pick(random, (0.5, 0.1, 0, 1.5)),
            "mode": pick(random, ("batch", "row", "row", "all")),
        }
        return Case(arguments, (cls.sample_input(random),))
