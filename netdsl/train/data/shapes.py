"""Discs and rectangles on noise, with the mask of each: images to try a segmentation on, made on the spot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from netdsl.train.data.base import Data, Input, Sample, Source, Split, Target

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

NAMES = ("ground", "shape")


class Shapes(Source):
    """Up to three discs or rectangles in bright colours before a dark, uneven ground; their pixels are of class 1.

    There are `count` images of `size` by `size` in colour; every fifth is a test sample.
    """

    count: int = Field(500, ge=5)
    size: int = Field(64, ge=16, le=1024)
    noise: float = Field(0.15, ge=0, le=1)
    seed: int = Field(0, ge=0, lt=2**32)

    def sample(self) -> Sample:
        target = Target("classes", (self.size, self.size), NAMES, pixels=True)
        return Sample(Input((3, self.size, self.size), "image"), target)

    def load(self, folders: Sequence[Path], download: bool) -> Data:  # noqa: ARG002 - they are made here
        import numpy
        import torch

        random = numpy.random.default_rng(self.seed)
        images = numpy.empty((self.count, 3, self.size, self.size), numpy.uint8)
        masks = numpy.empty((self.count, self.size, self.size), numpy.uint8)
        for number in range(self.count):
            images[number], masks[number] = self._drawn(random)
        x, y = torch.from_numpy(images), torch.from_numpy(masks)
        test = torch.arange(self.count) % 5 == 0
        return Data(Split(x[~test], y[~test]), Split(x[test], y[test]), len(NAMES), NAMES)

    def _drawn(self, random: Generator) -> tuple[NDArray[Any], NDArray[Any]]:
        """An image [3, size, size] and its mask [size, size]."""
        import numpy

        row, column = numpy.mgrid[: self.size, : self.size] / self.size
        slope = random.uniform(-0.2, 0.2, 2)
        image = random.uniform(0.1, 0.4, (3, 1, 1)) + slope[0] * row + slope[1] * column
        mask = numpy.zeros((self.size, self.size), numpy.uint8)
        for _ in range(random.integers(1, 4)):
            top, left = random.uniform(0.15, 0.85, 2)
            height, width = random.uniform(0.08, 0.25, 2)
            down, right = (row - top) / height, (column - left) / width
            disc = random.random() < 0.5
            inside = down**2 + right**2 < 1 if disc else numpy.maximum(abs(down), abs(right)) < 1
            image = numpy.where(inside, random.uniform(0.5, 0.9, (3, 1, 1)), image)
            mask[inside] = 1
        image = image + self.noise * random.standard_normal(image.shape)
        return (image.clip(0, 1) * 255).round().astype(numpy.uint8), mask
