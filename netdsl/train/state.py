"""`Run`: the whole mutable state of a training run. What `state` returns is the checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from netdsl.train.batches import Batches, mixed
from netdsl.train.data import Data
from netdsl.train.ema import Ema
from netdsl.train.recipe import Recipe


class Run:
    """A model with its optimizer, its place in the data and what was measured of the epoch so far.

    `step` counts updates of the weights and `epoch` the epochs that are over. Made by `Run(...)` at the
    start; `load` puts it where a checkpoint was.
    """

    def __init__(
        self, model: nn.Module, recipe: Recipe, data: Data, device: torch.device, channels_last: bool = False
    ) -> None:
        self.recipe, self.data, self.device, self.channels_last = recipe, data, device, channels_last
        self.model = model.to(device)
        if channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.loss = recipe.loss.build().to(device)
        self.learned = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = recipe.optimizer.build(self.learned)
        self.batches = Batches(data.train, recipe, device, channels_last)
        self.ema = Ema(self.model, recipe.ema) if recipe.ema else None
        self.step = self.epoch = 0
        self.best: float | None = None
        self.best_epoch = 0
        self.stop_requested = False
        self.tallies: dict[str, Tensor] = {}
        self.clear_epoch()
        # From here on dropout draws the same numbers, whatever the initial weights have drawn.
        torch.manual_seed(mixed(recipe.seed, -1))

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self.batches) // self.recipe.accumulate)

    @property
    def total_steps(self) -> int:
        return self.recipe.steps or self.recipe.epochs * self.steps_per_epoch

    @property
    def epochs(self) -> int:
        return -(-self.total_steps // self.steps_per_epoch)

    def clear_epoch(self) -> None:
        """Forget what was measured of the epoch so far."""
        self.loss_sum, self.samples, self.seconds = 0.0, 0, 0.0
        self.tallies.clear()

    def precision(self) -> AbstractContextManager[Any]:
        """The context in which the model runs."""
        if self.recipe.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def state(self) -> dict[str, Any]:
        """Everything that changes during a run, but the weights: tensors and plain values only."""
        return {
            "recipe": self.recipe.described(),
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema.state() if self.ema else None,
            "tallies": dict(self.tallies),
            "numbers": {name: getattr(self, name) for name in _NUMBERS},
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
        }

    def load(self, weights: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Be where the run was that `weights` and `state` were taken of."""
        self.model.load_state_dict(weights)
        self.optimizer.load_state_dict(state["optimizer"])
        if self.ema:
            self.ema.load(state["ema"])
        self.tallies = {name: tally.to(self.device) for name, tally in state["tallies"].items()}
        for name in _NUMBERS:
            setattr(self, name, state["numbers"][name])
        torch.set_rng_state(state["random"])
        if state["random_cuda"] is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(state["random_cuda"], self.device)


_NUMBERS = ("step", "epoch", "best", "best_epoch", "loss_sum", "samples", "seconds")
