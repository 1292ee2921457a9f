"""The MNIST digits, 60,000 for training and 10,000 for testing, as torchvision keeps them."""

from __future__ import annotations

from pathlib import Path

from netdsl.train.data.base import Data, FolderSource, Sample, Split, pictures


class MNIST(FolderSource):
    """Handwritten digits, grey, 28 by 28. `root` holds the folder `MNIST/raw` with the four IDX files."""

    def sample(self) -> Sample:
        return pictures((1, 28, 28), tuple("0123456789"))

    def read(self, root: Path, download: bool) -> Data:
        from torchvision import datasets

        train, test = (getattr(datasets, self.kind)(root, train=t, download=download) for t in (True, False))
        return Data(
            Split(train.data.unsqueeze(1), train.targets),
            Split(test.data.unsqueeze(1), test.targets),
            self.sample().target.classes,
        )
