"""From a model and a recipe to what a run begins with: everything is looked at, in one order, before the first step."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from netdsl.train.data import Data
from netdsl.train.loading import (
    Model,
    check_learns,
    keep_data,
    load_data,
    make_model,
    try_model,
)
from netdsl.train.parameters import freeze
from netdsl.train.precision import check_machine
from netdsl.train.processes import ALONE, Processes
from netdsl.train.recipe import Recipe
from netdsl.train.residence import Progress
from netdsl.train.samples import check_data
from netdsl.train.targets import compared
from netdsl.train.warm import start_from


@dataclass(frozen=True)
class Prepared:
    """A model with its first weights, its data as the loss compares it, and what came to light on the way."""

    module: nn.Module
    data: Data
    notes: tuple[str, ...]


def prepared(
    model: Model,
    recipe: Recipe,
    device: torch.device,
    *,
    data: Data | None = None,
    download: bool = False,
    fitted: Mapping[str, Any] | None = None,
    memory_budget: int | None = None,
    init_from: str | Path | None = None,
    processes: Processes = ALONE,
    own: bool = True,
    progress: Progress | None = None,
) -> Prepared:
    """What a run of `model` begins with, on `device`; `TrainError` for whatever does not fit.

    A module that is not the run's `own` is left as it is. `fitted` is what the preprocessing of an earlier run has
    learned, and the rest is as `netdsl.train.run` takes it.
    """
    check_machine(recipe, device)
    found = data or _loaded(processes, recipe, download, fitted)
    data, kept = keep_data(found, recipe, device, memory_budget, progress)
    check_data(data, recipe)
    module = copy.deepcopy(model) if isinstance(model, nn.Module) and not own else make_model(model, recipe)
    started = start_from(module, init_from) if init_from is not None else []
    freeze(module, recipe)
    check_learns(module, recipe)
    data = compared(data, recipe, try_model(module, recipe, data, device))
    try_model(module, recipe, data, device, training=True)
    return Prepared(module, data, (*([kept] if kept else ()), *started))


def _loaded(processes: Processes, recipe: Recipe, download: bool, fitted: Mapping[str, Any] | None) -> Data:
    """The data; where it may have to be fetched, the main process does that before the others look."""
    if processes.size == 1 or not (download or getattr(recipe.data, "download", False)):
        return load_data(recipe, download=download, fitted=fitted)
    found: list[Data] = []
    processes.from_main(lambda: found.append(load_data(recipe, download=download, fitted=fitted)))
    return found[0] if found else load_data(recipe, fitted=fitted)
