"""What a run needs before its first step: the device, the data, checked, and a model that takes it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from netdsl.train.batches import mixed, prepare_on
from netdsl.train.component import listed
from netdsl.train.data import Data, Divided, Division, Source, Training
from netdsl.train.data.base import Part, Split
from netdsl.train.data.divided import Divide
from netdsl.train.data.division import Samples, last
from netdsl.train.data.unread import Unread
from netdsl.train.errors import TrainError
from netdsl.train.outputs import check_weights, names_beside, outputs_of
from netdsl.train.recipe import Recipe
from netdsl.train.residence import Progress, placed
from netdsl.train.samples import FEW, check_transforms, check_varied
from netdsl.train.targets import as_compared

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
        helps = ["leave `--device` out for the best there is, or say `cpu`, `cuda` or `cuda:1`"]
        raise TrainError(
            "E0635", f"there is no device `{name}` here", notes=[reason], helps=helps
        ) from problem
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
        if problem.diagnostic.code == "E0655":
            problem = _other_features(problem)
        raise problem.at(recipe.places.argument("valid", recipe.valid, problem.argument)) from problem
    return replace(data, valid=measured_on.valid)


def _other_features(problem: TrainError) -> TrainError:
    """The same of two sources of one recipe, whose preprocessing is that of the first."""
    message = "what the model is measured on has other `features` than what it learns from"
    return TrainError("E0655", message, helps=["give both the same `features`"], argument=problem.argument)


def load_whole(recipe: Recipe, *, download: bool = False, fitted: Mapping[str, Any] | None = None) -> Data:
    """The data of `recipe`, none of which was learned from: its test part, or all of it where there is none.

    `fitted` is what the preprocessing of a run has learned of the data that was.
    """
    if recipe.data is None:
        return load_data(recipe)
    folders = [f for f in (recipe.folder, Path.cwd()) if f is not None]
    try:
        return _loaded(recipe.data, folders, download, None, fitted, whole=True)
    except TrainError as problem:
        raise problem.at(recipe.places.argument("data", recipe.data, problem.argument)) from problem


def keep_data(
    data: Data,
    recipe: Recipe,
    device: torch.device,
    budget: int | None = None,
    progress: Progress | None = None,
) -> tuple[Data, str]:
    """As `placed`, and what cannot be read is told with the place of `data` in the recipe."""
    try:
        return placed(data, device, budget, progress)
    except TrainError as problem:
        span = recipe.places.argument("data", recipe.data, problem.argument)
        raise problem if problem.diagnostic.labels else problem.at(span) from problem


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
            message = "one sample cannot be divided" if samples.count else "there are no samples to divide"
            helps = [
                "`valid = Training` measures on it as well"
                if samples.count
                else "the data is empty: add samples"
            ]
            raise TrainError("E0650", message, span, helps=helps)
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


def make_model(model: Model, recipe: Recipe) -> nn.Module:
    """`model` itself, or what it makes with the recipe's seed."""
    if isinstance(model, nn.Module):
        return model
    torch.manual_seed(recipe.seed)
    return model()


def check_learns(model: nn.Module, recipe: Recipe) -> None:
    """Refuse a model without parameters to learn (E0615)."""
    if not any(p.requires_grad for p in model.parameters()):
        helps = ["give it a layer with weights, as `Linear(10)`"]
        message = f"`{_name(recipe)}` has no parameters to learn"
        raise TrainError("E0615", message, recipe.places.block, helps=helps)


@torch.no_grad()
def try_model(
    model: nn.Module, recipe: Recipe, data: Data, device: torch.device, *, training: bool = False
) -> Tensor:
    """What a copy of the model gives for one small batch, so that a misfit is found before the first step.

    E0612 where it does not take the samples, E0611, E0615 or E0618 where its output does not suit the loss. In
    `training`, also E0622 for targets that are all one, and E0623 for a batch that is too small for the model.
    """
    few = _few(data.train)
    check_transforms(few.x, recipe)
    if few.x.dtype == torch.int64:  # an id that is too high leaves a GPU unusable, and is an error on the CPU
        device = torch.device("cpu")
    prepare = prepare_on(device, recipe)
    x, y = prepare(few.x.to(device)), prepare.targets(few.y.to(device))
    copied = copy.deepcopy(model).to(device).train(training)
    try:
        output = copied(x)
    except (RuntimeError, ValueError, IndexError) as problem:
        raise _untaken(x, recipe, problem) from problem
    found = _checked_outputs(output, y, recipe, data)
    if training:
        check_weights(recipe, names_beside(output))
        check_varied(data, recipe)
        _try_least(copied, x, recipe, len(data.train))
    return found


def _few(part: Part) -> Split:
    """Some samples to try a model on, of ids those with the highest."""
    if isinstance(part, Unread) or part.x.dtype != torch.int64 or len(part) <= FEW or part.x.dim() < 2:
        return part.first(FEW)
    return part.rows(part.x.flatten(1).amax(1).topk(FEW).indices.cpu())


def _untaken(x: Tensor, recipe: Recipe, problem: Exception) -> TrainError:
    """That the model does not take samples like `x`, in its own words."""
    ids = x.dtype == torch.int64
    what = f"{list(x.shape[1:])}" + (f" with ids up to {int(x.max())}" if ids else "")
    declared = f"declare its input as `{'int64' if ids else ''}[N, {', '.join(map(str, x.shape[1:]))}]`"
    helps = [declared]
    if x.dim() == 4:
        size = "bring the images to a size that it takes, by `size` of the source or by `Resize`"
        helps = [f"{size}; `netdsl check` tells which those are", f"or {declared}"]
    if isinstance(problem, IndexError) and ids:
        helps = [f"a table for them has {int(x.max()) + 1} rows, as `Embedding({int(x.max()) + 1}, ...)`"]
    return TrainError(
        "E0612",
        f"`{_name(recipe)}` does not take samples of {what}",
        recipe.places.of("data"),
        notes=[str(problem).splitlines()[0]],
        helps=helps,
    )


