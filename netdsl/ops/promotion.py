"""What operands become together: the dtype they are promoted to and the shape they are broadcast to."""

from __future__ import annotations

from functools import reduce
from itertools import zip_longest
from typing import Literal, TypeAlias

from netdsl.ir.decide import DimMismatch, join
from netdsl.ir.dims import Dim, Expr
from netdsl.ir.types import FLOATS, Scalar, Tensor
from netdsl.ops.base import ShapeProblem

Dtype: TypeAlias = Literal[
    "float16", "bfloat16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64", "bool"
]

_SIGNED = ("int8", "int16", "int32", "int64")


def category(dtype: str) -> int:
    """0 for bool, 1 for integers, 2 for floating point: a higher one wins whatever its width."""
    return 0 if dtype == "bool" else 2 if dtype in FLOATS else 1


def promote_dtypes(left: str, right: str) -> str:
    """The smallest dtype that holds both.

    >>> promote_dtypes("float16", "bfloat16"), promote_dtypes("uint8", "int8"), promote_dtypes("int64", "float16")
    ('float32', 'int16', 'float16')
    """
    if left == right:
        return left
    if category(left) != category(right):
        return max(left, right, key=category)
    if category(left) == 2:
        return "float64" if "float64" in (left, right) else "float32"
    if "uint8" in (left, right):
        other = right if left == "uint8" else left
        return "int16" if other == "int8" else other
    return max(left, right, key=_SIGNED.index)


def scalar_dtype(scalar: Scalar) -> str:
    """What torch makes of a Python number on its own."""
    if isinstance(scalar.value, bool):
        return "bool"
    return "int64" if isinstance(scalar.value, int | Expr) else "float32"


def promote(*operands: Tensor | Scalar) -> str:
    """The dtype of a result of `operands`. Tensors with axes count before tensors without, and those before numbers.

    >>> promote(Tensor((2,), "float16"), Tensor((), "float32"), Scalar(2.5))
    'float16'
    >>> promote(Tensor((2,), "int64"), Scalar(2.5))
    'float32'
    """
    ranks: list[str] = []
    for group in (
        [o.dtype for o in operands if isinstance(o, Tensor) and o.rank],
        [o.dtype for o in operands if isinstance(o, Tensor) and not o.rank],
        [scalar_dtype(o) for o in operands if isinstance(o, Scalar)],
    ):
        if group:
            ranks.append(reduce(promote_dtypes, group))
    return reduce(_combine, reversed(ranks))


def _combine(lower: str, higher: str) -> str:
    return lower if category(lower) > category(higher) else higher


def broadcast(what: str, *operands: Tensor | Scalar) -> tuple[Dim, ...]:
    """The shape that `operands` have together. `what` is what stands in the source, as `+`.

    >>> broadcast("+", Tensor((8, 1, 5)), Tensor((4, 1)), Scalar(2))
    (8, 4, 5)
    """
    tensors = [o for o in operands if isinstance(o, Tensor)]
    shape: tuple[Dim, ...] = ()
    for tensor in tensors:
        shape = _broadcast_pair(what, shape, tensor.shape, tensors)
    return shape


def _broadcast_pair(
    what: str, a: tuple[Dim, ...], b: tuple[Dim, ...], tensors: list[Tensor]
) -> tuple[Dim, ...]:
    joined: list[Dim] = []
    note: str | None = None
    for back, (left, right) in enumerate(zip_longest(reversed(a), reversed(b), fillvalue=1), 1):
        try:
            joined.append(broadcast_dim(left, right))
        except (
            DimMismatch
        ) as mismatch:  # of several, the one nearest to the front says most: channels before sizes
            note = mismatch_note(max(len(a), len(b)) - back, left, right, mismatch)
    if note is not None:
        help = _residual_help(tensors)
        raise ShapeProblem("E0402", f"shapes do not match in `{what}`", note=note, help=help)
    return tuple(reversed(joined))


def broadcast_dim(left: Dim, right: Dim) -> Dim:
    """One axis: a size of 1 is repeated, everything else must agree. Raises `DimMismatch`."""
    if isinstance(left, int) and left == 1:
        return right
    if isinstance(right, int) and right == 1:
        return left
    return join(left, right)


def mismatch_note(axis: int | str, left: Dim, right: Dim, mismatch: DimMismatch) -> str:
    """Where two shapes part, with sizes that show it.

    `axis 2 is H and (H - 1)//2 + 1: for H = 29 these are 29 and 15`
    """
    place = f"axis {axis}" if isinstance(axis, int) else axis
    found = mismatch.comparison
    if not found.counterexample:
        return f"{place} is {left} and {right}"
    sizes = ", ".join(f"{name} = {value}" for name, value in sorted(found.counterexample.items()))
    return f"{place} is `{left}` and `{right}`: for {sizes} these are {found.left} and {found.right}"


def _residual_help(tensors: list[Tensor]) -> str | None:
    """Two feature maps, [N, C, H, W], that differ in channels: the projection of residual networks."""
    if len(tensors) != 2 or not 3 <= tensors[0].rank <= 5 or tensors[0].rank != tensors[1].rank:
        return None
    left, right = tensors
    for which, before, after in (("left", left, right), ("right", right, left)):
        stride = _projection_stride(before, after)
        if stride is not None:
            more = f", stride = {stride}" if stride != 1 else ""
            return f"project the {which} one first, for example `-> Conv{left.rank - 2}d({after.shape[1]}, 1{more})`"
    return None


def _projection_stride(before: Tensor, after: Tensor) -> int | None:
    """The stride of a convolution with a kernel of 1 that brings `before` to the sizes of `after`."""
    channels = before.shape[1], after.shape[1]
    if before.shape[0] != after.shape[0] or 1 in channels:
        return None
    if not all(isinstance(c, int) for c in channels):
        return None
    for stride in (1, 2, 4, 8):
        strided = tuple((size - 1) // stride + 1 for size in before.shape[2:])
        if strided == after.shape[2:]:
            return stride
    return None


def float_result(dtype: str) -> str:
    """What functions such as `exp` give: integers and bools become float32."""
    return dtype if dtype in FLOATS else "float32"


def need_float(kind: str, x: Tensor, *, operand: int = 0) -> None:
    """Some functions are defined on floating point only."""
    if not x.is_float:
        raise ShapeProblem(
            "E0405",
            f"`{kind}` works on floating point, found {x.dtype}",
            operand=operand,
            label=f"this is {x}",
            help="convert it first: `-> to(float32)`",
        )


def need_numbers(kind: str, x: Tensor, *, operand: int = 0) -> None:
    """Some functions are not defined on bools."""
    if x.dtype == "bool":
        raise ShapeProblem(
            "E0405",
            f"`{kind}` works on numbers, found bool",
            operand=operand,
            label=f"this is {x}",
            help="convert it first: `-> to(float32)`",
        )
