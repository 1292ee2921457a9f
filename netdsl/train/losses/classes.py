"""The losses that compare a score for each class with the number of the right one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from netdsl.train.component import Numbers
from netdsl.train.losses.base import Loss, Reduction

if TYPE_CHECKING:
    from torch import Tensor, nn


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

        if target.is_floating_point():  # shares of the classes, of which each sample counts as one
            return target.new_tensor(float(len(target)))
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
    mixable = False
    targets = "classes"
    gives = "log-probabilities"
    tensors = ("weight",)

    weight: Numbers | None = None
    ignore_index: int = -100
    reduction: Reduction = "mean"


class MultiMarginLoss(Loss):
    mixable = False
    targets = "classes"
    tensors = ("weight",)

    p: Literal[1, 2] = 1
    margin: float = 1.0
    weight: Numbers | None = None
    reduction: Reduction = "mean"


class CTCLoss(Loss):
    """Of log-probabilities [N, classes, T] and targets [N, S], each a row of class numbers that `blank` fills up; which
    of the places of the output belongs to which number of the target, is left open.
    """

    targets = "classes"
    gives = "log-probabilities"
    scores = False
    mixable = False
    aligned = False

    blank: int = Field(0, ge=0)
    reduction: Reduction = "mean"
    zero_infinity: bool = False

    def refused(self, target: Tensor) -> str:
        told = target != self.blank
        if target.dim() != 2:
            return f"are not rows of class numbers, which `{self.kind}` compares with"
        if not bool((told[:, :-1] | ~told[:, 1:]).all()):
            return f"have `blank`, which is {self.blank}, before other numbers: it fills up rows at their end"
        return ""

    def build(self) -> nn.Module:
        from netdsl.train.losses.modules import OfPlaces

        return OfPlaces(super().build(), self.blank)
