"""What a run needs before its first step: the device, the data, checked, and a model that takes it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from netdsl.train.batches import mixed, of_pixels, prepare_on
from netdsl.train.data import Data, Divided, Division, Source, Training
from netdsl.train.data.divided import Divide
from netdsl.train.data.division import Samples, last
from netdsl.train.data.unread import Unread
from netdsl.train.errors import TrainError
from netdsl.train.recipe import Recipe
from netdsl.train.targets import as_compared

Model: TypeAlias = nn.Module | Callable[[], nn.Module]
FEW = 2  # samples to try a model on


def find_device(name: str | None) -> torch.device:
    """The device called `name`, or the best there is; E0635 where it is not here."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as problem:
        reason = str(problem).splitlines()[0]
        raise TrainError("E0635", f"there is no device `{name}` here", notes=[reason]) from problem
    return device


def load_data(recipe: Recipe, *, download: bool = False, fitted: Mapping[str, Any] | None = None) -> Data:
    """The data that `recipe` names, split as it says (E0620, E0621, E0650 to E0656).

    `fitted` is what the preprocessing of an earlier run has learned of its training part, as `Data.fitted` had it.
    """
    span = recipe.places.of("data")
    if recipe.data is None:
        raise TrainError("E0603", "the recipe has no `data`", span, helps=["add `data = Digits`"])
    folders = [f for f in (recipe.folder, Path.cwd()) if f is not None]
    divide = _division(recipe, folders)
    try:
        data = _loaded(recipe.data, folders, download, divide, fitted)
    except TrainError as problem:
        if problem.diagnostic.labels:
            raise
        raise problem.at(recipe.places.argument("data", recipe.data, problem.argument)) from problem
    if not isinstance(recipe.valid, Source):
        return data
    try:
        measured_on = _loaded(recipe.valid, folders, download, None, data.fitted, whole=True)
    except TrainError as problem:
        raise problem.at(recipe.places.argument("valid", recipe.valid, problem.argument)) from problem
    return replace(data, valid=measured_on.valid)


def _loaded(
    source: Source,
    folders: list[Path],
    download: bool,
    divide: Divide | None,
    fitted: Mapping[str, Any] | None,
    whole: bool = False,
) -> Data:
    """The data of a source, divided; where it has no test part and `whole` is asked for, all of it is that."""
    if isinstance(source, Divided):
        return source.divided(
            folders, _every if whole and not source.has_test_in(folders) else divide, fitted
        )
    data = source.load(folders, download)
    if divide is None:
        return data
    train, valid = divide(Samples(len(data.train), _classes(data.train.y)))
    return replace(data, train=data.train.rows(train), valid=data.train.rows(valid))


def _division(recipe: Recipe, folders: list[Path]) -> Divide | None:
    """How the recipe divides the samples; None where the source or another has a part to measure on."""
    valid, span = recipe.valid, recipe.places.of("valid")

    def divide(samples: Samples) -> tuple[Any, Any]:
        if samples.count < 2 and not isinstance(valid, Training):
            raise TrainError("E0650", f"{samples.count} sample cannot be divided", span)
        if isinstance(valid, float):
            return (
                last(samples.count, valid) if samples.in_time else held_out(samples.count, valid, recipe.seed)
            )
        assert isinstance(valid, Division)
        try:
            return valid.rows(samples, recipe.seed, folders)
        except TrainError as problem:
            raise problem.at(span) from problem

    if isinstance(valid, (float, Division)):
        return divide
    needs_none = (
        isinstance(valid, Source)
        and isinstance(recipe.data, Divided)
        and not recipe.data.has_test_in(folders)
    )
    return _every if needs_none else None


def _every(samples: Samples) -> tuple[Any, Any]:
    """All samples, as both parts."""
    every = torch.arange(samples.count).numpy()
    return every, every


def _classes(y: Tensor | None) -> Any:
    return None if y is None or y.is_floating_point() or y.dim() != 1 else y.numpy()


def held_out(count: int, share: float, seed: int) -> tuple[Any, Any]:
    """The numbers of the rest, and of a random `share` of the samples, at least one; the same for the same seed."""
    out = max(1, min(count - 1, round(count * share)))
    order = torch.randperm(count, generator=torch.Generator().manual_seed(mixed(seed, -2)))
    return order[out:].sort().values.numpy(), order[:out].sort().values.numpy()


def check_data(data: Data, recipe: Recipe) -> None:
    """Refuse what training would stumble over (E0622): missing samples, class numbers out of range, no
    numbers.
    """
    span = recipe.places.of("data")
    for name, part in (("training", data.train), ("validation", data.valid)):
        if len(part) == 0:
            raise TrainError("E0622", f"the {name} part has no samples", span)
        split = part.first(FEW) if isinstance(part, Unread) else part  # the rest is checked when it is read
        x, y = split.x, split.y
        if len(x) == 0 or len(x) != len(y):
            raise TrainError("E0622", f"the {name} part has {len(x)} samples and {len(y)} targets", span)
        for what, values in (("inputs", x), ("targets", y)):
            if values.is_floating_point() and not bool(values.isfinite().all()):
                where = int((~values.isfinite()).flatten(1 if values.dim() > 1 else 0).nonzero()[0, 0])
                raise TrainError("E0622", f"the {what} of {name} sample {where} are not finite numbers", span)
        numbers = recipe.loss.indices and not y.is_floating_point()
        if recipe.loss.targets == "classes" or recipe.target is not None or numbers:
            _check_classes(y, name, data, recipe)
        elif recipe.loss.binary:
            _check_probabilities(y, name, recipe)


