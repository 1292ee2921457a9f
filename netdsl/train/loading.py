"""What a run needs before its first step: the device, the data, checked, and a model that takes it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor, nn

from netdsl.train.batches import mixed, prepare_on
from netdsl.train.data import Data, Source, Split
from netdsl.train.errors import TrainError
from netdsl.train.recipe import Recipe

Model: TypeAlias = nn.Module | Callable[[], nn.Module]


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


def load_data(recipe: Recipe, *, download: bool = False) -> Data:
    """The data that `recipe` names, split as it says (E0620, E0621)."""
    span = recipe.places.of("data")
    if recipe.data is None:
        raise TrainError("E0603", "the recipe has no `data`", span, helps=["add `data = Digits`"])
    folders = [f for f in (recipe.folder, Path.cwd()) if f is not None]
    try:
        data = recipe.data.load(folders, download)
        if isinstance(recipe.valid, Source):
            span = recipe.places.of("valid")
            other = recipe.valid.load(folders, download)
            data = Data(data.train, other.valid, data.classes)
    except TrainError as problem:
        raise problem.at(span) from problem
    if isinstance(recipe.valid, float):
        train, valid = held_out(data.train, recipe.valid, recipe.seed)
        data = Data(train, valid, data.classes)
    return data


def held_out(split: Split, share: float, seed: int) -> tuple[Split, Split]:
    """The rest, and a random `share` of the samples, at least one; the same for the same seed."""
    count = max(1, min(len(split) - 1, round(len(split) * share)))
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(mixed(seed, -2)))
    out, rest = order[:count].sort().values, order[count:].sort().values
    return Split(split.x[rest], split.y[rest]), Split(split.x[out], split.y[out])


def check_data(data: Data, recipe: Recipe) -> None:
    """Refuse what training would stumble over (E0622): missing samples, class numbers out of range, no
    numbers.
    """
    span = recipe.places.of("data")
    for name, split in (("training", data.train), ("validation", data.valid)):
        x, y = split.x, split.y
        if len(x) == 0 or len(x) != len(y):
            raise TrainError("E0622", f"the {name} part has {len(x)} samples and {len(y)} targets", span)
        for what, values in (("inputs", x), ("targets", y)):
            if values.is_floating_point() and not bool(values.isfinite().all()):
                where = int((~values.isfinite()).flatten(1 if values.dim() > 1 else 0).nonzero()[0, 0])
                raise TrainError("E0622", f"the {what} of {name} sample {where} are not finite numbers", span)
        if recipe.loss.targets == "classes":
            if y.dtype != torch.int64:
                dtype = str(y.dtype).removeprefix("torch.")
                raise TrainError(
                    "E0622",
                    f"`{recipe.loss.kind}` takes class numbers (int64), but the targets are {dtype}",
                    span,
                )
            low, high = int(y.min()), int(y.max())
            if data.classes is not None and not 0 <= low <= high < data.classes:
                raise TrainError(
                    "E0622",
                    f"the targets of the {name} part go from {low} to {high}, not 0 to {data.classes - 1}",
                    span,
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
) -> None:
    """Run one small batch through a copy of the model, so that a misfit is found before the first step.

    E0612 where it does not take the samples, E0611, E0615 or E0618 where its output does not suit the loss.
    """
    few = slice(0, 2)
    x = prepare_on(device, recipe)(data.train.x[few].to(device))
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
    _check_output(output, data.train.y[few].to(device), recipe, data)


def _check_output(output: object, y: Tensor, recipe: Recipe, data: Data) -> None:
    name, span = _name(recipe), recipe.places.of("loss")
    if not isinstance(output, Tensor):
        raise TrainError(
            "E0615", f"`{name}` returns a {type(output).__name__}, not one tensor", recipe.places.block
        )
    shape = list(output.shape)
    if recipe.loss.targets == "values":
        if output.shape != y.shape:
            raise TrainError("E0618", f"`{name}` gives {shape} where the targets are {list(y.shape)}", span)
        return
    if output.dim() < 2 or output.shape[0] != len(y) or output.shape[2:] != y.shape[1:]:
        raise TrainError(
            "E0618", f"`{recipe.loss.kind}` takes [N, classes], but `{name}` gives {shape}", span
        )
    most = int(max(data.train.y.max(), data.valid.y.max())) if data.classes is None else data.classes - 1
    fits = output.shape[1] > most if data.classes is None else output.shape[1] == data.classes
    if not fits:
        raise TrainError(
            "E0611", f"there are {most + 1} classes, but `{name}` gives {shape}", recipe.places.of("data")
        )


def _name(recipe: Recipe) -> str:
    return recipe.model or "the model"
