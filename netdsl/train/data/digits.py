"""The 1,797 handwritten digits that come with scikit-learn: the data that is always there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from netdsl.train.data.base import Data, Sample, Source, Split, pictures
from netdsl.train.errors import TrainError


class Digits(Source):
    """Digits of 8 by 8, grey, enlarged bilinearly to `size`. Every fifth is a test sample: 1,437 and 360."""

    size: Annotated[int, Field(ge=8, le=512)] = 28

    def sample(self) -> Sample:
        return pictures((1, self.size, self.size), tuple("0123456789"))

    def load(self, folders: Sequence[Path], download: bool) -> Data:  # noqa: ARG002 - they come with the library
        try:
            from sklearn.datasets import load_digits
        except ImportError as problem:
            raise TrainError(
                "E0621",
                "`Digits` comes with scikit-learn, which is not installed",
                helps=['install it: pip install "netdsl[train]"'],
            ) from problem
        import torch
        from torch.nn.functional import interpolate

        pixels, classes = load_digits(return_X_y=True)
        small = torch.from_numpy(pixels).to(torch.float32).view(-1, 1, 8, 8) / 16
        images = small if self.size == 8 else interpolate(small, (self.size, self.size), mode="bilinear")
        x, y = (images * 255).round().to(torch.uint8), torch.from_numpy(classes).to(torch.int64)
        # Writers follow each other in the file, so every fifth sample has each of them in both parts.
        test = torch.arange(len(x)) % 5 == 0
        return Data(Split(x[~test], y[~test]), Split(x[test], y[test]), self.sample().target.classes)


def write_images(folder: str | Path, count: int, size: int = 28) -> list[Path]:
    """Write `count` test digits as PNG files, named by sample and class, to try `netdsl predict` on."""
    from PIL import Image

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    test = Digits(size=size).load((), download=False).valid
    assert isinstance(test, Split)
    samples = range(0, len(test), max(1, len(test) // count))[:count]
    paths = [folder / f"{sample}-is-{int(test.y[sample])}.png" for sample in samples]
    for sample, path in zip(samples, paths, strict=True):
        Image.fromarray(test.x[sample, 0].numpy()).save(path)
    return paths
