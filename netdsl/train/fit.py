"""The loop: `fit(run)` trains and yields records. It saves, prints and plots nothing; whoever iterates may do
so at any record, when the run's state is complete.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import nullcontext
from time import perf_counter

import torch
from torch import Tensor

from netdsl.train.evaluation import measured
from netdsl.train.records import Epoch, Step, Stopped
from netdsl.train.state import Run


def fit(run: Run) -> Iterator[Step | Epoch | Stopped]:
    """Train `run` to its end, from wherever it is.

    The last record is a `Stopped`. Setting `run.stop_requested` ends the run after the step that is going on.

    >>> for record in fit(run):  # doctest: +SKIP
    ...     if isinstance(record, Epoch):
    ...         print(record.epoch, record.measured["valid_loss"])
    """
    last: Epoch | None = None
    while run.step < run.total_steps:
        bad = yield from _train(run)
        if bad is not None:
            yield Stopped("not finite", bad, f"the loss of step {bad} is not a finite number")
            return
        if run.stop_requested and run.step < _epoch_end(run):
            yield Stopped("interrupted", run.step)
            return
        last = _close_epoch(run)
        yield last
        if _patience_is_over(run):
            message = f"{run.recipe.monitored[0]} was best in epoch {run.best_epoch}"
            yield Stopped("early stop", run.step, message, last.measured)
            return
        if run.stop_requested and run.step < run.total_steps:
            yield Stopped("interrupted", run.step, measured=last.measured)
            return
    yield Stopped("finished", run.step, measured=last.measured if last else {})


def _epoch_end(run: Run) -> int:
    return min((run.epoch + 1) * run.steps_per_epoch, run.total_steps)


def _train(run: Run) -> Iterator[Step]:
    """The rest of the epoch; returns the step whose loss was not finite, or None."""
    run.model.train()
    rate = run.recipe.rate(run.epoch)
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    end, window = _epoch_end(run), Window(run)
    while run.step < end and not run.stop_requested:
        update(run, window)
        if _is_due(run, end):
            record = window.close(rate)
            if not math.isfinite(record.loss):
                return window.first_bad
            yield record
    if window.steps:
        record = window.close(rate)
        if not math.isfinite(record.loss):
            return window.first_bad
    return None


def _is_due(run: Run, end: int) -> bool:
    """Whether a record is: now and then, at the end of the epoch, and where a checkpoint is to be written."""
    every = run.recipe.checkpoint_every
    return run.step % run.recipe.log_every == 0 or run.step == end or bool(every and run.step % every == 0)


def update(run: Run, window: Window) -> None:
    """One step: forward, backward and the optimizer, over `accumulate` batches. Nothing here waits for the
    device.
    """
    recipe, model = run.recipe, run.model
    first = (run.step - run.epoch * run.steps_per_epoch) * recipe.accumulate
    numbers = range(first, min(first + recipe.accumulate, len(run.batches)))
    batches = [run.batches.at(run.epoch, number) for number in numbers]
    samples = sum(len(y) for _, y in batches)
    total: Tensor | None = None
    for x, y in batches:
        with run.precision():
            output = model(x)
            loss = run.loss(output, y)
        if len(batches) > 1 and recipe.loss.reduction == "mean":
            loss = loss * (len(y) / samples)
        loss.backward()
        total = loss.detach() if total is None else total + loss.detach()
        add_to_tallies(run, output.detach(), y)
    norm = None
    if recipe.clip_norm is not None:
        norm = torch.nn.utils.clip_grad_norm_(run.learned, recipe.clip_norm)
    run.optimizer.step()
    run.optimizer.zero_grad(set_to_none=True)
    if run.ema:
        run.ema.update()
    run.step += 1
    assert total is not None
    window.add(total, norm, samples)


def add_to_tallies(run: Run, output: Tensor, target: Tensor) -> None:
    for metric in run.recipe.metrics:
        tally = run.tallies.get(metric.kind)
        if tally is None:
            tally = run.tallies[metric.kind] = metric.tally(output)
        metric.add(tally, output, target)


class Window:
    """The losses of the steps since the last record. They stay on the device until the record is due."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.losses = torch.zeros(run.recipe.log_every, device=run.device)
        self.norm: Tensor | None = None
        self.counts: list[int] = []
        self.first_bad: int | None = None
        self.started = perf_counter()

    @property
    def steps(self) -> int:
        return len(self.counts)

    def add(self, loss: Tensor, norm: Tensor | None, samples: int) -> None:
        self.losses[len(self.counts)] = loss
        self.norm = norm
        self.counts.append(samples)

    def close(self, rate: float) -> Step:
        """The record of these steps, after adding them to the epoch; this waits for the device."""
        run, counts = self.run, self.counts
        losses = self.losses[: len(counts)].tolist()
        for number, loss in enumerate(losses):
            if not math.isfinite(loss):
                self.first_bad = run.step - len(losses) + number + 1
                break
        # A loss that is a sum counts once a sample already.
        weights = counts if run.recipe.loss.reduction == "mean" else [1] * len(counts)
        total = 0.0
        for loss, weight in zip(losses, weights, strict=True):
            total += loss * weight
            run.loss_sum += loss * weight  # one by one: the sum must not depend on where a window ended
        run.samples += sum(counts)
        now = perf_counter()
        run.seconds += now - self.started
        self.started = now
        norm = None if self.norm is None else float(self.norm)
        record = Step(run.step, run.epoch + 1, total / sum(counts), rate, norm)
        self.counts = []
        return record


def _close_epoch(run: Run) -> Epoch:
    """Measure the model on the validation part and put the epoch behind."""
    columns = {"train_loss": run.loss_sum / run.samples}
    for metric in run.recipe.metrics:
        columns[f"train_{metric.kind}"] = metric.value(run.tallies[metric.kind], run.samples)
    start = perf_counter()
    with run.ema.applied() if run.ema else nullcontext():
        found = measured(run.model, run.recipe, run.data.valid, run.device, run.channels_last, loss=run.loss)
    columns |= {f"valid_{name}": value for name, value in found.items()}
    seconds = run.seconds + perf_counter() - start
    rate = run.recipe.rate(run.epoch)
    run.epoch += 1
    run.clear_epoch()
    column, rising = run.recipe.monitored
    value = columns[column]
    better = math.isfinite(value) and (run.best is None or (value > run.best if rising else value < run.best))
    if better:
        run.best, run.best_epoch = value, run.epoch
    return Epoch(run.epoch, run.step, rate, columns, seconds, best=better)


def _patience_is_over(run: Run) -> bool:
    patience = run.recipe.early_stop
    return patience is not None and run.epoch - run.best_epoch >= patience and run.step < run.total_steps
