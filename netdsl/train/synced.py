"""Batch normalisation over the samples of all processes, on any kind of device: mean and variance, and their
gradients, are those of the global batch, also where the shares differ in size.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

_counted: bool | None = None  # whether the samples that pass are some of the batch; None outside of steps


@contextmanager
def in_step(counted: bool) -> Iterator[None]:
    """All processes are at the same batch: only here they take statistics together.

    Where a share is empty, the sample that stands in for it is not `counted`.
    """
    global _counted
    _counted = counted
    try:
        yield
    finally:
        _counted = None


class _Total(torch.autograd.Function):
    """The sum over the processes; its gradient is the sum of the gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004
        total = x.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ARG004
        total = gradients[0].contiguous().clone()
        distributed.all_reduce(total)
        return total


def _total(x: Tensor) -> Tensor:
    found = _Total.apply(x)
    assert isinstance(found, Tensor)
    return found


class _Synced(_BatchNorm):
    def forward(self, input: Tensor) -> Tensor:
        if not self.training or _counted is None:
            return super().forward(input)
        self._check_input_dim(input)
        axes = [axis for axis in range(input.dim()) if axis != 1]
        x = input.float() if input.dtype in (torch.float16, torch.bfloat16) else input
        share = float(_counted)
        sums = torch.cat((x.sum(axes), x.new_tensor([x.numel() / x.shape[1]]))) * share
        sums = _total(sums)
        count = sums[-1].detach()
        mean = sums[:-1] / count
        shape = [1, -1] + [1] * (x.dim() - 2)
        centred = x - mean.view(shape)
        variance = _total(centred.square().sum(axes) * share) / count
        self._remember(mean.detach(), variance.detach() * (count / (count - 1)))
        scale = (variance + self.eps).rsqrt()
        if self.affine:
            scale = scale * self.weight
        y = centred * scale.view(shape)
        return (y + self.bias.view(shape) if self.affine else y).to(input.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        """The running statistics, as torch keeps them: the variance without bias."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        new = self.momentum if self.momentum is not None else 1 / self.num_batches_tracked
        for kept, found in ((self.running_mean, mean), (self.running_var, variance)):
            kept.mul_(1 - new).add_(found.to(kept.dtype) * new)


class SyncedBatchNorm1d(_Synced, nn.BatchNorm1d):
    """`nn.BatchNorm1d` over all processes."""


class SyncedBatchNorm2d(_Synced, nn.BatchNorm2d):
    """`nn.BatchNorm2d` over all processes."""


class SyncedBatchNorm3d(_Synced, nn.BatchNorm3d):
    """`nn.BatchNorm3d` over all processes."""


SYNCED = {
    nn.BatchNorm1d: SyncedBatchNorm1d,
    nn.BatchNorm2d: SyncedBatchNorm2d,
    nn.BatchNorm3d: SyncedBatchNorm3d,
}


def sync(model: nn.Module) -> None:
    """Let every batch normalisation of `model` see all processes. Names, weights and hooks stay; outside of steps, and
    in evaluation, it does what it did."""
    for module in model.modules():
        if type(module) in SYNCED:
            module.__class__ = SYNCED[type(module)]
