"""CIFAR-100: 50,000 small colour photographs of a hundred kinds of things for training and 10,000 for testing."""

from __future__ import annotations

from pathlib import Path

from netdsl.train.data.base import Data, FolderSource, Sample, Split, pictures

# fmt: off
NAMES = (
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl",
    "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair",
    "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin",
    "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp",
    "lawn_mower", "leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain",
    "mouse", "mushroom", "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck",
    "pine_tree", "plain", "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road",
    "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider",
    "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone", "television",
    "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf",
    "woman", "worm",
)
# fmt: on


class CIFAR100(FolderSource):
    """Photographs of a hundred kinds of things, colour, 32 by 32. `root` holds the folder `cifar-100-python`."""

    @property
    def folder(self) -> str:
        return "cifar-100-python"

    def sample(self) -> Sample:
        return pictures((3, 32, 32), NAMES)

    def read(self, root: Path, download: bool) -> Data:
        import torch
        from torchvision import datasets

        def split(train: bool) -> Split:
            part = datasets.CIFAR100(root, train=train, download=download)
            images = torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous()
            return Split(images, torch.tensor(part.targets))

        return Data(split(True), split(False), self.sample().target.classes)
