"""`interpolate`: `Upsample` as a function, whose sizes may depend on free dimensions."""

from __future__ import annotations

from random import Random
from typing import Any

from pydantic import model_validator

from netdsl.ir.dims import Expr
from netdsl.ir.types import Tensor
from netdsl.ops.base import Case, Function, ShapeProblem, Size, op
from netdsl.ops.onnx_parts import tensor_of
from netdsl.ops.resize import Mode, Resize
from netdsl.ops.target import Arg, OnnxTarget, OnnxValue, call
from netdsl.ops.upsample import PositiveFactor, Upsample


@op
class Interpolate(Function):
    """Resizes sequences, images or volumes, [N, C, ...], to `size` or by `scale_factor`.

    interpolate(scale_factor = 2, mode = "bilinear") : [N, 8, H, W] -> [N, 8, 2*H, 2*W]
    interpolate([H, W]) : [N, 8, 7, 7] -> [N, 8, H, W]
    """

    kind = "interpolate"
    positional = ("size", "scale_factor", "mode")

    size: Size | Expr | tuple[Size | Expr, ...] | None = None
    scale_factor: PositiveFactor | tuple[PositiveFactor, ...] | None = None
    mode: Mode = "nearest"
    align_corners: bool | None = None
    recompute_scale_factor: bool | None = None
    antialias: bool = False

    @property
    def resize(self) -> Resize:
        return Resize(
            self.size,
            self.scale_factor,
            self.mode,
            self.align_corners,
            self.recompute_scale_factor,
            self.antialias,
        )

    @model_validator(mode="after")
    def _arguments_fit_together(self) -> Interpolate:
        fault = self.resize.fault()
        if fault is None and self.antialias and self.align_corners:
            fault = (
                "`antialias` and `align_corners = True` exclude each other: together they differ by target"
            )
        if fault is not None:
            raise ValueError(fault)
        return self

    def infer(self, input: Tensor) -> Tensor:
        return self.resize.result(self.kind, input)

    def torch(self, input: Tensor) -> Any:
        """TorchScript takes floats only for factors."""
        given = self.arguments()
        if isinstance(self.scale_factor, tuple):
            given["scale_factor"] = tuple(map(float, self.scale_factor))
        elif self.scale_factor is not None:
            given["scale_factor"] = float(self.scale_factor)
        return call("F.interpolate", Arg(0), **given)

    def onnx(self, g: OnnxTarget, input: OnnxValue) -> OnnxValue:
        x = tensor_of(input)
        sizes = zip(x.shape[2:], self.infer(x).shape[2:], strict=True)
        if self.mode == "area" and any(
            isinstance(after, Expr) and before != after for before, after in sizes
        ):
            raise ShapeProblem(
                "E0403",
                'ONNX has no `interpolate` with `mode = "area"` to a size that is known only at run time',
                operand=0,
                label=f"this is {x}",
                argument="mode",
            )
        return self.resize.onnx(g, input, x)

    @classmethod
    def sample(cls, random: Random) -> Case:
        case = Upsample.sample(random)
        x = case.operands[0]
        smooth = case.arguments["mode"] in ("bilinear", "bicubic")
        if random.random() > (0.3 if smooth else 0.05) or not isinstance(x, Tensor):
            return case
        case.arguments.pop("align_corners", None)
        wider = Case({**case.arguments, "antialias": True}, (x.with_shape(*(size + 2 for size in x.shape)),))
        return case if cls._has_single_column(wider) else wider

    @classmethod
    def _has_single_column(cls, case: Case) -> bool:
        """Of a result with an axis of 1, torch's antialiasing gives numbers that are not the mean of anything."""
        x = case.operands[0]
        assert isinstance(x, Tensor)
        try:
            return 1 in cls(**case.arguments).infer(x).shape[2:]
        except (ValueError, ShapeProblem):
            return True
