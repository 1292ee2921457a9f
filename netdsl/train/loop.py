"""The loop: `fit(run)` trains and yields records. It saves, prints and plots nothing; whoever iterates may do
so at any record, when the run's state is complete.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from time import perf_counter

import torch
from torch import Tensor

from netdsl.train.capture import Captured, can_capture
from netdsl.train.descent import backward, descend
from netdsl.train.evaluation import measured
from netdsl.train.outputs import compare
from netdsl.train.records import Epoch, Step, Stopped
from netdsl.train.shares import WHOLE, Part, among, parts_of
from netdsl.train.state import Run
from netdsl.train.tallies import of_all


def fit(run: Run) -> Iterator[Step | Epoch | Stopped]:
    """Train `run` to its end, from wherever it is.

    The last record is a `Stopped`. Setting `run.stop_requested` ends the run after the step that is going on.

    >>> for record in fit(run):  # doctest: +SKIP
    ...     if isinstance(record, Epoch):
    ...         print(record.epoch, record.measured["valid_loss"])
    """
    last: Epoch | None = None
    if run.epoch and not run.samples and _patience_is_over(run):  # a run that goes on and was to stop here
        yield _early_stop(run)
        return
    while run.step < run.total_steps or run.samples:  # whose epoch is still to be closed
        bad = yield from _train(run)
        if bad is not None:
            yield Stopped("not finite", bad, f"the loss of step {bad} is not a finite number")
            return
        if run.ending and run.step < _epoch_end(run):
            yield Stopped("interrupted", run.step)
            return
        last = _close_epoch(run)
        yield last
        if _patience_is_over(run):
            yield _early_stop(run, last)
            return
        if _is_over_early(run):
            yield Stopped("interrupted", run.step, measured=last.measured)
            return
    yield Stopped("finished", run.step, measured=last.measured if last else {})


def _epoch_end(run: Run) -> int:
    return min((run.epoch + 1) * run.steps_per_epoch, run.total_steps)


def _train(run: Run) -> Iterator[Step]:
    """The rest of the epoch; returns the step whose loss was not finite, or None."""
    run.model.train()
    capture(run)
    end, window = _epoch_end(run), Window(run)
    while run.step < end and not run.asked_to_stop():
        run.rates.begin(run.step, run.epoch)
        update(run, window)
        if _is_due(run, end):
            record = window.close(run.rates.now)
            if not math.isfinite(record.loss):
                return window.first_bad
            yield record
    if window.steps:
        record = window.close(run.rates.now)
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
    recipe = run.recipe
    first = (run.step - run.epoch * run.steps_per_epoch) * recipe.accumulate
    numbers = range(first, min(first + recipe.accumulate, len(run.batches)))
    batches = [run.batches.at(run.epoch, number) for number in numbers]
    samples = sum(run.batches.count(number) for number in numbers)
    if run.captured:
        parts, (x, y) = [WHOLE], batches[0]
        total, output, norm = run.captured(x, y)
        outputs = [output]
    else:
        parts = parts_of(run, numbers, [y for _, y in batches])
        total, outputs, norm = _learn(run, parts, batches)
    for part, output, (_, y) in zip(parts, outputs, batches, strict=True):
        run.seen.add(output, y, counted=part.counts)
    run.step += 1
    window.add(total, norm, samples)


def _learn(
    run: Run, parts: Sequence[Part], batches: Sequence[tuple[Tensor, Tensor]]
) -> tuple[Tensor, list[Tensor], Tensor | None]:
    """New weights; gives the loss and the outputs with those before, and the norm of the gradients."""
    outputs: list[Tensor] = []
    total, norm = descend(run, lambda first: _gradients(run, parts, batches, outputs if first else []))
    run.optimizer.zero_grad(set_to_none=True)
    if run.ema:
        run.ema.update()
    return total, outputs, norm


def capture(run: Run) -> None:
    """Let the steps of `run` be one program each, where that can be and pays."""
    if run.captured is None and can_capture(run):

        def step(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
            total, outputs, norm = _learn(run, [WHOLE], [(x, y)])
            return total, outputs[0], norm

        run.captured = Captured(run, step)


def _gradients(
    run: Run, parts: Sequence[Part], batches: Sequence[tuple[Tensor, Tensor]], outputs: list[Tensor]
) -> Tensor:
    """Add the gradients of the batches to those of the parameters, and their outputs to `outputs`; gives their loss."""
    total: Tensor | None = None
    for part, (x, y) in zip(parts, batches, strict=True):
        with among(run, part, due=y is batches[-1][1]) if run.processes.size > 1 else _ALONE:
            with run.precision():
                criterion = run.loss if part.factor is None else run.part_loss
                loss, output = compare(criterion, run.network(x), y, run.recipe)
            if part.factor is not None:
                loss = loss * part.factor
            learned = loss if run.processes.size == 1 else loss * run.processes.size  # gradients are averaged
            backward(run, learned, penalised=total is None)
        total = loss.detach() if total is None else total + loss.detach()
        outputs.append(output.detach())
    assert total is not None
    return total


_ALONE = nullcontext()


class Window:
    """The losses of the steps since the last record. They stay on the device until the record is due."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.losses: list[Tensor] = []
        self.norm: Tensor | None = None
        self.counts: list[int] = []
        self.first_bad: int | None = None
        self.started = perf_counter()

    @property
    def steps(self) -> int:
        return len(self.counts)

    def add(self, loss: Tensor, norm: Tensor | None, samples: int) -> None:
        self.losses.append(loss)
        self.norm = norm
        self.counts.append(samples)

    def close(self, rate: float) -> Step:
        """The record of these steps, after adding them to the epoch; this waits for the device."""
        run, counts = self.run, self.counts
        run.seen.flush()
        losses = run.processes.total(torch.stack(self.losses).float()).tolist()
        for number, loss in enumerate(losses):
            if not math.isfinite(loss):
                self.first_bad = run.step - len(losses) + number + 1
                break
        # A loss that is a sum counts once a sample already.
        weights = counts if run.recipe.loss.averages else [1] * len(counts)
        total = 0.0
        for loss, weight in zip(losses, weights, strict=True):
            total += loss * weight
            run.loss_sum += loss * weight  # one by one: the sum must not depend on where a window ended
        run.samples += sum(counts)
        now = perf_counter()
        run.seconds += now - self.started
        self.started = now
        norm = None if self.norm is None else float(run.processes.whole(self.norm))
        record = Step(run.step, run.epoch + 1, total / sum(counts), rate, norm)
        self.losses, self.counts = [], []
        return record


