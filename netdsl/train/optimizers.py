"""The optimizers of `torch.optim`, one class each, with torch's argument names, order and defaults.

`capturable` and `differentiable` are left out: they serve CUDA graphs and gradients through the optimizer.
"""

from __future__ import annotations

from collections.abc import Iterable
from inspect import signature
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, model_validator

from netdsl.train.component import Component, Family, Pair

if TYPE_CHECKING:
    import torch

Share = Field(0, ge=0)


class Optimizer(Component):
    """An optimizer. `lr` is the rate a schedule starts from."""

    keyword_only: ClassVar[tuple[str, ...]] = ("maximize", "fused")

    lr: float = Field(1e-3, ge=0)

    def build(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """The optimizer of `torch.optim` over `parameters`, fused where torch has a fused one and nobody
        chose.
        """
        from torch import optim

        found: Any = getattr(optim, self.kind)
        arguments = self.arguments()
        learned = [p for p in parameters if p.requires_grad]
        undecided = arguments.get("fused", False) is None and arguments.get("foreach") is None
        if undecided and "fused" in signature(found).parameters and _can_fuse(learned):
            arguments["fused"] = True
        return found(learned, **arguments)


def _can_fuse(parameters: list[torch.nn.Parameter]) -> bool:
    return all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in parameters)


class SGD(Optimizer):
    keyword_only = ("maximize", "foreach", "fused")

    lr: float = Field(1e-3, ge=0)
    momentum: float = Share
    dampening: float = 0
    weight_decay: float = Share
    nesterov: bool = False
    maximize: bool = False
    foreach: bool | None = None
    fused: bool | None = None

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> SGD:
        if self.nesterov and (self.momentum <= 0 or self.dampening != 0):
            raise ValueError("`nesterov` needs a `momentum` above 0 and no `dampening`")
        return self


class Adam(Optimizer):
    keyword_only = ("foreach", "maximize", "fused", "decoupled_weight_decay")

    lr: float = Field(1e-3, ge=0)
    betas: Pair = (0.9, 0.999)
    eps: float = Field(1e-8, ge=0)
    weight_decay: float = Share
    amsgrad: bool = False
    foreach: bool | None = None
    maximize: bool = False
    fused: bool | None = None
    decoupled_weight_decay: bool = False


class AdamW(Optimizer):
    keyword_only = ("maximize", "foreach", "fused")

    lr: float = Field(1e-3, ge=0)
    betas: Pair = (0.9, 0.999)
    eps: float = Field(1e-8, ge=0)
    weight_decay: float = Field(1e-2, ge=0)
    amsgrad: bool = False
    maximize: bool = False
    foreach: bool | None = None
    fused: bool | None = None


class NAdam(Optimizer):
    keyword_only = ("foreach", "maximize")

    lr: float = Field(2e-3, ge=0)
    betas: Pair = (0.9, 0.999)
    eps: float = Field(1e-8, ge=0)
    weight_decay: float = Share
    momentum_decay: float = Field(4e-3, ge=0)
    decoupled_weight_decay: bool = False
    foreach: bool | None = None
    maximize: bool = False


class RAdam(Optimizer):
    keyword_only = ("foreach", "maximize")

    lr: float = Field(1e-3, ge=0)
    betas: Pair = (0.9, 0.999)
    eps: float = Field(1e-8, ge=0)
    weight_decay: float = Share
    decoupled_weight_decay: bool = False
    foreach: bool | None = None
    maximize: bool = False


class Adamax(Optimizer):
    keyword_only = ("maximize",)

    lr: float = Field(2e-3, ge=0)
    betas: Pair = (0.9, 0.999)
    eps: float = Field(1e-8, ge=0)
    weight_decay: float = Share
    foreach: bool | None = None
    maximize: bool = False


class RMSprop(Optimizer):
    keyword_only = ("foreach", "maximize")  # in torch `capturable` stands before them

    lr: float = Field(1e-2, ge=0)
    alpha: float = Field(0.99, ge=0)
    eps: float = Field(1e-8, ge=0)
    weight_decay: float = Share
    momentum: float = Share
    centered: bool = False
    foreach: bool | None = None
    maximize: bool = False


class Adagrad(Optimizer):
    keyword_only = ("maximize", "fused")

    lr: float = Field(1e-2, ge=0)
    lr_decay: float = Share
    weight_decay: float = Share
    initial_accumulator_value: float = Share
    eps: float = Field(1e-10, ge=0)
    foreach: bool | None = None
    maximize: bool = False
    fused: bool | None = None


class Adadelta(Optimizer):
    keyword_only = ("maximize",)

    lr: float = Field(1.0, ge=0)
    rho: float = Field(0.9, ge=0, le=1)
    eps: float = Field(1e-6, ge=0)
    weight_decay: float = Share
    foreach: bool | None = None
    maximize: bool = False


class ASGD(Optimizer):
    keyword_only = ("foreach", "maximize")

    lr: float = Field(1e-2, ge=0)
    lambd: float = 1e-4
    alpha: float = 0.75
    t0: float = 1e6
    weight_decay: float = Share
    foreach: bool | None = None
    maximize: bool = False


class Rprop(Optimizer):
    keyword_only = ("foreach", "maximize")

    lr: float = Field(1e-2, ge=0)
    etas: Pair = (0.5, 1.2)
    step_sizes: Pair = (1e-6, 50)
    foreach: bool | None = None
    maximize: bool = False


OPTIMIZERS: Family[Optimizer] = Family.of(
    "optimizer", (SGD, Adam, AdamW, NAdam, RAdam, Adamax, RMSprop, Adagrad, Adadelta, ASGD, Rprop)
)
