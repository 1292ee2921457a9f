"""Images on the disk, with their classes or with masks, read one by one."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
import torch
from PIL import Image
from torch import Tensor

from netdsl.train.data.images import image_size, opened, read_image
from netdsl.train.data.unread import Reader, readers
from netdsl.train.errors import TrainError

Sides = tuple[int, int] | tuple[None, None]


class ImageReader(Reader):
    """Images of `channels`, resized to `size` where it is given."""

    def __init__(self, paths: Sequence[Path], channels: int, size: Sides) -> None:
        self.paths = [str(path) for path in paths]
        self.channels, self.size = channels, size

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, number: int) -> str:
        return f"`{self.paths[number]}`"

    def image(self, number: int) -> Tensor:
        return read_image(Path(self.paths[number]), self.channels, self.size)

    def check(self, numbers: Sequence[int]) -> None:
        """Refuse files that are no images or are cut off (E0661), and sizes that differ where they may not (E0662)."""
        with ThreadPoolExecutor(readers()) as pool:
            found = pool.map(lambda number: image_size(Path(self.paths[number])), numbers)
            one = None
            for number, size in zip(numbers, found, strict=True):
                one = one or size
                if self.size == (None, None) and size != one:
                    message = (
                        f"{self.name(number)} is {size[0]}x{size[1]}, "
                        f"and {self.name(numbers[0])} is {one[0]}x{one[1]}"
                    )
                    raise TrainError("E0662", message, helps=self.help_alike())

    def help_alike(self) -> list[str]:
        return ["`size` resizes all images to one size, as `size = 64` or `size = [160, 240]`"]


class ClassReader(ImageReader):
    """Images with the class of each."""

    def __init__(self, paths: Sequence[Path], classes: Tensor, channels: int, size: Sides) -> None:
        super().__init__(paths, channels, size)
        self.classes = classes

    def one(self, number: int) -> tuple[Tensor, Tensor]:
        return self.image(number), self.classes[number]


class MaskReader(ImageReader):
    """Images with a mask each: the class number of every pixel, uint8.

    `values` are those of the classes in a mask, in order; with `threshold`, what is as bright or brighter is class 1.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        masks: Sequence[Path],
        channels: int,
        size: Sides,
        values: Sequence[int],
        threshold: int | None,
    ) -> None:
        super().__init__(paths, channels, size)
        self.masks = [str(path) for path in masks]
        self.values, self.threshold = tuple(values), threshold

    def check(self, numbers: Sequence[int]) -> None:
        """Masks too, which are read whole: a value that is of no class shows nowhere else (E0662, E0663)."""
        super().check(numbers)

        def sizes(number: int) -> tuple[tuple[int, int], Sequence[int]]:
            return image_size(Path(self.paths[number])), self.mask(number).shape

        with ThreadPoolExecutor(readers()) as pool:
            for number, (image, mask) in zip(numbers, pool.map(sizes, numbers), strict=True):
                if self.size == (None, None) and image != tuple(mask):
                    raise self._apart(number, image, mask)

    def one(self, number: int) -> tuple[Tensor, Tensor]:
        image, mask = self.image(number), self.mask(number)
        if image.shape[1:] != mask.shape:
            raise self._apart(number, image.shape[1:], mask.shape)
        return image, mask

    def _apart(self, number: int, image: Sequence[int], mask: Sequence[int]) -> TrainError:
        message = (
            f"{self.name(number)} is {image[0]}x{image[1]}, "
            f"and its mask `{self.masks[number]}` is {mask[0]}x{mask[1]}"
        )
        return TrainError("E0662", message, helps=self.help_alike())

    def mask(self, number: int) -> Tensor:
        """The class of each pixel; E0663 where a value of the mask is of no class."""
        path = Path(self.masks[number])
        image = opened(path, "")
        height, width = self.size
        if height is not None and width is not None and image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.NEAREST)
        pixels = numpy.asarray(image)
        if pixels.ndim == 3:
            colours = pixels[..., : 1 if pixels.shape[2] == 2 else 3]
            if (colours != colours[..., :1]).any():
                message = f"the mask `{path}` is in colour, and the grey of a pixel tells its class"
                raise TrainError(
                    "E0663", message, helps=["convert it to grey, or to a palette of class numbers"]
                )
            pixels = colours[..., 0]
        if self.threshold is not None:
            return torch.from_numpy((pixels >= self.threshold).astype(numpy.uint8))
        classes = numpy.zeros(pixels.shape, numpy.uint8)
        known = numpy.zeros(pixels.shape, bool)
        for number_, value in enumerate(self.values):
            here = pixels == value
            classes[here] = number_
            known |= here
        if not known.all():
            raise self._unknown(path, pixels, known)
        return torch.from_numpy(classes)

    def _unknown(self, path: Path, pixels: numpy.ndarray, known: numpy.ndarray) -> TrainError:
        row, column = (int(at[0]) for at in numpy.nonzero(~known))
        found = sorted({int(value) for value in numpy.unique(pixels)})
        message = (
            f"the mask `{path}` has the value {int(pixels[row, column])} in row {row}, column {column}, "
            f"and those of the classes are {_listed(self.values)}"
        )
        notes = [f"its values are {_listed(found[:12])}" + (" and more" if len(found) > 12 else "")]
        if set(found) <= {0, 255}:
            helps = [
                "`values = [0, 255]` makes 255 class 1; as a number, 255 would be compared with a probability"
            ]
        elif len(self.values) == 2 and len(found) > 4:
            helps = ["`threshold = 128` makes what is as bright or brighter class 1, and the rest class 0"]
        else:
            helps = [f"`values = {found[:12]}` makes each of them a class" if len(found) <= 12 else _LISTS]
        return TrainError("E0663", message, notes=notes, helps=helps)


_LISTS = "`values` lists what stands for each class in a mask, in the order of the classes"


def _listed(values: Sequence[int]) -> str:
    words = [str(value) for value in values]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
