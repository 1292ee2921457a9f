"""Runs beside each other: in what order, and of two of them what is not the same and what came of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from netdsl.train.records import Epoch
from netdsl.train.runs import RunFolder, differing

BY: dict[str, Callable[[RunFolder], Any]] = {
    "started": lambda run: run.record["started"],
    "run": lambda run: run.path.name,
    "model": lambda run: run.model,
    "status": lambda run: run.status,
    "epochs": lambda run: len(run.epochs),
    "seconds": lambda run: run.seconds,
    "parameters": lambda run: run.record["parameters"],
}


def in_order(runs: Sequence[RunFolder], by: str) -> list[RunFolder] | None:
    """`runs` sorted by a name of `BY`, by `best`, what they monitor, or by a column that is measured: the best first,
    and last those that have none. None where there is no such column.
    """
    if by in BY:
        return sorted(runs, key=BY[by])
    if by == "best":
        return sorted(runs, key=lambda run: (run.monitor[0], *_rank(run, *run.monitor)))
    if by not in columns(runs):
        return None
    return sorted(runs, key=lambda run: _rank(run, by, rises(run, by)))


def by_models(runs: Sequence[RunFolder]) -> dict[str, list[RunFolder]]:
    """The runs of each model, in their order: only their recipes have something to do with each other."""
    found: dict[str, list[RunFolder]] = {}
    for run in runs:
        found.setdefault(run.model, []).append(run)
    return found


def columns(runs: Sequence[RunFolder]) -> list[str]:
    """What is measured in any of `runs`."""
    return list(dict.fromkeys(name for run in runs for epoch in run.epochs[:1] for name in epoch.measured))


def rises(run: RunFolder, column: str) -> bool:
    """Whether more of what `column` measures is better."""
    from netdsl.train.metrics import METRICS

    if column == run.monitor[0]:
        return run.monitor[1]
    metric = METRICS.members.get(column.partition("_")[2])
    return metric is not None and metric.higher_is_better


def _rank(run: RunFolder, column: str, rising: bool) -> tuple[bool, float]:
    value = run.best.measured.get(column, math.nan) if run.best else math.nan
    return math.isnan(value), 0.0 if math.isnan(value) else -value if rising else value


@dataclass(frozen=True)
class Comparison:
    """Two runs: the keys of their recipes and what of their environments differ, and what both had measured at `epoch`,
    the last that both have.
    """

    runs: tuple[RunFolder, RunFolder]
    recipe: dict[str, list[Any]]
    environment: dict[str, list[Any]]
    program: bool  # whether they are of the same text
    epoch: int | None
    measured: dict[str, tuple[float, float]]


def compared(first: RunFolder, second: RunFolder) -> Comparison:
    """`first` and `second` beside each other."""
    here, there = first.environment, second.environment
    keys = [
        key for key in dict.fromkeys([*here, *there]) if key != "notes" and here.get(key) != there.get(key)
    ]
    epochs = _both(first.epochs, second.epochs)
    measured: dict[str, tuple[float, float]] = {}
    if epochs:
        a, b = epochs[0].measured, epochs[1].measured
        measured = {name: (a[name], b[name]) for name in a if name in b}
    return Comparison(
        (first, second),
        differing((first, second)),
        {key: [here.get(key), there.get(key)] for key in keys},
        _text(first) == _text(second),
        epochs[0].epoch if epochs else None,
        measured,
    )


def _both(first: Sequence[Epoch], second: Sequence[Epoch]) -> tuple[Epoch, Epoch] | None:
    """The last epoch that both have."""
    numbers = {epoch.epoch: epoch for epoch in second}
    return next(((epoch, numbers[epoch.epoch]) for epoch in reversed(first) if epoch.epoch in numbers), None)


def _text(run: RunFolder) -> bytes | None:
    """The program of a run, as its folder keeps it."""
    path = run.path / run.origin["file"] if run.origin else None
    return path.read_bytes() if path and path.is_file() else None
