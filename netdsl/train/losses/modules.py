"""Modules around those of `torch.nn`, so that every loss is called with the model's output and the targets."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class OfSeveral(nn.Module):
    """A loss of several outputs, with the targets after them where it `compares` with some."""

    def __init__(self, loss: nn.Module, compares: bool) -> None:
        super().__init__()
        self.loss, self.compares = loss, compares

    @property
    def reduction(self) -> str:
        return str(self.loss.reduction)

    @reduction.setter
    def reduction(self, value: str) -> None:
        vars(self.loss)["reduction"] = value

    def forward(self, outputs: Sequence[Tensor], target: Tensor) -> Tensor:
        return self.loss(*outputs, target) if self.compares else self.loss(*outputs)


class Gaussian(nn.Module):
    """`nn.GaussianNLLLoss` without its look at the variances, which would wait for the device each time: where one is
    negative, the loss is no number.
    """

    def __init__(self, full: bool, eps: float, reduction: str) -> None:
        super().__init__()
        self.full, self.eps, self.reduction = full, eps, reduction

    def forward(self, outputs: Sequence[Tensor], target: Tensor) -> Tensor:
        mean, variance = outputs
        kept = variance + (variance.detach().clamp(min=self.eps) - variance.detach())
        kept = kept.where(variance >= 0, float("nan"))
        losses = 0.5 * (kept.log() + (mean - target).square() / kept)
        if self.full:
            losses = losses + 0.5 * torch.log(torch.tensor(2 * torch.pi)).to(losses)
        return losses if self.reduction == "none" else getattr(losses, self.reduction)()


class Divergence(nn.KLDivLoss):
    """`nn.KLDivLoss` without torch's advice against "mean", which would be printed in the middle of the training."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        if self.reduction != "mean":
            return super().forward(input, target)
        return nn.functional.kl_div(input, target, reduction="none", log_target=self.log_target).mean()


class OfPlaces(nn.Module):
    """`nn.CTCLoss` of log-probabilities [N, classes, T] and targets [N, S], in which `blank` fills up the rows."""

    def __init__(self, loss: nn.Module, blank: int) -> None:
        super().__init__()
        self.loss, self.blank = loss, blank

    @property
    def reduction(self) -> str:
        return str(self.loss.reduction)

    @reduction.setter
    def reduction(self, value: str) -> None:
        vars(self.loss)["reduction"] = value

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        places = torch.full((len(output),), output.shape[2], dtype=torch.int64, device=output.device)
        lengths = (target != self.blank).sum(1)
        return self.loss(output.permute(2, 0, 1), target, places, lengths)
