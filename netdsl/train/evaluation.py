"""What a model is worth on a set of samples: the loss and metrics of a recipe, over all of them at once."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from netdsl.train.batches import in_order, prepare_on
from netdsl.train.data import Split
from netdsl.train.recipe import Recipe


@torch.inference_mode()
def measured(
    model: nn.Module,
    recipe: Recipe,
    split: Split,
    device: torch.device,
    channels_last: bool = False,
    loss: nn.Module | None = None,
) -> dict[str, float]:
    """`loss` and each metric of `recipe` over `split`, in evaluation mode; the model's mode is left as it
    was.
    """
    loss = loss if loss is not None else recipe.loss.build().to(device)
    prepare = prepare_on(device, recipe, channels_last)
    precise = recipe.precision == "fp32"
    context = nullcontext() if precise else torch.autocast(device.type, dtype=torch.bfloat16)
    tallies: dict[str, Tensor] = {}
    total = torch.zeros((), device=device)
    training = model.training
    model.eval()
    with context:
        for x, y in in_order(split, prepare, device):
            output = model(x)
            value = loss(output, y)
            total += value * len(y) if recipe.loss.reduction == "mean" else value
            for metric in recipe.metrics:
                if metric.kind not in tallies:
                    tallies[metric.kind] = metric.tally(output)
                metric.add(tallies[metric.kind], output, y)
    model.train(training)
    found = {"loss": float(total) / len(split)}
    return found | {m.kind: m.value(tallies[m.kind], len(split)) for m in recipe.metrics}
