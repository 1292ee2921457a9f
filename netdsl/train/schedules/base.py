"""What every schedule is: the learning rate as a function of time, so that a resumed run needs no more state."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal

from netdsl.train.component import Component


class Schedule(Component):
    """A schedule. Its time counts epochs, as in torch's own examples, or steps where `every` says so."""

    every: ClassVar[Literal["epoch", "step"]] = "epoch"
    absolute: ClassVar[bool] = False  # sets the rates itself, whatever the optimizer's own are

    @abstractmethod
    def rate(self, base: float, time: int, total: int = 0) -> float:
        """The learning rate at `time` (from 0) of a run of `total`, where the optimizer's own is `base`."""

    def advanced(self, rate: float, base: float, time: int, total: int = 0) -> float:
        """`rate`, which another schedule has made of `base`, after this schedule's own step to `time`."""
        before = self.rate(base, time - 1, total) if time else base
        return rate * self.rate(base, time, total) / before if before else rate

    def momentum(self, time: int, total: int = 0) -> float | None:  # noqa: ARG002
        """The momentum at `time`; None where the optimizer's own stays."""
        return None
