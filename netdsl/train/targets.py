"""Targets as the loss compares them: class numbers as they are, values as float32 shaped as the output."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from netdsl.train.data import Data
from netdsl.train.errors import TrainError

if TYPE_CHECKING:
    from netdsl.train.recipe import Recipe


def as_compared(y: Tensor, recipe: Recipe, output: Tensor) -> Tensor:
    """`y` as the recipe's loss compares it with outputs like `output` [B, ...].

    A loss of values gets float32; one number a sample takes the shape that the output has, [N] or [N, 1]. Class numbers
    become values with `target = OneHot`, and 0 becomes -1 for a loss of signs.
    """
    loss = recipe.loss
    if loss.targets == "classes":
        return y.to(torch.int64) if y.dtype == torch.uint8 else y
    if recipe.target is not None:
        return y if y.is_floating_point() else one_hot(y, output.shape[1])
    if loss.indices:
        return indices(y, output.shape[-1])
    y = y.to(torch.float32)
    if loss.low < 0:
        y = torch.where(y == 0, loss.low, y)
    if loss.single:
        return y.reshape(len(y)) if _squeezed(y.shape) == [] else y
    shape = (len(y), *output.shape[1:])
    return y.view(shape) if y.shape != shape and _squeezed(y.shape) == _squeezed(shape) else y


def one_hot(y: Tensor, classes: int) -> Tensor:
    """
    >>> one_hot(torch.tensor([2, 0]), 3)
    tensor([[0., 0., 1.],
            [1., 0., 0.]])
    """
    numbers = torch.arange(classes, device=y.device).view(1, -1, *[1] * (y.dim() - 1))
    return (y.unsqueeze(1) == numbers).float()


def indices(y: Tensor, classes: int) -> Tensor:
    """The numbers of the classes that apply, and -1 for the rest, of one number a sample or of 0 and 1 for each class.

    >>> indices(torch.tensor([[0., 1., 1.]]), 3), indices(torch.tensor([2]), 3)
    (tensor([[ 1,  2, -1]]), tensor([[ 2, -1, -1]]))
    """
    if y.dim() > 1 and not y.is_floating_point():
        return y  # they are such numbers already
    if y.dim() == 1:
        return torch.cat([y.long().unsqueeze(1), y.new_full((len(y), classes - 1), -1).long()], 1)
    found = torch.where(y > 0, torch.arange(classes, device=y.device), classes).sort(dim=-1).values
    return torch.where(found == classes, -1, found)


def compared(data: Data, recipe: Recipe, output: Tensor) -> Data:
    """`data` with all its targets as the loss compares them."""
    like = output.new_empty((0, *output.shape[1:]))
    train, valid = (
        part.with_targets(partial(as_compared, recipe=recipe, output=like))
        for part in (data.train, data.valid)
    )
    classes = _mixed_classes(recipe, output)
    return replace(data, train=train, valid=valid, classes=data.classes or classes)


def _mixed_classes(recipe: Recipe, output: Tensor) -> int | None:
    """The classes of which `augment` makes shares; E0611 where it is told another number than the model has outputs."""
    mixing = [stage for stage in recipe.augment if stage.mixes]
    if not mixing or recipe.loss.targets != "classes":
        return None
    classes = output.shape[1]
    for stage in mixing:
        if stage.counts - {classes}:
            message = f"`num_classes` of `{stage.kind}` is {min(stage.counts)}, and the model gives {classes} scores"
            helps = ["leave `num_classes` out"]
            raise TrainError("E0611", message, recipe.places.of("augment"), helps=helps)
    return classes


def _squeezed(shape: tuple[int, ...]) -> list[int]:
    """The axes of one sample that are longer than 1."""
    return [size for size in shape[1:] if size != 1]
