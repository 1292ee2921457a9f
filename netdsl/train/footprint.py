"""How much memory the steps of a run take, found by taking one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from netdsl.train.data.base import Part, Split
from netdsl.train.state import Run


@dataclass(frozen=True)
class Footprint:
    """In bytes. `activations` is what the forward pass of a batch keeps for the backward pass."""

    weights: int
    gradients: int
    optimizer: int
    average: int
    activations: int
    data: int

    @property
    def total(self) -> int:
        return sum(getattr(self, field.name) for field in fields(self))


class Kept:
    """The tensors that are kept for the backward pass, each storage once, until that begins."""

    def __init__(self, run: Run) -> None:
        self.others = {t.untyped_storage().data_ptr() for t in run.model.state_dict().values()}
        self.sizes: dict[int, int] = {}
        self.over = False

    def pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if not self.over and storage.data_ptr() not in self.others:
            self.sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    def unpack(self, tensor: Tensor) -> Tensor:
        self.over = True
        return tensor


@contextmanager
def watched(run: Run) -> Iterator[Kept]:
    """What the step inside keeps. A compiled model decides that itself, and nothing is seen of it."""
    kept = Kept(run)
    if run.recipe.compile:
        yield kept
        return
    with torch.autograd.graph.saved_tensors_hooks(kept.pack, kept.unpack):
        yield kept


def footprint(run: Run, kept: Kept) -> Footprint:
    """The memory of `run`, which has taken a step."""
    state = [v for values in run.optimizer.state.values() for v in values.values() if isinstance(v, Tensor)]
    parts: list[Part] = [run.data.train, run.data.valid]
    return Footprint(
        _size(run.model.state_dict().values()),
        _size(run.learned),
        _size(state),
        _size(run.ema.average) if run.ema else 0,
        sum(kept.sizes.values()),
        sum(part.size for part in parts if isinstance(part, Split)),
    )


def _size(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)
