"""The schedulers of `torch.optim.lr_scheduler`, one class each; and why others are left out."""

from __future__ import annotations

from netdsl.train.component import Family
from netdsl.train.schedules.base import Schedule
from netdsl.train.schedules.combined import ChainedScheduler, Combined, SequentialLR
from netdsl.train.schedules.curves import (
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LinearLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)
from netdsl.train.schedules.cycles import CyclicLR, OneCycleLR
from netdsl.train.schedules.plateau import ReduceLROnPlateau

LEFT_OUT = {
    "LambdaLR": "it takes a Python function; the other schedules, and `SequentialLR` and `ChainedScheduler` of "
    "them, say the shape by numbers",
    "MultiplicativeLR": "it takes a Python function; `ExponentialLR` multiplies by a number",
}

SCHEDULES: Family[Schedule] = Family.of(
    "schedule",
    (
        ConstantLR,
        LinearLR,
        StepLR,
        MultiStepLR,
        ExponentialLR,
        PolynomialLR,
        CosineAnnealingLR,
        CosineAnnealingWarmRestarts,
        OneCycleLR,
        CyclicLR,
        ReduceLROnPlateau,
        SequentialLR,
        ChainedScheduler,
    ),
    LEFT_OUT,
)
Combined.nested = SequentialLR.nested = ChainedScheduler.nested = {"schedulers": SCHEDULES}

__all__ = [
    "LEFT_OUT",
    "SCHEDULES",
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LinearLR",
    "MultiStepLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "Schedule",
    "SequentialLR",
    "StepLR",
]
