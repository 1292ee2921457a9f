"""What each part of a step counts for: its batches follow one another on a device and are split among processes, and
the loss and the gradients are those of all of them as one batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from netdsl.train.metrics.base import wide

if TYPE_CHECKING:
    from netdsl.train.state import Run


@dataclass(frozen=True)
class Part:
    """A process's share of a batch. `factor` is what its `Run.part_loss` counts for in the loss of the step; None where
    it is all of it, and its loss that of the step.

    A share of no samples has one that stands in, so that all processes do the same, and which does not count.
    """

    counts: bool = True
    factor: float | Tensor | None = None


WHOLE = Part()


def parts_of(run: Run, numbers: Sequence[int], targets: Sequence[Tensor]) -> list[Part]:
    """What this process's shares of the batches `numbers` of an epoch count for; nothing here waits for the device."""
    processes, loss = run.processes, run.recipe.loss
    if processes.size == 1 and (len(numbers) == 1 or not loss.averages):
        return [WHOLE] * len(numbers)
    counts = [run.batches.count(number) for number in numbers]
    shares = [len(processes.part(count)) for count in counts]
    if not loss.averages:
        return [Part(share > 0, 1.0 if share else 0.0) for share in shares]
    if not loss.uneven:
        return [Part(share > 0, share / sum(counts)) for share in shares]
    weights = [loss.weight_of(y) * (share > 0) for y, share in zip(targets, shares, strict=True)]
    factor = 1 / processes.total(sum(weights[1:], weights[0]).to(wide(run.device)))  # of a sum
    return [Part(share > 0, factor * (share > 0)) for share in shares]


@contextmanager
def among(run: Run, part: Part, *, due: bool) -> Iterator[None]:
    """The context of a part where there are several processes; its gradients are added up where that is `due`."""
    from netdsl.train.synced import in_step

    with in_step(part.counts), run.processes.shared_gradients(run.network, due):
        yield
