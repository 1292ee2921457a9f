"""`ReduceLROnPlateau`: the one schedule that looks at what is measured. It is torch's own, kept with the state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from netdsl.train.component import as_tuple
from netdsl.train.schedules.base import Schedule

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import ReduceLROnPlateau as Plateau


Rate = Annotated[float, Field(ge=0)]


class ReduceLROnPlateau(Schedule):
    """It looks at the recipe's `monitor` after each epoch; whether that should rise, `mode` need not say."""

    of_groups = ("min_lr",)

    mode: Literal["min", "max"] = "min"
    factor: float = Field(0.1, ge=0, lt=1)
    patience: int = Field(10, ge=0)
    threshold: float = Field(1e-4, ge=0)
    threshold_mode: Literal["rel", "abs"] = "rel"
    cooldown: int = Field(0, ge=0)
    min_lr: Annotated[Rate | tuple[Rate, ...], BeforeValidator(as_tuple)] = 0
    eps: float = Field(1e-8, ge=0)

    def described(self) -> dict[str, Any]:
        """Without a `mode` that nobody chose: then the monitored column says it."""
        data = super().described()
        return data if "mode" in self.model_fields_set else {k: v for k, v in data.items() if k != "mode"}

    def rate(self, base: float, time: int, total: int = 0) -> float:  # noqa: ARG002
        """What it starts from; only a run knows more."""
        return base

    def build(self, optimizer: Optimizer, rising: bool) -> Plateau:
        """torch's scheduler of `optimizer`, for a column that should rise or fall."""
        from torch.optim.lr_scheduler import ReduceLROnPlateau as Plateau

        arguments: dict[str, Any] = {
            n: list(v) if isinstance(v, tuple) else v for n, v in self.arguments().items()
        }
        arguments |= {"mode": "max" if rising else "min"}
        return Plateau(optimizer, **arguments)
