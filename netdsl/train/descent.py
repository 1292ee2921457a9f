"""From the loss to new weights: scaling, penalties, clipping and the optimizer's step. Nothing here waits for the
device, unless the optimizer itself does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from netdsl.train.state import Run


def descend(run: Run, gradients: Callable[[bool], Tensor]) -> tuple[Tensor, Tensor | None]:
    """One step of the optimizer; the loss before it, and the norm of the gradients where they are clipped by it.

    `gradients(first)` adds the gradients of the step to the parameters and gives the loss; optimizers that search ask
    for it again and again.
    """
    if not run.recipe.optimizer.repeats:
        loss = gradients(True)
        norm = _clipped(run)
        if run.scaler is None:
            run.optimizer.step()
        else:
            run.scaler.step(run.optimizer)
            run.scaler.update()
        return loss, norm
    found: list[tuple[Tensor, Tensor | None]] = []

    def again() -> Tensor:
        run.optimizer.zero_grad(set_to_none=True)
        loss = gradients(not found)
        found.append((loss, _clipped(run)))
        return loss + run.penalties().detach() if run.penalties else loss

    run.optimizer.step(again)  # type: ignore[arg-type]
    return found[0]


def backward(run: Run, loss: Tensor, *, penalised: bool) -> None:
    """Add the gradients of `loss` to those of the parameters, and once a step those of the penalties."""
    if penalised and run.penalties:
        loss = loss + run.penalties()
    (loss if run.scaler is None else run.scaler.scale(loss)).backward()


def _clipped(run: Run) -> Tensor | None:
    recipe = run.recipe
    if recipe.clip_norm is None and recipe.clip_value is None:
        return None
    if run.scaler is not None:
        run.scaler.unscale_(run.optimizer)
    if recipe.clip_value is not None:
        torch.nn.utils.clip_grad_value_(run.learned, recipe.clip_value)
    if recipe.clip_norm is None:
        return None
    return torch.nn.utils.clip_grad_norm_(run.learned, recipe.clip_norm)
