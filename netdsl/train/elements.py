"""What a block of the file gives, as one number."""

from __future__ import annotations

from torch import Tensor, nn


class Mean(nn.Module):
    """The mean of what a module gives for each element."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        found = self.inner(prediction, target)
        return found.mean() if found.dim() else found
