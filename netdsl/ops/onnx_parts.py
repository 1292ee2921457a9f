"""Pieces that several ONNX lowerings share. They know dtypes: operands carry their types."""

from __future__ import annotations

from collections.abc import Sequence

from netdsl.ir.dims import Dim, Expr
from netdsl.ir.types import Scalar, Tensor
from netdsl.ops.promotion import category
from netdsl.ops.target import OnnxTarget, OnnxValue

_NARROW = ("uint8", "int8", "int16")  # ONNX's runtimes do arithmetic on 32 and 64 bits only


def type_of(value: OnnxValue | Scalar) -> Tensor | Scalar:
    """The type of an operand; values made by a lowering itself have none."""
    if isinstance(value, Scalar):
        return value
    if value.type is None:
        raise TypeError(f"the type of {value.name} is not known")
    return value.type


def tensor_of(value: OnnxValue) -> Tensor:
    """The type of an operand that is a tensor."""
    found = type_of(value)
    if isinstance(found, Scalar):
        raise TypeError(f"{value.name} is a number")
    return found


def cast(g: OnnxTarget, value: OnnxValue | Scalar, dtype: str) -> OnnxValue:
    """`value` as a tensor of `dtype`: a number becomes a constant, a size is computed."""
    if isinstance(value, Scalar):
        if not isinstance(value.value, Expr):
            return g.constant(_fit(value.value, dtype), dtype)
        size = g.size(value.value)
        return size if dtype == "int64" else g.op("Cast", size, to=dtype)
    if isinstance(value.type, Tensor) and value.type.dtype == dtype:
        return value
    return g.op("Cast", value, to=dtype)


def _fit(number: int | float | bool, dtype: str) -> int | float | bool:
    kind = category(dtype)
    return bool(number) if kind == 0 else int(number) if kind == 1 else float(number)


def width(dtype: str) -> str:
    """The dtype to compute in for `dtype`.

    >>> width("int8"), width("float32")
    ('int32', 'float32')
    """
    return "int32" if dtype in _NARROW else dtype


def numeric(dtype: str) -> str:
    """The dtype to compute in where bools count as 0 and 1."""
    return "int32" if dtype == "bool" else width(dtype)


def finish(g: OnnxTarget, value: OnnxValue, computed: str, dtype: str) -> OnnxValue:
    """`value`, computed in one dtype, in the dtype of the result."""
    return value if computed == dtype else g.op("Cast", value, to=dtype)


def reshaped(
    g: OnnxTarget, value: OnnxValue, shape: Sequence[Dim], before: Sequence[Dim] | None = None
) -> OnnxValue:
    """`value` in another shape. A single free size is left to be inferred, so it need not be computed.

    `before` is the shape of `value`, the operand's where it is left out: a free size that is at the same place there
    is copied.
    """
    if before is None and isinstance(value.type, Tensor):
        before = value.type.shape
    sizes: list[Dim] = list(shape)
    for place, size in enumerate(shape):
        if before is not None and place < len(before) and isinstance(size, Expr) and before[place] == size:
            sizes[place] = 0
    free = [place for place, size in enumerate(sizes) if isinstance(size, Expr)]
    if len(free) == 1 and -1 not in sizes:
        sizes[free[0]] = -1
    return g.op("Reshape", value, g.sizes(sizes))


def squeezed(g: OnnxTarget, value: OnnxValue, *axes: int) -> OnnxValue:
    return g.op("Squeeze", value, g.constant(list(axes), "int64")) if axes else value


def unsqueezed(g: OnnxTarget, value: OnnxValue, *axes: int) -> OnnxValue:
    return g.op("Unsqueeze", value, g.constant(list(axes), "int64")) if axes else value


def transposed(g: OnnxTarget, value: OnnxValue, order: Sequence[int]) -> OnnxValue:
    return value if list(order) == list(range(len(order))) else g.op("Transpose", value, perm=list(order))


def sliced(g: OnnxTarget, value: OnnxValue, axis: int, start: Dim, stop: Dim, step: int = 1) -> OnnxValue:
    """`start` and `stop` count from the front of the axis."""
    return g.op(
        "Slice",
        value,
        g.sizes([start]),
        g.sizes([stop]),
        g.constant([axis], "int64"),
        g.constant([step], "int64"),
    )


def expanded(g: OnnxTarget, value: OnnxValue, shape: Sequence[Dim]) -> OnnxValue:
    return g.op("Expand", value, g.sizes(shape))


def choose(
    g: OnnxTarget, mask: OnnxValue, one: OnnxValue | Scalar, other: OnnxValue | Scalar, dtype: str
) -> OnnxValue:
    """`one` where `mask` is true, else `other`. Runtimes have no Where of bools: it is a matter of logic."""
    if dtype != "bool":
        computed = width(dtype)
        return finish(
            g, g.op("Where", mask, cast(g, one, computed), cast(g, other, computed)), computed, dtype
        )
    left = g.op("And", mask, cast(g, one, dtype))
    return g.op("Or", left, g.op("And", g.op("Not", mask), cast(g, other, dtype)))
