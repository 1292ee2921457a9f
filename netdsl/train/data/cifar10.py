"""CIFAR-10: 50,000 small colour photographs for training and 10,000 for testing."""

from __future__ import annotations

from pathlib import Path

from netdsl.train.data.base import Data, FolderSource, Sample, Split, pictures

NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


class CIFAR10(FolderSource):
    """Photographs of ten kinds of things, colour, 32 by 32. `root` holds the folder `cifar-10-batches-py`."""

    @property
    def folder(self) -> str:
        return "cifar-10-batches-py"

    def sample(self) -> Sample:
        return pictures((3, 32, 32), NAMES)

    def read(self, root: Path, download: bool) -> Data:
        import torch
        from torchvision import datasets

        def split(train: bool) -> Split:
            part = datasets.CIFAR10(root, train=train, download=download)
            images = torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous()
            return Split(images, torch.tensor(part.targets))

        return Data(split(True), split(False), self.sample().target.classes)
