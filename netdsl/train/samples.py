"""What is looked at in samples before they are trained on: that there are some, that they are numbers and alike, that
their targets suit the loss, and that transforms can be applied to them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from netdsl.train.batches import of_pixels
from netdsl.train.data import Data
from netdsl.train.data.unread import Unread, described
from netdsl.train.errors import TrainError
from netdsl.train.matching import sizes_apart
from netdsl.train.recipe import Recipe
from netdsl.train.transforms import Augmentation, ImageShape, Misfit, Transform

FEW = 2  # samples to try a model on


def check_data(data: Data, recipe: Recipe) -> None:
    """Refuse what training would stumble over (E0622): missing samples, class numbers out of range, no
    numbers.
    """
    span = recipe.places.of("data")
    for name, part in (("training", data.train), ("validation", data.valid)):
        if len(part) == 0:
            helps = ["hold fewer or more samples out by `valid`"]
            raise TrainError("E0622", f"the {name} part has no samples", span, helps=helps)
        split = part.first(FEW) if isinstance(part, Unread) else part  # the rest is checked when it is read
        x, y = split.x, split.y
        if len(x) == 0 or len(x) != len(y):
            message = f"the {name} part has {len(x)} samples and {len(y)} targets"
            raise TrainError("E0622", message, span, helps=["inputs and targets come in pairs, in one order"])
        for what, values in (("inputs", x), ("targets", y)):
            if values.is_floating_point() and not bool(values.isfinite().all()):
                where = int((~values.isfinite()).flatten(1 if values.dim() > 1 else 0).nonzero()[0, 0])
                message = f"the {what} of {name} sample {where} are not finite numbers"
                helps = ["correct the sample, or leave it out: one NaN makes all weights NaN"]
                raise TrainError("E0622", message, span, helps=helps)
        numbers = recipe.loss.indices and not y.is_floating_point()
        if recipe.loss.targets == "classes" or recipe.target is not None or numbers:
            _check_classes(y, name, data, recipe)
            if reason := recipe.loss.refused(y):
                helps = ["put the numbers of a target first, and what fills up the row behind them"]
                raise TrainError("E0622", f"targets of the {name} part {reason}", span, helps=helps)
        elif recipe.loss.binary:
            _check_probabilities(y, name, recipe)
    _check_alike(data, recipe)


def _check_alike(data: Data, recipe: Recipe) -> None:
    """Refuse a validation part whose samples are of another shape or type than those of the training part (E0662)."""
    train, valid = (part.first(1) for part in (data.train, data.valid))
    for what, here, there in (("inputs", train.x, valid.x), ("targets", train.y, valid.y)):
        shapes = list(here.shape[1:]), list(there.shape[1:])
        resized = here.dtype == there.dtype == torch.uint8 and bool(recipe.transform)
        if here.dtype != there.dtype or (shapes[0] != shapes[1] and not resized):
            learned, measured = described(here[0]), described(there[0])
            message = f"the {what} to measure on are {measured}, and those to learn from {learned}"
            helps = ["measure on samples of the same kind, or hold some out: `valid = 0.2`"]
            raise TrainError("E0662", message, recipe.places.of("valid"), helps=helps)


def _check_classes(y: Tensor, name: str, data: Data, recipe: Recipe) -> None:
    span = recipe.places.of("data")
    if y.dtype != torch.int64 and not of_pixels(y):
        dtype = str(y.dtype).removeprefix("torch.")
        message = f"`{recipe.loss.kind}` takes class numbers (int64), but the targets are {dtype}"
        helps = ["convert them: `y.to(torch.int64)`", "or compare values by `MSELoss`"]
        raise TrainError("E0622", message, span, helps=helps)
    low, high = int(y.min()), int(y.max())
    if data.classes is not None and not 0 <= low <= high < data.classes:
        message = f"the targets of the {name} part go from {low} to {high}, not 0 to {data.classes - 1}"
        helps = ["class numbers start at 0, and there are as many as the source says classes"]
        raise TrainError("E0622", message, span, helps=helps)


def _check_probabilities(y: Tensor, name: str, recipe: Recipe) -> None:
    """Targets beyond 0 and 1, as a mask of 0 and 255 has, make the loss a large negative number."""
    low, high = float(y.min()), float(y.max())
    if recipe.loss.low < 0:
        if not bool(((y == 0) | (y.abs() == 1)).all()):
            wanted = f"-1 or 1 (or 0 or 1), as `{recipe.loss.kind}` needs them"
            message = f"the targets of the {name} part are not all {wanted}"
            helps = ["a target tells which of two classes a sample is of"]
            raise TrainError("E0622", message, recipe.places.of("data"), helps=helps)
    elif low < 0 or high > 1:
        raise TrainError(
            "E0622",
            f"the targets of the {name} part go from {low:g} to {high:g}, "
            f"and `{recipe.loss.kind}` compares with probabilities, from 0 to 1",
            recipe.places.of("data"),
            helps=[
                "bring them to 0 and 1; numbers of classes are for `CrossEntropyLoss`, values for `MSELoss`"
            ],
        )


def check_transforms(x: Tensor, recipe: Recipe) -> None:
    """Refuse transforms that images like `x` are too small for, or that leave others to train on than to measure on
    (E0617).
    """
    if x.dtype != torch.uint8 or x.dim() != 4:
        return
    raw: ImageShape = (x.shape[1], x.shape[2], x.shape[3])
    trained = _after(_after(raw, "augment", recipe.augment, recipe), "transform", recipe.transform, recipe)
    measured = _after(raw, "transform", recipe.transform, recipe)
    if trained != measured:
        message, helps = sizes_apart(trained, measured)
        raise TrainError("E0617", message, recipe.places.of("augment"), helps=helps)


def _after(
    image: ImageShape, key: str, stages: Sequence[Transform | Augmentation], recipe: Recipe
) -> ImageShape:
    try:
        for stage in stages:
            image = stage.shape(image)
    except Misfit as problem:
        helps = problem.helps or ["leave it out, or change the images before it"]
        raise TrainError("E0617", str(problem), recipe.places.of(key), helps=helps) from problem
    return image


def check_varied(data: Data, recipe: Recipe) -> None:
    """Refuse training samples that all have the same target: there is nothing to learn from them (E0622)."""
    y = data.train.y
    known = (
        recipe.data is not None
        and recipe.loss.compares
        and y is not None
        and len(y) > 1
        and y[0].numel() == 1
    )
    if not known or y is None or not bool((y == y[0]).all()):
        return
    value = float(y[0])
    names = data.names or (recipe.data.sample().target.names if recipe.data else ())
    shown = names[int(value)] if value.is_integer() and 0 <= value < len(names) else f"{value:g}"
    raise TrainError(
        "E0622",
        f"all {len(y)} samples of the training part have the target `{shown}`",
        recipe.places.of("data"),
        helps=[
            "check that the target is the one that was meant; where samples are sorted by it, hold out by "
            "`valid = Split(0.2)`, which draws them at random"
        ],
    )
