"""Transforms of images by their names in `torchvision.transforms.v2`, applied to whole batches on the device.

A batch is [B, C, H, W], float32, with values in [0, 1] before the first of them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from netdsl.train.component import Component, Family, Numbers, Pair, as_tuple

if TYPE_CHECKING:
    import torch
    from torch import Tensor

ImageShape: TypeAlias = tuple[int, int, int]  # channels, height, width
Positive = Annotated[int, Field(gt=0)]


Size = Positive | Annotated[tuple[Positive, Positive], BeforeValidator(as_tuple)]
Amount = Annotated[int, Field(ge=0)]
Borders = Amount | Annotated[tuple[Amount, Amount, Amount, Amount], BeforeValidator(as_tuple)]


class Misfit(Exception):
    """A transform that cannot be applied to images of the given shape."""


class Transform(Component):
    """A transform of training and validation images alike."""

    def shape(self, image: ImageShape) -> ImageShape:
        """The shape of an image afterwards; `Misfit` where it cannot be applied."""
        return image

    @abstractmethod
    def on(self, device: torch.device) -> Callable[[Tensor], Tensor]:
        """The function of a batch, with what it needs on `device`."""


class Normalize(Transform):
    """Subtract `mean` and divide by `std`: one number for all channels, or a list with one for each."""

    mean: float | Numbers
    std: Annotated[float, Field(gt=0)] | Annotated[Numbers, Field(min_length=1)]

    def shape(self, image: ImageShape) -> ImageShape:
        for name, value in (("mean", self.mean), ("std", self.std)):
            if isinstance(value, tuple) and len(value) not in (1, image[0]):
                raise Misfit(
                    f"`{name}` of `Normalize` has {len(value)} numbers, but an image has {channels(image)}"
                )
            if name == "std" and isinstance(value, tuple) and min(value) <= 0:
                raise Misfit(f"`std` of `Normalize` is {list(value)}, and images are divided by it")
        return image

    def on(self, device: torch.device) -> Callable[[Tensor], Tensor]:
        mean, std = _per_channel(self.mean, device), _per_channel(self.std, device)
        return lambda x: x.sub_(mean).div_(std)


class Resize(Transform):
    """Resize bilinearly with antialiasing; one number is the length of the shorter side."""

    size: Size

    def shape(self, image: ImageShape) -> ImageShape:
        if not isinstance(self.size, int):
            return (image[0], *self.size)
        _, height, width = image
        if height <= width:
            return image[0], self.size, int(self.size * width / height)
        return image[0], int(self.size * height / width), self.size

    def on(self, device: torch.device) -> Callable[[Tensor], Tensor]:  # noqa: ARG002
        from torch.nn.functional import interpolate

        def resize(x: Tensor) -> Tensor:
            _, height, width = self.shape((x.shape[1], x.shape[2], x.shape[3]))
            return interpolate(x, (height, width), mode="bilinear", antialias=True)

        return resize


class CenterCrop(Transform):
    """The middle of an image."""

    size: Size

    def shape(self, image: ImageShape) -> ImageShape:
        height, width = _sides(self.size)
        if height > image[1] or width > image[2]:
            raise Misfit(f"`CenterCrop` takes {height}x{width} out of an image of {image[1]}x{image[2]}")
        return image[0], height, width

    def on(self, device: torch.device) -> Callable[[Tensor], Tensor]:  # noqa: ARG002
        height, width = _sides(self.size)

        def crop(x: Tensor) -> Tensor:
            top, left = round((x.shape[2] - height) / 2), round((x.shape[3] - width) / 2)
            return x[:, :, top : top + height, left : left + width]

        return crop


class Pad(Transform):
    """A border of `fill`: one width, or left, top, right and bottom."""

    padding: Borders
    fill: float = 0

    def shape(self, image: ImageShape) -> ImageShape:
        left, top, right, bottom = _borders(self.padding)
        return image[0], image[1] + top + bottom, image[2] + left + right

    def on(self, device: torch.device) -> Callable[[Tensor], Tensor]:  # noqa: ARG002
        from torch.nn.functional import pad

        left, top, right, bottom = _borders(self.padding)
        return lambda x: pad(x, (left, right, top, bottom), value=self.fill)


class Grayscale(Transform):
    """One channel, or three equal ones, with the brightness of the colours."""

    num_output_channels: Literal[1, 3] = 1

    def shape(self, image: ImageShape) -> ImageShape:
        if image[0] not in (1, 3):
            raise Misfit(f"`Grayscale` takes images of 1 or 3 channels, not {channels(image)}")
        return (self.num_output_channels, image[1], image[2])

    def on(self, device: torch.device) -> Callable[[Tensor], Tensor]:
        weights = _per_channel((0.2989, 0.587, 0.114), device)

        def grey(x: Tensor) -> Tensor:
            one = (x * weights).sum(1, keepdim=True) if x.shape[1] == 3 else x
            return one.expand(-1, self.num_output_channels, -1, -1).contiguous()

        return grey


class Augmentation(Component):
    """A random transform of training images. Every sample of a batch draws for itself."""

    def shape(self, image: ImageShape) -> ImageShape:
        return image

    @abstractmethod
    def apply(self, x: Tensor, random: torch.Generator) -> Tensor:
        """The batch transformed, with numbers from `random`, which is on the batch's device."""


