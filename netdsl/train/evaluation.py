"""What a model is worth on a set of samples: the loss and metrics of a recipe, over all of them at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from netdsl.train.batches import in_order, prepare_on
from netdsl.train.data.base import Part
from netdsl.train.metrics.base import Tally
from netdsl.train.outputs import main_output, taken
from netdsl.train.precision import precision
from netdsl.train.processes import ALONE, Processes
from netdsl.train.recipe import Recipe
from netdsl.train.tallies import of_all


@torch.inference_mode()
def measured(
    model: nn.Module,
    recipe: Recipe,
    split: Part,
    device: torch.device,
    channels_last: bool = False,
    loss: nn.Module | None = None,
    processes: Processes = ALONE,
) -> dict[str, float]:
    """`loss` and each metric of `recipe` over `split`, in evaluation mode; the model's mode is left as it
    was.
    """
    loss = loss if loss is not None else recipe.loss.part.build().to(device)
    prepare = prepare_on(device, recipe, channels_last)
    tallies: dict[str, Tally] = {}
    total = torch.zeros(2, device=device)  # of the loss, and of what the samples count for
    training = model.training
    model.eval()
    task, metrics = recipe.task, recipe.named_metrics
    with precision(recipe, device):
        for x, y, counted in in_order(split, prepare, device, processes):
            given = model(x)
            output = main_output(given)
            for name, metric in metrics.items():
                if name not in tallies:
                    tallies[name] = metric.tally(output, task)
                if counted:
                    metric.add(tallies[name], output.float(), y, task)
            if counted:
                total += worth(recipe, loss(taken(given, recipe), y), y)
    model.train(training)
    summed, count = processes.total(total).tolist()
    found = {"loss": summed / count if count else float("nan")}
    everyones = of_all(tallies, processes)
    return found | {name: metric.value(everyones[name], task) for name, metric in metrics.items()}


def worth(recipe: Recipe, value: Tensor, y: Tensor) -> Tensor:
    """The loss `value` of the batch of targets `y` as a sum, and what its samples count for in the mean."""
    if recipe.loss.uneven:
        return torch.stack((value, recipe.loss.weight_of(y).to(value)))
    return torch.stack((value * len(y) if recipe.loss.averages else value, value.new_tensor(len(y))))
