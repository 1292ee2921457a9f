"""What is compared with what: a model of `specs/`, its reference, and inputs for both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

SEED = 20_240


@dataclass(frozen=True)
class Entry:
    """A model of the library and the implementation whose weights it takes.

    `arguments` are those of our model, which `reference` was built with in its own way. `inputs(random)` makes
    what both are called with; `call` runs the reference where a plain call does not.
    """

    name: str
    file: str
    model: str
    reference: Callable[[], nn.Module]
    inputs: Callable[[torch.Generator], tuple[Tensor, ...]]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    train_inputs: Callable[[torch.Generator], tuple[Tensor, ...]] | None = None
    exact: bool = True  # bitwise in evaluation mode: the operations are the same ones
    exact_training: bool = True  # and in training mode, with dropout, from one seed
    tolerance: float = 1e-5  # relative to the largest output, where it is not bitwise
    call: Callable[[nn.Module, tuple[Tensor, ...]], Any] | None = None
    rename: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] = (
        dict  # of the reference's keys, for tied ones
    )

    def __str__(self) -> str:
        return self.name


def images(size: int, batch: int = 2, channels: int = 3) -> Callable[[torch.Generator], tuple[Tensor, ...]]:
    """Square images `[batch, channels, size, size]`."""
    return lambda random: (torch.randn(batch, channels, size, size, generator=random),)


def tokens(vocabulary: int, length: int, batch: int = 2) -> Callable[[torch.Generator], tuple[Tensor, ...]]:
    """Ids `[batch, length]` below `vocabulary`."""
    return lambda random: (torch.randint(vocabulary, (batch, length), generator=random),)
