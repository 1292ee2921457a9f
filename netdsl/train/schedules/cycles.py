"""`OneCycleLR` and `CyclicLR`: they go by steps, set the rate themselves, and may move the momentum against it."""

from __future__ import annotations

from math import cos, floor, pi
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from netdsl.train.component import as_tuple
from netdsl.train.schedules.base import Schedule
from netdsl.train.schedules.functions import OfFile

Positive = Annotated[int, Field(gt=0)]
Rate = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Rates = Annotated[Rate | tuple[Rate, ...], BeforeValidator(as_tuple)]
Momenta = Annotated[Share | tuple[Share, ...], BeforeValidator(as_tuple)]


class Cycle(Schedule):
    """A schedule that goes by steps."""

    every: ClassVar[Literal["epoch", "step"]] = "step"
    absolute = True

    def advanced(self, rate: float, base: float, time: int, total: int = 0) -> float:  # noqa: ARG002
        return self.rate(base, time, total)


class OneCycleLR(Cycle):
    """One cycle over the run: `total_steps` are the run's own where nothing is said."""

    of_groups = ("max_lr", "base_momentum", "max_momentum")

    max_lr: Rates
    total_steps: Positive | None = None
    epochs: Positive | None = None
    steps_per_epoch: Positive | None = None
    pct_start: float = Field(0.3, ge=0, le=1)
    anneal_strategy: Literal["cos", "linear"] = "cos"
    cycle_momentum: bool = True
    base_momentum: Momenta = 0.85
    max_momentum: Momenta = 0.95
    div_factor: float = Field(25.0, gt=0)
    final_div_factor: float = Field(1e4, gt=0)
    three_phase: bool = False

    @model_validator(mode="after")
    def _one_length(self) -> OneCycleLR:
        if (self.epochs is None) != (self.steps_per_epoch is None):
            raise ValueError("`epochs` and `steps_per_epoch` go together")
        return self

    def length(self, total: int) -> int:
        """The steps of the cycle in a run of `total`."""
        product = (self.epochs or 0) * (self.steps_per_epoch or 0)
        return self.total_steps or product or total

    def rate(self, base: float, time: int, total: int = 0) -> float:  # noqa: ARG002
        high = one(self.max_lr)
        low = high / self.div_factor
        return self._at(time, total, (low, high, low, low / self.final_div_factor))

    def momentum(self, time: int, total: int = 0) -> float | None:
        if not self.cycle_momentum:
            return None
        high, low = one(self.max_momentum), one(self.base_momentum)
        return self._at(time, total, (high, low, high, high))

    def _at(self, time: int, total: int, values: tuple[float, float, float, float]) -> float:
        """The value at `time` on the way through `values`: start, top, back again, end."""
        length = self.length(total)
        ends = [self.pct_start * length - 1.0, length - 1.0]
        way = [values[0], values[1], values[3]]
        if self.three_phase:
            ends, way = [ends[0], 2 * self.pct_start * length - 2.0, ends[1]], list(values)
        start = 0.0
        for number, end in enumerate(ends):
            if time <= end or number == len(ends) - 1:
                share = (time - start) / (end - start) if end != start else 1.0
                return self._between(way[number], way[number + 1], share)
            start = end
        return way[-1]

    def _between(self, start: float, end: float, share: float) -> float:
        if self.anneal_strategy == "linear":
            return (end - start) * share + start
        return end + (start - end) / 2.0 * (1 + cos(pi * share))


class CyclicLR(Cycle):
    """Up and down between two rates. `mode` says how high each cycle goes, or a `fn` of the file, `scale_fn`."""

    functions = ("scale_fn",)
    of_groups = ("base_lr", "max_lr", "base_momentum", "max_momentum")

    base_lr: Rates
    max_lr: Rates
    step_size_up: int = Field(2000, gt=0)
    step_size_down: Positive | None = None
    mode: Literal["triangular", "triangular2", "exp_range"] = "triangular"
    gamma: float = Field(1.0, gt=0)
    scale_fn: OfFile | None = None
    scale_mode: Literal["cycle", "iterations"] = "cycle"
    cycle_momentum: bool = True
    base_momentum: Momenta = 0.8
    max_momentum: Momenta = 0.9

    def rate(self, base: float, time: int, total: int = 0) -> float:  # noqa: ARG002
        low, high = one(self.base_lr), one(self.max_lr)
        return low + (high - low) * self._height(time)

    def momentum(self, time: int, total: int = 0) -> float | None:  # noqa: ARG002
        if not self.cycle_momentum:
            return None
        low, high = one(self.base_momentum), one(self.max_momentum)
        return high - (high - low) * self._height(time)

    def _height(self, time: int) -> float:
        """How far up, from 0 to 1."""
        size = self.step_size_up + (self.step_size_down or self.step_size_up)
        top = self.step_size_up / size
        cycle = floor(1 + time / size)
        x = 1.0 + time / size - cycle
        height = x / top if x <= top else (x - 1) / (top - 1)
        if self.scale_fn is not None:
            return height * self.scale_fn(cycle if self.scale_mode == "cycle" else time)
        if self.mode == "triangular2":
            return height / 2.0 ** (cycle - 1)
        return height * self.gamma**time if self.mode == "exp_range" else height


def one(value: float | tuple[float, ...]) -> float:
    """The number of the first group, where there is one for each."""
    return value[0] if isinstance(value, tuple) else value
