"""The run that `tests.kills` kills: short, saving all the time, with everything that makes resuming hard."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch._dynamo  # which the optimizers load: once, and not in every run
from torch import Tensor, nn

from netdsl.train import run
from netdsl.train.checkpoint import checkpoints
from netdsl.train.data import Data, Split
from netdsl.train.losses import CrossEntropyLoss
from netdsl.train.metrics import Accuracy
from netdsl.train.optimizers import AdamW
from netdsl.train.recipe import Recipe
from netdsl.train.records import Record, Started
from netdsl.train.schedules import SCHEDULES
from netdsl.train.transforms import RandomCrop, RandomHorizontalFlip
from netdsl.train.writer import Keep

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event


LONGER = 24  # epochs of a run that saves now and then


class Net(nn.Module):
    """A small network with dropout and running statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.3)
        self.fc = nn.Linear(64, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.drop(self.norm(self.conv(x)).relu().flatten(1)))


def recipe() -> Recipe:
    return Recipe(
        model="Net",
        batch=8,
        epochs=4,
        accumulate=2,
        clip_norm=1.0,
        ema=0.9,
        loss=CrossEntropyLoss(label_smoothing=0.1),
        optimizer=AdamW(lr=0.01),
        schedule=SCHEDULES.members["CosineAnnealingLR"](T_max=4),
        augment=(RandomCrop(size=4, padding=1), RandomHorizontalFlip()),
        metrics=(Accuracy(),),
        channels_last=False,
        log_every=1,
        checkpoint_every=2,
    )


def data() -> Data:
    random = torch.Generator().manual_seed(0)
    y = torch.randint(4, (90,), generator=random)
    x = torch.randint(256, (90, 1, 4, 4), generator=random, dtype=torch.uint8)
    return Data(Split(x[:70], y[:70]), Split(x[70:], y[70:]), classes=4)


def train(folder: str, begun: Event, pace: float) -> None:
    """Train in `folder`, from its newest checkpoint where there is one; `begun` is set before the first step.

    At a `pace` of 0 it saves all the time, else now and then, and remembers the best epoch in between.
    """
    torch.set_num_threads(1)
    out = Path(folder)

    def watch(record: Record) -> None:
        if isinstance(record, Started):
            begun.set()

    changed = (
        recipe() if pace == 0 else recipe().model_copy(update={"checkpoint_every": None, "epochs": LONGER})
    )
    options = {"data": data(), "device": "cpu", "threads": 1, "keep": Keep(report=False, pace=pace)}
    run(Net, changed, out=out, resume=bool(checkpoints(out)), on_record=watch, **options)  # type: ignore[arg-type]
