"""A model's outputs in training: the first is compared and measured, the others, auxiliary ones, add to the loss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from netdsl.train.component import listed
from netdsl.train.errors import TrainError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from netdsl.diagnostics import Report
    from netdsl.ir.graph import Graph
    from netdsl.train.recipe import Recipe


def outputs_of(output: Any) -> list[Tensor]:
    """What a model gives, as a list: of a tuple or a mapping its tensors, without those that there are in training
    only.

    >>> outputs_of((1, None, 2)), outputs_of({"out": 1}), outputs_of(1)
    ([1, 2], [1], [1])
    """
    if isinstance(output, Mapping):
        return [value for value in output.values() if value is not None]
    if isinstance(output, tuple):
        return [value for value in output if value is not None]
    return [output]


def main_output(output: Any) -> Tensor:
    """The output that is compared and measured: the first."""
    return outputs_of(output)[0]


def names_beside(output: Any) -> list[str]:
    """What the outputs beside the first are called.

    >>> names_beside({"out": 1, "aux": 2}), names_beside((1, 2))
    (['aux'], ['output 2'])
    """
    if isinstance(output, Mapping):
        return [str(name) for name, value in output.items() if value is not None][1:]
    values = output if isinstance(output, tuple) else (output,)
    names = getattr(output, "_fields", None) or [f"output {number}" for number, _ in enumerate(values, 1)]
    return [name for name, value in zip(names, values, strict=True) if value is not None][1:]


def compare(loss: nn.Module, output: Any, y: Tensor, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """The loss of all outputs, those beside the first by their weights, and the first one."""
    first, *others = outputs_of(output)
    if recipe.loss.several:
        return loss(taken(output, recipe), y), first
    total = loss(first, y)
    for weight, other in zip(weights(recipe, len(others)), others, strict=True):
        total = total + weight * loss(other, y)
    return total, first


def taken(output: Any, recipe: Recipe) -> Any:
    """What the loss takes of a model's output: the first, or all where it is a loss of several."""
    return tuple(outputs_of(output)) if recipe.loss.several else main_output(output)


def weights(recipe: Recipe, count: int) -> Sequence[float]:
    """What the losses of `count` auxiliary outputs count for."""
    weight = recipe.aux_weight
    return weight if isinstance(weight, tuple) else [weight or 0.0] * count


def check_weights(recipe: Recipe, names: Sequence[str]) -> None:
    """Refuse auxiliary outputs, called `names`, without weights (E0615), and weights without outputs (E0608)."""
    problem = next(_problems(recipe, names), None)
    if problem:
        raise problem


def check_outputs(recipe: Recipe, graph: Graph, report: Report) -> None:
    """The same of a model that is not yet built."""
    names = [output.name or f"output {number}" for number, output in enumerate(graph.outputs, 1)][1:]
    for problem in _problems(recipe, names):
        report.add(problem.diagnostic)


def _problems(recipe: Recipe, names: Sequence[str]) -> Iterator[TrainError]:
    weight, called = recipe.aux_weight, f"`{recipe.model or 'the model'}`"
    takes = recipe.loss.takes
    if len(takes) > 1:
        if len(names) + 1 != len(takes):
            message = f"`{recipe.loss.kind}` takes {len(takes)} outputs, and {called} gives {len(names) + 1}"
            helps = [f"they are {listed(takes)}, in this order"]
            yield TrainError("E0615", message, recipe.places.of("loss"), helps=helps)
        if weight is not None:
            message = f"`aux_weight` is for outputs that are compared alike, and `{recipe.loss.kind}` takes all of them"
            yield TrainError("E0608", message, recipe.places.of("aux_weight"), helps=["leave it out"])
        return
    if names and weight is None:
        yield TrainError(
            "E0615",
            f"{called} gives {listed(names)} beside its first output, and the recipe does not say what their losses "
            "count for",
            recipe.places.block,
            notes=["all outputs are compared with the target"],
            helps=[
                "add `aux_weight = 0.3`, or a list with a weight for each; 0 leaves an output out of the loss"
            ],
        )
    elif weight is not None and not names:
        yield TrainError(
            "E0608",
            f"`aux_weight` is for outputs beside the first, and {called} has one output",
            recipe.places.of("aux_weight"),
            helps=["leave it out"],
        )
    elif isinstance(weight, tuple) and len(weight) != len(names):
        yield TrainError(
            "E0608",
            f"`aux_weight` is {len(weight)} number{'s' * (len(weight) != 1)}, and {called} gives {len(names)} outputs "
            f"beside the first: {listed(names)}",
            recipe.places.of("aux_weight"),
        )
