"""Whether what a recipe says goes together: the optimizer with the schedule, the rules and the model's parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from netdsl.diagnostics import Report
from netdsl.ir.graph import Graph
from netdsl.train.component import listed
from netdsl.train.errors import TrainError
from netdsl.train.groups import check_patterns, grouped, learned
from netdsl.train.outputs import check_outputs
from netdsl.train.schedules import OneCycleLR, ReduceLROnPlateau, Schedule

if TYPE_CHECKING:
    from netdsl.train.recipe import Recipe

Shapes = Mapping[str, tuple[int, ...]]
UNUSED = -100  # torch's `ignore_index` where no class is ignored


def shapes_of(graph: Graph) -> Shapes:
    """Names and shapes of the learned tensors of a model, each once."""
    tied = graph.tied()
    return {name: state.shape for name, state in graph.state() if state.learned and name not in tied}


def check_agreement(recipe: Recipe, graph: Graph | None, report: Report) -> None:
    """Report what contradicts itself (E0608), patterns without a match (E0640), optimizers that cannot learn the
    model's parameters (E0643) and schedules that do not fit (E0644).
    """
    _check_keys(recipe, report)
    _check_schedule(recipe, report)
    _check_optimizer(recipe, report)
    if graph is not None:
        shapes = shapes_of(graph)
        check_outputs(recipe, graph, report)
        check_patterns(recipe, list(shapes), report)
        check_shapes(recipe, shapes, report)
        _check_groups(recipe, shapes, report)


def _check_groups(recipe: Recipe, shapes: Shapes, report: Report) -> None:
    """Report lists of a schedule that have not an item for each group of parameters (E0644)."""
    count = len(grouped(list(learned(shapes, recipe)), recipe.rules))
    try:
        schedules_of(recipe, count)
    except TrainError as problem:
        report.add(problem.diagnostic)


def schedules_of(recipe: Recipe, count: int) -> list[Schedule]:
    """The schedule of each of `count` groups of parameters; E0644 where lists of it are for another number of them."""
    schedule = recipe.schedule
    if schedule is None:
        return []
    if schedule.groups - {count}:
        groups = f"{count} group{'s' * (count != 1)} of parameters"
        message = (
            f"`{schedule.kind}` has lists of {min(schedule.groups - {count})}, and `rules` make {groups}"
        )
        helps = ["first come the parameters without a rule, then the others as `rules` tell them apart"]
        raise TrainError("E0644", message, recipe.places.of("schedule"), helps=helps)
    return [schedule.for_group(number) for number in range(count)]


def _check_keys(recipe: Recipe, report: Report) -> None:
    if recipe.min_delta and recipe.early_stop is None:
        message, helps = "`min_delta` without `early_stop`", ["add `early_stop = 5`, or leave it out"]
        report.error("E0608", message, recipe.places.of("min_delta"), helps=helps)
    seen: list[str] = []
    for metric in recipe.metrics:
        if str(metric.described()) in seen:
            message, helps = f"`{metric.kind}` is given twice", ["leave one of them out"]
            report.error("E0608", message, recipe.places.of("metrics"), helps=helps)
        seen.append(str(metric.described()))
    if recipe.target is not None and recipe.loss.targets == "classes":
        message = f"`{recipe.loss.kind}` compares with class numbers, and `target` makes them values"
        report.error("E0608", message, recipe.places.of("target"), helps=["leave `target` out"])
    _check_mixing(recipe, report)


def _check_mixing(recipe: Recipe, report: Report) -> None:
    """What mixes samples, and so makes shares of classes, is the last of `augment`, for a loss that takes shares."""
    mixing = [stage for stage in recipe.augment if stage.mixes]
    if not mixing:
        return
    place, loss, names = recipe.places.of("augment"), recipe.loss, listed(stage.kind for stage in mixing)
    later = [stage for stage in recipe.augment[recipe.augment.index(mixing[0]) :] if not stage.mixes]
    if later:
        message = f"`{mixing[0].kind}` mixes images that are finished, and `{later[0].kind}` comes after it"
        report.error("E0608", message, place, helps=["write what mixes samples last"])
    if not loss.mixable:
        message = f"{names} makes targets between two others, and `{loss.kind}` does not take any"
        report.error("E0608", message, place, helps=["`CrossEntropyLoss` takes shares of classes"])
    if getattr(loss, "ignore_index", UNUSED) != UNUSED:
        message = f"`ignore_index` of `{loss.kind}` is for class numbers, of which {names} makes shares"
        report.error("E0608", message, recipe.places.of("loss"), helps=["leave one of the two out"])


def _check_schedule(recipe: Recipe, report: Report) -> None:
    schedule, place = recipe.schedule, recipe.places.of("schedule")
    if schedule is None:
        if recipe.schedule_every is not None:
            place, helps = recipe.places.of("schedule_every"), ["leave it out, or add a `schedule`"]
            report.error("E0608", "`schedule_every` without `schedule`", place, helps=helps)
        return
    fields = type(recipe.optimizer).model_fields
    if schedule.momentum(0, 1000) is not None and not {"momentum", "betas"} & set(fields):
        report.error(
            "E0644",
            f"`{schedule.kind}` moves the momentum, and `{recipe.optimizer.kind}` has none",
            place,
            helps=["write `cycle_momentum = False`"],
        )
    if schedule.absolute and not schedule.groups and any("lr" in rule.changes for rule in recipe.rules):
        message = f"`{schedule.kind}` sets the rate of every parameter, and a rule sets `lr`"
        report.error(
            "E0644", message, place, helps=["leave `lr` out of `rules`, or take a schedule that scales rates"]
        )
    if isinstance(schedule, ReduceLROnPlateau):
        _check_plateau(recipe, schedule, report)
    if recipe.steps is not None:
        check_length(recipe, recipe.steps, report)


def _check_plateau(recipe: Recipe, schedule: ReduceLROnPlateau, report: Report) -> None:
    column, rising = recipe.monitored
    if recipe.schedule_every == "step":
        message = "`ReduceLROnPlateau` looks at what is measured after an epoch, and cannot go by steps"
        report.error(
            "E0644", message, recipe.places.of("schedule_every"), helps=["leave `schedule_every` out"]
        )
    if "mode" in schedule.model_fields_set and (schedule.mode == "max") != rising:
        way = "rise" if rising else "fall"
        message = f'`mode` of `ReduceLROnPlateau` is "{schedule.mode}", but `{column}` should {way}'
        report.error("E0644", message, recipe.places.of("schedule"), helps=["leave `mode` out"])


def check_length(recipe: Recipe, steps: int, report: Report) -> None:
    """Report a cycle that is over before a run of `steps` is (E0644)."""
    schedule = recipe.schedule
    if not isinstance(schedule, OneCycleLR) or recipe.schedule_every == "epoch":
        return
    length = schedule.length(steps)
    if length < steps:
        report.error(
            "E0644",
            f"`OneCycleLR` is over after {length:,} steps, and the run takes {steps:,}",
            recipe.places.of("schedule"),
            helps=["leave its length out: it is the run's then"],
        )


def _check_optimizer(recipe: Recipe, report: Report) -> None:
    optimizer, place = recipe.optimizer, recipe.places.of("optimizer")
    if not optimizer.repeats:
        return
    against = [
        *(["`rules`"] if recipe.rules else []),
        *(["`precision = fp16`"] if recipe.precision == "fp16" else []),
    ]
    if against:
        without = " and ".join(against)
        message = f"`{optimizer.kind}` asks for the loss several times a step, and cannot do with {without}"
        report.error("E0643", message, place, helps=["take another optimizer, or leave that out"])


def check_shapes(recipe: Recipe, shapes: Shapes, report: Report) -> None:
    """Report parameters that the optimizer cannot learn (E0643), and a model that is frozen as a whole (E0615)."""
    left, optimizer = learned(shapes, recipe), recipe.optimizer
    if shapes and not left:
        message = f"`freeze` leaves `{recipe.model or 'the model'}` nothing to learn"
        helps = ["leave what is to learn out of `freeze`"]
        report.error("E0615", message, recipe.places.of("freeze"), helps=helps)
    wrong = [
        name for name, shape in left.items() if optimizer.axes is not None and len(shape) != optimizer.axes
    ]
    if wrong:
        shown = listed(wrong[:3]) + (", ..." if len(wrong) > 3 else "")
        report.error(
            "E0643",
            f"`{optimizer.kind}` learns matrices, and {len(wrong)} of {len(left)} parameters are none",
            recipe.places.of("optimizer"),
            notes=[f"they are {shown}"],
            helps=["freeze them by `freeze`, or take `AdamW`"],
        )
