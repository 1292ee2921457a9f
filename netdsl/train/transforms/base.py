"""What a transform of images is: it says what becomes of their shape, and works on whole batches on the device."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from netdsl.train.component import Component, as_tuple

if TYPE_CHECKING:
    import torch
    from torch import Tensor

ImageShape: TypeAlias = tuple[int, int, int]  # channels, height, width
Positive = Annotated[int, Field(gt=0)]
Size = Positive | Annotated[tuple[Positive, Positive], BeforeValidator(as_tuple)]
Amount = Annotated[int, Field(ge=0)]
Borders = Amount | Annotated[tuple[Amount, Amount, Amount, Amount], BeforeValidator(as_tuple)]
Probability = Annotated[float, Field(ge=0, le=1)]
Interpolation: TypeAlias = Literal["nearest", "nearest-exact", "bilinear", "bicubic"]
PaddingMode: TypeAlias = Literal["constant", "edge", "reflect", "symmetric"]


class Misfit(Exception):
    """A transform that cannot be applied to images of the given shape; `help` says what can be."""

    def __init__(self, message: str, help: str = "") -> None:
        super().__init__(message)
        self.help = help

    @property
    def helps(self) -> list[str]:
        return [self.help] if self.help else []


class Transform(Component):
    """A transform of training and validation images alike."""

    def shape(self, image: ImageShape) -> ImageShape:
        """The shape of an image afterwards; `Misfit` where it cannot be applied."""
        return image

    @abstractmethod
    def on(self, device: torch.device) -> Callable[[Tensor], Tensor]:
        """The function of a batch, with what it needs on `device`."""

    def of_masks(self, masks: Tensor) -> Tensor:
        """Masks [B, 1, H, W] of the images, moved as these are; values are not mixed."""
        return masks


class Augmentation(Component):
    """A random transform of training images. Every sample of a batch draws for itself."""

    joint: ClassVar[bool] = True  # whether masks can be brought along
    mixes: ClassVar[bool] = False  # whether samples are mixed with each other, targets as well

    @property
    def counts(self) -> frozenset[int]:
        """The numbers of classes that it is told to make shares of."""
        return frozenset()

    def mix(
        self,
        x: Tensor,
        y: Tensor,
        random: torch.Generator,  # noqa: ARG002
        classes: int | None = None,  # noqa: ARG002
    ) -> tuple[Tensor, Tensor]:
        """Inputs and targets as the model and the loss take them, mixed; as they are where nothing is."""
        return x, y

    def shape(self, image: ImageShape) -> ImageShape:
        return image

    @abstractmethod
    def apply(self, x: Tensor, random: torch.Generator) -> Tensor:
        """The batch transformed, with numbers from `random`, which is on the batch's device."""

    def apply_jointly(self, x: Tensor, masks: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """The batch, and its masks [B, 1, H, W], which go where the images go; values are not mixed."""
        return self.apply(x, random), masks


class Moving(Augmentation):
    """An augmentation that moves pixels, by numbers that are drawn once for an image and its mask."""

    @abstractmethod
    def draw(self, x: Tensor, random: torch.Generator) -> Any:
        """What decides where the pixels of each image go."""

    @abstractmethod
    def move(self, x: Tensor, drawn: Any, mixing: bool = True) -> Tensor:
        """The pixels moved; without `mixing`, each value afterwards is one from before."""

    def apply(self, x: Tensor, random: torch.Generator) -> Tensor:
        return self.move(x, self.draw(x, random))

    def apply_jointly(self, x: Tensor, masks: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
        drawn = self.draw(x, random)
        moved = self.move(masks.to(x.dtype), drawn, mixing=False)
        return self.move(x, drawn), moved.to(masks.dtype)


def channels(image: ImageShape) -> str:
    return f"{image[0]} channel{'s' * (image[0] != 1)}"


def sides(size: int | tuple[int, int]) -> tuple[int, int]:
    """Height and width."""
    return (size, size) if isinstance(size, int) else size


def borders(padding: int | tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom."""
    return (padding, padding, padding, padding) if isinstance(padding, int) else padding


def chosen(x: Tensor, p: float, random: torch.Generator) -> Tensor:
    """Which samples of a batch it happens to, with probability `p`: [B, 1, 1, 1]."""
    import torch

    return torch.rand(len(x), 1, 1, 1, generator=random, device=x.device) < p
