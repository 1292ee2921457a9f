"""The MNIST digits, 60,000 for training and 10,000 for testing, as torchvision keeps them."""

from __future__ import annotations

from math import prod
from pathlib import Path

from netdsl.train.data.base import Data, FolderSource, Sample, Split, pictures


class MNIST(FolderSource):
    """Handwritten digits, grey, 28 by 28. `root` holds the folder `MNIST/raw` with the four IDX files."""

    @property
    def folder(self) -> str:
        return f"{self.kind}/raw"

    def sample(self) -> Sample:
        return pictures((1, 28, 28), tuple("0123456789"))

    def damaged(self, root: Path) -> str:
        for path in sorted((root / self.kind / "raw").glob("*-ubyte")):
            found = path.read_bytes()[:16]
            axes = found[3] if len(found) > 3 else 0
            sizes = [int.from_bytes(found[at : at + 4], "big") for at in range(4, 4 + 4 * axes, 4)]
            wanted = 4 + 4 * len(sizes) + prod(sizes)
            if path.stat().st_size != wanted:
                return f"`{path}` has {path.stat().st_size:,} bytes, and its header says {wanted:,}"
        return ""

    def read(self, root: Path, download: bool) -> Data:
        from torchvision import datasets

        train, test = (getattr(datasets, self.kind)(root, train=t, download=download) for t in (True, False))
        return Data(
            Split(train.data.unsqueeze(1), train.targets),
            Split(test.data.unsqueeze(1), test.targets),
            self.sample().target.classes,
        )
