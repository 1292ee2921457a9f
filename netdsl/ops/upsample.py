"""Layers that resize sequences, images and volumes by interpolation."""

from __future__ import annotations

from abc import abstractmethod
from random import Random
from typing import Annotated, Any, ClassVar, TypeAlias

from pydantic import Field, model_validator

from netdsl.ir.types import Tensor
from netdsl.ops.base import Case, Layer, Size, op
from netdsl.ops.cases import pick
from netdsl.ops.onnx_parts import tensor_of
from netdsl.ops.resize import Mode, Resize
from netdsl.ops.target import Call, OnnxTarget, OnnxValue, call

PositiveFactor: TypeAlias = Annotated[int, Field(gt=0)] | Annotated[float, Field(gt=0)]


class _Upsample(Layer):
    """`size` or `scale_factor` say how large the result is; by position it is the factor."""

    positional: ClassVar[tuple[str, ...]] = ("scale_factor",)

    size: Size | tuple[Size, ...] | None = None
    scale_factor: PositiveFactor | tuple[PositiveFactor, ...] | None = None

    @property
    @abstractmethod
    def resize(self) -> Resize:
        """The same in torch's `interpolate`."""

    @model_validator(mode="after")
    def _arguments_fit_together(self) -> _Upsample:
        fault = self.resize.fault()
        if fault is not None:
            raise ValueError(fault)
        return self

    def infer(self, x: Tensor) -> Tensor:
        return self.resize.result(self.kind, x)

    def module(self, *_: Any) -> Call:
        """torch has `size` in the first place."""
        return call(f"nn.{self.kind}", **self.arguments())

    def onnx(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        return self.resize.onnx(g, x, tensor_of(x))

    @classmethod
    def sample_arguments(cls, random: Random, axes: int) -> dict[str, Any]:
        sizes = tuple(random.randint(1, 7) for _ in range(axes))
        factors = tuple(pick(random, (2, 3, 1.5, 0.5, 2.5, 0.7)) for _ in range(axes))
        by_size: dict[str, Any] = {"size": pick(random, (sizes, sizes, sizes[0]))}
        by_factor: dict[str, Any] = {"scale_factor": pick(random, (factors, factors[0], factors[0]))}
        return random.choices([by_size, by_factor, {}, {**by_size, **by_factor}], (5, 7, 1, 1))[0]

    @classmethod
    def sample_input(cls, random: Random, rank: int) -> Tensor:
        sizes = tuple(random.randint(1, 6) for _ in range(rank))
        return Tensor(sizes, pick(random, ("float32",) * 12 + ("int64",)))


@op
class Upsample(_Upsample):
    """Resize by `mode`: the nearest element, or between the nearest ones.

    Upsample(2) : [N, C, H, W] -> [N, C, 2*H, 2*W]
    Upsample(size = [224, 224], mode = "bilinear") : [N, C, H, W] -> [N, C, 224, 224]
    Upsample(0.5, mode = "area") : [N, C, L] -> [N, C, L//2]
    """

    mode: Mode = "nearest"
    align_corners: bool | None = None
    recompute_scale_factor: bool | None = None

    @property
    def resize(self) -> Resize:
        return Resize(
            self.size, self.scale_factor, self.mode, self.align_corners, self.recompute_scale_factor
        )

    @classmethod
    def sample(cls, random: Random) -> Case:
        mode = pick(
            random,
            (
                "nearest",
                "nearest",
                "nearest-exact",
                "linear",
                "bilinear",
                "bilinear",
                "bicubic",
                "trilinear",
                "area",
            ),
        )
        axes = {"linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3}.get(mode, random.randint(1, 3))
        arguments = {"mode": mode, **cls.sample_arguments(random, axes)}
        smooth = mode in ("linear", "bilinear", "bicubic", "trilinear")
        if random.random() < (0.5 if smooth else 0.05):
            arguments["align_corners"] = random.random() < 0.7
        if random.random() < 0.2:
            arguments["recompute_scale_factor"] = random.random() < 0.5
        rank = axes + 2 + (random.random() < 0.05)
        return Case(arguments, (cls.sample_input(random, rank),))


@op
class UpsamplingNearest2d(_Upsample):
    """Repeat the pixels of an image.

    UpsamplingNearest2d(2) : [N, C, H, W] -> [N, C, 2*H, 2*W]
    """

    @property
    def resize(self) -> Resize:
        return Resize(self.size, self.scale_factor, "nearest")

    @classmethod
    def sample(cls, random: Random) -> Case:
        return Case(cls.sample_arguments(random, 2), (cls.sample_input(random, 4),))


@op
class UpsamplingBilinear2d(_Upsample):
    """Resize an image between its four nearest pixels, corners on corners.

    UpsamplingBilinear2d(2) : [N, C, H, W] -> [N, C, 2*H, 2*W]
    """

    @property
    def resize(self) -> Resize:
        return Resize(self.size, self.scale_factor, "bilinear", align_corners=True)

    @classmethod
    def sample(cls, random: Random) -> Case:
        rank = 3 if random.random() < 0.05 else 4
        return Case(cls.sample_arguments(random, 2), (cls.sample_input(random, rank),))
