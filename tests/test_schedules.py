"""Schedules give the rates of torch's own, at every time, and a resumed run goes on with them."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import pytest
import torch
from torch import nn

from netdsl.diagnostics import Report
from netdsl.elaborate.settings import Choice
from netdsl.train.component import construct
from netdsl.train.schedules import (
    LEFT_OUT,
    SCHEDULES,
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LinearLR,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
    Schedule,
    SequentialLR,
    StepLR,
)

NOT_OURS = {"optimizer", "last_epoch", "scale_fn", "scale_mode"}  # torch's own, or Python functions


def test_every_scheduler_of_torch_is_there_or_left_out_with_a_reason() -> None:
    home = torch.optim.lr_scheduler
    theirs = {
        name
        for name, found in vars(home).items()
        if inspect.isclass(found)
        and issubclass(found, home.LRScheduler)
        and found is not home.LRScheduler
        and not name.startswith("_")
    }
    assert theirs == set(SCHEDULES.members) | set(LEFT_OUT)


@pytest.mark.parametrize("kind", SCHEDULES.members)
def test_arguments_and_defaults_are_those_of_torch(kind: str) -> None:
    theirs = inspect.signature(getattr(torch.optim.lr_scheduler, kind)).parameters
    wanted = {name: p.default for name, p in theirs.items() if name not in NOT_OURS}
    ours = {
        name: inspect.Parameter.empty if field.is_required() else field.default
        for name, field in SCHEDULES.members[kind].model_fields.items()
    }
    assert ours == wanted
    assert list(ours) == list(wanted)


def theirs_of(ours: Schedule, optimizer: torch.optim.Optimizer) -> Any:
    """torch's scheduler of the same arguments."""
    found = getattr(torch.optim.lr_scheduler, ours.kind)
    arguments = {n: list(v) if isinstance(v, tuple) else v for n, v in ours.arguments().items()}
    if "schedulers" in arguments:
        arguments["schedulers"] = [theirs_of(part, optimizer) for part in arguments["schedulers"]]
        if ours.kind == "SequentialLR":
            return found(optimizer, **arguments)
        return found(**arguments)
    return found(optimizer, **arguments)


CASES: list[Schedule] = [
    ConstantLR(),
    ConstantLR(factor=0.5, total_iters=3),
    LinearLR(),
    LinearLR(start_factor=0.1, end_factor=0.5, total_iters=7),
    StepLR(step_size=3, gamma=0.5),
    MultiStepLR(milestones=(2, 5, 5), gamma=0.5),
    ExponentialLR(gamma=0.9),
    PolynomialLR(total_iters=8, power=2.0),
    CosineAnnealingLR(T_max=7, eta_min=0.01),
    CosineAnnealingWarmRestarts(T_0=3, T_mult=2, eta_min=0.02),
    OneCycleLR(max_lr=0.5, total_steps=25),
    OneCycleLR(max_lr=0.5, epochs=5, steps_per_epoch=5, anneal_strategy="linear", pct_start=0.4),
    OneCycleLR(max_lr=0.5, total_steps=25, three_phase=True, div_factor=10.0, final_div_factor=50.0),
    SCHEDULES.members["CyclicLR"](base_lr=0.1, max_lr=0.4, step_size_up=4),
    SCHEDULES.members["CyclicLR"](
        base_lr=0.1, max_lr=0.4, step_size_up=3, step_size_down=5, mode="triangular2"
    ),
    SCHEDULES.members["CyclicLR"](base_lr=0.1, max_lr=0.4, step_size_up=4, mode="exp_range", gamma=0.9),
    SequentialLR(schedulers=[LinearLR(total_iters=4), CosineAnnealingLR(T_max=9)], milestones=[4]),
    SequentialLR(schedulers=[ConstantLR(), ExponentialLR(gamma=0.9), StepLR(step_size=2)], milestones=[3, 9]),
    ChainedScheduler(schedulers=[ConstantLR(factor=0.1, total_iters=4), ExponentialLR(gamma=0.9)]),
    ChainedScheduler(
        schedulers=[LinearLR(total_iters=6), CosineAnnealingLR(T_max=8, eta_min=0.01), StepLR(step_size=5)]
    ),
    ChainedScheduler(schedulers=[PolynomialLR(total_iters=30), MultiStepLR(milestones=(3, 4))]),
]


