"""How a model runs fastest here: with how many threads and in which memory layout, by a short measurement.

Small models are often several times faster with one thread, and convolutions with channels last; which,
depends on the machine and its load. A resumed run keeps what was chosen, as the order of additions follows
from it.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from time import perf_counter, thread_time

import torch
from torch import nn

from netdsl.train.data import Data
from netdsl.train.loop import Window, update
from netdsl.train.recipe import Recipe
from netdsl.train.state import Run

WORTHWHILE = 200  # steps: a shorter run is over before a measurement pays
SECONDS = 0.8  # for each number of threads
ROUNDS = 10
STEPS = 4
HOPELESS = 4  # times as slow as another setup
MARGIN = 0.97  # a setting further from torch's default in cost must be that much faster


@dataclass(frozen=True)
class Setup:
    """Threads and layout of a run, and where they come from."""

    threads: int
    channels_last: bool
    note: str = ""


def choose_setup(
    model: nn.Module, recipe: Recipe, data: Data, device: torch.device, threads: int | None
) -> Setup:
    """The setup for training `model`: what is asked for, then the fastest. `model` is not changed."""
    counts = _thread_counts(device, threads)
    layouts = _layouts(model, recipe, data)
    steps = recipe.steps or recipe.epochs * -(-len(data.train) // recipe.batch)
    if len(counts) * len(layouts) == 1 or steps < WORTHWHILE:
        return Setup(counts[0], layouts[0])
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        times = _measure(model, recipe, data, device, list(product(counts, layouts)))
    best = min(
        times, key=lambda setup: times[setup] * (1 if setup == (counts[0], layouts[0]) else 1 / MARGIN)
    )
    shown = ", ".join(f"{_named(*setup, device)} {1e3 * t:.2f} ms" for setup, t in times.items())
    return Setup(*best, note=f"measured a step: {shown}")


def _thread_counts(device: torch.device, threads: int | None) -> list[int]:
    if threads:
        return [threads]
    most = torch.get_num_threads()
    if device.type != "cpu" or "OMP_NUM_THREADS" in os.environ or most == 1:
        return [most]
    return [1, most] if most < 8 else [1, most // 2, most]


def _layouts(model: nn.Module, recipe: Recipe, data: Data) -> list[bool]:
    if recipe.channels_last is not None:
        return [recipe.channels_last]
    convolves = any(p.dim() == 4 for p in model.parameters()) and data.train.first(1).x.dim() == 4
    return [False, True] if convolves else [False]


def _measure(
    model: nn.Module, recipe: Recipe, data: Data, device: torch.device, setups: list[tuple[int, bool]]
) -> dict[tuple[int, bool], float]:
    """Seconds a step of each setup, the best of several rounds in which the layouts take turns.

    Numbers of threads do not take turns, fewest first: threads that have just worked wait busily for more,
    and would slow down what comes next.
    """
    few = recipe.batch * recipe.accumulate
    part = Data(data.train.first(few), data.valid, data.classes)
    times = dict.fromkeys(setups, float("inf"))
    before = torch.get_num_threads()
    try:
        for threads in sorted({threads for threads, _ in setups}):
            torch.set_num_threads(threads)
            layouts = [last for count, last in setups if count == threads]
            runs = {last: Run(copy.deepcopy(model), recipe, part, device, last) for last in layouts}
            for last, time in _rounds(runs, HOPELESS * min(times.values())).items():
                times[threads, last] = time
    finally:
        torch.set_num_threads(before)
    return times


def _rounds(runs: dict[bool, Run], limit: float) -> dict[bool, float]:
    """The fastest seconds a step of each, in rounds until the time is up.

    The first round warms up, and counts only where all of it took longer than `limit`: then there is no
    other.
    """
    times = {last: _time_steps(run, 2) for last, run in runs.items()}
    if min(clock for clock, _ in times.values()) > limit:
        return {last: clock for last, (clock, _) in times.items()}
    times = {last: (float("inf"), float("inf")) for last in runs}
    start = perf_counter()
    for _ in range(ROUNDS):
        for last, run in runs.items():
            clock, own = _time_steps(run, STEPS)
            times[last] = min(times[last][0], clock), min(times[last][1], own)
        if perf_counter() - start > SECONDS:
            break
    alone = torch.get_num_threads() == 1 and all(run.device.type == "cpu" for run in runs.values())
    return steadied(times) if alone else {last: clock for last, (clock, _) in times.items()}


def steadied(times: Mapping[bool, tuple[float, float]]) -> dict[bool, float]:
    """Seconds of each, as those of the processor compare, out of those by the clock and of the processor.

    Which of two is faster on one thread is told by the processor, whatever else the machine has to do meanwhile.

    >>> steadied({False: (0.5, 0.25), True: (1.25, 0.125)})
    {False: 0.5, True: 0.25}
    """
    stretch = min((clock / own for clock, own in times.values() if own > 0), default=1.0)
    return {name: own * stretch for name, (_, own) in times.items()}


def _time_steps(run: Run, count: int) -> tuple[float, float]:
    """Seconds a step, by the clock and of the processor for this thread."""
    run.model.train()
    window = Window(run)
    start, own = perf_counter(), thread_time()
    for _ in range(count):
        run.step = 0
        update(run, window)
    if run.device.type == "cuda":
        torch.cuda.synchronize(run.device)
    return (perf_counter() - start) / count, (thread_time() - own) / count


def _named(threads: int, channels_last: bool, device: torch.device) -> str:
    words = f"{threads} thread{'s' * (threads != 1)}" if device.type == "cpu" else ""
    return " ".join(w for w in (words, "channels last" if channels_last else "channels first") if w)
