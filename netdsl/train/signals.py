"""SIGINT and SIGTERM end a run after a checkpoint; whoever cannot wait for that sends one more."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from types import FrameType
from typing import Any

from netdsl.train.state import Run

TOGETHER = (
    1.0  # seconds in which several processes get one signal on several ways: a terminal's, and a launcher's
)


class Asked:
    """Which signal has ended a run, if one has."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.at = 0.0


@contextmanager
def heard(run: Run) -> Iterator[Asked]:
    """SIGINT and SIGTERM end `run` at its next step; a second one acts as it would without us."""
    asked, previous = Asked(), dict[int, Any]()

    def stop(number: int, frame: FrameType | None) -> None:
        if asked.number is None:
            asked.number, asked.at = number, perf_counter()
            run.stop_requested = True
        elif run.processes.size == 1 or perf_counter() - asked.at > TOGETHER:
            signal.signal(number, previous[number])
            if callable(previous[number]):
                previous[number](number, frame)
            else:
                os.kill(os.getpid(), number)

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            previous[number] = signal.signal(number, stop)
    except ValueError:  # not in the main thread, where signals do not come anyway
        previous.clear()
    try:
        yield asked
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
