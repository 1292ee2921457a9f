"""Metrics by their functional names in torchmetrics. A metric adds a batch to its tally on the device,
without waiting for it, and turns the tally of an epoch into a number, so that a short last batch counts as
what it is.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from netdsl.train.component import Component, Family

if TYPE_CHECKING:
    from torch import Tensor


class Metric(Component):
    """A metric. `targets` says what it compares the output with, as for a loss."""

    targets: ClassVar[Literal["classes", "values"]]
    higher_is_better: ClassVar[bool] = True

    def tally(self, output: Tensor) -> Tensor:
        """An empty tally for outputs like `output`."""
        return output.new_zeros((), dtype=output.dtype)

    @abstractmethod
    def add(self, tally: Tensor, output: Tensor, target: Tensor) -> None:
        """Add a batch: `output` is [B, classes] or values, `target` [B] or values of the same shape."""

    def value(self, tally: Tensor, samples: int) -> float:
        """The metric over the `samples` whose batches were added; this waits for the device."""
        return float(tally) / samples


class Accuracy(Metric):
    """The share of samples whose class is among the `top_k` highest outputs."""

    kind = "accuracy"
    targets = "classes"

    top_k: int = Field(1, ge=1)

    def tally(self, output: Tensor) -> Tensor:
        import torch

        return torch.zeros((), dtype=torch.int64, device=output.device)

    def add(self, tally: Tensor, output: Tensor, target: Tensor) -> None:
        if self.top_k == 1:
            tally += (output.argmax(1) == target).sum()
        else:
            best = output.topk(min(self.top_k, output.shape[1]), dim=1).indices
            tally += (best == target.unsqueeze(1)).sum()


class F1Score(Metric):
    """The harmonic mean of precision and recall, averaged over the classes (`macro`) or the samples
    (`micro`).
    """

    kind = "f1_score"
    targets = "classes"

    average: Literal["macro", "micro"] = "macro"

    def tally(self, output: Tensor) -> Tensor:
        import torch

        classes = output.shape[1]
        return torch.zeros(classes * classes, dtype=torch.int64, device=output.device)

    def add(self, tally: Tensor, output: Tensor, target: Tensor) -> None:
        import torch

        cell = target * output.shape[1] + output.argmax(1)
        tally.index_add_(0, cell, torch.ones_like(cell))

    def value(self, tally: Tensor, samples: int) -> float:
        classes = round(len(tally) ** 0.5)
        confusion = tally.view(classes, classes).double().cpu()
        hits, seen = confusion.diagonal(), confusion.sum(0) + confusion.sum(1)
        if self.average == "micro":
            return float(hits.sum()) / samples
        present = seen > 0
        return float((2 * hits[present] / seen[present]).mean())


class MeanSquaredError(Metric):
    """The mean of squared differences, or its root where `squared` is False."""

    kind = "mean_squared_error"
    targets = "values"
    higher_is_better = False

    squared: bool = True

    def add(self, tally: Tensor, output: Tensor, target: Tensor) -> None:
        tally += (output - target).square().flatten(1).mean(1).sum()

    def value(self, tally: Tensor, samples: int) -> float:
        mean = float(tally) / samples
        return mean if self.squared else mean**0.5


class MeanAbsoluteError(Metric):
    """The mean of absolute differences."""

    kind = "mean_absolute_error"
    targets = "values"
    higher_is_better = False

    def add(self, tally: Tensor, output: Tensor, target: Tensor) -> None:
        tally += (output - target).abs().flatten(1).mean(1).sum()


METRICS: Family[Metric] = Family.of("metric", (Accuracy, F1Score, MeanSquaredError, MeanAbsoluteError))
