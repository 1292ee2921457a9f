"""Augmentations made of augmentations: one of them, all in any order, or all or none."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from netdsl.train.component import Numbers, as_tuple
from netdsl.train.transforms.base import Augmentation, ImageShape, Misfit, Probability, chosen
from netdsl.train.transforms.mixing import Mixing

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Parts = Annotated[tuple[SerializeAsAny[Augmentation], ...], BeforeValidator(as_tuple), Field(min_length=1)]


class Combined(Augmentation):
    """What is made of `transforms`. Each draws numbers of its own."""

    transforms: Parts

    @property
    def joint(self) -> Any:  # type: ignore[override]
        return all(part.joint for part in self.transforms)

    @property
    def mixes(self) -> Any:  # type: ignore[override]
        return any(part.mixes for part in self.transforms)

    @property
    def counts(self) -> frozenset[int]:
        return frozenset().union(*(part.counts for part in self.transforms))

    def randoms(self, random: torch.Generator) -> list[torch.Generator]:
        """A generator for each part."""
        import torch

        host = torch.Generator().manual_seed(random.initial_seed())
        seeds = torch.randint(2**31, (len(self.transforms),), generator=host).tolist()
        return [torch.Generator(random.device).manual_seed(seed) for seed in seeds]

    def apply(self, x: Tensor, random: torch.Generator) -> Tensor:
        return self.both(x, None, random)[0]

    def apply_jointly(self, x: Tensor, masks: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
        images, moved = self.both(x, masks, random)
        assert moved is not None
        return images, moved

    @abstractmethod
    def both(self, x: Tensor, masks: Tensor | None, random: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """The images, and masks where there are some."""


class RandomApply(Combined):
    """All of `transforms`, one after the other, with probability `p` for each image."""

    p: Probability = 0.5

    @model_validator(mode="after")
    def _nothing_mixed(self) -> RandomApply:
        return _without_mixing(self)

    def shape(self, image: ImageShape) -> ImageShape:
        after = _in_turn(self.transforms, image)
        if after != image:
            raise Misfit(f"`RandomApply` makes images of {list(after)} of some of {list(image)}")
        return image

    def both(self, x: Tensor, masks: Tensor | None, random: torch.Generator) -> tuple[Tensor, Tensor | None]:
        images, moved = x, masks
        for part, own in zip(self.transforms, self.randoms(random), strict=True):
            images, moved = _applied(part, images, moved, own)
        happens = chosen(x, self.p, random)
        return images.where(happens, x), None if moved is None or masks is None else moved.where(
            happens, masks
        )


class RandomOrder(Combined):
    """All of `transforms`, in an order that is drawn for the batch."""

    @model_validator(mode="after")
    def _nothing_mixed(self) -> RandomOrder:
        return _without_mixing(self)

    def shape(self, image: ImageShape) -> ImageShape:
        after = _in_turn(self.transforms, image)
        if after != _in_turn(self.transforms[::-1], image):
            raise Misfit("the size after `RandomOrder` depends on the order")
        return after

    def both(self, x: Tensor, masks: Tensor | None, random: torch.Generator) -> tuple[Tensor, Tensor | None]:
        import torch

        host = torch.Generator().manual_seed(random.initial_seed() + 1)
        own = self.randoms(random)
        for number in torch.randperm(len(own), generator=host).tolist():
            x, masks = _applied(self.transforms[number], x, masks, own[number])
        return x, masks


class RandomChoice(Combined):
    """One of `transforms`, which is drawn for each image, and for the batch where they mix its samples; `p` are
    weights.
    """

    p: Numbers | None = None

    @model_validator(mode="after")
    def _goes_together(self) -> RandomChoice:
        if self.p is not None and (len(self.p) != len(self.transforms) or min(self.p) < 0 or not sum(self.p)):
            raise ValueError(f"`p` has a weight of at least 0 for each of {len(self.transforms)} transforms")
        if self.mixes and not all(isinstance(part, Mixing) for part in self.transforms):
            raise ValueError("some of its transforms mix the samples of a batch, and others do not")
        return self

    def shape(self, image: ImageShape) -> ImageShape:
        shapes = {part.shape(image) for part in self.transforms}
        if len(shapes) > 1:
            raise Misfit(
                f"`RandomChoice` makes images of {' or '.join(str(list(s)) for s in sorted(shapes))}"
            )
        return shapes.pop()

    def both(self, x: Tensor, masks: Tensor | None, random: torch.Generator) -> tuple[Tensor, Tensor | None]:
        which = self._drawn(len(x), random, random.device).view(-1, 1, 1, 1)
        own = self.randoms(random)
        images, moved = _applied(self.transforms[0], x, masks, own[0])
        for number, part in enumerate(self.transforms[1:], 1):
            one, its = _applied(part, x, masks, own[number])
            images = one.where(which == number, images)
            moved = its.where(which == number, moved) if its is not None and moved is not None else None
        return images, moved

    def mix(
        self, x: Tensor, y: Tensor, random: torch.Generator, classes: int | None = None
    ) -> tuple[Tensor, Tensor]:
        import torch

        host = torch.Generator().manual_seed(random.initial_seed() + 1)
        number = int(self._drawn(1, host, host.device))
        part = self.transforms[number]
        assert isinstance(part, Mixing)
        return part.mix(x, y, self.randoms(random)[number], classes)

    def _drawn(self, count: int, random: torch.Generator, device: torch.device) -> Tensor:
        """Which of the transforms, for each of `count`."""
        import torch

        weights = torch.tensor(self.p or [1.0] * len(self.transforms), device=device)
        return torch.multinomial(weights, count, replacement=True, generator=random)


def _in_turn(parts: Sequence[Augmentation], image: ImageShape) -> ImageShape:
    for part in parts:
        image = part.shape(image)
    return image


def _applied(
    part: Augmentation, x: Tensor, masks: Tensor | None, random: torch.Generator
) -> tuple[Tensor, Tensor | None]:
    return (part.apply(x, random), None) if masks is None else part.apply_jointly(x, masks, random)


def _without_mixing(component: Any) -> Any:
    if component.mixes:
        raise ValueError("the samples of a batch are mixed last: in `augment` itself, or in `RandomChoice`")
    return component
