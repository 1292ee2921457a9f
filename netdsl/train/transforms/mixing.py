"""Augmentations that mix the samples of a batch with each other, targets as well: the last ones of a recipe, on batches
as the model gets them.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from netdsl.train.transforms.base import Augmentation
from netdsl.train.transforms.sampled import drawing_from

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Mixing(Augmentation):
    """Each sample with the one before it in the batch, the first with the last, in a ratio that is drawn for the batch.

    A class becomes its share of each class, so that the loss must take shares, as `CrossEntropyLoss` does; metrics of
    training count the class with the larger share.
    """

    mixes: ClassVar[bool] = True
    joint = False
    keyword_only = ("alpha", "num_classes")

    alpha: float = Field(1.0, gt=0)
    num_classes: int | None = Field(None, gt=1)

    @property
    def counts(self) -> frozenset[int]:
        return frozenset({self.num_classes} if self.num_classes else ())

    def apply(self, x: Tensor, random: torch.Generator) -> Tensor:
        return self.mix(x, x.new_zeros(len(x), 1), random)[0]

    def mix(
        self, x: Tensor, y: Tensor, random: torch.Generator, classes: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Images [B, C, H, W] and targets mixed; class numbers [B] become shares of `classes` [B, classes]."""
        from torch.nn.functional import one_hot
        from torchvision.transforms import v2

        with drawing_from(random.initial_seed()):
            made: Any = getattr(v2, self.kind)(alpha=self.alpha)
            drawn: dict[str, Any] = made.make_params([x])
        mixed: Tensor = made.transform(x, {"labels": y, "batch_size": len(x), **drawn})
        if not y.is_floating_point():
            y = one_hot(y, self.num_classes or classes or -1).float()
        share = self.share(drawn)
        return mixed, y.roll(1, 0).mul_(1.0 - share).add_(y.mul(share))

    @abstractmethod
    def share(self, drawn: dict[str, Any]) -> float:
        """Of a sample in what it becomes."""


class MixUp(Mixing):
    """The weighted sum of two samples (Zhang et al., 2018); the weight is from the Beta distribution of `alpha`."""

    def share(self, drawn: dict[str, Any]) -> float:
        return drawn["lam"]


class CutMix(Mixing):
    """A rectangle of another sample in each (Yun et al., 2019); its area is from the Beta distribution of `alpha`."""

    def share(self, drawn: dict[str, Any]) -> float:
        return drawn["lam_adjusted"]
