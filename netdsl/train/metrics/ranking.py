"""Metrics of how scores rank the samples: exact over the whole set, so the scores are kept until its end.

The tally is a list of rows: the scores of each class or label, then the class number, or an answer for each label.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Literal

from netdsl.train.metrics.base import DECISIONS, Metric, Tally, Task

if TYPE_CHECKING:
    from torch import Tensor


class Kept(Metric):
    """A metric of which the tally is all scores and targets."""

    takes = DECISIONS

    def tally(self, output: Tensor, task: Task) -> list[Tensor]:  # noqa: ARG002
        return []

    def add(self, tally: Tally, output: Tensor, target: Tensor, task: Task) -> None:
        assert isinstance(tally, list)
        tally.append(rows(output, target, task))

    def value(self, tally: Tally, task: Task) -> float:
        import torch

        assert isinstance(tally, list)
        kept = torch.cat(tally)
        if task.kind == "multiclass":
            scores, right = kept[:, :-1], kept[:, -1].long()
            if task.ignore is not None:
                counted = right != task.ignore
                scores, right = scores[counted], right[counted]
            return self.of(scores, right, task)
        half = kept.shape[1] // 2
        right = kept[:, half:] if task.kind == "values" else kept[:, half:] > 0
        return self.of(kept[:, :half], right, task)

    @abstractmethod
    def of(self, scores: Tensor, right: Tensor, task: Task) -> float:
        """The metric of [N, classes] and [N], or of [N, labels] both."""


def rows(output: Tensor, target: Tensor, task: Task) -> Tensor:
    """Scores and targets side by side, a row for each decision; float32."""
    import torch

    if task.kind == "values":
        return (
            torch.cat([output.flatten(1), target.flatten(1)], 1)
            if output.dim() > 1
            else torch.stack([output, target], 1)
        )
    right = task.numbers(target)
    if task.kind == "multiclass":
        scores = task.probabilities(output.float()).movedim(1, -1).flatten(0, -2)
        return torch.cat([scores, right.reshape(-1, 1).to(scores.dtype)], 1)
    labels = task.labels(output)
    pair = [
        part.float().reshape(len(output), labels, -1).movedim(1, 2).reshape(-1, labels)
        for part in (output, right)
    ]
    return torch.cat(pair, 1)


class Ranking(Kept):
    """A metric of a score and an answer, averaged over the classes, each against the rest, or over the labels."""

    average: Literal["macro", "weighted"] = "macro"

    def of(self, scores: Tensor, right: Tensor, task: Task) -> float:
        import torch

        if task.kind == "multiclass":
            right = right[:, None] == torch.arange(scores.shape[1], device=scores.device)
        found = torch.stack([self.curve(s, r) for s, r in zip(scores.T, right.T, strict=True)])
        if len(found) == 1:
            return float(found.nan_to_num())
        known = ~found.isnan()
        weights = right.sum(0).double() if self.average == "weighted" else torch.ones_like(found)
        return float((found * weights)[known].sum() / weights[known].sum())

    @abstractmethod
    def curve(self, scores: Tensor, right: Tensor) -> Tensor:
        """The metric of scores [N] and answers [N]."""


def steps(scores: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """How many right and wrong answers there are at or above each of the different scores, from the highest."""
    import torch

    order = scores.argsort(descending=True)
    scores, right = scores[order], right[order].double()
    last = torch.cat(
        [
            (scores[1:] != scores[:-1]).nonzero().flatten(),
            torch.tensor([len(scores) - 1], device=scores.device),
        ]
    )
    hits = right.cumsum(0)[last]
    return hits, 1.0 + last - hits


class Auroc(Ranking):
    """The area under the ROC curve: how often a yes has a higher score than a no. 0 where one of them is missing."""

    kind = "auroc"

    def curve(self, scores: Tensor, right: Tensor) -> Tensor:
        import torch

        hits, misses = steps(scores, right)
        if not float(hits[-1]) or not float(misses[-1]):
            return hits.new_zeros(())
        zero = hits.new_zeros(1)
        return torch.trapezoid(torch.cat([zero, hits / hits[-1]]), torch.cat([zero, misses / misses[-1]]))


class AveragePrecision(Ranking):
    """The mean of the precisions at each right answer."""

    kind = "average_precision"

    def curve(self, scores: Tensor, right: Tensor) -> Tensor:
        hits, misses = steps(scores, right)
        recall = hits / hits[-1]
        return (
            (recall - recall.roll(1).index_fill(0, recall.new_zeros(1).long(), 0)) * (hits / (hits + misses))
        ).sum()
