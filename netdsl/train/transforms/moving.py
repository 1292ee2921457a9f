"""Augmentations that move pixels, of a whole batch at once: flips, crops and turns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from netdsl.train.component import Pair
from netdsl.train.transforms.base import (
    Borders,
    ImageShape,
    Misfit,
    Moving,
    PaddingMode,
    Probability,
    Size,
    borders,
    chosen,
    sides,
)
from netdsl.train.transforms.fixed import padded

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class RandomHorizontalFlip(Moving):
    """The mirror image, left for right, with probability `p`."""

    p: Probability = 0.5

    def draw(self, x: Tensor, random: torch.Generator) -> Tensor:
        return chosen(x, self.p, random)

    def move(self, x: Tensor, drawn: Any, mixing: bool = True) -> Tensor:  # noqa: ARG002
        return x.flip(-1).where(drawn, x)


class RandomVerticalFlip(Moving):
    """The mirror image, top for bottom, with probability `p`."""

    p: Probability = 0.5

    def draw(self, x: Tensor, random: torch.Generator) -> Tensor:
        return chosen(x, self.p, random)

    def move(self, x: Tensor, drawn: Any, mixing: bool = True) -> Tensor:  # noqa: ARG002
        return x.flip(-2).where(drawn, x)


class RandomCrop(Moving):
    """A piece of the given size from anywhere in the image, after adding `padding` around it, and, where it is still
    too small and `pad_if_needed`, what is missing.
    """

    size: Size
    padding: Borders | None = None
    pad_if_needed: bool = False
    fill: float = 0
    padding_mode: PaddingMode = "constant"

    def shape(self, image: ImageShape) -> ImageShape:
        left, top, right, bottom = self._borders(image[1], image[2])
        height, width = sides(self.size)
        if height > image[1] + top + bottom or width > image[2] + left + right:
            message = f"`RandomCrop` takes {height}x{width} out of an image of {image[1]}x{image[2]}"
            raise Misfit(message, "take less, or let it add what is missing by `pad_if_needed = True`")
        return image[0], height, width

    def _borders(self, height: int, width: int) -> tuple[int, int, int, int]:
        left, top, right, bottom = borders(self.padding or 0)
        down = across = 0
        if self.pad_if_needed:
            down = max(0, sides(self.size)[0] - height - top - bottom)
            across = max(0, sides(self.size)[1] - width - left - right)
        return left + across, top + down, right + across, bottom + down

    def draw(self, x: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
        import torch

        left, top, right, bottom = self._borders(x.shape[2], x.shape[3])
        down = x.shape[2] + top + bottom - sides(self.size)[0] + 1
        across = x.shape[3] + left + right - sides(self.size)[1] + 1
        here = x.device
        return (
            torch.randint(down, (len(x), 1), generator=random, device=here),
            torch.randint(across, (len(x), 1), generator=random, device=here),
        )

    def move(self, x: Tensor, drawn: Any, mixing: bool = True) -> Tensor:
        import torch

        around = self._borders(x.shape[2], x.shape[3])
        x = padded(x, around, self.fill if mixing else 0, self.padding_mode) if any(around) else x
        height, width = sides(self.size)
        here, (top, left) = x.device, drawn
        rows, columns = top + torch.arange(height, device=here), left + torch.arange(width, device=here)
        samples = torch.arange(len(x), device=here)
        return x[samples[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


class RandomRotation(Moving):
    """A turn about the centre by an angle from `degrees`, or from -`degrees` to `degrees`; corners become
    black.
    """

    degrees: Annotated[float, Field(ge=0)] | Pair
    interpolation: Literal["nearest", "bilinear"] = "nearest"

    def draw(self, x: Tensor, random: torch.Generator) -> Tensor:
        import torch

        low, high = self.degrees if isinstance(self.degrees, tuple) else (-self.degrees, self.degrees)
        return torch.rand(len(x), generator=random, device=x.device) * (high - low) + low

    def move(self, x: Tensor, drawn: Any, mixing: bool = True) -> Tensor:
        import torch
        from torch.nn.functional import affine_grid, grid_sample

        cosine, sine = drawn.deg2rad().cos(), drawn.deg2rad().sin()
        ratio, zero = x.shape[2] / x.shape[3], torch.zeros_like(cosine)
        turn = torch.stack((cosine, -sine * ratio, zero, sine / ratio, cosine, zero), 1).view(-1, 2, 3)
        grid = affine_grid(turn, list(x.shape), align_corners=False)
        return grid_sample(x, grid, mode=self.interpolation if mixing else "nearest", align_corners=False)