@pytest.mark.parametrize("ours", CASES, ids=str)
def test_a_schedule_gives_the_rates_and_momenta_of_torchs_own(ours: Schedule) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3, momentum=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, about its own chains
        theirs = theirs_of(ours, optimizer)
        for time in range(25):
            found = ours.rate(0.3, time, 25)
            assert found == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9, abs=1e-12), time
            momentum = ours.momentum(time, 25)
            assert (0.5 if momentum is None else momentum) == pytest.approx(
                optimizer.param_groups[0]["momentum"], rel=1e-9
            ), time
            optimizer.step()
            if time < 24:
                theirs.step()


def test_every_schedule_has_a_case() -> None:
    assert {case.kind for case in CASES} | {"ReduceLROnPlateau"} == set(SCHEDULES.members)


@pytest.mark.parametrize("ours", CASES, ids=str)
def test_a_rate_follows_from_the_time_alone(ours: Schedule) -> None:
    forwards = [ours.rate(0.3, time, 25) for time in range(25)]
    assert [ours.rate(0.3, time, 25) for time in reversed(range(25))] == forwards[::-1]


def test_one_cycle_is_as_long_as_the_run_where_nothing_is_said() -> None:
    ours = OneCycleLR(max_lr=1.0)
    assert max(range(100), key=lambda time: ours.rate(0.1, time, 100)) == 29
    assert ours.rate(0.1, 99, 100) == pytest.approx(1 / 25 / 1e4)


def test_schedules_of_schedules_are_read_from_lists_of_names() -> None:
    report = Report()
    parts = [Choice("LinearLR", {"total_iters": 5}), Choice("CosineAnnealingLR", {"T_max": 25})]
    found = construct(Choice("SequentialLR", {"milestones": [5]}, (parts,)), SCHEDULES, report)
    assert found == SequentialLR(
        schedulers=[LinearLR(total_iters=5), CosineAnnealingLR(T_max=25)], milestones=[5]
    )
    assert found is not None
    assert [part["kind"] for part in found.described()["schedulers"]] == ["LinearLR", "CosineAnnealingLR"]
    assert not report.has_errors


REFUSED: dict[str, tuple[Choice, str]] = {
    "a part with a mistake": (Choice("ChainedScheduler", {}, ([Choice("StepLR", {"size": 1})],)), "E0606"),
    "a part that is none": (
        Choice("ChainedScheduler", {}, ([Choice("StepLR", {"step_size": 1}), 3],)),
        "E0607",
    ),
    "no part": (Choice("ChainedScheduler", {}, ([],)), "E0607"),
    "too few milestones": (
        Choice("SequentialLR", {"milestones": []}, ([Choice("ConstantLR"), Choice("LinearLR")],)),
        "E0607",
    ),
    "two clocks": (
        Choice("ChainedScheduler", {}, ([Choice("ConstantLR"), Choice("OneCycleLR", {"max_lr": 0.1})],)),
        "E0607",
    ),
    "a plateau inside": (Choice("ChainedScheduler", {}, ([Choice("ReduceLROnPlateau")],)), "E0607"),
    "a function": (Choice("LambdaLR", {"lr_lambda": 1}), "E0602"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_schedule_that_cannot_be_is_one_problem(what: str) -> None:
    choice, code = REFUSED[what]
    report = Report()
    assert construct(choice, SCHEDULES, report) is None
    assert [d.code for d in report] == [code]


def test_a_plateau_is_torchs_own_for_the_direction_of_the_column() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    plateau = ReduceLROnPlateau(factor=0.5, patience=0).build(optimizer, rising=True)
    for value in (0.5, 0.6, 0.6, 0.7):
        plateau.step(value)
    assert optimizer.param_groups[0]["lr"] == 0.5
