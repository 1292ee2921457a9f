"""The rectifier whose slope below 0 is learned."""

from __future__ import annotations

from random import Random
from typing import ClassVar

from netdsl.ir.types import State, Tensor
from netdsl.ops.activation import Activation
from netdsl.ops.base import Case, Size, check_inferred, fixed, needs_float32, op
from netdsl.ops.cases import pick, shape
from netdsl.ops.onnx_parts import tensor_of, unsqueezed
from netdsl.ops.target import OnnxTarget, OnnxValue


@op
class PReLU(Activation):
    """`x` above 0, and a learned multiple of `x` below: one for all, or one for each channel.

    PReLU : [N, C, H, W] -> [N, C, H, W]
    PReLU(64) : [N, 64, H, W] -> [N, 64, H, W]
    """

    positional: ClassVar[tuple[str, ...]] = ("num_parameters",)

    num_parameters: Size = 1
    init: float = 0.25

    def infer(self, x: Tensor) -> Tensor:
        needs_float32(self.kind, x)
        if self.num_parameters > 1:
            channels = fixed(x.shape[1], "channels", self.kind) if x.rank > 1 else 1
            check_inferred(self.kind, "num_parameters", self.num_parameters, channels)
        return x

    def parameters(self, *_: Tensor) -> dict[str, State]:
        return {"weight": State((self.num_parameters,))}

    def compute(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        rank = tensor_of(x).rank
        slope = g.state("weight")
        return g.op(
            "PRelu", x, unsqueezed(g, slope, *range(1, rank - 1)) if self.num_parameters > 1 else slope
        )

    @classmethod
    def sample(cls, random: Random) -> Case:
        channels = random.randint(2, 4)
        sizes = (
            (random.randint(1, 3), channels, *shape(random, 0, 2)) if random.random() < 0.8 else (channels,)
        )
        arguments = {
            "num_parameters": pick(random, (1, channels, channels, 3)),
            "init": pick(random, (0.25, 0.1)),
        }
        return Case(arguments, (Tensor(sizes, pick(random, ("float32",) * 9 + ("float64",))),))
