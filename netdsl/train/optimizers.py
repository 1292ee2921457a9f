"""The optimizers of `torch.optim`, one class each, with torch's argument names, order and defaults.

`capturable` and `differentiable` are left out: they serve CUDA graphs and gradients through the optimizer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from inspect import signature
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from netdsl.train.component import Component, Family, Pair, as_tuple

if TYPE_CHECKING:
    import torch

Share = Field(0, ge=0)
Momentum = Field(0, ge=0, le=1)  # torch takes more, of which every run diverges
Decay = Annotated[float, Field(ge=0, lt=1)]
Betas = Annotated[tuple[Decay, Decay], BeforeValidator(as_tuple)]

NOT_OF_A_GROUP = ("foreach", "fused", "maximize")  # arguments that are the same for all parameters


class Optimizer(Component):
    """An optimizer. `lr` is the rate a schedule starts from."""

    keyword_only: ClassVar[tuple[str, ...]] = ("maximize", "fused")
    axes: ClassVar[int | None] = None  # that a parameter must have
    sparse: ClassVar[bool] = False  # takes only the sparse gradients of embeddings
    repeats: ClassVar[bool] = False  # asks for the loss more than once a step, and knows no parameter groups

    lr: float = Field(1e-3, ge=0)

    def build(
        self, parameters: Iterable[torch.nn.Parameter] | Sequence[Mapping[str, Any]]
    ) -> torch.optim.Optimizer:
        """The optimizer of `torch.optim` over parameters or groups of them, fused where torch has a fused one
        and nobody chose.
        """
        from torch import optim

        found: Any = getattr(optim, self.kind)
        arguments = self.arguments()
        given = list(parameters)
        groups: list[dict[str, Any]] = (
            [dict(group) for group in given]  # type: ignore[call-overload]
            if given and isinstance(given[0], Mapping)
            else [{"params": [p for p in given if p.requires_grad]}]  # type: ignore[union-attr]
        )
        learned = [p for group in groups for p in group["params"]]
        undecided = arguments.get("fused", False) is None and arguments.get("foreach") is None
        if undecided and "fused" in signature(found).parameters and _can_fuse(learned):
            arguments["fused"] = True
        return found(groups if len(groups) > 1 else learned, **arguments)


def _can_fuse(parameters: list[torch.nn.Parameter]) -> bool:
    """Whether torch has one kernel for all of them; for parameters in pieces (several processes) it has none."""
    return all(
        p.is_floating_point() and p.device.type in ("cpu", "cuda") and not hasattr(p, "full_tensor")
        for p in parameters
    )


class SGD(Optimizer):
    keyword_only = ("maximize", "foreach", "fused")

    lr: float = Field(1e-3, ge=0)
    momentum: float = Momentum
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
    betas: Betas = (0.9, 0.999)
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
    betas: Betas = (0.9, 0.999)
    eps: float = Field(1e-8, ge=0)
    weight_decay: float = Field(1e-2, ge=0)
    amsgrad: bool = False
    maximize: bool = False
    foreach: bool | None = None
    fused: bool | None = None


class NAdam(Optimizer):
    keyword_only = ("foreach", "maximize")

    lr: float = Field(2e-3, ge=0)
    betas: Betas = (0.9, 0.999)
    eps: float = Field(1e-8, ge=0)
    weight_decay: float = Share
    momentum_decay: float = Field(4e-3, ge=0)
    decoupled_weight_decay: bool = False
    foreach: bool | None = None
    maximize: bool = False


class RAdam(Optimizer):
    keyword_only = ("foreach", "maximize")

    lr: float = Field(1e-3, ge=0)
    betas: Betas = (0.9, 0.999)
    eps: float = Field(1e-8, ge=0)
    weight_decay: float = Share
    decoupled_weight_decay: bool = False
    foreach: bool | None = None
    maximize: bool = False


class Adamax(Optimizer):
    keyword_only = ("maximize",)

    lr: float = Field(2e-3, ge=0)
    betas: Betas = (0.9, 0.999)
    eps: float = Field(1e-8, ge=0)
    weight_decay: float = Share
    foreach: bool | None = None
    maximize: bool = False


class RMSprop(Optimizer):
    keyword_only = ("foreach", "maximize")  # in torch `capturable` stands before them

    lr: float = Field(1e-2, ge=0)
    alpha: float = Field(0.99, ge=0, le=1)
    eps: float = Field(1e-8, ge=0)
    weight_decay: float = Share
    momentum: float = Momentum
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
    etas: Annotated[
        tuple[Annotated[float, Field(gt=0, lt=1)], Annotated[float, Field(gt=1)]], BeforeValidator(as_tuple)
    ] = (0.5, 1.2)
    step_sizes: Pair = (1e-6, 50)
    foreach: bool | None = None
    maximize: bool = False


class Adafactor(Optimizer):
    keyword_only = ("foreach", "maximize")

    lr: float = Field(1e-2, ge=0)
    beta2_decay: float = Field(-0.8, le=0)
    eps: Annotated[
        tuple[Annotated[float, Field(ge=0)] | None, Annotated[float, Field(ge=0)]], BeforeValidator(as_tuple)
    ] = (None, 1e-3)
    d: float = Field(1.0, ge=1)
    weight_decay: float = Field(0.0, ge=0)
    foreach: bool | None = None
    maximize: bool = False


class Muon(Optimizer):
    """For matrices alone, as the weights of `Linear`: a recipe has one optimizer, so all else of a model is frozen."""

    keyword_only = ()
    axes = 2

    lr: float = Field(1e-3, ge=0)
    weight_decay: float = Field(0.1, ge=0)
    momentum: float = Field(0.95, ge=0, le=1)
    nesterov: bool = True
    ns_coefficients: Annotated[tuple[float, float, float], BeforeValidator(as_tuple)] = (
        3.4445,
        -4.775,
        2.0315,
    )
    eps: float = Field(1e-7, ge=0)
    ns_steps: int = Field(5, gt=0, lt=100)
    adjust_lr_fn: Literal["original", "match_rms_adamw"] | None = None


class SparseAdam(Optimizer):
    """For embeddings with `sparse = True`."""

    keyword_only = ()
    sparse = True

    lr: float = Field(1e-3, gt=0)
    betas: Betas = (0.9, 0.999)
    eps: float = Field(1e-8, gt=0)
    maximize: bool = False


class LBFGS(Optimizer):
    keyword_only = ("maximize",)
    repeats = True

    lr: float = Field(1, ge=0)
    max_iter: int = Field(20, gt=0)
    max_eval: Annotated[int, Field(gt=0)] | None = None
    tolerance_grad: float = Field(1e-7, ge=0)
    tolerance_change: float = Field(1e-9, ge=0)
    history_size: int = Field(100, gt=0)
    line_search_fn: Literal["strong_wolfe"] | None = None
    maximize: bool = False


OPTIMIZERS: Family[Optimizer] = Family.of(
    "optimizer",
    (
        SGD,
        Adam,
        AdamW,
        NAdam,
        RAdam,
        Adamax,
        RMSprop,
        Adagrad,
        Adadelta,
        ASGD,
        Rprop,
        Adafactor,
        Muon,
        SparseAdam,
        LBFGS,
    ),
)
