"""What is particular to a run in several processes: what those do that do not write, and what must fit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from netdsl.train.checkpoint import Snapshot, write_checkpoint
from netdsl.train.errors import TrainError
from netdsl.train.processes import Processes
from netdsl.train.recipe import Recipe
from netdsl.train.records import Epoch, Record, Saved, Started, Stopped
from netdsl.train.state import Run


class Bystander:
    """Stands where the main process has its `Writer`, and gives it what it needs of this one for a checkpoint."""

    def __init__(self, run: Run, folder: Path) -> None:
        self.run, self.folder = run, folder
        self.epochs: list[Epoch] = []
        self.history = SimpleNamespace(epochs=self.epochs)

    def __call__(self, record: Record) -> None:
        if isinstance(record, Epoch):
            self.epochs.append(record)

    def save(self, at: Snapshot) -> Saved | None:
        return write_checkpoint(self.run, at, self.folder)

    def with_last_good(self, problem: TrainError) -> TrainError:
        """The same problem; the main process says more of it."""
        return problem

    def end(self, stopped: Stopped, seconds: float, started: Started) -> None:
        """Nothing is left to write here."""

    def close(self) -> None:
        """Nothing is open here."""


def check_shares(recipe: Recipe, processes: Processes) -> None:
    """Refuse a recipe that several processes cannot follow (E0671), as a batch of which some never have a sample."""
    if recipe.batch < processes.size:
        raise TrainError(
            "E0671",
            f"a batch of {recipe.batch} cannot be split among {processes.size} processes",
            recipe.places.of("batch"),
            helps=[f"take a `batch` of {processes.size} or more, or fewer devices"],
        )
    if recipe.precision == "fp16" and not processes.whole_model:
        raise TrainError(
            "E0671",
            "`precision = fp16` scales gradients, which `fsdp` keeps in pieces",
            recipe.places.of("precision"),
            helps=["write `precision = bf16`, or train with `--strategy ddp`"],
        )


def changed_machine(state: Mapping[str, Any], processes: Processes, device: str) -> list[str]:
    """What to say of a checkpoint that another number of processes, or another kind of device, has written."""
    before, notes = len(state["random"]), []
    if state["device"] != device:
        notes.append(
            f"from {state['device']} to {device}: sums round otherwise, and dropout on a GPU draws anew"
        )
    if before == processes.size:
        return notes
    return [
        *notes,
        f"from {before} process{'es' * (before != 1)} to {processes.size}: batches and rates go on as they were, up to "
        "rounding; dropout and random transforms draw anew",
    ]
