"""Schedules by a `fn` of the file: a factor for each time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BeforeValidator, InstanceOf, PlainSerializer

from netdsl.train.component import AS_COMPILED, as_tuple
from netdsl.train.schedules.base import Schedule


@dataclass(frozen=True)
class FileFunction:
    """A `fn` of one number. `text` is how the file has it, so that another body is another recipe."""

    name: str
    text: str
    call: Callable[[int], float] = field(compare=False, repr=False)
    known: dict[int, float] = field(default_factory=dict[int, float], compare=False, repr=False)

    def __call__(self, time: int) -> float:
        if time not in self.known:
            self.known[time] = self.call(time)
        return self.known[time]

    def __str__(self) -> str:
        return self.name


def _described(value: Any) -> Any:
    """As plain data."""
    return {"kind": value.name, AS_COMPILED: value.text}


OfFile = Annotated[InstanceOf[FileFunction], PlainSerializer(_described)]
Functions = Annotated[OfFile | tuple[OfFile, ...], BeforeValidator(as_tuple)]


class ByFunction(Schedule):
    """A list has a function for each group of parameters."""

    functions = ("lr_lambda",)
    of_groups = ("lr_lambda",)

    lr_lambda: Functions

    def factor(self, time: int) -> float:
        found = self.lr_lambda
        return (found[0] if isinstance(found, tuple) else found)(time)


class LambdaLR(ByFunction):
    """The optimizer's rate times what the function gives for the time."""

    def rate(self, base: float, time: int, total: int = 0) -> float:  # noqa: ARG002
        return base * self.factor(time)

    def advanced(self, rate: float, base: float, time: int, total: int = 0) -> float:  # noqa: ARG002
        return self.rate(base, time)


class MultiplicativeLR(ByFunction):
    """The rate before times what the function gives for the time, from 1 on."""

    def rate(self, base: float, time: int, total: int = 0) -> float:  # noqa: ARG002
        rate = base
        for now in range(1, time + 1):
            rate *= self.factor(now)
        return rate

    def advanced(self, rate: float, base: float, time: int, total: int = 0) -> float:  # noqa: ARG002
        return rate * self.factor(time) if time else rate
