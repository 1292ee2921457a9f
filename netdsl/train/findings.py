"""A trained model looked at closely, on what it is measured on: which classes it mixes up, how far its values are
off, and the samples it is worst at.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from safetensors.torch import load
from torch import Tensor, nn

from netdsl.train.batches import at_once, prepare_on
from netdsl.train.data import Data
from netdsl.train.outputs import main_output, taken
from netdsl.train.recipe import Recipe
from netdsl.train.runs import RunFolder
from netdsl.train.state import Run
from netdsl.train.targets import as_compared
from netdsl.train.worst import Decisions, Worst, shown

WORST = 12
POINTS = 2000  # of values and what they were taken for, drawn as dots
CLASSES = 200  # a matrix of more cannot be looked at
ALONE = 10_000  # samples whose losses are taken one by one, where the loss is one number for a batch


@dataclass(frozen=True)
class Findings:
    """`confusion` counts true classes by rows and predicted ones by columns; `pairs` are target and output."""

    samples: int
    seconds: float
    names: tuple[str, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    pairs: tuple[tuple[float, float], ...] = ()
    worst: tuple[Worst, ...] = field(default=())


def look(run: Run, folder: RunFolder) -> Findings | None:
    """The findings for the best weights of a run that is over; the run is left as it is.

    None where each process has only a piece of the model; `netdsl report` finds them later.
    """
    if getattr(run.processes, "sharded", False):
        return None
    model = copy.deepcopy(run.model)
    return looked_at(model, run.recipe, run.data, run.device, folder.weights(), run.channels_last)


@torch.inference_mode()
def looked_at(
    model: nn.Module,
    recipe: Recipe,
    data: Data,
    device: torch.device,
    weights: Path | None = None,
    channels_last: bool = False,
) -> Findings:
    """The findings for `model`, with `weights` (safetensors) where they are given, on the validation part."""
    if weights is not None:
        model.load_state_dict(load(weights.read_bytes()))
    model.to(device).eval()
    begin = perf_counter()
    seen = _Seen(recipe, data)
    for start, x, y in _batches(recipe, data, device, channels_last):
        given = model(x)
        output = main_output(given).float()
        y = as_compared(y, recipe, output)
        seen.add(start, output, y if y.is_floating_point() else y.long(), taken(given, recipe))
    seconds = perf_counter() - begin
    return Findings(
        len(data.valid),
        seconds,
        seen.names,
        seen.matrix(),
        tuple(seen.pairs),
        tuple(shown(seen.decisions, recipe, data, seen.worst)),
    )


def _batches(
    recipe: Recipe, data: Data, device: torch.device, channels_last: bool
) -> Iterator[tuple[int, Tensor, Tensor]]:
    prepare, most = prepare_on(device, recipe, channels_last), at_once(data.valid.first(1).x)
    for start in range(0, len(data.valid), most):
        rows = range(start, min(start + most, len(data.valid)))
        part = data.valid.rows(rows).first(len(rows))
        yield start, prepare(part.x.to(device)), prepare.targets(part.y.to(device))


class _Seen:
    """What is kept of the outputs while they go by."""

    def __init__(self, recipe: Recipe, data: Data) -> None:
        self.loss = each_loss(recipe, alone=len(data.valid) <= ALONE)
        self.scores = recipe.loss.scores
        self.decisions = Decisions.of(recipe, data)
        self.names = self.decisions.names
        self.confusion: Tensor | None = None
        self.pairs: list[tuple[float, float]] = []
        self.every = max(1, len(data.valid) // POINTS)
        self.worst: list[tuple[float, int, Tensor, Tensor]] = []  # loss, number, target, output

    def add(self, start: int, output: Tensor, y: Tensor, given: Any) -> None:
        """`given` is what the loss takes, of which `output` is the first."""
        if not self.scores:
            pass  # which neither tell classes nor are what the targets are
        elif self.decisions.some:
            self._count(output, y)
        else:
            chosen = slice((-start) % self.every, None, self.every)
            true, predicted = y[chosen].flatten().tolist(), output[chosen].flatten().tolist()
            pairs = zip(true, predicted, strict=False)
            self.pairs += [pair for pair, _ in zip(pairs, range(POINTS - len(self.pairs)), strict=False)]
        losses = self.loss(given, y)
        if losses is None:
            return
        losses = losses.nan_to_num(float("inf"))
        top = losses.topk(min(WORST, len(losses)))
        for value, index in zip(top.values.tolist(), top.indices.tolist(), strict=True):
            self.worst.append((value, start + index, y[index].cpu(), output[index].cpu()))
        self.worst = sorted(self.worst, key=lambda entry: -entry[0])[:WORST]

    def _count(self, output: Tensor, y: Tensor) -> None:
        count = self.decisions.count(output)
        true, predicted = self.decisions.true(y).flatten(), self.decisions.predicted(output).flatten()
        if count > CLASSES or len(true) != len(predicted):
            return
        known = (true >= 0) & (true < count)  # others are ignored by the loss
        cells = torch.bincount(true[known] * count + predicted[known], minlength=count * count)
        self.confusion = cells if self.confusion is None else self.confusion + cells
        if len(self.names) != count:
            self.names = tuple(str(number) for number in range(count))

    def matrix(self) -> tuple[tuple[int, ...], ...]:
        if self.confusion is None:
            return ()
        count = round(len(self.confusion) ** 0.5)
        return tuple(tuple(row) for row in self.confusion.view(count, count).tolist())


def each_loss(recipe: Recipe, *, alone: bool = True) -> Callable[[Any, Tensor], Tensor | None]:
    """The recipe's loss, for each sample by itself; a mean over what a sample has several of.

    A loss that is one number for a batch is taken of samples `alone`, which takes its time; otherwise it gives None.
    """
    made: Any = recipe.loss.build()
    if hasattr(made, "reduction"):
        made.reduction = "none"

    def each(output: Any, y: Tensor) -> Tensor | None:
        made.to(y.device)
        losses = made(output, y)
        if losses.dim() == 0 or len(losses) != len(y):
            return _one_by_one(made, output, y) if alone else None
        return losses.flatten(1).mean(1) if losses.dim() > 1 else losses

    return each


def _one_by_one(loss: Any, output: Any, y: Tensor) -> Tensor | None:
    """A loss that is one number for a batch, of each sample."""
    several = isinstance(output, tuple)
    losses = [
        loss(tuple(part[i : i + 1] for part in output) if several else output[i : i + 1], y[i : i + 1])
        for i in range(len(y))
    ]
    return torch.stack(losses) if all(each.dim() == 0 for each in losses) else None
