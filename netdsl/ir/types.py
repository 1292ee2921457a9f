"""Types of values in a graph: a dtype and a shape whose dimensions may be symbolic, and the unknown type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from netdsl.ir.dims import Dim

FLOATS: Final = ("float16", "bfloat16", "float32", "float64")
INTEGERS: Final = ("uint8", "int8", "int16", "int32", "int64")
DTYPES: Final = (*FLOATS, *INTEGERS, "bool")


@dataclass(frozen=True, slots=True)
class Tensor:
    """The type of a tensor.

    >>> str(Tensor((8, 3, 28, 28)))
    '[8, 3, 28, 28]'
    """

    shape: tuple[Dim, ...]
    dtype: str = "float32"

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def is_float(self) -> bool:
        return self.dtype in FLOATS

    def with_shape(self, *shape: Dim) -> Tensor:
        return Tensor(shape, self.dtype)

    def with_dtype(self, dtype: str) -> Tensor:
        return Tensor(self.shape, dtype)

    def __str__(self) -> str:
        shape = "[" + ", ".join(map(str, self.shape)) + "]"
        return shape if self.dtype == "float32" else self.dtype + shape


@dataclass(frozen=True, slots=True)
class Scalar:
    """The type of a literal operand, as `2` in `x * 2`: its value is known, its dtype follows its partner's."""

    value: Dim | float | bool

    def __str__(self) -> str:
        return str(self.value)


@dataclass(frozen=True, slots=True)
class Unknown:
    """The type of a value that an earlier error left without one. It never causes a second error."""

    def __str__(self) -> str:
        return "unknown"


UNKNOWN: Final = Unknown()

Type: TypeAlias = Tensor | Unknown


@dataclass(frozen=True, slots=True)
class State:
    """One tensor of a module's `state_dict`: a learned parameter, or a buffer (`learned` is False)."""

    shape: tuple[int, ...]
    dtype: str = "float32"
    learned: bool = True
