"""Resizing by interpolation: sizes as torch computes them, and the ONNX that gives the same numbers."""

from __future__ import annotations

from fractions import Fraction

from netdsl.ir.dims import Dim


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
