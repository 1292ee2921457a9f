"""The losses of yes and no: a number for each question, compared with 0 and 1, with -1 and 1, or with a list of
the classes that apply.
"""

from __future__ import annotations

from netdsl.train.component import Numbers
from netdsl.train.losses.base import Loss, Reduction


class BCELoss(Loss):
    binary = True
    gives = "probabilities"
    tensors = ("weight",)

    weight: Numbers | None = None
    reduction: Reduction = "mean"


class BCEWithLogitsLoss(Loss):
    binary = True
    gives = "logits"
    tensors = ("weight", "pos_weight")

    weight: Numbers | None = None
    reduction: Reduction = "mean"
    pos_weight: Numbers | None = None


class MultiLabelSoftMarginLoss(Loss):
    binary = True
    gives = "logits"
    tensors = ("weight",)

    weight: Numbers | None = None
    reduction: Reduction = "mean"


class MultiLabelMarginLoss(Loss):
    """The targets of a sample are the classes that apply, as 0 and 1 for each or as one class number."""

    binary = True
    scores = False
    indices = True
    mixable = False

    reduction: Reduction = "mean"


class SoftMarginLoss(Loss):
    """Targets of 0 and 1 become -1 and 1."""

    binary = True
    low = -1.0
    gives = "logits"
    mixable = False

    reduction: Reduction = "mean"


class HingeEmbeddingLoss(Loss):
    """The output is a distance, small where the target is 1. Targets of 0 and 1 become -1 and 1."""

    binary = True
    scores = False
    low = -1.0
    mixable = False

    margin: float = 1.0
    reduction: Reduction = "mean"
