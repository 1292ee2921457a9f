"""Where samples come from: one source a file. Declaring one needs no torch; loading it does."""

from __future__ import annotations

from netdsl.train.component import Family
from netdsl.train.data.base import Data, Sample, Source, Split
from netdsl.train.data.cifar10 import CIFAR10
from netdsl.train.data.digits import Digits
from netdsl.train.data.fashion_mnist import FashionMNIST
from netdsl.train.data.mnist import MNIST

SOURCES: Family[Source] = Family.of("data source", (MNIST, FashionMNIST, CIFAR10, Digits))

__all__ = ["CIFAR10", "MNIST", "SOURCES", "Data", "Digits", "FashionMNIST", "Sample", "Source", "Split"]
