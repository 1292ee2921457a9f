"""The outputs of training steps on their way into the tallies: those of many small steps go at once, where that gives
the same numbers, as one operation costs much more than one more sample.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from netdsl.train.metrics import Metric

if TYPE_CHECKING:
    from netdsl.train.state import Run

WAITING = 1 << 16  # values of outputs that are kept at most


class Seen:
    """Outputs and targets of the batches of a run, for its metrics. Its tallies are whole after `flush`."""

    def __init__(self, run: Run) -> None:
        self.run, self.task = run, run.recipe.task
        self.shares = run.recipe.loss.targets == "classes"
        metrics = run.recipe.named_metrics
        self.together = {name: metric for name, metric in metrics.items() if metric.counts_exactly(self.task)}
        self.alone = {name: metric for name, metric in metrics.items() if name not in self.together}
        self.outputs: list[Tensor] = []
        self.targets: list[Tensor] = []
        self.values = 0

    def add(self, output: Tensor, target: Tensor, counted: bool = True) -> None:
        if self.shares and target.is_floating_point():
            target = target.argmax(1)  # of samples that were mixed, the class with the largest share
        if self.alone or not counted:
            self._add(self.alone if counted else self.run.recipe.named_metrics, output, target, counted)
        if self.together and counted:
            self.outputs.append(output)
            self.targets.append(target)
            self.values += output.numel()
            if self.values > WAITING:
                self.flush()

    def flush(self) -> None:
        """Bring the tallies of the run up to date."""
        if self.outputs:
            output, target = (
                torch.cat(kept) if len(kept) > 1 else kept[0] for kept in (self.outputs, self.targets)
            )
            self._add(self.together, output, target, counted=True)
        self.outputs, self.targets, self.values = [], [], 0

    def _add(self, metrics: dict[str, Metric], output: Tensor, target: Tensor, counted: bool) -> None:
        output = output.float()
        for name, metric in metrics.items():
            tally = self.run.tallies.get(name)
            if tally is None:
                tally = self.run.tallies[name] = metric.tally(output, self.task)
            if counted:
                metric.add(tally, output, target, self.task)
