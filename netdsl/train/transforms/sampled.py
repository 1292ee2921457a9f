"""Augmentations whose work depends on what is drawn, so that they go sample by sample: torchvision's own classes, with
numbers that follow from the run's seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from netdsl.train.component import Numbers, Pair, as_tuple
from netdsl.train.transforms.base import (
    Augmentation,
    ImageShape,
    Interpolation,
    Misfit,
    Positive,
    Probability,
    Size,
    channels,
    sides,
)

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Sampled(Augmentation):
    """One of torchvision's random transforms, on each image by itself."""

    channels: ClassVar[tuple[int, ...]] = ()  # that an image may have, where not any

    def shape(self, image: ImageShape) -> ImageShape:
        if self.channels and image[0] not in self.channels:
            allowed = " or ".join(map(str, self.channels))
            raise Misfit(f"`{self.kind}` takes images of {allowed} channels, not {channels(image)}")
        return image

    def build(self) -> Any:
        """The transform of `torchvision.transforms.v2`."""
        from torchvision.transforms import InterpolationMode, v2

        arguments = {name: list(v) if isinstance(v, tuple) else v for name, v in self.arguments().items()}
        if "interpolation" in arguments:
            arguments["interpolation"] = InterpolationMode(arguments["interpolation"])
        if "policy" in arguments:
            arguments["policy"] = v2.AutoAugmentPolicy(arguments["policy"])
        return getattr(v2, self.kind)(**arguments)

    def apply(self, x: Tensor, random: torch.Generator) -> Tensor:
        import torch

        transform = self.build()
        with drawing_from(random.initial_seed()):
            return torch.stack([transform(image) for image in x])

    def apply_jointly(self, x: Tensor, masks: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
        import torch
        from torchvision.tv_tensors import Image, Mask

        transform = self.build()
        with drawing_from(random.initial_seed()):
            pairs = [transform(Image(image), Mask(mask)) for image, mask in zip(x, masks, strict=True)]
        images = torch.stack([image.as_subclass(torch.Tensor) for image, _ in pairs])
        return images, torch.stack([mask.as_subclass(torch.Tensor) for _, mask in pairs])


@contextmanager
def drawing_from(seed: int) -> Iterator[None]:
    """torch's own random numbers on the CPU, which torchvision draws, follow from `seed` inside; dropout's go on."""
    import torch

    before = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(before)


class RandomResizedCrop(Sampled):
    """A piece of a share `scale` of the image, with a ratio of width to height in `ratio`, brought to `size`."""

    size: Size
    scale: Pair = (0.08, 1.0)
    ratio: Pair = (3 / 4, 4 / 3)
    interpolation: Interpolation = "bilinear"
    antialias: bool = True

    def shape(self, image: ImageShape) -> ImageShape:
        return (image[0], *sides(self.size))

    @model_validator(mode="after")
    def _rising(self) -> RandomResizedCrop:
        return _rising(self, "scale", "ratio")


class RandomErasing(Sampled):
    """With probability `p`, a rectangle of a share `scale` of the image, of sides in `ratio`, set to `value`."""

    p: Probability = 0.5
    scale: Pair = (0.02, 0.33)
    ratio: Pair = (0.3, 3.3)
    value: float | Literal["random"] = 0.0

    @model_validator(mode="after")
    def _rising(self) -> RandomErasing:
        return _rising(self, "scale", "ratio")

    def apply_jointly(self, x: Tensor, masks: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
        return self.apply(x, random), masks  # what is hidden is still there


Odd = Annotated[int, Field(ge=1)]


class GaussianBlur(Sampled):
    """Blur by a normal curve over `kernel_size` pixels, whose deviation is drawn from `sigma`."""

    kernel_size: Odd | Annotated[tuple[Odd, Odd], BeforeValidator(as_tuple)]
    sigma: Annotated[float, Field(gt=0)] | Pair = (0.1, 2.0)

    @model_validator(mode="after")
    def _odd(self) -> GaussianBlur:
        if any(side % 2 == 0 for side in sides(self.kernel_size)):
            raise ValueError("`kernel_size` is even, and a pixel is in the middle of an odd one")
        return self

    def shape(self, image: ImageShape) -> ImageShape:
        if any(side // 2 >= length for side, length in zip(sides(self.kernel_size), image[1:], strict=True)):
            raise Misfit(
                f"`kernel_size` of `GaussianBlur` is too large for an image of {image[1]}x{image[2]}"
            )
        return image

    def apply_jointly(self, x: Tensor, masks: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
        return self.apply(x, random), masks


class RandomAffine(Sampled):
    """A turn within `degrees`, a shift by at most the shares `translate` of width and height, a `scale`, a `shear`."""

    degrees: Annotated[float, Field(ge=0)] | Pair
    translate: Pair | None = None
    scale: Pair | None = None
    shear: Annotated[float, Field(ge=0)] | Numbers | None = None
    interpolation: Literal["nearest", "bilinear"] = "nearest"
    fill: float = 0

    @model_validator(mode="after")
    def _in_range(self) -> RandomAffine:
        if self.translate is not None and not all(0 <= share <= 1 for share in self.translate):
            raise ValueError("`translate` are shares of the width and the height, from 0 to 1")
        if isinstance(self.shear, tuple) and len(self.shear) not in (2, 4):
            raise ValueError("`shear` is a number, or 2 or 4 of them")
        return _rising(self, "scale")


class RandomPerspective(Sampled):
    """The image as seen from aside, with probability `p`."""

    distortion_scale: Probability = 0.5
    p: Probability = 0.5
    interpolation: Literal["nearest", "bilinear"] = "bilinear"
    fill: float = 0


class ElasticTransform(Sampled):
    """Pixels displaced by a smooth random field of strength `alpha` and smoothness `sigma`."""

    alpha: float = Field(50.0, ge=0)
    sigma: float = Field(5.0, gt=0)
    interpolation: Literal["nearest", "bilinear"] = "bilinear"
    fill: float = 0

    def shape(self, image: ImageShape) -> ImageShape:
        reach = int(8 * self.sigma + 1) | 1  # the width of torchvision's kernel
        if reach // 2 >= min(image[1:]):
            raise Misfit(f"`sigma` of `ElasticTransform` is too large for an image of {image[1]}x{image[2]}")
        return image


class RandomAdjustSharpness(Sampled):
    """Sharper by `sharpness_factor`, or blurred where it is below 1, with probability `p`."""

    channels = (1, 3)

    sharpness_factor: float = Field(ge=0)
    p: Probability = 0.5


class RandomAutocontrast(Sampled):
    """Brightness stretched to the full range, with probability `p`."""

    channels = (1, 3)

    p: Probability = 0.5


class RandomEqualize(Sampled):
    """Brightness spread evenly over the range, with probability `p`."""

    channels = (1, 3)

    p: Probability = 0.5


class RandomPosterize(Sampled):
    """Only `bits` bits of each colour kept, with probability `p`."""

    channels = (1, 3)

    bits: int = Field(ge=0, le=8)
    p: Probability = 0.5


class RandomChannelPermutation(Sampled):
    """The channels in any order."""


class RandomPhotometricDistort(Sampled):
    """Other brightness, contrast, hue, saturation and order of channels, each with probability `p`."""

    channels = (1, 3)

    brightness: Pair = (0.875, 1.125)
    contrast: Pair = (0.5, 1.5)
    saturation: Pair = (0.5, 1.5)
    hue: Pair = (-0.05, 0.05)
    p: Probability = 0.5

    @model_validator(mode="after")
    def _in_range(self) -> RandomPhotometricDistort:
        low, high = self.hue
        if not -0.5 <= low <= high <= 0.5:
            raise ValueError(f"`hue` is {[low, high]}, and goes from low to high within -0.5 and 0.5")
        return _rising(self, "brightness", "contrast", "saturation")

    def apply_jointly(self, x: Tensor, masks: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
        return self.apply(x, random), masks


class RandomSolarize(Sampled):
    """What is brighter than `threshold`, from 0 to 1, turned into its negative, with probability `p`."""

    channels = (1, 3)

    threshold: float = Field(ge=0, le=1)
    p: Probability = 0.5


class TrivialAugmentWide(Sampled):
    """One operation of any strength (Müller and Hutter, 2021)."""

    joint = False
    channels = (1, 3)

    num_magnitude_bins: int = Field(31, ge=2)
    interpolation: Literal["nearest", "bilinear"] = "nearest"
    fill: float | None = None


class AutoAugment(Sampled):
    """A pair of operations from a `policy` that was searched for a data set (Cubuk et al., 2019)."""

    joint = False
    channels = (1, 3)

    policy: Literal["imagenet", "cifar10", "svhn"] = "imagenet"
    interpolation: Literal["nearest", "bilinear"] = "nearest"
    fill: float | None = None


class RandAugment(Sampled):
    """`num_ops` operations of strength `magnitude` (Cubuk et al., 2020)."""

    joint = False
    channels = (1, 3)

    num_ops: Positive = 2
    magnitude: int = Field(9, ge=0)
    num_magnitude_bins: int = Field(31, ge=2)
    interpolation: Literal["nearest", "bilinear"] = "nearest"
    fill: float | None = None

    @model_validator(mode="after")
    def _within_bins(self) -> RandAugment:
        if self.magnitude >= self.num_magnitude_bins:
            raise ValueError(
                f"`magnitude` is {self.magnitude}, and there are {self.num_magnitude_bins} of them"
            )
        return self


class AugMix(Sampled):
    """A mixture of chains of operations (Hendrycks et al., 2020)."""

    joint = False
    channels = (1, 3)

    severity: int = Field(3, ge=1, le=10)
    mixture_width: Positive = 3
    chain_depth: int = -1
    alpha: float = Field(1.0, gt=0)
    all_ops: bool = True
    interpolation: Literal["nearest", "bilinear"] = "bilinear"
    fill: float | None = None


def _rising(component: Any, *names: str) -> Any:
    for name in names:
        value = getattr(component, name)
        if value is not None and not 0 < value[0] <= value[1]:
            raise ValueError(
                f"`{name}` is {list(value)}, and goes from a number above 0 to one that is no lower"
            )
    return component
