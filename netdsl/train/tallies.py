"""The tallies of metrics, by name, wherever they are: sums, which add up, or rows, which are put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from netdsl.train.metrics.base import Tally
from netdsl.train.processes import Processes


def of_all(tallies: Mapping[str, Tally], processes: Processes) -> Mapping[str, Tally]:
    """The tallies of all processes as one; every process must ask for them."""
    if processes.size == 1:
        return tallies
    return added_up(processes.gathered(moved(tallies, torch.device("cpu"))))


def added_up(tallies: Sequence[Mapping[str, Tally]]) -> dict[str, Tally]:
    """Several tallies of the same metrics as one.

    >>> added_up([{"accuracy": torch.tensor(2)}, {"accuracy": torch.tensor(3)}])
    {'accuracy': tensor(5)}
    """
    found: dict[str, Tally] = {}
    for each in tallies:
        for name, tally in each.items():
            if name not in found:
                found[name] = list(tally) if isinstance(tally, list) else tally.clone()
            elif isinstance(tally, list):
                found[name] = [*found[name], *tally]
            else:
                found[name] = found[name] + tally  # type: ignore[operator]
    return found


def moved(tallies: Mapping[str, Tally], device: torch.device) -> dict[str, Tally]:
    """The tallies on `device`."""
    return {
        name: [row.to(device) for row in tally] if isinstance(tally, list) else tally.to(device)
        for name, tally in tallies.items()
    }
