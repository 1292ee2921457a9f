"""Metrics of right and wrong decisions: all of them follow from the counts of what was taken for what.

The tally is the confusion matrix [classes, classes] (rows: what it is, columns: what it was taken for), or
[labels, 2, 2].
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from netdsl.train.metrics.base import DECISIONS, Average, Metric, Sums, Tally, Task

if TYPE_CHECKING:
    from torch import Tensor


def confusion(output: Tensor, target: Tensor, task: Task, threshold: float = 0.5) -> Tensor:
    """What was taken for what in one batch, as int64: [classes, classes], or [labels, 2, 2]."""
    import torch

    decided, right = task.decided(output, threshold), task.numbers(target)
    if task.kind == "multiclass":
        classes = output.shape[1]
        cells = classes * classes
        cell = right.long() * classes + decided
        if task.ignore is not None:
            cell = torch.where(right == task.ignore, cells, cell)
        counts = torch.zeros(cells + 1, dtype=torch.int64, device=output.device)
        counts.index_add_(0, cell.flatten(), torch.ones_like(cell).flatten())
        return counts[:cells].view(classes, classes)
    labels = task.labels(output)
    cell = right.long() * 2 + decided.long()
    if labels > 1:
        cell = cell + 4 * torch.arange(labels, device=output.device).view(1, -1, *[1] * (output.dim() - 2))
    counts = torch.zeros(labels * 4, dtype=torch.int64, device=output.device)
    counts.index_add_(0, cell.flatten(), torch.ones_like(cell).flatten())
    return counts.view(labels, 2, 2)


@dataclass(frozen=True)
class Counts:
    """Of each class or label: right and wrong yeses, right and wrong noes. float64, on the CPU."""

    tp: Tensor
    fp: Tensor
    tn: Tensor
    fn: Tensor

    def summed(self) -> Counts:
        return Counts(self.tp.sum(), self.fp.sum(), self.tn.sum(), self.fn.sum())


def counts(matrix: Tensor, task: Task) -> Counts:
    matrix = matrix.double().cpu()
    if task.kind != "multiclass":
        return Counts(matrix[:, 1, 1], matrix[:, 0, 1], matrix[:, 0, 0], matrix[:, 1, 0])
    tp = matrix.diagonal()
    fp, fn = matrix.sum(0) - tp, matrix.sum(1) - tp
    return Counts(tp, fp, matrix.sum() - tp - fp - fn, fn)


def over(part: Tensor, whole: Tensor) -> Tensor:
    """`part / whole`, and 0 where `whole` is."""
    return (part / whole.clamp(min=1e-300)) * (whole != 0)


class Confusion(Metric):
    """A metric that follows from the confusion matrix."""

    takes = DECISIONS

    def counts_exactly(self, task: Task) -> bool:
        compared = task.gives == "probabilities" or (
            task.gives == "logits" and getattr(self, "threshold", 0.5) == 0.5
        )
        return task.kind == "multiclass" or compared

    def tally(self, output: Tensor, task: Task) -> Tensor:
        import torch

        classes = output.shape[1] if task.kind == "multiclass" else 0
        shape = (classes, classes) if classes else (task.labels(output), 2, 2)
        return torch.zeros(shape, dtype=torch.int64, device=output.device)

    def add(self, tally: Tally, output: Tensor, target: Tensor, task: Task) -> None:
        tally += confusion(output, target, task, getattr(self, "threshold", 0.5))  # type: ignore[operator]

    def value(self, tally: Tally, task: Task) -> float:
        assert not isinstance(tally, list)
        return self.of(tally, task)

    @abstractmethod
    def of(self, matrix: Tensor, task: Task) -> float:
        """The metric of a whole confusion matrix."""


class Averaged(Confusion):
    """A ratio of counts, of all decisions together (`micro`) or of each class and then averaged."""

    if TYPE_CHECKING:  # each declares them, in torchmetrics' order
        threshold: float
        average: Average

    @abstractmethod
    def ratio(self, c: Counts, task: Task, *, together: bool) -> Tensor:
        """The ratio of each class, or of the sums of their counts."""

    def of(self, matrix: Tensor, task: Task) -> float:
        c = counts(matrix, task)
        if self.average == "micro" or (task.kind != "multiclass" and len(matrix) == 1):
            return float(self.ratio(c.summed(), task, together=True))
        ratio = self.ratio(c, task, together=False)
        if self.average == "weighted":
            weights = c.tp + c.fn
        else:  # a class that is nowhere has no ratio
            weights = ((c.tp + c.fp + c.fn > 0) | (task.kind != "multiclass")).double()
        return float(over((weights * ratio).sum(), weights.sum()))


class Ratio(Averaged):
    threshold: float = Field(0.5, ge=0, le=1)
    average: Average = "micro"


class Accuracy(Ratio):
    """The share of right decisions; with `top_k`, of samples whose class is among the highest outputs."""

    kind = "accuracy"

    top_k: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _top_of_all(self) -> Accuracy:
        if self.top_k > 1 and self.average != "micro":
            raise ValueError('`top_k` above 1 goes with `average = "micro"`')
        return self

    def tally(self, output: Tensor, task: Task) -> Tensor:
        import torch

        if self._counts_hits(task):
            return torch.zeros(2, dtype=torch.int64, device=output.device)
        return super().tally(output, task)

    def add(self, tally: Tally, output: Tensor, target: Tensor, task: Task) -> None:
        import torch

        if not self._counts_hits(task):
            super().add(tally, output, target, task)
            return
        right = task.numbers(target)
        if self.top_k == 1:
            hits = output.argmax(1) == right
        else:
            hits = (output.topk(min(self.top_k, output.shape[1]), dim=1).indices == right.unsqueeze(1)).any(1)
        if task.ignore is None:
            tally[0] += hits.sum()
            tally[1] += hits.numel()
        else:
            counted = right != task.ignore
            tally += torch.stack([(hits & counted).sum(), counted.sum()])  # type: ignore[operator]

    def value(self, tally: Tally, task: Task) -> float:
        if not self._counts_hits(task):
            return super().value(tally, task)
        hits, count = tally.tolist()  # type: ignore[union-attr]
        return hits / count if count else 0.0

    def _counts_hits(self, task: Task) -> bool:
        """Whether the hits alone are enough, which is cheaper than a confusion matrix."""
        return task.kind == "multiclass" and self.average == "micro"

    def ratio(self, c: Counts, task: Task, *, together: bool) -> Tensor:  # noqa: ARG002
        return _right(c, task)


def _right(c: Counts, task: Task) -> Tensor:
    if task.kind == "multiclass":
        return over(c.tp, c.tp + c.fn)
    return over(c.tp + c.tn, c.tp + c.tn + c.fp + c.fn)


class HammingDistance(Ratio):
    """The share of wrong decisions."""

    kind = "hamming_distance"
    higher_is_better = False

    def ratio(self, c: Counts, task: Task, *, together: bool) -> Tensor:  # noqa: ARG002
        return 1 - _right(c, task)


class Precision(Ratio):
    """The share of yeses that are right."""

    kind = "precision"

    def ratio(self, c: Counts, task: Task, *, together: bool) -> Tensor:  # noqa: ARG002
        return over(c.tp, c.tp + c.fp)


class Recall(Ratio):
    """The share of what is that was found."""

    kind = "recall"

    def ratio(self, c: Counts, task: Task, *, together: bool) -> Tensor:  # noqa: ARG002
        return over(c.tp, c.tp + c.fn)


class Specificity(Ratio):
    """The share of what is not that was taken for that."""

    kind = "specificity"

    def ratio(self, c: Counts, task: Task, *, together: bool) -> Tensor:  # noqa: ARG002
        return over(c.tn, c.tn + c.fp)


class NegativePredictiveValue(Ratio):
    """The share of noes that are right."""

    kind = "negative_predictive_value"

    def ratio(self, c: Counts, task: Task, *, together: bool) -> Tensor:  # noqa: ARG002
        return over(c.tn, c.tn + c.fn)


class FBetaScore(Averaged):
    """The harmonic mean of precision and recall, in which recall counts `beta` times as much."""

    kind = "fbeta_score"

    beta: float = Field(1.0, gt=0)
    threshold: float = Field(0.5, ge=0, le=1)
    average: Average = "micro"

    def ratio(self, c: Counts, task: Task, *, together: bool) -> Tensor:  # noqa: ARG002
        return _f(c, self.beta)


class F1Score(Ratio):
    """The harmonic mean of precision and recall. Of several classes, `micro` is their accuracy."""

    kind = "f1_score"

    def ratio(self, c: Counts, task: Task, *, together: bool) -> Tensor:  # noqa: ARG002
        return _f(c, 1.0)


def _f(c: Counts, beta: float) -> Tensor:
    square = beta**2
    return over((1 + square) * c.tp, (1 + square) * c.tp + square * c.fn + c.fp)


class JaccardIndex(Averaged):
    """Intersection over union."""

    kind = "jaccard_index"

    threshold: float = Field(0.5, ge=0, le=1)
    average: Average = "macro"

    def ratio(self, c: Counts, task: Task, *, together: bool) -> Tensor:  # noqa: ARG002
        return over(c.tp, c.tp + c.fp + c.fn)


class CohenKappa(Confusion):
    """How much more often decisions are right than by chance."""

    kind = "cohen_kappa"
    takes = DECISIONS - {"multilabel"}

    threshold: float = Field(0.5, ge=0, le=1)
    weights: Literal["linear", "quadratic"] | None = None

    def of(self, matrix: Tensor, task: Task) -> float:  # noqa: ARG002
        import torch

        m = matrix.reshape(-1, matrix.shape[-1]).double().cpu()
        expected = m.sum(1, keepdim=True) @ m.sum(0, keepdim=True) / m.sum()
        apart = (torch.arange(len(m))[:, None] - torch.arange(len(m))).abs().double()
        cost = {"linear": apart, "quadratic": apart**2, None: (apart > 0).double()}[self.weights]
        return float(1 - (cost * m).sum() / (cost * expected).sum())


class MatthewsCorrcoef(Confusion):
    """The correlation of what is with what it was taken for."""

    kind = "matthews_corrcoef"

    threshold: float = Field(0.5, ge=0, le=1)

    def of(self, matrix: Tensor, task: Task) -> float:
        m = (matrix.sum(0) if task.kind != "multiclass" else matrix).double().cpu()
        total, right = m.sum(), m.diagonal().sum()
        if len(m) == 2 and float(right) in (0.0, float(total)):
            return 1.0 if float(right) else -1.0  # all alike, too
        taken, truly = m.sum(0), m.sum(1)
        spread = (total**2 - (taken**2).sum()) * (total**2 - (truly**2).sum())
        found = (right * total - (taken * truly).sum()) / spread.sqrt() if float(spread) else spread
        return float(found)


class DiceScore(Metric):
    """Twice the intersection over the sum of the areas, of each sample and then averaged, or of all of them at once
    (`global`).
    """

    kind = "dice_score"
    takes = DECISIONS

    include_background: bool = True
    average: Average = "macro"
    aggregation_level: Literal["global", "samplewise"] = "samplewise"

    def tally(self, output: Tensor, task: Task) -> Tensor:
        import torch

        classes = output.shape[1] if task.kind == "multiclass" else task.labels(output)
        shape = (3, classes) if self.aggregation_level == "global" else (2,)
        return torch.zeros(shape, dtype=torch.float64, device=output.device)

    def add(self, tally: Tally, output: Tensor, target: Tensor, task: Task) -> None:
        import torch

        decided, right = _areas(output, target, task)
        inside = tuple(range(2, decided.dim()))
        size, found = (right.sum(inside), decided.sum(inside)) if inside else (right, decided)
        both = (right * decided).sum(inside) if inside else right * decided
        sums = torch.stack([2 * both, size + found, size]).double()  # [3, B, classes]
        if self.aggregation_level == "global":
            tally += sums.sum(1)  # type: ignore[operator]
            return
        dice = self._averaged(sums, task)
        known = ~dice.isnan()
        tally += torch.stack([dice.nan_to_num().sum(), known.sum().double()])  # type: ignore[operator]

    def value(self, tally: Tally, task: Task) -> float:
        if self.aggregation_level == "global":
            return float(self._averaged(tally, task))  # type: ignore[arg-type]
        total, count = tally.tolist()  # type: ignore[union-attr]
        return total / count if count else float("nan")

    def _averaged(self, sums: Tensor, task: Task) -> Tensor:
        """Over the classes, the last axis; NaN where there is nothing of any."""
        first = int(not self.include_background and task.kind == "multiclass")
        shared, areas, size = sums[..., first:]
        if self.average == "micro":
            return shared.sum(-1) / areas.sum(-1)
        dice = shared / areas
        if self.average == "macro":
            return dice.nanmean(-1)
        nothing = dice.isnan().all(-1)
        return (dice * size / size.sum(-1, keepdim=True)).nansum(-1).masked_fill(nothing, float("nan"))


def _areas(output: Tensor, target: Tensor, task: Task) -> tuple[Tensor, Tensor]:
    """What was taken for each class and what is, as 0 and 1: [B, classes, ...]."""
    import torch

    decided, right = task.decided(output), task.numbers(target)
    if task.kind == "multiclass":
        numbers = torch.arange(output.shape[1], device=output.device).view(1, -1, *[1] * (decided.dim() - 1))
        return (decided.unsqueeze(1) == numbers).float(), (right.unsqueeze(1) == numbers).float()
    if decided.dim() in (1, 3):
        decided, right = decided.unsqueeze(1), right.unsqueeze(1)
    return decided.float(), right.float()


class ExactMatch(Sums):
    """The share of samples of which every decision is right."""

    kind = "exact_match"
    takes = DECISIONS - {"binary"}

    threshold: float = Field(0.5, ge=0, le=1)

    def terms(self, output: Tensor, target: Tensor, task: Task) -> list[Tensor]:
        right = task.numbers(target)
        hits = task.decided(output, self.threshold) == right
        if task.ignore is not None:
            hits |= right == task.ignore
        whole = hits.flatten(1).all(1) if hits.dim() > 1 else hits
        return [whole.sum(), whole.new_full((), 1, dtype=whole.sum().dtype) * len(whole)]
