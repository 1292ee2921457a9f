"""A run up to its second step, of which nothing stays: everything is checked that can be, and nothing is written."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import torch
from torch import nn

from netdsl.train.data import Data
from netdsl.train.errors import TrainError
from netdsl.train.loading import (
    Model,
    check_data,
    check_learns,
    find_device,
    load_data,
    make_model,
    try_model,
)
from netdsl.train.loop import Window, update
from netdsl.train.parameters import freeze
from netdsl.train.precision import check_machine
from netdsl.train.rates import check_cycle
from netdsl.train.recipe import Recipe
from netdsl.train.state import Run
from netdsl.train.targets import compared
from netdsl.train.warm import start_from


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


def rehearse(
    model: Model,
    recipe: Recipe,
    *,
    data: Data | None = None,
    device: str | None = None,
    epochs: int | None = None,
    download: bool = False,
    init_from: str | Path | None = None,
) -> Rehearsal:
    """Check a run with its data, and take one step of it, forward and backward; `TrainError` as `run` raises it."""
    begin = perf_counter()
    if epochs is not None:
        recipe = recipe.model_copy(update={"epochs": epochs, "steps": None})
    place = find_device(device)
    check_machine(recipe, place)
    data = data or load_data(recipe, download=download)
    check_data(data, recipe)
    module = copy.deepcopy(model) if isinstance(model, nn.Module) else make_model(model, recipe)
    notes = start_from(module, init_from) if init_from is not None else []
    freeze(module, recipe)
    check_learns(module, recipe)
    data = compared(data, recipe, try_model(module, recipe, data, place))
    try_model(module, recipe, data, place, training=True)
    state = Run(module, recipe, data, place, bool(recipe.channels_last))
    check_cycle(recipe, state.total_steps)
    loss = first_step(state)
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
        tuple(notes),
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
