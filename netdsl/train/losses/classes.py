"""The losses that compare a score for each class with the number of the right one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from netdsl.train.component import Numbers
from netdsl.train.losses.base import Loss, Reduction

if TYPE_CHECKING:
    from torch import Tensor


class Weighted(Loss):
    """A mean in which a sample counts as the weight of its class says, and those of `ignore_index` not at all."""

    if TYPE_CHECKING:
        weight: Numbers | None
        ignore_index: int

    @property
    def uneven(self) -> bool:
        return self.averages and (self.weight is not None or self.ignore_index != -100)

    def weight_of(self, target: Tensor) -> Tensor:
        import torch

        kept = target != self.ignore_index
        if self.weight is None:
            return kept.sum()
        weights = torch.tensor(self.weight, dtype=torch.float32, device=target.device)
        return (weights[target.where(kept, 0)] * kept).sum()


class CrossEntropyLoss(Weighted):
    targets = "classes"
    gives = "logits"
    tensors = ("weight",)

    weight: Numbers | None = None
    ignore_index: int = -100
    reduction: Reduction = "mean"
    label_smoothing: float = Field(0.0, ge=0, le=1)


class NLLLoss(Weighted):
    targets = "classes"
    gives = "log-probabilities"
    tensors = ("weight",)

    weight: Numbers | None = None
    ignore_index: int = -100
    reduction: Reduction = "mean"


class MultiMarginLoss(Loss):
    targets = "classes"
    tensors = ("weight",)

    p: Literal[1, 2] = 1
    margin: float = 1.0
    weight: Numbers | None = None
    reduction: Reduction = "mean"
