"""Short runs in as many processes as there are: `torchrun --nproc-per-node 2 -m tests.in_processes ddp FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from netdsl.train.data import Data, Split
from netdsl.train.loop import fit
from netdsl.train.losses import CrossEntropyLoss
from netdsl.train.metrics import Accuracy, F1Score
from netdsl.train.optimizers import SGD, Adam
from netdsl.train.processes import Processes, join
from netdsl.train.recipe import Recipe
from netdsl.train.records import Epoch, Step
from netdsl.train.state import Run
from netdsl.train.transforms import CutMix, MixUp

CPU = torch.device("cpu")


class Net(nn.Module):
    """With running statistics, which must be those of all samples."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.fc = nn.Linear(64, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.blocks(x).flatten(1))


def data() -> Data:
    """33 samples, so that the last batch of 8 has one, of which two processes cannot both have a share."""
    random = torch.Generator().manual_seed(0)
    y = torch.randint(4, (33,), generator=random)
    x = torch.rand(33, 1, 4, 4, generator=random, dtype=torch.float64)
    return Data(Split(x, y), Split(x[:17], y[:17]), classes=4)


CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "accumulated": {"accumulate": 2},
    "classes that count differently": {"loss": CrossEntropyLoss(weight=(1.0, 2.0, 0.5, 3.0))},
    "a sum": {"loss": CrossEntropyLoss(reduction="sum"), "optimizer": SGD(lr=0.01)},
    "mixed": {"augment": (MixUp(), CutMix(alpha=0.5))},
    "averaged and clipped": {"optimizer": Adam(lr=0.01, eps=1e-3), "ema": 0.9, "clip_norm": 0.1},
}


def begin(processes: Processes, changes: dict[str, Any], epochs: int = 2) -> Run:
    torch.manual_seed(0)
    base: dict[str, Any] = {
        "model": "Net",
        "batch": 8,
        "epochs": epochs,
        "loss": CrossEntropyLoss(),
        "optimizer": SGD(lr=0.1, momentum=0.9),
        "metrics": (Accuracy(), F1Score()),
        "log_every": 1,
        "channels_last": False,
    }
    run = Run(Net().double(), Recipe(**base | changes), data(), CPU, False, processes)
    run.loss.double(), run.part_loss.double()
    return run


def outcome(run: Run) -> dict[str, Any]:
    """What is left of a run when it is over."""
    records = list(fit(run))
    return {
        "weights": run.weights(),
        "averaged": run.averaged() or {},
        "losses": [record.loss for record in records if isinstance(record, Step)],
        "measured": [dict(record.measured) for record in records if isinstance(record, Epoch)],
    }


def resumed(processes: Processes) -> dict[str, Any]:
    """The outcome of a run that is stopped in the middle of an epoch, and goes on from what it has kept."""
    stopped = begin(processes, CASES["averaged and clipped"])
    for record in fit(stopped):
        if isinstance(record, Step) and record.step == 3:
            break
    kept = stopped.weights(), stopped.state()
    if processes.main:
        torch.save(kept, Path(sys.argv[2]) / f"state-{processes.size}.pt")
    again = begin(processes, CASES["averaged and clipped"])
    again.load(*kept)
    return outcome(again)


def main(strategy: str, folder: Path) -> None:
    torch.set_num_threads(1)
    processes = join(strategy=strategy)
    found = {name: outcome(begin(processes, changes)) for name, changes in CASES.items()}
    found["resumed"] = resumed(processes)
    torch.save(found, folder / f"{strategy}-{processes.size}-{processes.rank}.pt")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
