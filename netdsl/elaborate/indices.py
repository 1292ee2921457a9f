"""Indices of tensors: `x[:, 0]`, `x[..., ::2]`, `x[:, None]`, and integer tensors that gather."""

from __future__ import annotations

from typing import Any

from netdsl.elaborate.arguments import Bound
from netdsl.elaborate.calls import Calls
from netdsl.elaborate.values import POISON, in_words, is_tensor, single
from netdsl.ir.dims import Expr
from netdsl.ops.base import registry
from netdsl.ops.target import Arg, Stride
from netdsl.source import Span
from netdsl.syntax import tree


class Indices(Calls):
    """A part of a tensor is an operation with the indices as its argument; tensors among them are operands."""

    def index_tensor(self, expr: tree.Subscript, value: Any) -> Any:
        """`x[:, 0]`: static indices, slices, `None`, `...`, and tensors that gather."""
        operands: list[tuple[Any, Span]] = [(single(value), expr.value.span)]
        indices: list[Any] = []
        for written in expr.indices:
            index = self._tensor_index(written, operands)
            if index is POISON:
                return POISON
            indices.append(index)
        bound = Bound(operands, {"indices": tuple(indices)}, {"indices": expr.span})
        return self.place_operation(registry["index"], bound, expr.span, None)

    def _tensor_index(self, written: tree.Expr | tree.Slice, operands: list[tuple[Any, Span]]) -> Any:
        if isinstance(written, tree.Slice):
            return self._stride(written)
        if isinstance(written, tree.Constant) and written.value in (None, Ellipsis):
            return written.value
        value = self.value(written)
        if is_tensor(value):
            operands.append((value, written.span))
            return Arg(len(operands) - 1)
        if value is None or value is POISON:
            return value
        if isinstance(value, bool) or not isinstance(value, int | Expr):
            return self.error(
                "E0411",
                f"an index is an integer, a slice, `None` or a tensor, found {in_words(value)}",
                written.span,
            )
        return value

    def _stride(self, written: tree.Slice) -> Any:
        bounds = [
            None if b is None else self.static(b, "a slice")
            for b in (written.start, written.stop, written.step)
        ]
        if any(b is POISON for b in bounds):
            return POISON
        for bound in bounds:
            if bound is not None and (isinstance(bound, bool) or not isinstance(bound, int | Expr)):
                return self.error("E0411", f"a slice takes integers, found {in_words(bound)}", written.span)
        if isinstance(bounds[2], Expr) or (bounds[2] is not None and bounds[2] < 1):
            return self.error(
                "E0411",
                f"the step of a slice is a positive integer, found {in_words(bounds[2])}",
                written.span,
            )
        return Stride(bounds[0], bounds[1], bounds[2])
