"""Batches of samples that are read when they are due, by worker processes that run ahead of the training."""

from __future__ import annotations

import gc
import os
import signal
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from netdsl.diagnostics import Diagnostic
from netdsl.train.data.unread import Reader, Unread, readers
from netdsl.train.errors import TrainError

Rows = Callable[[int, int], Tensor]  # the samples of batch `number` of `epoch`
AHEAD = 2  # batches that each worker has ready


class Stream:
    """The samples `rows` of each batch, which should be asked for in their order: epochs without end, of `count`
    batches, or one that `ends`. What is asked for out of turn is right as well, after starting anew.
    """

    def __init__(
        self, part: Unread, rows: Rows, count: int, device: torch.device, ends: bool = False
    ) -> None:
        self.part, self.rows, self.count, self.device, self.ends = part, rows, count, device, ends
        self.workers = 0 if part.reader.in_memory else readers()
        self.next: tuple[int, int] | None = None
        # Kept here, and by what ends the workers: a cycle of garbage with an iterator of torch in it loses its queues
        # before the workers can be told to end, and then each is waited for.
        self.batches: list[Iterator[Any]] = []
        weakref.finalize(self, self.batches.clear)

    def at(self, epoch: int, number: int) -> tuple[Tensor, Tensor]:
        """The inputs and targets of a batch as they were read, on the device; `TrainError` where one cannot be."""
        if self.next != (epoch, number):
            self.batches.clear()  # its workers end before others begin
            with _collecting_nothing():
                self.batches.append(iter(self._loader(epoch, number)))
        self.next = _after(epoch, number, self.count)
        found = next(self.batches[0])
        if isinstance(found, Failure):
            raise found.error()
        x, y = (tensor.to(self.device, non_blocking=True) for tensor in found)
        return x, y

    def _loader(self, epoch: int, number: int) -> DataLoader[Any]:
        return DataLoader(
            Items(self.part.reader),
            batch_sampler=From(self, epoch, number),
            num_workers=self.workers,
            collate_fn=as_read,
            pin_memory=self.device.type == "cuda",
            worker_init_fn=begin_worker,
            prefetch_factor=AHEAD if self.workers else None,
            generator=torch.Generator(),  # its own: the run's random numbers are for the model
        )


class From:
    """What the batches from one on consist of, without end, or to the end of the epoch.

    It knows nothing of the stream, so that a stream that nobody needs any more takes its workers with it.
    """

    def __init__(self, stream: Stream, epoch: int, number: int) -> None:
        self.part, self.rows, self.batches = stream.part, stream.rows, stream.count
        self.first, self.ends = epoch * stream.count + number, stream.ends

    def __iter__(self) -> Iterator[list[int]]:
        for at in count(self.first):
            if self.ends and at == (self.first // self.batches + 1) * self.batches:
                return
            yield self.part.numbers(self.rows(*divmod(at, self.batches)))


def _after(epoch: int, number: int, count: int) -> tuple[int, int]:
    return (epoch, number + 1) if number + 1 < count else (epoch + 1, 0)


@dataclass(frozen=True)
class Failure:
    """Why a worker could not read a batch. Exceptions lose their parts on the way between processes."""

    diagnostic: Diagnostic

    def error(self) -> TrainError:
        d = self.diagnostic
        return TrainError(d.code, d.message, None, d.notes, d.helps)


class Items(Dataset[Any]):
    """A reader as torch's workers use it: whole batches at a time."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        return self.reader.one(number)

    def __getitems__(self, numbers: list[int]) -> tuple[Tensor, Tensor] | Failure:
        try:
            read = self.reader.many(numbers)
        except TrainError as problem:
            return Failure(problem.diagnostic)
        return read.x, read.y


def as_read(batch: Any) -> Any:
    """A batch comes whole from the reader."""
    return batch


@contextmanager
def _collecting_nothing() -> Iterator[None]:
    """What is left over when a process is forked is not the child's to collect, such as other workers."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def begin_worker(worker: int) -> None:
    """Signals to all processes of a run are for the run, which asks its workers for batches until it has saved."""
    del worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)
    gc.freeze()
    gc.enable()