def _check_classes(y: Tensor, name: str, data: Data, recipe: Recipe) -> None:
    span = recipe.places.of("data")
    if y.dtype != torch.int64 and not of_pixels(y):
        dtype = str(y.dtype).removeprefix("torch.")
        message = f"`{recipe.loss.kind}` takes class numbers (int64), but the targets are {dtype}"
        raise TrainError("E0622", message, span)
    low, high = int(y.min()), int(y.max())
    if data.classes is not None and not 0 <= low <= high < data.classes:
        message = f"the targets of the {name} part go from {low} to {high}, not 0 to {data.classes - 1}"
        raise TrainError("E0622", message, span)


def _check_probabilities(y: Tensor, name: str, recipe: Recipe) -> None:
    """Targets beyond 0 and 1, as a mask of 0 and 255 has, make the loss a large negative number."""
    low, high = float(y.min()), float(y.max())
    if recipe.loss.low < 0:
        if not bool(((y == 0) | (y.abs() == 1)).all()):
            wanted = f"-1 or 1 (or 0 or 1), as `{recipe.loss.kind}` needs them"
            message = f"the targets of the {name} part are not all {wanted}"
            raise TrainError("E0622", message, recipe.places.of("data"))
    elif low < 0 or high > 1:
        raise TrainError(
            "E0622",
            f"the targets of the {name} part go from {low:g} to {high:g}, "
            f"and `{recipe.loss.kind}` compares with probabilities, from 0 to 1",
            recipe.places.of("data"),
        )


def make_model(model: Model, recipe: Recipe) -> nn.Module:
    """`model` itself, or what it makes with the recipe's seed."""
    if isinstance(model, nn.Module):
        return model
    torch.manual_seed(recipe.seed)
    return model()


def check_learns(model: nn.Module, recipe: Recipe) -> None:
    """Refuse a model without parameters to learn (E0615)."""
    if not any(p.requires_grad for p in model.parameters()):
        raise TrainError("E0615", f"`{_name(recipe)}` has no parameters to learn", recipe.places.block)


@torch.no_grad()
def try_model(
    model: nn.Module, recipe: Recipe, data: Data, device: torch.device, *, training: bool = False
) -> Tensor:
    """What a copy of the model gives for one small batch, so that a misfit is found before the first step.

    E0612 where it does not take the samples, E0611, E0615 or E0618 where its output does not suit the loss.
    """
    few, prepare = data.train.first(FEW), prepare_on(device, recipe)
    x, y = prepare(few.x.to(device)), prepare.targets(few.y.to(device))
    copied = copy.deepcopy(model).to(device).train(training)
    try:
        output = copied(x)
    except (RuntimeError, ValueError) as problem:
        raise TrainError(
            "E0612",
            f"`{_name(recipe)}` does not take samples of {list(x.shape[1:])}",
            recipe.places.of("data"),
            notes=[str(problem).splitlines()[0]],
        ) from problem
    return _checked_output(output, y, recipe, data)


def _checked_output(output: object, y: Tensor, recipe: Recipe, data: Data) -> Tensor:
    name, span = _name(recipe), recipe.places.of("loss")
    if not isinstance(output, Tensor):
        raise TrainError(
            "E0615", f"`{name}` returns a {type(output).__name__}, not one tensor", recipe.places.block
        )
    shape = list(output.shape)
    if recipe.loss.targets == "values":
        if recipe.target is not None or recipe.loss.indices:
            _check_width(output, recipe, data)
        y = as_compared(y, recipe, output)
        if output.shape != y.shape:
            raise TrainError("E0618", f"`{name}` gives {shape} where the targets are {list(y.shape)}", span)
        return output
    if output.dim() < 2 or output.shape[0] != len(y) or output.shape[2:] != y.shape[1:]:
        raise TrainError(
            "E0618", f"`{recipe.loss.kind}` takes [N, classes], but `{name}` gives {shape}", span
        )
    most = _highest(data) if data.classes is None else data.classes - 1
    fits = output.shape[1] > most if data.classes is None else output.shape[1] == data.classes
    if not fits:
        raise TrainError(
            "E0611", f"there are {most + 1} classes, but `{name}` gives {shape}", recipe.places.of("data")
        )
    return output


def _check_width(output: Tensor, recipe: Recipe, data: Data) -> None:
    """Refuse outputs without a number for each class where the targets are to be spread over them (E0611, E0618)."""
    name, shape = _name(recipe), list(output.shape)
    if output.dim() < 2:
        wanted = f"`{recipe.loss.kind}` takes [N, classes] here"
        raise TrainError("E0618", f"{wanted}, but `{name}` gives {shape}", recipe.places.of("loss"))
    if data.classes is not None and output.shape[1] != data.classes:
        message = f"there are {data.classes} classes, but `{name}` gives {shape}"
        raise TrainError("E0611", message, recipe.places.of("data"))


def _highest(data: Data) -> int:
    """The highest class number, as far as it is known."""
    known = (part.first(FEW).y if isinstance(part, Unread) else part.y for part in (data.train, data.valid))
    return max(int(y.max()) for y in known)


def _name(recipe: Recipe) -> str:
    return recipe.model or "the model"
