"""Batches from tensors that lie on the device, or of samples that are read when they are due. The batch of a step is a
function of the seed and the step alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import torch
from torch import Tensor

from netdsl.train.data.base import Part, Split
from netdsl.train.data.unread import Unread
from netdsl.train.processes import ALONE, Processes
from netdsl.train.recipe import Recipe
from netdsl.train.stream import Rows, Stream

MEASURE_BATCH = 512  # samples at a time where nothing is learned
MEASURED_VALUES = 1 << 21  # of the inputs at a time
FEW_VALUES = 1 << 14  # of the inputs: so many are measured at a time where they are numbers
AHEAD, TOGETHER = 1 << 16, 256  # values and batches that are prepared at once: they stay in the cache
ONCE = 1 << 28  # bytes: where all samples are no larger when they are prepared, that is done once

Pair: TypeAlias = tuple[Tensor, Tensor]


class Prepare:
    """From a batch of raw inputs on `device` to what the model takes: scaled and transformed as the recipe says.

    Images (uint8, [B, C, H, W]) become float32 in [0, 1] first; other inputs go to the transforms as they
    are.
    """

    def __init__(self, device: torch.device, recipe: Recipe, channels_last: bool = False) -> None:
        self.stages = [transform.on(device) for transform in recipe.transform]
        self.transforms, self.channels_last = recipe.transform, channels_last

    def __call__(self, x: Tensor) -> Tensor:
        return self.laid_out(self.values(x))

    def values(self, x: Tensor) -> Tensor:
        """Scaled and transformed; `x` may be overwritten."""
        x = scaled(x)
        for stage in self.stages:
            x = stage(x)
        return x

    def laid_out(self, x: Tensor) -> Tensor:
        """In the memory layout of the model."""
        if self.channels_last and x.dim() == 4:
            return x.contiguous(memory_format=torch.channels_last)
        return x

    def targets(self, y: Tensor) -> Tensor:
        """Targets of pixels, brought where the images are brought; others as they are."""
        if not of_pixels(y) or not self.transforms:
            return y
        masks = y.unsqueeze(1)
        for transform in self.transforms:
            masks = transform.of_masks(masks)
        return masks.squeeze(1)


def prepare_on(device: torch.device, recipe: Recipe, channels_last: bool = False) -> Prepare:
    """The function from a batch of raw inputs on `device` to what the model takes."""
    return Prepare(device, recipe, channels_last)


def of_pixels(y: Tensor) -> bool:
    """Whether targets are a class for each pixel of an image, so that what moves the image moves them."""
    return y.dtype == torch.uint8 and y.dim() == 3


def scaled(x: Tensor) -> Tensor:
    """Images as float32 in [0, 1]."""
    return x.to(torch.float32).div_(255) if x.dtype == torch.uint8 else x


class Order:
    """Which samples are in which batch, in an order that follows from the seed and the epoch, kept at `home`.

    Without a `seed` they come as they are in the data. Where a sample is mixed with those before it, of which another
    process may have the last, the share of a process begins with copies of so many of them as `before` says.
    """

    def __init__(
        self,
        samples: int,
        size: int,
        seed: int | None,
        home: torch.device,
        processes: Processes,
        before: int = 0,
    ) -> None:
        self.samples, self.size, self.seed, self.home = samples, size, seed, home
        self.processes, self.before = processes, before
        self._kept: tuple[int, Tensor] | None = None

    def __len__(self) -> int:
        return -(-self.samples // self.size)

    def of(self, epoch: int) -> Tensor:
        """The samples of `epoch`, in their order."""
        epoch = epoch if self.seed is not None else 0  # the same one always
        if self._kept is None or self._kept[0] != epoch:
            self._kept = epoch, self._drawn(epoch).to(self.home)
        return self._kept[1]

    def _drawn(self, epoch: int) -> Tensor:
        if self.seed is None:
            return torch.arange(self.samples)
        return torch.randperm(self.samples, generator=torch.Generator().manual_seed(mixed(self.seed, epoch)))

    def count(self, number: int) -> int:
        return min(self.size, self.samples - number * self.size)

    def rows(self, epoch: int, number: int) -> Tensor:
        """The samples of this process's share of batch `number` of `epoch`.

        Where the share is empty, the batch's first sample stands in.
        """
        first, count = number * self.size, self.count(number)
        part = self.processes.part(count) or range(1)
        if not self.before:
            return self.of(epoch)[first + part.start : first + part.stop]
        places = torch.arange(part.start - self.before, part.stop, device=self.home) % count
        return self.of(epoch)[first + places]


class Batches:
    """The training batches of a run, shuffled anew every epoch where the recipe does not say otherwise.

    `number` counts the batches of an epoch; the last may be shorter. Two objects with the same data, recipe
    and seed give the same batches whatever was asked of them before. Of several `processes` each gets its share.
    """

    def __init__(
        self,
        split: Part,
        recipe: Recipe,
        device: torch.device,
        channels_last: bool = False,
        processes: Processes = ALONE,
        classes: int | None = None,
    ) -> None:
        self.processes, self.recipe, self.late, self.classes = processes, recipe, split.late, classes
        self.device, self.seed, self.size = device, recipe.seed, recipe.batch
        home = torch.device("cpu") if isinstance(split, Unread) else device
        drawn = recipe.seed if recipe.shuffle else None
        self.before = sum(stage.mixes for stage in recipe.augment) if processes.size > 1 else 0
        self.turns = Order(len(split), recipe.batch, drawn, home, processes, self.before)
        self.resident: Resident | None = None
        if isinstance(split, Unread):
            self.read = Stream(split, self.turns.rows, len(self), device).at
        else:
            self.resident = Resident(split, self.turns.rows, device)
            self.read = self.resident.at
        self.prepare = prepare_on(device, recipe, channels_last)
        # Batches that are prepared at once, always the same ones, so that each lies where it would in any other run.
        values = self.resident.x[:1].numel() * self.size if self.resident else AHEAD
        self.together = max(1, min(TOGETHER, AHEAD // max(1, values)))
        self._ready: tuple[int, int, list[Pair]] = -1, -1, []
        self._inputs: tuple[Tensor | None] | None = None

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self.turns)

    def order(self, epoch: int) -> Tensor:
        """The samples of `epoch` in the order in which they are seen."""
        return self.turns.of(epoch)

    def count(self, number: int) -> int:
        """The samples of batch `number`, over all processes."""
        return self.turns.count(number)

    def at(self, epoch: int, number: int) -> tuple[Tensor, Tensor]:
        """This process's share of batch `number` of `epoch`: what the model takes, and the targets."""
        if self.resident and not self.recipe.augment:
            return self._prepared(self.resident, epoch, number)
        x, y = self.read(epoch, number)
        if self.recipe.augment:
            x, y = self._augmented(scaled(x), y, epoch, number)
        return self._mixed(*self._as_taken(x, y), epoch, number)

    def _as_taken(self, x: Tensor, y: Tensor) -> Pair:
        y = self.prepare.targets(y)
        return self.prepare(x), self.late(y) if self.late else y

    def _prepared_once(self, samples: Resident) -> Tensor | None:
        """All inputs as the model takes them, but for their layout; None where they are so already, or too large."""
        first = self.prepare.values(samples.x[:1].clone())
        changed = self.prepare.stages or first.dtype != samples.x.dtype
        if not changed or first.nbytes * len(samples.x) > ONCE:
            return None
        found = first.new_empty((len(samples.x), *first.shape[1:]))
        for into, part in zip(found.split(MEASURE_BATCH), samples.x.split(MEASURE_BATCH), strict=True):
            into.copy_(self.prepare.values(part.clone()))
        return found

    def _prepared(self, samples: Resident, epoch: int, number: int) -> Pair:
        """A batch out of those that are prepared together."""
        group, place = divmod(number, self.together)
        if self._ready[:2] != (epoch, group):
            if self._inputs is None:
                self._inputs = (self._prepared_once(samples),)
            first = group * self.together
            rows = [self.turns.rows(epoch, n) for n in range(first, min(first + self.together, len(self)))]
            sizes = [len(row) for row in rows]
            chosen, (inputs,) = torch.cat(rows) if len(rows) > 1 else rows[0], self._inputs
            if inputs is None:
                x, y = self._as_taken(*samples.of(chosen))
            else:
                x, y = (
                    self.prepare.laid_out(inputs.index_select(0, chosen)),
                    samples.y.index_select(0, chosen),
                )
                y = self.prepare.targets(y)
                y = self.late(y) if self.late else y
            self._ready = epoch, group, list(zip(x.split(sizes), y.split(sizes), strict=True))
        return self._ready[2][place]

    def _augmented(self, x: Tensor, y: Tensor, epoch: int, number: int) -> tuple[Tensor, Tensor]:
        jointly = of_pixels(y)
        masks = y.unsqueeze(1)
        for stage, augmentation in enumerate(self.recipe.augment):
            if augmentation.mixes:
                continue  # it has its turn when targets are as the loss takes them
            random = self._random(epoch, number, stage)
            if jointly:
                x, masks = augmentation.apply_jointly(x, masks, random)
            else:
                x = augmentation.apply(x, random)
        return x, masks.squeeze(1)

    def _mixed(self, x: Tensor, y: Tensor, epoch: int, number: int) -> Pair:
        """The batch after the stages that mix its samples with each other."""
        for stage, augmentation in enumerate(self.recipe.augment):
            if augmentation.mixes:
                x, y = augmentation.mix(x, y, self._random(epoch, number, stage, rank=0), self.classes)
        return x[self.before :], y[self.before :]

    def _random(self, epoch: int, number: int, stage: int, rank: int | None = None) -> torch.Generator:
        """What is drawn for a batch: by each process for its own samples, but where all have to draw the same."""
        own = self.processes.rank if rank is None else rank
        ranks = [own] if own else []
        return torch.Generator(self.device).manual_seed(mixed(self.seed, epoch, number, stage, *ranks))


