"""What layers over the axes of a sequence, an image or a volume share.

That is which axes those are, one argument for each of them, and sizes that must not vanish.
"""

from __future__ import annotations

from typing import Any, ClassVar, TypeAlias, cast

from pydantic import ValidationInfo, field_validator

from netdsl.ir.decide import Constraint, assume, holds
from netdsl.ir.dims import Dim, Expr
from netdsl.ir.types import Tensor
from netdsl.ops.base import Count, Layer, ShapeProblem, Size

Sizes: TypeAlias = Size | tuple[Size, ...]  # one for all axes, or one for each
Counts: TypeAlias = Count | tuple[Count, ...]

PER_AXIS = ("kernel_size", "stride", "padding", "dilation", "output_padding", "output_size")


def layout(axes: int) -> str:
    """The input of a layer over `axes` axes, as `[N, C, H, W]`."""
    return f"[N, C, {', '.join({1: 'L', 2: 'HW', 3: 'DHW'}[axes])}]"


class Spatial(Layer):
    """A layer over the last `axes` axes of a batch, [N, C, …]."""

    axes: ClassVar[int]

    @field_validator(*PER_AXIS, check_fields=False)
    @classmethod
    def _one_for_each_axis(cls, value: int | tuple[int, ...] | None, info: ValidationInfo) -> object:
        if isinstance(value, tuple) and len(value) != cls.axes:
            raise ValueError(
                f"`{info.field_name}` of `{cls.kind}` is one number, or a list of {cls.axes}, "
                f"but this list has {len(value)}"
            )
        return value

    def per_axis(self, value: Any) -> tuple[Any, ...]:
        """An argument as one value for each axis."""
        return cast("tuple[Any, ...]", value) if isinstance(value, tuple) else (value,) * self.axes

    def spatial(self, x: Tensor) -> tuple[Dim, ...]:
        """The sizes that the layer works along. A batch axis is needed, which torch would let go missing."""
        if x.rank == self.axes + 2:
            return x.shape[2:]
        raise ShapeProblem(
            "E0401",
            f"`{self.kind}` needs {self.axes + 2} axes, {layout(self.axes)}, but the input has {x.rank}",
            operand=0,
            label=f"this is {x}",
            help=self._other_rank(x),
        )

    def _other_rank(self, x: Tensor) -> str | None:
        """The layer for that number of axes, or that the batch is missing."""
        other = f"{self.kind[:-2]}{x.rank - 2}d" if self.kind.endswith(f"{self.axes}d") else ""
        helps = [f"there is `{other}` for {layout(x.rank - 2)}"] if other and x.rank in (3, 4, 5) else []
        if x.rank == self.axes + 1:
            helps.append("where the batch is missing, `unsqueeze(0)` adds it")
        return "; ".join(helps) or None

    def present(self, x: Tensor, before: Dim, after: Dim, argument: str = "kernel_size") -> Dim:
        """`after`, the size that `before` becomes, which must not get below 1."""
        if holds(after, ">=", 1):
            return after  # at once: the texts below take longer to write than it takes to decide
        return at_least(
            after,
            1,
            ShapeProblem(
                "E0404",
                f"the input of `{self.kind}` is too small for its `{argument}`: {before} becomes {after}",
                operand=0,
                label=f"this is {x}",
                argument=argument,
            ),
        )


def at_least(size: Dim, low: int, problem: ShapeProblem) -> Dim:
    """`size`, which must not be below `low`; where a free dimension decides that, it becomes a condition."""
    known = holds(size, ">=", low)
    if known is False:
        raise problem
    if known is None and isinstance(size, Expr):
        assume(Constraint(size, ">=", low))
    return size


def flat_pads(pads: tuple[tuple[int, int], ...]) -> list[int]:
    """Pads in the order of ONNX: what goes before each axis, then what goes after each."""
    return [before for before, _ in pads] + [after for _, after in pads]
