"""The learning rates of a run's parameter groups, and what a schedule remembers of the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from netdsl.train.agreement import schedules_of
from netdsl.train.errors import TrainError
from netdsl.train.recipe import Recipe
from netdsl.train.schedules import OneCycleLR, ReduceLROnPlateau


class Rates:
    """Sets the rates of an optimizer. All but `ReduceLROnPlateau` follow from the time alone."""

    def __init__(
        self, recipe: Recipe, optimizer: torch.optim.Optimizer, total_steps: int, epochs: int
    ) -> None:
        self.recipe, self.optimizer = recipe, optimizer
        self.by_step = recipe.clock == "step"
        self.total = total_steps if self.by_step else epochs
        self.bases = [group["lr"] for group in optimizer.param_groups]
        self.schedules = schedules_of(recipe, len(self.bases))
        self.plateau = None
        if isinstance(recipe.schedule, ReduceLROnPlateau):
            self.plateau = recipe.schedule.build(optimizer, rising=recipe.monitored[1])
        self._at: int | None = None  # the time that the rates are of

    @property
    def now(self) -> float:
        """The rate of the first group."""
        return self.optimizer.param_groups[0]["lr"]

    def begin(self, step: int, epoch: int) -> None:
        """Set the rates, and the momentum where the schedule moves it, for the step that comes."""
        schedule, time = self.recipe.schedule, step if self.by_step else epoch
        if schedule is None or self.plateau is not None or time == self._at:
            return
        self._at = time
        for group, base, own in zip(self.optimizer.param_groups, self.bases, self.schedules, strict=True):
            group["lr"], momentum = own.rate(base, time, self.total), own.momentum(time, self.total)
            if momentum is None:
                continue
            if "momentum" in group:
                group["momentum"] = momentum
            else:
                group["betas"] = (momentum, *group["betas"][1:])

    def measured(self, value: float) -> None:
        """The monitored column after an epoch."""
        if self.plateau is not None:
            self.plateau.step(value)

    def state(self) -> dict[str, Any] | None:
        """What the rates of the next steps depend on, beside the optimizer's state."""
        return None if self.plateau is None else dict(self.plateau.state_dict())

    def load(self, state: Mapping[str, Any] | None) -> None:
        self._at = None
        if self.plateau is not None and state is not None:
            self.plateau.load_state_dict(dict(state))


def check_cycle(recipe: Recipe, total_steps: int) -> None:
    """Refuse a cycle that is over before the run is (E0644)."""
    schedule = recipe.schedule
    if (
        isinstance(schedule, OneCycleLR)
        and recipe.clock == "step"
        and schedule.length(total_steps) < total_steps
    ):
        raise TrainError(
            "E0644",
            f"`OneCycleLR` is over after {schedule.length(total_steps):,} steps, and the run takes {total_steps:,}",
            recipe.places.of("schedule"),
            helps=["leave its length out: it is the run's then"],
        )