class Resident:
    """Samples that are all on the device, and the `rows` of a batch among them."""

    def __init__(self, split: Split, rows: Rows, device: torch.device) -> None:
        self.x, self.y, self.rows = split.x.to(device), split.y.to(device), rows

    def at(self, epoch: int, number: int) -> tuple[Tensor, Tensor]:
        """The inputs and targets of a batch, as they are kept."""
        return self.of(self.rows(epoch, number))

    def of(self, rows: Tensor) -> Pair:
        """The samples with these numbers."""
        return self.x.index_select(0, rows), self.y.index_select(0, rows)


def in_order(
    split: Part, prepare: Prepare, device: torch.device, processes: Processes = ALONE
) -> Iterator[tuple[Tensor, Tensor, bool]]:
    """All samples of a split, as they come, in large batches, of which each process gets its share.

    The last value says whether they count: in the place of an empty share stands the batch's first sample.
    """
    if len(split) == 0:
        return
    most = at_once(split.first(1).x)
    shares = [processes.part(min(most, len(split) - start)) for start in range(0, len(split), most)]

    def part(number: int) -> slice:
        share = shares[number] or range(1)
        return slice(number * most + share.start, number * most + share.stop)

    def rows(epoch: int, number: int) -> Tensor:  # noqa: ARG001
        return torch.arange(len(split))[part(number)]

    stream = Stream(split, rows, len(shares), device, ends=True) if isinstance(split, Unread) else None
    for number, share in enumerate(shares):
        if isinstance(split, Split):
            x, y = split.x[part(number)].to(device), split.y[part(number)].to(device)
        else:
            assert stream is not None
            x, y = stream.at(0, number)
        y = prepare.targets(y)
        yield prepare(x), split.late(y) if split.late else y, len(share) > 0


def at_once(x: Tensor) -> int:
    """How many samples like `x` are measured at a time: fewer of large ones, whose activations are large too, and more
    of those that are a few numbers.

    >>> at_once(torch.zeros(1, 2)), at_once(torch.zeros(1, 1, 28, 28)), at_once(torch.zeros(1, 3, 160, 240))
    (8192, 512, 18)
    """
    values = max(1, x[0].numel())
    most = max(MEASURE_BATCH, FEW_VALUES // values) if x.is_floating_point() else MEASURE_BATCH
    return max(16, min(most, MEASURED_VALUES // values))


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
