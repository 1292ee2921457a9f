"""What every schedule is: the learning rate as a function of time, so that a resumed run needs no more state."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal, Self

from netdsl.train.component import Component


class Schedule(Component):
    """A schedule. Its time counts epochs, as in torch's own examples, or steps where `every` says so."""

    every: ClassVar[Literal["epoch", "step"]] = "epoch"
    absolute: ClassVar[bool] = False  # sets the rates itself, whatever the optimizer's own are
    functions: ClassVar[tuple[str, ...]] = ()  # arguments that name a `fn` of the file
    of_groups: ClassVar[
        tuple[str, ...]
    ] = ()  # arguments that may be lists, with an item for each group of parameters

    @property
    def groups(self) -> frozenset[int]:
        """The numbers of groups of parameters that its lists are for."""
        lists = (getattr(self, name) for name in self.of_groups)
        return frozenset(len(value) for value in lists if isinstance(value, tuple))

    def for_group(self, number: int) -> Self:
        """The schedule of the group `number`, from 0, where lists have an item for each."""
        lists = {name: getattr(self, name) for name in self.of_groups}
        chosen = {name: value[number] for name, value in lists.items() if isinstance(value, tuple)}
        return self.model_copy(update=chosen) if chosen else self

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
