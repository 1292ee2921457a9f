"""Axes as torch counts them: from 0, or from -1 at the end."""

from __future__ import annotations

from netdsl.ir.types import Tensor
from netdsl.ops.base import ShapeProblem


def axis(kind: str, dim: int, x: Tensor, *, argument: str = "dim", operand: int = 0, extra: int = 0) -> int:
    """`dim` as a number from 0; `extra` axes may be named beyond those of `x`, as for `unsqueeze`.

    >>> axis("softmax", -1, Tensor((2, 3)))
    1
    """
    rank = x.rank + extra
    if -rank <= dim < rank:
        return dim % rank
    count = "no axes" if rank == 0 else "1 axis" if rank == 1 else f"{rank} axes"
    raise ShapeProblem(
        "E0407",
        f"`{argument} = {dim}` of `{kind}` is out of range: its {'result' if extra else 'input'} has {count}",
        operand=operand,
        label=f"this is {x}",
        argument=argument,
        note=f"axes are counted from 0, or from -1 at the end: {-rank} to {rank - 1} here" if rank else None,
    )


def axes(
    kind: str, dim: int | tuple[int, ...] | None, x: Tensor, *, argument: str = "dim"
) -> tuple[int, ...]:
    """Several axes, each once, in the order they were given; None is all of them."""
    if dim is None:
        return tuple(range(x.rank))
    given = (dim,) if isinstance(dim, int) else dim
    found = tuple(axis(kind, d, x, argument=argument) for d in given)
    if len(set(found)) != len(found):
        raise ShapeProblem(
            "E0407",
            f"`{argument} = {show_axes(given)}` of `{kind}` names an axis twice",
            argument=argument,
            operand=0,
            label=f"this is {x}",
        )
    return found


def show_axes(dims: tuple[int, ...]) -> str:
    return "[" + ", ".join(map(str, dims)) + "]"
