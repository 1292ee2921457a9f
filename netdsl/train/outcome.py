"""The output of a model for one sample, in words: a class and how sure the model is, values, or a mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from netdsl.train.data.sequence import Sequence as Series
from netdsl.train.data.table import Table
from netdsl.train.foreign.base import Known
from netdsl.train.recipe import Recipe


@dataclass(frozen=True)
class Prediction:
    """What a model makes of a file, or of one `row` of it, or of one `step` after it, counted from 1.

    Of classes, the `label`, and how sure the model is, from 0 to 1, of each. Of images in which each pixel has a class,
    `mask` has their numbers, [H, W] in uint8, `probabilities` the share of each class, and `size` is the height and
    width of the file. Of values, and of classes whose scores are no probabilities, the `values` by name.
    """

    path: Path
    label: str = ""
    probability: float = 0.0
    probabilities: dict[str, float] = field(default_factory=dict[str, float])
    values: dict[str, float] = field(default_factory=dict[str, float])
    row: int | None = None
    step: int | None = None
    mask: Tensor | None = field(default=None, compare=False, repr=False)
    size: tuple[int, int] | None = None

    def best(self, count: int | None = None) -> dict[str, float]:
        """The most probable classes, the first one first; all of them without a number."""
        order = sorted(self.probabilities.items(), key=lambda item: -item[1])
        return dict(order[:count])


def said(path: Path, output: Tensor, recipe: Recipe, names: Sequence[str]) -> Prediction:
    """One sample's output in words; `names` are those of classes or of values."""
    loss = recipe.loss
    if loss.targets == "classes" and output.dim() > 1:
        return _of_places(path, output.argmax(0), len(output), names)
    if loss.targets == "classes" or recipe.target is not None:
        return _of_classes(path, output.flatten(), loss.gives, loss.binary, names)
    if not loss.binary or not loss.scores or loss.indices:
        return _of_values(path, output, names)
    high = output if loss.gives == "probabilities" else output.sigmoid()
    if output.numel() == 1:
        return _of_shares(path, torch.stack([1 - high.sum(), high.sum()]), names)
    if output.dim() > 1:
        return _of_places(path, (high > 0.5).long().squeeze(0), 2, names)
    return _of_values(path, high, names)  # questions of their own, each with its probability


def _of_classes(path: Path, output: Tensor, gives: str, binary: bool, names: Sequence[str]) -> Prediction:
    """A number for each class; where these are no probabilities and become none, they are values."""
    if gives == "logits":
        return _of_shares(path, output.sigmoid() if binary else output.softmax(0), names)
    if gives == "log-probabilities":
        return _of_shares(path, output.exp(), names)
    if gives == "probabilities":
        return _of_shares(path, output, names)
    scores = dict(zip(_called(names, len(output)), output.tolist(), strict=True))
    return Prediction(path, max(scores, key=lambda name: scores[name]), values=scores)


def _of_shares(path: Path, shares: Tensor, names: Sequence[str]) -> Prediction:
    called = _called(names, len(shares))
    best = int(shares.argmax())
    by_name = dict(zip(called, shares.tolist(), strict=True))
    return Prediction(path, called[best], by_name[called[best]], by_name)


def _of_places(path: Path, classes: Tensor, count: int, names: Sequence[str]) -> Prediction:
    """A class for each place: the share of each class, and of pixels the mask."""
    shares = torch.bincount(classes.flatten(), minlength=count) / classes.numel()
    found = _of_shares(path, shares, names)
    mask = classes.to(torch.uint8) if classes.dim() == 2 else None
    return Prediction(path, found.label, found.probability, found.probabilities, mask=mask)


def _of_values(path: Path, output: Tensor, names: Sequence[str]) -> Prediction:
    values = output.flatten().tolist()
    if len(names) != len(values):
        names = ["value"] if len(values) == 1 else [f"value {number}" for number in range(1, len(values) + 1)]
    return Prediction(path, values=dict(zip(names, values, strict=True)))


def _called(names: Sequence[str], count: int) -> Sequence[str]:
    return names if len(names) == count else [str(number) for number in range(count)]


def names_of(recipe: Recipe, known: Known) -> Sequence[str]:
    """The names of classes, or of values, as far as there are any."""
    if known.classes:
        return known.classes
    source = known.source
    table = source.table if isinstance(source, Series) else source
    if isinstance(table, Table) and recipe.loss.targets == "values" and table.classes is None:
        return [name if isinstance(name, str) else f"column {name}" for name in table.targets()]
    return ()
