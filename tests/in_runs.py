"""Runs that are hard to go on with, in one process or by `torchrun --nproc-per-node 2 -m tests.in_runs FOLDER STRATEGY CASE`:
one to its end, and one that a signal stops in the middle of an epoch and that goes on from its folder.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from netdsl.train import RunResult, run
from netdsl.train.data import Data
from netdsl.train.data.base import Split
from netdsl.train.data.unread import Reader, Unread
from netdsl.train.losses import CrossEntropyLoss
from netdsl.train.metrics import Accuracy
from netdsl.train.optimizers import AdamW
from netdsl.train.recipe import Recipe
from netdsl.train.records import Record, Step
from netdsl.train.schedules import SCHEDULES
from netdsl.train.transforms import RandomCrop, RandomHorizontalFlip
from netdsl.train.writer import Keep

STOPPED = 5  # the step after which a run is stopped; an epoch has 4


class Net(nn.Module):
    """With dropout and running statistics."""

    def __init__(self, dropout: float = 0.3) -> None:
        super().__init__()
        self.blocks = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.drop = nn.Dropout(dropout)
        self.fc = nn.Linear(64, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.drop(self.blocks(x).flatten(1)))


class Plain(Net):
    """Without anything that is drawn."""

    def __init__(self) -> None:
        super().__init__(0.0)


class Late(Reader):
    """Samples that workers read when they are due."""

    def __init__(self, split: Split) -> None:
        self.split = split

    def __len__(self) -> int:
        return len(self.split)

    def one(self, number: int) -> tuple[Tensor, Tensor]:
        return self.split.x[number], self.split.y[number]


def samples() -> Split:
    """61, so that neither batches nor shares divide them: the last batch of 8 has 5."""
    random = torch.Generator().manual_seed(0)
    y = torch.randint(4, (61,), generator=random)
    x = torch.randint(100, (61, 1, 4, 4), generator=random, dtype=torch.uint8)
    x[torch.arange(61), 0, y] += 100
    return Split(x, y)


def data(kind: str) -> Data:
    """`resident`, or read by workers as a `stream`."""
    every = samples()
    parts = every.first(61), every.first(21)
    return Data(*(Unread(Late(part)) if kind == "stream" else part for part in parts), classes=4)


def recipe(*, drawn: bool = True) -> Recipe:
    """Two batches a step, averages, rates that change by the step; and where it is `drawn`, random crops."""
    return Recipe(
        model="Net",
        batch=8,
        epochs=3,
        accumulate=2,
        clip_norm=1.0,
        ema=0.9,
        loss=CrossEntropyLoss(label_smoothing=0.1),
        optimizer=AdamW(lr=0.01, eps=1e-3),
        schedule=SCHEDULES.members["OneCycleLR"](max_lr=0.02),
        augment=(RandomCrop(size=4, padding=1), RandomHorizontalFlip()) if drawn else (),
        metrics=(Accuracy(),),
        channels_last=False,
        log_every=1,
    )


def train(out: Path, kind: str, *, drawn: bool = True, stop: int | None = None, **options: Any) -> RunResult:
    def watch(record: Record) -> None:
        if isinstance(record, Step) and record.step == stop:
            os.kill(os.getpid(), signal.SIGTERM)

    budget = 0 if kind == "stream" else None
    base: dict[str, Any] = {"data": data(kind), "memory_budget": budget, "threads": 1, "device": "cpu"}
    base |= {"keep": Keep(report=False), "on_record": watch}
    return run(Net if drawn else Plain, recipe(drawn=drawn), out=out, **base | options)


def whole_and_parts(folder: Path, kind: str, **options: Any) -> tuple[RunResult, RunResult, RunResult]:
    """A run, one that stops in the middle, and how that goes on."""
    whole = train(folder / "whole", kind, **options)
    stopped = train(folder / "parts", kind, stop=STOPPED, **options)
    return whole, stopped, train(folder / "parts", kind, resume=True, **options)


def threads_of_groups() -> list[str]:
    names = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").glob("*")]
    return [name for name in names if "gloo" in name]


def no_thread_outlives_its_group() -> None:
    assert threads_of_groups() == [], threads_of_groups()


def main(folder: Path, strategy: str, kind: str, drawn: bool) -> None:
    if strategy == "ddp":
        atexit.register(no_thread_outlives_its_group)  # the first to register is the last to be called
    _, stopped, _ = whole_and_parts(folder, kind, drawn=drawn, strategy=strategy)
    # All hear of a signal a step after the one that got it.
    assert (stopped.reason, stopped.signal) == ("interrupted", signal.SIGTERM), stopped
    assert stopped.step in (STOPPED, STOPPED + 1, STOPPED + 2), stopped


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4] == "drawn")