def _try_least(model: nn.Module, x: Tensor, recipe: Recipe, samples: int) -> None:
    """Refuse a batch of one sample where the model cannot be trained on it, as with `BatchNorm` (E0623)."""
    rest = samples % recipe.batch
    if 1 not in (recipe.batch, rest, samples):
        return
    try:
        model(x[:1])
    except (RuntimeError, ValueError) as problem:
        batches = -(-samples // recipe.batch)
        which = "a batch is" if recipe.batch == 1 else f"the last of the {batches} batches of an epoch has"
        better = next((b for b in range(recipe.batch + 1, recipe.batch + 100) if samples % b != 1), 2)
        raise TrainError(
            "E0623",
            f"{which} one sample, and `{_name(recipe)}` cannot be trained on one alone",
            recipe.places.of("batch"),
            notes=[str(problem).splitlines()[0]],
            helps=[f"take another size: with `batch = {better}` no batch has one sample"]
            if samples > 1
            else [],
        ) from problem


def _checked_outputs(output: object, y: Tensor, recipe: Recipe, data: Data) -> Tensor:
    """The first output, where all of them suit the loss."""
    outputs, loss = outputs_of(output), recipe.loss
    if not loss.several:
        checked = [_checked_output(one, y, recipe, data) for one in outputs]
        return checked[0]
    check_weights(recipe, names_beside(output))
    shapes = [list(one.shape) for one in outputs]
    if any(shape != shapes[0] for shape in shapes):
        found = " and ".join(map(str, shapes))
        message = f"`{loss.kind}` takes outputs of one shape, and `{_name(recipe)}` gives {found}"
        helps = ["let all of them have the shape of the first"]
        raise TrainError("E0618", message, recipe.places.of("loss"), helps=helps)
    if not loss.single:
        return _checked_output(outputs[0], y, recipe, data)
    y = as_compared(y, recipe, outputs[0])
    if loss.compares and y.dim() != 1:
        message = f"`{loss.kind}` takes one target a sample, and the data has {list(y.shape[1:])}"
        raise TrainError(
            "E0618", message, recipe.places.of("loss"), helps=["1 where they belong together, else -1"]
        )
    return outputs[0]


def _checked_output(output: object, y: Tensor, recipe: Recipe, data: Data) -> Tensor:
    name, span = _name(recipe), recipe.places.of("loss")
    if not isinstance(output, Tensor):
        raise TrainError(
            "E0615",
            f"`{name}` returns a {type(output).__name__}, not one tensor",
            recipe.places.block,
            helps=["output one tensor, which the loss takes"],
        )
    shape = list(output.shape)
    if recipe.loss.targets == "values":
        if recipe.target is not None or recipe.loss.indices:
            _check_width(output, recipe, data)
        y = as_compared(y, recipe, output)
        if output.shape != y.shape:
            message = f"`{name}` gives {shape} where the targets are {list(y.shape)}"
            helps = [f"end the model with what gives [N, {', '.join(map(str, y.shape[1:] or (1,)))}]"]
            raise TrainError("E0618", message, span, helps=helps)
        return output
    if (
        output.dim() < 2
        or output.shape[0] != len(y)
        or (recipe.loss.aligned and output.shape[2:] != y.shape[1:])
    ):
        message = f"`{recipe.loss.kind}` takes [N, classes], but `{name}` gives {shape}"
        raise TrainError("E0618", message, span, helps=["end the model with `Linear(classes)`"])
    most = _highest(data) if data.classes is None else data.classes - 1
    fits = output.shape[1] > most if data.classes is None else output.shape[1] == data.classes
    if not fits:
        raise _other_count(most + 1, output, recipe, data)
    return output


def _other_count(classes: int, output: Tensor, recipe: Recipe, data: Data) -> TrainError:
    """That the model has outputs for another number of classes (E0611)."""
    there = f"there {'is 1 class' if classes == 1 else f'are {classes} classes'}"
    layer = f"Conv2d({classes}, 1)" if output.dim() > 3 else f"Linear({classes})"
    return TrainError(
        "E0611",
        f"{there}, but `{_name(recipe)}` gives {list(output.shape)}",
        recipe.places.of("data"),
        notes=[f"they are {listed(data.names[:12])}{', ...' * (len(data.names) > 12)}"] if data.names else [],
        helps=[f"end the model with `{layer}`"],
    )


def _check_width(output: Tensor, recipe: Recipe, data: Data) -> None:
    """Refuse outputs without a number for each class where the targets are to be spread over them (E0611, E0618)."""
    name, shape = _name(recipe), list(output.shape)
    if output.dim() < 2:
        wanted = f"`{recipe.loss.kind}` takes [N, classes] here"
        helps = ["end the model with `Linear(classes)`"]
        message = f"{wanted}, but `{name}` gives {shape}"
        raise TrainError("E0618", message, recipe.places.of("loss"), helps=helps)
    if data.classes is not None and output.shape[1] != data.classes:
        raise _other_count(data.classes, output, recipe, data)


def _highest(data: Data) -> int:
    """The highest class number, as far as it is known."""
    known = (part.first(FEW).y if isinstance(part, Unread) else part.y for part in (data.train, data.valid))
    return max(int(y.max()) for y in known)


def _name(recipe: Recipe) -> str:
    return recipe.model or "the model"
