"""When the checkpoints of a run are written. Waiting for the disk costs more than many a short epoch, so the ends of
epochs are written at a pace, and the best one is remembered until its turn comes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING

from netdsl.train.checkpoint import Snapshot, snapshot
from netdsl.train.records import Epoch, Record, Saved, Step, Stopped
from netdsl.train.state import Run

if TYPE_CHECKING:
    from netdsl.train.bystander import Bystander
    from netdsl.train.writer import Writer


class Saves:
    """Writes a checkpoint of `run` after each record where one is due. All processes have one, and call it alike.

    Due are the ends of epochs, `pace` seconds apart at least, the steps that `checkpoint_every` names, and the end.
    What is on the disk is whole at any time: a run that goes on from there becomes this one.
    """

    def __init__(
        self, run: Run, writer: Writer | Bystander, pace: float, watch: Callable[[Saved], None]
    ) -> None:
        self.run, self.writer, self.pace, self.watch = run, writer, pace, watch
        self.written = run.epoch, run.step  # a run that goes on is on the disk
        self.at = -math.inf  # the time of it
        self.last: Epoch | None = None
        self.best: Snapshot | None = None  # which is not on the disk yet

    def __call__(self, record: Record) -> None:
        every = self.run.recipe.checkpoint_every
        if isinstance(record, Epoch):
            self.last = record
            if self._is_time():
                self.now()
            elif record.best:
                self.best = self._taken(lasting=True)
        elif isinstance(record, Step) and every and record.step % every == 0:
            self.now()
        elif isinstance(record, Stopped):
            if record.reason == "not finite":
                self._write_best()
            else:
                self.now()

    def now(self) -> None:
        """Write where the run is, and before it the best epoch where that is still to be written."""
        if (self.run.epoch, self.run.step) == self.written:
            return
        here = self._taken()
        if here.best:
            self.best = None
        self._write_best()
        self._write(here)
        self.at = perf_counter()

    def _is_time(self) -> bool:
        """Whether an epoch that is over is to be written, by the clock of the main process."""
        return self.run.processes.from_main(lambda: perf_counter() - self.at >= self.pace)

    def _taken(self, *, lasting: bool = False) -> Snapshot:
        """The run as it is, with what its last epoch has measured where that is over just now."""
        over = self.last if self.last and self.last.epoch == self.run.epoch else None
        if over is None or over.step != self.run.step:
            return snapshot(self.run, measured={}, best=False, lasting=lasting)
        return snapshot(self.run, measured=over.measured, best=over.best, lasting=lasting)

    def _write_best(self) -> None:
        best, self.best = self.best, None
        if best is not None:
            self._write(best)

    def _write(self, at: Snapshot) -> None:
        saved = self.writer.save(at)
        self.written = at.epoch, at.step
        if saved:
            self.watch(saved)
