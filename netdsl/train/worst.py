"""The samples that a model is worst at, in what a person can look at: images with their masks, rows of tables, series,
texts, and what they are and were taken for in words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from netdsl.train.batches import scaled
from netdsl.train.data.sequence import Sequence as Series
from netdsl.train.data.table import Table

if TYPE_CHECKING:
    from netdsl.train.data import Data
    from netdsl.train.recipe import Recipe

TOKENS = 120  # of a text that are shown
FEW = 4  # values of a target that are shown


@dataclass(frozen=True)
class Worst:
    """A sample of the validation part: what it is, what it was taken for and how large its loss is.

    `image` [C, H, W] in uint8, with `masks`, the true and the predicted class of each pixel, [H, W], where there are
    such; or `row`, the numbers that the model got, by name; or `series`, a column of them for each name; or `text`.
    """

    number: int
    loss: float
    target: str
    output: str
    image: Tensor | None = None
    row: tuple[tuple[str, float], ...] = ()
    masks: tuple[Tensor, Tensor] | None = None
    series: tuple[tuple[str, tuple[float, ...]], ...] = ()
    text: str = ""


@dataclass(frozen=True)
class Decisions:
    """How outputs and targets of a recipe say a class: by number, or, where it is `binary`, by lying above a middle.

    `one_hot` are targets that have a value for each class. `names` are those of the classes.
    """

    classes: bool
    binary: bool
    one_hot: bool
    low: float
    gives: str
    names: tuple[str, ...]

    @staticmethod
    def of(recipe: Recipe, data: Data) -> Decisions:
        loss = recipe.loss
        classes = loss.targets == "classes"
        binary = not classes and loss.binary
        names = data.names or (recipe.data.sample().target.names if recipe.data else ())
        named = tuple(names) or (("0", "1") if binary and recipe.target is None else ())
        return Decisions(
            classes, binary, recipe.target is not None and not classes, loss.low, loss.gives, named
        )

    @property
    def some(self) -> bool:
        """Whether there are classes at all."""
        return self.classes or self.binary or self.one_hot

    def predicted(self, output: Tensor) -> Tensor:
        """The class numbers of a batch of outputs."""
        if self.classes or (self.one_hot and output.dim() > 1 and output.shape[1] > 1):
            return output.argmax(1)
        return (output > (0.5 if self.gives == "probabilities" else 0.0)).long()

    def true(self, y: Tensor) -> Tensor:
        """The class numbers of a batch of targets."""
        if self.classes:
            return y
        if self.one_hot and y.dim() > 1 and y.shape[1] > 1:
            return y.argmax(1)
        return (y > (self.low + 1) / 2).long()

    def count(self, output: Tensor) -> int:
        """How many classes a batch of outputs tells apart."""
        many = self.classes or self.one_hot
        return output.shape[1] if many and output.dim() > 1 and output.shape[1] > 1 else 2

    def shares(self, output: Tensor) -> Tensor | None:
        """The probability of each class in one output that says a class; None where its scores are none."""
        if output.dim() != 1 or not self.some:
            return None
        if len(output) == 1:
            high = output if self.gives == "probabilities" else output.sigmoid()
            return torch.cat([1 - high, high])
        if self.gives in ("logits", "log-probabilities"):
            return output.softmax(0)  # which leaves logarithms of probabilities what they are
        return output if self.gives == "probabilities" else None

    def name(self, number: int) -> str:
        return self.names[number] if 0 <= number < len(self.names) else str(number)


def shown(
    decisions: Decisions, recipe: Recipe, data: Data, chosen: Sequence[tuple[float, int, Tensor, Tensor]]
) -> Iterator[Worst]:
    """The samples `chosen` by loss, number, target and output, as a person looks at them."""
    if not chosen:
        return
    part = data.valid.rows([number for _, number, _, _ in chosen]).first(len(chosen))
    tokens = _tokens(recipe, data)
    for (loss, number, y, output), x in zip(chosen, part.x.cpu(), strict=True):
        target, said = _words(decisions, recipe, y, output, tokens)
        masks = _masks(decisions, y, output)
        image = _image(x, recipe if masks else None)
        found: dict[str, Any] = {"image": image, "masks": masks if image is not None else None}
        if image is None:
            found |= _as_numbers(x, recipe, data, tokens)
        yield Worst(number, loss, target, said, **found)


def _words(
    decisions: Decisions, recipe: Recipe, y: Tensor, output: Tensor, tokens: list[str]
) -> tuple[str, str]:
    """What a sample is, and what it was taken for."""
    if not decisions.some:
        names = _value_names(recipe)
        return _values(y, names), _values(output, names)
    true, predicted = decisions.true(y[None])[0], decisions.predicted(output[None])[0]
    if true.numel() == predicted.numel() == 1:
        number = int(predicted)
        shares = decisions.shares(output)
        sure = f" ({float(shares[number]):.0%})" if shares is not None and number < len(shares) else ""
        return decisions.name(int(true)), decisions.name(number) + sure
    if tokens and true.dim() == 1:
        return _text(true, tokens), _text(predicted, tokens)
    if true.dim() < 2:  # questions of their own, each answered by yes or no
        return _answers(decisions, true), _answers(decisions, predicted)
    return (
        "",
        f"{float((true != predicted).float().mean()):.1%} of it wrong"
        if true.shape == predicted.shape
        else "",
    )


def _answers(decisions: Decisions, given: Tensor) -> str:
    if decisions.classes:
        return _values(given)
    yes = given.flatten().nonzero().flatten().tolist()
    return ", ".join(str(number) for number in yes[:FEW]) + (", …" if len(yes) > FEW else "") or "none"


def _masks(decisions: Decisions, y: Tensor, output: Tensor) -> tuple[Tensor, Tensor] | None:
    """The true and the predicted class of each pixel, where these have classes."""
    if not decisions.some:
        return None
    true, predicted = decisions.true(y[None])[0], decisions.predicted(output[None])[0]
    both = [mask.squeeze(0) if mask.dim() == 3 and mask.shape[0] == 1 else mask for mask in (true, predicted)]
    return (both[0], both[1]) if both[0].dim() == 2 and both[0].shape == both[1].shape else None


def _image(x: Tensor, moved: Recipe | None) -> Tensor | None:
    """A sample as an image in uint8, where it is one; `moved` as the transforms of the recipe move masks."""
    if x.dim() != 3 or x.shape[0] not in (1, 3) or min(x.shape[1:]) < 2:
        return None
    if x.dtype == torch.uint8:
        for transform in moved.transform if moved else ():
            if transform.kind != "Normalize":
                x = _in_bytes(
                    transform.on(x.device)(scaled(x[None]) if x.dtype == torch.uint8 else x[None])[0]
                )
        return x if x.shape[0] in (1, 3) else None
    if not x.is_floating_point():
        return None
    low, high = float(x.min()), float(x.max())
    return _in_bytes((x - low) / ((high - low) or 1.0))


def _in_bytes(x: Tensor) -> Tensor:
    return (x.nan_to_num().clamp(0, 1) * 255).round().to(torch.uint8)


def _as_numbers(x: Tensor, recipe: Recipe, data: Data, tokens: list[str]) -> dict[str, Any]:
    if x.dim() == 1 and not x.is_floating_point():
        return {"text": _text(x, tokens, padding=getattr(recipe.data, "pad", None))}
    names = _input_names(recipe, data)
    if x.dim() == 1:
        known = names if len(names) == len(x) else [f"x{i}" for i in range(len(x))]
        return {"row": tuple(zip(known, x.tolist(), strict=True))}
    if x.dim() == 2 and x.is_floating_point():
        columns = x.T.tolist()
        known = names if len(names) == len(columns) else [f"x{i}" for i in range(len(columns))]
        return {"series": tuple((name, tuple(column)) for name, column in zip(known, columns, strict=True))}
    return {}


def _input_names(recipe: Recipe, data: Data) -> Sequence[str]:
    """What the inputs are called, where the source has names for them."""
    named = getattr(_table(recipe), "input_names", None)
    return named(data.fitted) if named and data.fitted else ()


def _value_names(recipe: Recipe) -> Sequence[str]:
    table = _table(recipe)
    return [str(name) for name in table.targets()] if isinstance(table, Table) else ()


def _table(recipe: Recipe) -> Any:
    return recipe.data.table if isinstance(recipe.data, Series) else recipe.data


def _tokens(recipe: Recipe, data: Data) -> list[str]:
    """The tokens by their numbers, where they are words or characters."""
    known: Any = (data.fitted or {}).get("tokens") or getattr(recipe.data, "vocabulary", ())
    return list(map(str, known)) if isinstance(known, (list, tuple)) else []


def _text(ids: Tensor, tokens: list[str], padding: int | None = None) -> str:
    numbers = [number for number in ids.tolist() if number != padding]
    words = [tokens[n] if 0 <= n < len(tokens) else str(n) for n in numbers[:TOKENS]]
    blank = "" if tokens and all(len(token) == 1 for token in tokens) else " "
    return blank.join(words) + (" …" if len(numbers) > TOKENS else "")


def _values(values: Tensor, names: Sequence[str] = ()) -> str:
    flat = values.flatten()
    few = [f"{value:.4g}" for value in flat[:FEW].tolist()]
    if len(names) == len(flat) > 1:
        few = [f"{name} {value}" for name, value in zip(names, few, strict=False)]
    return ", ".join(few) + (", …" if len(flat) > FEW else "")
