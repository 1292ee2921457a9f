"""The schedulers of `torch.optim.lr_scheduler` that go by epochs, as formulas."""

from __future__ import annotations

from bisect import bisect_right
from math import cos, pi

from pydantic import Field

from netdsl.train.component import Integers
from netdsl.train.schedules.base import Schedule


class ConstantLR(Schedule):
    factor: float = Field(1 / 3, ge=0, le=1)
    total_iters: int = Field(5, ge=0)

    def rate(self, base: float, time: int, total: int = 0) -> float:  # noqa: ARG002
        return base * self.factor if time < self.total_iters else base

    def advanced(self, rate: float, base: float, time: int, total: int = 0) -> float:  # noqa: ARG002
        if time == 0:
            return rate * self.factor
        return rate / self.factor if time == self.total_iters and self.factor else rate


class LinearLR(Schedule):
    start_factor: float = Field(1 / 3, gt=0, le=1)
    end_factor: float = Field(1.0, ge=0, le=1)
    total_iters: int = Field(5, gt=0)

    def rate(self, base: float, time: int, total: int = 0) -> float:  # noqa: ARG002
        done = min(time, self.total_iters) / self.total_iters
        return base * (self.start_factor + (self.end_factor - self.start_factor) * done)


class StepLR(Schedule):
    step_size: int = Field(gt=0)
    gamma: float = Field(0.1, gt=0)

    def rate(self, base: float, time: int, total: int = 0) -> float:  # noqa: ARG002
        return base * self.gamma ** (time // self.step_size)


class MultiStepLR(Schedule):
    milestones: Integers
    gamma: float = Field(0.1, gt=0)

    def rate(self, base: float, time: int, total: int = 0) -> float:  # noqa: ARG002
        return base * self.gamma ** bisect_right(sorted(self.milestones), time)


class ExponentialLR(Schedule):
    gamma: float = Field(gt=0)

    def rate(self, base: float, time: int, total: int = 0) -> float:  # noqa: ARG002
        return base * self.gamma**time


class PolynomialLR(Schedule):
    total_iters: int = Field(5, gt=0)
    power: float = Field(1.0, ge=0)

    def rate(self, base: float, time: int, total: int = 0) -> float:  # noqa: ARG002
        return base * (1 - min(time, self.total_iters) / self.total_iters) ** self.power


class CosineAnnealingLR(Schedule):
    T_max: int = Field(gt=0)
    eta_min: float = Field(0.0, ge=0)

    def rate(self, base: float, time: int, total: int = 0) -> float:  # noqa: ARG002
        return self.eta_min + (base - self.eta_min) * (1 + cos(pi * time / self.T_max)) / 2

    def advanced(self, rate: float, base: float, time: int, total: int = 0) -> float:  # noqa: ARG002
        """torch's recursion: what `rate` has above `eta_min` shrinks, whoever made it what it is."""
        if time == 0:
            return rate
        if (time - 1 - self.T_max) % (2 * self.T_max) == 0:
            return rate + (base - self.eta_min) * (1 - cos(pi / self.T_max)) / 2
        now, before = 1 + cos(pi * time / self.T_max), 1 + cos(pi * (time - 1) / self.T_max)
        return now / before * (rate - self.eta_min) + self.eta_min


class CosineAnnealingWarmRestarts(Schedule):
    T_0: int = Field(gt=0)
    T_mult: int = Field(1, ge=1)
    eta_min: float = Field(0.0, ge=0)

    def rate(self, base: float, time: int, total: int = 0) -> float:  # noqa: ARG002
        length, since = self.T_0, time
        while since >= length:
            since -= length
            length *= self.T_mult
        return self.eta_min + (base - self.eta_min) * (1 + cos(pi * since / length)) / 2

    def advanced(self, rate: float, base: float, time: int, total: int = 0) -> float:  # noqa: ARG002
        return self.rate(base, time)
