"""Kuzushiji-MNIST: cursive Japanese characters in the format of MNIST."""

from __future__ import annotations

from netdsl.train.data.base import Sample, pictures
from netdsl.train.data.mnist import MNIST

NAMES = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")


class KMNIST(MNIST):
    """Ten cursive Japanese characters, grey, 28 by 28. `root` holds the folder `KMNIST/raw` with the four IDX files."""

    def sample(self) -> Sample:
        return pictures((1, 28, 28), NAMES)
