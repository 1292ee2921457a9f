"""Resizing by interpolation: sizes as torch computes them, and the ONNX that gives the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, TypeAlias

from netdsl.ir.dims import Dim
from netdsl.ir.types import Tensor
from netdsl.ops.adaptive import pool_adaptively
from netdsl.ops.base import ShapeProblem
from netdsl.ops.spatial import at_least
from netdsl.ops.target import OnnxTarget, OnnxValue

Mode: TypeAlias = Literal["nearest", "linear", "bilinear", "bicubic", "trilinear", "area", "nearest-exact"]
Factor: TypeAlias = int | float

LINEAR = ("linear", "bilinear", "bicubic", "trilinear")
_AXES = {"linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3}


def scaled(size: Dim, factor: float) -> Dim:
    """`size * factor`, rounded down as torch does it, in double precision.

    >>> scaled(10, 0.3), scaled(7, 2.0)
    (3, 14)
    """
    if isinstance(size, int):
        return int(size * factor)
    # A double that was written with few digits means that fraction: rounding the product gives the same.
    fraction = Fraction(factor).limit_denominator(1000)
    if float(fraction) != factor:
        fraction = Fraction(factor)
    return size * fraction.numerator // fraction.denominator


@dataclass(frozen=True)
class Resize:
    """What torch's `interpolate` is told: a size or a factor, for all axes or for each."""

    size: Dim | tuple[Dim, ...] | None
    scale_factor: Factor | tuple[Factor, ...] | None
    mode: Mode
    align_corners: bool | None = None
    recompute_scale_factor: bool | None = None
    antialias: bool = False

    def fault(self) -> str | None:
        """What is wrong with the arguments whatever the input, in words."""
        if (self.size is None) == (self.scale_factor is None):
            return "one of `size` and `scale_factor` says how large the result is, and only one"
        if self.align_corners is not None and self.mode not in LINEAR:
            return f'`align_corners` has no meaning with `mode = "{self.mode}"`'
        if self.recompute_scale_factor and self.size is not None:
            return "`recompute_scale_factor` has no meaning with a `size`"
        if self.antialias and self.mode not in ("bilinear", "bicubic"):
            return f'`antialias` has no meaning with `mode = "{self.mode}"`'
        return None

    def result(self, kind: str, x: Tensor) -> Tensor:
        """The type of the resized `x`."""
        axes = x.rank - 2
        wanted = _AXES.get(self.mode)
        if axes not in (1, 2, 3) or (wanted is not None and axes != wanted):
            needs = f"{wanted + 2} axes" if wanted else "3 to 5 axes, [N, C, ...]"
            raise ShapeProblem(
                "E0401",
                f'`{kind}` with `mode = "{self.mode}"` needs {needs}, but the input has {x.rank}',
                operand=0,
                label=f"this is {x}",
            )
        if not x.is_float:
            raise ShapeProblem(
                "E0405",
                f"`{kind}` needs floating-point numbers, but its input is {x.dtype}",
                operand=0,
                label=f"this is {x}",
                help="convert it first: `-> to(float32)`",
            )
        return x.with_shape(*x.shape[:2], *self.sizes(kind, x))

    def sizes(self, kind: str, x: Tensor) -> list[Dim]:
        spatial = x.shape[2:]
        name = "scale_factor" if self.size is None else "size"
        given = self.scale_factor if self.size is None else self.size
        each: tuple[Dim | float, ...] = given if isinstance(given, tuple) else (given,) * len(spatial)  # type: ignore[assignment]
        if len(each) != len(spatial):
            raise ShapeProblem(
                "E0401",
                f"`{name}` of `{kind}` is for {len(each)} axes, but the input has {len(spatial)} to resize",
                operand=0,
                label=f"this is {x}",
                argument=name,
            )
        found: list[Dim] = []
        for before, value in zip(spatial, each, strict=True):
            after = scaled(before, value) if self.size is None else value  # type: ignore[arg-type]
            problem = ShapeProblem(
                "E0404",
                f"`{kind}` leaves nothing of an axis: {before} becomes {after}",
                operand=0,
                label=f"this is {x}",
                argument=name,
            )
            found.append(at_least(after, 1, problem))  # type: ignore[arg-type]
        return found

    def onnx(self, g: OnnxTarget, x: OnnxValue, type: Tensor) -> OnnxValue:
        """`x`, of `type`, resized."""
        result = self.result("interpolate", type)
        if self.mode == "area":
            return pool_adaptively(g, x, type, result.shape[2:], "Average")
        sizes = scales = None
        if self.scale_factor is None or self.recompute_scale_factor or self.is_exact(type, result):
            sizes = g.sizes(result.shape)
        else:
            scales = g.constant([1.0, 1.0, *self.factors(type.rank - 2)], "float32")
        inputs = [x, None, scales] if sizes is None else [x, None, None, sizes]
        if self.mode in LINEAR:
            kind = "cubic" if self.mode == "bicubic" else "linear"
            place = "align_corners" if self.align_corners else "half_pixel"
            return g.op(
                "Resize",
                *inputs,
                mode=kind,
                coordinate_transformation_mode=place,
                cubic_coeff_a=-0.5 if self.antialias else -0.75,
                antialias=int(self.antialias),
                exclude_outside=int(self.antialias),
            )
        exact = self.mode == "nearest-exact"
        return g.op(
            "Resize",
            *inputs,
            mode="nearest",
            coordinate_transformation_mode="half_pixel" if exact else "asymmetric",
            nearest_mode="round_prefer_ceil" if exact else "floor",
        )

    def factors(self, axes: int) -> Sequence[float]:
        factor = self.scale_factor
        return [float(f) for f in factor] if isinstance(factor, tuple) else [float(factor or 1)] * axes

    def is_exact(self, before: Tensor, after: Tensor) -> bool:
        """Whether the sizes are in the very ratio that was asked for."""
        factors = self.factors(before.rank - 2)
        pairs = zip(before.shape[2:], after.shape[2:], factors, strict=True)
        return all(f.is_integer() or (isinstance(s, int) and s * f == t) for s, t, f in pairs)
