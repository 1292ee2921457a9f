"""Lowerings as plain data: what an operation becomes in torch and in ONNX, without importing either.

Torch: `torch()` of a layer is the constructor call, as `Call("nn.Conv2d", (3, 8, 3), padding=1)`; of a function it is
an expression over `Arg(0)`, `Arg(1)`, … Arguments are Python literals, tuples, symbolic dimensions (printed as the
expression that computes them at run time) and `Symbol("torch.float32")`.

ONNX: `onnx(g, x)` calls `g.op("Conv", x, w, strides=[1, 1])` and returns the value; `g` records, `backends.onnx`
writes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from netdsl.ir.dims import Dim
from netdsl.ir.types import Scalar, State, Tensor


@dataclass(frozen=True, slots=True)
class Arg:
    """The operand number `index` of the node."""

    index: int


@dataclass(frozen=True, slots=True)
class AllArgs:
    """All operands, as a list `[a, b, c]`, or one after the other where `star` is set."""

    star: bool = False


@dataclass(frozen=True, slots=True)
class Symbol:
    """A name printed as it is, as `torch.float32`."""

    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """`function(*args, **kwargs)`; `kwargs` are pairs in order. Build with `call(...)`."""

    function: str
    args: tuple[Any, ...] = ()
    kwargs: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Method:
    """`receiver.name(*args, **kwargs)`. Build with `method(...)`."""

    receiver: Any
    name: str
    args: tuple[Any, ...] = ()
    kwargs: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Infix:
    """`left op right` with Python's operators."""

    op: str
    left: Any
    right: Any


@dataclass(frozen=True, slots=True)
class Prefix:
    """`-x` or `~x`."""

    op: str
    operand: Any


@dataclass(frozen=True, slots=True)
class Index:
    """`value[indices]`; an index is an int, a Dim, None, Ellipsis, a `Stride` or an Arg."""

    value: Any
    indices: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Stride:
    """`start:stop:step` inside an `Index`."""

    start: Dim | None = None
    stop: Dim | None = None
    step: int | None = None

    def __str__(self) -> str:
        bounds = ["" if bound is None else str(bound) for bound in (self.start, self.stop)]
        return ":".join(bounds if self.step is None else [*bounds, str(self.step)])


def call(function: str, *args: Any, **kwargs: Any) -> Call:
    return Call(function, args, tuple(kwargs.items()))


def method(receiver: Any, name: str, *args: Any, **kwargs: Any) -> Method:
    return Method(receiver, name, args, tuple(kwargs.items()))


@dataclass(frozen=True, slots=True)
class OnnxValue:
    """A value of the ONNX graph under construction: its name there, and its type where it is known."""

    name: str
    type: Tensor | Scalar | None = None


class OnnxTarget(ABC):
    """What an operation writes its ONNX lowering into. Opset 20 or newer, IR of the default domain only."""

    @abstractmethod
    def op(self, kind: str, *inputs: OnnxValue | None, results: int = 1, **attributes: Any) -> Any:
        """Record a node; None is an omitted optional input. One OnnxValue, or a tuple of them if `results` > 1.

        Attributes are ints, floats, strings, or lists of them (never tensors: use `constant`). An attribute `to` of
        Cast is a netdsl dtype name.
        """

    @abstractmethod
    def constant(self, value: Any, dtype: str) -> OnnxValue:
        """A constant tensor from a number or nested lists of numbers, as "int64" or another dtype."""

    @abstractmethod
    def state(self, name: str) -> OnnxValue:
        """A parameter or buffer of the layer being lowered, by its name in `state()`, as "weight"."""

    @abstractmethod
    def derived(self, name: str, how: str, **arguments: Any) -> OnnxValue:
        """A tensor computed from one of the layer's own tensors when the file is written, so it is stored once.

        `how` is one of: "rows" (`start`, `stop`: a slice of the first axis), "transpose" (2-D), "reorder_gates"
        (`order`: a list, the first axis is cut in len(order) equal parts and put in that order), "unsqueeze" (`axis`).
        A chain is written as a list: `how=["rows", "transpose"]` is not supported; call `op` for anything else.
        """

    @abstractmethod
    def size(self, dim: Dim) -> OnnxValue:
        """A dimension as an int64 scalar: a constant, or computed from the inputs' shapes where it is symbolic."""

    @abstractmethod
    def sizes(self, dims: Sequence[Dim]) -> OnnxValue:
        """Several dimensions as a 1-D int64 tensor, for Reshape, Expand, Slice and their like."""

    @abstractmethod
    def like(self, value: OnnxValue | Scalar, partner: OnnxValue) -> OnnxValue:
        """`value` as a tensor of `partner`'s dtype: literals become constants, others are cast where they differ."""


__all__ = [
    "AllArgs",
    "Arg",
    "Call",
    "Index",
    "Infix",
    "Method",
    "OnnxTarget",
    "OnnxValue",
    "Prefix",
    "State",
    "Stride",
    "Symbol",
    "call",
    "method",
]
