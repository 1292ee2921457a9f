"""The losses of `torch.nn` that compare an output with a target, one class each; and why others are left out."""

from __future__ import annotations

from netdsl.train.component import Family
from netdsl.train.losses.base import Loss, Reduction
from netdsl.train.losses.classes import CrossEntropyLoss, CTCLoss, MultiMarginLoss, NLLLoss
from netdsl.train.losses.pairs import (
    BCELoss,
    BCEWithLogitsLoss,
    HingeEmbeddingLoss,
    MultiLabelMarginLoss,
    MultiLabelSoftMarginLoss,
    SoftMarginLoss,
)
from netdsl.train.losses.several import (
    CosineEmbeddingLoss,
    GaussianNLLLoss,
    MarginRankingLoss,
    TripletMarginLoss,
)
from netdsl.train.losses.values import HuberLoss, KLDivLoss, L1Loss, MSELoss, PoissonNLLLoss, SmoothL1Loss

LEFT_OUT = {
    "TripletMarginWithDistanceLoss": "it takes a Python function; `TripletMarginLoss` is that of Euclidean distances",
    "AdaptiveLogSoftmaxWithLoss": "it has weights of its own, which are no part of the model",
    "LinearCrossEntropyLoss": "it has weights of its own, which are no part of the model; "
    "`CrossEntropyLoss` after a `Linear` is the same",
    "NLLLoss2d": "torch has given it up for `NLLLoss`, which takes images too",
}

LOSSES: Family[Loss] = Family.of(
    "loss",
    (
        CrossEntropyLoss,
        NLLLoss,
        MultiMarginLoss,
        MSELoss,
        L1Loss,
        SmoothL1Loss,
        HuberLoss,
        BCELoss,
        BCEWithLogitsLoss,
        SoftMarginLoss,
        HingeEmbeddingLoss,
        MultiLabelSoftMarginLoss,
        MultiLabelMarginLoss,
        PoissonNLLLoss,
        KLDivLoss,
        GaussianNLLLoss,
        CTCLoss,
        CosineEmbeddingLoss,
        MarginRankingLoss,
        TripletMarginLoss,
    ),
    LEFT_OUT,
)

__all__ = [
    "LEFT_OUT",
    "LOSSES",
    "BCELoss",
    "BCEWithLogitsLoss",
    "CTCLoss",
    "CosineEmbeddingLoss",
    "CrossEntropyLoss",
    "GaussianNLLLoss",
    "HingeEmbeddingLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "Loss",
    "MSELoss",
    "MarginRankingLoss",
    "MultiLabelMarginLoss",
    "MultiLabelSoftMarginLoss",
    "MultiMarginLoss",
    "NLLLoss",
    "PoissonNLLLoss",
    "Reduction",
    "SmoothL1Loss",
    "SoftMarginLoss",
    "TripletMarginLoss",
]
