"""Schedules give the rates of torch's own, at every time, and a resumed run goes on with them."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import pytest
import torch
from torch import nn

from netdsl.cli.recipes import recipe as recipe_of
from netdsl.compiler import open_program
from netdsl.diagnostics import Report
from netdsl.elaborate.settings import Choice
from netdsl.source import Source
from netdsl.train import TrainError
from netdsl.train.component import construct
from netdsl.train.rates import Rates
from netdsl.train.recipe import Recipe
from netdsl.train.runs import settings_of
from netdsl.train.schedules import (
    SCHEDULES,
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    FileFunction,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
    Schedule,
    SequentialLR,
    StepLR,
)

NOT_OURS = {"optimizer", "last_epoch"}  # which a run gives


def test_every_scheduler_of_torch_is_there() -> None:
    home = torch.optim.lr_scheduler
    theirs = {
        name
        for name, found in vars(home).items()
        if inspect.isclass(found)
        and issubclass(found, home.LRScheduler)
        and found is not home.LRScheduler
        and not name.startswith("_")
    }
    assert theirs == set(SCHEDULES.members)


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


def function(call: Any) -> FileFunction:
    """As a file has it."""
    return FileFunction("f", "", call)


CASES: list[Schedule] = [
    LambdaLR(lr_lambda=function(lambda time: 1 / (1 + time))),
    MultiplicativeLR(lr_lambda=function(lambda time: 0.9 if time % 3 else 1.1)),
    SequentialLR(
        schedulers=[LinearLR(total_iters=3), LambdaLR(lr_lambda=function(lambda time: 0.5**time))],
        milestones=[3],
    ),
    ChainedScheduler(
        schedulers=[StepLR(step_size=4), MultiplicativeLR(lr_lambda=function(lambda time: 1 - time / 100))]
    ),
    SCHEDULES.members["CyclicLR"](
        base_lr=0.1, max_lr=0.4, step_size_up=3, scale_fn=function(lambda cycle: 1 / cycle)
    ),
    SCHEDULES.members["CyclicLR"](
        base_lr=0.1,
        max_lr=0.4,
        step_size_up=3,
        scale_fn=function(lambda time: 0.95**time),
        scale_mode="iterations",
    ),
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
    "a number for a function": (Choice("LambdaLR", {"lr_lambda": 1}), "E0607"),
    "a negative rate of a group": (Choice("OneCycleLR", {"max_lr": [0.1, -0.1]}), "E0607"),
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


# ------------------------------------------------------------------------------------ a `fn` of the file

FILE = """
const LENGTH = 4

fn warm(time) = min(1.0, (time + 1) / LENGTH)

fn halved(time) {
  if time < 2 {
    output 1.0
  } else {
    output 0.5
  }
}

fn two(time, scale) = time * scale

fn word(time) = "fast"

fn late(time) = 1 / (5 - time)

model M {
  input x: [N, 2]
  output x -> body: Linear(4) -> head: Linear(2)
}
"""


def read(schedule: str, **settings: str) -> tuple[Recipe | None, Report]:
    entries = {
        "loss": "MSELoss",
        "optimizer": "SGD(lr = 0.1, momentum = 0.5)",
        "schedule": schedule,
        **settings,
    }
    block = "".join(f"  {key} = {value}\n" for key, value in entries.items())
    report = Report()
    program = open_program(Source(f"{FILE}\ntrain M {{\n{block}}}\n", "rates.net"), report)
    assert program is not None, [d.message for d in report]
    graph = program.graph("M", {})
    return recipe_of(program, "M", graph, report), report


def test_a_function_of_the_file_says_the_rate_for_each_time() -> None:
    found, report = read("LambdaLR(warm)")
    assert found is not None, [d.message for d in report]
    assert [found.rate(epoch) for epoch in range(6)] == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1])
    found, report = read("SequentialLR([LambdaLR(warm), MultiplicativeLR(halved)], milestones = [4])")
    assert found is not None, [d.message for d in report]
    assert [found.rate(epoch) for epoch in range(8)] == pytest.approx(
        [0.025, 0.05, 0.075, 0.1, 0.1, 0.1, 0.05, 0.025]
    )


def test_another_body_of_the_function_is_another_recipe_and_a_record_is_read_again() -> None:
    found, _ = read("LambdaLR(lr_lambda = warm)")
    other, _ = read("LambdaLR(halved)")
    assert found is not None
    assert found != other
    described = found.described()["schedule"]
    assert described["lr_lambda"]["kind"] == "warm"
    assert "min(1.0" in str(described["lr_lambda"])
    again = settings_of(found.described())["schedule"].value
    assert isinstance(again, Choice)
    assert again.arguments == {"lr_lambda": Choice("warm")}


FAULTS: dict[str, tuple[str, str]] = {
    "unknown": ("LambdaLR(warn)", "E0607"),
    "two arguments": ("LambdaLR(two)", "E0607"),
    "no number": ("LambdaLR(word)", "E0607"),
    "called": ("LambdaLR(warm(3))", "E0607"),
    "none": ("LambdaLR()", "E0607"),
    "lists for other groups": ("OneCycleLR(max_lr = [0.1, 0.2])", "E0644"),
}


@pytest.mark.parametrize("what", FAULTS)
def test_a_function_that_gives_no_rates_is_refused_before_any_run(what: str) -> None:
    schedule, code = FAULTS[what]
    found, report = read(schedule)
    assert found is None
    assert [d.code for d in report] == [code]


def test_a_function_that_fails_later_stops_the_run_with_its_place() -> None:
    found, _ = read("LambdaLR(late)")
    assert found is not None
    with pytest.raises(TrainError, match="late") as caught:
        found.rate(5)
    assert caught.value.diagnostic.labels


# ------------------------------------------------------------------------------------ groups of parameters

GROUPS: dict[str, str] = {
    "one cycle": "OneCycleLR(max_lr = [0.2, 0.02], total_steps = 20)",
    "cycles": "CyclicLR(base_lr = [0.01, 0.001], max_lr = [0.1, 0.05], step_size_up = 3)",
    "functions": "LambdaLR([warm, halved])",
    "momenta": "OneCycleLR(max_lr = [0.2, 0.1], total_steps = 20, base_momentum = [0.7, 0.8], "
    "max_momentum = [0.9, 0.99])",
}


@pytest.mark.parametrize("what", GROUPS)
def test_lists_have_an_item_for_each_group_that_rules_make(what: str) -> None:
    found, report = read(GROUPS[what], rules='[rule("*.bias", weight_decay = 0.1)]', schedule_every="step")
    assert found is not None, [d.message for d in report]
    assert found.schedule is not None
    groups = [{"params": [nn.Parameter(torch.zeros(1))]} for _ in range(2)]
    optimizer, ours = (
        torch.optim.SGD([dict(group) for group in groups], lr=0.1, momentum=0.5) for _ in range(2)
    )
    theirs = theirs_of(found.schedule, optimizer)
    rates = Rates(found, ours, 20, 1)
    for time in range(20):
        rates.begin(time, 0)
        for group, wanted in zip(ours.param_groups, optimizer.param_groups, strict=True):
            assert group["lr"] == pytest.approx(wanted["lr"], rel=1e-9)
            assert group["momentum"] == pytest.approx(wanted["momentum"], rel=1e-9)
        optimizer.step()
        if time < 19:
            theirs.step()
