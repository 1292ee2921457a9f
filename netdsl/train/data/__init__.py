"""Where samples come from: one source a file. Declaring one needs no torch; loading it does."""

from __future__ import annotations

from netdsl.train.component import Component, Family
from netdsl.train.data.arrays import Arrays
from netdsl.train.data.base import Data, Input, Sample, Source, Split, Target
from netdsl.train.data.breast_cancer import BreastCancer
from netdsl.train.data.cifar10 import CIFAR10
from netdsl.train.data.cifar100 import CIFAR100
from netdsl.train.data.custom import Custom
from netdsl.train.data.diabetes import Diabetes
from netdsl.train.data.digits import Digits
from netdsl.train.data.divided import Divided
from netdsl.train.data.division import Division, HoldOut, Training
from netdsl.train.data.fashion_mnist import FashionMNIST
from netdsl.train.data.features import FEATURES, Feature, Missing, Numeric, OneHot
from netdsl.train.data.image_folder import ImageFolder
from netdsl.train.data.iris import Iris
from netdsl.train.data.kmnist import KMNIST
from netdsl.train.data.mnist import MNIST
from netdsl.train.data.points import Points
from netdsl.train.data.segmentation import Segmentation
from netdsl.train.data.sequence import Sequence
from netdsl.train.data.shapes import Shapes
from netdsl.train.data.synthetic import Synthetic
from netdsl.train.data.table import Table
from netdsl.train.data.text import Text
from netdsl.train.data.tokens import Tokens
from netdsl.train.data.wine import Wine

SOURCES: Family[Source] = Family.of(
    "data source",
    (
        MNIST,
        FashionMNIST,
        KMNIST,
        CIFAR10,
        CIFAR100,
        ImageFolder,
        Segmentation,
        Digits,
        Iris,
        Wine,
        BreastCancer,
        Diabetes,
        Table,
        Sequence,
        Text,
        Tokens,
        Arrays,
        Points,
        Synthetic,
        Shapes,
        Custom,
    ),
)
HELD_OUT: Family[Component] = Family.of(
    "data source or split", (HoldOut, Training, *SOURCES.members.values())
)

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "FEATURES",
    "HELD_OUT",
    "KMNIST",
    "MNIST",
    "SOURCES",
    "Arrays",
    "BreastCancer",
    "Custom",
    "Data",
    "Diabetes",
    "Digits",
    "Divided",
    "Division",
    "FashionMNIST",
    "Feature",
    "HoldOut",
    "ImageFolder",
    "Input",
    "Iris",
    "Missing",
    "Numeric",
    "OneHot",
    "Points",
    "Sample",
    "Segmentation",
    "Sequence",
    "Shapes",
    "Source",
    "Split",
    "Synthetic",
    "Table",
    "Target",
    "Text",
    "Tokens",
    "Training",
    "Wine",
]
