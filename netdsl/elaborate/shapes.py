"""Shape annotations: names that are not in scope bind to the dimension found there, everything else is checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from netdsl.diagnostics import Label
from netdsl.elaborate.sequences import Sequences
from netdsl.elaborate.values import POISON, in_words
from netdsl.ir.decide import Comparison, assume, compare
from netdsl.ir.dims import Dim, Expr, symbol
from netdsl.ir.types import DTYPES, Tensor
from netdsl.source import Span
from netdsl.syntax import tree


@dataclass(frozen=True)
class Checked:
    """An annotation on trial: the tensor's name and type, and where it was made."""

    name: str
    type: Tensor
    origin: Span | None = None


class Shapes(Sequences):
    """Annotations of inputs, bindings, outputs, params and buffers."""

    def dtype_of(self, shape: tree.Shape | None, default: str = "float32") -> Any:
        if shape is None or shape.dtype is None:
            return default
        if shape.dtype.id in DTYPES:
            return shape.dtype.id
        return self.unknown_name(shape.dtype.id, shape.dtype.span, list(DTYPES), "dtype")

    # -- declared sizes

    def free_shape(self, name: str, shape: tree.Shape, sizes: dict[str, int]) -> Tensor | None:
        """The type of a model's input: names that are not in scope are free dimensions, unless `sizes` fixes them."""
        dims: list[Dim] = []
        for axis, written in enumerate(shape.dims):
            dim = self._declared_dim(f"{name}_{axis}", written, sizes)
            if dim is POISON:
                return None
            dims.append(dim)
        dtype = self.dtype_of(shape)
        return None if dtype is POISON else Tensor(tuple(dims), dtype)

    def _declared_dim(self, anonymous: str, written: tree.Expr, sizes: dict[str, int]) -> Any:
        if isinstance(written, tree.Constant) and written.value is Ellipsis:
            return self.error(
                "E0415",
                "`...` in the input of a model, whose axes are all declared",
                written.span,
                help="write one name or number an axis, as in `[N, 3, H, W]`",
            )
        if isinstance(written, tree.Name) and (written.id == "_" or self.scope.find(written.id) is None):
            name = anonymous if written.id == "_" else written.id
            value: Any = sizes.get(name, symbol(name))
            if written.id != "_":
                self.scope.declare(name, value, written.span)
            return value
        return self.size(written)

    def size(self, written: tree.Expr) -> Any:
        """A dimension written as an expression: an integer of at least 1, or a size known at run time."""
        value = self.static(written, "a size")
        if value is POISON or isinstance(value, Expr):
            return value
        if isinstance(value, bool) or not isinstance(value, int):
            return self.error("E0303", f"a size is an integer, found {in_words(value)}", written.span)
        if value < 1:
            return self.error("E0404", f"a size of {value}", written.span, help="sizes are at least 1")
        return value

    def fixed_shape(self, what: str, shape: tree.Shape) -> tuple[int, ...] | None:
        """The shape of a `param` or `buffer`: integers."""
        dims: list[int] = []
        for written in shape.dims:
            if isinstance(written, tree.Constant) and written.value is Ellipsis:
                self.error(
                    "E0415", f"`...` in the shape of `{what}`, whose axes are all declared", written.span
                )
                return None
            value = self.size(written)
            if isinstance(value, Expr):
                self.error(
                    "E0403",
                    f"`{what}` needs fixed sizes, but `{value}` is known only at run time",
                    written.span,
                    help="write a number, or fix the dimension with `--set`",
                )
                return None
            if value is POISON:
                return None
            dims.append(value)
        return tuple(dims)

    # -- annotations

    def annotate(self, shape: tree.Shape, checked: Checked, *, code: str = "E0408") -> None:
        """Hold `shape` against a tensor: bind the names that are new, check the rest."""
        found = checked.type
        dtype = self.dtype_of(shape, found.dtype)
        if dtype is not POISON and dtype != found.dtype:
            self._does_not_hold(
                "E0405", checked, f"`{checked.name}` is {found.dtype}, declared as {dtype}", shape.span
            )
        for written, dim in self._pairs(shape, checked, code):
            self._check_dim(written, dim, checked, code)

    def _pairs(self, shape: tree.Shape, checked: Checked, code: str) -> Sequence[tuple[tree.Expr, Dim]]:
        """The written dimensions with the ones found, `...` taking what the others leave."""
        written, found = shape.dims, checked.type.shape
        gaps = [i for i, d in enumerate(written) if _is_ellipsis(d)]
        if len(gaps) > 1:
            self.error("E0415", "more than one `...` in a shape", written[gaps[1]].span)
            return ()
        rank = len(written) - len(gaps)
        if len(found) < rank or (not gaps and len(found) != rank):
            least = "at least " if gaps else ""
            message = f"`{checked.name}` has {_axes(len(found))}, declared with {least}{rank}"
            self._does_not_hold("E0401" if code != "E0408" else code, checked, message, shape.span)
            return ()
        if not gaps:
            return list(zip(written, found, strict=True))
        after = len(written) - gaps[0] - 1
        tail = list(zip(written[gaps[0] + 1 :], found[len(found) - after :], strict=True))
        return [*zip(written[: gaps[0]], found, strict=False), *tail]

    def _check_dim(self, written: tree.Expr, dim: Dim, checked: Checked, code: str) -> None:
        if isinstance(written, tree.Name) and written.id == "_":
            return
        if isinstance(written, tree.Name) and self.scope.find(written.id) is None:
            self.scope.assign(written.id, dim, written.span, what="")
            return
        expected = self.size(written)
        if expected is POISON:
            return
        outcome = compare(dim, expected)
        if outcome.kind == "sometimes" and outcome.constraint is not None:
            assume(outcome.constraint)
        elif outcome.kind == "different":
            text = f"`{written.span.text}` is {expected} here, but this axis of `{checked.name}` is {dim}"
            if isinstance(written, tree.Number):
                text = f"this axis of `{checked.name}` is {dim}, not {expected}"
            self._does_not_hold(code, checked, text, written.span, notes=counterexample(outcome))

    def _does_not_hold(
        self, code: str, checked: Checked, message: str, span: Span, notes: tuple[str, ...] = ()
    ) -> None:
        also = [Label(checked.origin, f"`{checked.name}` is {checked.type}")] if checked.origin else []
        self.error(code, message, span, also=also, notes=notes)


def axis_names(shape: tree.Shape | None, rank: int) -> tuple[str, ...]:
    """What `shape` calls the axes of a tensor, "" where it does not; nothing where it says nothing."""
    names = [d.id if isinstance(d, tree.Name) and d.id != "_" else "" for d in shape.dims] if shape else []
    gaps = [i for i, d in enumerate(shape.dims) if _is_ellipsis(d)] if shape else []
    if len(gaps) == 1:
        names[gaps[0] : gaps[0] + 1] = [""] * (rank - len(names) + 1)
    return tuple(names) if len(names) == rank and any(names) else ()


def _is_ellipsis(written: tree.Expr) -> bool:
    return isinstance(written, tree.Constant) and written.value is Ellipsis


def _axes(count: int) -> str:
    return "1 axis" if count == 1 else f"{count} axes"


def counterexample(outcome: Comparison) -> tuple[str, ...]:
    """`when H = 29, one is 14 and the other 15`, where sizes that differ are symbolic."""
    if not outcome.counterexample:
        return ()
    at = ", ".join(f"{name} = {value}" for name, value in sorted(outcome.counterexample.items()))
    return (f"when {at}, one is {outcome.left} and the other {outcome.right}",)
