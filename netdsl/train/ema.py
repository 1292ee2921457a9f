"""An exponential moving average of a model's weights, which is what such a run is measured with and saves as best."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """The average: after each step, `average = decay * average + (1 - decay) * weights`.

    Buffers (running statistics, counters) are taken as they are.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = [p.detach() for p in model.parameters()]
        self.average = [w.clone() for w in self.weights]

    def update(self) -> None:
        torch._foreach_lerp_(self.average, self.weights, 1 - self.decay)

    def state(self) -> list[Tensor]:
        return self.average

    def load(self, state: list[Tensor]) -> None:
        for mine, saved in zip(self.average, state, strict=True):
            mine.copy_(saved)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model has the averaged weights inside."""
        kept = [w.clone() for w in self.weights]
        torch._foreach_copy_(self.weights, self.average)
        try:
            yield
        finally:
            torch._foreach_copy_(self.weights, kept)


def averaged(model: nn.Module, ema: Ema | None) -> Mapping[str, Tensor]:
    """The weights to keep of a model: the averaged ones where there are such."""
    if ema is None:
        return model.state_dict()
    with ema.applied():
        return {name: tensor.clone() for name, tensor in model.state_dict().items()}
