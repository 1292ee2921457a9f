"""A run up to its second step, of which nothing stays: everything is checked that can be, and nothing is written."""

from __future__ import annotations

import copy
from dataclasses import dataclass, fields
from pathlib import Path
from time import perf_counter

import torch
from torch import nn

from netdsl.train.bystander import check_shares
from netdsl.train.data import Data
from netdsl.train.errors import TrainError
from netdsl.train.footprint import Footprint, footprint, watched
from netdsl.train.loading import Model, find_device
from netdsl.train.loop import Window, update
from netdsl.train.preparation import prepared
from netdsl.train.processes import plan
from netdsl.train.rates import check_cycle
from netdsl.train.recipe import Recipe
from netdsl.train.residence import shown
from netdsl.train.state import Run


@dataclass(frozen=True)
class Rehearsal:
    """What a run would be, and the loss of its first step."""

    model: str
    parameters: int
    frozen: int
    train_samples: int
    valid_samples: int
    epochs: int
    steps: int
    loss: float
    seconds: float
    notes: tuple[str, ...] = ()
    device: str = "cpu"
    precision: str = "fp32"
    sample: tuple[int, ...] = ()  # the shape of an input, as the model gets it
    classes: int | None = None
    batch: int = 1
    steps_per_epoch: int = 1
    monitor: tuple[str, bool] = ("valid_loss", False)
    memory: Footprint | None = None
    devices: int = 1

    def lines(self) -> list[str]:
        """In words, for people."""
        frozen = f", {self.frozen:,} frozen" if self.frozen else ""
        classes = f", of {self.classes} classes" if self.classes else ""
        whole, rest = divmod(self.steps, self.steps_per_epoch)
        length = f"{whole:,} epoch{'s' * (whole != 1)} of {self.steps_per_epoch:,} steps" if whole else ""
        left = f"{' and ' * bool(whole)}{rest:,} step{'s' * (rest != 1)}" if rest else ""
        column, rising = self.monitor
        return [
            *self.notes,
            f"model    {self.model or 'the model'}: {self.parameters:,} parameters learn{frozen}",
            f"data     {self.train_samples:,} samples of {list(self.sample)} to learn from{classes}; "
            f"measured on {self.valid_samples:,}",
            f"run      {length}{left}, {self.batch:,} samples a step, on {self._place()} in {self.precision}",
            f"best     by `{column}`, {'higher' if rising else 'lower'} is better",
            *([f"memory   {_in_words(self.memory)}"] if self.memory else []),
            f"the loss of the first step is {self.loss:.6g}; nothing was written",
        ]

    def _place(self) -> str:
        if self.devices == 1:
            return self.device
        return f"{self.devices} devices (tried here on one, {self.device}, with the whole batch)"


def _in_words(memory: Footprint) -> str:
    """The sum, and what it is made of, the largest first."""
    named = sorted(((f.name, getattr(memory, f.name)) for f in fields(memory)), key=lambda pair: -pair[1])
    parts = ", ".join(f"{name} {shown(size)}" for name, size in named if size)
    return f"about {shown(memory.total)}: {parts}"


def rehearse(
    model: Model,
    recipe: Recipe,
    *,
    data: Data | None = None,
    device: str | None = None,
    epochs: int | None = None,
    download: bool = False,
    init_from: str | Path | None = None,
    memory_budget: int | None = None,
    devices: int | None = None,
    nodes: int = 1,
    strategy: str | None = None,
) -> Rehearsal:
    """Check a run with its data, and take one step of it, forward and backward; `TrainError` as `run` raises it.

    A run on several devices is checked too, but its step is taken on one of them, with all samples of the batch.
    """
    begin = perf_counter()
    planned = plan(devices, nodes, strategy, device)
    check_shares(recipe, planned)
    if epochs is not None:
        recipe = recipe.model_copy(update={"epochs": epochs, "steps": None})
    place = find_device(device)
    ready = prepared(
        model,
        recipe,
        place,
        data=data,
        download=download,
        init_from=init_from,
        memory_budget=memory_budget,
        own=False,
    )
    module, data = ready.module, ready.data
    state = Run(module, recipe, data, place, bool(recipe.channels_last))
    check_cycle(recipe, state.total_steps)
    with watched(state) as kept:
        loss = first_step(state)
    first = state.batches.at(0, 0)[0]
    learned = sum(p.numel() for p in state.learned)
    return Rehearsal(
        recipe.model,
        learned,
        sum(p.numel() for p in module.parameters()) - learned,
        len(data.train),
        len(data.valid),
        state.epochs,
        state.total_steps,
        loss,
        perf_counter() - begin,
        ready.notes,
        str(place),
        recipe.precision,
        tuple(first.shape[1:]),
        data.classes if recipe.loss.targets == "classes" or recipe.loss.binary else None,
        recipe.batch * recipe.accumulate,
        state.steps_per_epoch,
        recipe.monitored,
        footprint(state, kept),
        planned.size,
    )


def check_first_step(module: nn.Module, recipe: Recipe, data: Data, device: torch.device) -> None:
    """Take the first step with a copy where it may fail for reasons that nothing else shows (E0643, E0645)."""
    if not (recipe.optimizer.sparse or recipe.compile):
        return
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        first_step(Run(copy.deepcopy(module), recipe, data, device))


def first_step(state: Run) -> float:
    """The loss of the first step, after taking it; E0643 or E0645 where the optimizer or the compiler fails."""
    recipe = state.recipe
    state.model.train()
    window = Window(state)
    state.rates.begin(0, 0)
    try:
        update(state, window)
    except RuntimeError as problem:
        reason = str(problem).strip().splitlines()[0]
        if recipe.optimizer.sparse and "dense" in str(problem):
            raise TrainError(
                "E0643",
                f"`{recipe.optimizer.kind}` takes the sparse gradients of embeddings, and the model has others",
                recipe.places.of("optimizer"),
                notes=[reason],
                helps=["write `Embedding(..., sparse = True)` and freeze the rest, or take `Adam`"],
            ) from problem
        if recipe.compile:
            raise TrainError(
                "E0645",
                "`torch.compile` cannot compile this model here",
                recipe.places.of("compile"),
                notes=[f"{type(problem).__name__}: {reason}"],
                helps=["leave `compile` out"],
            ) from problem
        raise
    return window.close(state.rates.now).loss
