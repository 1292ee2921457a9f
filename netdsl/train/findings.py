"""A trained model looked at closely, on what it is measured on: which classes it mixes up, how far its values are
off, and the samples it is worst at.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
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

WORST = 12
POINTS = 2000  # of values and what they were taken for, drawn as dots
CLASSES = 200  # a matrix of more cannot be looked at


@dataclass(frozen=True)
class Worst:
    """A sample of the validation part: what it is, what it was taken for and how large its loss is.

    `image` [C, H, W] in uint8, or `row`, the numbers that the model got, by name.
    """

    number: int
    loss: float
    target: str
    output: str
    image: Tensor | None = None
    row: tuple[tuple[str, float], ...] = ()


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
        tuple(_worst(seen, recipe, data)),
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
        self.loss = each_loss(recipe)
        self.classes = recipe.loss.targets == "classes"
        self.binary = recipe.loss.targets == "values" and recipe.loss.binary
        self.middle = 0.5 if recipe.loss.gives == "probabilities" else 0.0
        self.low, self.scores = recipe.loss.low, recipe.loss.scores
        names = data.names or (recipe.data.sample().target.names if recipe.data else ())
        self.names = tuple(names) or (("0", "1") if self.binary else ())
        self.confusion: Tensor | None = None
        self.pairs: list[tuple[float, float]] = []
        self.every = max(1, len(data.valid) // POINTS)
        self.worst: list[tuple[float, int, Tensor, Tensor]] = []  # loss, number, target, output

    def add(self, start: int, output: Tensor, y: Tensor, given: Any) -> None:
        """`given` is what the loss takes, of which `output` is the first."""
        if not self.scores:
            pass  # which neither tell classes nor are what the targets are
        elif self.classes or self.binary:
            self._count(output, y)
        else:
            chosen = slice((-start) % self.every, None, self.every)
            both = zip(y[chosen].flatten().tolist(), output[chosen].flatten().tolist(), strict=True)
            self.pairs += [pair for pair, _ in zip(both, range(POINTS - len(self.pairs)), strict=False)]
        losses = self.loss(given, y)
        losses = losses.nan_to_num(float("inf")) if len(losses) == len(y) else losses.new_zeros(len(y))
        top = losses.topk(min(WORST, len(losses)))
        for value, index in zip(top.values.tolist(), top.indices.tolist(), strict=True):
            self.worst.append((value, start + index, y[index].cpu(), output[index].cpu()))
        self.worst = sorted(self.worst, key=lambda entry: -entry[0])[:WORST]

    def _count(self, output: Tensor, y: Tensor) -> None:
        if self.classes:
            count, predicted = output.shape[1], output.argmax(1).flatten()
            true = y.flatten()
        else:
            count, predicted = 2, (output > self.middle).long().flatten()
            true = (y > (self.low + 1) / 2).long().flatten()
        if count > CLASSES:
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


def each_loss(recipe: Recipe) -> Callable[[Any, Tensor], Tensor]:
    """The recipe's loss, for each sample by itself; a mean over what a sample has several of."""
    made: Any = recipe.loss.build()
    if hasattr(made, "reduction"):
        made.reduction = "none"

    def each(output: Any, y: Tensor) -> Tensor:
        losses = made.to(y.device)(output, y)
        return losses.flatten(1).mean(1) if losses.dim() > 1 else losses.reshape(-1)

    return each


def _worst(seen: _Seen, recipe: Recipe, data: Data) -> Iterator[Worst]:
    if not seen.worst:
        return
    part = data.valid.rows([number for _, number, _, _ in seen.worst]).first(len(seen.worst))
    names = _input_names(recipe, data)
    for (loss, number, y, output), x in zip(seen.worst, part.x, strict=True):
        image = x if x.dtype == torch.uint8 and x.dim() == 3 and x.shape[0] in (1, 3) else None
        row: tuple[tuple[str, float], ...] = ()
        if image is None and x.dim() == 1:
            known = names if len(names) == len(x) else tuple(f"x{i}" for i in range(len(x)))
            row = tuple(zip(known, x.tolist(), strict=True))
        yield Worst(number, loss, _target(seen, y), _output(seen, recipe, output), image, row)


def _input_names(recipe: Recipe, data: Data) -> Sequence[str]:
    """What the inputs are called, where the source has names for them."""
    named = getattr(recipe.data, "input_names", None)
    return named(data.fitted) if named and data.fitted else ()


def _target(seen: _Seen, y: Tensor) -> str:
    if (seen.classes or seen.binary) and y.numel() == 1:
        number = int(y) if seen.classes else int(float(y) > (seen.low + 1) / 2)
        return seen.names[number] if 0 <= number < len(seen.names) else str(number)
    return _numbers(y)


def _output(seen: _Seen, recipe: Recipe, output: Tensor) -> str:
    if seen.classes and output.dim() == 1:
        gives = recipe.loss.gives
        shares = output.exp() if gives == "log-probabilities" else output.softmax(0)
        number = int(output.argmax())
        return f"{seen.names[number] if number < len(seen.names) else number} ({float(shares[number]):.0%})"
    if seen.binary and output.numel() == 1:
        share = float(output) if recipe.loss.gives == "probabilities" else float(output.sigmoid())
        return f"{seen.names[int(float(output) > seen.middle)]} ({max(share, 1 - share):.0%})"
    return _numbers(output)


def _numbers(values: Tensor) -> str:
    few = values.flatten()[:4].tolist()
    return ", ".join(f"{value:.4g}" for value in few) + (", …" if values.numel() > 4 else "")