class RandomHorizontalFlip(Augmentation):
    """The mirror image, left for right, with probability `p`."""

    p: float = Field(0.5, ge=0, le=1)

    def apply(self, x: Tensor, random: torch.Generator) -> Tensor:
        return _flip(x, -1, self.p, random)


class RandomVerticalFlip(Augmentation):
    """The mirror image, top for bottom, with probability `p`."""

    p: float = Field(0.5, ge=0, le=1)

    def apply(self, x: Tensor, random: torch.Generator) -> Tensor:
        return _flip(x, -2, self.p, random)


class RandomCrop(Augmentation):
    """A piece of the given size from anywhere in the image, after adding `padding` around it."""

    size: Size
    padding: Borders | None = None
    fill: float = 0

    def shape(self, image: ImageShape) -> ImageShape:
        left, top, right, bottom = _borders(self.padding or 0)
        height, width = _sides(self.size)
        if height > image[1] + top + bottom or width > image[2] + left + right:
            raise Misfit(f"`RandomCrop` takes {height}x{width} out of an image of {image[1]}x{image[2]}")
        return image[0], height, width

    def apply(self, x: Tensor, random: torch.Generator) -> Tensor:
        import torch
        from torch.nn.functional import pad

        before, above, after, below = _borders(self.padding or 0)
        x = pad(x, (before, after, above, below), value=self.fill)
        height, width = _sides(self.size)
        here = x.device
        top = torch.randint(x.shape[2] - height + 1, (len(x), 1), generator=random, device=here)
        left = torch.randint(x.shape[3] - width + 1, (len(x), 1), generator=random, device=here)
        rows, columns = top + torch.arange(height, device=here), left + torch.arange(width, device=here)
        samples = torch.arange(len(x), device=here)
        return x[samples[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


class RandomRotation(Augmentation):
    """A turn about the centre by an angle from `degrees`, or from -`degrees` to `degrees`; corners become
    black.
    """

    degrees: Annotated[float, Field(ge=0)] | Pair
    interpolation: Literal["nearest", "bilinear"] = "nearest"

    def apply(self, x: Tensor, random: torch.Generator) -> Tensor:
        import torch
        from torch.nn.functional import affine_grid, grid_sample

        low, high = self.degrees if isinstance(self.degrees, tuple) else (-self.degrees, self.degrees)
        angle = torch.rand(len(x), generator=random, device=x.device) * (high - low) + low
        cosine, sine = angle.deg2rad().cos(), angle.deg2rad().sin()
        ratio, zero = x.shape[2] / x.shape[3], torch.zeros_like(cosine)
        turn = torch.stack((cosine, -sine * ratio, zero, sine / ratio, cosine, zero), 1).view(-1, 2, 3)
        grid = affine_grid(turn, list(x.shape), align_corners=False)
        return grid_sample(x, grid, mode=self.interpolation, align_corners=False)


TRANSFORMS: Family[Transform] = Family.of("transform", (Normalize, Resize, CenterCrop, Pad, Grayscale))
AUGMENTATIONS: Family[Augmentation] = Family.of(
    "random transform", (RandomHorizontalFlip, RandomVerticalFlip, RandomCrop, RandomRotation)
)


def channels(image: ImageShape) -> str:
    return f"{image[0]} channel{'s' * (image[0] != 1)}"


def _sides(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def _borders(padding: int | tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    return (padding, padding, padding, padding) if isinstance(padding, int) else padding


def _per_channel(value: float | tuple[float, ...], device: torch.device) -> Tensor | float:
    import torch

    return torch.tensor(value, device=device).view(-1, 1, 1) if isinstance(value, tuple) else value


def _flip(x: Tensor, dim: int, p: float, random: torch.Generator) -> Tensor:
    import torch

    chosen = torch.rand(len(x), 1, 1, 1, generator=random, device=x.device) < p
    return torch.where(chosen, x.flip(dim), x)
