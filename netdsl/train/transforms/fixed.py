"""Transforms that are the same for every image, in training and where a model is measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from netdsl.train.component import Numbers
from netdsl.train.transforms.base import (
    Borders,
    ImageShape,
    Interpolation,
    Misfit,
    PaddingMode,
    Positive,
    Size,
    Transform,
    borders,
    channels,
    sides,
)

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Normalize(Transform):
    """Subtract `mean` and divide by `std`: one number for all channels, or a list with one for each."""

    mean: float | Numbers
    std: Annotated[float, Field(gt=0)] | Annotated[Numbers, Field(min_length=1)]

    def shape(self, image: ImageShape) -> ImageShape:
        for name, value in (("mean", self.mean), ("std", self.std)):
            if isinstance(value, tuple) and len(value) not in (1, image[0]):
                raise Misfit(
                    f"`{name}` of `Normalize` has {len(value)} numbers, but an image has {channels(image)}",
                    f"give one number, or {image[0]}" if image[0] > 1 else "give one number",
                )
            if name == "std" and isinstance(value, tuple) and min(value) <= 0:
                message = f"`std` of `Normalize` is {list(value)}, and images are divided by it"
                raise Misfit(message, "give numbers above 0")
        return image

    def on(self, device: torch.device) -> Callable[[Tensor], Tensor]:
        mean, std = per_channel(self.mean, device), per_channel(self.std, device)
        return lambda x: x.sub_(mean).div_(std)


class Resize(Transform):
    """Resize; one number is the length of the shorter side, and `max_size` then the most of the longer one."""

    size: Size
    interpolation: Interpolation = "bilinear"
    max_size: Positive | None = None
    antialias: bool = True

    def shape(self, image: ImageShape) -> ImageShape:
        if not isinstance(self.size, int):
            return (image[0], *self.size)
        short, long = sorted(image[1:])
        new_short, new_long = self.size, int(self.size * long / short)
        if self.max_size is not None and new_long > self.max_size:
            new_short, new_long = int(self.max_size * new_short / new_long), self.max_size
        if new_short < 1:
            message = f"`Resize` leaves nothing of an image of {image[1]}x{image[2]}"
            raise Misfit(message, "give height and width: `Resize([64, 64])`")
        return (image[0], new_short, new_long) if image[1] <= image[2] else (image[0], new_long, new_short)

    def on(self, device: torch.device) -> Callable[[Tensor], Tensor]:  # noqa: ARG002
        return lambda x: self._resized(x, self.interpolation)

    def of_masks(self, masks: Tensor) -> Tensor:
        return self._resized(masks, "nearest")

    def _resized(self, x: Tensor, interpolation: Interpolation) -> Tensor:
        from torchvision.transforms import InterpolationMode
        from torchvision.transforms.v2.functional import resize

        _, height, width = self.shape((x.shape[1], x.shape[2], x.shape[3]))
        return resize(x, [height, width], InterpolationMode(interpolation), antialias=self.antialias)


class CenterCrop(Transform):
    """The middle of an image."""

    size: Size

    def shape(self, image: ImageShape) -> ImageShape:
        height, width = sides(self.size)
        if height > image[1] or width > image[2]:
            message = f"`CenterCrop` takes {height}x{width} out of an image of {image[1]}x{image[2]}"
            raise Misfit(message, f"take less, or put `Resize([{height}, {width}])` in its place")
        return image[0], height, width

    def on(self, device: torch.device) -> Callable[[Tensor], Tensor]:  # noqa: ARG002
        return self.of_masks

    def of_masks(self, masks: Tensor) -> Tensor:
        height, width = sides(self.size)
        top, left = round((masks.shape[2] - height) / 2), round((masks.shape[3] - width) / 2)
        return masks[:, :, top : top + height, left : left + width]


class Pad(Transform):
    """A border: one width, or left, top, right and bottom; of `fill`, or of the image itself with another mode."""

    padding: Borders
    fill: float = 0
    padding_mode: PaddingMode = "constant"

    def shape(self, image: ImageShape) -> ImageShape:
        left, top, right, bottom = borders(self.padding)
        short = self.padding_mode == "reflect"
        if self.padding_mode in ("reflect", "symmetric") and (
            max(left, right) > image[2] - short or max(top, bottom) > image[1] - short
        ):
            raise Misfit(
                f"the border of `Pad` is wider than an image of {image[1]}x{image[2]} can be mirrored",
                "make it narrower, or leave `padding_mode` out",
            )
        return image[0], image[1] + top + bottom, image[2] + left + right

    def on(self, device: torch.device) -> Callable[[Tensor], Tensor]:  # noqa: ARG002
        return lambda x: padded(x, self.padding, self.fill, self.padding_mode)

    def of_masks(self, masks: Tensor) -> Tensor:
        return padded(masks, self.padding, 0, self.padding_mode)


def padded(x: Tensor, padding: int | tuple[int, int, int, int], fill: float, mode: PaddingMode) -> Tensor:
    from torchvision.transforms.v2.functional import pad

    return pad(x, list(borders(padding)), fill=fill, padding_mode=mode)


class Grayscale(Transform):
    """One channel, or three equal ones, with the brightness of the colours."""

    num_output_channels: Literal[1, 3] = 1

    def shape(self, image: ImageShape) -> ImageShape:
        if image[0] not in (1, 3):
            message = f"`Grayscale` takes images of 1 or 3 channels, not {channels(image)}"
            raise Misfit(message, "leave it out")
        return (self.num_output_channels, image[1], image[2])

    def on(self, device: torch.device) -> Callable[[Tensor], Tensor]:
        weights = per_channel(GREY, device)

        def grey(x: Tensor) -> Tensor:
            one = (x * weights).sum(1, keepdim=True) if x.shape[1] == 3 else x
            return one.expand(-1, self.num_output_channels, -1, -1).contiguous()

        return grey


GREY = (0.2989, 0.587, 0.114)  # the brightness of red, green and blue


def per_channel(value: float | tuple[float, ...], device: torch.device) -> Tensor | float:
    import torch

    return torch.tensor(value, device=device).view(-1, 1, 1) if isinstance(value, tuple) else value
