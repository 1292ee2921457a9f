"""Schedules made of schedules: one after the other, or all at once."""

from __future__ import annotations

from bisect import bisect_right
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from netdsl.train.component import Integers, as_tuple
from netdsl.train.schedules.base import Schedule
from netdsl.train.schedules.plateau import ReduceLROnPlateau

Schedules = Annotated[tuple[SerializeAsAny[Schedule], ...], BeforeValidator(as_tuple), Field(min_length=1)]


class Combined(Schedule):
    """The parts share one clock, so they all go by epochs or all by steps."""

    schedulers: Schedules

    @model_validator(mode="after")
    def _one_clock(self) -> Combined:
        if any(isinstance(part, ReduceLROnPlateau) for part in self.schedulers):
            raise ValueError("`ReduceLROnPlateau` follows what is measured, and cannot be a part of another")
        if len({part.every for part in self.schedulers}) > 1:
            raise ValueError("some of its schedules go by epochs and others by steps")
        return self

    @property
    def every(self) -> Any:  # type: ignore[override]
        return self.schedulers[0].every

    @property
    def groups(self) -> frozenset[int]:
        return frozenset().union(*(part.groups for part in self.schedulers))

    def for_group(self, number: int) -> Self:
        return self.model_copy(
            update={"schedulers": tuple(part.for_group(number) for part in self.schedulers)}
        )

    @property
    def absolute(self) -> Any:  # type: ignore[override]
        return any(part.absolute for part in self.schedulers)


class SequentialLR(Combined):
    """One after the other: each starts anew at its milestone."""

    milestones: Integers

    @model_validator(mode="after")
    def _a_milestone_between(self) -> SequentialLR:
        if len(self.milestones) != len(self.schedulers) - 1:
            count = len(self.schedulers)
            raise ValueError(
                f"{count} schedules have {count - 1} milestones between them, not {len(self.milestones)}"
            )
        if any(b <= a for a, b in zip((0, *self.milestones), self.milestones, strict=False)):
            raise ValueError("`milestones` must rise, from 1 on")
        return self

    def _part(self, time: int, total: int) -> tuple[Schedule, int, int]:
        number = bisect_right(self.milestones, time)
        start = self.milestones[number - 1] if number else 0
        return self.schedulers[number], time - start, max(total - start, 0)

    def rate(self, base: float, time: int, total: int = 0) -> float:
        part, since, rest = self._part(time, total)
        return part.rate(base, since, rest)

    def momentum(self, time: int, total: int = 0) -> float | None:
        part, since, rest = self._part(time, total)
        return part.momentum(since, rest)


class ChainedScheduler(Combined):
    """All at once: each changes what the one before it has made of the rate."""

    def rate(self, base: float, time: int, total: int = 0) -> float:
        done, rate = _reached.get((self, base, total), (-1, base))
        if done > time:
            done, rate = -1, base
        for now in range(done + 1, time + 1):
            for part in self.schedulers:
                rate = part.advanced(rate, base, now, total)
        _reached[self, base, total] = time, rate
        return rate

    def momentum(self, time: int, total: int = 0) -> float | None:
        found = [part.momentum(time, total) for part in self.schedulers]
        return next((value for value in reversed(found) if value is not None), None)


# How far the rates of a chain are known: each follows from the one before, and a run asks for one after another.
_reached: dict[tuple[ChainedScheduler, float, int], tuple[int, float]] = {}
