"""Sizes as ONNX values: numbers are constants, free dimensions are read from the shapes of the model's
inputs.

A size is a vector of one int64, so that several are concatenated as they are; each size is computed once in a
model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netdsl.backends.errors import BackendError
from netdsl.ir.decide import Assumptions, minimum_value
from netdsl.ir.dims import Atom, Dim, Expr, Symbol, evaluate, symbol, symbols
from netdsl.ir.types import Tensor
from netdsl.ops.target import OnnxValue

if TYPE_CHECKING:
    from netdsl.backends.onnx_target import Recorder


class SizeWriter:
    """Writes sizes into the prologue of `recorder`."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._axes: dict[str, tuple[str, int]] = {}  # where an input has a free dimension as it is
        self._linear: dict[
            str, tuple[str, int, int, int]
        ] = {}  # where it has a multiple of one, plus a number
        self._known: dict[Dim, OnnxValue] = {}
        self._scalars: dict[Dim, OnnxValue] = {}
        self._vectors: dict[tuple[Dim, ...], OnnxValue] = {}

    def add(self, name: str, type: Tensor) -> None:
        """Note which free dimensions the input `name` shows."""
        for axis, dim in enumerate(type.shape):
            free = symbols(dim)
            if len(free) != 1:
                continue
            (only,) = free
            if dim == symbol(only):
                self._axes.setdefault(only, (name, axis))
                continue
            offset = evaluate(dim, {only: 0})
            factor = evaluate(dim, {only: 1}) - offset
            if factor > 0 and factor * symbol(only) + offset == dim:
                self._linear.setdefault(only, (name, axis, factor, offset))

    def scalar(self, dim: Dim) -> OnnxValue:
        """`dim` without axes."""
        if isinstance(dim, int):
            return self._recorder.constant(dim, "int64")
        if dim not in self._scalars:
            axes = self._recorder.constant([0], "int64")
            self._scalars[dim] = self._recorder.in_prologue(
                "Squeeze", [self._size(dim), axes], f"size/{dim}/scalar"
            )
        return self._scalars[dim]

    def vector(self, dims: Sequence[Dim]) -> OnnxValue:
        """`dims` as one vector."""
        key = tuple(dims)
        if all(isinstance(dim, int) for dim in key):
            return self._recorder.constant(list(key), "int64")
        if len(key) == 1:
            return self._size(key[0])
        if key not in self._vectors:
            pieces: list[OnnxValue] = []
            numbers: list[int] = []
            for dim in key:
                if isinstance(dim, int):
                    numbers.append(dim)
                    continue
                if numbers:
                    pieces.append(self._recorder.constant(numbers, "int64"))
                    numbers = []
                pieces.append(self._size(dim))
            if numbers:
                pieces.append(self._recorder.constant(numbers, "int64"))
            name = f"sizes/[{', '.join(map(str, key))}]"
            self._vectors[key] = self._recorder.in_prologue("Concat", pieces, name, axis=0)
        return self._vectors[key]

    def _size(self, dim: Dim) -> OnnxValue:
        if isinstance(dim, int):
            return self._recorder.constant([dim], "int64")
        if dim not in self._known:
            self._known[dim] = self._sum(dim)
        return self._known[dim]

    def _sum(self, dim: Expr) -> OnnxValue:
        """The terms added up, those that are subtracted last."""
        name = f"size/{dim}"
        terms = sorted(dim.terms, key=lambda term: term[1] < 0)
        total: OnnxValue | None = None
        for number, (monomial, factor) in enumerate(terms):
            last = number == len(terms) - 1
            single = name if len(terms) == 1 else f"{name}/term"
            if total is None:
                total = self._product(monomial, factor, single)
                continue
            term = self._product(monomial, abs(factor), f"{name}/term")
            kind = "Sub" if factor < 0 else "Add"
            total = self._recorder.in_prologue(kind, [total, term], name if last else f"{name}/part")
        assert total is not None, "a size that is not a number has terms"
        return total

    def _product(self, monomial: tuple[tuple[Atom, int], ...], factor: int, name: str) -> OnnxValue:
        factors = [self._atom(atom) for atom, power in monomial for _ in range(power)]
        if factor != 1 or not factors:
            factors.append(self._recorder.constant([factor], "int64"))
        value = factors[0]
        for other in factors[1:]:
            value = self._recorder.in_prologue("Mul", [value, other], name)
        return value

    def _atom(self, atom: Atom) -> OnnxValue:
        key = Expr(((((atom, 1),), 1),))
        if key not in self._known:
            if isinstance(atom, Symbol):
                self._known[key] = self._free(atom.name)
            else:
                self._known[key] = self._floor(atom.numerator, atom.denominator, f"size/{key}")
        return self._known[key]

    def _floor(self, numerator: Dim, denominator: Dim, name: str) -> OnnxValue:
        """ONNX divides towards zero, sizes round down: the same unless something is negative.

        onnxruntime makes `1 / x * y` into `y / x`, which is wrong for integers, so 1 is not divided as it is.
        """
        top, bottom = self._size(numerator), self._size(denominator)
        with Assumptions():  # sizes are in the model's free dimensions here, whatever body asks
            least, divisor = minimum_value(numerator), minimum_value(denominator)
        if least is None or least < 0 or divisor is None or divisor < 1 or numerator == 1:
            rest = self._recorder.in_prologue("Mod", [top, bottom], f"{name}/rest")
            top = self._recorder.in_prologue("Sub", [top, rest], f"{name}/whole")
        return self._recorder.in_prologue("Div", [top, bottom], name)

    def _free(self, name: str) -> OnnxValue:
        if name in self._axes:
            value, axis = self._axes[name]
            return self._shape(value, axis, f"size/{name}")
        if name not in self._linear:
            raise BackendError(f"the free dimension `{name}` cannot be read off the shape of any input")
        value, axis, factor, offset = self._linear[name]
        size = self._shape(value, axis, f"size/{name}/axis")
        for kind, number, needed in (("Sub", offset, offset != 0), ("Div", factor, factor != 1)):
            if needed:
                operands = [size, self._recorder.constant([number], "int64")]
                size = self._recorder.in_prologue(kind, operands, f"size/{name}")
        return size

    def _shape(self, value: str, axis: int, name: str) -> OnnxValue:
        return self._recorder.in_prologue("Shape", [OnnxValue(value)], name, start=axis, end=axis + 1)