def _close_epoch(run: Run) -> Epoch:
    """Measure the model on the validation part and put the epoch behind."""
    columns = {"train_loss": run.loss_sum / run.samples}
    tallies = of_all(run.tallies, run.processes)
    for name, metric in run.recipe.named_metrics.items():
        columns[f"train_{name}"] = metric.value(tallies[name], run.recipe.task)
    start = perf_counter()
    with run.ema.applied() if run.ema else nullcontext():
        found = measured(
            run.model, run.recipe, run.data.valid, run.device, run.channels_last, run.part_loss, run.processes
        )
    columns |= {f"valid_{name}": value for name, value in found.items()}
    seconds = run.seconds + perf_counter() - start
    rate = run.rates.now
    run.epoch += 1
    run.clear_epoch()
    column, rising = run.recipe.monitored
    value = columns[column]
    better = math.isfinite(value) and (run.best is None or (value > run.best if rising else value < run.best))
    if better:
        run.best, run.best_epoch = value, run.epoch
    run.rates.measured(value)
    _count_patience(run, value, rising)
    return Epoch(run.epoch, run.step, rate, columns, seconds, best=better)


def _is_over_early(run: Run) -> bool:
    """Whether the run was asked to stop, and has steps to go. Between epochs one process need not ask the others."""
    run.ending = run.ending or (run.processes.size == 1 and run.stop_requested)
    return run.ending and run.step < run.total_steps


def _patience_is_over(run: Run) -> bool:
    patience = run.recipe.early_stop
    return patience is not None and run.epoch - run.better_epoch >= patience and run.step < run.total_steps


def _early_stop(run: Run, last: Epoch | None = None) -> Stopped:
    message = f"{run.recipe.monitored[0]} was best in epoch {run.best_epoch}"
    return Stopped("early stop", run.step, message, last.measured if last else {})


def _count_patience(run: Run, value: float, rising: bool) -> None:
    """Note an epoch that was better than the last one noted by more than `min_delta`."""
    before, least = run.better, run.recipe.min_delta
    gain = math.inf if before is None else (value - before if rising else before - value)
    if math.isfinite(value) and gain > least:
        run.better, run.better_epoch = value, run.epoch
