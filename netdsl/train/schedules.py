"""The schedulers of `torch.optim.lr_scheduler` as pure functions: the rate of an epoch follows from its
number alone, so a resumed run needs no scheduler state.
"""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_right
from math import cos, pi

from pydantic import Field

from netdsl.train.component import Component, Family, Integers


class Schedule(Component):
    """A schedule; it is advanced once an epoch, as in torch's own examples."""

    @abstractmethod
    def rate(self, base: float, epoch: int) -> float:
        """The learning rate of `epoch` (from 0), where the optimizer's own is `base`."""


class ConstantLR(Schedule):
    factor: float = Field(1 / 3, ge=0, le=1)
    total_iters: int = Field(5, ge=0)

    def rate(self, base: float, epoch: int) -> float:
        return base * self.factor if epoch < self.total_iters else base


class LinearLR(Schedule):
    start_factor: float = Field(1 / 3, gt=0, le=1)
    end_factor: float = Field(1.0, ge=0, le=1)
    total_iters: int = Field(5, gt=0)

    def rate(self, base: float, epoch: int) -> float:
        done = min(epoch, self.total_iters) / self.total_iters
        return base * (self.start_factor + (self.end_factor - self.start_factor) * done)


class StepLR(Schedule):
    step_size: int = Field(gt=0)
    gamma: float = Field(0.1, gt=0)

    def rate(self, base: float, epoch: int) -> float:
        return base * self.gamma ** (epoch // self.step_size)


class MultiStepLR(Schedule):
    milestones: Integers
    gamma: float = Field(0.1, gt=0)

    def rate(self, base: float, epoch: int) -> float:
        return base * self.gamma ** bisect_right(sorted(self.milestones), epoch)


class ExponentialLR(Schedule):
    gamma: float = Field(gt=0)

    def rate(self, base: float, epoch: int) -> float:
        return base * self.gamma**epoch


class PolynomialLR(Schedule):
    total_iters: int = Field(5, gt=0)
    power: float = Field(1.0, ge=0)

    def rate(self, base: float, epoch: int) -> float:
        return base * (1 - min(epoch, self.total_iters) / self.total_iters) ** self.power


class CosineAnnealingLR(Schedule):
    T_max: int = Field(gt=0)
    eta_min: float = Field(0.0, ge=0)

    def rate(self, base: float, epoch: int) -> float:
        return self.eta_min + (base - self.eta_min) * (1 + cos(pi * epoch / self.T_max)) / 2


class CosineAnnealingWarmRestarts(Schedule):
    T_0: int = Field(gt=0)
    T_mult: int = Field(1, ge=1)
    eta_min: float = Field(0.0, ge=0)

    def rate(self, base: float, epoch: int) -> float:
        length, since = self.T_0, epoch
        while since >= length:
            since -= length
            length *= self.T_mult
        return self.eta_min + (base - self.eta_min) * (1 + cos(pi * since / length)) / 2


SCHEDULES: Family[Schedule] = Family.of(
    "schedule",
    (
        ConstantLR,
        LinearLR,
        StepLR,
        MultiStepLR,
        ExponentialLR,
        PolynomialLR,
        CosineAnnealingLR,
        CosineAnnealingWarmRestarts,
    ),
)
