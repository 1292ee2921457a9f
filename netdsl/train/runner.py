"""A trained model, ready to be asked: in evaluation mode, on its device, in the precision and layout of its run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from netdsl.train.batches import prepare_on
from netdsl.train.errors import TrainError
from netdsl.train.outputs import main_output
from netdsl.train.precision import precision
from netdsl.train.recipe import Recipe


class Runner:
    """From raw samples, as a source gives them, to outputs in float32 on the CPU."""

    def __init__(self, module: nn.Module, recipe: Recipe, place: torch.device, channels_last: bool) -> None:
        self.module, self.recipe, self.place = laid_out(module.to(place), channels_last).eval(), recipe, place
        self.prepare = prepare_on(place, recipe, channels_last)

    def __call__(self, x: Tensor) -> Tensor:
        """Raises `TrainError` E0636 where the model does not take such samples."""
        try:
            with precision(self.recipe, self.place):
                output = main_output(self.module(self.prepare(x.to(self.place, copy=True))))
        except (RuntimeError, ValueError, IndexError) as problem:
            name = self.recipe.model or "the model"
            message = f"`{name}` does not take samples of {list(x.shape[1:])}"
            raise TrainError("E0636", message, notes=[str(problem).splitlines()[0]]) from problem
        return output.float().cpu()


def laid_out(module: nn.Module, channels_last: bool) -> nn.Module:
    """`module` with its weights in the memory layout of a run."""
    return module.to(memory_format=torch.channels_last) if channels_last else module  # type: ignore[call-overload]


@contextmanager
def threads_of(count: int | None) -> Iterator[None]:
    """So many threads for a while, as sums depend on it; as many as before without a number."""
    before = torch.get_num_threads()
    try:
        if count is not None:
            torch.set_num_threads(count)
        yield
    finally:
        torch.set_num_threads(before)
