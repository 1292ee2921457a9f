"""The parameters of a model as a recipe wants them: which learn, in which groups, and what is added to the loss."""

from __future__ import annotations

from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from netdsl.diagnostics import Report
from netdsl.train.agreement import check_shapes
from netdsl.train.errors import TrainError
from netdsl.train.groups import L1, check_patterns, grouped
from netdsl.train.recipe import Recipe


def freeze(model: nn.Module, recipe: Recipe) -> None:
    """Keep what `freeze` names as it is; E0640, E0643 or E0615 for what the model's own parameters do not allow."""
    named = {name: tuple(p.shape) for name, p in model.named_parameters() if p.requires_grad}
    report = Report()
    check_patterns(recipe, list(named), report)
    if not report.has_errors:
        check_shapes(recipe, named, report)
    for problem in report.errors:
        span = problem.labels[0].span if problem.labels else None
        raise TrainError(problem.code, problem.message, span, problem.notes, problem.helps)
    for name, parameter in model.named_parameters():
        if any(fnmatchcase(name, pattern) for pattern in recipe.freeze):
            parameter.requires_grad_(False)


def build_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimizer over what learns, in the groups that its rules make."""
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    groups = grouped(list(named), recipe.rules)
    if len(groups) == 1 and not groups[0][0]:
        return recipe.optimizer.build(list(named.values()))
    return recipe.optimizer.build(
        [{"params": [named[name] for name in members], **changes} for changes, members in groups]
    )


class Penalties:
    """The penalty terms of a recipe over a model's parameters."""

    def __init__(self, model: nn.Module, recipe: Recipe) -> None:
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        self.terms = [
            (isinstance(term, L1), term.factor, [p for name, p in named if fnmatchcase(name, term.pattern)])
            for term in recipe.penalty
        ]

    def __bool__(self) -> bool:
        return bool(self.terms)

    def __call__(self) -> Tensor:
        """Their sum, one number with a gradient."""
        parts = [
            factor * torch.stack([p.abs().sum() if absolute else p.square().sum() for p in parameters]).sum()
            for absolute, factor, parameters in self.terms
        ]
        return torch.stack(parts).sum()
