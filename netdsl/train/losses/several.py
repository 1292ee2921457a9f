"""The losses of several outputs of a model: a mean and a variance, or vectors that are to be near or far apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from netdsl.train.losses.base import Loss, Reduction

if TYPE_CHECKING:
    from torch import nn


class Several(Loss):
    """The model has the outputs `takes`, in this order. Metrics look at the first one."""

    def build(self) -> nn.Module:
        from netdsl.train.losses.modules import OfSeveral

        return OfSeveral(super().build(), self.compares)


class GaussianNLLLoss(Several):
    """The outputs are a mean and a variance, which is not negative: end it with `-> Softplus`."""

    takes = ("input", "var")

    full: bool = False
    eps: float = Field(1e-6, gt=0)
    reduction: Reduction = "mean"

    def build(self) -> nn.Module:
        from netdsl.train.losses.modules import Gaussian

        return Gaussian(self.full, self.eps, self.reduction)


class Apart(Several):
    """The targets say of two outputs whether they belong together: 1 or -1 (or 0)."""

    binary = True
    scores = False
    low = -1.0
    mixable = False


class CosineEmbeddingLoss(Apart):
    """Two vectors a sample, which are to point the same way where the target is 1."""

    single = True

    takes = ("input1", "input2")

    margin: float = Field(0.0, ge=-1, le=1)
    reduction: Reduction = "mean"


class MarginRankingLoss(Apart):
    """Two numbers a sample, the first of which is to be higher where the target is 1."""

    takes = ("input1", "input2")

    margin: float = 0.0
    reduction: Reduction = "mean"


class TripletMarginLoss(Several):
    """Three vectors a sample: the first is to be nearer to the second than to the third. Targets are not looked at."""

    takes = ("anchor", "positive", "negative")
    compares = False
    single = True
    scores = False
    mixable = False

    margin: float = Field(1.0, gt=0)
    p: float = Field(2.0, gt=0)
    eps: float = Field(1e-6, gt=0)
    swap: bool = False
    reduction: Reduction = "mean"
