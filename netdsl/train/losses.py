"""The losses of `torch.nn`, one class each, with what each needs of the model's output and of the targets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from netdsl.train.component import Component, Family, Numbers

if TYPE_CHECKING:
    from torch import nn

Reduction = Literal["mean", "sum"]


class Loss(Component):
    """A loss. `targets` says what it compares the output with: class numbers, or values of the output's
    shape.
    """

    targets: ClassVar[Literal["classes", "values"]] = "values"
    gives: ClassVar[Literal["logits", "log-probabilities", "probabilities", "values"]] = "values"
    tensors: ClassVar[tuple[str, ...]] = ()  # arguments that torch wants as tensors

    if (
        TYPE_CHECKING
    ):  # every loss declares it, in torch's order; a field here would come first in all of them
        reduction: Reduction

    def build(self) -> nn.Module:
        """The module of `torch.nn`; its tensors move with `.to(device)`."""
        import torch
        from torch import nn

        arguments: dict[str, Any] = self.arguments()
        for name in self.tensors:
            if arguments[name] is not None:
                arguments[name] = torch.tensor(arguments[name], dtype=torch.float32)
        return getattr(nn, self.kind)(**arguments)


class CrossEntropyLoss(Loss):
    targets = "classes"
    gives = "logits"
    tensors = ("weight",)

    weight: Numbers | None = None
    ignore_index: int = -100
    reduction: Reduction = "mean"
    label_smoothing: float = Field(0.0, ge=0, le=1)


class NLLLoss(Loss):
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


class BCELoss(Loss):
    gives = "probabilities"
    tensors = ("weight",)

    weight: Numbers | None = None
    reduction: Reduction = "mean"


class BCEWithLogitsLoss(Loss):
    gives = "logits"
    tensors = ("weight", "pos_weight")

    weight: Numbers | None = None
    reduction: Reduction = "mean"
    pos_weight: Numbers | None = None


class SoftMarginLoss(Loss):
    reduction: Reduction = "mean"


class PoissonNLLLoss(Loss):
    log_input: bool = True
    full: bool = False
    eps: float = Field(1e-8, gt=0)
    reduction: Reduction = "mean"


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
        PoissonNLLLoss,
    ),
)
