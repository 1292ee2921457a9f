"""`Run`: the whole mutable state of a training run. What `state` returns is the checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from netdsl.train.batches import Batches
from netdsl.train.data import Data
from netdsl.train.ema import Ema, averaged
from netdsl.train.memory import keep_freed_memory
from netdsl.train.metrics.base import Tally
from netdsl.train.parameters import Penalties, build_optimizer
from netdsl.train.precision import compiled, precision
from netdsl.train.processes import ALONE, Processes
from netdsl.train.randomness import begin_streams, continue_streams, streams
from netdsl.train.rates import Rates
from netdsl.train.recipe import Recipe
from netdsl.train.rewritten import rewritten
from netdsl.train.seen import Seen
from netdsl.train.tallies import added_up, moved

if TYPE_CHECKING:
    from netdsl.train.capture import Captured


class Run:
    """A model with its optimizer, its place in the data and what was measured of the epoch so far.

    `step` counts updates of the weights and `epoch` the epochs that are over. Made by `Run(...)` at the
    start; `load` puts it where a checkpoint was.
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        data: Data,
        device: torch.device,
        channels_last: bool = False,
        processes: Processes = ALONE,
        identity: Mapping[str, Any] | None = None,
    ) -> None:
        self.processes = processes
        self.identity = identity or {}  # of `netdsl.train.sameness`, for whoever goes on with the run
        self.recipe, self.data, self.device, self.channels_last = recipe, data, device, channels_last
        if device.type == "cpu":
            keep_freed_memory()
        self.model = model.to(device)
        if channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        # What is called in training.
        self.network = rewritten(self.model) if processes.size == 1 else processes.network(self.model)
        if recipe.compile:
            self.network = compiled(self.network)
        self.loss = recipe.loss.build().to(device)
        # The loss of a part of a step: where samples count differently, their sum is divided by what all count for.
        self.part_loss = recipe.loss.part.build().to(device) if recipe.loss.uneven else self.loss
        self.learned = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = build_optimizer(self.model, recipe)
        self.penalties = Penalties(self.model, recipe)
        self.scaler = torch.amp.GradScaler(device.type) if recipe.precision == "fp16" else None
        self.batches = Batches(data.train, recipe, device, channels_last, processes, data.classes)
        self.ema = Ema(self.model, recipe.ema) if recipe.ema else None
        self.step = self.epoch = 0
        self.rates = Rates(recipe, self.optimizer, self.total_steps, self.epochs)
        self.best: float | None = None
        self.better: float | None = None  # the last epoch that was better by `min_delta`
        self.best_epoch = self.better_epoch = 0
        self.stop_requested = False  # in this process
        self.ending = False  # by all of them, in the same step
        self.tallies: dict[str, Tally] = {}
        self.seen = Seen(self)
        self.captured: Captured | None = None
        self.clear_epoch()
        # From here on dropout draws the same numbers, whatever the initial weights have drawn.
        self.seed_random()

    def seed_random(self) -> None:
        """Begin the stream of random numbers of this process, at the step where the run is."""
        rank = self.processes.rank
        begin_streams(self.recipe.seed, -1, *([rank, self.step] if rank or self.step else []))

    @cached_property
    def _described(self) -> dict[str, Any]:
        return self.recipe.described()

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

    def asked_to_stop(self) -> bool:
        """Whether the run is to end here; the answer is the same in all processes."""
        self.ending = self.processes.stopping(self.stop_requested)
        return self.ending

    def precision(self) -> AbstractContextManager[Any]:
        """The context in which the model runs."""
        return precision(self.recipe, self.device)

    def weights(self) -> dict[str, Tensor]:
        """The model's weights, in one piece; every process must ask for them."""
        return self._whole(self.model.state_dict())

    def averaged(self) -> dict[str, Tensor] | None:
        """The averaged weights, in one piece; None where the recipe has no `ema`."""
        return self._whole(averaged(self.model, self.ema)) if self.ema else None

    def state(self) -> dict[str, Any]:
        """Everything that changes during a run, but the weights: tensors and plain values only.

        Every process must ask for it. What each has for itself is a list with an item for each of them.
        """
        own = {"random": streams(self.device), "tallies": moved(self.tallies, torch.device("cpu"))}
        all_own = self.processes.gathered(own)
        return {
            "recipe": self._described,
            "identity": self.identity,
            "device": self.device.type,
            "optimizer": self._whole(self.optimizer.state_dict()),
            "ema": self._whole(self.ema.state()) if self.ema else None,
            "schedule": self.rates.state(),
            "scaler": self.scaler.state_dict() if self.scaler else None,
            "numbers": {name: getattr(self, name) for name in _NUMBERS},
            "tallies": [each["tallies"] for each in all_own],
            "random": [each["random"] for each in all_own],
        }

    def load(self, weights: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Be where the run was that `weights` and `state` were taken of.

        With another number of processes than it had then, the random numbers begin anew at this step: the run is the
        same only where it draws none.
        """
        kept = self.model.state_dict()
        self.model.load_state_dict(
            {name: self.processes.like(w, kept.get(name, w)) for name, w in weights.items()}
        )
        self._load_optimizer(state["optimizer"])
        self.rates.load(state["schedule"])
        if self.scaler:
            self.scaler.load_state_dict(state["scaler"])
        if self.ema:
            self.ema.load(
                [self.processes.like(a, b) for a, b in zip(state["ema"], self.ema.average, strict=True)]
            )
        for name in _NUMBERS:
            setattr(self, name, state["numbers"][name])
        if self.epoch * self.steps_per_epoch > self.step < self.total_steps:
            self.epoch -= 1  # the run had fewer `steps`, which ended in the middle of it
        self.captured = None  # it has the tensors that were
        rank, size = self.processes.rank, self.processes.size
        if len(state["random"]) == size:
            self.tallies = moved(state["tallies"][rank], self.device)
            continue_streams(state["random"][rank], self.device)
        else:
            self.tallies = moved(added_up(state["tallies"]), self.device) if self.processes.main else {}
            self.seed_random()

    def _load_optimizer(self, state: Mapping[str, Any]) -> None:
        """The optimizer's state; of a parameter that is kept in pieces, what has its shape is cut alike."""
        learned = [p for group in self.optimizer.param_groups for p in group["params"]]
        numbers = [number for group in state["param_groups"] for number in group["params"]]
        kept = dict(zip(numbers, learned, strict=True))
        found = {
            number: {
                name: self.processes.like(v, kept[number]) if _is_tensor(v) else v
                for name, v in values.items()
            }
            for number, values in state["state"].items()
        }
        self.optimizer.load_state_dict({**state, "state": found})

    def _whole(self, value: Any) -> Any:
        """`value` with every tensor in it in one piece."""
        if isinstance(value, Tensor):
            return self.processes.whole(value)
        if isinstance(value, Mapping):
            return {key: self._whole(item) for key, item in value.items()}
        return [self._whole(item) for item in value] if isinstance(value, list) else value


def _is_tensor(value: object) -> bool:
    return isinstance(value, Tensor)


_NUMBERS = ("step", "epoch", "best", "best_epoch", "better", "better_epoch", "loss_sum", "samples", "seconds")
