"""The losses that compare numbers with numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from netdsl.train.losses.base import Loss, Reduction

if TYPE_CHECKING:
    from torch import nn


class MSELoss(Loss):
    reduction: Reduction = "mean"


class L1Loss(Loss):
    reduction: Reduction = "mean"


class SmoothL1Loss(Loss):
    reduction: Reduction = "mean"
    beta: float = Field(1.0, ge=0)


class HuberLoss(Loss):
    reduction: Reduction = "mean"
    delta: float = Field(1.0, gt=0)


class PoissonNLLLoss(Loss):
    log_input: bool = True
    full: bool = False
    eps: float = Field(1e-8, gt=0)
    reduction: Reduction = "mean"


class KLDivLoss(Loss):
    """The output is log-probabilities, and the targets are probabilities, or their logarithms with `log_target`.

    As in torch, "mean" is over samples and classes; the divergence itself is "batchmean".
    """

    gives = "log-probabilities"

    reduction: Literal["mean", "sum", "batchmean"] = "mean"
    log_target: bool = False

    def build(self) -> nn.Module:
        from netdsl.train.losses.modules import Divergence

        return Divergence(**self.arguments())
