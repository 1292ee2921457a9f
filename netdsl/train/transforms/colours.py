"""Augmentations of colour and brightness, of a whole batch at once; masks stay as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from netdsl.train.component import Pair
from netdsl.train.transforms.base import Augmentation, ImageShape, Misfit, Probability, channels, chosen
from netdsl.train.transforms.fixed import GREY, per_channel

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Strength = Annotated[float, Field(ge=0)] | Pair


class ColorJitter(Augmentation):
    """Other brightness, contrast, saturation and hue, in any order, by factors that each image draws for itself: from
    the given pair, or from 1 - number to 1 + number; the hue is turned by -number to number of a whole turn.
    """

    brightness: Strength | None = None
    contrast: Strength | None = None
    saturation: Strength | None = None
    hue: Annotated[float, Field(ge=0, le=0.5)] | Pair | None = None

    @model_validator(mode="after")
    def _in_range(self) -> ColorJitter:
        for name in ("brightness", "contrast", "saturation", "hue"):
            value = getattr(self, name)
            least, most = (-0.5, 0.5) if name == "hue" else (0.0, float("inf"))
            if isinstance(value, tuple) and not least <= value[0] <= value[1] <= most:
                raise ValueError(
                    f"`{name}` is {list(value)}, and goes from low to high within {least:g} and {most:g}"
                )
        return self

    def shape(self, image: ImageShape) -> ImageShape:
        if image[0] not in (1, 3):
            raise Misfit(f"`ColorJitter` takes images of 1 or 3 channels, not {channels(image)}")
        return image

    def apply(self, x: Tensor, random: torch.Generator) -> Tensor:
        import torch

        # The order is one for the batch and comes from the host, so that the device is not waited for.
        host = torch.Generator().manual_seed(random.initial_seed())
        strengths = (self.brightness, self.contrast, self.saturation, self.hue)
        stages = list(zip((brightened, contrasted, saturated, turned), strengths, strict=True))
        for number in torch.randperm(len(stages), generator=host).tolist():
            stage, strength = stages[number]
            if strength is None:
                continue
            middle = 0.0 if stage is turned else 1.0
            low, high = (
                (middle - strength, middle + strength) if isinstance(strength, (int, float)) else strength
            )
            low = low if stage is turned else max(0.0, low)
            drawn = torch.rand(len(x), 1, 1, 1, generator=random, device=x.device)
            x = stage(x, drawn * (high - low) + low)
        return x


def brightened(x: Tensor, factor: Tensor) -> Tensor:
    """`x` [B, C, H, W] times `factor` [B, 1, 1, 1]."""
    return (x * factor).clamp_(0, 1)


def contrasted(x: Tensor, factor: Tensor) -> Tensor:
    """Each image nearer to its mean grey, or further away."""
    return x.lerp(grey(x).mean((1, 2, 3), keepdim=True), 1 - factor).clamp_(0, 1)


def saturated(x: Tensor, factor: Tensor) -> Tensor:
    """Each pixel nearer to its grey, or further away."""
    return x if x.shape[1] == 1 else x.lerp(grey(x).expand_as(x), 1 - factor).clamp_(0, 1)


def turned(x: Tensor, factor: Tensor) -> Tensor:
    """Each hue turned by `factor` of a whole turn, at the same lightness and saturation."""
    import torch

    if x.shape[1] == 1:
        return x
    red, green, blue = x.unbind(1)
    value, which = x.max(1)
    spread = value - x.amin(1)
    safe = spread.where(spread > 0, 1)
    sixths = torch.stack(((green - blue) / safe, (blue - red) / safe + 2, (red - green) / safe + 4), 1)
    hue = sixths.gather(1, which.unsqueeze(1)) + 6 * factor
    # Of red, green and blue, each is highest within a sixth of a turn from its own hue, and lowest opposite.
    offset = hue + torch.tensor((5.0, 3.0, 1.0), device=x.device).view(1, 3, 1, 1)
    offset = offset.remainder(6)
    fall = torch.minimum(offset, 4 - offset).clamp_(0, 1)
    return value.unsqueeze(1) - spread.unsqueeze(1) * fall


def grey(x: Tensor) -> Tensor:
    """The brightness of each pixel: [B, 1, H, W]."""
    return x if x.shape[1] == 1 else (x * per_channel(GREY, x.device)).sum(1, keepdim=True)


class RandomGrayscale(Augmentation):
    """Grey in all channels, with probability `p`."""

    p: Probability = 0.1

    def apply(self, x: Tensor, random: torch.Generator) -> Tensor:
        return grey(x).expand_as(x).where(chosen(x, self.p, random), x)


class RandomInvert(Augmentation):
    """The negative, with probability `p`."""

    p: Probability = 0.5

    def apply(self, x: Tensor, random: torch.Generator) -> Tensor:
        return (1 - x).where(chosen(x, self.p, random), x)


class GaussianNoise(Augmentation):
    """Normal noise of deviation `sigma` on every pixel; with `clip`, the result stays from 0 to 1."""

    mean: float = 0.0
    sigma: float = Field(0.1, ge=0)
    clip: bool = True

    def apply(self, x: Tensor, random: torch.Generator) -> Tensor:
        import torch

        noise = torch.randn(x.shape, generator=random, device=x.device) * self.sigma + self.mean
        return (x + noise).clamp_(0, 1) if self.clip else x + noise
