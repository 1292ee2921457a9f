"""The schedulers of `torch.optim.lr_scheduler`, one class each."""

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
from netdsl.train.schedules.functions import FileFunction, LambdaLR, MultiplicativeLR
from netdsl.train.schedules.plateau import ReduceLROnPlateau

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
        LambdaLR,
        MultiplicativeLR,
    ),
)
Combined.nested = SequentialLR.nested = ChainedScheduler.nested = {"schedulers": SCHEDULES}

__all__ = [
    "SCHEDULES",
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "FileFunction",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "Schedule",
    "SequentialLR",
    "StepLR",
]
