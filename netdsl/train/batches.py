"""Batches from tensors that lie on the device. The batch of a step is a function of the seed and the step
alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from netdsl.train.data import Split
from netdsl.train.recipe import Recipe

MEASURE_BATCH = 512  # samples at a time where nothing is learned

Prepare = Callable[[Tensor], Tensor]


def prepare_on(device: torch.device, recipe: Recipe, channels_last: bool = False) -> Prepare:
    """The function from a batch of raw inputs on `device` to what the model takes: scaled and transformed.

    Images (uint8, [B, C, H, W]) become float32 in [0, 1] first; other inputs go to the transforms as they
    are.
    """
    stages = [transform.on(device) for transform in recipe.transform]

    def prepare(x: Tensor) -> Tensor:
        x = scaled(x)
        for stage in stages:
            x = stage(x)
        if channels_last and x.dim() == 4:
            return x.contiguous(memory_format=torch.channels_last)
        return x

    return prepare


def scaled(x: Tensor) -> Tensor:
    """Images as float32 in [0, 1]."""
    return x.to(torch.float32).div_(255) if x.dtype == torch.uint8 else x


class Batches:
    """The training batches of a run, shuffled anew every epoch.

    `number` counts the batches of an epoch; the last may be shorter. Two objects with the same data, recipe
    and seed give the same batches whatever was asked of them before.
    """

    def __init__(
        self, split: Split, recipe: Recipe, device: torch.device, channels_last: bool = False
    ) -> None:
        self.x, self.y = split.x.to(device), split.y.to(device)
        self.device, self.seed, self.size = device, recipe.seed, recipe.batch
        self.augment = recipe.augment
        self.prepare = prepare_on(device, recipe, channels_last)
        self._order: tuple[int, Tensor] | None = None

    def __len__(self) -> int:
        """Batches in an epoch."""
        return -(-len(self.x) // self.size)

    def order(self, epoch: int) -> Tensor:
        """The samples of `epoch` in the order in which they are seen."""
        if self._order is None or self._order[0] != epoch:
            random = torch.Generator().manual_seed(mixed(self.seed, epoch))
            self._order = epoch, torch.randperm(len(self.x), generator=random).to(self.device)
        return self._order[1]

    def at(self, epoch: int, number: int) -> tuple[Tensor, Tensor]:
        """Batch `number` of `epoch`: what the model takes, and the targets."""
        chosen = self.order(epoch)[number * self.size : (number + 1) * self.size]
        x = self.x.index_select(0, chosen)
        if self.augment:
            random = torch.Generator(self.device).manual_seed(mixed(self.seed, epoch, number))
            x = scaled(x)
            for augmentation in self.augment:
                x = augmentation.apply(x, random)
        return self.prepare(x), self.y.index_select(0, chosen)


def in_order(split: Split, prepare: Prepare, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """All samples of a split, as they come, in large batches."""
    for start in range(0, len(split), MEASURE_BATCH):
        part = slice(start, start + MEASURE_BATCH)
        yield prepare(split.x[part].to(device)), split.y[part].to(device)


def mixed(seed: int, *numbers: int) -> int:
    """A seed of 32 bits out of several numbers, so that neighbouring ones have nothing in common.

    >>> mixed(0, 1) != mixed(1, 0)
    True
    """
    state = 0
    for number in (seed, *numbers):
        state = (state + number + 0x9E3779B97F4A7C15) % 2**64
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB % 2**64
        state ^= state >> 31
    return state >> 32
