"""Fashion-MNIST: articles of clothing in the format of MNIST."""

from __future__ import annotations

from netdsl.train.data.base import Sample, pictures
from netdsl.train.data.mnist import MNIST

NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


class FashionMNIST(MNIST):
    """Articles of clothing, grey, 28 by 28. `root` holds the folder `FashionMNIST/raw` with the four IDX
    files.
    """

    def sample(self) -> Sample:
        return pictures((1, 28, 28), NAMES)
