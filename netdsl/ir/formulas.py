"""Numbers that differ from parameter to parameter: arithmetic over the `fan_in` and `fan_out` of what is filled."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

FANS: Final = ("fan_in", "fan_out")
INFIX: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": lambda left, right: left / right,
    "//": lambda left, right: left // right,
    "%": operator.mod,
    "**": lambda left, right: left**right,
}
FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "sqrt": math.sqrt,
    "exp": math.exp,
    "log2": math.log2,
    "abs": abs,
    "min": min,
    "max": max,
}
LEVELS: Final = {"+": 1, "-": 1, "*": 2, "/": 2, "//": 2, "%": 2, "**": 3}
_NEGATIVE: Final = 2  # how tightly a sign holds, and so what it must stand in parentheses beside
_DEEPEST: Final = 100  # formulas in each other

Number: TypeAlias = "Formula | int | float"


@dataclass(frozen=True, slots=True)
class Formula:
    """One of `FANS`, or what `op` makes of `parts`: an operator of two (`-` of one too), a function of some.

    >>> limit = Formula("/", (1, Formula("sqrt", (Formula("fan_out"),))))
    >>> str(limit), limit.value({"fan_in": 9, "fan_out": 4})
    ('1 / sqrt(fan_out)', 0.5)
    """

    op: str
    parts: tuple[Number, ...] = ()

    def __post_init__(self) -> None:
        parts: tuple[Any, ...] = self.parts  # of a graph that was read, they may be anything
        if not all(isinstance(part, Formula | int | float) for part in parts):
            raise TypeError("a part of a formula is a number or a formula")
        if self.depth > _DEEPEST:
            raise ValueError(f"a formula nested more than {_DEEPEST} deep")
        if self.op in FANS and not self.parts:
            return
        if len(self.parts) in ((1, 2) if self.op == "-" else (2,)) and self.op in INFIX:
            return
        several = self.op in ("min", "max")
        if self.op not in FUNCTIONS or not self.parts or (len(self.parts) > 1 and not several):
            raise ValueError(f"no formula is made by `{self.op}` of {len(self.parts)}")

    @property
    def depth(self) -> int:
        return 1 + max((part.depth for part in self.parts if isinstance(part, Formula)), default=0)

    def value(self, fans: Mapping[str, int]) -> int | float:
        """The number where the fans are these. Raises `ArithmeticError` or `ValueError` where there is none."""
        if self.op in FANS:
            return fans[self.op]
        parts: list[Any] = [part.value(fans) if isinstance(part, Formula) else part for part in self.parts]
        if self.op in FUNCTIONS:
            return FUNCTIONS[self.op](*parts)
        return -parts[0] if len(parts) == 1 else INFIX[self.op](*parts)

    def __str__(self) -> str:
        return self.text(0)

    def text(self, level: int) -> str:
        """In parentheses where it binds less than `level`."""
        if self.op not in INFIX:
            inside = ", ".join(map(str, self.parts))
            return f"{self.op}({inside})" if self.parts else self.op
        own = _NEGATIVE if len(self.parts) == 1 else LEVELS[self.op]
        texts = [_part(part, own + (place > 0 or self.op == "**")) for place, part in enumerate(self.parts)]
        text = f"-{texts[0]}" if len(texts) == 1 else f" {self.op} ".join(texts)
        return f"({text})" if own < level else text


def _part(part: Number, level: int) -> str:
    if isinstance(part, Formula):
        return part.text(level)
    return f"({part})" if part < 0 and level > _NEGATIVE else str(part)


def fans(shape: Sequence[int]) -> dict[str, int]:
    """How many numbers one output of a weight is made of, and how many outputs one input has a part in: as in torch.

    >>> fans((8, 3, 5, 5))
    {'fan_in': 75, 'fan_out': 200}
    """
    field = math.prod(shape[2:])
    return {"fan_in": shape[1] * field, "fan_out": shape[0] * field}
