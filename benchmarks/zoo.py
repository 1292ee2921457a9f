"""How fast compiled models are beside torchvision's own: `python benchmarks/zoo.py [NAME…]`. Ratios below 1 are ours.

Both have the same weights and take turns on one thread, ours theirs theirs ours, so that what slows the machine slows
both; a ratio is the median of those of all rounds, and what stands behind it are the quartiles.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

import netdsl
from netdsl.backends.module import load_class
from netdsl.backends.torch_source import source

SPECS = Path(__file__).parent.parent / "specs"
SECONDS = 12.0  # for each kind of work of a model
LEAST, MOST = 12, 120  # rounds
Work = Callable[[], object]


@dataclass(frozen=True)
class Pair:
    """A model of the library, the function of torchvision that builds the same, and a small input for both."""

    file: str
    model: str
    builder: str
    size: int
    ours: dict[str, Any] = field(default_factory=dict[str, Any])
    theirs: dict[str, Any] = field(default_factory=dict[str, Any])

    def build(self) -> tuple[nn.Module, nn.Module]:
        """Both with the same weights, in the same memory: where it lies makes a difference too."""
        theirs = getattr(torchvision.models, self.builder)(**self.theirs)
        ours = getattr(netdsl.load(SPECS / self.file), self.model)(**self.ours)
        ours.load_state_dict(theirs.state_dict(), assign=True)
        return ours, theirs


PAIRS = (
    Pair("resnet.net", "ResNet18", "resnet18", 96),
    Pair("resnet.net", "ResNet50", "resnet50", 64),
    Pair("mobilenet_v3.net", "MobileNet_V3_Small", "mobilenet_v3_small", 128),
    Pair("swin.net", "Swin_T", "swin_t", 64, ours={"image_size": 64}),
    Pair("vit.net", "ViT_B_16", "vit_b_16", 64, ours={"image_size": 64}, theirs={"image_size": 64}),
)


@dataclass(frozen=True)
class Comparison:
    """Medians in seconds, and the quartiles of the ratios of all rounds."""

    ours: float
    theirs: float
    ratios: tuple[float, float, float]

    def __str__(self) -> str:
        low, middle, high = self.ratios
        return (
            f"{1000 * self.ours:9.2f} {1000 * self.theirs:9.2f} ms  {middle:6.3f}  ({low:.3f} to {high:.3f})"
        )


def seconds(work: Work) -> float:
    """Of the processor: on one thread, what others do meanwhile does not count."""
    began = time.process_time()
    work()
    return time.process_time() - began


def compare(ours: Work, theirs: Work) -> Comparison:
    """Rounds of ours, theirs, theirs, ours, until the time is up."""
    for work in (ours, theirs, ours, theirs):
        work()
    mine: list[float] = []
    others: list[float] = []
    until = time.perf_counter() + SECONDS
    while len(mine) < LEAST or (len(mine) < MOST and time.perf_counter() < until):
        first, second, third, fourth = (seconds(work) for work in (ours, theirs, theirs, ours))
        mine.append((first + fourth) / 2)
        others.append((second + third) / 2)
    ratios = statistics.quantiles((a / b for a, b in zip(mine, others, strict=True)), n=4)
    low, middle, high = ratios
    return Comparison(statistics.median(mine), statistics.median(others), (low, middle, high))


def forward(module: nn.Module, x: Tensor) -> Work:
    """Evaluation mode, without gradients."""

    def run() -> None:
        module.eval()
        with torch.no_grad():
            module(x)

    return run


def backward(module: nn.Module, x: Tensor) -> Work:
    """Training mode: forward and backward. The gradients go at the end, or they would lie about while the other runs,
    which would then have to find its memory elsewhere."""

    def run() -> None:
        module.train()
        torch.manual_seed(0)  # so that both drop the same
        module(x).sum().backward()
        module.zero_grad()

    return run


def building(pair: Pair) -> tuple[Work, Work]:
    """Fresh weights: ours from a file that has been read and a model that has been built before."""
    model = getattr(netdsl.load(SPECS / pair.file), pair.model)
    builder = getattr(torchvision.models, pair.builder)
    return lambda: model(**pair.ours), lambda: builder(**pair.theirs)


def first_steps(pair: Pair) -> str:
    """What comes before the first module: reading and checking the file, the graph, its source, its class."""
    found: list[Any] = []
    steps: dict[str, Work] = {
        "load": lambda: found.append(netdsl.load(SPECS / pair.file)),
        "graph": lambda: found.append(getattr(found[0], pair.model).graph(**pair.ours)),
        "source": lambda: found.append(source(found[1])),
        "class": lambda: found.append(load_class(found[1])),
    }
    return ", ".join(f"{name} {1000 * seconds(work):.1f}" for name, work in steps.items())


def measure(pair: Pair) -> None:
    torch.manual_seed(0)
    ours, theirs = pair.build()
    x = torch.randn(2, 3, pair.size, pair.size)
    works = {
        "forward": (forward(ours, x), forward(theirs, x)),
        "forward, backward": (backward(ours, x), backward(theirs, x)),
        "building": building(pair),
    }
    for name, (mine, other) in works.items():
        print(f"{pair.model:20} {name:20} {compare(mine, other)}", flush=True)
    print(f"{pair.model:20} {'first of all, in ms':20} {first_steps(pair)}", flush=True)


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    print(f"{'model':20} {'work':20} {'ours':>9} {'theirs':>9}       ratio  (quartiles)")
    for pair in PAIRS:
        if not names or any(name in pair.model for name in names):
            measure(pair)


if __name__ == "__main__":
    main(sys.argv[1:])
