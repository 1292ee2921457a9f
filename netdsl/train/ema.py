"""An exponential moving average of a model's weights, which is what such a run is measured with and saves as
best.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

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
        for average, weight in zip(self.average, self.weights, strict=True):
            average.lerp_(weight, 1 - self.decay)

    def state(self) -> list[Tensor]:
        return self.average

    def load(self, state: list[Tensor]) -> None:
        _copy(state, self.average)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model has the averaged weights inside."""
        kept = [w.clone() for w in self.weights]
        _copy(self.average, self.weights)
        try:
            yield
        finally:
            _copy(kept, self.weights)


def _copy(source: list[Tensor], target: list[Tensor]) -> None:
    for here, there in zip(source, target, strict=True):
        there.copy_(here)


def averaged(model: nn.Module, ema: Ema | None) -> Mapping[str, Tensor]:
    """The weights to keep of a model: the averaged ones where there are such."""
    if ema is None:
        return model.state_dict()
    with ema.applied():
        return {name: tensor.clone() for name, tensor in model.state_dict().items()}
